"""Genotypes with nodes that no edge enters: zeros, from reading to training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from commands import answered, refused
from conftest import make_arrays, make_config
from drawn import ACTIVATIONS, any_edges
from exported import assert_exported
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import Genotype, genotypes, plots
from pydarts._show.plots.cells import cells_of
from reference.derived import derived_images, derived_logits
from torch.nn import functional as F

CELL: list[Any] = [
    [("sep_conv_3x3", 0)],
    [],
    [("skip_connect", 3), ("max_pool_3x3", 1)],
    [],
]
ALL = [2, 3, 4, 5]
SOME = Genotype(normal=CELL, normal_concat=ALL, reduce=CELL, reduce_concat=ALL)
NOTHING = Genotype(normal=[[], []], normal_concat=[2, 3], reduce=[[], []], reduce_concat=[2])
WORDS = Genotype(recurrent=[[], [("relu", 1)], [("tanh", 0)], []], concat=[1, 2, 3, 4])
SILENCE = Genotype(recurrent=[[], []], concat=[1, 2])
GENOTYPES = {"some": SOME, "nothing": NOTHING, "words": WORDS, "silence": SILENCE}


@st.composite
def drawn(draw: st.DrawFn) -> Genotype:
    nodes = draw(st.integers(1, 4))
    concat = draw(st.lists(st.integers(2, nodes + 1), min_size=1, unique=True))
    return Genotype(
        normal=draw(any_edges(nodes)),
        normal_concat=concat,
        reduce=draw(any_edges(nodes)),
        reduce_concat=concat,
    )


def read_back(genotype: Genotype) -> None:
    again = Genotype.from_json(genotype.to_json())
    assert genotype == again == eval(repr(genotype)) == Genotype.from_notation(repr(genotype))
    assert again.edge_set == genotype.edge_set and hash(again) == hash(genotype)


@settings(max_examples=15, deadline=None)
@given(
    genotype=drawn(),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    layers=st.integers(1, 4),
    stem=st.sampled_from(["cifar", "imagenet"]),
)
def test_any_number_of_edges_makes_a_network(
    genotype: Genotype, size: tuple[int, int], layers: int, stem: Any
) -> None:
    net = pydarts.build(genotype, channels=4, layers=layers, num_classes=5, stem=stem).double()
    x = torch.randn(4, 3, *size, dtype=torch.float64)
    logits = net(x)
    F.cross_entropy(logits, torch.arange(4)).backward()
    given = [weight.grad for weight in net.parameters() if weight.grad is not None]
    assert given and all(gradient.isfinite().all() for gradient in given)
    net.eval()
    if stem == "cifar":
        torch.testing.assert_close(net(x), derived_images(net, x), rtol=1e-12, atol=1e-12)
    assert pydarts.cost(net, 16)["weights"] == sum(weight.numel() for weight in net.parameters())
    read_back(genotype)


@settings(max_examples=10, deadline=None)
@given(data=st.data(), count=st.integers(1, 6))
def test_a_recurrent_node_without_an_edge_is_zeros(data: st.DataObject, count: int) -> None:
    edge = st.sampled_from(("none", *ACTIVATIONS))
    cell = [
        [(data.draw(edge), data.draw(st.integers(0, node)))][: data.draw(st.integers(0, 1))]
        for node in range(count)
    ]
    genotype = Genotype(recurrent=cell, concat=list(range(1, count + 1)))
    net = pydarts.build(genotype, vocabulary=11, units=4).double().eval()
    weights = {f"w{node}" for node, into in enumerate(cell, 1) if into and into[0][0] != "none"}
    assert {name for name, _ in net.cell.named_parameters()} == {"w0", *weights}
    tokens, hidden = torch.randint(11, (5, 3)), torch.randn(3, 4, dtype=torch.float64)
    masks = {place: torch.ones(()) for place in ("input", "hidden", "embedded", "output")}
    masks["rows"] = torch.ones(11, 1)
    found = net(tokens, hidden)
    expected = derived_logits(
        net.state_dict(), genotype.nodes("recurrent"), genotype.concat, tokens, hidden, masks
    )
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    read_back(genotype)


def test_a_node_without_edges_has_the_size_of_the_others_and_no_weights() -> None:
    for reduction in (False, True):
        kinds: dict[str, Any] = {"reduction": reduction, "after_reduction": False, "pool_norm": False}
        empty = pydarts.nn.Cell((), (3, 2), (4, 4), 3, **kinds)
        pool = pydarts.nn.Cell((("avg_pool_3x3", 0, 2), ("none", 0, 3)), (3, 2), (4, 4), 3, **kinds)
        x = torch.full((2, 4, 7, 5), torch.inf)
        assert empty(x, x).shape == pool(x, x).shape and not empty(x, x).any()
        assert list(empty.state_dict()) == list(pool.state_dict())
        gap = pydarts.nn.Cell((("avg_pool_3x3", 0, 4),), (4,), (4, 4), 3, **kinds)  # nodes 2 and 3
        same = pydarts.nn.Cell((("avg_pool_3x3", 0, 2),), (2,), (4, 4), 3, **kinds)
        same.load_state_dict(
            {name.replace("0_4", "0_2"): tensor for name, tensor in gap.state_dict().items()}
        )
        y = torch.randn(2, 4, 7, 5)
        assert torch.equal(gap.eval()(y, y), same.eval()(y, y))


def test_a_node_without_edges_is_one_whose_edges_hold_none() -> None:
    values = SOME.to_dict()
    for table in ("normal", "reduce"):
        values[table] = [node or [["none", 0]] for node in values[table]]
    one, other = (pydarts.build(cells, channels=3, layers=3) for cells in (SOME, Genotype.from_dict(values)))
    assert pydarts.cost(one) == pydarts.cost(other)
    other.load_state_dict(one.state_dict())
    x = torch.randn(4, 3, 9, 9)
    assert torch.equal(one(x), other(x))


def test_flat_lists_name_the_node_that_they_cannot_express() -> None:
    for genotype, table, node in ((SOME, "normal", 3), (NOTHING, "reduce", 2), (WORDS, "recurrent", 1)):
        with pytest.raises(pydarts.GenotypeError, match=rf"{table}.*node {node}\b"):
            getattr(genotype, table)
        assert len(genotype.edges(table)) == sum(map(len, genotype.nodes(table)))
    assert SOME.normal_concat == (2, 3, 4, 5) and SOME.recurrent == () and WORDS.normal == ()
    assert SOME.nodes("recurrent") == () and SOME.nodes("normal")[1] == ()
    with pytest.raises(ValueError, match="choose from"):
        SOME.nodes("norma")
    assert [genotype.kind for genotype in GENOTYPES.values()] == ["convolutional"] * 2 + ["recurrent"] * 2


def test_other_tools_name_the_node_that_they_cannot_hold() -> None:
    for write in (SOME.to_nni, SOME.to_nasbench301):
        with pytest.raises(pydarts.GenotypeError, match=r"normal.*node 2 has 1"):
            write()
    for count in (0, 1, 3):
        values = genotypes.DARTS_V2.to_dict()
        values["reduce"][1] = [["skip_connect", source] for source in range(count)]
        for write in (Genotype.from_dict(values).to_nni, Genotype.from_dict(values).to_nasbench301):
            with pytest.raises(pydarts.GenotypeError, match=rf"reduce.*node 3 has {count}"):
                write()


def test_a_space_accepts_any_number_of_edges() -> None:
    SOME.validate("darts")
    WORDS.validate(pydarts.Space(kind="recurrent", nodes=4))
    with pytest.raises(pydarts.GenotypeError, match="2 nodes"):
        NOTHING.validate("darts")
    with pytest.raises(pydarts.GenotypeError):
        WORDS.validate("darts")


@pytest.mark.parametrize("wrong", [[], [[("skip_connect", 2)], []], [[], [("tanh", 0)]]])
def test_a_cell_still_needs_nodes_and_sound_edges(wrong: Any) -> None:
    with pytest.raises(pydarts.GenotypeError):
        Genotype(normal=wrong, normal_concat=[2], reduce=[[], []], reduce_concat=[2])


@pytest.mark.parametrize("ending", ["safetensors", "pt2", "onnx"])
@pytest.mark.parametrize("name", GENOTYPES)
def test_such_networks_are_exported(name: str, ending: str, tmp_path: Path) -> None:
    assert_exported(GENOTYPES[name], tmp_path / f"net.{ending}")


def test_such_networks_are_trained_and_compared() -> None:
    X, y = make_arrays(48)
    cfg = pydarts.TrainConfig(epochs=2, batch_size=16, progress=False)
    cells = {"some": SOME, "nothing": NOTHING}
    table = pydarts.compare(cells, (X, y), cfg, network={"channels": 2, "layers": 3}, workers=0)
    assert [row.status for row in table] == ["complete", "complete"]
    assert [row.genotype for row in table] == [SOME, NOTHING]
    net = pydarts.build(SOME, channels=2, layers=3, num_classes=4, in_channels=1, drop_path=0.2)
    assert len(pydarts.train(net, (X, y), cfg).history) == 2


def test_language_models_are_trained() -> None:
    text = np.arange(200) % 7
    cfg = pydarts.TrainConfig(epochs=1, batch_size=4, bptt=5, progress=False)
    for genotype in (WORDS, SILENCE):
        net = pydarts.build(genotype, vocabulary=7, units=4)
        assert len(pydarts.train(net, (text, text[:50]), cfg).history) == 1


def test_weights_of_a_search_fit_around_empty_nodes() -> None:
    X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
    cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
    result = pydarts.search((X, y), cfg)
    net = pydarts.build(SOME, channels=2, layers=3, num_classes=2, in_channels=1)
    report = result.inherit(net)
    copied = {name.split(".")[3] for name in report.copied if name.startswith("cells.0.edges")}
    assert copied == {"0_2"}, "the only edge of this cell with weights"


@pytest.mark.parametrize("name", GENOTYPES)
def test_every_picture_shows_the_empty_nodes(name: str) -> None:
    genotype = GENOTYPES[name]
    tables = [table for table in ("normal", "reduce", "recurrent") if genotype.nodes(table)]
    assert [cell.name for cell in cells_of(genotype)] == tables
    for cell in cells_of(genotype):
        first = cell.nodes.inputs
        assert set(range(first + len(genotype.nodes(cell.name)))) <= set(cell.graph.nodes)
    assert [ax.get_title(loc="left") for ax in plots.cells(genotype)] == tables
    dot = genotype.to_dot()
    for table in tables:
        first = 1 if table == "recurrent" else 2
        assert all(
            f"{table}_{node} [label=" in dot for node in range(first, first + len(genotype.nodes(table)))
        )
    assert "<svg" in genotype.to_svg() and "<svg" in genotype._repr_html_()
    dashed = "stroke-dasharray"
    assert dashed in genotype.to_svg() and dashed not in genotypes.DARTS_V2.to_svg()


def test_a_search_whose_rule_keeps_nothing_is_shown_everywhere(tmp_path: Path) -> None:
    cfg = pydarts.SearchConfig(
        nodes=2, channels=2, layers=3, epochs=2, batch_size=8, progress=False,
        selection={"name": "threshold", "value": 1.0},
    )  # fmt: skip
    result = pydarts.search(make_arrays(32), cfg)
    assert result.genotype.nodes("normal") == ((), ())
    assert result._repr_html_() and str(result.diagnostics())
    result.report(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 1000
    result.save(tmp_path / "run")
    assert pydarts.SearchResult.load(tmp_path / "run").genotype == result.genotype


def test_commands_take_such_genotypes(tmp_path: Path) -> None:
    X, y = make_arrays(32)
    np.savez(tmp_path / "data.npz", x_train=X, y_train=y, x_test=X, y_test=y)
    for name, genotype in (("some", SOME), ("nothing", NOTHING)):
        file = tmp_path / f"{name}.json"
        file.write_text(genotype.to_json())
        assert Genotype.from_notation(answered("derive", file).out) == genotype
        assert Genotype.from_json(answered("derive", file, "--notation", "json").out) == genotype
        assert "digraph" in answered("derive", file, "--notation", "dot").out
        assert "node" in refused(1, "derive", file, "--notation", "nni")
        found = answered("cost", file, "--channels", 2, "--layers", 3, "--json").json
        assert found["weights"] == pydarts.cost(pydarts.build(genotype, channels=2, layers=3))["weights"]
        options = ("--channels", 2, "--layers", 3, "--epochs", 1, "--batch-size", 8, "--out", tmp_path / name)
        answered("train", file, "--data", f"npz:{tmp_path / 'data.npz'}", *options)
        answered("export", tmp_path / name, tmp_path / f"{name}.pt2", "--image-size", 8)


def test_commands_show_a_run_whose_rule_keeps_nothing(tmp_path: Path) -> None:
    cfg = make_config(selection={"name": "threshold", "value": 1.0})
    result = pydarts.search(make_arrays(32), cfg)
    result.save(tmp_path / "run")
    assert Genotype.from_notation(answered("derive", tmp_path / "run").out) == result.genotype
    answered("plot", tmp_path / "run")
    answered("report", tmp_path / "run")
    kept = Genotype.from_notation(answered("derive", tmp_path / "run", "-k", 1).out)
    assert [len(node) for node in kept.nodes("normal")] == [1, 1]
