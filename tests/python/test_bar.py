"""What stands beside a bar of progress: what a terminal has room for, and whole."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pydarts
import pytest
from pydarts import EpochInfo, StepInfo
from pydarts._search.bar import Bar
from pydarts._search.progress import Progress
from pydarts._train.progress import TrainProgress


def narrow(bar: Any, columns: int) -> None:
    """Give a bar a terminal of so many columns, of which tqdm leaves one free."""
    bar.dynamic_ncols = lambda file: (columns - 1, 23)


def drawn(text: str) -> tuple[str, int]:
    """The last drawing, and how long its bar is."""
    last = [part for part in re.split(r"[\r\n]", text) if part.strip()][-1]
    found = re.search(r"\|(.*?)\| ", last)
    assert found
    return last, len(found[1])


def searched(columns: int, step: int, epoch: int, per_epoch: int, epochs: int) -> None:
    """Show a step of a search in its epoch, minutes after its beginning."""
    config = pydarts.SearchConfig(epochs=epochs)
    space = config.resolved_space
    rng = np.random.default_rng(0)
    alphas = {name: rng.normal(size=(len(space.edges), len(space.operations))) for name in space.tables}
    progress = Progress(config)
    progress.begin(epochs, 0, per_epoch)
    narrow(progress._bar, columns)
    genotype = pydarts.genotypes.DARTS_V2
    progress.epoch(EpochInfo(epoch - 1, 0.123, 1.234, 0.9, 0.539, 0.025, {}, 3, 1.0, genotype, alphas))
    progress.step(StepInfo(0, 0, 0, per_epoch, 1.0, 1.0, 0.5, 0.025, alphas))
    progress._read_at, progress._bar.n = 0.0, step
    progress._bar.start_t -= step / 12.34
    progress.step(StepInfo(epoch, step, step % per_epoch, per_epoch, 0.123, 1.234, 0.986, 0.025, alphas))
    progress._bar.refresh()
    progress.close()


SIZES = [(123, 4, 28, 10), (12345, 35, 350, 50)]


@pytest.mark.parametrize("columns", [80])
@pytest.mark.parametrize("sizes", SIZES)
def test_eighty_columns_show_accuracies_and_a_bar(
    columns: int, sizes: tuple[int, int, int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    searched(columns, *sizes)
    line, bar = drawn(capsys.readouterr().err)
    assert len(line) <= columns and line.endswith("acc 98.6%/53.9%]")
    assert 8 <= bar < 40
    assert "entropy" not in line and "skips" not in line


@pytest.mark.parametrize("columns", [121, 200])
@pytest.mark.parametrize("sizes", SIZES)
def test_a_wide_terminal_shows_all_of_it(
    columns: int, sizes: tuple[int, int, int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    searched(columns, *sizes)
    line, bar = drawn(capsys.readouterr().err)
    assert len(line) <= columns and bar >= 8
    assert re.search(r"train 0.123, valid 1.234, acc 98.6%/53.9%, entropy \d\.\d{3}, skips \d\]$", line)
    assert ("step/s" in line) == (columns == 200)


@pytest.mark.parametrize("columns", range(64, 140, 3))
def test_whatever_is_shown_is_whole(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    searched(columns, *SIZES[1])
    line, _ = drawn(capsys.readouterr().err)
    assert len(line) <= columns and line.endswith("]")


@pytest.mark.parametrize("columns", [80])
def test_the_bar_of_a_training_fits_too(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    progress = TrainProgress(600, words=False)
    progress._last = {"valid": "1.234", "acc": "98.6%"}
    progress.begin(99, 1000)
    narrow(progress._bar, columns)
    progress._bar.start_t -= 1.0
    progress._bar.values = {"train": "0.123", **progress._last}
    progress._bar.update(12)
    progress._bar.refresh()
    line, bar = drawn(capsys.readouterr().err)
    progress.close()
    assert len(line) <= columns and line.endswith("acc 98.6%]") and bar >= 8


def test_without_a_terminal_nothing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(total=10, unit="step")
    bar.values = {name: "0.123" for name in ("train", "valid", "acc", "entropy", "skips")}
    bar.refresh()
    bar.close()
    assert "skips 0.123]" in capsys.readouterr().err


def test_a_notebook_without_widgets_is_not_warned_of_them() -> None:
    code = (
        "import sys, types\n"
        "shell = types.SimpleNamespace(config={'IPKernelApp': {}})\n"
        "sys.modules['IPython'] = types.ModuleType('IPython')\n"
        "sys.modules['IPython'].get_ipython = lambda: shell\n"
        "sys.modules['ipykernel.zmqshell'] = types.ModuleType('ipykernel.zmqshell')\n"
        "sys.modules['ipywidgets'] = None\n"
        "import pydarts\n"
        "from tqdm.auto import tqdm\n"
        "from tqdm.notebook import IProgress\n"
        "assert IProgress is None\n"
        "import pydarts._search.bar\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
