"""User-defined operations in passes: initial weights, buffers, modes, random numbers, gradients."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pydarts
import pytest
import torch
from own_operations import Separable, Smooth
from parity import assert_same_bits, snapshot
from torch import Tensor, nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS = ("first_order", "unrolled", "unrolled_exact")


def supernet(*operations: Any, **config: Any) -> pydarts.Supernet:
    return pydarts.Supernet(
        pydarts.Space(operations=list(operations), nodes=1),
        channels=4,
        layers=3,
        num_classes=3,
        in_channels=1,
        image_size=8,
        precision="float64",
        config=pydarts.SearchConfig(**config),
    )


def batch(seed: int = 0, n: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, 8, 8, generator=generator, dtype=torch.float64), torch.arange(n) % 3


# ---- initial weights


def test_initial_weights_depend_on_seed_and_name_alone() -> None:
    smooth, separable = pydarts.Operation("smooth", Smooth), pydarts.Operation("separable", Separable)
    states = [
        supernet("none", smooth).state_dict(),
        supernet(separable, "skip_connect", smooth).state_dict(),
        supernet("none", smooth, seed=1).state_dict(),
    ]
    names = [
        name for name in states[0] if ".smooth." in name and "running" not in name and "num_" not in name
    ]
    weights = [name for name in names if name.endswith("spread.weight")]
    assert len(weights) == 6
    assert all(torch.equal(states[0][name], states[1][name]) for name in names)
    assert not any(torch.equal(states[0][name], states[2][name]) for name in weights)
    first, second, *_ = weights
    assert not torch.equal(states[0][first], states[0][second])


def test_initial_weights_are_those_of_the_module() -> None:
    class Constant(nn.Module):
        def __init__(self, channels: int, stride: int) -> None:
            super().__init__()
            self.value = nn.Parameter(torch.arange(float(channels)).view(-1, 1, 1))
            self.frozen = nn.Parameter(torch.full((1,), 7.0), requires_grad=False)
            self.register_buffer("table", torch.full((2,), 5, dtype=torch.int32))
            self.pool = nn.MaxPool2d(1, stride)

        def forward(self, x: Tensor) -> Tensor:
            assert self.table.dtype == torch.int32 and self.frozen.item() == 7
            return self.pool(x) * self.value

    net = supernet("none", pydarts.Operation("constant", Constant))
    state = net.state_dict()
    prefix = "cells.0.edges.0_2.constant"
    assert torch.equal(state[f"{prefix}.value"].flatten(), torch.arange(4.0, dtype=torch.float64))
    assert state[f"{prefix}.frozen"].item() == 7 and state[f"{prefix}.table"].tolist() == [5, 5]
    before = torch.get_rng_state()
    net.step(batch(), batch(1))
    assert torch.equal(before, torch.get_rng_state())
    state = net.state_dict()
    assert state[f"{prefix}.frozen"].item() == 7  # it is no weight
    assert f"{prefix}.frozen" not in net.optimizer_state()["momentum"]
    net.load_state_dict(state)
    with pytest.raises(pydarts.DataError, match=f"{prefix}.table"):
        net.load_state_dict({name: tensor for name, tensor in state.items() if name != f"{prefix}.table"})


# ---- buffers and modes


class Counting(nn.Module):
    """Counts its passes in every way that a module may."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(1, stride)
        self.register_buffer("whole", torch.tensor(0))
        self.register_buffer("real", torch.zeros(()))
        self.frozen = nn.BatchNorm2d(channels, affine=False).eval()
        self.modes: list[tuple[bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.whole += 1
        self.real = self.real + 1.0  # replaced
        MODES.append((self.training, self.frozen.training))
        return torch.tanh(self.frozen(self.pool(x)))


MODES: list[tuple[bool, bool]] = []


@pytest.mark.parametrize("memory", ["keep", "recompute"])
@pytest.mark.parametrize("method", METHODS)
def test_buffers_move_once_per_step(method: str, memory: Any) -> None:
    net = supernet("none", pydarts.Operation("counting", Counting), hypergradient=method, memory=memory)
    for step in (1, 2):
        net.loss(*batch())
        net.evaluate(*batch())
        net.arch_gradient(batch(), batch(1), method)
        net.step(batch(), batch(1))
        state = net.state_dict()
        for name, tensor in state.items():
            if name.endswith(("counting.whole", "counting.real")):
                assert tensor.item() == step, name
            if name.endswith("counting.frozen.num_batches_tracked"):
                assert tensor.item() == 0


def test_micro_batches_move_buffers_as_one_step() -> None:
    net = supernet("none", pydarts.Operation("counting", Counting), micro_batch=2)
    net.step(batch(n=6), batch(1, n=6))
    state = net.state_dict()
    assert {t.item() for name, t in state.items() if name.endswith((".whole", ".real"))} == {1}


def test_evaluation_runs_in_evaluation_mode_and_frozen_parts_stay_so() -> None:
    net = supernet("none", pydarts.Operation("counting", Counting))
    for call, trains in ((net.loss, True), (net.evaluate, False), (net.loss, True)):
        MODES.clear()
        call(*batch())
        assert set(MODES) == {(trains, False)}


def test_evaluation_divides_out_the_initial_statistics_by_the_momentum_of_the_batch_norm() -> None:
    def norm(momentum: float | None) -> Any:
        def factory(channels: int, stride: int) -> nn.Module:
            bn = nn.BatchNorm2d(channels, affine=False, momentum=momentum)
            return nn.Sequential(nn.MaxPool2d(1, stride), bn)

        return factory

    for momentum in (0.3, None):
        net = supernet(pydarts.Operation("normed", norm(momentum)))
        for _ in range(3):
            net.step(batch(), batch())
        state = net.state_dict()
        left = 0.0 if momentum is None else (1 - momentum) ** 3
        for name in state:
            if "normed.1.running_mean" in name:
                state[name] = state[name] / (1 - left)
            if "normed.1.running_var" in name:
                state[name] = (state[name] - left) / (1 - left)
        # A batch norm without momentum is used as it is.
        other = supernet(pydarts.Operation("normed", norm(None)))
        other.load_state_dict(state)
        other.set_alphas(net.alphas)
        assert net.evaluate(*batch())[0] == pytest.approx(other.evaluate(*batch())[0], rel=1e-10)


# ---- random numbers


DRAWN: list[tuple[bool, int]] = []


class Drawing(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, stride, bias=False)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            DRAWN.append((self.training, int(torch.randint(1 << 30, ()))))
        return self.dropout(torch.tanh(self.conv(x)))


@pytest.mark.parametrize("memory", ["keep", "recompute"])
def test_all_training_losses_of_a_step_draw_the_same(memory: Any) -> None:
    net = supernet("none", pydarts.Operation("drawing", Drawing), hypergradient="unrolled", memory=memory)
    modules = 6
    found = []
    for _ in range(2):
        DRAWN.clear()
        before = torch.get_rng_state()
        net.step(batch(), batch(1))
        assert torch.equal(before, torch.get_rng_state())
        counts = Counter(number for _, number in DRAWN)
        found.append(set(counts))
        # Training losses: virtual step, w+ and w-, weight step. The validation loss draws other numbers.
        assert len(counts) == 2 * modules
        passes = sorted(set(counts.values()))
        assert passes == [1, 4] if memory == "keep" else len(passes) <= 4
    assert not found[0] & found[1]
    again = supernet("none", pydarts.Operation("drawing", Drawing), hypergradient="unrolled", memory=memory)
    DRAWN.clear()
    torch.manual_seed(5)
    again.step(batch(), batch(1))
    assert {number for _, number in DRAWN} == found[0]


@pytest.mark.parametrize("method", METHODS)
def test_dropout_gives_the_gradient_of_a_fixed_function(method: str) -> None:
    """Twice the same call gives the same numbers, and the finite difference approaches the exact product."""
    net = supernet("none", pydarts.Operation("drawing", Drawing))
    one, other = (net.arch_gradient(batch(), batch(1), method) for _ in range(2))
    assert_same_bits({"gradient": one}, {"gradient": other})
    exact = net.arch_gradient(batch(), batch(1), "unrolled_exact", 0.5)["normal"]
    finite = net.arch_gradient(batch(), batch(1), "unrolled", 0.5, epsilon=1e-4)["normal"]
    first = net.arch_gradient(batch(), batch(1), "unrolled_exact", 0.0)["normal"]
    assert (finite - exact).norm() < 0.05 * (exact - first).norm()


def test_recomputing_changes_no_bit() -> None:
    found = []
    for memory in ("keep", "recompute"):
        net = supernet(
            "none",
            pydarts.Operation("drawing", Drawing),
            hypergradient="unrolled",
            memory=memory,  # type: ignore
        )
        net.step(batch(), batch(1))
        found.append(snapshot(net))
    assert_same_bits(*found)


# ---- gradients


WANTED: list[bool] = []


class Watching(torch.autograd.Function):
    """x · w, noting whether w's gradient is asked for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        x, w = ctx.saved_tensors
        WANTED.append(ctx.needs_input_grad[1])
        by_w = (gradient * x).sum((0, 2, 3), keepdim=True)[0] if ctx.needs_input_grad[1] else None
        return gradient * w, by_w


class Watched(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.pool = nn.MaxPool2d(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = Watching.apply(self.pool(x), self.scale)
        return y


def test_a_first_order_alpha_step_computes_no_gradients_of_weights() -> None:
    net = supernet("none", pydarts.Operation("watched", Watched))
    WANTED.clear()
    net.arch_gradient(valid=batch(), hypergradient="first_order")
    assert WANTED and not any(WANTED)
    WANTED.clear()
    net.arch_gradient(batch(), batch(1), "unrolled")
    assert any(WANTED)


def test_passes_change_nothing() -> None:
    net = supernet("none", pydarts.Operation("separable", Separable), pydarts.Operation("drawing", Drawing))
    before = snapshot(net)
    net.logits(batch()[0]), net.loss(*batch()), net.evaluate(*batch())
    for method in METHODS:
        net.arch_gradient(batch(), batch(1), method)
    assert_same_bits(before, snapshot(net))


def test_the_dtype_of_a_network_is_that_of_its_modules() -> None:
    seen = []

    class Typed(nn.Module):
        def __init__(self, channels: int, stride: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(channels, channels, 1, stride)

        def forward(self, x: Tensor) -> Tensor:
            if x.device.type == "cpu":
                seen.append((x.dtype, self.conv.weight.dtype, x.is_contiguous()))
            return F.relu(self.conv(x))

    space = pydarts.Space(operations=[pydarts.Operation("typed", Typed), "skip_connect"], nodes=1)
    sizes: dict[str, Any] = {"channels": 4, "layers": 3, "num_classes": 3, "in_channels": 1, "image_size": 8}
    for dtype, inside in (
        ("float32", torch.float32),
        ("float64", torch.float64),
        ("bfloat16", torch.float32),
    ):
        seen.clear()
        net = pydarts.Supernet(space, precision=dtype, **sizes)
        assert net.logits(batch()[0]).isfinite().all()
        assert set(seen) == {(inside, inside, True)}


# ---- weights


class Scaled(nn.Module):
    """Scales channels by a looked up vector; `change` may do something to the weights before."""

    def __init__(self, channels: int, stride: int, sparse: bool = False, change: Any = None) -> None:
        super().__init__()
        self.pool, self.table = nn.AvgPool2d(stride), nn.Embedding(2, channels, sparse=sparse)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        if self.change is not None:
            self.change(self.table)
        found: Tensor = self.pool(x) * self.table(torch.zeros(1, dtype=torch.long)).reshape(1, -1, 1, 1)
        return found


@pytest.mark.parametrize("method", METHODS)
def test_sparse_gradients_are_those_of_dense_ones(method: Any) -> None:
    states = []
    for sparse in (False, True):
        operation = pydarts.Operation("scaled", lambda c, s, sparse=sparse: Scaled(c, s, sparse))
        net = supernet("skip_connect", operation, hypergradient=method)
        net.step(batch(), batch(1))
        states.append(net.state_dict() | net.alphas)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def _clamped(table: nn.Embedding) -> None:
    table.weight.data.clamp_(-0.1, 0.1)


def _normalized(table: nn.Embedding) -> None:
    table.weight.data = F.normalize(table.weight.data)


def _replaced(table: nn.Embedding) -> None:
    table.weight = nn.Parameter(table.weight.detach() * 0.5)


@pytest.mark.parametrize("change", [_clamped, _normalized, _replaced])
def test_a_forward_pass_that_changes_weights_is_refused(change: Any) -> None:
    operation = pydarts.Operation("scaled", lambda c, s: Scaled(c, s, change=change))
    with pytest.raises(pydarts.DataError, match=r"scaled.*0->2"):
        supernet("skip_connect", operation).step(batch(), batch(1))


# ---- threads


def test_two_threads_may_use_one_supernet() -> None:
    net, found = supernet("skip_connect", pydarts.Operation("smooth", Smooth)), []
    threads = [
        threading.Thread(target=lambda: found.extend(net.loss(*batch()) for _ in range(20)), daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 40 and len({*found}) == 1


def test_an_operation_that_calls_its_supernet_gets_an_error() -> None:
    def ask(_: nn.Module) -> None:
        assert all(net.alphas for net in made)

    made: list[pydarts.Supernet] = []  # empty while the operation is described
    net = supernet("skip_connect", pydarts.Operation("scaled", lambda c, s: Scaled(c, s, change=ask)))
    made.append(net)
    with pytest.raises(pydarts.ConfigError, match="alphas"):
        net.loss(*batch())
    assert net.alphas
