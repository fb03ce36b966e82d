"""Searches whose networks measure given values in their evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pydarts
import pytest
from functions import A, W, X, Y, config, regression
from pydarts._search import network as bound
from pydarts.nn import FunctionNetwork

Values = Sequence[Mapping[str, float]]
RMSE: Values = [{"rmse": 0.5, "mae": 0.25}, {"rmse": 0.125, "mae": 0.5}, {"rmse": 0.75, "mae": 0.0625}]


def measure(monkeypatch: pytest.MonkeyPatch, values: Values) -> None:
    """Let the next evaluations measure these values, one mapping per epoch."""
    found: Iterator[Mapping[str, float]] = iter(values)
    monkeypatch.setattr(bound.BoundNetwork, "measured", lambda self: dict(next(found)))


def searched(callbacks: Any = (), network: Any = None, **changes: Any) -> pydarts.SearchResult:
    """A regression, so without accuracies."""
    given: dict[str, Any] = {"epochs": 3, "batch_size": 4, "weight_lr": 1e-3, "weight_lr_min": 0.0}
    network = FunctionNetwork(regression, W, A) if network is None else network
    data = (X.numpy(), Y.numpy())
    return pydarts.search(data, config(**(given | changes)), callbacks=callbacks, network=network)
