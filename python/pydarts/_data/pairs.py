"""Sources of batches of any structure, for user-defined networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Number
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from .. import _core
from .._values.config import SearchConfig
from . import fingerprint
from .forms import Pair, arranged
from .loaders import Sources, on_gpu
from .memory import batch_size
from .passes import Passes, Turns, split_loader
from .planned import PlannedPasses, Rows, planned_passes
from .sizes import first_pass
from .source import PythonSource, Structured
from .structure import Layout, describe, flatten, held_by, is_movable
from .unpacking import Unpacking

Unpack: TypeAlias = Callable[[Any], tuple[Any, Any]]
"""A batch of the loader -> (inputs, targets)."""

_PARTS = ("training", "validation")


@dataclass(frozen=True)
class BatchReader:
    """Takes a batch of a loader apart: inputs and targets of any structure, with tensors in it."""

    role: str
    """Of the loader: "training" or "validation"; "given" for a batch that is given alone."""
    unpack: Unpack | None = None
    """What makes inputs and targets of a batch, if it has not been called."""
    unpacked: bool = False
    """Whether batches are what `unpack` returned."""
    most: int | None = None
    """Larger batches are divided into micro-batches, every tensor along its first dimension."""
    fresh: bool = False
    """Whether the tensors are new ones, whose values have been checked."""

    def __call__(self, number: int, batch: Any) -> Structured:
        """Check batch `number` of a pass, from 0; return its tensors and the layout of (inputs, targets)."""
        given = self.role == "given"
        of = " of the given batch" if given else f" of batch {number} of the {self.role} loader"
        unpacked = self.unpacked or self.unpack is not None
        parts, names = _parts(batch if self.unpack is None else self.unpack(batch), unpacked, of)
        tensors, layout = flatten(parts, names, of)
        self._check_shapes(tensors, layout, names, of)
        if self.fresh:
            return tensors, layout
        for tensor, path in zip(tensors, layout.paths, strict=True):
            check_finite(tensor, path + of)
        # The loader may reuse its memory.
        return [tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors], layout

    def _check_shapes(self, tensors: list[Tensor], layout: Layout, names: tuple[str, str], of: str) -> None:
        what = of.removeprefix(" of ")
        if not tensors:
            raise _core.DataError(f"{what} holds no tensor; its first tensor must have one row per example")
        shapes = {path: list(tensor.shape) for path, tensor in zip(layout.paths, tensors, strict=True)}
        path, first = next(iter(shapes.items()))
        if not first or not first[0]:
            raise _core.DataError(
                f"{path}{of} has shape {first}; it is the first tensor, whose first dimension counts the "
                "examples and must be at least 1"
            )
        plain = names == ("x", "y") == layout.paths
        divided = self.most is not None and first[0] > self.most
        uneven = [other for other, shape in shapes.items() if shape[:1] != first[:1]]
        if uneven and (plain or divided):
            why = (
                "micro_batch divides all tensors of a batch; leave it out"
                if divided
                else "if that is intended, pass unpack=lambda batch: (batch[0], batch[1])"
            )
            raise _core.DataError(
                f"{path} and {uneven[0]}{of} have shapes {first} and {shapes[uneven[0]]}; the first "
                f"dimension must be equal, as it counts the examples; {why}"
            )
        whole = [other for other, length in layout.whole if length in (None, first[0])]
        if divided and whole:
            raise _core.DataError(
                f"{whole[0]}{of} is not a tensor, so micro_batch cannot divide it; leave out micro_batch"
            )


def _parts(batch: Any, unpacked: bool, of: str) -> tuple[tuple[Any, Any], tuple[str, str]]:
    """Return inputs and targets, and their names in errors."""
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2 and not is_movable(batch)
    if unpacked:
        if not pair:
            raise _core.DataError(
                f"unpack must return a pair (inputs, targets), but returned {describe(batch)} for "
                + of.removeprefix(" of ")
            )
        return (_listed(batch[0]), _listed(batch[1])), ("inputs", "targets")
    if isinstance(batch, Mapping):
        return (batch, batch), ("batch", "batch")
    if pair:
        return (_listed(batch[0]), _listed(batch[1])), ("x", "y")
    raise _core.DataError(
        f"{of.removeprefix(' of ')} is {describe(batch)}; expected a pair (x, y) or a dict. Pass "
        f"unpack to select inputs and targets: search(..., unpack=lambda batch: {_example(batch)})"
    )


def check_finite(tensor: Tensor, what: str) -> None:
    """Raise DataError if a tensor of floating-point numbers contains NaN or infinity."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return
    rows = tensor.reshape(len(tensor), -1) if tensor.ndim and len(tensor) else tensor.reshape(1, -1)
    step = max(1, _CHUNK // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        fine = torch.isfinite(rows[start : start + step]).all(1)
        if not bool(fine.all()):
            row = start + int((~fine).nonzero()[0])
            raise _core.DataError(
                f"{what} contains NaN or infinity (row {row}); remove or replace these values"
            )


_CHUNK = 1 << 22  # numbers per step of a check, which limits its memory


def open_pairs(
    loader: Any,
    config: SearchConfig,
    poll: Callable[[], None],
    unpack: Unpack | None = None,
    fewest_valid: int | None = None,
) -> Sources:
    """Build the sources of a search or a training with a user-defined network.

    `loader` is `(X, y)`, a dictionary of arrays, `(dictionary, y)`, a `DataLoader`, or a pair (train, valid)
    of two of these or of two repeatable iterables of batches. A batch is a pair (inputs, targets), a
    dictionary, or what `unpack` makes such a pair of.

    `fewest_valid`: the minimum number of examples in a validation part of arrays, which is then only
    evaluated; None: one batch.
    """
    unpacks = None if unpack is None else Unpacking(unpack)
    found = arranged(loader)
    given = found if isinstance(found, Pair) else (found,)
    batches = tuple(part.loader(batch_size(config)) if isinstance(part, Rows) else part for part in given)
    _check_rows(given, config, fewest_valid)
    passes: tuple[Passes, Passes, Passes]
    if len(batches) == 1:
        passes = split_loader(batches[0], config.train_portion, config.seed, PlannedPasses, fewest_valid)
    else:
        turns, (train, valid) = Turns(), batches
        passes = (
            planned_passes(train, config.seed, "train", False, turns),
            planned_passes(valid, config.seed, "valid", False, turns),
            planned_passes(valid, config.seed, "eval", True, turns),
        )
    checks = [
        BatchReader(
            role, None, unpack is not None, config.micro_batch, unpack is None and isinstance(part, Rows)
        )
        for role, part in zip((*_PARTS, _PARTS[1]), (given[0], given[-1], given[-1]), strict=True)
    ]
    read = passes[:2] if fewest_valid is None else passes[::2]
    firsts = [_first(run, check, poll, unpacks) for run, check in zip(read, checks[:2], strict=True)]
    facts: fingerprint.Facts = {}
    names = ("data",) if len(given) == 1 else ("train", "valid")
    for part, name, run, first in zip(given, names, passes, firsts, strict=False):
        if isinstance(part, Rows):
            facts |= fingerprint.of_rows(part.tensors, part.layout.paths, name)
        else:
            facts |= fingerprint.of_loader(part, None if len(given) == 1 else run, name)
            facts |= fingerprint.of_structure(*first, name, held=isinstance(part, (list, tuple)))
    made = [
        PythonSource(run, check, on_gpu(config), unpacks) for run, check in zip(passes, checks, strict=True)
    ]
    tensors, layout = firsts[0]
    inputs, _ = layout.rebuild(tensors)
    sources = Sources(made[0], made[1], made[2], config, facts, first=(inputs, len(tensors[0])))
    sources.poll_with(poll)
    # Code of the user in loader and network may share generators that nothing can find.
    sources.fetch_when_asked()
    return sources


def _check_rows(given: tuple[Any, ...], config: SearchConfig, fewest_valid: int | None) -> None:
    """Check the values of arrays, and that two parts have the same arrays of at least a batch each."""
    for part, role in zip(given, _PARTS, strict=False):
        if not isinstance(part, Rows):
            continue
        for tensor, path in zip(part.tensors, part.layout.paths, strict=True):
            check_finite(tensor, f"{path} of the {role} data")
        least = fewest_valid if role == _PARTS[1] and fewest_valid else batch_size(config)
        if len(given) == 2 and len(part) < least:
            raise _core.DataError(
                f"the {role} part has {len(part)} examples, fewer than one batch of "
                f"batch_size={config.batch_size}; give more examples or a smaller batch_size"
            )
    if len(given) == 2 and all(isinstance(part, Rows) for part in given):
        one, other = (set(part.layout.paths) for part in given)
        if one != other:
            raise _core.DataError(
                f"the training data have {', '.join(sorted(one))}, the validation data "
                f"{', '.join(sorted(other))}; give both the same arrays"
            )


def _first(run: Passes, check: BatchReader, poll: Callable[[], None], unpack: Unpacking | None) -> Structured:
    """Return the first batch of a source, taken apart."""
    try:
        for batch in first_pass(run, poll, unpack, check.role):
            return check(0, batch)
    finally:
        run.close()
    raise _core.DataError(f"the {check.role} loader is empty; it must yield at least one batch")


def _listed(part: Any) -> Any:
    """Return a tensor for a list of numbers, or of lists of them, in place of inputs or targets."""
    some = part
    while isinstance(some, list) and some:
        some = some[0]
    if some is part or not isinstance(some, (Number, np.number, np.bool_)):
        return part
    try:
        return torch.as_tensor(part)
    except (TypeError, ValueError, RuntimeError):  # of different lengths, or not only numbers
        return part


def _example(batch: Any) -> str:
    """Return what a function `unpack` may return for a batch."""
    if isinstance(batch, Tensor) or not isinstance(batch, (tuple, list)):
        held = held_by(batch)
        if isinstance(batch, Tensor) or len(held) < 2:
            return "(batch, batch)"
        return f"(batch.{held[0]}, batch.{held[-1]})"
    if len(batch) < 2:
        return "(batch[0], batch[0])"
    return f"(({', '.join(f'batch[{index}]' for index in range(len(batch) - 1))}), batch[{len(batch) - 1}])"
