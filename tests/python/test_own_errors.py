"""Errors of users' modules: each has the right type and names what is wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pydarts
import pytest
import torch
from pydarts.nn import Choice, InputChoice
from torch import Tensor, nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")

FEATURES, CLASSES, EXAMPLES = 4, 3, 6


def net(*modules: nn.Module) -> nn.Sequential:
    """Modules of [N, FEATURES] -> [N, FEATURES] between two layers."""
    return nn.Sequential(nn.Linear(FEATURES, FEATURES), *modules, nn.Linear(FEATURES, CLASSES))


def data() -> Any:
    x = torch.randn(EXAMPLES, FEATURES, generator=torch.Generator().manual_seed(0))
    batch = (x, torch.arange(EXAMPLES) % CLASSES)
    return [batch, batch], [batch, batch]


def search(network: Any, loss: Any = None, **changes: Any) -> pydarts.SearchResult:
    options: dict[str, Any] = {"epochs": 1, "device": "cpu", "progress": False, **changes}
    return pydarts.search(data(), pydarts.SearchConfig(**options), network=network, loss=loss)


def linear(inputs: int = FEATURES, outputs: int = FEATURES) -> nn.Module:
    return nn.Linear(inputs, outputs)


def both(first: Choice, second: Choice) -> nn.Module:
    return net(first, second)


ROWS: dict[str, Callable[[], nn.Module]] = {
    "other names": lambda: both(
        Choice({"a": linear(), "b": nn.Tanh()}, alpha="t"), Choice({"a": linear(), "c": nn.Tanh()}, alpha="t")
    ),
    "another order": lambda: both(
        Choice({"a": linear(), "b": nn.Tanh()}, alpha="t"), Choice({"b": nn.Tanh(), "a": linear()}, alpha="t")
    ),
    "another number": lambda: both(
        Choice({"a": linear(), "b": nn.Tanh()}, alpha="t"), Choice({"a": linear()}, alpha="t")
    ),
    "a choice of inputs": lambda: nn.ModuleDict(
        {"a": Choice([linear(), nn.Tanh(), nn.ReLU()], alpha="t"), "b": InputChoice(3, alpha="t", keep=2)}
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_choices_of_one_row_have_the_same_candidates(case: str) -> None:
    for use in (search, pydarts.SearchModule):
        with pytest.raises(pydarts.ConfigError, match=r"\bt\b"):
            use(ROWS[case]())  # type: ignore[operator]


class Returns(nn.Module):
    """Returns what a function makes of the input."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


MISMATCHES: dict[str, tuple[Callable[[Tensor], Any], Callable[[Tensor], Any], tuple[str, ...]]] = {
    "shape": (lambda x: x, lambda x: x[:, :2], (f"[{EXAMPLES}, {FEATURES}]", f"[{EXAMPLES}, 2]")),
    "a shape that would broadcast": (
        lambda x: x,
        lambda x: x[:, :1],
        (f"[{EXAMPLES}, {FEATURES}]", f"[{EXAMPLES}, 1]"),
    ),
    "dimensions": (lambda x: x, lambda x: x[..., None], (f"[{EXAMPLES}, {FEATURES}, 1]",)),
    "shape inside a tuple": (lambda x: (x, x), lambda x: (x, x[:, :3]), (f"[{EXAMPLES}, 3]",)),
    "tuple and tensor": (lambda x: (x, x), lambda x: x, ()),
    "number of tensors": (lambda x: (x, x), lambda x: (x, x, x), ()),
    "keys": (lambda x: {"one": x}, lambda x: {"two": x}, ()),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_outputs_that_cannot_be_mixed_name_both_candidates(case: str) -> None:
    one, other, shapes = MISMATCHES[case]
    choice = Choice({"wide": Returns(one), "narrow": Returns(other)})
    with pytest.raises(pydarts.Error) as alone:
        choice(torch.randn(EXAMPLES, FEATURES))
    with pytest.raises(pydarts.Error) as searched:
        search(net(choice))
    for caught in (alone, searched):
        for word in ("wide", "narrow", *shapes):
            assert word in str(caught.value)


class Once(torch.autograd.Function):
    """sin, whose backward has no derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad * x.cos()


def once(x: Tensor) -> Tensor:
    found: Tensor = Once.apply(x)  # type: ignore[no-untyped-call]
    return found


def test_an_operation_without_a_second_derivative_is_named() -> None:
    module = net(Choice([Returns(once), nn.Tanh()]))
    for method in ("first_order", "unrolled"):
        assert search(module, hypergradient=method).status == "complete"
    with pytest.raises(pydarts.ConfigError, match="Once") as caught:
        search(module, hypergradient="unrolled_exact")
    assert '"unrolled"' in str(caught.value)


def test_an_operation_of_torch_without_a_second_derivative_is_named() -> None:
    def aligned(x: Tensor) -> Tensor:
        tokens, lengths = torch.ones(EXAMPLES, 1).long(), torch.ones(EXAMPLES).long()
        return x + F.ctc_loss(x.repeat(4, 1, 1).log_softmax(-1), tokens, 4 * lengths, lengths)

    module = net(Choice([Returns(aligned), nn.Tanh()]))
    assert search(module, hypergradient="unrolled").status == "complete"
    with pytest.raises(pydarts.ConfigError, match="ctc_loss") as caught:
        search(module, hypergradient="unrolled_exact")
    assert '"unrolled"' in str(caught.value)


class Locked(nn.Linear):
    """A module that cannot be copied."""

    def __init__(self) -> None:
        super().__init__(FEATURES, FEATURES)
        self.lock = threading.Lock()


def test_a_module_that_cannot_be_copied_is_refused_and_a_factory_is_not() -> None:
    def factory() -> nn.Module:
        return net(Choice([Locked(), nn.Tanh()]))

    for use in (search, pydarts.SearchModule):
        with pytest.raises(TypeError, match="lock") as caught:
            use(factory())  # type: ignore[operator]
        assert isinstance(caught.value.__cause__, TypeError)
    assert search(factory).status == "complete"


def test_lazy_modules_are_refused() -> None:
    for use in (search, pydarts.SearchModule):
        module = net(Choice([nn.LazyLinear(FEATURES), nn.Tanh()]))
        with pytest.raises(pydarts.ConfigError, match=r"1\.candidates\.0\.weight"):
            use(module)  # type: ignore[operator]
        module(torch.zeros(EXAMPLES, FEATURES))
        use(module)  # type: ignore[operator]


def test_a_module_without_choices_is_refused() -> None:
    for use in (search, pydarts.SearchModule):
        with pytest.raises(pydarts.ConfigError, match="Choice"):
            use(net(nn.Tanh()))  # type: ignore[operator]


@pytest.mark.parametrize("frozen", [True, False])
def test_a_module_without_weights_is_refused(frozen: bool) -> None:
    module: nn.Module = nn.Sequential(Choice([nn.Tanh(), nn.Identity()]))
    if frozen:
        module.append(linear(FEATURES, CLASSES).requires_grad_(False))  # type: ignore[operator]
    for use in (search, pydarts.SearchModule):
        with pytest.raises(pydarts.ConfigError, match=r"weight|parameter"):
            use(module)  # type: ignore[operator]


BAD_LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Any], type[Exception], str]] = {
    "a vector": (
        lambda output, y: F.cross_entropy(output, y, reduction="none"),
        pydarts.DataError,
        rf"\[{EXAMPLES}\]",
    ),
    "a number": (lambda output, y: 1.0, TypeError, "float"),
    "nothing": (lambda output, y: None, TypeError, "NoneType"),
    "detached": (lambda output, y: output.detach().mean(), pydarts.DataError, "graph"),
    "nan": (lambda output, y: output.mean() * float("nan"), pydarts.NumericalError, "NaN.*step 0"),
    "infinite": (lambda output, y: output.mean() * float("inf"), pydarts.NumericalError, "step 0"),
}


@pytest.mark.parametrize("case", BAD_LOSSES)
def test_losses_that_are_no_finite_scalar_are_refused(case: str) -> None:
    loss, error, said = BAD_LOSSES[case]
    with pytest.raises(error, match=said):
        search(net(Choice([linear(), nn.Tanh()])), loss=loss)


def test_a_loss_without_a_path_to_the_choices_is_refused() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.last = Choice([linear(), nn.Tanh()]), linear(FEATURES, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            self.mix(x)
            return self.last(x)

    with pytest.raises(pydarts.DataError, match="mix"):
        search(Beside())


NETWORKS: dict[str, tuple[Any, type[Exception]]] = {
    "a number": (3, TypeError),
    "a factory of something else": (lambda: 3, TypeError),
    "a class of something else": (dict, TypeError),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_what_is_no_module_is_refused(case: str) -> None:
    network, error = NETWORKS[case]
    with pytest.raises(error, match="network"):
        search(network)


CHOICES: dict[str, tuple[Callable[[], Any], type[Exception]]] = {
    "no candidates": (lambda: Choice([]), pydarts.ConfigError),
    "no candidates by name": (lambda: Choice({}), pydarts.ConfigError),
    "no module": (lambda: Choice([linear(), torch.tanh]), TypeError),  # type: ignore[list-item]
    "a module": (lambda: Choice(linear()), TypeError),  # type: ignore[arg-type]
    "a negative row": (lambda: Choice([linear()], alpha="t", row=-1), pydarts.ConfigError),
    "init of another length": (
        lambda: Choice([linear(), nn.Tanh()], init=torch.zeros(3)),
        pydarts.ConfigError,
    ),
    "init that is not finite": (
        lambda: Choice([linear(), nn.Tanh()], init=torch.tensor([0.0, float("nan")])),
        pydarts.ConfigError,
    ),
    "no inputs": (lambda: InputChoice(0), pydarts.ConfigError),
    "more kept than there are": (lambda: InputChoice(2, keep=3), pydarts.ConfigError),
    "none kept": (lambda: InputChoice(2, keep=0), pydarts.ConfigError),
    "an unknown reduction": (lambda: InputChoice(2, reduction="median"), pydarts.ConfigError),
    "another number of inputs": (lambda: InputChoice(3)([torch.ones(1)] * 2), pydarts.Error),
    "inputs of other shapes": (lambda: InputChoice(2)([torch.ones(1), torch.ones(2)]), pydarts.Error),
}


@pytest.mark.parametrize("case", CHOICES)
def test_choices_that_cannot_be_made_are_refused(case: str) -> None:
    make, error = CHOICES[case]
    with pytest.raises(error):
        make()


ARCHITECTURES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown candidate": ({"mix": "c", "which": (0,)}, "c"),
    "an unknown choice": ({"mix": "a", "which": (0,), "other": "a"}, "other"),
    "a choice left out": ({"mix": "a"}, "which"),
    "an index that is not there": ({"mix": "a", "which": (5,)}, "5"),
    "too many inputs": ({"mix": "a", "which": (0, 1)}, "which"),
}


@pytest.mark.parametrize("case", ARCHITECTURES)
def test_architectures_that_do_not_fit_are_refused(case: str) -> None:
    architecture, said = ARCHITECTURES[case]
    module = nn.ModuleDict({"mix": Choice({"a": linear(), "b": nn.Tanh()}), "which": InputChoice(2)})
    pydarts.nn.fix(module, {"mix": "a", "which": (0,)})
    with pytest.raises(pydarts.Error, match=said):
        pydarts.nn.fix(module, architecture)


class Sudden(Exception):
    """An exception of the user's code."""


@pytest.mark.parametrize("where", ["module", "loss"])
def test_exceptions_of_the_user_come_out_as_themselves(where: str) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(0)
        if len(calls) == 4:
            raise Sudden("mine")

    def forward(x: Tensor) -> Tensor:
        if where == "module":
            fail()
        return x

    def loss(output: Tensor, y: Tensor) -> Tensor:
        if where == "loss":
            fail()
        return F.cross_entropy(output, y)

    with pytest.raises(Sudden, match="mine") as caught:
        search(net(Choice([Returns(forward), linear()])), loss=loss, record="step")
    result = caught.value.result  # type: ignore[attr-defined]
    assert result.status == "failed"
    assert result.steps == (0, 1)


def test_the_module_is_usable_after_a_search_that_failed() -> None:
    module = net(Choice([linear(), nn.Tanh()]))
    x = torch.randn(EXAMPLES, FEATURES)
    before = module(x)
    with pytest.raises(pydarts.NumericalError):
        search(module, loss=lambda output, y: output.mean() * float("nan"))
    assert torch.equal(module(x), before)
    module(x).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


class Sized(nn.Sequential):
    """A network that needs arguments."""

    def __init__(self, width: int, *, depth: int, bias: bool = True) -> None:
        super().__init__(nn.Linear(FEATURES, CLASSES, bias), Choice([nn.Tanh(), nn.Identity()]))


@pytest.mark.parametrize("where", ["search", "fixed_network", "SearchModule", "search_many"])
def test_a_factory_that_needs_arguments_is_told_which(where: str) -> None:
    cfg = pydarts.SearchConfig(epochs=1, device="cpu", progress=False)
    calls: dict[str, Callable[[], Any]] = {
        "search": lambda: search(Sized),
        "fixed_network": lambda: search(lambda: Sized(1, depth=2)).fixed_network(Sized),  # type: ignore[arg-type]
        "SearchModule": lambda: pydarts.SearchModule(Sized, cfg),  # type: ignore[arg-type]
        "search_many": lambda: pydarts.search_many(data(), cfg, network=Sized, workers=0),  # type: ignore[arg-type]
    }
    with pytest.raises(TypeError, match="Sized requires width, depth;"):
        calls[where]()


def test_a_candidate_of_another_type_is_told_apart_from_its_name() -> None:
    with pytest.raises(pydarts.ConfigError, match=r"1.*'0', '1'"):
        pydarts.nn.fix(net(Choice([nn.Tanh(), nn.ReLU()])), {"1": 1})
