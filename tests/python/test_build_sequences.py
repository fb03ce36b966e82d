"""Networks of genotypes for sequences: layers, causality, weights, training and files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import reference
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydarts import Genotype, Space, build
from pydarts.nn._layers import Layers
from pydarts.nn._operations import OPERATIONS
from reference.sequences import operation
from torch import Tensor, nn

NAMES = reference.SEQUENCE_OPERATIONS
few = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def both(name: str, channels: int, stride: int, causal: bool) -> tuple[nn.Module, nn.Module]:
    """The module of a built network and that of the reference, with the same weights."""
    with seeded():
        ours = OPERATIONS[name](channels, channels, stride, True, Layers(1, causal)).double()
    theirs = operation(name, channels, stride, causal).double()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    return ours, theirs


@few
@given(
    name=st.sampled_from(NAMES),
    stride=st.sampled_from([1, 2]),
    causal=st.booleans(),
    length=st.integers(2, 40),
    channels=st.integers(2, 4),
)
def test_each_operation_is_that_of_the_reference(
    name: str, stride: int, causal: bool, length: int, channels: int
) -> None:
    ours, theirs = both(name, channels, stride, causal)
    x = torch.randn(3, channels, length, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = theirs(x)
    assert expected.shape == (3, channels, -(-length // stride))
    assert torch.allclose(ours(x), expected, rtol=1e-11, atol=1e-11)


def last_that_matters(module: nn.Module, x: Tensor, position: int) -> int:
    """The last position of x on which a position of the output depends."""
    x = x.clone().requires_grad_()
    (module(x) + 0 * x.sum())[:, :, position].square().sum().backward()
    assert x.grad is not None
    touched = x.grad.abs().sum((0, 1)).nonzero().flatten().tolist()
    return max(touched, default=-1)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_causal_operation_depends_on_the_past_and_present_only(name: str, stride: int) -> None:
    for length in (12, 13):
        module = both(name, 4, stride, True)[0].eval()
        for weight in module.parameters():
            weight.data.abs_()  # no ReLU cuts anything off
        generator = torch.Generator().manual_seed(length)
        x = torch.rand(2, 4, length, dtype=torch.float64, generator=generator)
        x = x.sort(dim=2).values + 0.1  # the present is the maximum
        outputs = module(x)
        for position in range(outputs.shape[2]):
            now = stride * position
            other = x.clone()
            other[:, :, now + 1 :] = 100 * torch.rand_like(other[:, :, now + 1 :])
            same = module(other)[:, :, : position + 1], outputs[:, :, : position + 1]
            assert torch.allclose(*same, rtol=1e-12, atol=1e-12)
            assert last_that_matters(module, x, position) <= now
        if name != "none":
            reached = max(last_that_matters(module, x, position) for position in range(outputs.shape[2]))
            assert reached >= length - stride, "the causal module does read the present"


def test_an_operation_that_is_not_causal_reads_the_future() -> None:
    for name in ("max_pool_3", "avg_pool_3", "sep_conv_3", "dil_conv_3", "conv_3"):
        module = both(name, 4, 1, False)[0].eval()
        assert last_that_matters(module, torch.rand(2, 4, 12, dtype=torch.float64), 5) > 5
    assert (
        last_that_matters(both("skip_connect", 4, 2, False)[0].eval(), torch.rand(2, 4, 12).double(), 2) == 5
    )


GENOTYPE = Genotype(
    normal=[("sep_conv_5", 0), ("max_pool_3", 1), ("dil_conv_3", 2), ("avg_pool_7", 0)],
    normal_concat=[2, 3],
    reduce=[("skip_connect", 0), ("conv_3", 1), ("skip_connect", 2), ("sep_conv_3", 0)],
    reduce_concat=[2, 3],
)
SMALL: dict[str, Any] = {"channels": 4, "layers": 3, "num_classes": 3, "in_channels": 2}


def features(net: Any, x: Tensor) -> Tensor:
    """The output of the last cell, [N, C, L/4]."""
    before = previous = net.stem(x)
    for cell in net.cells:
        before, previous = previous, cell(before, previous)
    return previous


def test_the_cells_of_a_causal_network_are_causal() -> None:
    with seeded():
        net = build(GENOTYPE, causal=True, **SMALL).double().eval()
    x = torch.rand(2, 2, 17, dtype=torch.float64)
    whole = features(net, x)
    assert whole.shape[2] == 5
    for position in range(5):
        other = x.clone()
        other[:, :, 4 * position + 1 :] = 7.0
        same = features(net, other)[:, :, : position + 1], whole[:, :, : position + 1]
        assert torch.allclose(*same, rtol=1e-12, atol=1e-12)


def test_the_layers_are_those_of_one_dimension() -> None:
    for causal in (False, True):
        net = build(GENOTYPE, causal=causal, auxiliary=True, **SMALL)
        sorts = {type(module) for module in net.modules()}
        assert not any(sort.__name__.endswith("2d") for sort in sorts)
        assert nn.BatchNorm1d in sorts and net.dimensions == 1
        convolutions = [
            module for module in net.modules() if hasattr(module, "dilation") and hasattr(module, "weight")
        ]
        assert all(module.weight.dim() == 3 for module in convolutions) and len(convolutions) > 20
        conv = net.cells[0].edges["0_2"]["sep_conv_5"].dw1
        assert isinstance(conv, nn.Conv1d)
        logits = net.eval()(torch.zeros(2, 2, 40))
        assert logits.shape == (2, 3)
    plain = nn.Conv1d(4, 4, 5, padding=2, groups=4, bias=False)
    plain.load_state_dict(conv.state_dict())


def test_weights_of_a_search_load_into_layers_of_pytorch() -> None:
    state = pydarts.Supernet("darts-1d", channels=4, layers=3, image_size=9).state_dict()
    name = "cells.0.edges.0_2.sep_conv_3.dw1.weight"
    assert state[name].shape == (4, 1, 3)
    nn.Conv1d(4, 4, 3, groups=4, bias=False).load_state_dict({"weight": state[name]})


def test_dimensions_and_causality_are_those_of_the_genotype_or_the_space() -> None:
    assert build(GENOTYPE, **SMALL).arguments.get("dimensions") == 1
    skips = [("skip_connect", 0), ("none", 1)]
    either = Genotype(normal=skips, normal_concat=[2], reduce=skips, reduce_concat=[2])
    assert build(either, **SMALL).dimensions == 2
    assert build(either, dimensions=1, **SMALL)(torch.zeros(2, 2, 9)).shape == (2, 3)
    with pytest.raises(pydarts.GenotypeError, match="dimensions"):
        build(GENOTYPE, dimensions=2, **SMALL)
    with pytest.raises(pydarts.GenotypeError, match="dimensions"):
        build(pydarts.genotypes.DARTS_V2, dimensions=1)
    with pytest.raises(pydarts.ConfigError, match="causal"):
        build(pydarts.genotypes.DARTS_V2, causal=True)
    with pytest.raises(pydarts.ConfigError, match="dimensions"):
        build(either, dimensions=3)


def sequences(n: int = 32, length: int = 13) -> tuple[Any, Any]:
    generator = np.random.default_rng(1)
    return generator.normal(size=(n, 2, length)).astype("float32"), np.arange(n) % 3


@pytest.fixture(scope="module")
def searched() -> pydarts.SearchResult:
    space = Space(name="darts-1d", nodes=2, causal=True)
    return pydarts.search(
        sequences(),
        pydarts.SearchConfig(
            space=space, channels=4, layers=3, epochs=1, batch_size=8, device="cpu", progress=False
        ),
    )


def test_a_result_is_built_inherited_and_trained(searched: pydarts.SearchResult) -> None:
    net = build(searched, **SMALL)
    assert net.arguments["causal"] and net.arguments["dimensions"] == 1
    inherited = searched.inherit(net)
    assert {"stem.conv.weight", "classifier.weight"} <= set(inherited.copied)
    edges = [
        name for name in net.state_dict() if ".edges." in name and name.endswith(("dw1.weight", "pw1.weight"))
    ]
    assert set(edges) <= set(inherited.copied)
    assert set(inherited.left.values()) <= {"the search has no such tensor"}
    quick = pydarts.TrainConfig(epochs=1, batch_size=8, device="cpu", progress=False)
    result = pydarts.train(net, sequences(), quick)
    assert result.status == "complete" and result.network is net
    with pytest.raises(pydarts.DataError):
        pydarts.train(net, (torch.zeros(16, 2, 4, 4), torch.arange(16) % 3), quick)
    with pytest.raises(pydarts.ConfigError):
        pydarts.train(searched, sequences(), quick)  # build first: the genotype does not say causal
    trained = pydarts.train(GENOTYPE, sequences(), quick)
    assert trained.network.arguments["dimensions"] == 1


def test_a_trained_network_that_inherits_everything_computes_what_the_search_computed(
    searched: pydarts.SearchResult,
) -> None:
    """One candidate per edge: the supernet is the network, apart from the affine parameters of its norms."""
    names = ["sep_conv_3", "max_pool_3", "avg_pool_3", "skip_connect", "dil_conv_3"]
    space = Space(
        operations={"normal": [[name] for name in names], "reduce": [[name] for name in names[::-1]]},
        nodes=2,
        keep="every_edge",
        causal=True,
    )
    for length in (12, 13):
        config = pydarts.SearchConfig(
            space=space, channels=4, layers=3, image_size=length, in_channels=2, num_classes=3
        )
        net = pydarts.Supernet(config=config, precision="float64")
        genotype = pydarts.derive(net.alphas, space)
        network = build(genotype, causal=True, pool_norm=True, stem="cifar", **SMALL).double()
        network.load_state_dict(net.state_dict(), strict=False)
        x = torch.randn(4, 2, length, dtype=torch.float64)
        assert torch.allclose(network.train()(x), net.logits(x), rtol=1e-9, atol=1e-9)


def test_cost_counts_one_dimension() -> None:
    net = build(GENOTYPE, **SMALL)
    found = pydarts.cost(net, image_size=20)
    assert found["weights"] == sum(weight.numel() for weight in net.parameters())
    assert found == pydarts.cost(net, image_size=(1, 20))
    assert pydarts.cost(net, image_size=40)["multiply_adds"] < 2.1 * found["multiply_adds"]
    # The stem: 3·4 channels from 2 with kernels of 3, at 20 positions.
    assert found["multiply_adds"] > 12 * 2 * 3 * 20
    with pytest.raises(pydarts.ConfigError, match="image_size"):
        pydarts.cost(net, image_size=(3, 20))


@pytest.mark.parametrize("causal", [False, True])
def test_files(tmp_path: Path, causal: bool) -> None:
    with seeded():
        net = build(GENOTYPE, causal=causal, **SMALL).eval()
    x = torch.randn(3, 2, 21)
    expected = net(x)
    pydarts.export(net, tmp_path / "net.safetensors")
    again = pydarts.load_network(tmp_path / "net.safetensors").eval()
    assert again.arguments == net.arguments and torch.equal(again(x), expected)
    pydarts.export(net, tmp_path / "net.pt2", image_size=21)
    graph = torch.export.load(tmp_path / "net.pt2").module()
    assert torch.allclose(graph(x), expected, atol=1e-5)
    runtime = pytest.importorskip("onnxruntime")
    pydarts.export(net, tmp_path / "net.onnx", image_size=21)
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    (logits,) = session.run(None, {"x": x.numpy()})
    assert np.allclose(logits, expected.detach().numpy(), atol=1e-4)


def test_search_many_and_compare(searched: pydarts.SearchResult) -> None:
    short = pydarts.TrainConfig(epochs=1, batch_size=8, device="cpu", progress=False)
    config = searched.config.replace(num_classes=None, in_channels=None, image_size=None)
    table = pydarts.search_many(sequences(), config, seeds=1, select=short, random=1, workers=0)
    assert [row.status for row in table] == ["complete"] * 2, [row.error for row in table]
    narrow = {"channels": 2, "layers": 3}
    table = pydarts.compare(
        {"given": GENOTYPE, "found": searched}, sequences(), short, network=narrow, workers=0
    )
    assert [row.status for row in table] == ["complete"] * 2, [row.error for row in table]
    with pytest.raises(pydarts.ConfigError):
        pydarts.compare({"a": GENOTYPE, "b": pydarts.genotypes.DARTS_V2}, sequences(), short, workers=0)
