"""Ranks that are silent instead of dead, or that only seem to be."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
import torch.distributed as dist
from pydarts import SearchConfig
from pydarts._search import ranks as ranks_of_searches
from pydarts._search import store
from ranked import on_ranks, values
from test_ranks import SMALL, X, y

pytestmark = pytest.mark.long


class Loader:
    """Batches of a rank, before one of which something happens."""

    sharded = True

    def __init__(self, what: Any) -> None:
        self.what = what

    def __len__(self) -> int:
        return 6

    def __iter__(self) -> Any:
        for number in range(6):
            if number == 3:
                self.what()
            yield torch.from_numpy(X[:4]), torch.from_numpy(y[:4])


def searched(what: Any, loss: Any = None) -> str:
    ranks_of_searches._HUNG, store._ANSWER = 3.0, 25.0
    options = SMALL | {"num_classes": 3, "epochs": 1}
    del options["batch_size"]
    try:
        return pydarts.search((Loader(what), Loader(lambda: None)), SearchConfig(**options), loss=loss).status
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def stop(rank: int) -> None:
    """Stop a rank without an end, as a machine does that loses its network."""
    if dist.get_rank() == rank:
        os.kill(os.getpid(), signal.SIGSTOP)


def stopped(folder: Path, rank: int) -> str:
    return searched(lambda: stop(rank))


def release(processes: list[Any], rank: int) -> None:
    """Wait for the others, then end the stopped one."""
    for other, process in enumerate(processes):
        if other != rank:
            process.join(60)
    processes[rank].kill()


def test_the_others_do_not_wait_for_a_rank_that_is_silent(tmp_path: Path) -> None:
    found = on_ranks(tmp_path, 3, stopped, tmp_path, 1, meanwhile=lambda processes: release(processes, 1))
    for rank in (0, 2):
        assert found[rank].code == 0 and "rank 1 of 3 died" in found[rank].value, found[rank]
    assert found[1].code == -signal.SIGKILL


class Broken:
    """A loss that stops rank 0, which holds the store, and fails on rank 1."""

    calls = 0

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == 5:
            stop(0)
            time.sleep(2)
            raise ValueError("this loss is broken")
        return torch.nn.functional.cross_entropy(logits, labels)


def failing(folder: Path) -> str:
    return searched(lambda: None, Broken())


def test_a_rank_fails_alone_when_the_store_is_silent(tmp_path: Path) -> None:
    found = on_ranks(tmp_path, 2, failing, tmp_path, meanwhile=lambda processes: release(processes, 0))
    assert found[1].code == 0 and "this loss is broken" in found[1].value, found[1]


def slow() -> None:
    """Stop rank 1 for longer than the limit of silence, then continue it."""
    if dist.get_rank() == 1:
        os.system(f"(sleep 5; kill -CONT {os.getpid()}) &")
        os.kill(os.getpid(), signal.SIGSTOP)


def paused(folder: Path) -> str:
    ranks_of_searches._SILENT = 15.0
    return searched(slow)


def test_a_rank_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    assert values(on_ranks(tmp_path, 2, paused, tmp_path)) == ["complete"] * 2


def all_pause(processes: list[Any]) -> None:
    """Stop all ranks for longer than silence is allowed, some times."""
    time.sleep(8)
    for _ in range(3):
        for sign in (signal.SIGSTOP, signal.SIGCONT):
            for process in processes:
                os.kill(process.pid, sign)
            time.sleep(5 if sign == signal.SIGSTOP else 0.7)


def patient(folder: Path) -> str:
    return searched(lambda: time.sleep(20))


def test_a_pause_of_all_is_no_silence(tmp_path: Path) -> None:
    assert values(on_ranks(tmp_path, 2, patient, tmp_path, meanwhile=all_pause)) == ["complete"] * 2


def dies_before_the_group(folder: Path) -> str:
    ranks_of_searches._JOINING = ranks_of_searches.timedelta(seconds=8)
    if dist.get_rank() == 1:
        dist.new_group = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    return searched(lambda: None)


def test_a_rank_may_die_before_the_group_is_made(tmp_path: Path) -> None:
    found = on_ranks(tmp_path, 2, dies_before_the_group, tmp_path, limit=60)
    assert found[0].code == 0 and "RankError: rank 1 of 2 died" in found[0].value, found[0]
