"""The scripts of examples/ run on small data and save results and plots."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pydarts
import pytest
from pydarts import datasets
from pydarts._data.corpus import bundled_english

FOLDER = Path(__file__).resolve().parents[2] / "examples"
SAVED = {"genotype.json", "alphas.npz", "history.json", "alphas.png", "cells.png"}


def example(name: str) -> ModuleType:
    """A script of examples/ as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_fits_a_page_and_is_tested() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.suffix} == {"digits.py", "text.py"}
    assert all(len(path.read_text().splitlines()) <= 80 for path in FOLDER.glob("*.py"))


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
