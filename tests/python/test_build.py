"""The language model of a genotype, against the plain statement of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
from drawn import recurrent
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from reference.derived import derived_logits


def masks_of(net: pydarts.nn.LanguageModel, batch: int, seed: int) -> dict[str, Tensor]:
    """The masks that a call draws after `torch.manual_seed(seed)`."""
    torch.manual_seed(seed)
    found = {}
    for place in ("rows", "embedded", "input", "hidden", "output"):
        size = (net.encoder.num_embeddings, 1) if place == "rows" else (batch, net.cell.units)
        share = net.arguments[f"dropout_{place}"] if net.training else 0.0
        ones = torch.ones(size, dtype=net.encoder.weight.dtype)
        found[place] = torch.nn.functional.dropout(ones, share) if share else ones
    return found


@settings(max_examples=25, deadline=None)
@given(
    genotype=recurrent(),
    units=st.integers(1, 9),
    batch=st.integers(1, 4),
    tokens=st.integers(1, 6),
    seed=st.integers(0, 1000),
    train=st.booleans(),
)
def test_logits_and_gradients_are_those_of_the_plain_statement(
    genotype: pydarts.Genotype, units: int, batch: int, tokens: int, seed: int, train: bool
) -> None:
    torch.manual_seed(seed)
    net = pydarts.build(genotype, vocabulary=11, units=units, dropout_input=0.3, dropout_output=0.4).double()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(0.5 * torch.randn_like(weight))
    net.train(train)
    text, hidden = torch.randint(11, (tokens, batch)), torch.randn(batch, units, dtype=torch.float64)
    masks = masks_of(net, batch, seed)
    torch.manual_seed(seed)
    logits, states = net(text, hidden)
    weights = dict(net.named_parameters())
    expected = derived_logits(weights, genotype.nodes("recurrent"), genotype.concat, text, hidden, masks)
    for mine, theirs in zip((logits, states), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)
    by = list(net.parameters())
    found = torch.autograd.grad(logits.logsumexp(-1).sum() + states.square().sum(), by, allow_unused=True)
    plain = expected[0].logsumexp(-1).sum() + expected[1].square().sum()
    for mine, theirs in zip(found, torch.autograd.grad(plain, by, allow_unused=True), strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_initial_weights_are_within_the_published_bound() -> None:
    net = pydarts.build(pydarts.genotypes.DARTS_RNN_V1, vocabulary=100)
    assert all(weight.abs().max() <= 0.04 for weight in net.parameters())


def test_a_segment_read_in_two_parts_is_the_whole() -> None:
    net = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=9, units=5).double().eval()
    text = torch.randint(9, (8, 3))
    whole, _ = net(text)
    first, states = net(text[:3])
    second, _ = net(text[3:], states[-1])
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=1e-12, atol=1e-12)


def test_dropout_is_of_training_alone_and_one_mask_serves_all_tokens() -> None:
    net = pydarts.build(
        pydarts.Genotype(recurrent=[("identity", 0)], concat=[1]),
        vocabulary=6,
        units=40,
        dropout_rows=0.0,
        dropout_embedded=0.0,
        dropout_input=0.0,
        dropout_hidden=0.0,
        dropout_output=0.5,
    )
    with torch.no_grad():  # the logits show the outputs: a word for each unit is not needed, one will do
        net.encoder.weight.fill_(1.0)
    text = torch.zeros(4, 2, dtype=torch.int64)
    logits, states = net(text)
    shares = logits[..., 0] / states.sum(-1)
    assert not torch.allclose(shares, torch.ones_like(shares))
    net.eval()
    logits, states = net(text)
    torch.testing.assert_close(logits[..., 0], states.sum(-1))


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"units": 0}, pydarts.ConfigError, "units.*0"),
        ({"vocabulary": 2.5}, pydarts.ConfigError, "vocabulary is 2.5"),
        (
            {"dropout_input": 1.0},
            pydarts.ConfigError,
            "dropout_input.*1.0",
        ),
        ({"dropout_rows": "0.1"}, pydarts.ConfigError, "dropout_rows.*'0.1'"),
        ({"vocabulary": True}, pydarts.ConfigError, "vocabulary.*True"),
        (
            {"genotype": pydarts.genotypes.DARTS_V2},
            pydarts.ConfigError,
            "ConvolutionalNetwork.*units",
        ),
        ({"genotype": "DARTS_RNN_V2"}, pydarts.GenotypeError, "Genotype.*str"),
    ],
)
def test_what_cannot_be_built_is_named(changes: dict[str, Any], kind: type[Exception], words: str) -> None:
    arguments: dict[str, Any] = {"genotype": pydarts.genotypes.DARTS_RNN_V2, "vocabulary": 5, "units": 4}
    with pytest.raises(kind, match=words):
        pydarts.build(**(arguments | changes))


@pytest.mark.parametrize("k", [2, 3, 8])
@pytest.mark.parametrize("nodes", [2, 3, 8])
def test_a_cell_with_several_edges_a_node_is_not_taken_for_a_longer_one(nodes: int, k: int) -> None:
    space = pydarts.Space(nodes=nodes, kind="recurrent", operations=("none", "tanh", "relu"))
    alphas = {"recurrent": torch.randn(len(space.edges), 3, generator=torch.Generator().manual_seed(0))}
    with pytest.raises(pydarts.GenotypeError, match="k=1"):
        pydarts.build(pydarts.derive(alphas, space, k=k), vocabulary=5, units=4)
    assert len(pydarts.build(pydarts.derive(alphas, space), vocabulary=5, units=4).cell.genes) == nodes


@pytest.mark.parametrize("k", [1, 3])
def test_images_are_classified_by_cells_with_any_number_of_edges_per_node(k: int) -> None:
    genotype = pydarts.derive({name: torch.randn(14, 8) for name in ("normal", "reduce")}, k=k)
    net = pydarts.build(genotype, channels=2, layers=3)
    assert isinstance(net, pydarts.nn.ConvolutionalNetwork)
    edges = {key for cell in net.cells[:1] for key in cell.edges}  # type: ignore[union-attr]
    assert edges == {f"{source}_{target}" for _, source, target in genotype.edges("normal")}
    assert net.eval()(torch.zeros(2, 3, 8, 8)).shape == (2, 10)


def test_a_network_file_that_is_no_such_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with pytest.raises(FileNotFoundError, match=r"net\.safetensors"):
        pydarts.load_network(path)
    pydarts.export(pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=5, units=4), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(pydarts.CheckpointError, match=r"net\.safetensors"):
        pydarts.load_network(path)
