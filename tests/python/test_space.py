"""Space: presets, edges and what is refused."""

import copy
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pydarts
import pytest
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


def test_an_unknown_operation_names_the_nearest() -> None:
    with pytest.raises(pydarts.SpaceError, match="sep_conv_3x3"):
        Space(operations=["none", "sep_conv3x3"])


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(pydarts.ConfigError, match="darts"):
        Space.preset("dart")


def test_an_unknown_key_of_a_dictionary_names_the_nearest() -> None:
    with pytest.raises(pydarts.Error, match="nodes"):
        Space.from_dict({"node": 3})
