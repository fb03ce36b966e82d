"""`FunctionNetwork`: a network of your own, written as a function of weights and mixing weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .._core import ConfigError
from .._values.callables import fact_of, short_name
from .._values.words import shown

Named: TypeAlias = dict[str, Tensor]
Given: TypeAlias = Tensor | npt.NDArray[Any] | float
Names: TypeAlias = Sequence[str] | Sequence[Sequence[str]]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class FunctionTable:
    """A table of logits of a `FunctionNetwork`."""

    name: str
    """The name of the table."""
    shape: tuple[int, ...]
    """The shape of its mixing weights as the function gets them: [rows, columns], [columns] or []."""
    candidates: tuple[tuple[str, ...], ...]
    """The names of the candidates of every row."""
    initial: Tensor | None
    """The initial logits [rows, columns]; None: drawn by (seed, name)."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the rows: their numbers."""
        return tuple(map(str, range(len(self.candidates))))


class FunctionNetwork:
    """A network of your own for `search(..., network=)`: any function of weights and mixing weights.

    The search minimises `loss(w, m, (x, y))` with respect to w on training batches, and with respect to the
    logits α on validation batches. The config's relaxation computes the mixing weights m from α: with
    "softmax", the softmax of each row; with "identity", α itself.

    Args:
        loss: `(w, m, batch) -> loss`, or with buffers `(w, m, batch, buffers) -> loss`. w, m and buffers
            are dictionaries of tensors by name, batch is a pair (x, y). The loss is a scalar tensor, the mean
            over the examples of the batch. A pair `(loss, correct)` also returns the number of examples that
            were classified correctly, from which accuracies are recorded. Everything from w and m to the loss
            must be differentiable by torch; "unrolled_exact" differentiates twice. Evaluation calls it with
            gradients disabled (`torch.is_grad_enabled()`). The random numbers that it draws from the
            generators of torch, numpy and Python depend only on (seed, step); all training losses of a step
            draw the same numbers.
        weights: name -> initial value of a weight, of any shape; copied.
        alphas: name -> a table of logits, either the initial logits [rows, columns], or a tuple
            `(rows, columns)`, for which they are drawn as for spaces, from 1e-3·N(0, 1) by (seed, name).
            Every row is a choice among the columns. A vector [columns] or a number is a table with one row;
            the function gets m in the shape given here.
        buffers: name -> initial value of a tensor of any dtype, such as running statistics; copied. The
            function changes them in place, which has an effect only in the weight step: the losses of the α
            step and evaluation get copies that are discarded.
        candidates: name of a table -> names of its columns, or for every row a sequence of names; rows may
            have different numbers of candidates; their unused columns are masked. Tables that are not named
            here have the candidates "0", "1", ….

    Raises:
        TypeError: `loss` is not callable, or a weight, logit or buffer is not a tensor.
        ConfigError: there are no weights or no tables; a weight or logit is not a finite floating-point
            number; a name is both a weight and a buffer; a table is named "steps" or "epochs"; or the
            candidates do not fit a table.

    >>> def loss(w, m, batch):
    ...     x, y = batch
    ...     mixture = m["activation"][0] * torch.tanh(x) + m["activation"][1] * torch.relu(x)
    ...     return ((mixture * w["scale"] - y) ** 2).mean()
    >>> names = {"activation": ["tanh", "relu"]}
    >>> FunctionNetwork(loss, {"scale": torch.ones(())}, {"activation": torch.zeros(2)}, candidates=names)
    <FunctionNetwork loss: 1 weight, tables activation [1, 2]>
    """

    def __init__(
        self,
        loss: Callable[..., Any],
        weights: Mapping[str, Given],
        alphas: Mapping[str, Given | tuple[int, int]],
        buffers: Mapping[str, Given] | None = None,
        candidates: Mapping[str, Names] | None = None,
    ) -> None:
        if isinstance(loss, type) or not callable(loss):
            given = f"the class {loss.__name__}" if isinstance(loss, type) else f"a {type(loss).__name__}"
            raise TypeError(f"loss must be a function (w, m, batch) -> loss, got {given}")
        self.loss = loss
        self.weights: Named = {
            name: _floating(name, value, "weight") for name, value in _items(weights, "weights")
        }
        self.buffers: Named | None = None
        if buffers is not None:
            self.buffers = {
                name: _copied(name, value, "buffer") for name, value in _items(buffers, "buffers")
            }
        both = self.weights.keys() & (self.buffers or {}).keys()
        if both:
            raise ConfigError(f"{min(both)!r} is a weight and a buffer; give them different names")
        named = dict(_items({} if candidates is None else candidates, "candidates"))
        self.tables = tuple(
            _table(name, value, named.pop(name, None)) for name, value in _items(alphas, "alphas")
        )
        if named:
            known = ", ".join(table.name for table in self.tables)
            raise ConfigError(
                f"candidates names the table {min(named)!r}, which alphas lacks; choose from {known}"
            )
        for what, given_values in (("weights", self.weights), ("alphas", self.tables)):
            if not given_values:
                raise ConfigError(f"{what} is empty; a search needs at least one of them")

    @property
    def facts(self) -> dict[str, str]:
        """What a resumed search compares: hashes of the code, and of names and shapes."""
        tensors = [
            [name, list(value.shape), str(value.dtype)]
            for name, value in (*self.weights.items(), *(self.buffers or {}).items())
        ]
        tables = [[table.name, table.shape, table.candidates] for table in self.tables]
        structure = hashlib.blake2b(json.dumps([tensors, tables]).encode(), digest_size=8).hexdigest()
        return {"loss": fact_of(self.loss), "network": f"FunctionNetwork {structure}"}

    def __repr__(self) -> str:
        count = sum(value.numel() for value in self.weights.values())
        tables = ", ".join(
            f"{table.name} [{len(table.candidates)}, {max(map(len, table.candidates))}]"
            for table in self.tables
        )
        plural = "" if count == 1 else "s"
        return f"<FunctionNetwork {short_name(self.loss)}: {count:,} weight{plural}, tables {tables}>"


def _items(values: Any, what: str) -> list[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        raise TypeError(f"{what} must be a dictionary by name, got a {type(values).__name__}")
    for name in values:
        if not isinstance(name, str) or not name or "/" in name:
            raise ConfigError(f"{what} has the name {shown(name)}; a name is a non-empty string without /")
    return list(values.items())


def _copied(name: str, value: Any, what: str) -> Tensor:
    if not isinstance(value, (Tensor, np.ndarray, np.generic, int, float)):
        raise TypeError(f"the {what} {name!r} must be a tensor, got a {type(value).__name__}")
    tensor = torch.as_tensor(value).detach()
    if tensor.is_complex() or tensor.layout != torch.strided:
        raise ConfigError(f"the {what} {name!r} must be dense and real, got {tensor.dtype}, {tensor.layout}")
    return tensor.clone(memory_format=torch.contiguous_format)


def _floating(name: str, value: Any, what: str) -> Tensor:
    # A number of Python is a double, whatever torch's default dtype is.
    tensor = _copied(name, np.float64(value) if isinstance(value, (int, float)) else value, what)
    if tensor.dtype not in _FLOATS:
        raise ConfigError(
            f"the {what} {name!r} is {tensor.dtype}; it must be floating-point, such as torch.float32"
        )
    if not bool(torch.isfinite(tensor).all()) or not tensor.numel():
        raise ConfigError(f"the {what} {name!r} must be finite and not empty, got {shown(value)}")
    return tensor


def _table(name: str, value: Any, given: Names | None) -> FunctionTable:
    if name in ("steps", "epochs"):  # the other arrays of a saved result
        raise ConfigError(f"a table cannot have the name {name!r}, which saved results use; rename it")
    initial: Tensor | None = None
    if isinstance(value, tuple):
        if len(value) != 2 or not all(type(size) is int and size > 0 for size in value):
            raise ConfigError(
                f"the table {name!r} is {shown(value)}; a tuple is (rows, columns), both at least 1"
            )
        shape: tuple[int, ...] = value
    else:
        initial = _floating(name, value, "table")
        shape = tuple(initial.shape)
        if initial.ndim > 2:
            raise ConfigError(
                f"the table {name!r} has shape {list(shape)}; it must be [rows, columns], [columns] or []"
            )
        initial = initial.reshape(-1, shape[-1] if shape else 1)
    rows, columns = (1, 1, *shape)[-2:] if len(shape) < 2 else shape
    candidates = _candidates(name, rows, columns, given)
    return FunctionTable(name, shape, candidates, initial)


def _candidates(name: str, rows: int, columns: int, given: Names | None) -> tuple[tuple[str, ...], ...]:
    if given is None:
        return (tuple(map(str, range(columns))),) * rows
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise ConfigError(f"candidates of {name!r} must be a sequence of names, got {shown(given)}")
    lists: Any = [given] * rows if all(isinstance(one, str) for one in given) else given
    found = tuple(tuple(row) for row in lists if isinstance(row, Sequence) and not isinstance(row, str))
    if len(found) != rows or len(found) != len(lists):
        raise ConfigError(
            f"candidates of {name!r} must be one sequence of names, or one for each of {rows} rows"
        )
    for row, names in enumerate(found):
        if not names or len({*names}) < len(names) or not all(isinstance(one, str) and one for one in names):
            raise ConfigError(
                f"the candidates of row {row} of {name!r} must be different names, got {shown(names)}"
            )
    if max(map(len, found)) != columns:
        most = max(map(len, found))
        raise ConfigError(
            f"{name!r} has {columns} columns, but {most} candidates; give a name for every column"
        )
    return found
