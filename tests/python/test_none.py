"""Genotypes that hold `none`: an edge that carries zeros, from reading to training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import reference
import torch
from drawn import ACTIVATIONS, OPERATIONS, genes
from exported import assert_exported
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import Genotype, genotypes
from reference.derived import derived_images, derived_logits
from torch.nn import functional as F

CELL = [
    [("sep_conv_3x3", 0), ("none", 1)],
    [("none", 0), ("none", 1)],
    [("none", 2), ("max_pool_3x3", 1)],
    [("skip_connect", 3), ("conv_1x1", 0)],
]
ALL = [2, 3, 4, 5]
ZEROS = Genotype(normal=CELL, normal_concat=ALL, reduce=CELL, reduce_concat=ALL)
WORDS = Genotype(
    recurrent=[("none", 0), ("relu", 1), ("sigmoid", 0), ("none", 3), ("identity", 4)], concat=[1, 2, 3, 5]
)


def with_none(nodes: int) -> st.SearchStrategy[Any]:
    return genes(nodes, ("none", "none", *OPERATIONS))


@st.composite
def drawn(draw: st.DrawFn) -> Genotype:
    nodes = draw(st.integers(1, 4))
    concat = draw(st.lists(st.integers(2, nodes + 1), min_size=1, unique=True))
    return Genotype(
        normal=draw(with_none(nodes)),
        normal_concat=concat,
        reduce=draw(with_none(nodes)),
        reduce_concat=concat,
    )


@settings(max_examples=12, deadline=None)
@given(genotype=drawn(), size=st.tuples(st.integers(5, 9), st.integers(5, 9)), layers=st.integers(1, 4))
def test_an_edge_with_none_adds_zeros(genotype: Genotype, size: tuple[int, int], layers: int) -> None:
    net = pydarts.build(genotype, channels=3, layers=layers, num_classes=5).double().eval()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(net(x), derived_images(net, x), rtol=1e-12, atol=1e-12)
    again = Genotype.from_json(genotype.to_json())
    assert genotype == again == eval(repr(genotype)) == Genotype.from_notation(repr(genotype))


@pytest.mark.parametrize("stride", [1, 2])
def test_zeros_have_the_size_of_every_other_operation(stride: int) -> None:
    kinds: dict[str, Any] = {"reduction": stride == 2, "after_reduction": False, "pool_norm": False}
    zero = pydarts.nn.Cell((("none", 0, 2), ("none", 1, 2)), (2,), (4, 4), 3, **kinds)
    pool = pydarts.nn.Cell((("avg_pool_3x3", 0, 2), ("none", 1, 2)), (2,), (4, 4), 3, **kinds)
    x = torch.full((2, 4, 7, 5), torch.inf)
    assert zero(x, x).shape == pool(x, x).shape and not zero(x, x).any()
    assert not list(zero.edges.parameters())


def test_zeros_have_no_weights_and_cost_nothing() -> None:
    one = [[("sep_conv_3x3", 0)]]
    other = [[("sep_conv_3x3", 0), ("none", 1)], [("none", 0), ("none", 2)]]
    nets = [
        pydarts.build(Genotype(normal=cell, normal_concat=[2], reduce=cell, reduce_concat=[2]), channels=4)
        for cell in (one, other)
    ]
    assert pydarts.cost(nets[0]) == pydarts.cost(nets[1])
    assert list(nets[0].state_dict()) == list(nets[1].state_dict())


def test_dropped_paths_leave_zeros_alone() -> None:
    net = pydarts.build(ZEROS, channels=2, layers=3, drop_path=0.5)
    torch.manual_seed(0)
    first = net(torch.ones(4, 3, 8, 8))
    replaced = ZEROS.to_dict()
    for table in ("normal", "reduce"):
        replaced[table][2] = [["max_pool_3x3", 1]]
    other = pydarts.build(Genotype.from_dict(replaced), channels=2, layers=3, drop_path=0.5)
    other.load_state_dict(net.state_dict())
    torch.manual_seed(0)
    assert torch.equal(first, other(torch.ones(4, 3, 8, 8)))


@settings(max_examples=10, deadline=None)
@given(data=st.data(), nodes=st.integers(1, 6))
def test_a_recurrent_node_of_none_is_zeros(data: st.DataObject, nodes: int) -> None:
    choice = st.sampled_from(("none", *ACTIVATIONS))
    cell = [(data.draw(choice), data.draw(st.integers(0, node))) for node in range(nodes)]
    concat = list(range(1, nodes + 1))
    net = pydarts.build(Genotype(recurrent=cell, concat=concat), vocabulary=11, units=4).double().eval()
    assert {name for name, _ in net.cell.named_parameters()} == {
        "w0", *(f"w{node}" for node, (name, _) in enumerate(cell, 1) if name != "none")
    }  # fmt: skip
    tokens, hidden = torch.randint(11, (5, 3)), torch.randn(3, 4, dtype=torch.float64)
    ones = {place: torch.ones(()) for place in ("input", "hidden", "embedded", "output")}
    masks = ones | {"rows": torch.ones(11, 1)}
    expected = derived_logits(net.state_dict(), [[edge] for edge in cell], concat, tokens, hidden, masks)
    for found, wanted in zip(net(tokens, hidden), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_none_of_the_recurrent_search_network_adds_nothing_either() -> None:
    operations = reference.DARTS_RNN_OPERATIONS
    cell = reference.language.RecurrentCell(operations, nodes=2, concat=[1], units=4)
    weights = torch.zeros(3, len(operations))
    weights[:, operations.index("none")] = 1.0
    ones = torch.ones(5, 4)
    assert not cell(torch.randn(5, 4), torch.randn(5, 4), weights, ones, ones).any()


@pytest.mark.parametrize("ending", ["safetensors", "pt2", "onnx"])
@pytest.mark.parametrize("genotype", [ZEROS, WORDS], ids=["images", "words"])
def test_networks_with_zeros_are_exported(genotype: Genotype, ending: str, tmp_path: Path) -> None:
    assert_exported(genotype, tmp_path / f"net.{ending}")


def test_networks_with_zeros_are_trained_and_compared() -> None:
    X = np.random.default_rng(0).integers(0, 256, (48, 1, 8, 8)).astype(np.uint8)
    y = np.arange(48) % 2
    select = pydarts.TrainConfig(epochs=1, batch_size=16, progress=False)
    everywhere = [[("none", 0), ("none", 1)]]
    nothing = Genotype(normal=everywhere, normal_concat=[2], reduce=everywhere, reduce_concat=[2])
    cells = {"some": ZEROS, "nothing": nothing}
    table = pydarts.compare(cells, (X, y), select, network={"channels": 2, "layers": 3}, workers=0)
    assert [row.status for row in table] == ["complete", "complete"]
    assert [row.genotype for row in table] == [ZEROS, nothing]


def test_weights_of_a_search_fit_around_zeros() -> None:
    X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
    cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
    result = pydarts.search((X, y), cfg)
    net = pydarts.build(ZEROS, channels=2, layers=3, num_classes=2, in_channels=1)
    report = result.inherit(net)
    assert "cells.0.edges.0_2.sep_conv_3x3.dw1.weight" in report.copied
    assert not [name for name in (*report.copied, *report.left) if "none" in name]
    assert all(operation != "none" for _, operation, *_ in result.genotype.edge_set)


def test_an_edge_with_none_is_dotted() -> None:
    dots = ZEROS.to_dot().splitlines()
    assert sum("dotted" in line for line in dots) == sum('"none"' in line for line in dots) == 8
    plain = genotypes.DARTS_V2.to_svg()
    assert "stroke-dasharray" in ZEROS.to_svg() and "stroke-dasharray" not in plain
    assert "none" in ZEROS._repr_html_() and WORDS.to_dot().count("dotted") == 2


def test_a_space_says_whether_a_cell_may_hold_none() -> None:
    ZEROS.validate(
        pydarts.Space(operations=["none", "sep_conv_3x3", "max_pool_3x3", "skip_connect", "conv_1x1"])
    )
    with pytest.raises(pydarts.GenotypeError, match="`none`"):
        ZEROS.validate(pydarts.Space(operations=["sep_conv_3x3", "max_pool_3x3", "skip_connect", "conv_1x1"]))


def test_notations_without_none_name_the_edge() -> None:
    values = genotypes.DARTS_V2.to_dict()
    values["reduce"][1][1] = ["none", 1]
    genotype = Genotype.from_dict(values)
    for write in (genotype.to_nni, genotype.to_nasbench301):
        with pytest.raises(pydarts.GenotypeError, match=r"reduce.*node 1 to node 3.*'none'"):
            write()


def test_gradients_flow_around_zeros() -> None:
    net = pydarts.build(ZEROS, channels=2, layers=3)
    F.cross_entropy(net(torch.randn(4, 3, 8, 8)), torch.arange(4)).backward()
    without = [name for name, weight in net.named_parameters() if weight.grad is None]
    assert not without, "every preprocessing here feeds an edge with weights or a pool"
