"""The commands for networks: `train`, `export`, `cost`, `explain`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from commands import NARROW, V2, answered, refused, words
from conftest import without_checksums

pytestmark = pytest.mark.usefixtures("somewhere")


def test_a_cell_of_a_search_is_trained_in_the_size_of_the_search(places: Path) -> None:
    options = words("--preset quick --epochs 1 --warmup 0 --batch-size 8 --out net --json")
    for given, channels in (((), 2), (("--channels", "4"), 4)):
        found = answered("train", places / "run", "--data", f"npz:{places / 'data.npz'}", *options, *given)
        assert (found.json["network"]["channels"], found.json["network"]["layers"]) == (channels, 3)
        assert ("2 channels" in found.err) == (channels == 2) and "3 layers" in found.err
        shutil.rmtree("net")


def test_the_genotype_of_a_run_is_trained_and_exported(places: Path) -> None:
    command = ("train", places / "run", "--data", f"npz:{places / 'data.npz'}", "--preset", "quick", *NARROW)
    options = (
        "--epochs",
        "1",
        "--warmup",
        "0",
        "--batch-size",
        "8",
        "--inherit",
        "--drop-path",
        "0.1",
        "--out",
        "net",
    )
    answer = answered(*command, *options, "--json").json
    found = pydarts.TrainResult.load("net")
    assert (answer["status"], answer["epochs"]) == ("complete", 1)
    assert found.config.weight_lr == 0.1, "the value of the preset"
    assert found.network.arguments["drop_path"] == 0.1 and found.network.arguments["num_classes"] == 4
    assert answer["network"] == found.network.arguments
    assert "--resume" in refused(1, *command, "--out", "net")
    answered(*command, *options, "--resume", "--epochs", "2")
    assert len(pydarts.TrainResult.load("net").history) == 2
    before = Path("net/network.safetensors").read_bytes()
    assert "momentum" in refused(1, *command, *options, "--resume", "--weight-momentum", "0.5")
    assert Path("net/network.safetensors").read_bytes() == before, "an error overwrites nothing"
    answer = answered("export", "net", "net.pt2", "--image-size", "8", "--json").json
    assert answer["bytes"] == Path("net.pt2").stat().st_size > 10_000
    answered("export", "net", "net.safetensors")
    assert pydarts.load_network("net.safetensors").genotype == found.network.genotype


def test_export_requires_a_network_and_a_known_file_extension(places: Path) -> None:
    assert str(places / "run") in refused(1, "export", places / "run", "x.pt2")
    assert "x.zip" in refused(2, "export", places / "trained", "x.zip")


def test_cost_equals_the_cost_in_python(places: Path) -> None:
    answer = answered("cost", "DARTS_V2", "--json").json
    assert (answer["weights"], answer["multiply_adds"]) == (3349342, 528359040)
    answer = answered(
        "cost", "DARTS_V2", "--channels", "4", "--layers", "3", "--image-size", "16", "--json"
    ).json
    built = pydarts.build(V2, channels=4, layers=3)
    assert answer["multiply_adds"] == pydarts.cost(built, image_size=16)["multiply_adds"]
    answer = answered("cost", places / "trained", "--image-size", "8", "--json").json
    assert answer["network"]["channels"] == 2
    answer = answered("cost", *NARROW, "--batch-size", "2", "--json").json
    config = pydarts.SearchConfig(channels=2, layers=3, batch_size=2)
    assert answer == pydarts.Supernet(config=config).cost() | {"image_size": [32, 32]}
    assert (
        f"{pydarts.cost(built)['weights']:,}"
        in answered("cost", "DARTS_V2", *words("--channels 4 --layers 3")).out
    )


def test_cost_of_a_run_uses_the_sizes_of_its_data(places: Path, tiny_result: pydarts.SearchResult) -> None:
    sizes = tiny_result.config
    built = pydarts.build(
        tiny_result.genotype, channels=4, layers=3, num_classes=sizes.num_classes, in_channels=1
    )
    command = ("cost", places / "run", *words("--channels 4 --layers 3"))
    answer = answered(*command, "--json").json
    assert sizes.image_size == (8, 8) and answer["image_size"] == [8, 8]
    assert answer["network"] == built.arguments
    assert answer["multiply_adds"] == pydarts.cost(built, image_size=8)["multiply_adds"]
    assert re.search(r"image size +8x8", answered(*command).out)
    other = answered(*command, *words("--num-classes 7 --in-channels 2 --image-size 12,16"), "--json").json
    assert (other["network"]["num_classes"], other["network"]["in_channels"]) == (7, 2)
    assert other["image_size"] == [12, 16]
    large = answered("cost", "DARTS_V2", *NARROW, "--stem", "imagenet", "--json").json
    assert large["image_size"] == [224, 224]


def test_cost_of_a_run_on_text_uses_its_vocabulary() -> None:
    config = pydarts.SearchConfig(
        space="darts-rnn", units=4, nodes=2, batch_size=2, bptt=5, epochs=1, device="cpu", progress=False
    )
    text = np.arange(80) % 30
    pydarts.search((text, text), config).save("run")
    answer = answered("cost", "run", "--units", "8", "--json").json
    assert answer["network"]["vocabulary"] == 30 and "image_size" not in answer


def test_explain_shows_the_plan_of_options_and_of_runs(places: Path) -> None:
    shown = answered("explain", *NARROW).out
    assert shown == pydarts.Supernet(channels=2, layers=3).explain() + "\n"
    answer = answered("explain", places / "run", "--json").json
    assert answer["config"]["nodes"] == 2 and answer["cost"]["weights"] > 0


def test_explain_uses_the_cpu_if_the_device_of_the_run_is_missing(places: Path) -> None:
    if pydarts._core.cuda_is_available():
        pytest.skip("CUDA is here")
    shutil.copytree(places / "run", "run")
    config = Path("run/config.json")
    config.write_text(config.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    without_checksums(Path("run"))
    outcome = answered("explain", "run")
    assert "cuda" in outcome.err and outcome.out.startswith("space")
    assert "CUDA" in refused(1, "explain", "run", "--device", "cuda")


def test_options_for_other_data_are_usage_errors_before_data_are_read(places: Path) -> None:
    data, text = f"npz:{places / 'data.npz'}", ("--data", "corpus:bundled", "--preset", "quick")
    for command in ("train", "compare"):
        assert "--preset quick" in refused(2, command, "DARTS_RNN_V1", *text)
        assert "--image-size" in refused(2, command, "DARTS_V1", "--data", data, "--image-size", 8)


def test_a_cell_must_fit_the_kind_of_data(places: Path) -> None:
    for command in ("train", "compare"):
        more = () if command == "train" else ("--epochs", 1)
        images = ("--data", f"npz:{places / 'data.npz'}")
        said = refused(2, command, "DARTS_RNN_V1", *images, *more)
        assert "recurrent" in said and "corpus:" in said
        said = refused(2, command, "DARTS_V1", "--data", "corpus:bundled", *more)
        assert "convolutional" in said


def test_export_reports_the_image_size(places: Path) -> None:
    assert "8x8" in answered("export", places / "trained", "a.pt2").err, "that of the training"
    file = places / "trained" / "network.safetensors"
    assert "8x8" in answered("export", file, "c.pt2").err
    assert "8x6" in answered("export", places / "trained", "b.pt2", "--image-size", "8,6").err


def test_output_of_libraries_is_not_mixed_with_json(monkeypatch: pytest.MonkeyPatch) -> None:
    def chatter(*_: Any, **__: Any) -> dict[str, int]:
        print("by the way")
        return {"weights": 1}

    monkeypatch.setattr(pydarts, "cost", chatter)
    outcome = answered("cost", "DARTS_V2", *NARROW, "--json")
    assert outcome.json["weights"] == 1 and outcome.err == "by the way\n"


def test_a_file_of_another_tool_with_a_repeated_key_is_refused(tmp_path: Path) -> None:
    for values in (V2.to_nni(), pydarts.genotypes.DARTS_V1.to_nni()):
        text = json.dumps(values)
        first = text[1:].split(", ")[0]
        (tmp_path / "nni.json").write_text(f"{{{first}, {text[1:]}")
        assert "normal/op_2_0" in refused(1, "derive", tmp_path / "nni.json")
