"""Functions on several ranks: processes on loopback that `torch.distributed` connects."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

_LIMIT = 240.0  # seconds


@dataclass
class Ended:
    """How a rank ended."""

    code: int | None
    """The exit code of its process; None: it still ran at the limit."""
    value: Any = None
    """What the function returned."""
    trace: str = ""
    """The exception that it raised."""


def on_ranks(
    folder: Path,
    ranks: int,
    function: Callable[..., Any],
    *arguments: Any,
    limit: float = _LIMIT,
    meanwhile: Callable[[list[SpawnProcess]], None] = lambda processes: None,
) -> list[Ended]:
    """Call a function of a test module on some ranks, in processes with one thread each.

    `meanwhile` is called with the processes while they run.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        processes = [
            context.Process(target=_run, args=(folder, rank, ranks, port, function, arguments), daemon=True)
            for rank in range(ranks)
        ]
        for process in processes:
            process.start()
    finally:
        os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)
    meanwhile(processes)
    found = []
    for rank, process in enumerate(processes):
        process.join(limit)
        code = process.exitcode
        process.kill()
        process.join()
        path = folder / f"rank{rank}.pt"
        held = torch.load(path, weights_only=False) if path.exists() else {}
        path.unlink(missing_ok=True)
        found.append(Ended(code, **held))
    return found


def values(ended: list[Ended]) -> list[Any]:
    """Return what the function returned on each rank, which all ended well."""
    assert [one.code for one in ended] == [0] * len(ended), [one.trace for one in ended]
    return [one.value for one in ended]


def _run(
    folder: Path, rank: int, ranks: int, port: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    try:
        held = {"value": function(*arguments)}
    except BaseException:
        torch.save({"trace": traceback.format_exc()}, folder / f"rank{rank}.pt")
        raise
    torch.save(held, folder / f"rank{rank}.pt")
    dist.destroy_process_group()
