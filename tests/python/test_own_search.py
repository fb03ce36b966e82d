"""What a search of a user's module moves, and when: buffers, gradients, copies; the engine does the steps."""

from __future__ import annotations

import ast
import copy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydarts
import pytest
import torch
from pydarts.nn import Choice
from torch import Tensor, nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")

METHODS = ("first_order", "unrolled", "unrolled_exact")
FEATURES, CLASSES = 4, 3
methods = pytest.mark.parametrize("method", METHODS)


class Counting(nn.Module):
    """Buffers of every sort: in place, replaced, integer, boolean, not persistent, none."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bn = nn.Linear(FEATURES, FEATURES), nn.BatchNorm1d(FEATURES)
        self.mix = Choice([nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.BatchNorm1d(FEATURES)), nn.Tanh()])
        self.last = nn.Linear(FEATURES, CLASSES)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("replaced", torch.tensor(0, dtype=torch.int32))
        self.register_buffer("flag", torch.tensor([False, True]))
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("hidden", torch.zeros(()), persistent=False)
        self.register_buffer("nothing", None)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
            self.replaced = self.replaced + 1
            self.flag.logical_not_()
            self.mean = 0.5 * self.mean + 0.5 * x.detach().mean(0)
            self.hidden.add_(1.0)
        return self.last(self.mix(self.bn(self.first(x))))


def batches(count: int, seed: int = 0, size: int = 6) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, FEATURES, generator=generator), torch.arange(size) % CLASSES) for _ in range(count)
    ]


def config(**changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {"epochs": 2, "device": "cpu", "record": "step", "progress": False}
    return pydarts.SearchConfig(**(fields | changes))


def moved_mean(data: list[tuple[Tensor, Tensor]]) -> Tensor:
    mean = torch.zeros(FEATURES)
    for x, _ in data:
        mean = 0.5 * mean + 0.5 * x.mean(0)
    return mean


# ---- buffers


@methods
def test_buffers_move_once_per_step(method: Any) -> None:
    train, valid = batches(3), batches(2, seed=1)
    result = pydarts.search((train, valid), config(hypergradient=method), network=Counting())
    state = result.state_dict
    assert int(state["calls"]) == int(state["replaced"]) == 6
    assert state["calls"].dtype == torch.int64 and state["replaced"].dtype == torch.int32
    assert state["flag"].tolist() == [False, True]
    assert int(state["bn.num_batches_tracked"]) == 6
    assert int(state["mix.candidates.0.1.num_batches_tracked"]) == 6
    torch.testing.assert_close(state["mean"], moved_mean([*train, *train]), rtol=1e-5, atol=1e-6)


@methods
def test_buffers_of_a_search_module_move_in_steps_only(method: Any) -> None:
    net = pydarts.SearchModule(Counting(), config(hypergradient=method))
    train, valid = batches(2)
    before = net.state_dict()
    net.arch_gradient(train=train, valid=valid, hypergradient=method, xi=0.1)
    net.loss(train)
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for count in (1, 2):
        net.step(train, valid)
        state = net.state_dict()
        assert int(state["calls"]) == int(state["replaced"]) == count
        assert int(state["bn.num_batches_tracked"]) == count
        torch.testing.assert_close(state["mean"], moved_mean([train] * count), rtol=1e-5, atol=1e-6)


def test_micro_batches_move_float_buffers_by_their_mean_and_counters_once() -> None:
    train, valid = batches(3), batches(2, seed=1)
    cfg = config(micro_batch=2)
    result = pydarts.search((train, valid), cfg, network=Counting())
    assert int(result.state_dict["calls"]) == int(result.state_dict["bn.num_batches_tracked"]) == 6
    torch.testing.assert_close(result.state_dict["mean"], moved_mean([*train, *train]), rtol=1e-5, atol=1e-6)


class Exploding(nn.Module):
    """A loss that is not finite in the weight step, or in the α step, from some step on."""

    def __init__(self, bad: float, role: str, step: int) -> None:
        super().__init__()
        self.bad, self.role, self.step = bad, role, step
        self.calls = 0

    def __deepcopy__(self, memo: Any) -> Exploding:
        return self

    def forward(self, output: Tensor, y: Tensor) -> Tensor:
        loss = F.cross_entropy(output, y)
        step, which = divmod(self.calls, 2)  # first order: a loss of α, then one of the weights
        self.calls += 1
        if torch.is_grad_enabled() and step == self.step and which == ("alpha", "weight").index(self.role):
            return loss * self.bad
        return loss


@pytest.mark.parametrize("role", ["alpha", "weight"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_rolled_back_restores_buffers(bad: float, role: str) -> None:
    net, train, valid = Counting(), batches(5), batches(5, seed=1)
    good = pydarts.search((train[:2], valid[:2]), config(epochs=1), network=net)
    with pytest.raises(pydarts.NumericalError) as caught:
        # The learning rate is that of an epoch, so two steps of it are those of the shorter search.
        pydarts.search((train, valid), config(epochs=1), network=net, loss=Exploding(bad, role, 2))
    result = caught.value.result  # type: ignore[attr-defined]
    assert result.steps == (0, 1, 2)
    assert result.state_dict.keys() == good.state_dict.keys()
    for name, tensor in good.state_dict.items():
        assert torch.equal(result.state_dict[name], tensor), name
    for table, alphas in good.alphas.items():
        assert np.array_equal(result.alphas[table], alphas)


# ---- copies


@methods
def test_a_search_works_on_a_copy(method: Any) -> None:
    net = Counting()
    before = {name: (id(p), p.clone(), p.requires_grad) for name, p in net.named_parameters()}
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    pydarts.search((batches(3), batches(2)), config(hypergradient=method), network=net)
    for name, p in net.named_parameters():
        identity, value, requires = before[name]
        assert id(p) == identity and torch.equal(p, value) and p.requires_grad == requires and p.grad is None
    for name, b in net.named_buffers():
        assert torch.equal(b, buffers[name])
    assert net.training


def test_a_search_begins_with_the_values_of_the_module() -> None:
    net = Counting()
    with torch.no_grad():
        net.first.weight.fill_(0.25)
    module = pydarts.SearchModule(net)
    state = module.state_dict()
    for name, tensor in net.state_dict().items():
        if not name.endswith(".alpha"):
            assert torch.equal(state[name], tensor), name
    assert not any(name.endswith(".alpha") for name in state)


def test_initial_logits_are_drawn_unless_given() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.given = Choice([nn.Tanh(), nn.Linear(FEATURES, FEATURES)], init=torch.tensor([0.5, -0.5]))
            self.drawn = Choice([nn.Tanh(), nn.Linear(FEATURES, FEATURES)])
            self.last = nn.Linear(FEATURES, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.drawn(self.given(x)))

    nets = [pydarts.SearchModule(Two(), pydarts.SearchConfig(seed=seed)) for seed in (0, 0, 1)]
    assert all(net.alphas["given"].flatten().tolist() == [0.5, -0.5] for net in nets)
    drawn = [net.alphas["drawn"] for net in nets]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert 0 < drawn[0].abs().max() < 0.01


# ---- gradients


class Watched(torch.autograd.Function):
    """x·w, which counts the gradients of w that are asked for, and those of x."""

    asked: ClassVar[list[tuple[bool, bool]]] = []

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        x, w = ctx.saved_tensors
        Watched.asked.append(ctx.needs_input_grad)
        needs_x, needs_w = ctx.needs_input_grad
        return grad * w if needs_x else None, (grad * x).sum(0) if needs_w else None


class WatchedLayer(nn.Module):
    """A layer before the choices, one in a candidate, one after: by place, which gradients are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(FEATURES))

    def forward(self, x: Tensor) -> Tensor:
        return Watched.apply(x, self.w)  # type: ignore[no-any-return, no-untyped-call]


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = Choice([nn.Tanh(), nn.Identity()])
        self.after, self.last = WatchedLayer(), nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.after(self.mix(x)))


def asked_in_the_last_step(method: Any) -> list[tuple[bool, bool]]:
    """Whether gradients of (x, w) were computed in the passes of a step; in the first one is a check."""
    Watched.asked.clear()
    pydarts.search((batches(3), batches(3)), config(epochs=1, hypergradient=method), network=Layers())
    passes = {"first_order": 2, "unrolled": 5}[method]
    assert 3 * passes <= len(Watched.asked) <= 3 * passes + 1
    return Watched.asked[-passes:]


def test_the_first_order_step_of_alpha_computes_no_gradients_of_weights() -> None:
    assert asked_in_the_last_step("first_order") == [(True, False), (False, True)]
    assert not any(needs_w for _, needs_w in Watched.asked[:2])  # nor does a check in the first step
    net = pydarts.SearchModule(Layers(), config())
    Watched.asked.clear()
    net.arch_gradient(valid=batches(1)[0], hypergradient="first_order")
    assert {*Watched.asked} == {(True, False)}


def test_virtual_and_weight_steps_compute_no_gradients_of_alpha() -> None:
    """The virtual step, L_val at w', the two sides of the finite difference, and the weight step."""
    asked = asked_in_the_last_step("unrolled")
    assert asked == [(False, True), (True, True), (True, False), (True, False), (False, True)]


# ---- the engine


def test_searches_use_no_optimiser_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a search made an optimiser of torch")

    monkeypatch.setattr(torch.optim.Optimizer, "__init__", refuse)
    for method in METHODS:
        result = pydarts.search((batches(2), batches(2)), config(hypergradient=method), network=Counting())
        assert result.status == "complete"


def test_the_python_of_searches_does_not_name_torch_optim() -> None:
    package = Path(pydarts.__file__).parent
    folders = [package / name for name in ("_search", "_data", "_results", "_values", "nn")]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    assert len(files) > 20
    found = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names = [f"{node.value.id}.{node.attr}"]
            found += [(path.name, name) for name in names if name.startswith("torch.optim")]
    assert not found


@methods
def test_the_same_seed_gives_the_same_search(method: Any) -> None:
    net = Counting()
    results = [
        pydarts.search((batches(3), batches(2)), config(hypergradient=method), network=copy.deepcopy(net))
        for _ in range(2)
    ]
    for name, tensor in results[0].state_dict.items():
        assert torch.equal(results[1].state_dict[name], tensor), name
    assert np.array_equal(results[0].alphas["mix"], results[1].alphas["mix"])


def test_dropout_draws_the_same_in_all_training_losses_of_a_step() -> None:
    drawn: list[float] = []

    class Drawing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.last = Choice([nn.Tanh(), nn.Identity()]), nn.Linear(FEATURES, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                drawn.append(float(torch.rand(())))
            return self.last(self.mix(x))

    network, state = Drawing(), torch.get_rng_state()
    pydarts.search((batches(2), batches(2)), config(epochs=1, hypergradient="unrolled"), network=network)
    assert torch.equal(state, torch.get_rng_state())
    first, second = drawn[:5], drawn[5:]
    # The virtual step, L_val, w + εv, w − εv and the weight step.
    for step in (first, second):
        assert step[0] == step[2] == step[3] == step[4] != step[1]
    assert len({*first, *second}) == 4
