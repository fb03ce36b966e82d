"""SIGTERM and Ctrl-C: runs inside others, in threads, in worker processes; handlers that stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from loaders import floats
from pydarts._protocol.job import fresh
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler
from trained import StopAt, config, network

X, Y = make_arrays()
PATIENCE = 120.0  # seconds for a process on a busy machine
both = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Every test leaves the handlers as they are."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def send(number: int) -> None:
    os.kill(os.getpid(), number)


class At(pydarts.Callback):
    """Does something after a step."""

    def __init__(self, act: Any, step: int = 3) -> None:
        self.act, self.step = act, step

    def on_step(self, info: pydarts.StepInfo) -> None:
        if info.step == self.step:
            self.act()


@both
def test_a_signal_brings_the_partial_result_and_a_checkpoint(number: int, tmp_path: Path) -> None:
    cfg = make_config(epochs=4, checkpoint_dir=tmp_path)
    result = pydarts.search((X, Y), cfg, At(lambda: send(number)))
    assert result.status == "interrupted"
    assert result.steps[-1] == 4
    resumed = pydarts.search((X, Y), cfg.replace(resume=True))
    assert resumed.status == "complete"
    whole = pydarts.search((X, Y), cfg.replace(checkpoint_dir=None))
    assert np.array_equal(resumed.alphas["normal"][-1], whole.alphas["normal"][-1])


@both
def test_a_signal_ends_a_training(number: int) -> None:
    result = pydarts.train(network(), (X, Y), config(), StopAt(1, 2, lambda: send(number)))
    assert (result.status, len(result.history)) == ("interrupted", 1)


@both
@pytest.mark.parametrize("early", [False, True], ids=["during the training", "before the training"])
def test_a_training_in_a_callback_and_its_search_both_end(number: int, early: bool) -> None:
    found: list[pydarts.TrainResult] = []

    def act() -> None:
        if early:
            send(number)
        stop = StopAt(0, 1, lambda: None if early else send(number))
        found.append(pydarts.train(network(), (X, Y), config(epochs=9), stop))

    result = pydarts.search((X, Y), make_config(epochs=9), At(act))
    assert (result.status, result.steps[-1]) == ("interrupted", 4)
    assert (found[0].status, len(found[0].history)) == ("interrupted", 0)


@both
def test_a_signal_ends_all_rows_of_a_table(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    select = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False, device="cpu")

    def interrupted(*values: Any) -> Any:
        send(number)  # between the search and the training of the first row
        return fresh(*values)

    monkeypatch.setattr("pydarts._protocol.job.fresh", interrupted)
    table = pydarts.search_many((X, Y), make_config(epochs=1), seeds=2, select=select, workers=0)
    assert [row.status for row in table] == ["interrupted", "waiting"]


def test_a_handler_of_the_user_and_an_ignored_signal_stay() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        result = pydarts.search((X, Y), make_config(epochs=1), At(lambda: send(signal.SIGTERM), 1))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (result.status, heard) == ("complete", [signal.SIGTERM])
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        result = pydarts.search((X, Y), make_config(epochs=1), At(lambda: send(signal.SIGTERM), 1))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert result.status == "complete"


def test_another_thread_installs_no_handler() -> None:
    before, found = signal.getsignal(signal.SIGTERM), []

    def run() -> None:
        act = At(lambda: found.append(signal.getsignal(signal.SIGTERM)), 1)
        found.append(pydarts.search((X, Y), make_config(epochs=1), act).status)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [before, "complete"]


TWICE = """
import os, signal, pydarts, numpy as np
class Twice(pydarts.Callback):
    def on_step(self, info):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
X, y = np.zeros((32, 1, 8, 8), np.float32), np.arange(32) % 2
cfg = pydarts.SearchConfig(channels=2, layers=3, batch_size=8, epochs=1, device="cpu", progress=False)
pydarts.search((X, y), cfg, Twice())
"""


def test_a_second_sigterm_ends_the_process_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, timeout=PATIENCE)
    assert done.returncode == -signal.SIGTERM


class Interrupted(Dataset[Any]):
    def __init__(self, act: Any) -> None:
        self.act = act

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        if index == 40:
            self.act()
        return torch.zeros(1, 8, 8), index % 4


def press() -> None:
    raise KeyboardInterrupt


def end() -> None:
    send(signal.SIGKILL)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "sampled", [pytest.param(False, id="plain", marks=pytest.mark.long), pytest.param(True, id="sampler")]
)
def test_an_interrupt_in_a_data_set_interrupts_the_run(workers: int, sampled: bool) -> None:
    kind: Any = {"sampler": WeightedRandomSampler([1.0] * 64, 200)} if sampled else {}
    loader = DataLoader(Interrupted(press), 8, num_workers=workers, **kind)
    assert pydarts.search((loader, floats()), make_config(num_classes=4)).status == "interrupted"
    assert pydarts.train(network(), (loader, floats()), config(epochs=1)).status == "interrupted"


def test_a_worker_process_that_is_killed_is_an_error() -> None:
    loader = DataLoader(Interrupted(end), 8, num_workers=1)
    with pytest.raises(RuntimeError):
        pydarts.search((loader, floats()), make_config(num_classes=4))
