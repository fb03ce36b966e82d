"""Three ways to the gradient of the validation loss with respect to α: first order, unrolled, exact.

All take a network in training mode and batches (x, y), return (name -> gradient of α, validation loss),
and leave weights, α, their `.grad` and the running statistics as they were.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from . import sparse
from .supernet import Criterion, Supernet

Batch = tuple[Tensor, Tensor]
Gradients = dict[str, Tensor]


def gradients(loss: Tensor, inputs: Sequence[Tensor], create_graph: bool = False) -> list[Tensor]:
    """Gradients of `loss`; zeros for inputs that it does not reach."""
    grads = torch.autograd.grad(loss, inputs, create_graph=create_graph, materialize_grads=True)
    return list(grads)


def first_order(
    net: Supernet, train: Batch, valid: Batch, *, criterion: Criterion = F.cross_entropy
) -> tuple[Gradients, float]:
    """∂α L_val(w, α) with w held fixed; the train batch is not looked at."""
    _require_training(net)
    with net.moving_statistics(False), net.of_role("alpha"):
        loss = net.loss(*valid, criterion)
    grads = gradients(loss, list(net.alphas.values()))
    return dict(zip(net.alphas, grads, strict=True)), loss.item()


def unrolled(
    net: Supernet,
    train: Batch,
    valid: Batch,
    *,
    xi: float,
    epsilon: float = 0.01,
    momentum_buffers: dict[str, Tensor] | None = None,
    momentum: float = 0.9,
    weight_decay: float = 3e-4,
    clip: float | None = None,
    criterion: Criterion = F.cross_entropy,
) -> tuple[Gradients, float]:
    """Equations 7 and 8: the gradient at w' less ξ times a central difference at w ± εv.

    With `clip` the virtual step's gradient is clipped to that norm, and the second term scaled alike.
    The loss returned is L_val(w', α).
    """
    _require_training(net)
    weights = list(net.parameters())
    with net.moving_statistics(False):
        grads = sparse.gradients(net.loss(*train, criterion), net.weights(), net.samples)
    buffers, c = _buffers(net, momentum_buffers), _clip_coefficient(grads, clip)
    with torch.no_grad():
        virtual = [
            w if grad is None else w - xi * (momentum * buffers[name] + c * grad + weight_decay * w)
            for (name, grad), w in zip(grads.items(), weights, strict=True)
        ]

    other = copy.deepcopy(net)  # a second network, first at w', then at w + εv and w - εv
    alphas = list(other.alphas.values())
    with other.moving_statistics(False):
        _set_weights(other, virtual)
        with other.of_role("alpha"):
            loss = other.loss(*valid, criterion)
        both = gradients(loss, [*alphas, *other.parameters()])
        direct, v = both[: len(alphas)], both[len(alphas) :]

        norm = torch.cat([g.flatten() for g in v]).norm().item()
        if norm == 0.0:
            return dict(zip(net.alphas, direct, strict=True)), loss.item()
        step = epsilon / norm
        sides = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                shifted = [w + sign * step * g for w, g in zip(weights, v, strict=True)]
            _set_weights(other, shifted)
            sides.append(gradients(other.loss(*train, criterion), alphas))

    total = [
        d - xi * c * (plus - minus) / (2.0 * step)
        for d, plus, minus in zip(direct, sides[0], sides[1], strict=True)
    ]
    return dict(zip(net.alphas, total, strict=True)), loss.item()


def unrolled_exact(
    net: Supernet,
    train: Batch,
    valid: Batch,
    *,
    xi: float,
    epsilon: float = 0.01,
    momentum_buffers: dict[str, Tensor] | None = None,
    momentum: float = 0.9,
    weight_decay: float = 3e-4,
    clip: float | None = None,
    criterion: Criterion = F.cross_entropy,
) -> tuple[Gradients, float]:
    """The derivative of L_val(w'(α), α) by differentiating through the virtual step; `epsilon` is unused."""
    _require_training(net)
    weights, alphas = net.weights(), list(net.alphas.values())
    buffers = _buffers(net, momentum_buffers)
    with net.moving_statistics(False):
        grads = sparse.gradients(net.loss(*train, criterion), weights, net.samples)
        c = _clip_coefficient(grads, clip)
        virtual = {
            name: w if grad is None else w - xi * (momentum * buffers[name] + c * grad + weight_decay * w)
            for (name, grad), w in zip(grads.items(), weights.values(), strict=True)
        }
        with net.of_role("alpha"):
            loss = net.loss_at(virtual, *valid, criterion)
    total = gradients(loss, alphas)
    return dict(zip(net.alphas, total, strict=True)), loss.item()


METHODS: dict[str, Callable[..., tuple[Gradients, float]]] = {
    "first_order": first_order,
    "unrolled": unrolled,
    "unrolled_exact": unrolled_exact,
}


def _clip_coefficient(grads: dict[str, Tensor | None], clip: float | None) -> float:
    """min(1, clip/(‖∇‖ + 1e-6)) where there is a clip, a constant of the virtual step; else 1."""
    if clip is None:
        return 1.0
    norm = torch.cat([grad.detach().flatten() for grad in grads.values() if grad is not None]).norm().item()
    return min(1.0, clip / (norm + 1e-6))


def _buffers(net: Supernet, given: dict[str, Tensor] | None) -> dict[str, Tensor]:
    if given is None:
        return {name: torch.zeros_like(w) for name, w in net.weights().items()}
    if set(given) != set(net.weights()):
        raise ValueError("momentum_buffers must name every weight, and nothing else")
    return given


def _set_weights(net: Supernet, values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for weight, value in zip(net.parameters(), values, strict=True):
            weight.copy_(value)


def _require_training(net: Supernet) -> None:
    if not net.training:
        raise ValueError("the search uses batch statistics: call net.train() first")
