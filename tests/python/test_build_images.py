"""The convolutional network of a genotype: it is the search network restricted to it, and takes any image."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from drawn import OPERATIONS, convolutional
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import genotypes


def restricted(
    genotype: pydarts.Genotype, size: tuple[int, int], channels: int, layers: int, in_channels: int
) -> tuple[pydarts.Supernet, pydarts.nn.ConvolutionalNetwork]:
    """The search network whose α leaves this genotype alone, and the discrete one with its weights."""
    nodes = len(genotype.normal) // 2
    space = pydarts.Space(nodes=nodes, operations=("none", *OPERATIONS), concat=list(genotype.normal_concat))
    net = pydarts.Supernet(
        space,
        channels=channels,
        layers=layers,
        num_classes=5,
        in_channels=in_channels,
        image_size=size,
        precision="float64",
    )
    alphas = {}
    for table, genes in (("normal", genotype.normal), ("reduce", genotype.reduce)):
        logits = torch.zeros(len(space.edges), len(space.operations), dtype=torch.float64)
        logits[:, 0] = 1000.0
        for position, (operation, source) in enumerate(genes):
            row = space.edges.index((source, 2 + position // 2))
            logits[row, 0] = 0.0
            logits[row, space.operations.index(operation)] = 1000.0
        alphas[table] = logits
    net.set_alphas(alphas)
    discrete = pydarts.build(
        genotype, channels=channels, layers=layers, num_classes=5, in_channels=in_channels, pool_norm=True
    ).double()
    state = net.state_dict()
    own = discrete.state_dict()
    discrete.load_state_dict({name: state.get(name, value) for name, value in own.items()})
    missing = {name for name in own if name not in state}
    assert all(name.rsplit(".", 1)[1] in ("weight", "bias", "num_batches_tracked") for name in missing)
    return net, discrete


@settings(max_examples=12, deadline=None)
@given(
    genotype=convolutional(),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    channels=st.integers(2, 4),
    layers=st.integers(1, 4),
    in_channels=st.integers(1, 4),
)
def test_it_is_the_search_network_restricted_to_the_genotype(
    genotype: pydarts.Genotype, size: tuple[int, int], channels: int, layers: int, in_channels: int
) -> None:
    net, discrete = restricted(genotype, size, channels, layers, in_channels)
    torch.manual_seed(0)
    x, y = torch.randn(6, in_channels, *size, dtype=torch.float64), torch.randint(5, (6,))
    logits = discrete.train()(x)
    torch.testing.assert_close(logits, net.logits(x), rtol=1e-10, atol=1e-10)
    torch.nn.functional.cross_entropy(logits, y).backward()
    found = {name: weight.grad for name, weight in discrete.named_parameters()}
    # The gradient of the search network by its weights: what a step without decay or momentum takes away.
    config = pydarts.SearchConfig(
        weight_decay=0.0, weight_momentum=0.0, weight_lr=1.0, weight_lr_min=1.0, grad_clip=1e9
    )
    same = pydarts.Supernet(
        net.space,
        channels=channels,
        layers=layers,
        num_classes=5,
        in_channels=in_channels,
        image_size=size,
        precision="float64",
        config=config.replace(arch_start_epoch=1),
    )
    same.load_state_dict(net.state_dict())
    same.set_alphas(net.alphas)
    before = net.state_dict()
    same.step((x, y), (x, y))
    after = same.state_dict()
    for name, gradient in found.items():
        if name in before:
            moved = before[name] - after[name]
            torch.testing.assert_close(
                torch.zeros_like(moved) if gradient is None else gradient, moved, rtol=1e-10, atol=1e-10
            )


def test_the_output_of_a_cell_is_of_the_nodes_of_its_concat_in_their_order() -> None:
    kinds: dict[str, Any] = {"reduction": False, "after_reduction": False, "pool_norm": False}
    every = pydarts.nn.Cell(genotypes.DARTS_V2.edges("normal"), (2, 3, 4, 5), (6, 9), 3, **kinds)
    some = pydarts.nn.Cell(genotypes.DARTS_V2.edges("normal"), (5, 2), (6, 9), 3, **kinds)
    some.load_state_dict(every.state_dict())
    before, previous = torch.randn(2, 6, 7, 5), torch.randn(2, 9, 7, 5)
    nodes = every(before, previous).chunk(4, dim=1)
    assert torch.equal(some(before, previous), torch.cat([nodes[3], nodes[0]], dim=1))


def test_normal_and_reduction_cells_may_differ_in_what_they_give() -> None:
    values = genotypes.DARTS_V2.to_dict() | {"normal_concat": [5], "reduce_concat": [2, 5, 3]}
    net = pydarts.build(pydarts.Genotype.from_dict(values), channels=4, layers=3, num_classes=7)
    assert net(torch.randn(2, 3, 9, 9)).shape == (2, 7)
    assert net.classifier.in_features == 3 * 4 * 2 * 2


def test_a_path_is_dropped_in_training_alone_and_never_an_identity() -> None:
    genotype = pydarts.Genotype(
        normal=[("skip_connect", 0), ("skip_connect", 1)],
        normal_concat=[2],
        reduce=[("avg_pool_3x3", 0), ("avg_pool_3x3", 1)],
        reduce_concat=[2],
    )
    net = pydarts.build(genotype, channels=4, layers=3, drop_path=0.5)
    cell = net.cells[0]
    x = torch.randn(8, 12, 6, 6)
    share = torch.tensor(0.3)
    torch.testing.assert_close(cell(x, x, share), cell(x, x))  # identities
    reduction = net.cells[1]
    torch.manual_seed(0)
    y = torch.randn(400, 4, 6, 6)
    x = torch.randn(400, 12, 6, 6)
    kept, dropped = reduction(x, y), reduction(x, y, share)
    gone = (dropped.flatten(1) == 0).all(1)
    assert 12 < int(gone.sum()) < 60, "both paths of nine in a hundred"
    whole = gone.logical_not() & torch.isclose(dropped, kept / 0.7, rtol=1e-4, atol=1e-5).flatten(1).all(1)
    assert 145 < int(whole.sum()) < 250, "neither path of 49 in a hundred, and these made larger"
    plain = pydarts.build(genotype, channels=4, layers=3)
    plain.load_state_dict(net.state_dict())
    images = torch.randn(6, 3, 8, 8)
    assert torch.equal(net.eval()(images), plain.eval()(images))
    assert not torch.equal(net.train()(images), plain.train()(images))


def test_numbers_of_numpy_are_numbers() -> None:
    net = pydarts.build(
        genotypes.DARTS_V2, channels=np.int64(4), layers=2, num_classes=np.int32(7), drop_path=np.float32(0.5)
    )
    assert net.arguments["num_classes"] == 7 and net.drop_path == 0.5
    assert json.loads(json.dumps(net.arguments)) == net.arguments
    assert net(torch.randn(2, 3, 8, 8)).shape == (2, 7)


@pytest.mark.parametrize("stem", ["cifar", "imagenet", "small"])
@pytest.mark.parametrize("size", [(33, 47), (64, 64)])
def test_any_size_of_image_and_every_stem(stem: pydarts.nn.Stem, size: tuple[int, int]) -> None:
    net = pydarts.build(genotypes.DARTS_V2, channels=4, layers=4, num_classes=7, in_channels=1, stem=stem)
    assert net(torch.randn(2, 1, *size)).shape == (2, 7)


@pytest.mark.parametrize(("stem", "side"), [("cifar", 32), ("imagenet", 224)])
def test_the_auxiliary_head_speaks_in_training(stem: pydarts.nn.Stem, side: int) -> None:
    net = pydarts.build(genotypes.DARTS_V1, channels=4, layers=6, num_classes=7, stem=stem, auxiliary=True)
    x = torch.randn(2, 3, side, side)
    logits, auxiliary = net(x)
    assert logits.shape == auxiliary.shape == (2, 7) and not torch.equal(logits, auxiliary)
    assert net.eval()(x).shape == (2, 7)


@pytest.mark.parametrize(("imagenet", "side"), [(False, 8), (True, 7)])
def test_the_auxiliary_head_is_the_published_one(imagenet: bool, side: int) -> None:
    head = pydarts.nn.AuxiliaryHead(6, 5, imagenet=imagenet).double()
    plain = torch.nn.Sequential(
        torch.nn.ReLU(),
        torch.nn.AvgPool2d(5, stride=2 if imagenet else 3, padding=0, count_include_pad=False),
        torch.nn.Conv2d(6, 128, 1, bias=False),
        torch.nn.BatchNorm2d(128),
        torch.nn.ReLU(),
        torch.nn.Conv2d(128, 768, 2, bias=False),
        *([] if imagenet else [torch.nn.BatchNorm2d(768)]),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(768, 5),
    ).double()
    plain.load_state_dict(dict(zip(plain.state_dict(), head.state_dict().values(), strict=True)))
    x = torch.randn(4, 6, side, side, dtype=torch.float64)
    torch.testing.assert_close(head(x), plain(x), rtol=1e-12, atol=1e-12)
    with pytest.raises(pydarts.DataError, match=rf"(?=.*{side}x{side - 1}).*{side}x{side}\b"):
        head(x[:, :, :, 1:])


def test_a_share_of_dropped_paths_is_checked_whenever_it_is_set() -> None:
    net = pydarts.build(genotypes.DARTS_V2, channels=2, layers=1, drop_path=0.1)
    net.drop_path = 0.3
    assert net.drop_path == 0.3 and "_dropped" not in net.state_dict()
    with pytest.raises(pydarts.ConfigError, match=r"drop_path.*1\.5"):
        net.drop_path = 1.5
    assert net.drop_path == 0.3


def test_a_share_that_is_dropped_for_now_is_not_the_networks_own() -> None:
    net = pydarts.build(genotypes.DARTS_V2, channels=2, layers=1, drop_path=0.1)
    net.drop_now(0.7)
    assert net.drop_path == net.arguments["drop_path"] == 0.1 and float(net._dropped) == pytest.approx(0.7)
    net.drop_path = 0.3
    assert net.drop_path == net.arguments["drop_path"] == 0.3 and float(net._dropped) == pytest.approx(0.3)
    with pytest.raises(pydarts.ConfigError, match=r"drop_path is -1"):
        net.drop_now(-1)


@pytest.mark.parametrize("layers", range(1, 8))
def test_reduction_cells_stand_where_they_are_said_to(layers: int) -> None:
    net = pydarts.build(genotypes.DARTS_V2, channels=2, layers=layers)
    widths = [cell.pre1.conv.out_channels for cell in net.cells]
    doubled = [index for index in range(layers) if widths[index] == 2 * ([2, *widths][index])]
    assert sorted(set(net.reductions)) == doubled == sorted({layers // 3, 2 * layers // 3})


@pytest.mark.parametrize("k", [1, 3, 4, 5])
@pytest.mark.parametrize("nodes", [2, 3, 4, 5])
def test_cells_with_any_number_of_edges_per_node_are_built(nodes: int, k: int) -> None:
    space = pydarts.Space(nodes=nodes)
    generator = torch.Generator().manual_seed(nodes)
    shape = (len(space.edges), len(space.operations))
    alphas = {table: torch.randn(shape, generator=generator) for table in ("normal", "reduce")}
    net = pydarts.build(pydarts.derive(alphas, space, k=k), channels=2, layers=3)
    for cell in net.cells:
        assert [len(edges) for edges in cell._nodes] == [min(k, 2 + node) for node in range(nodes)]
    assert net.eval()(torch.randn(2, 3, 8, 8)).shape == (2, 10)


GENES = [("skip_connect", 0), ("skip_connect", 1), ("conv_1x1", 0)]


@pytest.mark.parametrize(
    ("genes", "concat", "words"),
    [
        (GENES, [2, 3], "normal.*3 edges"),
        (GENES, [2], "normal.*3 edges"),
        (GENES[:2], [2, 3], "normal.*2 edges"),
        (GENES[:2], [1, 2], "normal.*node 1"),
        ([GENES[0], ("skip_connect", 3)], [2], "normal.*node 2.*node 3"),
        ([*GENES, ("conv_1x1", 3)], [3], "normal.*node 3.*node 3"),
    ],
)
def test_edges_that_make_no_cell_are_named(genes: Any, concat: Any, words: str) -> None:
    fine: dict[str, Any] = {"reduce": GENES[:2], "reduce_concat": [2]}
    with pytest.raises(pydarts.GenotypeError, match=words):
        pydarts.build(pydarts.Genotype(normal=genes, normal_concat=concat, **fine), channels=2, layers=3)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"layers": 0}, pydarts.ConfigError, "^layers is 0;"),
        ({"channels": True}, pydarts.ConfigError, "^channels is True;"),
        ({"channels": 1, "stem": "imagenet"}, pydarts.ConfigError, "^channels is 1;.*stem.*imagenet.* 2 "),
        ({"auxiliary": "no"}, pydarts.ConfigError, "^auxiliary is 'no';"),
        ({"pool_norm": 1}, pydarts.ConfigError, "^pool_norm is 1;"),
        ({"drop_path": "0.2"}, pydarts.ConfigError, r"^drop_path is '0\.2';"),
        ({"drop_path": True}, pydarts.ConfigError, "^drop_path is True;"),
        ({"drop_path": 1.0}, pydarts.ConfigError, r"^drop_path is 1\.0;"),
        ({"stem": "mnist"}, pydarts.ConfigError, "^stem is 'mnist';"),
        ({"units": 3}, pydarts.ConfigError, "^ConvolutionalNetwork.*units.*channels"),
        ({"genotype": genotypes.DARTS_RNN_V1}, pydarts.ConfigError, "requires `vocabulary`"),
    ],
)
def test_what_cannot_be_built_is_named(changes: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        pydarts.build(**({"genotype": genotypes.DARTS_V2} | changes))


def test_equal_edges_have_weights_of_their_own() -> None:
    nodes = [[("sep_conv_3x3", 0)] * 3]
    cell = pydarts.Genotype(normal=nodes, normal_concat=[2], reduce=nodes, reduce_concat=[2])
    net = pydarts.build(cell, channels=2, layers=1, num_classes=2, in_channels=1)
    weights = [name for name, _ in net.named_parameters() if name.endswith("dw1.weight")]
    names = ("sep_conv_3x3", "sep_conv_3x3_again", "sep_conv_3x3_again_again")
    assert weights == [f"cells.0.edges.0_2.{name}.dw1.weight" for name in names]


@pytest.mark.parametrize(
    ("edges", "concat"),
    [
        ([("skip_connect", 0)], (2,)),
        ("skip", (2,)),
        (None, (2,)),
        ([("skip_connect", 0, 1)], (2,)),
        ([("skip_connect", 0, 10**9)], (10**9,)),
        ([("skip_connect", 0, 2)], (2.5,)),
        ([("skip_connect", 0, 2), ("skip_connect", 0, "3")], (2,)),
        ([("skip_connect", 2, 2)], (2,)),
        ([("skip_connect", -1, 2)], (2,)),
        ([("skip", 0, 2)], (2,)),
        ([("skip_connect", 0, 2)], (1, 2)),
        ([], ()),
    ],
)
def test_a_cell_refuses_edges_that_make_none(edges: Any, concat: Any) -> None:
    with pytest.raises(pydarts.GenotypeError):
        pydarts.nn.Cell(edges, concat, (2, 2), 2, reduction=False, after_reduction=False, pool_norm=False)
