"""What the tests of several searches share: data, a short training, and what is done with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conftest import make_arrays
from pydarts import SearchRow, SearchTable, TrainConfig
from pydarts._protocol import job as jobs

X, y = make_arrays(n=96)


def short(**changes: Any) -> TrainConfig:
    fields: dict[str, Any] = {"epochs": 2, "batch_size": 8, "weight_lr": 0.05, "device": "cpu"}
    return TrainConfig(**(fields | {"progress": False} | changes))


def plain(table: SearchTable) -> list[SearchRow]:
    """The rows without what a clock says."""
    return [replace(row, seconds=0.0) for row in table]


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """The epochs that are done from now on: row, search or training, number from 1."""
    found: list[tuple[str, str, int]] = []
    run = jobs.run

    def telling(job: jobs.Job, loader: Any, tell: Any) -> SearchRow:
        def heard(name: str, phase: str, epochs: int, how: str) -> None:
            found.append((name, phase, epochs))
            tell(name, phase, epochs, how)

        return run(job, loader, heard)

    monkeypatch.setattr("pydarts._protocol.executor.run", telling)
    return found
