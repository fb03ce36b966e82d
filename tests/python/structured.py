"""Sources of batches of any structure for the tests, read as the engine reads them."""

from __future__ import annotations

from typing import Any

import pydarts
import torch
from pydarts._data.loaders import Sources
from pydarts._data.pairs import open_pairs


def config(**changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {"batch_size": 4, "device": "cpu", "progress": False}
    return pydarts.SearchConfig(**(fields | changes))


def opened(loader: Any, unpack: Any = None, **changes: Any) -> Sources:
    return open_pairs(loader, config(**changes), lambda: None, unpack)


def drain(source: Any, index: int = 0, skip: int = 0) -> list[Any]:
    """The (inputs, targets) of a pass."""
    source.start(index, skip)
    return [layout.rebuild(tensors) for tensors, layout in iter(source.next, None)]


def read(loader: Any, unpack: Any = None, **changes: Any) -> list[list[Any]]:
    """The batches of a pass of training, validation and evaluation."""
    sources = opened(loader, unpack, **changes)
    try:
        return [drain(source) for source in (sources.train, sources.valid, sources.evaluation)]
    finally:
        sources.close()


def rows(batches: list[Any]) -> list[float]:
    """The first numbers of the examples of batches of tensors."""
    return torch.cat([batch.reshape(len(batch), -1)[:, 0] for batch in batches]).tolist()
