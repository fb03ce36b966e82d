"""The convolutional network of a genotype: published sizes, and the search network restricted to it."""

from __future__ import annotations

from typing import Any

import pydarts
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import genotypes

PUBLISHED = [
    # (genotype, arguments, weights), from the DARTS and PC-DARTS papers' networks
    ("DARTS_V1", {}, 3_169_414),
    ("DARTS_V2", {}, 3_349_342),
    ("PC_DARTS_CIFAR", {}, 3_634_678),
    ("DARTS_V2", {"auxiliary": True}, 3_349_342 + 476_426),
    ("DARTS_V1", {"stem": "imagenet", "channels": 48, "layers": 14, "num_classes": 1000}, 4_510_432),
    ("DARTS_V2", {"stem": "imagenet", "channels": 48, "layers": 14, "num_classes": 1000}, 4_718_752),
    ("PC_DARTS_IMAGENET", {"stem": "imagenet", "channels": 48, "layers": 14, "num_classes": 1000}, 5_342_464),
]


@pytest.mark.parametrize(("name", "arguments", "weights"), PUBLISHED)
def test_the_published_networks_have_the_published_number_of_weights(
    name: str, arguments: dict[str, Any], weights: int
) -> None:
    net = pydarts.build(getattr(genotypes, name), **arguments)
    assert sum(weight.numel() for weight in net.parameters()) == weights


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


@st.composite
def cells(draw: st.DrawFn, nodes: int) -> tuple[list[tuple[str, int]], list[int]]:
    genes = []
    for target in range(2, nodes + 2):
        for source in draw(st.permutations(range(target)))[:2]:
            genes.append((draw(st.sampled_from(OPERATIONS)), source))
    concat = draw(st.lists(st.integers(2, nodes + 1), min_size=1, unique=True).map(sorted))
    return genes, concat


@st.composite
def any_genotype(draw: st.DrawFn) -> pydarts.Genotype:
    nodes = draw(st.integers(1, 4))
    (normal, concat), (reduce, _) = draw(cells(nodes)), draw(cells(nodes))
    return pydarts.Genotype(normal=normal, normal_concat=concat, reduce=reduce, reduce_concat=concat)


def restricted(
    genotype: pydarts.Genotype, size: tuple[int, int], channels: int, layers: int
) -> tuple[pydarts.Supernet, pydarts.nn.ConvolutionalNetwork]:
    """The search network whose α leaves this genotype alone, and the discrete one with its weights."""
    nodes = len(genotype.normal) // 2
    space = pydarts.Space(nodes=nodes, operations=("none", *OPERATIONS), concat=list(genotype.normal_concat))
    net = pydarts.Supernet(
        space,
        channels=channels,
        layers=layers,
        num_classes=5,
        in_channels=2,
        image_size=size,
        dtype="float64",
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
        genotype, channels=channels, layers=layers, num_classes=5, in_channels=2, pool_norm=True
    ).double()
    state = net.state_dict()
    own = discrete.state_dict()
    discrete.load_state_dict({name: state.get(name, value) for name, value in own.items()})
    missing = {name for name in own if name not in state}
    assert all(name.rsplit(".", 1)[1] in ("weight", "bias", "num_batches_tracked") for name in missing)
    return net, discrete


@settings(max_examples=12, deadline=None)
@given(
    genotype=any_genotype(),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    channels=st.integers(2, 4),
    layers=st.integers(2, 4),
)
def test_it_is_the_search_network_restricted_to_the_genotype(
    genotype: pydarts.Genotype, size: tuple[int, int], channels: int, layers: int
) -> None:
    net, discrete = restricted(genotype, size, channels, layers)
    torch.manual_seed(0)
    x, y = torch.randn(6, 2, *size, dtype=torch.float64), torch.randint(5, (6,))
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
        in_channels=2,
        image_size=size,
        dtype="float64",
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
                torch.zeros_like(moved) if gradient is None else gradient, moved, rtol=1e-8, atol=1e-10
            )


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
    half = torch.tensor(0.5)
    torch.testing.assert_close(cell(x, x, half), cell(x, x))  # identities
    reduction = net.cells[1]
    y = torch.randn(400, 4, 6, 6)
    x = torch.randn(400, 12, 6, 6)
    kept, dropped = reduction(x, y), reduction(x, y, half)
    gone = (dropped.flatten(1) == 0).all(1)
    assert 60 < int(gone.sum()) < 140, "both paths of one in four"
    torch.manual_seed(0)
    mean = torch.stack([reduction(x, y, half) for _ in range(300)]).mean(0)
    assert (mean - kept).abs().mean() < 0.1 * kept.abs().mean()
    net.eval()
    torch.testing.assert_close(net(torch.ones(2, 3, 8, 8)), net(torch.ones(2, 3, 8, 8)))


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


def test_it_can_be_exported_and_kept_in_a_file(tmp_path: Any) -> None:
    net = pydarts.build(genotypes.PC_DARTS_CIFAR, channels=4, layers=3, auxiliary=True).eval()
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))
    pydarts.export(net, tmp_path / "net.safetensors")
    again = pydarts.load_network(tmp_path / "net.safetensors").eval()
    assert torch.equal(again(x), net(x)) and again.arguments == net.arguments


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"layers": 0}, pydarts.ConfigError, "layers is 0"),
        ({"drop_path": 1.0}, pydarts.ConfigError, r"drop_path is 1\.0"),
        ({"stem": "mnist"}, pydarts.ConfigError, "stem is 'mnist'; it must be one of cifar, imagenet, small"),
        ({"units": 3}, pydarts.ConfigError, "a ConvolutionalNetwork has no units; it takes channels, layers"),
        ({"genotype": genotypes.DARTS_RNN_V1}, pydarts.ConfigError, "needs its vocabulary"),
    ],
)
def test_what_cannot_be_built_is_named(changes: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        pydarts.build(**({"genotype": genotypes.DARTS_V2} | changes))
