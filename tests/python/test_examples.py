"""The scripts of examples/ run on small data and save results and plots."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pydarts
import pytest
from pydarts import datasets
from pydarts._data.corpus import bundled_english

FOLDER = Path(__file__).resolve().parents[2] / "examples"
SAVED = {"genotype.json", "alphas.npz", "history.json", "alphas.png", "cells.png"}

LONGER = ("digits", "presets", "text")
OWN = {
    "series": ("strings", "accuracy", {"layers.0", "layers.1", "layers.2"}),
    "table": (None, "error", {"0"}),
    "forecast": ("lorenz", "error", {"past", "start"}),
    "segment": ("heat", "IoU", {"0.down", "0.up", "0.inner.1.down", "0.inner.1.up", "0.inner.1.inner.1"}),
    "transformer": (None, "accuracy", {"1.mix", "2.mix", "3.mix"}),
}
"""Of the examples of own networks: the function that makes their data, what they print, and their choices."""


def example(name: str) -> ModuleType:
    """A script of examples/ as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_fits_a_page_and_is_tested() -> None:
    assert {path.stem for path in FOLDER.iterdir() if path.suffix} == {*LONGER, "operation", "ranks", *OWN}
    for path in FOLDER.glob("*.py"):
        assert len(path.read_text().splitlines()) <= (80 if path.stem in LONGER else 60), path


@pytest.mark.long
def test_presets_are_compared_with_random_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = datasets.digits()
    monkeypatch.setattr(datasets, "digits", lambda: (X[:128], y[:128]))
    few = ["--seeds", "1", "--epochs", "1", "--train-epochs", "1", "--random", "1", "--out", str(tmp_path)]
    assert example("presets").main(["gdas", "pc_darts", *few]) == 0
    table = pydarts.SearchTable.load(tmp_path / "table.csv")
    assert [row.name for row in table] == ["gdas seed 0", "pc_darts seed 0", "random 0"]
    assert table.status == "complete" and capsys.readouterr().out.count("validation accuracy") == 2


@pytest.mark.long
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", [preset.name for preset in pydarts.algorithms.presets()])
def test_every_preset_searches_digits_with_two_seeds(name: str, tmp_path: Path) -> None:
    assert example("presets").main([name, "--out", str(tmp_path), "--random", "1"]) == 0
    table = pydarts.SearchTable.load(tmp_path / "table.csv")
    assert [row.name for row in table] == [f"{name} seed 0", f"{name} seed 1", "random 0"]
    assert all(row.accuracy is not None and row.accuracy > 0.8 for row in table), str(table)


@pytest.mark.long
def test_digits_saves_two_results_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = datasets.digits()
    monkeypatch.setattr(datasets, "digits", lambda: (X[:128], y[:128]))
    few = ["--epochs", "1", "--unrolled-epochs", "1", "--train-epochs", "1", "--random", "2"]
    assert example("digits").main(["--out", str(tmp_path), *few]) == 0
    for method in ("first_order", "unrolled"):
        assert {path.name for path in (tmp_path / method).iterdir()} >= SAVED
        assert pydarts.SearchResult.load(tmp_path / method).config.hypergradient == method
    table = pydarts.SearchTable.load(tmp_path / "table.csv")
    assert [row.name for row in table] == ["first_order", "unrolled", "random 0", "random 1"]
    assert table.status == "complete" and (tmp_path / "table.png").exists()
    assert table[0].genotype == pydarts.SearchResult.load(tmp_path / "first_order").genotype
    captured = capsys.readouterr()
    assert captured.out.count("Genotype(normal=") == 2 and "validation accuracy" in captured.out
    assert str(table) in captured.out and "epoch 1/1" in captured.err


def test_text_saves_a_recurrent_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = example("text")
    whole = text.english()
    assert whole == bundled_english()
    monkeypatch.setattr(text, "english", lambda: "\n".join(whole.split("\n")[:500]))
    assert text.main(["--out", str(tmp_path), "--epochs", "1"]) == 0
    assert {path.name for path in tmp_path.iterdir()} >= SAVED
    shown = capsys.readouterr().out
    assert "Genotype(recurrent=" in shown and "perplexity: validation" in shown


@pytest.mark.parametrize("name", OWN)
def test_a_network_of_ones_own_is_searched_fixed_and_compared(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script, (makes, measure, choices) = example(name), OWN[name]
    if makes is not None:
        whole = getattr(script, makes)
        monkeypatch.setattr(script, makes, lambda n: whole(max(n // 8, 64)))
    script.main(out=str(tmp_path), epochs=1)
    result = pydarts.SearchResult.load(tmp_path)
    assert result.architecture.keys() >= choices and result.status == "complete"
    architecture, scores = capsys.readouterr().out.splitlines()
    assert architecture == str(result.architecture)
    searched, tuned, *random = re.findall(r"\d+\.\d", scores)
    assert scores.startswith(f"{measure} {searched}") and len(random) == 3 and tuned
    assert (tmp_path / f"{name}.png").stat().st_size > 5_000


def test_an_operation_of_ones_own_is_searched_and_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = datasets.digits()
    monkeypatch.setattr(datasets, "digits", lambda: (X[:256], y[:256]))
    example("operation").main(out=str(tmp_path), epochs=1)
    result = pydarts.SearchResult.load(tmp_path)
    assert "gated_conv_3x3" in result.config.resolved_space.operations
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0].endswith(str(result.genotype))
    assert (tmp_path / "operation.png").stat().st_size > 5_000


def test_an_example_is_a_command_with_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["table.py", "--out", str(tmp_path), "--epochs", "1"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(FOLDER / "table.py"), run_name="__main__")
    assert not ended.value.code and (tmp_path / "table.png").exists()


@pytest.mark.long
def test_ranks_search_under_torchrun(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [str(FOLDER / "ranks.py"), "--epochs", "1", "--out", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *script], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "2 processes, complete" in done.stdout
    assert pydarts.SearchResult.load(tmp_path / "result").status == "complete"
