"""`LiveView` in a terminal: the picture, its size, and what is printed beside it."""

import re
import sys

import numpy as np
import pytest
from conftest import Stop, make_arrays, make_config
from pydarts import Callback, EpochInfo, LiveView, StepInfo, search
from pydarts._show.live.terminal import TerminalView, picture
from scenes import on_screen, scene_of, text_of


def test_a_terminal_shows_edges_curves_and_the_genotype_of_the_search() -> None:
    console = on_screen()
    result = search(make_arrays(), make_config(), LiveView(console=console, where="terminal"))
    shown = text_of(console)
    last = shown[shown.rindex("complete after 2 epochs") :]
    for word in ("train loss", "valid acc.", "entropy", "skips", "normal", "reduce", "cₖ₋₂→2", "2→3"):
        assert word in last, word
    assert str(result.genotype) in " ".join(last.split()).replace("( ", "(")


@pytest.mark.parametrize("space", ["darts", "darts-rnn"])
def test_the_marked_edges_and_their_operations_are_the_genotype(space: str) -> None:
    scene = scene_of(space)
    console = on_screen(120, 60)
    console.print(picture(scene, 120, 60))
    row = re.compile(r"(\S+)→(\d)•[▁-█]+ (\w+)")
    found = sorted((operation, source) for source, _, operation in row.findall(text_of(console)))
    names = {0: "s₀"} if space == "darts-rnn" else {0: "cₖ₋₂", 1: "cₖ₋₁"}
    genotype = scene.genotype
    assert genotype is not None
    genes = (*genotype.normal, *genotype.reduce, *genotype.recurrent)
    assert found == sorted((operation, names.get(source, str(source))) for operation, source in genes)


def test_the_bars_are_as_high_as_the_weights() -> None:
    scene = scene_of(steps=1)
    space = scene.space
    alphas = {name: np.zeros((len(space.edges), len(space.operations))) for name in space.tables}
    alphas["normal"][0, 3] = 3.0
    scene.step(StepInfo(0, 1, 1, 10, 1.0, 1.0, 0.5, 0.025, alphas))
    console = on_screen(120, 60)
    console.print(picture(scene, 120, 60))
    line = next(line for line in text_of(console).splitlines() if line.startswith("cₖ₋₂→2"))
    bars = re.search(r"•([▁-█]+) skip_connect \.7416", line)
    assert bars is not None and bars.group(1)[6:8] == "██"
    assert max(bars.group(1)[:6] + bars.group(1)[8:]) < "▃"


@pytest.mark.parametrize("space", ["darts", "darts-rnn"])
@pytest.mark.parametrize("size", [(20, 6), (40, 12), (60, 16), (80, 24), (100, 30), (200, 60)])
def test_the_picture_fits_into_the_terminal(space: str, size: tuple[int, int]) -> None:
    width, height = size
    console = on_screen(width, height)
    console.print(picture(scene_of(space), width, height - 1))
    lines = text_of(console).splitlines()
    assert len(lines) < height
    assert max(map(len, lines)) <= width


def test_a_small_terminal_shows_the_edges_that_are_kept() -> None:
    console = on_screen(80, 16)
    console.print(picture(scene_of(), 80, 15))
    edges = [line for line in text_of(console).splitlines() if "→" in line]
    assert len(edges) == 8 and all(line.count("•") == 2 for line in edges)


def test_the_progress_bar_stays_away_and_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(progress=True)
    search(make_arrays(), config, LiveView(console=on_screen()))
    assert capsys.readouterr().err == ""
    search(make_arrays(), config, Stop(LookupError(), step=99))
    assert "step/s" in capsys.readouterr().err


def test_what_is_printed_meanwhile_stands_above_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    class Print(Callback):
        def on_epoch(self, info: EpochInfo) -> None:
            print(f"epoch {info.epoch} said")

    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        console = on_screen()
        search(make_arrays(), make_config(), [LiveView(console=console, where="terminal"), Print()])
    shown = text_of(console)
    assert shown.index("epoch 1 said") < shown.rindex("complete after 2 epochs")
    assert sys.stdout is not None and "rich" not in type(sys.stdout).__module__


def test_what_is_printed_into_a_file_goes_there(capsys: pytest.CaptureFixture[str]) -> None:
    class Print(Callback):
        def on_epoch(self, info: EpochInfo) -> None:
            print(f"epoch {info.epoch} said")

    console = on_screen()
    search(make_arrays(), make_config(), [LiveView(console=console, where="terminal"), Print()])
    assert capsys.readouterr().out == "epoch 0 said\nepoch 1 said\n"
    assert "said" not in text_of(console)


def test_a_terminal_view_that_never_drew_closes() -> None:
    TerminalView(on_screen(), 0.01).close()
