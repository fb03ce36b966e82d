"""A search that is stopped and goes on, for tests of what it then is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from best import best_epoch

STEPS = 4  # an epoch
EPOCHS = 3


def arrays(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, 1, 8, 8)).astype(np.uint8), np.arange(n) % 3


def pair() -> Any:
    """Four training batches an epoch, three validation batches a pass: passes and epochs do not keep step."""
    return arrays(32), arrays(27, seed=1)


def single() -> Any:
    return arrays(64)


def config(**changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {
        "channels": 2,
        "layers": 3,
        "nodes": 1,
        "operations": ("none", "skip_connect", "conv_3x3"),
        "epochs": EPOCHS,
        "batch_size": 8,
        "device": "cpu",
        "progress": False,
    }
    return pydarts.SearchConfig(**(fields | changes))


class Stop(Exception):
    """What the tests stop a search with."""


class StopAt(pydarts.Callback):
    """Raises after a step or an epoch, and counts what it hears."""

    def __init__(self, step: int | None = None, epoch: int | None = None) -> None:
        self.step, self.epoch, self.steps, self.epochs = step, epoch, 0, 0

    def on_step(self, info: pydarts.StepInfo) -> None:
        self.steps += 1
        if info.step == self.step:
            raise Stop(info.step)

    def on_epoch(self, info: pydarts.EpochInfo) -> None:
        self.epochs += 1
        if info.epoch == self.epoch:
            raise Stop(info.epoch)


def uninterrupted() -> Callable[..., pydarts.SearchResult]:
    """The uninterrupted search, run once for each configuration."""
    known: dict[Any, pydarts.SearchResult] = {}

    def run(source: Callable[[], Any] = pair, **changes: Any) -> pydarts.SearchResult:
        key = (source, json.dumps(changes, sort_keys=True))
        if key not in known:
            known[key] = pydarts.search(source(), config(**changes))
        return known[key]

    return run


def records(result: pydarts.SearchResult) -> list[dict[str, Any]]:
    """The history without the clock."""
    return [{k: v for k, v in record.items() if k != "seconds"} for record in result.history.to_dicts()]


def assert_same(one: pydarts.SearchResult, other: pydarts.SearchResult) -> None:
    assert one.status == other.status == "complete"
    assert one.steps == other.steps
    assert set(one.alphas) == set(other.alphas) >= {"normal", "reduce"}
    for name, trajectory in one.alphas.items():
        assert trajectory.dtype == other.alphas[name].dtype
        assert np.array_equal(trajectory, other.alphas[name]), name
    assert set(one.state_dict) == set(other.state_dict)
    unequal = [name for name, t in one.state_dict.items() if not torch.equal(t, other.state_dict[name])]
    assert not unequal
    assert records(one) == records(other)
    assert one.genotype == other.genotype
    assert best_epoch(one) == best_epoch(other)


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def stopped(
    folder: Path,
    source: Callable[[], Any] = pair,
    step: int | None = None,
    epoch: int | None = None,
    **changes: Any,
) -> pydarts.SearchResult:
    """Run until a callback raises; what was reached."""
    with pytest.raises(Stop) as caught:
        pydarts.search(source(), config(checkpoint_dir=folder, **changes), [StopAt(step, epoch)])
    return caught.value.result


def resumed(
    folder: Path, source: Callable[[], Any] = pair, callbacks: Any = (), **changes: Any
) -> pydarts.SearchResult:
    return pydarts.search(source(), config(checkpoint_dir=folder, resume=True, **changes), callbacks)
