"""The modules of user-defined operations as the engine runs them: on its tensors, seeded, and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from .._core import ConfigError, DataError
from .._data.draws import Masks
from .._values.ambient import kept
from .._values.operation import Operation, made
from .._values.space import Space
from ..nn._own import Described, Place, check_output, noted, weights_of
from ..nn._places import moved
from ..nn._settled import is_fresh, settle
from .module import differentiable_twice

_Slot = tuple[dict[str, Any], str]
# In the errors of torch about derivatives that it does not have.
_SIGNS = ("is not implemented", "once_differentiable", "not differentiable")


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
            module = self.operations[place.operation].build(channels, stride)
            moved(module, dtype=like.dtype, device=like.device)
            for part in module.modules():
                if isinstance(part, (nn.Embedding, nn.EmbeddingBag)):
                    part.sparse = False  # the gradient is part of one vector
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
        section = self._section(self._step, self._loss, name, place)
        with noted(place), kept(), section, module.bound(weights, buffers, trains) as replaced:
            before = module.sums(weights) if trains and not module.seen else None
            y = check_output(module.module(x), place, x.shape, stride)
            if module.changed(weights) or (before is not None and before != module.sums(weights)):
                raise DataError(f"{place} changed its weights, which only the search may do; change a copy")
            module.seen |= trains
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

        Both are part of the graph of the input, its tangent and the weights; see `_Along`.
        """
        sources = (x, tangent, *weights)
        graph = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in sources)
        place = self.places[name][0]
        leaves = [tensor.detach().requires_grad_() for tensor in (x, *weights)]
        with torch.enable_grad(), differentiable_twice(self._modules[name].recurrent), _named(place):
            y = self.forward(name, leaves[0], leaves[1:], buffers, True, False)
            held = _Along(y, leaves, [tangent, *direction])
            if place.operation not in self._twice:
                held.check()
                self._twice.add(place.operation)
        if not graph:
            return y.detach(), held.moved
        found: tuple[Tensor, Tensor | None] = _Joined.apply(held, *sources)  # type: ignore[no-untyped-call]
        return found[0], None if held.moved is None else found[1]

    def facts(self, channels: int) -> dict[str, str]:
        """Return what a resumed search must have in common: code, names and shapes of weights."""
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
        held: dict[str, Tensor] = {
            name: weight for name, weight in module.named_parameters() if name not in weights
        }
        self._weights = _slots(module, weights)
        held |= dict(module.named_buffers())
        self._names = list(held)
        self._buffers = _slots(module, held)
        self._norms = [part for part in module.modules() if part.training and is_fresh(part)]
        self._rnns = [part for part in module.modules() if isinstance(part, nn.RNNBase)]
        self.recurrent = bool(self._rnns)
        self._empty: list[tuple[_Slot, Any]] = []
        self._mode = True
        self.seen = False
        """Whether a pass of the training mode has been checked for changes of weights."""

    @staticmethod
    def sums(weights: Sequence[Tensor]) -> list[float]:
        """Return what shows changes of `.data`, which have no counter."""
        return [weight.detach().sum(dtype=torch.float64).item() for weight in weights]

    def changed(self, weights: Sequence[Tensor]) -> bool:
        """Return whether the module holds other weights than these."""
        return any(
            owner[leaf] is not weight
            for slots, weight in zip(self._weights, weights, strict=True)
            for owner, leaf in slots
        )

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
                    settle(norm)
            yield found
            found += [slots[0][0][slots[0][1]] for slots in self._buffers]
        finally:
            self._release()

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


class _Along:
    """A module's output y and its derivative J·t along tangents of its input and its weights.

    J·t is the gradient by u of (Jᵀ u)·t. Its own gradient is not that of this expression, because torch
    differentiates its second derivatives of batch norm, for example, wrongly. For cotangents (a, b) of
    (y, J·t), the gradient by input and weights is Jᵀ a + ∇((Jᵀ b)·t), and by the tangent of the input Jᵀ b:
    two derivatives are enough.
    """

    def __init__(self, y: Tensor, leaves: list[Tensor], directions: list[Tensor | None]) -> None:
        self.y, self._leaves = y, leaves
        self._directions = [None if tangent is None else tangent.detach() for tangent in directions]
        self.moved: Tensor | None = None
        if y.requires_grad:
            u = torch.zeros_like(y).requires_grad_()
            along, _ = self._products(u)
            if along is not None and along.requires_grad:
                (moved,) = torch.autograd.grad(along, u, retain_graph=True, materialize_grads=True)
                self.moved = moved.detach()

    def check(self) -> None:
        """Raise RuntimeError if a derivative is missing. Autograd itself is silent about some of them."""
        if not self.y.requires_grad:
            return
        u = torch.randn(self.y.shape, generator=torch.Generator().manual_seed(0)).to(self.y).requires_grad_()
        found = torch.autograd.grad(self.y, self._leaves, u, create_graph=True, allow_unused=True)
        for product in found:
            if product is None or not bool(product.any()):  # such as the derivative of rounding
                continue
            again: tuple[Tensor | None, ...] = (None,)
            if product.requires_grad:
                again = torch.autograd.grad(product.sum(), u, retain_graph=True, allow_unused=True)
            if again[0] is None:
                raise RuntimeError("the gradient that its backward pass computes is not differentiable")
        self.pull(torch.ones_like(self.y), torch.ones_like(self.y))

    def pull(
        self, a: Tensor, b: Tensor | None, weights: bool = False
    ) -> tuple[Tensor | None, Tensor | None, list[Tensor | None]]:
        """Return the gradients by the input, by its tangent, and by the weights if asked; None: 0."""
        if not self.y.requires_grad:
            return None, None, [None] * (len(self._leaves) - 1 if weights else 0)
        outputs, cotangents, by_tangent = [self.y], [a], None
        if b is not None:
            along, by_tangent = self._products(b)
            if along is not None and along.requires_grad:
                outputs, cotangents = [self.y, along], [a, torch.ones_like(along)]
        leaves = self._leaves if weights else self._leaves[:1]
        by_input, *by_weights = torch.autograd.grad(
            outputs, leaves, cotangents, retain_graph=True, allow_unused=True
        )
        return by_input, None if by_tangent is None else by_tangent.detach(), list(by_weights)

    def _products(self, b: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return (Jᵀ b)·t, and the part of Jᵀ b that belongs to the input."""
        products = torch.autograd.grad(self.y, self._leaves, b, create_graph=True, allow_unused=True)
        pairs = [
            (product * tangent).sum()
            for product, tangent in zip(products, self._directions, strict=True)
            if product is not None and tangent is not None
        ]
        return torch.stack(pairs).sum() if pairs else None, products[0]


class _Joined(torch.autograd.Function):
    """The values of `_Along` in the graph of the input, its tangent and the weights."""

    @staticmethod
    def forward(
        ctx: Any, held: _Along, x: Tensor, tangent: Tensor | None, *weights: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        ctx.held, ctx.has_tangent, ctx.count = held, tangent is not None, len(weights)
        ctx.set_materialize_grads(False)
        return held.y.detach().clone(), held.moved

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        a, b = cotangents
        held: _Along = ctx.held
        wanted = any(ctx.needs_input_grad[3:])
        with torch.enable_grad():
            a = torch.zeros_like(held.y) if a is None else a
            by_input, by_tangent, by_weights = held.pull(a, b, wanted)
        return None, by_input, by_tangent if ctx.has_tangent else None, *(by_weights or [None] * ctx.count)


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
            f"{place} has no second derivative ({text:.200}), which the search needs for hypergradients "
            'such as "unrolled_exact", for `probe_every` or for `curvature_every`; use '
            'hypergradient="unrolled" or "first_order" without these'
        ) from error


def _hash(value: object) -> str:
    return blake2b(repr(value).encode(), digest_size=4).hexdigest()


def bound_operations(
    space: Space, seed: int, poll: Callable[[], None] | None = None
) -> BoundOperations | None:
    """Return user-defined operations of a space; None if it has none.

    Raises:
        ConfigError: one was not made in this process.
    """
    return BoundOperations(made(space.own_operations), seed, poll) if space.own_operations else None
