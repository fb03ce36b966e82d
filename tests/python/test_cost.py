"""What networks cost: as published, as the plan of the search network says, and as the page shows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
from drawn import ACTIVATIONS, OPERATIONS
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import genotypes

DOCS = Path(__file__).parents[2] / "docs"

# (genotype, data, weights, those of the auxiliary head, multiply-adds where they are known)
PUBLISHED = [
    ("DARTS_V1", "CIFAR-10", 3_169_414, 476_426, None),
    ("DARTS_V2", "CIFAR-10", 3_349_342, 476_426, None),
    ("PC_DARTS_CIFAR", "CIFAR-10", 3_634_678, 476_426, None),
    ("DARTS_V1", "ImageNet", 4_510_432, None, 505_864_704),
    ("DARTS_V2", "ImageNet", 4_718_752, None, 529_911_552),
    ("PC_DARTS_IMAGENET", "ImageNet", 5_342_464, None, 581_627_328),
    # 850·2·850 for each node and for input and state, then a row of the table for each word.
    ("DARTS_RNN_V1", "Penn Treebank", 22_960_000, 0, 10 * 1_445_000 + 8_500_000),
    ("DARTS_RNN_V2", "Penn Treebank", 22_960_000, 0, 10 * 1_445_000 + 8_500_000),
]


@pytest.fixture(scope="module")
def networks() -> Any:
    """The script beside the page."""
    spec = importlib.util.spec_from_file_location("networks", DOCS / "networks.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["networks"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.long
def test_the_published_networks_cost_what_was_published_and_the_page_shows_it(networks: Any) -> None:
    rows = networks.rows()
    counted = {(row.genotype, row.data): (row.weights, row.auxiliary, row.multiply_adds) for row in rows}
    for genotype, data, *expected in PUBLISHED:
        found = counted[genotype, data]
        assert [x for x, y in zip(found, expected, strict=True) if y is not None] == [
            y for y in expected if y is not None
        ], (genotype, data)
    assert {genotype for genotype, _ in counted} == set(genotypes.__all__)
    assert networks.page(rows) == (DOCS / "networks.md").read_text(encoding="utf-8")


@settings(max_examples=20, deadline=None)
@given(
    operation=st.sampled_from(OPERATIONS),
    channels=st.integers(2, 5),
    layers=st.integers(2, 4),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
)
def test_multiply_adds_are_those_of_the_plan(
    operation: str, channels: int, layers: int, size: tuple[int, int]
) -> None:
    # With one node and one operation on its two edges the search network has nothing to leave out.
    cell = [(operation, 0), (operation, 1)]
    genotype = pydarts.Genotype(normal=cell, normal_concat=[2], reduce=cell, reduce_concat=[2])
    network = pydarts.build(genotype, channels=channels, layers=layers, num_classes=3, in_channels=2)
    plan = pydarts.Supernet(
        pydarts.Space(nodes=1, operations=[operation]),
        channels=channels,
        layers=layers,
        num_classes=3,
        in_channels=2,
        image_size=size,
    ).cost()
    found = pydarts.cost(network, image_size=size)
    assert (found["multiply_adds"], found["flops"]) == (plan["multiply_adds"], plan["flops"])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_multiply_adds_of_a_word_are_those_of_the_plan(activation: str) -> None:
    space = pydarts.Space(nodes=1, operations=[activation], kind="recurrent")
    genotype = pydarts.Genotype(recurrent=[(activation, 0)], concat=[1])
    found = pydarts.cost(pydarts.build(genotype, vocabulary=13, units=6))
    plan = pydarts.Supernet(space, vocabulary=13, units=6).cost()
    assert found["multiply_adds"] == plan["multiply_adds"] and found["weights"] == plan["weights"]


def test_counting_leaves_the_network_as_it_was() -> None:
    net = pydarts.build(genotypes.DARTS_V2, channels=4, layers=3, auxiliary=True, stem="imagenet")
    net.cells[0].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert pydarts.cost(net) == pydarts.cost(net, image_size=224) == pydarts.cost(net, image_size=(224, 224))
    assert net.training and not net.cells[0].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


IMAGES = pydarts.build(genotypes.DARTS_V2, channels=2, layers=2)
WORDS = pydarts.build(genotypes.DARTS_RNN_V2, vocabulary=3, units=2)


@pytest.mark.parametrize(
    ("network", "size", "kind", "words"),
    [
        (IMAGES, 0, pydarts.ConfigError, "image_size.*0"),
        (IMAGES, (8, 2.5), pydarts.ConfigError, r"image_size.*2\.5"),
        (IMAGES, 8.5, pydarts.ConfigError, r"image_size.*8\.5"),
        (IMAGES, (8, 8, 8), pydarts.ConfigError, r"image_size.*\(8, 8, 8\)"),
        (WORDS, 8, pydarts.ConfigError, "image_size.*LanguageModel"),
        (torch.nn.Linear(2, 2), 8, pydarts.ConfigError, r"image_size.*Linear.*example"),
        (torch.nn.Linear(2, 2), None, TypeError, r"Linear.*example"),
        (torch.compile(IMAGES), 8, TypeError, r"torch\.compile"),
    ],
)
def test_what_cannot_be_counted_is_named(network: Any, size: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        pydarts.cost(network, size)


def test_a_genotype_costs_what_its_network_costs() -> None:
    for genotype, arguments in (
        (pydarts.genotypes.DARTS_V2, {"channels": 4, "layers": 3}),
        (pydarts.genotypes.DARTS_RNN_V2, {"vocabulary": 7, "units": 5}),
    ):
        size = {"image_size": 8} if "layers" in arguments else {}
        network = pydarts.build(genotype, **arguments)
        assert pydarts.cost(genotype, **arguments, **size) == pydarts.cost(network, **size)
