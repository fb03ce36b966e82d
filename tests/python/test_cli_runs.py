"""The commands that read runs: `derive`, `plot`, `report`, `compare`."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydarts
import pytest
from commands import NARROW, TINY, V2, answered, refused, words
from functions import A, W, X, Y, config, regression
from pydarts_cli.sources import read_genotype

pytestmark = pytest.mark.usefixtures("somewhere")


@pytest.mark.parametrize("notation", ["paper", "json", "nni", "nasbench301"])
def test_a_genotype_can_be_written_and_read_in_every_notation(notation: str) -> None:
    Path("cell.txt").write_text(answered("derive", "DARTS_V2", "--notation", notation).out)
    back = answered("derive", "cell.txt", "--json").json
    again = read_genotype(Path("cell.txt").read_text())
    assert back["notation"] == str(again)
    assert again == V2 or again.to_nasbench301() == V2.to_nasbench301()


def test_a_cell_of_nas_bench_201_is_written_as_its_string() -> None:
    cell = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"
    assert answered("derive", cell, "--notation", "nasbench201").out.strip() == cell


def test_a_genotype_can_be_written_as_dot() -> None:
    written = answered("derive", "DARTS_V2", "--notation", "dot").out
    assert written.startswith("digraph")
    answer = answered("derive", "DARTS_V2", "--notation", "dot", "--json").json
    assert answer["notation"] == written.removesuffix("\n") and answer["genotype"] == V2.to_dict()


def test_derive_reads_runs_and_archives_at_any_point(places: Path, tiny_result: pydarts.SearchResult) -> None:
    assert answered("derive", places / "run").out == f"{tiny_result.genotype}\n"
    first = answered("derive", places / "run", "--at", "0").out
    assert first == f"{tiny_result.trajectory.genotypes[0]}\n"
    rng = np.random.default_rng(0)
    alphas = {"normal": rng.normal(size=(3, 14, 8)), "reduce": rng.normal(size=(3, 14, 8))}
    points = {
        name: values for name, values in np.load(places / "run" / "alphas.npz").items() if values.ndim == 1
    }
    assert points.keys() == {"steps", "epochs"}
    np.savez("alphas.npz", **alphas, **points)
    for at in (0, -1):
        wanted = pydarts.derive({name: values[at] for name, values in alphas.items()})
        assert answered("derive", "alphas.npz", "--at", at).out == f"{wanted}\n"
    assert "0 to 2" in refused(2, "derive", "alphas.npz", "--at", "3")


@pytest.fixture
def function_run() -> str:
    """The folder of a search with a user-defined network that has no accuracies."""
    cfg = config(epochs=1, batch_size=4, weight_lr=1e-5, weight_lr_min=0.0)
    pydarts.search((X, Y), cfg, network=pydarts.nn.FunctionNetwork(regression, W, A)).save("function")
    return "function"


@pytest.mark.parametrize("command", ["cost", "train", "compare", "explain"])
def test_commands_for_cells_refuse_networks_of_ones_own(
    places: Path, function_run: str, command: str
) -> None:
    more = {"train": ["--data", f"npz:{places / 'data.npz'}"]}
    more["compare"] = more["train"]
    assert "picked a: " in refused(1, *command.split(), function_run, *more.get(command, []))


def test_a_network_of_ones_own_is_plotted_and_compared(places: Path, function_run: str) -> None:
    plots = answered("plot", function_run, "--json").json["files"]
    assert [Path(file).stem for file in plots] == ["alphas", "weights", "entropy", "losses", "accuracies"]
    assert "cells" in refused(2, "plot", function_run, "cells")
    answer = answered("compare", function_run, places / "run", "--json").json
    first, second = answer["runs"]
    result = pydarts.SearchResult.load("function")
    assert first["space"] is None and first["skips"] is None
    assert first["settled"] == result.trajectory.last_change
    assert answer["cells"] == answer["architectures"] == 1
    assert answer["picked"]["function"] == json.loads(json.dumps(result.architecture))
    assert first["measure"] == "loss" and first["best"] <= first["validation"]
    assert second["measure"] == "accuracy"
    assert second["space"] == "darts" and list(answer["genotypes"]) == ["run"]


def test_an_error_for_a_missing_run_says_how_to_create_one(places: Path) -> None:
    said = refused(1, "plot", "nowhere")
    assert "pydarts search --data digits --out nowhere" in said
    remedy = re.search(r"`pydarts (.*)`", said)
    assert remedy
    answered(*words(remedy[1]), *TINY, "--epochs", "1")
    assert "complete" in answered("compare", "nowhere").out, "the suggested command works"
    Path("begun/checkpoints").mkdir(parents=True)
    said = refused(1, "report", "begun")
    assert "search" in said and "--resume" in said
    Path("begun/checkpoints/training-000001.safetensors").touch()
    said = refused(1, "report", "begun")
    assert "training" in said and "--resume" in said
    assert str(places) in refused(1, "compare", places)
    Path("broken.npz").write_bytes(b"PK\x03\x04, and no more")
    assert "broken.npz" in refused(1, "derive", "broken.npz")
    Path("broken.json").write_text('{"normal": 3}')
    assert "broken.json: " in refused(1, "derive", "broken.json")


@pytest.mark.parametrize("command", ["report", "compare", "explain"])
def test_commands_for_searches_reject_trainings(places: Path, command: str) -> None:
    shutil.copytree(places / "trained", "trained")
    Path("trained/checkpoints").mkdir()
    said = refused(1, command, "trained")
    assert "trained" in said and "pydarts plot trained" in said


def test_the_folder_of_a_training_specifies_its_genotype(places: Path) -> None:
    assert answered("derive", places / "trained").out == answered("derive", places / "run").out


def test_an_error_for_a_broken_run_names_the_file(places: Path) -> None:
    shutil.copytree(places / "run", "run")
    Path("run/history.json").write_text("[")
    assert re.search(r"error: \S*history\.json", refused(1, "plot", "run"))


def test_a_search_is_plotted_with_one_file_per_plot(places: Path) -> None:
    answer = answered("plot", places / "run", "--out", "pictures", "--dpi", "40", "--json").json
    names = [Path(file).name for file in answer["files"]]
    kinds = ("alphas", "weights", "cells", "supernet", "entropy", "skips", "losses", "accuracies")
    assert names == [f"{kind}.png" for kind in kinds]
    assert all(Path(file).read_bytes().startswith(b"\x89PNG") for file in answer["files"])


def test_plots_format_and_point_in_time_can_be_chosen(places: Path) -> None:
    answered(
        "plot", places / "run", "weights", "animation", "--at", "0", "--format", "svg", "--out", "pictures"
    )
    assert sorted(path.name for path in Path("pictures").iterdir()) == ["animation.gif", "weights.svg"]
    assert Path("pictures/animation.gif").read_bytes().startswith(b"GIF")
    assert re.search("nonsense.*alphas", refused(2, "plot", places / "run", "nonsense"))
    assert "'recurrent'" in refused(2, "plot", places / "run", "alphas", "--cell", "recurrent")
    assert "0 to 2" in refused(2, "plot", places / "run", "--at", "3")
    assert "--cell" in refused(2, "plot", places / "run", "entropy", "--cell", "normal")
    assert "--at" in refused(2, "plot", places / "run", "alphas", "--at", "0")
    assert "--at" in refused(2, "plot", places / "trained", "--at", "0")


def test_a_training_is_plotted(places: Path) -> None:
    answer = answered("plot", places / "trained", "--out", "pictures", "--dpi", "40", "--json").json
    assert [Path(file).name for file in answer["files"]] == ["losses.png", "accuracies.png", "cells.png"]


def test_report_writes_an_html_file(places: Path) -> None:
    answer = answered("report", places / "run", "--out", "page.html", "--json").json
    assert answer["file"] == "page.html" and "<html" in Path("page.html").read_text()
    assert "'no.csv'" in refused(1, "report", places / "run", "--table", "no.csv")
    assert "result.json" in refused(1, "report", places / "run" / "result.json")
    Path("compared").mkdir()
    row = pydarts.SearchRow(name="a", origin="random", status="complete", accuracy=0.1, loss=5.0, genotype=V2)
    pydarts.SearchTable([row]).save("compared/table.csv")
    answered("report", places / "run", "--table", "compared", "--out", "page.html")
    assert "10.00%" in Path("page.html").read_text()


def test_compare_shows_one_row_per_run(places: Path, tiny_result: pydarts.SearchResult) -> None:
    tiny_result.save("other")
    outcome = answered("compare", places / "run", "other", "--plot", "both.png")
    assert re.search(r"^\s*run\s+complete\s+darts\s+first_order\s+0\s+2\s", outcome.out, re.MULTILINE)
    assert Path("both.png").stat().st_size > 5_000
    answer = answered("compare", places / "run", "other", "--json").json
    first, second = answer["runs"]
    assert answer["cells"] == 1
    assert first | {"run": ""} == second | {"run": ""}
    assert first["validation"] == tiny_result.history[-1].valid_accuracy
    assert "'other'" in refused(2, "compare", "other", "other")
    tiny_result.save("deep/other[1]/run")
    tiny_result.save("deep/other/run")
    shown = answered("compare", "deep/other[1]/run", "deep/other/run", "../" + Path.cwd().name + "/other").out
    assert [line.split(" complete")[0].strip() for line in shown.splitlines()[1:4]] == [
        "other[1] run", "other run", "other",
    ]  # fmt: skip
    said = refused(2, "compare", "other", "--preset", "quick", "--words", "5", "--workers", "2", "--download")
    assert "--workers, --preset, --download, --words" in said


def test_the_best_perplexity_is_the_lowest(tiny_result: pydarts.SearchResult) -> None:
    words = pydarts.datasets.corpus("to be or not to be\n" * 60)
    config = pydarts.SearchConfig(
        space="darts-rnn", units=4, nodes=2, batch_size=4, bptt=5, epochs=1, progress=False
    )
    result = pydarts.search((words.train, words.valid), config)
    (first,) = result.history
    losses = [(4.0, 0.3), (9.0, 0.4)]
    history = [replace(first, epoch=i, valid_loss=a, valid_accuracy=b) for i, (a, b) in enumerate(losses)]
    replace(result, history=pydarts.History(history)).save("words")
    (row,) = answered("compare", "words", "--json").json["runs"]
    assert row["best"] == pytest.approx(np.exp(4.0)) and row["validation"] == pytest.approx(np.exp(9.0))


def test_compare_trains_cells_and_random_cells_with_the_same_settings(places: Path) -> None:
    short = ("--epochs", "1", "--batch-size", "8", "--workers", "0", "--random", "1", *NARROW)
    data = f"npz:{places / 'data.npz'}"
    answer = answered("compare", places / "run", "DARTS_V2", "--data", data, *short, "--json").json
    assert [(row["name"], row["origin"]) for row in answer["rows"]] == [
        ("run", "searched"), ("DARTS_V2", "given"), ("random 0", "random"),
    ]  # fmt: skip
    assert answer["status"] == "complete" and answer["best"] in ("run", "DARTS_V2")
    again = ("compare", "DARTS_V2", "--data", data, *short)
    answered(*again, "--checkpoint-dir", "none", "--out", "deep/down")
    assert len(pydarts.SearchTable.load("deep/down/table.csv")) == 2
    for plot in ("x.jpg", "nowhere/x.png"):
        refused(2 if plot == "x.jpg" else 1, *again, "--out", "undone", "--plot", plot)
    assert not Path("undone").exists(), "the error precedes all trainings"
    assert len(pydarts.SearchTable.load("compared/table.csv")) == 3
