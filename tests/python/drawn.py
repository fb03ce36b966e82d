"""Genotypes drawn by hypothesis."""

from collections.abc import Sequence

import pydarts
from hypothesis import strategies as st

OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "conv_1x1",
    "conv_3x3",
    "conv_7x1_1x7",
)
ACTIVATIONS = ("tanh", "relu", "sigmoid", "identity")


@st.composite
def genes(draw: st.DrawFn, nodes: int, operations: Sequence[str] = OPERATIONS) -> list[list[tuple[str, int]]]:
    """Two edges from distinct nodes into each node."""
    return [
        [(draw(st.sampled_from(operations)), source) for source in draw(st.permutations(range(target)))[:2]]
        for target in range(2, nodes + 2)
    ]


@st.composite
def any_edges(draw: st.DrawFn, nodes: int) -> list[list[tuple[str, int]]]:
    """No, one or two edges into each node, `none` among them."""
    cell = draw(genes(nodes, ("none", *OPERATIONS)))
    return [edges[: draw(st.integers(0, 2))] for edges in cell]


@st.composite
def convolutional(draw: st.DrawFn) -> pydarts.Genotype:
    """Cells of one to four nodes, whose outputs are of some of them, the same in both."""
    nodes = draw(st.integers(1, 4))
    concat = draw(st.lists(st.integers(2, nodes + 1), min_size=1, unique=True).map(sorted))
    normal, reduce = draw(genes(nodes)), draw(genes(nodes))
    return pydarts.Genotype(normal=normal, normal_concat=concat, reduce=reduce, reduce_concat=concat)


@st.composite
def recurrent(draw: st.DrawFn) -> pydarts.Genotype:
    """A cell of one to eight nodes, whose output is of some of them."""
    nodes = draw(st.integers(1, 8))
    cell = [[(draw(st.sampled_from(ACTIVATIONS)), draw(st.integers(0, node)))] for node in range(nodes)]
    concat = draw(st.lists(st.integers(1, nodes), min_size=1, unique=True).map(sorted))
    return pydarts.Genotype(recurrent=cell, concat=concat)
