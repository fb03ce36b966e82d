"""The modules of the user's own operations as the engine runs them: on its tensors, seeded, and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .._core import ConfigError, DataError
from .._data.draws import Masks
from .._values.ambient import kept
from .._values.operation import Operation, operations_of
from .._values.space import Space
from ..nn._own import Described, Place, check_output, noted, weights_of

_Slot = tuple[dict[str, Any], str]


class BoundOperations(Described):
    """The operations of one search. `src/py/bridges/operation.rs` calls it."""

    def __init__(
        self, operations: Mapping[str, Operation], seed: int, poll: Callable[[], None] | None = None
    ) -> None:
        super().__init__(operations)
        self._seed, self._poll, self._step, self._loss = seed, poll, 0, ""
        self._modules: dict[str, _Bound] = {}
        self._twice: set[str] = set()  # operations that have been differentiated twice

    def begin(self, step: int) -> None:
        """Begin a step, or an evaluation: what is drawn depends on its number."""
        self._step, self._loss = step, ""

    def begin_loss(self, role: str, part: int) -> None:
        """Begin a loss: those of one role and part of a step draw the same numbers."""
        self._loss = f"{role} {part}"

    def start(self, name: str, like: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Make the module of a prefix. Return its initial weights in order, and its buffers by name."""
        place, channels, stride = self.places[name]
        with noted(place), kept(), self._section("start", name, place):
            module = self.operations[place.operation].build(channels, stride).to(like.device, like.dtype)
        self._modules[name] = _Bound(module)
        weights, buffers = self._modules[name].take()
        return weights, buffers

    def forward(
        self, name: str, x: Tensor, weights: list[Tensor], buffers: list[Tensor], trains: bool, moves: bool
    ) -> Tensor:
        """Return the output for inputs [N, channels, H, W]; `moves`: keep the changes of buffers."""
        place, _, stride = self.places[name]
        module = self._modules[name]
        watched = [x, *weights[:1]]  # weights are views of one vector and share its counter
        versions = [tensor._version for tensor in watched]
        with noted(place), kept(), self._section(self._step, self._loss, name, place):
            with module.bound(weights, buffers, trains) as replaced:
                y = check_output(module.module(x), place, x.shape, stride)
        if versions != [tensor._version for tensor in watched]:
            what = "input" if watched[0]._version != versions[0] else "weights"
            raise DataError(
                f"{place} changed its {what} in place; use operations such as relu without inplace"
            )
        if moves:
            _copy_replaced(replaced, buffers, place)
        if y.dtype != x.dtype or y.device != x.device:
            raise DataError(f"{place} returned {y.dtype} on {y.device}, expected {x.dtype} on {x.device}")
        return y

    def along(
        self,
        name: str,
        x: Tensor,
        tangent: Tensor | None,
        weights: list[Tensor],
        direction: list[Tensor],
        buffers: list[Tensor],
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output, and its derivative along tangents of the input and of the weights; None: 0.

        J·t is the gradient by u of (Jᵀ u)·t, so that any module with a second derivative has it.
        """
        graph = torch.is_grad_enabled()
        place = self.places[name][0]
        # Without a graph around it, or before the first value that depends on α, the module gets leaves.
        own = x if graph and x.requires_grad else x.detach().requires_grad_()
        leaves = [own, *(weight.detach().requires_grad_() for weight in weights)]
        with torch.enable_grad(), self._modules[name].twice(), _named(place):
            y = self.forward(name, own, leaves[1:], buffers, True, False)
            moved = _moved(y, leaves, [tangent, *direction], graph)
            if graph and moved is not None and x.requires_grad and place.operation not in self._twice:
                # The engine differentiates once more, where the error would not name the operation.
                torch.autograd.grad(moved.sum(), own, retain_graph=True, allow_unused=True)
                self._twice.add(place.operation)
        found = y if graph and x.requires_grad else y.detach()
        return found, moved

    def facts(self, channels: int) -> dict[str, str]:
        """Return what identifies the operations when a search is resumed: code, names and shapes of weights."""
        return {f"operation {name}": self._fact(name, channels) for name in self.operations}

    def _fact(self, name: str, channels: int) -> str:
        operation = self.operations[name]
        again = Operation(name, operation.factory)  # what its code refers to may have changed
        try:
            with kept(), Masks(0, self._poll):
                module = again.build(channels, 1)
        except Exception:  # the plan builds it again, and says where
            return again.fact
        shapes = [(name, *weight.shape) for name, weight in weights_of(module).items()]
        return f"{again.fact}, {len(shapes)} weights {_hash(shapes)}"

    def _section(self, *key: object) -> Masks:
        number = blake2b(repr((self._seed, *map(str, key[:-1]))).encode(), digest_size=8).digest()
        section = Masks(int.from_bytes(number, "little"), self._poll)
        section.name = f"the operation {getattr(key[-1], 'operation', '')!r}"
        return section


class _Bound:
    """A module whose weights and buffers are those of the engine during a call."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self._trains = {part: part.training for part in module.modules()}
        weights = weights_of(module)
        held = {name: weight for name, weight in module.named_parameters() if name not in weights}
        self._weights = _slots(module, weights)
        held |= dict(module.named_buffers())
        self._names = list(held)
        self._buffers = _slots(module, held)
        self._norms = [
            part
            for part in module.modules()
            if isinstance(part, nn.modules.batchnorm._NormBase)
            and part.training
            and part.momentum is not None
        ]
        self._rnns = [part for part in module.modules() if isinstance(part, nn.RNNBase)]
        self._empty: list[tuple[_Slot, Any]] = []
        self._mode = True

    def take(self) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the tensors that the module was made with; between calls it has empty ones."""
        weights = [slots[0][0][slots[0][1]].detach() for slots in self._weights]
        buffers = {
            name: slots[0][0][slots[0][1]].detach()
            for name, slots in zip(self._names, self._buffers, strict=True)
        }
        for slots in (*self._weights, *self._buffers):
            for owner, leaf in slots:
                tensor = owner[leaf]
                empty = tensor.detach().to("meta")
                if isinstance(tensor, nn.Parameter):
                    empty = nn.Parameter(empty, tensor.requires_grad)
                self._empty.append(((owner, leaf), empty))
        self._release()
        return weights, buffers

    @contextmanager
    def bound(self, weights: list[Tensor], buffers: list[Tensor], trains: bool) -> Iterator[list[Tensor]]:
        """Give the module these tensors; afterwards the list holds those that it has in place of buffers."""
        for slots, tensor in zip((*self._weights, *self._buffers), (*weights, *buffers), strict=True):
            for owner, leaf in slots:
                owner[leaf] = tensor
        for rnn in self._rnns:  # it keeps a list of its weights
            rnn._flat_weights = [getattr(rnn, name, None) for name in rnn._flat_weights_names]
        if trains != self._mode:
            self._mode = trains
            for part, own in self._trains.items():
                part.training = own and trains
        found: list[Tensor] = []
        try:
            if not trains:
                for norm in self._norms:
                    _correct(norm)
            yield found
            found += [slots[0][0][slots[0][1]] for slots in self._buffers]
        finally:
            self._release()

    @contextmanager
    def twice(self) -> Iterator[None]:
        """Use implementations that have a second derivative."""
        with ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if self._rnns:
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
                stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
            yield

    def _release(self) -> None:
        """Let go of the tensors, and of their graphs."""
        for (owner, leaf), empty in self._empty:
            owner[leaf] = empty
        for rnn in self._rnns:
            rnn._flat_weights = [getattr(rnn, name, None) for name in rnn._flat_weights_names]


def _slots(module: nn.Module, tensors: Mapping[str, Any]) -> list[list[_Slot]]:
    """Return for each tensor the places in the module that hold it: several for a tied one."""
    found: dict[int, list[_Slot]] = {id(tensor): [] for tensor in tensors.values()}
    for part in module.modules():
        for owner in (part._parameters, part._buffers):
            for leaf, tensor in owner.items():
                if id(tensor) in found:
                    found[id(tensor)].append((owner, leaf))
    return [found[id(tensor)] for tensor in tensors.values()]


def _correct(norm: Any) -> None:
    """Replace running statistics by those without what is left of their initial values."""
    held = norm._buffers
    mean, var, count = held.get("running_mean"), held.get("running_var"), held.get("num_batches_tracked")
    if mean is None or var is None or count is None:
        return
    left = torch.where(count > 0, (1 - norm.momentum) ** count.double(), 0.0)
    held["running_mean"] = (mean.double() / (1 - left)).to(mean)
    held["running_var"] = ((var.double() - left) / (1 - left)).clamp(min=0).to(var)


def _copy_replaced(replaced: Iterable[Tensor], buffers: list[Tensor], place: Place) -> None:
    """Keep buffers that a module replaced instead of changing them in place."""
    with torch.no_grad():
        for new, live in zip(replaced, buffers, strict=True):
            if new is live:
                continue
            if new.shape != live.shape:
                raise DataError(
                    f"{place} changed the shape of a buffer from {list(live.shape)} to {list(new.shape)}; a "
                    "buffer keeps its shape"
                )
            live.copy_(new)


def _moved(y: Tensor, leaves: list[Tensor], directions: list[Tensor | None], graph: bool) -> Tensor | None:
    """Return the derivative of y along `directions` of `leaves`; None: 0."""
    if not y.requires_grad:
        return None
    u = torch.zeros_like(y).requires_grad_()
    products = torch.autograd.grad(y, leaves, u, create_graph=True, allow_unused=True)
    pairs = [
        (product * direction).sum()
        for product, direction in zip(products, directions, strict=True)
        if product is not None and direction is not None and product.requires_grad
    ]
    if not pairs:
        return None
    (moved,) = torch.autograd.grad(
        torch.stack(pairs).sum(), u, create_graph=graph, allow_unused=True, materialize_grads=True
    )
    return moved if graph else moved.detach()


@contextmanager
def _named(place: Place) -> Iterator[None]:
    """Name the operation that has no second derivative."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not any(
            sign in text for sign in ("is not implemented", "once_differentiable", "not differentiable")
        ):
            raise
        raise ConfigError(
            f'{place} has no second derivative, which hypergradient="unrolled_exact" needs ({text:.200}); use '
            'hypergradient="unrolled"'
        ) from error


def _hash(value: object) -> str:
    return blake2b(repr(value).encode(), digest_size=4).hexdigest()


def bound_operations(
    space: Space, seed: int, poll: Callable[[], None] | None = None
) -> BoundOperations | None:
    """Return the user's own operations of a space; None if it has none.

    Raises:
        ConfigError: one was not made in this process.
    """
    return BoundOperations(operations_of(space), seed, poll) if space.own_operations else None
