"""The weighted sum of the outputs of candidates, and its derivatives."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .._core import SpaceError
from .._values.words import shown


class Mixture(torch.autograd.Function):
    """The sum of tensors times weights, in fewer passes over memory than products and sums of autograd.

    It may be differentiated any number of times: its backward pass is made of operations of torch.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, *outputs: Tensor) -> Tensor:
        """Return the sum of outputs times weights [n]."""
        ctx.save_for_backward(weights, *outputs)
        parts = weights.unbind(0)
        total = parts[0] * outputs[0]
        for weight, output in zip(parts[1:], outputs[1:], strict=True):
            total.addcmul_(output, weight)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by the weights and by each output."""
        (gradient,) = gradients
        weights, *outputs = ctx.saved_tensors
        of_weights = None
        if ctx.needs_input_grad[0]:
            flat = gradient.reshape(-1)
            of_weights = torch.stack([torch.dot(flat, output.reshape(-1)) for output in outputs])
        pairs = zip(weights.unbind(0), ctx.needs_input_grad[1:], strict=True)
        return of_weights, *(weight * gradient if needed else None for weight, needed in pairs)


def mix(
    outputs: Sequence[Any],
    weights: Tensor,
    names: Sequence[str],
    what: str = "outputs",
    fused: bool = False,
) -> Any:
    """Return the sum of outputs times weights [n], of tensors or of equal structures leaf by leaf.

    Args:
        outputs: one per candidate.
        weights: the mixing weights.
        names: the names of the candidates, for errors.
        what: what is mixed, for errors.
        fused: use `Mixture` where it applies; it does not work with the transforms of `torch.func`.

    Raises:
        SpaceError: the outputs cannot be mixed.
    """
    first = outputs[0]
    if isinstance(first, Tensor):
        _check_alike(outputs, names, what)
        if first.is_floating_point() or first.is_complex():
            if fused and all(output.dtype == weights.dtype for output in outputs):
                return Mixture.apply(weights, *outputs)  # type: ignore[no-untyped-call]
            terms = [weight * output for weight, output in zip(weights.unbind(0), outputs, strict=True)]
            return functools.reduce(torch.add, terms)
        if all(torch.equal(first, other) for other in outputs[1:]):
            return first
    elif isinstance(first, Mapping) and all(
        isinstance(other, Mapping) and other.keys() == first.keys() for other in outputs
    ):
        mixed = {key: mix([other[key] for other in outputs], weights, names, what, fused) for key in first}
        return mixed if type(first) is dict else type(first)(**mixed)
    elif isinstance(first, (tuple, list)) and all(
        type(other) is type(first) and len(other) == len(first) for other in outputs
    ):
        parts = [mix(leaves, weights, names, what, fused) for leaves in zip(*outputs, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    elif not any(isinstance(other, (Tensor, Mapping, tuple, list)) for other in outputs) and _same(outputs):
        return first
    other = next((n for n, value in zip(names, outputs, strict=True) if not _like(value, first)), names[-1])
    raise SpaceError(
        f"the {what} of {names[0]!r} and {other!r} cannot be mixed: {_described(first)} and "
        f"{_described(outputs[list(names).index(other)])}; they must be floating tensors of the same shape, "
        "or equal structures of these"
    )


def _check_alike(outputs: Sequence[Any], names: Sequence[str], what: str) -> None:
    first = outputs[0]
    for name, output in zip(names[1:], outputs[1:], strict=True):
        if not isinstance(output, Tensor) or output.shape != first.shape:
            raise SpaceError(
                f"the {what} of {names[0]!r} and {name!r} cannot be mixed: {_described(first)} and "
                f"{_described(output)}; all candidates must give tensors of the same shape"
            )


def _same(values: Sequence[Any]) -> bool:
    try:
        return all(bool(value == values[0]) or value is values[0] for value in values)
    except (TypeError, ValueError, RuntimeError):
        return all(value is values[0] for value in values)


def _like(value: Any, first: Any) -> bool:
    if isinstance(first, Tensor):
        return isinstance(value, Tensor) and torch.equal(value, first)
    return type(value) is type(first) and _described(value) == _described(first)


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with {', '.join(map(str, value)) or 'no keys'}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{shown(value)}"
