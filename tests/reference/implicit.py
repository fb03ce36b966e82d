"""Estimates of the implicit gradient, plainly: products by double backward, one vector per weight."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from . import hypergradient
from .hypergradient import Batch, Gradients, gradients
from .supernet import Criterion, Supernet

Vector = list[Tensor]
Product = Callable[[Vector], Vector]
Solver = Callable[[Product, Vector], Vector]


def implicit(
    net: Supernet,
    train: Batch,
    valid: Batch,
    solve: Solver,
    *,
    weight_decay: float = 3e-4,
    criterion: Criterion = F.cross_entropy,
    **_: Any,
) -> tuple[Gradients, float]:
    """∂α L_val − ∂²αw L_train·q with q = solve(H, v), v = ∂w L_val and H = ∇²w L_train + weight_decay·I."""
    weights, alphas = list(net.parameters()), list(net.alphas.values())
    with net.moving_statistics(False):
        with net.of_role("alpha"):
            loss = net.loss(*valid, criterion)
            both = gradients(loss, [*alphas, *weights])
        direct, v = both[: len(alphas)], both[len(alphas) :]
        first = gradients(net.loss(*train, criterion), weights, create_graph=True)

    def hessian(direction: Vector) -> Vector:
        along = inner(first, direction)
        found = torch.autograd.grad(along, weights, retain_graph=True, materialize_grads=True)
        return [one + weight_decay * part for one, part in zip(found, direction, strict=True)]

    q = solve(hessian, v)
    mixed = torch.autograd.grad(inner(first, q), alphas, materialize_grads=True)
    total = [one - other for one, other in zip(direct, mixed, strict=True)]
    return dict(zip(net.alphas, total, strict=True)), loss.item()


def inner(one: Vector, other: Vector) -> Tensor:
    """The sum of the products of all entries."""
    return torch.stack([(a * b).sum() for a, b in zip(one, other, strict=True)]).sum()


def combine(one: Vector, factor: Tensor | float, other: Vector) -> Vector:
    """one + factor·other."""
    return [a + factor * b for a, b in zip(one, other, strict=True)]


def t1_t2(net: Supernet, train: Batch, valid: Batch, *, xi: float, **more: Any) -> tuple[Gradients, float]:
    """q = ξ·v."""
    return implicit(net, train, valid, lambda _, v: [xi * part for part in v], **more)


def neumann(
    net: Supernet, train: Batch, valid: Batch, *, xi: float, terms: int = 3, **more: Any
) -> tuple[Gradients, float]:
    """q = ξ·Σ_{k=0..terms} (I − ξH)^k v."""

    def solve(hessian: Product, v: Vector) -> Vector:
        powers = [v]
        for _ in range(terms):
            powers.append(combine(powers[-1], -xi, hessian(powers[-1])))
        return [xi * torch.stack(parts).sum(0) for parts in zip(*powers, strict=True)]

    return implicit(net, train, valid, solve, **more)


def conjugate_gradient(
    net: Supernet, train: Batch, valid: Batch, *, terms: int = 3, damping: float = 1.0, **more: Any
) -> tuple[Gradients, float]:
    """Conjugate gradients on (H + damping·I) q = v, which end at negative curvature."""

    def solve(hessian: Product, v: Vector) -> Vector:
        q, residual, direction = [torch.zeros_like(part) for part in v], v, v
        for _ in range(terms):
            product = combine(hessian(direction), damping, direction)
            curvature = inner(direction, product)
            if curvature <= 0:
                break
            length = inner(residual, residual) / curvature
            q, new = combine(q, length, direction), combine(residual, -length, product)
            direction = combine(new, inner(new, new) / inner(residual, residual), direction)
            residual = new
        return q

    return implicit(net, train, valid, solve, **more)


def mixed_level(
    net: Supernet,
    train: Batch,
    valid: Batch,
    *,
    weight: float = 1.0,
    criterion: Criterion = F.cross_entropy,
    **_: Any,
) -> tuple[Gradients, float]:
    """∂α L_val + weight·∂α L_train at w."""
    alphas = list(net.alphas.values())
    with net.moving_statistics(False):
        with net.of_role("alpha"):
            loss = net.loss(*valid, criterion)
            of_valid = gradients(loss, alphas)
        of_train = gradients(net.loss(*train, criterion), alphas)
    return dict(zip(net.alphas, combine(of_valid, weight, of_train), strict=True)), loss.item()


def single_level(
    net: Supernet, train: Batch, _: Batch, *, criterion: Criterion = F.cross_entropy, **__: Any
) -> tuple[Gradients, float]:
    """∂α L_train at w."""
    with net.moving_statistics(False):
        loss = net.loss(*train, criterion)
        found = gradients(loss, list(net.alphas.values()))
    return dict(zip(net.alphas, found, strict=True)), loss.item()


def arch_hessian(net: Supernet, batch: Batch, criterion: Criterion = F.cross_entropy) -> Tensor:
    """∇²α L, with rows and columns in the order of the tables."""
    alphas = list(net.alphas.values())
    with net.moving_statistics(False), net.of_role("alpha"):
        first = gradients(net.loss(*batch, criterion), alphas, create_graph=True)
    rows = [
        torch.cat([part.flatten() for part in gradients(entry, alphas, create_graph=True)]).detach()
        for entry in torch.cat([part.flatten() for part in first])
    ]
    return torch.stack(rows)


METHODS: dict[str, Callable[..., tuple[Gradients, float]]] = {
    **hypergradient.METHODS,
    "single_level": single_level,
    "t1_t2": t1_t2,
    "neumann": neumann,
    "conjugate_gradient": conjugate_gradient,
    "mixed_level": mixed_level,
}
