"""`Choice` and `InputChoice` as modules: alone, nested at random, fixed, copied and saved."""

from __future__ import annotations

import copy
import io
import pickle
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import nested
import pydarts
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from own_models import MODELS, Parts, Recorder, batches
from parity import apart
from pydarts.nn import Choice, InputChoice
from reference import METHODS, OwnNetwork, PlainChoice, PlainInputChoice
from torch import Tensor, nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = {"first_order": 1e-9, "unrolled": 1e-6, "unrolled_exact": 1e-8}
few = settings(max_examples=50, deadline=None)
fewer = settings(max_examples=20, deadline=None)


def choices(module: nn.Module) -> dict[str, Any]:
    """Every choice of a module by its first name."""
    return {name: sub for name, sub in module.named_modules() if isinstance(sub, (Choice, InputChoice))}


def plain_choices(module: nn.Module) -> dict[str, Any]:
    kinds = (PlainChoice, PlainInputChoice)
    return {name: sub for name, sub in module.named_modules() if isinstance(sub, kinds)}


def relative(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / (1 + other.norm())).item()


# ---- random nestings


@few
@given(nested.specs())
def test_outputs_and_gradients_are_those_of_the_plain_statement(spec: nested.Spec) -> None:
    ours, plain = nested.build(spec, False), nested.build(spec, True)
    assert ours.state_dict().keys() == plain.state_dict().keys()
    assert [*choices(ours)] == [*plain_choices(plain)]
    x, y = nested.batch(1)
    found, expected = ours(x), plain(x)
    assert relative(found, expected) <= 1e-11
    for output in (found, expected):
        F.cross_entropy(output, y).backward()
    theirs = dict(plain.named_parameters())
    for name, parameter in ours.named_parameters():
        assert (parameter.grad is None) == (theirs[name].grad is None), name
        if parameter.grad is not None:
            assert relative(parameter.grad, theirs[name].grad) <= 1e-10, name  # type: ignore[arg-type]
    for (name, buffer), other in zip(ours.named_buffers(), plain.buffers(), strict=True):
        assert relative(buffer.double(), other.double()) <= 1e-11, name


@fewer
@given(nested.specs(), st.sampled_from(sorted(TOLERANCE)))
def test_a_search_step_is_that_of_the_plain_statement(spec: nested.Spec, method: str) -> None:
    plain = OwnNetwork(nested.build(spec, True))
    config = pydarts.SearchConfig(hypergradient=method, weight_lr=0.1, arch_lr=0.01, precision="float64")
    ours = pydarts.SearchModule(nested.build(spec, False), config)
    generator = torch.Generator().manual_seed(5)
    plain.set_alphas(
        {
            name: torch.randn(alpha.shape, generator=generator, dtype=torch.float64)
            * ~plain.relaxation.fixed(name, alpha)
            for name, alpha in plain.alphas.items()
        }
    )
    assert {k: v.shape for k, v in ours.alphas.items()} == {k: v.shape for k, v in plain.alphas.items()}
    ours.set_alphas({name: alpha.detach() for name, alpha in plain.alphas.items()})
    train, valid = nested.batch(1), nested.batch(2)
    more = {} if method == "first_order" else {"xi": 0.1}
    expected, _ = METHODS[method](plain, train, valid, **more)  # type: ignore[arg-type]
    found = ours.arch_gradient(train=train, valid=valid, hypergradient=method, xi=0.1)
    for name, gradient in expected.items():
        assert relative(found[name], gradient) <= TOLERANCE[method], name
    search = reference.Search(plain, method=method, arch_lr=0.01, published=False)  # type: ignore[arg-type]
    for _ in range(2):
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, 0.1), rel=1e-6)
    after = ours.state_dict()
    moved = {**plain.weights(), **dict(plain.module.named_buffers())}
    assert apart({name: after[name] for name in moved}, moved) <= 10 * TOLERANCE[method]


@fewer
@given(nested.specs(), st.integers(0, 100))
def test_fix_is_one_hot_mixing(spec: nested.Spec, seed: int) -> None:
    ours, plain = nested.build(spec, False), nested.build(spec, True)
    before = copy.deepcopy(ours.state_dict())
    (architecture,) = pydarts.random_architectures(ours, 1, seed)
    fixed = pydarts.nn.fix(ours, architecture)
    for name, choice in plain_choices(plain).items():
        choice.mix = one_hot(choice, architecture[name])
    assert not choices(fixed)
    assert not [sub for sub in fixed.modules() if type(sub).__module__.startswith("pydarts")]
    assert all(torch.equal(before[key], value) for key, value in ours.state_dict().items())
    x, _ = nested.batch(1)
    ours.eval(), fixed.eval(), plain.eval()
    assert relative(fixed(x), plain(x)) <= 1e-12
    theirs = {name: parameter for name, parameter in fixed.named_parameters()}
    assert sum(p.numel() for p in theirs.values()) <= sum(p.numel() for p in ours.parameters())
    assert not {id(p) for p in theirs.values()} & {id(p) for p in ours.parameters()}


def one_hot(choice: Any, chosen: Any) -> Tensor:
    weights = torch.zeros(choice.count, dtype=torch.float64)
    if isinstance(choice, PlainChoice):
        weights[[*choice.candidates].index(chosen)] = 1.0
    else:
        weights[list(chosen)] = 1.0
    return weights


@fewer
@given(nested.specs(), st.integers(0, 100))
def test_random_architectures_name_every_choice(spec: nested.Spec, seed: int) -> None:
    module = nested.build(spec, False)
    plain = plain_choices(nested.build(spec, True))
    drawn = pydarts.random_architectures(module, 5, seed)
    assert drawn == pydarts.random_architectures(module, 5, seed)
    assert len(drawn) == 5
    for architecture in drawn:
        assert architecture.keys() == plain.keys()
        rows: dict[tuple[str, int], Any] = {}
        for name, choice in plain.items():
            chosen = architecture[name]
            if isinstance(choice, PlainChoice):
                assert chosen in choice.candidates
            else:
                assert isinstance(chosen, tuple) and len({*chosen}) == choice.keep
                assert all(0 <= index < choice.count for index in chosen)
            if choice.table is not None:  # choices of one row choose alike
                assert rows.setdefault((choice.table, choice.row), chosen) == chosen


def test_random_architectures_differ_by_number_and_seed() -> None:
    module = nn.ModuleList(Choice([nn.Identity(), nn.Tanh(), nn.ReLU()]) for _ in range(20))
    drawn = [*pydarts.random_architectures(module, 3, 0), *pydarts.random_architectures(module, 3, 1)]
    assert len({tuple(sorted(architecture.items())) for architecture in drawn}) == 6
    assert {key for architecture in drawn for key in architecture.values()} == {"0", "1", "2"}


# ---- outputs


def structures(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Tuples, lists and dictionaries of shapes."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(tuple),
            st.lists(inner, min_size=1, max_size=3),
            st.dictionaries(st.sampled_from("abc"), inner, min_size=1),
        ),
        max_leaves=5,
    )


class Returns(nn.Module):
    """Returns products of its input with drawn numbers, in a structure of shapes."""

    def __init__(self, structure: Any) -> None:
        super().__init__()
        self.structure, self.scale = structure, nn.Parameter(torch.randn((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Any:
        return _filled(
            self.structure, lambda shape: torch.tanh(self.scale * x.sum()) * torch.ones(shape).double()
        )


def _filled(structure: Any, make: Callable[[Any], Tensor]) -> Any:
    if isinstance(structure, torch.Size):
        return make(structure)
    if isinstance(structure, dict):
        return {key: _filled(value, make) for key, value in structure.items()}
    return type(structure)(_filled(value, make) for value in structure)


def leaves_of(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [
        leaf for part in (value.values() if isinstance(value, dict) else value) for leaf in leaves_of(part)
    ]


SHAPES = st.lists(st.integers(1, 3), max_size=3).map(torch.Size)


@few
@given(structures(SHAPES), st.integers(1, 3))
def test_outputs_are_mixed_leaf_by_leaf(structure: Any, count: int) -> None:
    torch.manual_seed(0)
    candidates = [Returns(structure) for _ in range(count)]
    choice = Choice(candidates, init=torch.randn(count, dtype=torch.float64))
    x = torch.randn(3, dtype=torch.float64)
    found = choice(x)
    expected = reference.mixed(choice.alpha.softmax(0), [candidate(x) for candidate in candidates])
    assert type(found) is type(expected)
    for one, other in zip(leaves_of(found), leaves_of(expected), strict=True):
        assert one.shape == other.shape and relative(one, other) <= 1e-12
    total = [sum(leaf.sum() for leaf in leaves_of(value)) for value in (found, expected)]
    gradients = [
        torch.autograd.grad(value, [choice.alpha, *choice.candidates.parameters()]) for value in total
    ]
    assert all(relative(*pair) <= 1e-10 for pair in zip(*gradients, strict=True))


def test_named_tuples_stay_named_tuples() -> None:
    Pair = namedtuple("Pair", "one two")

    class Named(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return Pair(x, 2 * x)

    found = Choice([Named(), Named()])(torch.ones(2))
    assert type(found) is Pair
    assert found.two.tolist() == [2.0, 2.0]


def test_none_in_the_outputs_of_all_candidates_stays() -> None:
    """As `nn.MultiheadAttention` returns it without weights."""

    class Attention(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, None]:
            return x * 2, None

    output, nothing = Choice([Attention(), Attention()])(torch.ones(2))
    assert output.tolist() == [2.0, 2.0] and nothing is None


def test_a_candidate_may_have_several_arguments_and_keywords() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, y: Tensor, *, scale: float = 1.0) -> Tensor:
            return scale * (x + y)

    class Product(nn.Module):
        def forward(self, x: Tensor, y: Tensor, *, scale: float = 1.0) -> Tensor:
            return x * y

    choice = Choice({"sum": Scaled(), "product": Product()})
    assert choice(torch.tensor(2.0), torch.tensor(5.0), scale=3.0).item() == pytest.approx((21 + 10) / 2)


# ---- choices of inputs


@few
@given(st.integers(1, 4).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))), st.integers(0, 99))
def test_inputs_are_summed_with_weights_and_fixed_to_the_sum_of_the_kept(sizes: Any, seed: int) -> None:
    n, keep = sizes
    torch.manual_seed(seed)
    choice = InputChoice(n, keep=keep, init=torch.randn(n, dtype=torch.float64))
    inputs = [torch.randn(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(n)]
    expected = sum(w * x for w, x in zip(choice.alpha.softmax(0), inputs, strict=True))
    assert relative(choice(inputs), expected) <= 1e-12  # type: ignore[arg-type]
    module = nn.ModuleDict({"which": choice})
    (architecture,) = pydarts.random_architectures(module, 1, seed)
    assert len(architecture["which"]) == keep
    fixed = pydarts.nn.fix(module, architecture)["which"]
    kept = sum(inputs[index] for index in architecture["which"])
    assert relative(fixed(inputs), kept) <= 1e-12  # type: ignore[arg-type]


# ---- copies and files

MODULES = {name: lambda name=name: MODELS[name](Parts(False, Recorder())) for name in MODELS}  # type: ignore[misc]


def saved(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def loaded(module: nn.Module) -> nn.Module:
    name = next(name for name, model in MODELS.items() if type(module) is model)
    torch.manual_seed(99)
    other = MODULES[name]().double()
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "torch.save": saved,
    "state_dict": loaded,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", [name for name in MODELS if name != "dropout"])
def test_copies_compute_the_same(name: str, way: str) -> None:
    torch.manual_seed(7)
    module = MODULES[name]().double()
    with torch.no_grad():
        for choice in choices(module).values():
            choice.alpha.copy_(torch.randn_like(choice.alpha))
    other = COPIES[way](module)
    ((x, _),) = batches(name, 1)
    x = x if isinstance(x, tuple) else (x,)
    assert torch.equal(module(*x), other(*x))
    assert not {id(p) for p in module.parameters()} & {id(p) for p in other.parameters()}
    assert choices(module).keys() == choices(other).keys()


def test_logits_are_parameters_that_follow_the_module() -> None:
    choice = Choice({"a": nn.Linear(2, 2), "b": nn.Identity()}, init=torch.tensor([0.5, -1.0]))
    assert isinstance(choice.alpha, nn.Parameter) and choice.alpha.requires_grad
    assert choice.alpha.tolist() == [0.5, -1.0]
    assert [*choice.state_dict()] == ["alpha", "candidates.a.weight", "candidates.a.bias"]
    assert [*choice.candidates] == ["a", "b"]
    assert choice.double().alpha.dtype == torch.float64
    assert choice.to("meta").alpha.device.type == "meta"
    assert [*Choice([nn.Identity(), nn.Tanh()]).candidates] == ["0", "1"]
    assert Choice([nn.Identity(), nn.Tanh()]).alpha.tolist() == [0.0, 0.0]
    assert InputChoice(3).alpha.tolist() == [0.0, 0.0, 0.0]


class Referring(nn.Module):
    """Calls its choices through attributes that are not registered."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.other = Choice([Times(2.0), Times(3.0)]), Choice([Times(5.0), Times(7.0)])
        self.order, self.pair, self.named = [self.mix], (self.mix, "a"), {"deep": [self.other]}
        self.call = self.other.forward

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.call(self.named["deep"][0](self.pair[0](self.order[0](x))))  # type: ignore[operator]
        return found


class Times(nn.Module):
    """A product with a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def test_choices_in_lists_and_dictionaries_are_fixed() -> None:
    module = Referring()
    fixed = pydarts.nn.fix(module, {"mix": "1", "other": "0"})
    assert fixed(torch.ones(1)).item() == 3.0 * 3.0 * 5.0 * 5.0
    assert module.order == [module.mix]  # the original has not changed


def test_several_structures_are_not_kept() -> None:
    choice = InputChoice(3, keep=2)
    with pytest.raises(pydarts.SpaceError, match="dict"):
        choice([{"h": torch.ones(1)}] * 3)


@pytest.mark.parametrize("name", ["steps", "epochs", "file", "allow_pickle", "a\0b", "\ud800"])
def test_names_that_files_cannot_hold_are_refused(name: str) -> None:
    choice, last = Choice([nn.Tanh(), nn.Identity()], alpha=name), nn.Linear(1, 1)
    with pytest.raises(pydarts.ConfigError, match="name"):
        pydarts.SearchModule(nn.Sequential(choice, last))
