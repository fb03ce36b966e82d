"""User-defined networks as the engine calls them: what all kinds share, and `FunctionNetwork`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from .._core import ConfigError, DataError
from .._data.draws import SeededLoss
from .._data.structure import Layout
from .._results.tables import AlphaTable
from .._values.callables import short_name
from .._values.config import SearchConfig
from .._values.words import listed, shown
from ..nn._function import FunctionNetwork, Named

GivenRow: TypeAlias = tuple[str, list[str], Tensor | None]
"""A row for the engine: its label, its candidates, and its initial logits, or None if they are drawn."""
GivenTable: TypeAlias = tuple[str, list[GivenRow], int]
"""A table for the engine: its name, its rows, and the number of candidates that are picked from each."""


class BoundNetwork(Protocol):
    """The network of one search: `src/py/bridges/network.rs` reads its attributes and calls its methods."""

    weights: Named
    """The initial weights by name."""
    buffers: Named
    """The initial buffers by name."""
    tables: list[GivenTable]
    """The tables of logits."""
    paths: Mapping[str, list[list[int]]]
    """When each weight is used: see `paths_of`. A weight that it lacks always is."""

    def bind(self, w: Named, m: Named, buffers: Named, samples: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Keep the memory of weights, mixing weights and buffers, which the engine fills before each loss.

        `samples`: the relaxation samples candidates, so that mixing weights are 0 or 1.

        Returns:
            The leaves by which it differentiates, in the order of `w` and `m`; they share this memory.
        """

    def begin(self, step: int) -> None:
        """Begin a step, or an evaluation: what is drawn depends on its number."""

    def begin_loss(self, role: str, part: int) -> None:
        """Begin a loss: those of one role and part of a step draw the same numbers."""

    def begin_evaluation(self) -> None:
        """Begin an evaluation: what it measures is cleared."""

    def measured(self) -> dict[str, float]:
        """End the evaluation, and return what it measured by name."""

    def __call__(
        self, mode: str, tensors: Sequence[Tensor], layout: Layout, twice: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the loss of a batch, and the number of correct predictions or None.

        `mode` is "search", "weights" or "evaluation"; the loss is differentiated `twice`.
        """


@dataclass(frozen=True)
class OwnNetwork:
    """A user-defined network with what a search needs to know about it."""

    tables: Mapping[str, AlphaTable]
    """The names of the rows and candidates by table."""
    facts: Mapping[str, str]
    """What a resumed search compares."""
    loss: str | None
    """The name of the loss function; None: cross-entropy."""
    bound: Callable[[torch.dtype, Callable[[], None]], BoundNetwork]
    """The network of a search in this dtype, which calls the function while it waits."""
    module: nn.Module | None = None
    """The module, a copy of the user's; None for a `FunctionNetwork`."""


class Watched:
    """Tensors by name that code of the user must not change in place: several losses of a step read them."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._versions = {name: tensor._version for name, tensor in tensors.items()}

    def check(self, who: str) -> None:
        """Raise DataError if one has been changed."""
        for name, tensor in self._tensors.items():
            if tensor._version != self._versions[name]:
                raise DataError(f"{who} changed {name} in place; change a copy instead")


class BoundFunction:
    """A `FunctionNetwork` in one search."""

    def __init__(self, network: FunctionNetwork, seed: int, poll: Callable[[], None]) -> None:
        self.weights, self.buffers = network.weights, network.buffers or {}
        self.tables: list[GivenTable] = [
            (
                table.name,
                [
                    (str(row), list(names), None if table.initial is None else table.initial[row])
                    for row, names in enumerate(table.candidates)
                ],
                1,
            )
            for table in network.tables
        ]
        self.paths: Mapping[str, list[list[int]]] = {}
        self._shapes = {table.name: table.shape for table in network.tables}
        self._with_buffers = network.buffers is not None
        self._seeded = SeededLoss(network.loss, seed, poll)
        self._step = 0
        self._mixes = self._twice = False
        self._w: Named = {}
        self._m: Named = {}
        self._live: Named = {}

    def bind(self, w: Named, m: Named, buffers: Named, samples: bool) -> tuple[list[Tensor], list[Tensor]]:
        """See `BoundNetwork`."""
        self._w, self._m, self._live = dict(w), dict(m), dict(buffers)
        return list(w.values()), list(m.values())

    def begin(self, step: int) -> None:
        """See `BoundNetwork`."""
        self._step = step
        self._seeded.begin(step)

    def begin_loss(self, role: str, part: int) -> None:
        """See `BoundNetwork`."""
        self._seeded.begin(self._step, role, part)

    def begin_evaluation(self) -> None:
        """See `BoundNetwork`."""

    def measured(self) -> dict[str, float]:
        """Return nothing: a function has no outputs that a metric could read."""
        return {}

    def __call__(
        self, mode: str, tensors: Sequence[Tensor], layout: Layout, twice: bool
    ) -> tuple[Tensor, Tensor | None]:
        """See `BoundNetwork`."""
        batch = layout.rebuild(tensors)
        buffers = self._live if mode == "weights" else {name: one.clone() for name, one in self._live.items()}
        some, logits = next(iter(self._w.values())), next(iter(self._m.values()))
        learns = some.requires_grad and torch.is_grad_enabled()
        mixing = {name: self._m[name].reshape(shape) for name, shape in self._shapes.items()}
        # The tensors of w share a counter, as they share their memory, and so do those of m.
        watched = Watched({"w": some, "m": logits, **dict(zip(layout.paths, tensors, strict=True))})
        given, sizes = dict(buffers), {name: tensor.shape for name, tensor in buffers.items()}
        found = self._seeded(dict(self._w), mixing, batch, *((given,) if self._with_buffers else ()))
        watched.check("the function")
        _check_buffers(given, buffers, sizes)
        value, correct = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        value = checked_loss(value, some, learns, "the function")
        if logits.requires_grad and torch.is_grad_enabled() and not self._mixes:
            check_mixing(value, mixing)
            self._mixes = True
        if twice and not self._twice:
            check_twice(value)
            self._twice = True
        return value, _count(correct, some, len(tensors[0]))


def of_function(network: FunctionNetwork, loss: Any, metric: Any, config: SearchConfig) -> OwnNetwork:
    """Return what a search needs to know about a `FunctionNetwork`.

    Raises:
        ConfigError: `loss` or `metric` is given, or batch norms are to be synchronised.
    """
    if config.sync_batch_norm:
        raise ConfigError("sync_batch_norm is True; it applies to the batch norms of modules only")
    for name, value in (("loss", loss), ("metric", metric)):
        if value is not None:
            raise ConfigError(f"a FunctionNetwork computes its own loss; leave out `{name}`")
    tables = {table.name: AlphaTable(table.name, table.labels, table.candidates) for table in network.tables}
    name = short_name(network.loss)
    return OwnNetwork(tables, network.facts, name, lambda _, poll: BoundFunction(network, config.seed, poll))


def dtype_of(precision: str) -> torch.dtype:
    """Return the dtype of the weights of a user-defined network.

    >>> dtype_of("auto"), dtype_of("float64")
    (torch.float32, torch.float64)
    """
    return torch.float64 if precision == "float64" else torch.float32


def check_options(config: SearchConfig) -> None:
    """Raise ConfigError if an option does not apply to user-defined networks."""
    plain: dict[str, Any] = {"augment": "none", "cutout": 0, "mean": None, "std": None}
    plain |= {"drop_path": 0.0, "skip_dropout": 0.0}  # dropout is up to the network's modules
    for name, value in plain.items():
        if getattr(config, name) != value:
            raise ConfigError(
                f"{name} is {getattr(config, name)!r}; it applies to images of compiled spaces only"
            )
    if config.precision == "bfloat16":
        raise ConfigError(
            'precision "bfloat16" applies to compiled spaces; use "float32" and autocast in the network'
        )
    if config.sync_batch_norm and config.micro_batch is not None:
        raise ConfigError(
            f"sync_batch_norm is True and micro_batch is {config.micro_batch}; synchronised batch norm "
            "needs whole batches: leave out one of them"
        )
    if config.batch_size == "auto":
        raise ConfigError('batch_size "auto" requires a compiled space, whose memory is known; give a number')


def check_mixing(value: Tensor, mixing: Mapping[str, Tensor]) -> list[str]:
    """Return the tables whose mixing weights have no path to the loss.

    Raises:
        DataError: none has, so that α would never get a gradient.
    """
    inputs = list(mixing.values())
    found: tuple[Tensor | None, ...] = ()
    if value.requires_grad:
        found = torch.autograd.grad(value, inputs, retain_graph=True, allow_unused=True)
    if all(gradient is None for gradient in found):
        raise DataError(
            f"the loss has no graph to the mixing weights of {listed(mixing)}, so no architecture could "
            "be found; compute it from them with torch's operations, without .item(), .detach() or no_grad"
        )
    return [name for name, gradient in zip(mixing, found, strict=True) if gradient is None]


_ONCE = torch.autograd.function.once_differentiable(lambda _: None).__code__


def check_twice(value: Tensor) -> None:
    """Raise ConfigError if a loss has a function marked as `once_differentiable` in its graph.

    Its second derivative would be left out without an error where autograd is asked for certain inputs.
    """
    seen, waiting = set(), [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        backward = getattr(getattr(node, "_forward_cls", None), "backward", None)
        if getattr(backward, "__code__", None) is _ONCE:
            name = node._forward_cls.__name__  # type: ignore[attr-defined]
            raise ConfigError(
                'the search needs second derivatives, for hypergradients such as "unrolled_exact", for '
                f"`probe_every` or for `curvature_every`, and {name} is marked as `once_differentiable`; use "
                'hypergradient="unrolled" or "first_order" without these, or write its backward with '
                "operations that can be differentiated"
            )
        waiting += [before for before, _ in node.next_functions]


def _check_buffers(given: Named, buffers: Named, sizes: dict[str, torch.Size]) -> None:
    if given.keys() != buffers.keys():
        name = min(given.keys() ^ buffers.keys())
        what = "added" if name in given else "removed"
        raise DataError(f"the function {what} the buffer {name!r}; it may only change given ones in place")
    for name, tensor in buffers.items():
        if given[name] is not tensor:
            raise DataError(
                f"the function replaced the buffer {name!r}; change it in place: buffers[{name!r}].copy_(...)"
            )
        if tensor.shape != sizes[name]:
            raise DataError(
                f"the function changed the shape of the buffer {name!r} from {list(sizes[name])} to "
                f"{list(tensor.shape)}; a buffer keeps its shape"
            )


def checked_loss(value: Any, like: Tensor, learns: bool, who: str) -> Tensor:
    """Return a loss as a scalar tensor, or raise TypeError or DataError."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{who} returned a {type(value).__name__}; it must return the loss as a scalar tensor"
        )
    if value.numel() != 1:
        raise DataError(f"the loss has shape {list(value.shape)}; it must be a scalar (take the mean)")
    if value.dtype != like.dtype or value.device != like.device:
        raise DataError(
            f"the loss is {value.dtype} on {value.device}; expected {like.dtype} on {like.device}, as the "
            "weights are"
        )
    if learns and not value.requires_grad:
        raise DataError(
            "the loss has no graph to the weights, so nothing could be learned from it; compute it from them "
            "with torch's operations, without .item(), .detach() or no_grad"
        )
    return value.reshape(())


def _count(correct: Any, like: Tensor, examples: int) -> Tensor | None:
    if correct is None:
        return None
    expected = "it must be one whole number, such as (logits.argmax(1) == y).sum()"
    if not isinstance(correct, Tensor | np.ndarray | np.generic | int | float):
        raise TypeError(f"the number of correct predictions is {shown(correct)}; {expected}")
    count = torch.as_tensor(correct, device=like.device)
    if count.numel() != 1 or count.dtype == torch.bool or count.is_floating_point() or count.is_complex():
        raise DataError(
            f"the number of correct predictions is {count.dtype} of shape {list(count.shape)}; {expected}"
        )
    count = count.detach().reshape(()).long()
    # A comparison on the host would wait for a GPU in every step.
    if count.device.type == "cpu" and not 0 <= int(count) <= examples:
        raise DataError(
            f"the number of correct predictions is {int(count)}; expected 0 to {examples}, the number of "
            "examples in the batch"
        )
    return count
