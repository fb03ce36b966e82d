"""The exact second-order term against finite differences: those of eq. 8, and of the unrolled loss itself."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._search.search_module import SearchModule
from ..._search.supernet import Supernet
from ..._values.config import SearchConfig
from ..._values.fields import Method
from ..._values.space import Space
from ...nn._function import FunctionNetwork
from .check import Check, Value

Named = dict[str, Tensor]

XI, DECAY, MOMENTUM = 0.3, 0.1, 0.9
_EQ_8 = "DARTS, eq. 8: central differences, whose error is of order ε²"


def checks() -> list[Check]:
    """Return the checks of the second-order term, on networks without kinks and in float64."""
    return [
        Check(
            "hessian.order",
            "error of eq. 8 at ε = 0.02 over that at ε = 0.01",
            _EQ_8,
            4.0,
            lambda: _error(0.02) / _error(0.01),
            0.05,
        ),
        Check(
            "hessian.error",
            "relative error of eq. 8 at ε = 0.001",
            _EQ_8,
            0.0,
            lambda: _error(0.001),
            1e-6,
        ),
        Check(
            "hessian.unrolled_loss",
            "exact gradient, differences of the unrolled loss",
            "DARTS, eq. 7: the gradient of L_val(w', α) by α",
            0.0,
            _against_unrolled_loss,
            1e-7,
        ),
        Check(
            "hessian.compiled.order",
            "the same in a compiled cell, ε = 0.01 and 0.005",
            _EQ_8,
            4.0,
            lambda: _compiled_error(0.01) / _compiled_error(0.005),
            0.05,
        ),
        Check(
            "hessian.compiled.error",
            "relative error of eq. 8 in that cell at ε = 0.001",
            _EQ_8,
            0.0,
            lambda: _compiled_error(0.001),
            1e-5,
        ),
    ]


def _drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _loss(w: Named, m: Named, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the squared error of a layer of tanh units, weighted by the two rows of m."""
    x, y = batch
    hidden = torch.tanh(x @ w["first"]) * m["units"].sum(0)
    return ((hidden @ w["last"] - y) ** 2).mean()


def _weights() -> Named:
    return {"first": 0.5 * _drawn(1, 3, 4), "last": 0.5 * _drawn(2, 4)}


def _buffers() -> Named:
    return {"first": 0.1 * _drawn(4, 3, 4), "last": 0.1 * _drawn(5, 4)}


def _batches() -> list[tuple[Tensor, Tensor]]:
    return [(_drawn(seed, 20, 3), _drawn(seed + 1, 20)) for seed in (10, 20)]


def _gradient(method: Method, epsilon: float = 0.01) -> Tensor:
    """Return the gradient by α from the engine, with momentum and weight decay in the virtual step."""
    config = SearchConfig(weight_decay=DECAY, weight_momentum=MOMENTUM)
    network = FunctionNetwork(_loss, _weights(), {"units": _drawn(3, 2, 4)})
    net = SearchModule(network, config, precision="float64", device="cpu")
    train, valid = _batches()
    return net.arch_gradient(train, valid, method, XI, epsilon, _buffers())["units"]


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _error(epsilon: float) -> float:
    return _relative(_gradient("unrolled", epsilon), _gradient("unrolled_exact"))


def _unrolled_loss(alpha: Tensor) -> float:
    """Return L_val(w − ξ(μ·buffer + ∇L_train + λw), softmax(α)) in plain PyTorch."""
    train, valid = _batches()
    w = {name: value.requires_grad_() for name, value in _weights().items()}
    m = {"units": torch.softmax(alpha, -1)}
    gradients = torch.autograd.grad(_loss(w, m, train), list(w.values()))
    moved = {
        name: value.detach() - XI * (MOMENTUM * buffer + gradient + DECAY * value.detach())
        for (name, value), buffer, gradient in zip(w.items(), _buffers().values(), gradients, strict=True)
    }
    return float(_loss(moved, m, valid))


def _against_unrolled_loss() -> Value:
    alpha, step = _drawn(3, 2, 4), 1e-5
    expected = torch.zeros_like(alpha)
    for row, column in torch.ones_like(alpha).nonzero().tolist():
        moved = torch.zeros_like(alpha)
        moved[row, column] = step
        difference = _unrolled_loss(alpha + moved) - _unrolled_loss(alpha - moved)
        expected[row, column] = difference / (2 * step)
    return _relative(_gradient("unrolled_exact"), expected)


def _compiled_error(epsilon: float) -> float:
    space = Space(kind="recurrent", nodes=2, operations=["none", "tanh", "sigmoid", "identity"])
    config = SearchConfig(space=space, batch_size=4)
    net = Supernet(vocabulary=7, units=5, precision="float64", device="cpu", config=config)
    net.set_alphas({"recurrent": _drawn(6, 3, 4)})
    tokens = torch.randint(0, 7, (2, 9, 4), generator=torch.Generator().manual_seed(7))
    train, valid = ((text[:-1], text[1:]) for text in tokens)
    found = net.arch_gradient(train, valid, "unrolled", 20.0, epsilon)["recurrent"]
    return _relative(found, net.arch_gradient(train, valid, "unrolled_exact", 20.0)["recurrent"])
