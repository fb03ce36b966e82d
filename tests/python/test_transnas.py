"""Stages that follow each other directly, such as TransNAS-Bench-101: parity in float64, networks, codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import reference
import torch
from conftest import make_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import METHODS, XI, apart, assert_gradients_agree, assert_steps_agree, distance, plain_gradient
from parity_stages import Stages
from pydarts import Genotype, Space
from pydarts.algorithms import Flops, Parameters
from pydarts.nn import ResidualNetwork
from pydarts.nn._costs import target_costs
from torch import nn

CODE = "1_02_333"


@dataclass(frozen=True)
class Direct(Stages):
    """As `Stages`, for lists of stages."""

    operations: Any = reference.TRANSNAS_OPERATIONS
    stages: Any = ((2, 2), (2, 1))
    size: tuple[int, int] = (16, 16)

    def reference(self) -> Any:
        return reference.TransNasSupernet(
            channels=self.channels,
            layers=self.layers,
            stages=self.stages,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
            nodes=self.nodes,
            operations=self.operations,
            affine=self.affine,
            bias=self.bias,
            seed=self.seed,
        )


SETUPS = {
    "TransNAS-Bench-101": Direct(stages=reference.macro("41"), layers=2),
    "every digit": Direct(stages=reference.macro("1234"), size=(28, 20), nodes=2),
    "odd channels and sizes": Direct(stages=((3, 2), (1, 2)), channels=3, size=(19, 13)),
    "affine norms and biases": Direct(affine=True, bias=True),
    "separable, dilated and crossed": Direct(
        operations=("sep_conv_3x3", "dil_conv_3x3", "conv_7x1_1x7", "skip_connect"), nodes=2
    ),
    "pooling where the channels stay": Direct(
        nodes=2,
        operations={"cell": [("none", "skip_connect"), ("nor_conv_3x3",), ("avg_pool_3x3", "skip_connect")]},
    ),
}
each = pytest.mark.parametrize("setup", [pytest.param(setup, id=name) for name, setup in SETUPS.items()])
one_thread = pytest.mark.usefixtures("one_thread")


# ---- parity


@each
def test_names_and_shapes_are_those_of_the_reference(setup: Direct) -> None:
    ours, theirs = setup.engine(), setup.reference()
    for mine, plain in ((ours.state_dict(), theirs.state_dict()), (ours.alphas, theirs.alphas)):
        assert {n: tuple(t.shape) for n, t in mine.items()} == {n: tuple(t.shape) for n, t in plain.items()}


@one_thread
@each
def test_logits_are_those_of_the_reference(setup: Direct) -> None:
    ours, theirs = setup.pair()
    x, y = setup.batches(1)[0]
    with theirs.moving_statistics(False):
        assert distance(ours.logits(x), theirs(x).detach()) <= 1e-11
    theirs.eval()
    assert ours.evaluate(x, y)[0] == pytest.approx(theirs.loss(x, y).item(), rel=1e-11)


@one_thread
@pytest.mark.parametrize("passes", [None, ()], ids=["passes", "no passes"])
@pytest.mark.parametrize("method", METHODS)
@each
def test_gradients_are_those_of_the_reference(setup: Direct, method: str, passes: Any) -> None:
    ours, theirs = setup.pair(**({} if passes is None else {"passes": passes}))
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    found = ours.arch_gradient(train=train, valid=valid, hypergradient=method, xi=XI)
    assert_gradients_agree(found, expected, method)


@one_thread
def test_five_steps_are_those_of_the_reference() -> None:
    assert_steps_agree(SETUPS["TransNAS-Bench-101"], 5, "unrolled")


@one_thread
def test_cells_that_are_computed_again_give_the_same() -> None:
    setup = SETUPS["every digit"]
    train, valid = setup.batches(2)
    nets = [setup.pair(memory=how)[0] for how in ("keep", "recompute")]
    keep, again = (
        net.arch_gradient(train=train, valid=valid, hypergradient="unrolled", xi=XI) for net in nets
    )
    assert_gradients_agree(again, keep, "unrolled")


@one_thread
@settings(max_examples=6, deadline=None)
@given(
    channels=st.integers(2, 5),
    nodes=st.integers(1, 3),
    stages=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=3),
    size=st.tuples(st.integers(17, 24), st.integers(17, 24)),
    names=st.lists(st.sampled_from(reference.TRANSNAS_OPERATIONS[1:]), min_size=1, unique=True),
)
def test_any_stages_agree(names: list[str], stages: list[tuple[int, int]], **sizes: Any) -> None:
    setup = Direct(operations=tuple(names), stages=tuple(stages), **sizes)
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    with theirs.moving_statistics(False):
        assert distance(ours.logits(train[0]), theirs(train[0]).detach()) <= 1e-10
    found = ours.arch_gradient(valid=valid, hypergradient="first_order")
    expected = plain_gradient(theirs, "first_order", valid, valid)
    assert apart(found, expected) <= 1e-8 or all(float(value.norm()) <= 1e-10 for value in expected.values())


def test_auxiliary_skips_change_channels_too() -> None:
    setup = SETUPS["every digit"]
    net = setup.engine(edge_normalization=True, auxiliary_skip=0.5, drop_path=0.1)
    train, valid = setup.batches(2)
    net.step(train, valid)
    assert all(bool(torch.isfinite(table).all()) for table in net.alphas.values())
    assert "cells.1.edges.0_1.auxiliary_skip.conv_1.weight" in net.state_dict()


# ---- the space


def test_the_space_is_the_published_one() -> None:
    space = Space.preset("transnas-bench-101")
    assert space.edges == Space.preset("nas-bench-201").edges
    assert space.operations == reference.TRANSNAS_OPERATIONS
    assert space.stages == reference.macro("41414") and space.stem == "strided"
    assert (space.tables, space.output, space.keep) == (("cell",), "last", "every_edge")
    assert space.none_selectable
    config = pydarts.SearchConfig(space=space)
    assert (config.channels, config.layers, config.weight_nesterov) == (64, 2, True)
    assert config == pydarts.SearchConfig(space=Space(name=space.name, stages=space.stages))
    assert pydarts.SearchConfig.from_json(config.to_json()) == config
    with pytest.raises(pydarts.ConfigError, match="4096"):
        pydarts.random_genotypes(space, n=4097)


def test_the_weights_are_those_of_the_formula() -> None:
    """A skip or a 1x1 convolution has C·C' weights, a 3x3 one 9·C·C'; an identity has none."""
    stages, channels, expected = reference.macro("41414"), 64, 3 * 9 * 32 + 2 * 32 + 9 * 32 * 64 + 2 * 64
    for widen, stride in stages:
        into, channels = channels, channels * widen
        skip = into * channels if (widen, stride) != (1, 1) else 0
        from_input = 3 * ((1 + 9) * into * channels + skip)
        expected += from_input + 3 * 10 * channels**2 + 6 * 10 * channels**2
    expected += channels * 10 + 10
    net = pydarts.Supernet("transnas-bench-101", num_classes=10, in_channels=3, image_size=64, channels=64)
    assert net.cost()["weights"] == expected


def test_spaces_are_saved_and_read() -> None:
    space = Space.preset("transnas-bench-101")
    for other in (
        space,
        space.replace(stages=[(2, 1), (1, 2)]),
        space.replace(stem="convolution"),
        Space(name="mine", stages=[[1, 2]]),
        Space(stages=2, stem="strided"),
    ):
        assert Space.from_dict(other.to_dict()) == other
        assert eval(repr(other), {"Space": Space}) == other
    assert Space(stages=3).stem == "convolution" and Space.preset("darts-rnn").stem is None
    assert "stem" not in Space.preset("darts").to_dict()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"stages": []}, "stages.*0"),
        ({"stages": [(1, 1)] * 9}, "stages.*9"),
        ({"stages": [(0, 1)]}, r"stages\[0\].*0"),
        ({"stages": [(1, 1), (5, 1)]}, r"stages\[1\].*5"),
        ({"stages": [(1, 3)]}, r"stages\[0\].*3"),
        ({"stages": [(4, 1)] * 5}, "1024"),
        ({"stages": [(1, 1, 1)]}, "stages"),
        ({"stages": ["41414"]}, "stages"),
        ({"stages": [(2, 2)], "operations": ["none", "max_pool_3x3"]}, "0->1.*max_pool_3x3"),
        ({"stages": [(2, 2)], "stem": "convolution", "stem_multiplier": 2}, "stem_multiplier.*2"),
        ({"stages": [(2, 2)], "kind": "recurrent"}, "stages"),
        ({"stages": [(2, 2)], "dimensions": 1}, "stages"),
        ({"stages": [(2, 2)], "reductions": [1]}, "reductions"),
        ({"stem": "strided"}, "stem"),
        ({"stem": "imagenet", "stages": 2}, "imagenet"),
        ({"kind": "recurrent", "stem": "convolution"}, "stem"),
    ],
)
def test_impossible_spaces_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(pydarts.SpaceError, match=says):
        Space(**fields)


def test_impossible_searches_are_refused() -> None:
    with pytest.raises(pydarts.ConfigError, match="partial_channels"):
        pydarts.SearchConfig(space="transnas-bench-101", partial_channels=2)
    pydarts.SearchConfig(space=Space(stages=[(1, 2)]), partial_channels=2)
    with pytest.raises(pydarts.SpaceError, match="1x1"):
        pydarts.Supernet("transnas-bench-101", channels=2, num_classes=2, in_channels=1, image_size=16)


# ---- the network


def small(genotype: Genotype, **arguments: Any) -> ResidualNetwork:
    sizes = {"channels": 4, "layers": 1, "num_classes": 5, "stages": ((2, 2), (2, 1)), "stem": "strided"}
    net = pydarts.build(genotype, **(sizes | arguments))
    assert isinstance(net, ResidualNetwork)
    return net


def test_the_published_network_has_its_weights_and_gives_logits() -> None:
    """64-41414-3_33_333: nothing but 3x3 convolutions with affine norms."""
    genotype = Genotype.from_transnas101("3_33_333")
    stages, channels = reference.macro("41414"), 64
    expected = 3 * 9 * 32 + 64 + 9 * 32 * 64 + 128
    for widen, _ in stages:
        into, channels = channels, channels * widen
        expected += 3 * 9 * into * channels + 9 * 9 * channels**2 + 12 * 2 * channels
    expected += channels * 63 + 63
    with torch.device("meta"):
        net = pydarts.build(genotype, channels=64, layers=2, num_classes=63, stages=stages, stem="strided")
        assert net(torch.zeros(2, 3, 256, 256)).shape == (2, 63)
    assert sum(weight.numel() for weight in net.parameters()) == expected


@one_thread
@pytest.mark.parametrize("code", ["1_11_111", "0_02_300", "3_21_012"])
@pytest.mark.parametrize("size", [(16, 16), (11, 9)])
def test_a_built_network_is_the_search_network_of_one_hot_weights(code: str, size: tuple[int, int]) -> None:
    """With affine norms the search network and the built one have the same tensors."""
    setup = Direct(affine=True, size=size, layers=2, stages=((2, 2), (2, 1), (1, 1)))
    theirs = setup.filled()
    genotype = Genotype.from_transnas101(code)
    columns = [reference.TRANSNAS_OPERATIONS.index(name) for name, _ in genotype.cell]
    net = small(genotype, layers=2, stages=setup.stages).double()
    names = set(net.state_dict())
    kept = {name: value for name, value in theirs.state_dict().items() if name in names}
    assert names == set(kept)
    for norm in theirs._norms:  # settled, as the built network reads its statistics without correction
        norm.num_batches_tracked.fill_(1000)
    net.load_state_dict(kept)
    theirs.perturbed = {"cell": nn.functional.one_hot(torch.tensor(columns), 4).double()}
    x = setup.batches(1)[0][0]
    for mode in (False, True):  # training moves the statistics of one of them
        net.train(mode)
        theirs.train(mode)
        with torch.no_grad():
            assert torch.allclose(net(x), theirs(x), rtol=1e-11, atol=1e-12)


def test_the_cost_of_random_cells_is_that_of_the_networks_that_are_built() -> None:
    """E of a one-hot table: what the cost term counts is what `cost` counts of the built network."""
    space = Space(stages=[(2, 2), (2, 1)])
    for term, key in (
        (Flops(channels=4, layers=2, image_size=19), "multiply_adds"),
        (Parameters(channels=4, layers=2), "weights"),
    ):
        config = pydarts.SearchConfig(
            space=space, arch_terms=term, num_classes=5, in_channels=3, image_size=19
        )
        [(_, flat, constant)] = target_costs(config)
        for genotype in pydarts.random_genotypes(space, n=6, seed=2):
            columns = [reference.TRANSNAS_OPERATIONS.index(name) for name, _ in genotype.cell]
            rows = enumerate(columns)
            expected = constant + sum(np.reshape(flat, (6, 4))[row, column] for row, column in rows)
            assert pydarts.cost(small(genotype, layers=2), image_size=19)[key] == expected


def test_latencies_name_the_channels_of_the_output(tmp_path: Path) -> None:
    space = Space(stages=[(2, 2)])
    path = tmp_path / "latency.json"
    table = pydarts.latency_table(space, path, channels=2, layers=2, image_size=16, seconds=0)
    found = {(entry["channels"], entry["out"], entry["stride"]) for entry in table["operations"]}
    assert found == {(2, 4, 2), (4, 4, 1)}
    term = pydarts.algorithms.Latency(file=str(path))
    config = pydarts.SearchConfig(space=space, arch_terms=term, num_classes=5, in_channels=3, image_size=16)
    assert target_costs(config)[0][0] == "latency"


def test_a_search_is_built_trained_inherited_and_exported(tmp_path: Path) -> None:
    data = make_arrays(32, channels=3, size=16)
    space = Space(name="small", stages=[(2, 2), (1, 2)])
    config = pydarts.SearchConfig(
        space=space, channels=4, layers=2, epochs=1, batch_size=8, progress=False,
        arch_terms=Flops(weight=0.1, channels=4, layers=2),
    )  # fmt: skip
    result = pydarts.search(data, config)
    assert result.genotype == Genotype.from_transnas101(result.genotype.to_transnas101())
    assert result.report(tmp_path / "report.html") is not None or (tmp_path / "report.html").exists()
    with pytest.raises(pydarts.ConfigError, match="build"):
        pydarts.train(result, data, pydarts.TrainConfig(epochs=1, batch_size=8, progress=False))
    net = pydarts.build(result, channels=4, layers=2, num_classes=4)
    assert isinstance(net, ResidualNetwork)
    assert (net.arguments["stages"], net.arguments["stem"]) == (((2, 2), (1, 2)), "strided")
    inherited = result.inherit(net)
    assert {"stem.conv_a.weight", "stem.bn_b.weight", "classifier.weight"} <= set(inherited.copied)
    other = result.inherit(
        pydarts.build(result, channels=4, layers=2, num_classes=4, stages=[(2, 2), (1, 1)])
    )
    assert not any(name.startswith("cells.2.") for name in other.copied)
    trained = pydarts.train(net, data, pydarts.TrainConfig(epochs=1, batch_size=8, progress=False))
    path = tmp_path / "net.safetensors"
    pydarts.export(trained.network, path)
    again = pydarts.load_network(path)
    x = torch.randn(3, 3, 16, 16)
    assert torch.equal(again.eval()(x), trained.network.eval()(x))
    assert again.arguments == trained.network.arguments


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"stages": [(1, 3)]}, pydarts.ConfigError, r"stages\[0\].*3"),
        ({"stages": "41414"}, pydarts.ConfigError, "stages.*41414"),
        ({"stem": "imagenet"}, pydarts.ConfigError, "imagenet"),
        ({"channels": 0}, pydarts.ConfigError, "channels.*0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        small(Genotype.from_transnas101(CODE), **arguments)


def test_pooling_where_the_channels_change_is_refused() -> None:
    pools = Genotype.from_nasbench201("|avg_pool_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|")
    with pytest.raises(pydarts.GenotypeError, match="avg_pool_3x3"):
        small(pools)
    small(pools, stages=[(1, 2)])


# ---- codes


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_codes_round_trip(digits: list[int]) -> None:
    a, b, c, d, e, f = digits
    code = f"{a}_{b}{c}_{d}{e}{f}"
    genotype = Genotype.from_transnas101(code)
    assert genotype == Genotype.from_transnas101(f"64-41414-{code}\n")
    assert genotype.to_transnas101() == code
    assert genotype.to_transnas101("64-41414") == f"64-41414-{code}"
    names = tuple(reference.TRANSNAS_OPERATIONS[digit] for digit in digits)
    assert tuple(name for name, _ in genotype.cell) == names
    genotype.validate("transnas-bench-101")


@pytest.mark.parametrize("code", ["", "1_02_334", "1_02_33", "64-51414-1_02_333", "64-1_02_333", None])
def test_malformed_codes_are_refused(code: Any) -> None:
    with pytest.raises(pydarts.GenotypeError):
        Genotype.from_transnas101(code)


def test_cells_that_have_no_code_are_refused() -> None:
    pool = Genotype.from_nasbench201("|avg_pool_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|")
    for genotype in (pool, pydarts.genotypes.DARTS_V2):
        with pytest.raises(pydarts.GenotypeError):
            genotype.to_transnas101()
    with pytest.raises(pydarts.GenotypeError, match="64"):
        Genotype.from_transnas101(CODE).to_transnas101("64")
