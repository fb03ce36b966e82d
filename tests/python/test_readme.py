"""The code of the README runs, in one interpreter, from a folder that is not the repository."""

from pathlib import Path

import pages
import pydarts
import pytest

README = pages.ROOT / "README.md"


def examples() -> list[str]:
    return [block.code for block in pages.blocks(README) if block.runs]


def test_the_examples_of_the_readme_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(examples()) >= 2
    pages.run(README)
    printed = capsys.readouterr().out
    assert "Genotype(normal=" in printed
    assert "(3, 14, 8)" in printed, "the initial point and two epochs"
    assert (tmp_path / "run" / "genotype.json").exists()
    assert pydarts.load_network(tmp_path / "digits.safetensors").arguments["layers"] == 3
    assert (tmp_path / "digits.pt2").stat().st_size > 10_000
    assert "n = 2" in printed and "random 1  complete" in printed


def test_the_ten_line_example_has_ten_lines() -> None:
    assert len(lines_of(examples()[0])) <= 10


def test_from_a_search_to_a_network_it_is_fifteen_lines() -> None:
    way = examples()[1]
    assert len(lines_of(way)) <= 15
    calls = [way.index(f"pydarts.{name}(") for name in ("search", "build", "train", "export")]
    assert calls == sorted(calls)


def lines_of(block: str) -> list[str]:
    return [line for line in block.splitlines() if line.strip() and not line.startswith("import")]
