"""`pydarts.Operation`: names, factories, spaces, genotypes, and the errors about them."""

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Any

import pydarts
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from own_operations import Bare, Separable, Smooth
from torch import Tensor, nn
from torch.nn import functional as F


def plain(channels: int, stride: int) -> nn.Module:
    return nn.MaxPool2d(1, stride)


def space_of(*operations: Any, **fields: Any) -> pydarts.Space:
    return pydarts.Space(operations=list(operations), **({"nodes": 1} | fields))


def supernet(*operations: Any, **sizes: Any) -> pydarts.Supernet:
    fields: dict[str, Any] = {"channels": 4, "layers": 3, "num_classes": 3, "in_channels": 1, "image_size": 8}
    return pydarts.Supernet(space_of(*operations), **(fields | sizes))


# ---- names and factories


@pytest.mark.parametrize(
    "name", ["none", "sep_conv_3x3", "tanh", "", "a.b", "a b", "1x1", "é", "a" * 65, "keys"]
)
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(pydarts.SpaceError):
        pydarts.Operation(name, plain)


@pytest.mark.parametrize("factory", [Bare(4, 1), 3, None])
def test_a_factory_is_a_function_that_makes_modules(factory: Any) -> None:
    with pytest.raises(TypeError, match="mine"):
        pydarts.Operation("mine", factory)


def test_a_factory_that_makes_no_module_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="no_module"):
        supernet(pydarts.Operation("no_module", lambda channels, stride: channels))


def by_name(channels: int, stride: int, *, affine: bool) -> nn.Module:
    return nn.BatchNorm2d(channels, affine=affine)


def by_place(channels: int, stride: int, scaled: bool) -> nn.Module:
    return nn.BatchNorm2d(channels, affine=scaled)


def with_default(channels: int, stride: int, ratio: int = 2) -> nn.Module:
    assert ratio == 2
    return nn.BatchNorm2d(channels)


@pytest.mark.parametrize(("factory", "takes"), [(by_name, True), (by_place, True), (with_default, False)])
def test_affine_is_given_to_factories_that_take_it(factory: Any, takes: bool) -> None:
    operation = pydarts.Operation("norm", factory)
    affine = [operation.build(2, 1, affine).affine for affine in (False, True)]
    assert affine == ([False, True] if takes else [True, True])


# ---- the fact about the code


def wide(ratio: int) -> Any:
    return lambda channels, stride: nn.Conv2d(channels, channels, ratio, stride, padding=ratio // 2)


def test_the_fact_depends_on_the_code_and_its_settings() -> None:
    facts = [pydarts.Operation("wide", wide(ratio)).fact for ratio in (3, 5, 3)]
    assert facts[0] == facts[2] != facts[1]
    assert facts[0].startswith(f"{__name__}:wide.<locals>.<lambda>")


def classes(width: int) -> Any:
    class Made(nn.Module):
        def __init__(self, channels: int, stride: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(channels, channels, width, stride, padding=width // 2)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.conv(x))

    return Made


def test_the_fact_of_a_class_depends_on_its_methods() -> None:
    class Other(classes(3)):  # type: ignore[misc]
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.conv(x))

    for maker in (lambda kind: kind, lambda kind: lambda channels, stride: kind(channels, stride)):
        one, other, again, changed = (
            pydarts.Operation("made", maker(kind)).fact.split()[-1]
            for kind in (classes(3), classes(5), classes(3), Other)
        )
        assert one == again
        assert len({one, other, changed}) == 3


def test_an_operation_of_a_library_is_known_by_its_name() -> None:
    assert pydarts.Operation("identity_of_torch", nn.Identity).fact == "torch.nn.modules.linear:Identity"


# ---- spaces, configurations, genotypes


def test_a_space_keeps_operations_as_text() -> None:
    mine = pydarts.Operation("mine", plain)
    space = space_of("none", mine, "skip_connect")
    assert space.operations == space.all_operations == ("none", "mine", "skip_connect")
    assert space.own_operations == {"mine": mine.fact}
    for other in (
        pydarts.Space.from_dict(json.loads(json.dumps(space.to_dict()))),
        pickle.loads(pickle.dumps(space)),
        copy.deepcopy(space),
        space.replace(nodes=2).replace(nodes=1),
        pydarts.SearchConfig.from_json(pydarts.SearchConfig(space=space).to_json()).space,
        pydarts.SearchConfig(operations=["none", mine, "skip_connect"], nodes=1, space="darts").space,
        eval(repr(space), {"Space": pydarts.Space}),
    ):
        assert isinstance(other, pydarts.Space)
        assert (other.operations, other.own_operations, other.edges) == (
            space.operations,
            space.own_operations,
            space.edges,
        )
    assert space.replace(operations=["none", "skip_connect"]).own_operations == {}
    assert "own_operations" not in pydarts.Space().to_dict()


def test_tables_and_edges_may_have_their_own_lists() -> None:
    mine = pydarts.Operation("mine", plain)
    space = pydarts.Space(
        operations={"normal": [mine], "reduce": [["none", mine], ["max_pool_3x3"]]}, nodes=1
    )
    assert space.columns("normal") == (("mine",), ("mine",))
    assert space.columns("reduce") == (("none", "mine"), ("max_pool_3x3",))


def test_a_name_alone_is_refused() -> None:
    pydarts.Operation("by_name_alone", plain)
    for name in ("by_name_alone", "never_made"):
        with pytest.raises(pydarts.SpaceError, match=name):
            space_of("none", name)


def test_two_operations_of_one_name_are_refused() -> None:
    with pytest.raises(pydarts.SpaceError, match="twins"):
        space_of(pydarts.Operation("twins", plain), pydarts.Operation("twins", Bare))


def test_a_recurrent_cell_has_none() -> None:
    with pytest.raises(pydarts.SpaceError, match="recurrent"):
        pydarts.Space(operations=["tanh", pydarts.Operation("mine", plain)], kind="recurrent")


def test_an_operation_with_other_code_is_not_taken_for_that_of_a_space() -> None:
    space = space_of(pydarts.Operation("changing", wide(3)))
    saved = space.to_dict()
    saved["own_operations"]["changing"] += "0"
    loaded = pydarts.Space.from_dict(saved)  # needs no callable
    with pytest.raises(pydarts.ConfigError, match="changing"):
        pydarts.Supernet(loaded)
    assert pydarts.Supernet(loaded.replace(operations=[pydarts.Operation("changing", wide(5))])).cost()


def test_genotypes_hold_the_names() -> None:
    mine = pydarts.Operation("mine", plain)
    cells: dict[str, Any] = {"normal_concat": [2], "reduce": [("none", 0), ("mine", 1)], "reduce_concat": [2]}
    genotype = pydarts.Genotype(normal=[(mine, 0), ("skip_connect", 1)], **cells)
    assert genotype.normal == (("mine", 0), ("skip_connect", 1))
    assert genotype.to_dict()["own_operations"] == ["mine"]
    assert pydarts.Genotype.from_json(genotype.to_json()) == genotype
    assert pydarts.Genotype.from_notation(str(genotype)) == genotype
    assert pickle.loads(pickle.dumps(genotype)) == genotype
    genotype.validate(space_of("none", mine, "skip_connect"))
    with pytest.raises(pydarts.GenotypeError, match="mine"):
        genotype.validate(space_of("none", "skip_connect"))
    with pytest.raises(pydarts.GenotypeError, match="mine"):
        pydarts.build(genotype)
    for wrong in (["mine"], mine, [plain]):
        with pytest.raises(TypeError):
            pydarts.build(genotype, operations=wrong)
    assert isinstance(pydarts.build(genotype, channels=4, layers=2, operations=[mine]), nn.Module)


def test_a_reader_that_does_not_know_the_operation_learns_its_name() -> None:
    cells = '"normal_concat": [2], "reduce": [[["none", 1]]], "reduce_concat": [2]'
    text = f'{{"normal": [[["from_afar", 0]]], {cells}'
    with pytest.raises(pydarts.GenotypeError):
        pydarts.Genotype.from_json(text + "}")
    genotype = pydarts.Genotype.from_json(text + ', "own_operations": ["from_afar"]}')
    assert genotype.normal == (("from_afar", 0),) or genotype.nodes("normal") == ((("from_afar", 0),),)


# ---- shapes


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    kernel=st.sampled_from([1, 3, 5]),
    channels=st.integers(1, 4),
)
def test_any_size_of_images(height: int, width: int, kernel: int, channels: int) -> None:
    def factory(c: int, stride: int) -> nn.Module:
        return nn.Conv2d(c, c, kernel, stride, padding=kernel // 2)

    space = pydarts.Space(operations=[pydarts.Operation("conv", factory)], nodes=1, reductions=[1])
    sizes: dict[str, Any] = {"channels": channels, "layers": 2, "in_channels": 1, "num_classes": 3}
    net = pydarts.Supernet(space, image_size=(height, width), **sizes)
    assert net.logits(torch.zeros(3, 1, height, width)).shape == (3, 3)
    pool = pydarts.Supernet(space.replace(operations=["max_pool_3x3"]), image_size=(height, width), **sizes)
    # An output element needs kernel² · channels products, on two edges of either cell.
    products = 2 * kernel**2 * (channels**2 * height * width)
    products += 2 * kernel**2 * (4 * channels**2 * math.ceil(height / 2) * math.ceil(width / 2))
    assert net.cost()["multiply_adds"] - pool.cost()["multiply_adds"] == products


def unpadded(channels: int, stride: int) -> nn.Module:
    return nn.Conv2d(channels, channels, 3, stride)


def wrong_stride(channels: int, stride: int) -> nn.Module:
    return nn.Identity()


class Pair(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Any:
        return x, x


def lazy(channels: int, stride: int) -> nn.Module:
    return nn.LazyConv2d(channels, 3, stride, padding=1)


def test_a_wrong_shape_names_operation_edge_cell_and_shapes() -> None:
    with pytest.raises(pydarts.SpaceError) as error:
        supernet("none", pydarts.Operation("unpadded", unpadded))
    for part in ("unpadded", "0->2", "normal", "[2, 4, 8, 8]", "[2, 4, 6, 6]"):
        assert part in str(error.value)
    with pytest.raises(pydarts.SpaceError) as error:
        supernet("none", pydarts.Operation("wrong_stride", wrong_stride))
    for part in ("wrong_stride", "reduce", "[2, 8, 4, 4]"):
        assert part in str(error.value)
    for factory in (Pair, lazy):
        with pytest.raises(pydarts.SpaceError, match="other_output"):
            supernet(pydarts.Operation("other_output", factory))


class NotOnMeta(nn.Module):
    """Its control flow needs numbers."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x) if float(x.sum()) >= 0 else -self.pool(x)


def test_a_module_that_cannot_run_on_meta_tensors_is_run_on_zeros() -> None:
    net = supernet(pydarts.Operation("not_on_meta", NotOnMeta), "skip_connect")
    assert net.logits(torch.randn(2, 1, 8, 8)).isfinite().all()


# ---- cost


def test_cost_counts_weights_and_multiply_adds() -> None:
    own = supernet("none", pydarts.Operation("separable", Separable))
    built_in = supernet("none", "sep_conv_3x3")
    for name in ("weights", "alphas", "multiply_adds", "flops"):
        assert own.cost()[name] == built_in.cost()[name]
    bytes_of = [net.cost()["bytes_per_image_weight"] for net in (own, built_in)]
    assert bytes_of[0] == pytest.approx(bytes_of[1], rel=0.5)
    bare = supernet("none", pydarts.Operation("bare", Bare))
    assert bare.cost()["bytes_per_image"] < own.cost()["bytes_per_image"]


def test_explain_shows_it() -> None:
    text = supernet("none", pydarts.Operation("smooth", Smooth)).explain(full=True)
    assert "smooth" in text and "own module" in text


# ---- exceptions of the user's code


class Broken(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and not x.requires_grad and len(x) == 5:
            raise ZeroDivisionError("mine")
        return self.pool(x)


def unbuildable(channels: int, stride: int) -> nn.Module:
    raise ZeroDivisionError("mine")


def test_exceptions_come_out_as_themselves_with_the_place() -> None:
    with pytest.raises(ZeroDivisionError, match="mine") as error:
        supernet("none", pydarts.Operation("unbuildable", unbuildable))
    notes = getattr(error.value, "__notes__", ["unbuildable 0->2 cell 0 normal"])
    assert all(part in notes[0] for part in ("unbuildable", "0->2", "cell 0", "normal"))
    net = supernet("none", pydarts.Operation("broken", Broken))
    with pytest.raises(ZeroDivisionError, match="mine") as error:
        net.logits(torch.zeros(5, 1, 8, 8))
    notes = getattr(error.value, "__notes__", ["broken 0->2 cell 0 normal"])
    assert all(part in notes[0] for part in ("broken", "0->2", "cell 0", "normal"))
    assert net.logits(torch.zeros(4, 1, 8, 8)).shape == (4, 3)  # the network can still be used


class InPlace(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(1, stride)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x.mul_(2)
        return self.pool(x)


class Clamping(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.conv.weight.clamp_(-0.1, 0.1)
        return self.conv(x)


@pytest.mark.parametrize(("factory", "what"), [(InPlace, "input"), (Clamping, "weights")])
def test_changes_in_place_are_refused(factory: Any, what: str) -> None:
    net = supernet("none", pydarts.Operation("changing", factory))
    with pytest.raises(pydarts.DataError, match=what):
        net.logits(torch.randn(4, 1, 8, 8))


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


class NoSecond(nn.Module):
    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = Once.apply(torch.tanh(self.conv(x)))
        return y


def test_an_operation_without_a_second_derivative_is_named() -> None:
    net = supernet("none", pydarts.Operation("no_second", NoSecond))
    batch = torch.randn(4, 1, 8, 8), torch.arange(4) % 3
    assert net.arch_gradient(batch, batch, "unrolled")["normal"].isfinite().all()
    with pytest.raises(pydarts.ConfigError) as error:
        net.arch_gradient(batch, batch, "unrolled_exact")
    assert "no_second" in str(error.value) and "unrolled" in str(error.value)
