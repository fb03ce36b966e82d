"""Sources of pairs of any tensors, for networks of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class PairChecker:
    """Validates a batch of a loader: a pair of tensors whose first dimension counts the examples."""

    role: str

    def __call__(self, number: int, batch: Any) -> tuple[Tensor, Tensor]:
        """Check batch `number` of a pass, counted from 0."""
        what = f"batch {number} of the {self.role} loader"
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise _core.DataError(f"{what} must be a pair (x, y) of tensors, got a {type(batch).__name__}")
        x, y = (self._tensor(part, f"{name} of {what}") for part, name in zip(batch, ("x", "y"), strict=True))
        if len(x) != len(y) or not len(x):
            raise _core.DataError(
                f"x and y of {what} have shapes {list(x.shape)} and {list(y.shape)}; the first dimension "
                "counts the examples and must be equal and at least 1"
            )
        return x, y

    def _tensor(self, value: Any, what: str) -> Tensor:
        try:
            given = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise _core.DataError(
                f"{what} must be a tensor or an array, got a {type(value).__name__}"
            ) from error
        if given.ndim == 0 or given.layout != torch.strided:
            raise _core.DataError(
                f"{what} has shape {list(given.shape)}; it must be dense, its first dimension the examples"
            )
        tensor = given.detach().cpu()
        if (tensor.is_floating_point() or tensor.is_complex()) and not bool(torch.isfinite(tensor).all()):
            raise _core.DataError(f"{what} contains NaN or infinity; remove or replace these values")
        # The loader may reuse its memory.
        return tensor.clone(memory_format=torch.contiguous_format)


def open_pairs(loader: Any, config: SearchConfig, poll: Callable[[], None]) -> Sources:
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
    checks = tuple(PairChecker(role) for role in ("training", "validation", "validation"))
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


def _first(run: Passes, check: PairChecker, poll: Callable[[], None]) -> Any:
    """Return the first batch of a source, checked."""
    try:
        for batch in first_pass(run, poll):
            check(0, batch)
            return batch
    finally:
        run.close()
    raise _core.DataError(f"the {check.role} loader is empty; it must yield at least one batch")
