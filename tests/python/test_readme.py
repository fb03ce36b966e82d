"""The README: its code runs from another folder and prints what the page shows; its pictures exist."""

import re
from pathlib import Path

import pages
import pytest
from PIL import Image

README = pages.ROOT / "README.md"
PICTURES = pages.ROOT / "docs" / "pictures"


@pytest.mark.first
def test_the_code_of_the_readme_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pages.run(README)
    printed = capsys.readouterr().out
    shown = [block.code for block in pages.blocks(README) if block.language == "text"]
    assert shown
    for text in shown:
        assert pages.disagreement(text, printed, points=5) is None
    assert (tmp_path / "cells.png").stat().st_size > 10_000
    assert len(printed.splitlines()) < 40


def test_the_first_example_has_at_most_ten_statements_and_goes_from_data_to_a_trained_network() -> None:
    first = next(block.code for block in pages.blocks(README) if block.runs)
    assert len([line for line in first.splitlines() if line and not line.startswith("import")]) <= 10
    calls = [first.index(f"pydarts.{name}(") for name in ("search", "build", "train")]
    assert calls == sorted(calls)


def test_an_example_searches_a_network_of_ones_own_with_a_loss_and_a_metric() -> None:
    own = [block.code for block in pages.blocks(README) if block.runs and "Choice(" in block.code]
    assert len(own) == 1 and all(word in own[0] for word in ("network=", "metric=", "fixed_network"))


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < 150


def test_every_picture_of_the_readme_is_in_the_repository_and_one_moves() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    assert {(pages.ROOT / name).parent for name in shown} == {PICTURES}
    frames = {}
    for name in shown:
        path = pages.ROOT / name
        assert path.stat().st_size < 1_000_000, name
        with Image.open(path) as image:
            frames[name] = getattr(image, "n_frames", 1)
    assert max(frames.values()) >= 10


@pytest.mark.parametrize(
    ("shown", "agrees"),
    [
        ("validation accuracy 95.0%", True),
        ("validation accuracy 90.0%", False),
        ("training accuracy 97.9%", False),
        ("Genotype(normal=[('none', 3), ('sep_conv_3x3', 0)])", True),
        ("Genotype(reduce=[('none', 3), ('sep_conv_3x3', 0)])", False),
        ("(9, 14, 8)", True),
        ("(3, 14, 8)", False),
        ("searched − random = …", True),
        ("searched − chance = …", False),
        ("(9, 14, 8)\nvalidation accuracy 97.9%", False),
    ],
)
def test_what_is_shown_is_compared_with_what_is_printed(shown: str, agrees: bool) -> None:
    printed = (
        "validation accuracy 97.9%\nGenotype(normal=[('sep_conv_5x5', 0), ('skip_connect', 1)])\n"
        "(9, 14, 8)\nsearched − random = -1.25 points: not significant\n"
    )
    assert (pages.disagreement(shown, printed, points=5) is None) == agrees
