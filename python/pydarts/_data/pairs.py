"""Sources of pairs of any tensors, for networks of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from .. import _core
from .._values.config import SearchConfig
from . import fingerprint
from .arrays import as_pair, is_array, stacked
from .loaders import Sources, on_gpu, single_source
from .memory import batch_size
from .passes import Passes, Turns, passes_of, split_loader
from .sizes import first_pass
from .source import PythonSource
from .structure import Layout, flatten

Unpack: TypeAlias = Callable[[Any], tuple[Any, Any]]
"""A batch of the loader -> (inputs, targets)."""


@dataclass(frozen=True)
class BatchReader:
    """Reads a batch of a loader: the tensors of its inputs and targets, and their layout."""

    role: str
    unpack: Unpack | None = None

    def __call__(self, number: int, batch: Any) -> tuple[list[Tensor], Layout]:
        """Read batch `number` of a pass, counted from 0."""
        what = f"batch {number} of the {self.role} loader"
        tensors, layout = flatten(parted(batch, what, self.unpack))
        checked = [self._checked(tensor, what) for tensor in tensors]
        if not checked or checked[0].ndim == 0 or not len(checked[0]):
            raise _core.DataError(f"{what} must hold a tensor whose first dimension counts the examples")
        return checked, layout

    def _checked(self, given: Tensor, what: str) -> Tensor:
        if given.layout != torch.strided:
            raise _core.DataError(f"{what} holds a tensor of layout {given.layout}; it must be dense")
        tensor = given.detach().cpu()
        if (tensor.is_floating_point() or tensor.is_complex()) and not bool(torch.isfinite(tensor).all()):
            raise _core.DataError(f"{what} contains NaN or infinity; remove or replace these values")
        # The loader may reuse its memory.
        return tensor.clone(memory_format=torch.contiguous_format)


def parted(batch: Any, what: str, unpack: Unpack | None) -> tuple[Any, Any]:
    """Return the inputs and targets of a batch.

    Raises:
        DataError: it is neither a pair nor a dictionary, and there is no `unpack`.
    """
    if unpack is not None:
        return unpack(batch)
    if isinstance(batch, Mapping):
        return batch, batch
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
    raise _core.DataError(
        f"{what} is a {type(batch).__name__}{size}; it must be a pair (x, y) or a dictionary, or pass "
        "unpack=function with function(batch) -> (inputs, targets)"
    )


def open_pairs(
    loader: Any, config: SearchConfig, poll: Callable[[], None], unpack: Unpack | None = None
) -> Sources:
    """Build the sources of a search with a network of one's own.

    `loader` is `(X, y)`, a `DataLoader`, or a pair (train, valid) of these or of lists of batches.
    """
    turns = Turns()
    given: tuple[tuple[str, Any, Passes | None], ...]
    loader = as_pair(loader)
    if isinstance(loader, tuple) and len(loader) == 2 and not all(map(is_array, loader)):
        train, valid = (
            _batches(part, role, config)
            for part, role in zip(loader, ("training", "validation"), strict=True)
        )
        passes: tuple[Passes, Passes, Passes] = (
            passes_of(train, config.seed, "train", False, turns),
            passes_of(valid, config.seed, "valid", False, turns),
            passes_of(valid, config.seed, "eval", True, turns),
        )
        given = (("train", train, passes[0]), ("valid", valid, passes[1]))
    else:
        single = _batches(loader, "training", config)
        passes = split_loader(single, config.train_portion, config.seed)
        given = (("data", single, None),)
    checks = tuple(BatchReader(role, unpack) for role in ("training", "validation", "validation"))
    firsts = [_first(run, check, poll) for run, check in zip(passes[:2], checks, strict=False)]
    facts: fingerprint.Facts = {}
    for (part, one, run), batch in zip(given, firsts, strict=False):
        facts |= fingerprint.of_loader(one, run, part) | fingerprint.of_batch(batch, one, part)
    sources = [PythonSource(run, check, on_gpu(config)) for run, check in zip(passes, checks, strict=True)]
    made = Sources(sources[0], sources[1], sources[2], config, facts)
    made.poll_with(poll)
    return made


def _batches(source: Any, role: str, config: SearchConfig) -> Any:
    """Return `source`, or a DataLoader of its arrays (X, y)."""
    source = single_source(source, role)
    if not isinstance(source, tuple):
        return source
    x, y = (torch.as_tensor(stacked(part, name)) for part, name in zip(source, ("X", "y"), strict=True))
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise _core.DataError(
            f"the {role} arrays have shapes {list(x.shape)} and {list(y.shape)}; X and y must have one row "
            "per example"
        )
    return DataLoader(TensorDataset(x, y), batch_size=batch_size(config), shuffle=True, drop_last=True)


def _first(run: Passes, check: BatchReader, poll: Callable[[], None]) -> Any:
    """Return the first batch of a source, checked."""
    try:
        for batch in first_pass(run, poll):
            check(0, batch)
            return batch
    finally:
        run.close()
    raise _core.DataError(f"the {check.role} loader is empty; it must yield at least one batch")
