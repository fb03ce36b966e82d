"""Spaces with stages, such as NAS-Bench-201: float64 parity with plain PyTorch, counts, strings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pydarts
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import (
    LOSS,
    METHODS,
    XI,
    apart,
    assert_gradients_agree,
    assert_steps_agree,
    distance,
    plain_gradient,
)
from parity_stages import Stages
from pydarts import Genotype, Space

PASSES = ("space_to_batch", "share", "fold", "group", "sum", "mixtures")
SETUPS = {
    "NAS-Bench-201": Stages(),
    "two cells per stage": Stages(layers=2, channels=3),
    "odd images of 7x5": Stages(size=(7, 5), in_channels=1),
    "images of 5x1": Stages(size=(5, 1)),
    "one stage": Stages(stages=1, layers=2),
    "a node": Stages(nodes=1, operations=("skip_connect", "nor_conv_3x3")),
    "four nodes": Stages(
        nodes=4, stages=2, operations=("none", "skip_connect", "nor_conv_3x3", "avg_pool_3x3")
    ),
    "norm after pooling": Stages(
        pooling_norm=True, operations=("none", "max_pool_3x3", "avg_pool_3x3", "conv_1x1")
    ),
    "plain pooling": Stages(operations=("max_pool_3x3", "avg_pool_3x3", "skip_connect")),
    "affine norms": Stages(affine=True),
    "biases": Stages(bias=True),
    "affine norms and biases": Stages(affine=True, bias=True, pooling_norm=True, layers=2),
    "other candidates on each edge": Stages(
        nodes=2,
        operations={
            "cell": [
                ("skip_connect", "nor_conv_1x1"),
                ("none", "avg_pool_3x3", "nor_conv_3x3"),
                ("nor_conv_3x3",),
            ]
        },
    ),
}
each = pytest.mark.parametrize("setup", [pytest.param(setup, id=name) for name, setup in SETUPS.items()])
one_thread = pytest.mark.usefixtures("one_thread")

LISTED = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"


# ---- parity


@each
def test_names_and_shapes_are_those_of_the_reference(setup: Stages) -> None:
    ours, theirs = setup.engine(), setup.reference()
    for mine, plain in ((ours.state_dict(), theirs.state_dict()), (ours.alphas, theirs.alphas)):
        assert {n: tuple(t.shape) for n, t in mine.items()} == {n: tuple(t.shape) for n, t in plain.items()}


@one_thread
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (5, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("method", ["first_order", "unrolled_exact"])
def test_pooling_in_float32_is_that_of_float64(method: str, size: tuple[int, int]) -> None:
    # The CPU pools by a depthwise convolution in float32 alone.
    setup = Stages(stages=1, size=size, operations=("avg_pool_3x3", "skip_connect", "nor_conv_1x1"))
    single, double = setup.engine(dtype="float32"), setup.engine()
    double.load_state_dict({name: value.double() for name, value in single.state_dict().items()})
    alphas = {"cell": torch.randn(6, 3, generator=torch.Generator().manual_seed(1))}
    single.set_alphas(alphas)
    double.set_alphas({"cell": alphas["cell"].double()})
    batches = setup.batches(2)
    expected = double.arch_gradient(*batches, hypergradient=method, xi=XI)["cell"]
    found = single.arch_gradient(*((x.float(), y) for x, y in batches), hypergradient=method, xi=XI)["cell"]
    assert distance(single.logits(batches[0][0].float()).double(), double.logits(batches[0][0])) <= 1e-5
    assert distance(found.double(), expected) <= 1e-3


@one_thread
@each
def test_logits_and_loss_are_those_of_the_reference(setup: Stages) -> None:
    ours, theirs = setup.pair()
    x, y = setup.batches(1)[0]
    with theirs.moving_statistics(False):
        assert distance(ours.logits(x), theirs(x).detach()) <= 1e-11
        assert ours.loss(x, y) == pytest.approx(theirs.loss(x, y).item(), rel=LOSS)
    theirs.eval()
    assert ours.evaluate(x, y)[0] == pytest.approx(theirs.loss(x, y).item(), rel=LOSS)


@one_thread
@pytest.mark.parametrize("passes", [None, ()], ids=["passes", "no passes"])
@pytest.mark.parametrize("method", METHODS)
@each
def test_gradients_are_those_of_the_reference(setup: Stages, method: str, passes: Any) -> None:
    ours, theirs = setup.pair(**({} if passes is None else {"passes": passes}))
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    found = ours.arch_gradient(train=train, valid=valid, hypergradient=method, xi=XI)
    assert_gradients_agree(found, expected, method)


@one_thread
@pytest.mark.parametrize("passes", [(name,) for name in PASSES])
def test_every_pass_alone_computes_the_same(passes: tuple[str, ...]) -> None:
    setup = SETUPS["two cells per stage"]
    ours, theirs = setup.pair(passes=passes)
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, "unrolled_exact", train, valid, xi=XI)
    found = ours.arch_gradient(train=train, valid=valid, hypergradient="unrolled_exact", xi=XI)
    assert_gradients_agree(found, expected, "unrolled_exact")


@one_thread
@pytest.mark.parametrize("name", ["NAS-Bench-201", "biases"])
@pytest.mark.parametrize("method", METHODS)
def test_five_steps_are_those_of_the_reference(name: str, method: str) -> None:
    assert_steps_agree(SETUPS[name], 5, method)


@one_thread
def test_five_steps_with_affine_norms_are_those_of_the_reference() -> None:
    """The gradients of biases that the last batch norm removes are 0 but for rounding."""
    setup = SETUPS["affine norms and biases"]
    ours, theirs = setup.pair(weight_lr=XI)
    search = reference.Search(theirs, published=False)
    batches = setup.batches(10)
    for train, valid in zip(batches[::2], batches[1::2], strict=True):
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, XI), rel=1e-9)
    mine = ours.state_dict()
    for name, weight in theirs.weights().items():
        assert torch.allclose(mine[name], weight, rtol=1e-9, atol=1e-12), name
    assert apart(ours.alphas, theirs.alphas) <= 1e-9


@one_thread
def test_five_steps_with_the_published_optimiser_are_those_of_the_reference() -> None:
    assert_steps_agree(SETUPS["NAS-Bench-201"], 5, "first_order", weight_nesterov=True, weight_decay=5e-4)


@one_thread
@pytest.mark.parametrize("memory", ["recompute"])
@pytest.mark.parametrize("method", METHODS)
def test_cells_that_are_computed_again_give_the_same(memory: str, method: str) -> None:
    setup = SETUPS["two cells per stage"]
    train, valid = setup.batches(2)
    nets = [setup.pair(memory=how)[0] for how in ("keep", memory)]
    keep, again = (net.arch_gradient(train=train, valid=valid, hypergradient=method, xi=XI) for net in nets)
    assert_gradients_agree(again, keep, method)


@one_thread
@settings(max_examples=12, deadline=None)
@given(
    channels=st.integers(1, 5),
    nodes=st.integers(1, 4),
    stages=st.integers(1, 3),
    size=st.tuples(st.integers(1, 9), st.integers(2, 9)),
    pooling_norm=st.booleans(),
    affine=st.booleans(),
    bias=st.booleans(),
    names=st.lists(st.sampled_from(reference.NAS_BENCH_201_OPERATIONS[1:]), min_size=1, unique=True),
)
def test_any_sizes_agree(names: list[str], **sizes: Any) -> None:
    setup = Stages(operations=tuple(names), **sizes)
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    with theirs.moving_statistics(False):
        assert distance(ours.logits(train[0]), theirs(train[0]).detach()) <= 1e-10
    found = ours.arch_gradient(valid=valid, hypergradient="first_order")
    expected = plain_gradient(theirs, "first_order", valid, valid)
    assert apart(found, expected) <= 1e-8 or all(float(value.norm()) <= 1e-10 for value in expected.values())


# ---- facts


def test_the_published_network_has_1686106_weights() -> None:
    """ALGORITHMS 2.1; 6,720 more with a bias in every convolution of a cell."""
    net = pydarts.Supernet("nas-bench-201", channels=16, layers=5, num_classes=10)
    assert net.cost()["weights"] == 1_686_106
    biased = pydarts.Supernet(
        Space.preset("nas-bench-201").replace(bias=True), channels=16, layers=5, num_classes=10
    )
    assert biased.cost()["weights"] == 1_686_106 + 6_720


def test_the_space_is_the_published_one() -> None:
    space = Space.preset("nas-bench-201")
    assert space.edges == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert space.operations == reference.NAS_BENCH_201_OPERATIONS
    assert (space.tables, space.inputs, space.output, space.keep) == (("cell",), 1, "last", "every_edge")
    assert space.none_selectable and space.stages == 3


def test_the_defaults_are_those_of_the_benchmark() -> None:
    """ALGORITHMS 2.1: Nesterov, decay 5e-4, a cosine in every step; else those of DARTS."""
    fields = ("layers", "weight_decay", "weight_nesterov", "weight_lr_schedule")
    published = (5, 5e-4, True, "step")
    for space in ("nas-bench-201", Space(stages=2)):
        config = pydarts.SearchConfig(space=space)
        assert tuple(getattr(config, name) for name in fields) == published
        assert (config.channels, config.epochs, config.batch_size) == (16, 50, 64)
        assert pydarts.SearchConfig.from_json(config.to_json()) == config
        assert config.replace(space="darts") == pydarts.SearchConfig()
        assert pydarts.SearchConfig().replace(space=space) == config
    assert pydarts.SearchConfig(space="nas-bench-201", layers=2, weight_nesterov=False).layers == 2


@pytest.mark.parametrize("name", ["nas-bench-201", "darts", "s1"])
def test_spaces_are_saved_and_read(name: str) -> None:
    space = Space.preset(name)
    assert Space.from_dict(space.to_dict()) == space
    if space.stages:
        for changes in (
            {"stages": 2},
            {"bias": True},
            {"affine": True, "name": "mine"},
            {"pooling_norm": True},
        ):
            other = space.replace(**changes)
            assert Space.from_dict(other.to_dict()) == other != space
            assert eval(repr(other), {"Space": Space}) == other


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"stages": 0}, "stages.*0"),
        ({"stages": 9}, "stages.*9"),
        ({"stages": 2, "reductions": [1]}, "reductions"),
        ({"stages": 2, "dimensions": 1}, "stages"),
        ({"stages": 2, "kind": "recurrent"}, "stages"),
        ({"affine": True}, "affine"),
        ({"bias": True}, "bias"),
        ({"stages": 2, "operations": ["tanh"]}, "tanh|stages"),
    ],
)
def test_impossible_spaces_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(pydarts.SpaceError, match=says):
        Space(**fields)


# ---- genotypes


def test_the_strongest_candidate_of_every_edge_is_kept_even_none() -> None:
    alpha = np.zeros((6, 5))
    for row, column in enumerate((3, 0, 3, 1, 0, 1)):
        alpha[row, column] = 1.0
    genotype = pydarts.derive({"cell": alpha}, "nas-bench-201")
    expected = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
    assert genotype.to_nasbench201() == expected
    assert genotype == Genotype.from_nasbench201(expected) == Genotype.from_notation(f"arch: {expected}")
    assert Genotype.from_notation(str(genotype)) == genotype
    assert Genotype.from_json(genotype.to_json()) == genotype
    genotype.validate("nas-bench-201")
    assert (genotype.tables, genotype.kind, genotype.skip_connections) == (("cell",), "convolutional", 2)
    assert genotype.cell_concat == (3,) and len(genotype.cell) == 6


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(reference.NAS_BENCH_201_OPERATIONS), min_size=6, max_size=6))
def test_strings_round_trip(names: list[str]) -> None:
    a, b, c, d, e, f = names
    text = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
    genotype = Genotype.from_nasbench201(text)
    assert genotype.to_nasbench201() == text
    assert [name for name, _ in genotype.cell] == names
    assert Genotype.from_notation(str(genotype)) == genotype


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1"),
        ("|nor_conv_3x3~0", "16"),
        (LISTED.replace("~1|+", "~2|+"), "source|from"),
        (LISTED.replace("avg_pool_3x3", "avg_pool_3x33"), "avg_pool_3x33"),
        (LISTED.replace("avg_pool_3x3", "tanh"), "tanh"),
        (LISTED + "x", "x"),
        (LISTED + "+", str(len(LISTED) + 2)),
    ],
)
def test_malformed_strings_are_refused(text: str, says: str) -> None:
    with pytest.raises(pydarts.GenotypeError, match=says):
        Genotype.from_nasbench201(text)


def test_cells_that_the_notation_cannot_express_are_refused() -> None:
    for genotype in (
        pydarts.genotypes.DARTS_V2,
        Genotype(cell=[[("skip_connect", 0)], [("nor_conv_1x1", 1)]], cell_concat=[2]),
        Genotype(cell=[[("skip_connect", 0)], [("none", 0), ("nor_conv_1x1", 1)]], cell_concat=[1, 2]),
    ):
        with pytest.raises(pydarts.GenotypeError):
            genotype.to_nasbench201()


def test_flat_lists_have_every_edge_in_order() -> None:
    genes = [("skip_connect", 0), ("none", 0), ("nor_conv_1x1", 1)]
    assert Genotype(cell=genes, cell_concat=[2]).nodes("cell") == ((genes[0],), tuple(genes[1:]))
    with pytest.raises(pydarts.GenotypeError, match="list"):
        Genotype(cell=genes[:2], cell_concat=[2])


def test_random_cells_are_uniform_and_distinct() -> None:
    cells = pydarts.random_genotypes("nas-bench-201", n=2000, seed=1)
    assert len({cell.to_nasbench201() for cell in cells}) == 2000
    counts = {name: 0 for name in reference.NAS_BENCH_201_OPERATIONS}
    for cell in cells:
        for name, _ in cell.cell:
            counts[name] += 1
    assert all(abs(count - 2400) < 5 * (12_000 * 0.2 * 0.8) ** 0.5 for count in counts.values())
    assert len(pydarts.random_genotypes("nas-bench-201", n=15_625)) == 15_625
    with pytest.raises(pydarts.ConfigError, match="15625"):
        pydarts.random_genotypes("nas-bench-201", n=15_626)


def test_a_search_finds_a_cell_and_resumes(tmp_path: Any) -> None:
    from conftest import make_arrays

    config = pydarts.SearchConfig(
        space="nas-bench-201", channels=4, layers=1, epochs=2, batch_size=8, seed=3, progress=False,
        weight_nesterov=True, checkpoint_dir=str(tmp_path),
    )  # fmt: skip
    result = pydarts.search(make_arrays(32, channels=3, size=8), config)
    assert result.status == "complete" and result.alphas["cell"].shape == (3, 6, 5)
    result.genotype.validate("nas-bench-201")
    assert result.genotype == Genotype.from_nasbench201(result.genotype.to_nasbench201())
    report = tmp_path / "report.html"
    result.report(report)
    assert result.genotype.to_nasbench201() in report.read_text(encoding="utf-8")
    drawings = (
        result.plot_alphas, result.plot_weights, result.plot_supernet, result.plot_cells, result.plot_entropy,
        result.plot_skips, result.plot_losses,
    )  # fmt: skip
    assert all(draw() is not None for draw in drawings)
    assert {finding.table for finding in result.diagnostics()} <= {"cell", ""}
    assert set(result.architecture) == {"cell"}
    again = pydarts.search(make_arrays(32, channels=3, size=8), config.replace(resume=True))
    assert again.genotype == result.genotype
    result.save(tmp_path / "result")
    assert pydarts.SearchResult.load(tmp_path / "result").genotype == result.genotype


@pytest.mark.parametrize("relaxation", ["gdas", "random", "dirichlet"])
def test_sampled_cells_are_searched(relaxation: Any) -> None:
    from conftest import make_arrays

    config = pydarts.SearchConfig(
        space="nas-bench-201",
        channels=4,
        layers=1,
        epochs=1,
        batch_size=8,
        relaxation=relaxation,
        progress=False,
    )
    result = pydarts.search(make_arrays(32, channels=3, size=8), config)
    assert np.isfinite(result.alphas["cell"]).all()


def test_partial_channels_and_weighted_edges_apply() -> None:
    setup = replace(SETUPS["NAS-Bench-201"], channels=4)
    net = setup.engine(partial_channels=2, edge_normalization=True, auxiliary_skip=0.5)
    train, valid = setup.batches(2)
    net.step(train, valid)
    assert all(bool(torch.isfinite(table).all()) for table in net.alphas.values())
    assert net.alphas["cell.beta"].shape == (6, 1)


def test_a_cell_without_convolutions_is_reported() -> None:
    from pydarts._results.diagnostics.alphas import weightless

    pools = Genotype.from_nasbench201("|none~0|+|avg_pool_3x3~0|none~1|+|skip_connect~0|none~1|none~2|")
    [finding] = weightless(pools)
    assert (finding.topic, finding.table, finding.values["of"]) == ("weightless", "cell", 6)
    assert not list(weightless(Genotype.from_nasbench201(LISTED)))
