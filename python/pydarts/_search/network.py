"""A `FunctionNetwork` as the engine calls it: seeded, and with its results checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._core import ConfigError, DataError
from .._data.draws import SeededLoss
from .._results.tables import AlphaTable
from .._values.config import SearchConfig
from .._values.words import shown
from ..nn._function import FunctionNetwork, Named


class BoundNetwork:
    """The network of one search. `src/py/bridges/network.rs` reads its attributes and calls it."""

    def __init__(self, network: FunctionNetwork, seed: int, poll: Callable[[], None]) -> None:
        self.weights, self.buffers = network.weights, network.buffers or {}
        self.tables = [
            (
                table.name,
                [(str(row), list(names)) for row, names in enumerate(table.candidates)],
                table.initial,
            )
            for table in network.tables
        ]
        self._shapes = {table.name: table.shape for table in network.tables}
        self._with_buffers = network.buffers is not None
        self._seeded = SeededLoss(network.loss, seed, poll)
        self._step = 0
        self._mixes = False

    def begin(self, step: int) -> None:
        """Begin a step, or an evaluation: what is drawn depends on its number."""
        self._step = step
        self._seeded.begin(step)

    def begin_loss(self, role: str, part: int) -> None:
        """Begin a loss: those of one role and part of a step draw the same numbers."""
        self._seeded.begin(self._step, role, part)

    def begin_evaluation(self) -> None:
        """Do nothing: the function measures its loss and the number of correct predictions only."""

    def measured(self) -> dict[str, float]:
        """Return the metrics of the evaluation: none."""
        return {}

    def __call__(
        self, w: Named, m: Named, x: Tensor, y: Tensor, buffers: Named
    ) -> tuple[Tensor, Tensor | None]:
        """Return the loss, and the number of correct predictions or None."""
        some, logits = next(iter(w.values())), next(iter(m.values()))
        learns = some.requires_grad and torch.is_grad_enabled()
        mixing = {name: m[name].reshape(shape) for name, shape in self._shapes.items()}
        # The tensors of w are views of one vector and share its counter, and so are those of m.
        watched = {"w": some, "m": logits, "x": x, "y": y}
        versions = {what: tensor._version for what, tensor in watched.items()}
        given, sizes = dict(buffers), {name: tensor.shape for name, tensor in buffers.items()}
        found = self._seeded(w, mixing, (x, y), *((given,) if self._with_buffers else ()))
        for what, tensor in watched.items():
            if tensor._version != versions[what]:
                raise DataError(f"the function changed {what} in place; change a copy instead")
        _check_buffers(given, buffers, sizes)
        value, correct = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        value = _checked(value, some, learns)
        if logits.requires_grad and torch.is_grad_enabled() and not self._mixes:
            _check_mixing(value, mixing)
            self._mixes = True
        return value, _count(correct, some, len(x))


def tables_of_function(network: FunctionNetwork) -> dict[str, AlphaTable]:
    """Return the names of the rows and candidates of a network's tables."""
    return {table.name: AlphaTable(table.name, table.labels, table.candidates) for table in network.tables}


def check_function(network: Any, config: SearchConfig, loss: Any) -> None:
    """Raise TypeError unless `network` is one, ConfigError if an option does not apply to it."""
    if not isinstance(network, FunctionNetwork):
        raise TypeError(f"network must be a pydarts.nn.FunctionNetwork, got a {type(network).__name__}")
    if loss is not None:
        raise ConfigError("a FunctionNetwork computes its own loss; leave out `loss`")
    plain: dict[str, Any] = {"augment": "none", "cutout": 0, "mean": None, "std": None}
    for name, value in plain.items():
        if getattr(config, name) != value:
            raise ConfigError(
                f"{name} is {getattr(config, name)!r}; it applies to images of compiled spaces only"
            )
    if config.precision == "bfloat16":
        raise ConfigError(
            'precision "bfloat16" applies to compiled spaces; use "float32" and autocast in the function'
        )
    if config.batch_size == "auto":
        raise ConfigError('batch_size "auto" requires a compiled space, whose memory is known; give a number')


def _check_mixing(value: Tensor, mixing: Named) -> None:
    """Raise DataError if no mixing weight has a path to the loss: α would never get a gradient."""
    inputs = list(mixing.values())
    found: tuple[Tensor | None, ...] = ()
    if value.requires_grad:
        found = torch.autograd.grad(value, inputs, retain_graph=True, allow_unused=True)
    if all(gradient is None for gradient in found):
        raise DataError(
            f"the loss has no graph to the mixing weights of {', '.join(mixing)}, so no architecture could "
            "be found; compute it from m with torch's operations, without .item(), .detach() or no_grad"
        )


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


def _checked(value: Any, like: Tensor, learns: bool) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"the function returned a {type(value).__name__}; it must return the loss as a scalar tensor, or "
            "a pair (loss, number of correct predictions)"
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
