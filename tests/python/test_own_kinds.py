"""Modules of many kinds as own networks: recomputed, sparse, shared, frozen, and those that change."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pydarts
import pytest
import torch
from own_modules import seeded
from pydarts.nn import Choice
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

FEATURES, CLASSES, EXAMPLES = 4, 3, 8
METHODS = ("first_order", "unrolled", "unrolled_exact")


def data() -> tuple[Tensor, Tensor]:
    X = torch.randn(4 * EXAMPLES, FEATURES, generator=torch.Generator().manual_seed(0))
    return X.double(), (X[:, 0] > 0).long() + (X[:, 1] > 0).long()


def config(**changes: Any) -> pydarts.SearchConfig:
    options: dict[str, Any] = {"epochs": 2, "batch_size": EXAMPLES, "precision": "float64", "device": "cpu"}
    return pydarts.SearchConfig(**(options | {"progress": False} | changes))


def search(network: Any, **changes: Any) -> pydarts.SearchResult:
    return pydarts.search(data(), config(**changes), network=network)


class Net(nn.Module):
    """Two layers with a choice between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, CLASSES)
        normed = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.BatchNorm1d(FEATURES))
        self.mix = Choice({"tanh": nn.Tanh(), "normed": normed}, init=[0.5, -0.5])

    def middle(self, x: Tensor) -> Tensor:
        found: Tensor = self.mix(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.middle(self.first(x)))
        return found


class Recomputed(Net):
    """The middle runs again in the backward pass."""

    def middle(self, x: Tensor) -> Tensor:
        found: Tensor = checkpoint(self.mix, x, use_reentrant=False)
        return found


@pytest.mark.parametrize("method", METHODS)
def test_parts_that_run_again_in_the_backward_pass_have_the_same_gradients(method: str) -> None:
    x, y = data()
    train, valid = (x[:EXAMPLES], y[:EXAMPLES]), (x[EXAMPLES:], y[EXAMPLES:])
    found = []
    for kind in (Net, Recomputed):
        module = pydarts.SearchModule(seeded(kind), config())
        module.set_alphas({"mix": torch.tensor([[2.0, -1.0]])})
        before = module.state_dict()
        found.append(module.arch_gradient(train, valid, hypergradient=method)["mix"])  # type: ignore[arg-type]
        after = module.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)  # no buffer has moved
    assert found[0].abs().max() > 1e-4
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_sparse_gradients_are_those_of_dense_ones(method: str) -> None:
    tokens = torch.randint(0, 9, (32, 5), generator=torch.Generator().manual_seed(1))

    def made(sparse: bool) -> nn.Module:
        table = nn.Embedding(9, FEATURES, sparse=sparse)
        choice, last = Choice([nn.Tanh(), nn.Identity()]), nn.Linear(5 * FEATURES, CLASSES)
        return nn.Sequential(table, choice, nn.Flatten(), last)

    results = [
        pydarts.search((tokens, tokens[:, 0] % 3), config(hypergradient=method), network=seeded(made, sparse))
        for sparse in (False, True)
    ]
    assert torch.equal(results[0].state_dict["0.weight"], results[1].state_dict["0.weight"])
    assert (results[0].alphas["1"] == results[1].alphas["1"]).all()


class Shared(Net):
    """Two parts hold the same buffer."""

    def __init__(self) -> None:
        super().__init__()
        mean = torch.zeros(FEATURES)
        self.first.register_buffer("mean", mean)
        self.last.register_buffer("mean", mean)

    def middle(self, x: Tensor) -> Tensor:
        assert self.first.mean is self.last.mean
        if self.training:
            self.first.mean += x.detach().mean(0)
        return super().middle(x - self.last.mean)


class Frozen(Net):
    """A part does not learn."""

    def __init__(self) -> None:
        super().__init__()
        self.first.requires_grad_(False)


@pytest.mark.parametrize("kind", [Shared, Frozen])
@pytest.mark.parametrize("made_in", [torch.float32, torch.float64])
def test_a_module_of_another_dtype_is_fixed(kind: type[Net], made_in: torch.dtype) -> None:
    result = search(seeded(kind).to(made_in) if kind is Frozen else seeded(kind))
    fixed = result.fixed_network().eval()
    assert {value.dtype for value in fixed.state_dict().values() if value.is_floating_point()} == {
        torch.float64
    }
    assert fixed(data()[0]).dtype == torch.float64


def test_a_buffer_of_two_parts_moves_once() -> None:
    result = search(seeded(Shared))
    assert [name for name in result.state_dict if name.endswith("mean")] == [
        "first.mean",
        "mix.candidates.normed.1.running_mean",
    ]
    assert result.state_dict["first.mean"].any()


class Changing(Net):
    """Changes the weights of a part, in some way."""

    def __init__(self, how: Callable[[nn.Module], None], frozen: bool) -> None:
        super().__init__()
        self.how = how
        self.extra = nn.Linear(FEATURES, FEATURES).requires_grad_(not frozen)

    def middle(self, x: Tensor) -> Tensor:
        self.how(self.extra)
        found: Tensor = self.extra(super().middle(x))
        return found


def _in_place(part: nn.Module) -> None:
    with torch.no_grad():
        part.weight.mul_(0.9)  # type: ignore[operator]


def _behind_autograd(part: nn.Module) -> None:
    part.weight.data.clamp_(-0.1, 0.1)  # type: ignore[operator, union-attr]


def _other_memory(part: nn.Module) -> None:
    part.weight.data = F.normalize(part.weight.data, dim=1)  # type: ignore[assignment, arg-type]


def _other_parameter(part: nn.Module) -> None:
    part.weight = nn.Parameter(0.9 * part.weight.detach(), part.weight.requires_grad)  # type: ignore[operator]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("how", [_in_place, _behind_autograd, _other_memory, _other_parameter])
def test_a_forward_pass_that_changes_parameters_is_refused(
    how: Callable[[nn.Module], None], frozen: bool
) -> None:
    with pytest.raises(pydarts.DataError, match=r"extra\.weight"):
        search(seeded(Changing, how, frozen))


def test_weights_that_a_refused_pass_has_changed_are_restored() -> None:
    module = pydarts.SearchModule(seeded(Net), config())
    x, y = data()
    expected = module.loss((x, y))
    inner = module._bound.module.mix.candidates["tanh"]  # type: ignore[union-attr, index]

    def change(*_: Any) -> None:
        with torch.no_grad():
            module._bound.module.first.weight.mul_(3.0)  # type: ignore[union-attr, operator]

    hook = inner.register_forward_hook(change)
    with pytest.raises(pydarts.DataError, match=r"first\.weight"):
        module.loss((x, y))
    hook.remove()
    assert module.loss((x, y)) == expected


class Lazy(Net):
    """Makes a buffer in its first forward pass: one that was None, or a new one."""

    average: Tensor | None

    def __init__(self, declared: bool) -> None:
        super().__init__()
        self.declared = declared
        if declared:
            self.register_buffer("average", None)

    def middle(self, x: Tensor) -> Tensor:
        if getattr(self, "average", None) is None:
            self.register_buffer("average", torch.zeros_like(x[0]))
        assert self.average is not None
        self.average = 0.9 * self.average + 0.1 * x.detach().mean(0)
        return super().middle(x - self.average)


@pytest.mark.parametrize("declared", [True, False])
def test_buffers_that_a_forward_pass_makes_are_refused(declared: bool) -> None:
    module = seeded(Lazy, declared)
    with pytest.raises(pydarts.DataError, match="average"):
        search(module)
    module(data()[0].float())
    assert "average" in search(module).state_dict


@pytest.mark.parametrize("part", [False, True])
def test_a_factory_that_returns_the_same_parts_loses_nothing(part: bool) -> None:
    net = seeded(Net)
    before = {name: value.clone() for name, value in net.state_dict().items()}

    def factory() -> nn.Module:
        return nn.Sequential(net) if part else net

    first, second = search(factory), search(factory)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(torch.equal(first.state_dict[name], value) for name, value in second.state_dict.items())
    for result in (first, second):
        fixed = result.fixed_network(factory)
        assert not any(isinstance(one, Choice) for one in fixed.modules())
    assert isinstance(net.mix, Choice)


def test_a_factory_that_makes_different_modules_is_refused() -> None:
    made = iter([seeded(Net), nn.Sequential(seeded(Net), nn.Linear(CLASSES, CLASSES))])
    with pytest.raises(pydarts.ConfigError, match="Net"):
        search(lambda: next(made))


WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_parametrized_modules_are_searched_fixed_and_pickled(wrapper: str) -> None:
    def made() -> nn.Module:
        net = seeded(Net)
        WRAPPED[wrapper](net.first)
        return net  # type: ignore[no-any-return]

    result = search(made())
    again = pickle.loads(pickle.dumps(result))
    assert again.module is None and result.module is not None
    x, fixed = data()[0], result.fixed_network().eval()
    assert torch.equal(fixed(x), again.fixed_network(made()).eval()(x))


def test_results_with_a_module_that_can_be_pickled_keep_it() -> None:
    result = search(seeded(Net))
    again = pickle.loads(pickle.dumps(result))
    x = data()[0]
    assert torch.equal(again.fixed_network().eval()(x), result.fixed_network().eval()(x))


@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0, None])
def test_batch_norm_of_any_momentum_is_evaluated(momentum: float | None) -> None:
    net = seeded(Net)
    net.mix.candidates["normed"][1].momentum = momentum
    result = search(net)
    fixed = result.fixed_network().eval()
    assert all(record.valid_loss < 10 for record in result.history)
    assert torch.isfinite(fixed(data()[0])).all()


class Transformed(Net):
    """The middle runs inside a transform of functions."""

    def middle(self, x: Tensor) -> Tensor:
        found: Tensor = torch.func.vmap(self.mix)(x)
        return found


@pytest.mark.parametrize("method", METHODS)
def test_choices_inside_transforms_of_functions_have_the_same_gradients(method: Any) -> None:
    x, y = data()
    train, valid = (x[:EXAMPLES], y[:EXAMPLES]), (x[EXAMPLES:], y[EXAMPLES:])
    found = []
    for kind in (Net, Transformed):
        net = seeded(kind)
        net.mix = Choice([nn.Tanh(), nn.ReLU()])
        found.append(
            pydarts.SearchModule(net, config()).arch_gradient(train, valid, hypergradient=method)["mix"]
        )
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("use", ["alphas", "loss", "state_dict"])
def test_code_inside_a_pass_that_calls_the_same_search_module_gets_an_error(use: str) -> None:
    def loss(output: Tensor, y: Tensor) -> Tensor:
        if use == "alphas":
            assert module.alphas
        elif use == "state_dict":
            module.state_dict()
        else:
            module.loss(data())
        return F.cross_entropy(output, y)

    module = pydarts.SearchModule(seeded(Net), config(), loss=loss)
    with pytest.raises(pydarts.ConfigError, match="alphas"):
        module.loss(data())
    assert module.alphas  # the error has set it free


def test_outputs_are_those_of_plain_inputs_where_batches_are_unpacked() -> None:
    x, y = data()
    module = pydarts.SearchModule(seeded(Net), config(), unpack=lambda batch: (batch["a"], batch["b"]))
    expected = F.cross_entropy(module.output(x), y)
    assert module.loss({"a": x, "b": y}) == pytest.approx(float(expected), abs=1e-12)


def test_modules_on_the_meta_device_are_refused() -> None:
    with pytest.raises(pydarts.ConfigError, match="meta"):
        search(seeded(Net).to("meta"))


def test_complex_tensors_are_refused() -> None:
    net = seeded(Net)
    net.first.register_buffer("turns", torch.ones(2, dtype=torch.complex64))
    for use in (search, pydarts.SearchModule):
        with pytest.raises(pydarts.ConfigError, match=r"first\.turns.*complex"):
            use(net)  # type: ignore[operator]


class Failing(torch.autograd.Function):
    """The identity, whose backward pass raises an exception."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, error: BaseException) -> Tensor:
        ctx.error = error
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        raise ctx.error


class Fails(nn.Module):
    """A layer whose backward pass fails."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = Failing.apply(x, self.error)  # type: ignore[no-untyped-call]
        return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["module", "loss", "operation"])
def test_an_exception_of_a_backward_pass_is_raised_unchanged(kind: str, method: str) -> None:
    error, net = LookupError("in backward"), seeded(Net)
    net.mix = Choice([Fails(error), nn.Tanh()])
    X, y = torch.zeros(16, 1, 8, 8).double(), torch.arange(16) % 2
    images: dict[str, Any] = {"channels": 2, "layers": 3, "hypergradient": method}
    with pytest.raises(LookupError) as caught:
        if kind == "module":
            search(net, hypergradient=method)
        elif kind == "loss":
            pydarts.search((X, y), config(**images), loss=lambda a, b: F.cross_entropy(Fails(error)(a), b))
        else:
            failing = pydarts.Operation(
                "failing", lambda channels, stride: nn.Sequential(nn.AvgPool2d(stride), Fails(error))
            )
            pydarts.search((X, y), config(operations=["skip_connect", failing], **images))
    assert caught.value is error or str(caught.value) == str(error)


def test_ctrl_c_in_a_backward_pass_returns_the_partial_result() -> None:
    net = seeded(Net)
    net.mix = Choice([Fails(KeyboardInterrupt()), nn.Tanh()])
    assert search(net).status == "interrupted"
