"""Space: presets, edges and what is refused."""

import ast
import copy
import inspect
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydarts import Space


def test_the_darts_preset_is_the_published_space() -> None:
    space = Space.preset("darts")
    assert space.operations == (
        "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect",
        "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5",
    )  # fmt: skip
    assert (space.nodes, space.concat, space.reductions, space.kind) == (
        4,
        (2, 3, 4, 5),
        None,
        "convolutional",
    )
    assert space.tables == ("normal", "reduce")
    assert len(space.edges) == 14


def test_the_recurrent_preset_is_the_published_space() -> None:
    space = Space.preset("darts-rnn")
    assert space.operations == ("none", "tanh", "relu", "sigmoid", "identity")
    assert (space.nodes, space.kind, space.tables) == (8, "recurrent", ("recurrent",))
    assert len(space.edges) == 36


@given(nodes=st.integers(1, 7))
def test_edges_are_ordered_by_target_then_source(nodes: int) -> None:
    assert Space(nodes=nodes).edges == tuple((i, j) for j in range(2, nodes + 2) for i in range(j))


@given(nodes=st.integers(1, 5), kind=st.sampled_from(["convolutional", "recurrent"]))
def test_inputs_and_edges_kept_are_those_of_the_cells_that_are_derived(nodes: int, kind: Any) -> None:
    space = Space(nodes=nodes, kind=kind)
    assert space.inputs == min(target for _, target in space.edges)
    zeros = np.zeros((len(space.edges), len(space.operations)))
    genotype = pydarts.derive({table: zeros for table in space.tables}, space)
    for table in space.tables:
        targets = Counter(target for *_, target in genotype.edges(table))
        assert targets == {target: space.edges_kept for _, target in space.edges}


@given(
    operations=st.lists(
        st.sampled_from(["skip_connect", "max_pool_3x3", "sep_conv_7x7", "conv_1x1", "conv_7x1_1x7", "none"]),
        unique=True,
        min_size=2,
    ),
    nodes=st.integers(1, 5),
)
def test_any_ordered_subset_of_operations_survives_the_dictionary(operations: list[str], nodes: int) -> None:
    space = Space(operations=operations, nodes=nodes, name="mine")
    assert space.operations == tuple(operations)
    back = Space.from_dict(space.to_dict())
    assert back == space and hash(back) == hash(space)
    assert eval(repr(space)) == space


def test_a_space_is_immutable_and_replace_makes_another() -> None:
    space = Space.preset("darts")
    with pytest.raises(AttributeError, match="replace"):
        space.nodes = 3
    assert space.replace(nodes=3).concat == (2, 3, 4)
    assert space.replace(concat=(4, 5)).replace(stem_multiplier=1).concat == (4, 5)
    assert space.nodes == 4


def test_a_space_can_be_copied_and_pickled() -> None:
    space = Space(nodes=2, reductions=[1])
    assert copy.deepcopy(space) == space
    assert pickle.loads(pickle.dumps(space)) == space


@pytest.mark.parametrize(
    "fields",
    [
        {"operations": ["none"]},
        {"operations": []},
        {"operations": ["skip_connect", "skip_connect"]},
        {"operations": ["tanh", "skip_connect"]},
        {"nodes": 0},
        {"concat": [0, 2]},
        {"concat": []},
        {"nodes": 2, "concat": [9]},
    ],
)
def test_an_impossible_space_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(pydarts.SpaceError):
        Space(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"operations": {"normal": ["conv_1x1"]}}, ["reduce"]),
        ({"operations": {"normal": ["conv_1x1"], "reduced": ["conv_1x1"]}}, ["reduced", "reduce"]),
        ({"operations": {"normal": ["conv_1x1"], "reduce": [["conv_1x1"]]}}, ["reduce", "1", "14"]),
        ({"nodes": 1, "operations": {"normal": ["conv_1x1"], "reduce": [["conv_1x1"], []]}}, ["1->2"]),
        (
            {"nodes": 1, "operations": {"normal": ["conv_1x1"], "reduce": [["x"], ["conv_1x1"]]}},
            ["0->2", "x"],
        ),
        ({"operations": [["conv_1x1"], ["conv_1x1"]]}, ["operations"]),
        ({"keep": 0}, ["keep", "0"]),
        ({"keep": {"threshold": 2}}, ["threshold", "2"]),
        ({"output": "mean"}, ["output", "mean"]),
        ({"output": "last", "concat": [2]}, ["output", "2"]),
    ],
)
def test_an_impossible_specification_names_table_edge_and_value(
    fields: dict[str, Any], facts: list[str]
) -> None:
    with pytest.raises(pydarts.SpaceError) as caught:
        Space(**fields)
    assert all(fact in str(caught.value) for fact in facts)


NAMES = st.lists(
    st.sampled_from(["none", "skip_connect", "conv_3x3", "max_pool_3x3"]), unique=True, min_size=1, max_size=3
).filter(lambda names: names != ["none"])


@st.composite
def ragged(draw: st.DrawFn) -> tuple[Space, dict[str, list[list[str]]]]:
    nodes = draw(st.integers(1, 3))
    edges = sum(range(2, nodes + 2))
    rows = st.lists(NAMES, min_size=edges, max_size=edges)
    lists = {"normal": draw(rows), "reduce": draw(rows)}
    keep: Any = draw(st.none() | st.integers(1, 3) | st.just("every_edge") | st.just({"threshold": 0.5}))
    return Space(operations=lists, nodes=nodes, keep=keep), lists


@given(ragged())
def test_a_space_whose_edges_differ_survives_every_copy(drawn: tuple[Space, dict[str, Any]]) -> None:
    space, lists = drawn
    for table, rows in lists.items():
        assert space.columns(table) == tuple(map(tuple, rows))
        assert [space.operations_of(table, row) for row in range(len(rows))] == [tuple(row) for row in rows]
    assert set(space.all_operations) == {name for rows in lists.values() for row in rows for name in row}
    for back in (Space.from_dict(space.to_dict()), eval(repr(space)), pickle.loads(pickle.dumps(space))):
        assert back == space and hash(back) == hash(space)
    config = pydarts.SearchConfig(space=space)
    assert pydarts.SearchConfig.from_json(config.to_json()).resolved_space == space


@given(ragged(), st.integers(0, 100))
def test_random_genotypes_take_candidates_of_their_edges(
    drawn: tuple[Space, dict[str, Any]], seed: int
) -> None:
    space, lists = drawn
    for genotype in pydarts.random_genotypes(space, n=1, seed=seed):
        genotype.validate(space)
        for table in space.tables:
            for operation, source, target in genotype.edges(table):
                names = lists[table][space.edges.index((source, target))]
                assert operation in names and operation != "none"


def test_random_genotypes_of_uneven_choices_are_each_drawn_once() -> None:
    lists: dict[str, Any] = {
        "normal": [["conv_1x1"], ["conv_1x1", "conv_3x3", "skip_connect"]],
        "reduce": ["conv_1x1"],
    }
    space = Space(operations=lists, nodes=1, keep=1)
    drawn = pydarts.random_genotypes(space, n=8, seed=1)  # 1 + 3 choices, and 2
    assert len({str(genotype) for genotype in drawn}) == 8
    with pytest.raises(pydarts.ConfigError, match="8"):
        pydarts.random_genotypes(space, n=9)


@pytest.mark.parametrize("name", ["s1", "s2", "s3", "s4"])
def test_the_spaces_of_robust_darts_are_searched(name: str) -> None:
    X = np.random.default_rng(0).integers(0, 256, (32, 1, 8, 8)).astype(np.uint8)
    config = pydarts.SearchConfig(
        space=name, channels=2, layers=3, epochs=2, batch_size=8, progress=False, hypergradient="unrolled"
    )
    result = pydarts.search((X, np.arange(32) % 2), config)
    space = config.resolved_space
    result.genotype.validate(space)
    columns = 3 if name == "s3" else 2
    assert {table: alpha.shape for table, alpha in result.alphas.items()} == {
        "normal": (3, 14, columns),
        "reduce": (3, 14, columns),
    }
    assert (
        pydarts.derive({table: alpha[-1] for table, alpha in result.alphas.items()}, space) == result.genotype
    )


def test_padding_takes_no_part_in_a_search() -> None:
    lists: dict[str, Any] = {
        "normal": [["conv_1x1", "skip_connect", "conv_3x3"], ["max_pool_3x3"]],
        "reduce": ["conv_1x1"],
    }
    space = Space(operations=lists, nodes=1)
    sizes: dict[str, Any] = {"channels": 2, "layers": 3, "num_classes": 2, "in_channels": 1, "image_size": 8}
    net = pydarts.Supernet(space, **sizes, config=pydarts.SearchConfig(arch_lr=0.1))
    full = pydarts.Supernet(Space(operations=["conv_1x1", "none", "conv_3x3"], nodes=1), **sizes)
    padded = torch.tensor([[False, False, False], [False, True, True]])
    assert not net.alphas["normal"][padded].any()
    assert torch.equal(net.alphas["normal"][~padded], full.alphas["normal"][~padded])  # the draws stay
    x, y = torch.randn(8, 1, 8, 8), torch.arange(8) % 2
    before = net.alphas["normal"].clone()
    for _ in range(3):
        net.step((x, y), (x, y))
    assert not torch.equal(net.alphas["normal"][0], before[0])
    state = net.optimizer_state()
    for tensors in (net.alphas, state["exp_avg"], state["exp_avg_sq"]):
        assert not tensors["normal"][padded].any()
    shown = net.alphas["normal"].masked_fill(padded, torch.nan)
    loss = net.loss(x, y)
    net.set_alphas(net.alphas | {"normal": shown})
    assert net.loss(x, y) == loss


def test_an_unknown_operation_names_the_nearest() -> None:
    with pytest.raises(pydarts.SpaceError, match="sep_conv_3x3"):
        Space(operations=["none", "sep_conv3x3"])


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(pydarts.ConfigError, match="darts"):
        Space.preset("dart")


def test_an_unknown_key_of_a_dictionary_names_the_nearest() -> None:
    with pytest.raises(pydarts.Error, match="nodes"):
        Space.from_dict({"node": 3})


def test_the_guide_has_every_field_and_its_defaults() -> None:
    page = Path(__file__).parents[2] / "docs" / "guide" / "describe-a-space.md"
    rows = [[cell.strip().strip("`") for cell in line.split("|")[1:-1]]
            for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]  # fmt: skip
    assert {name for name, *_ in rows} == {*inspect.signature(Space.__init__).parameters} - {"self"}
    presets = [Space.preset(name) for name in ("darts", "darts-rnn", "nas-bench-201", "transnas-bench-101")]
    for name, *defaults, _ in rows:
        for space, default in zip(presets, defaults, strict=True):
            if default and name not in ("operations", "concat", "stages"):
                assert getattr(space, name) == ast.literal_eval(default), (space.name, name)
