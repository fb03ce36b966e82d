"""Networks of genotypes are traced by torch.fx and torch.jit, with the same bits, for any size of input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
import torch.fx
from drawn import convolutional, recurrent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import genotypes


@settings(max_examples=10, deadline=None)
@given(
    genotype=convolutional(),
    layers=st.integers(1, 4),
    sizes=st.tuples(st.integers(9, 20), st.integers(9, 20)),
)
def test_any_network_of_images_is_traced(
    genotype: pydarts.Genotype, layers: int, sizes: tuple[int, int]
) -> None:
    net = pydarts.build(genotype, channels=2, layers=layers).eval()
    traced = torch.fx.symbolic_trace(net)
    for size in (sizes, (16, 17)):  # odd and even sides through the same graph
        x = torch.randn(2, 3, *size)
        assert torch.equal(traced(x), net(x))


@pytest.mark.parametrize("stem", ["cifar", "imagenet", "small"])
def test_training_mode_is_traced_with_its_auxiliary_head(stem: Any) -> None:
    net = pydarts.build(genotypes.DARTS_V1, channels=2, layers=3, stem=stem, auxiliary=True)
    side = 224 if stem == "imagenet" else 32
    traced = torch.fx.symbolic_trace(net)
    x = torch.randn(2, 3, side, side)
    for found, wanted in zip(traced(x), net(x), strict=True):
        assert torch.equal(found, wanted)
    with pytest.raises(pydarts.DataError):
        traced(x[:, :, : side // 4])


def test_dropped_paths_are_part_of_the_graph() -> None:
    net = pydarts.build(genotypes.DARTS_V2, channels=2, layers=3, drop_path=0.4)
    traced = torch.fx.symbolic_trace(net)
    x = torch.randn(8, 3, 8, 8)
    outputs = []
    for module in (traced, net, traced):
        torch.manual_seed(len(outputs) // 2)
        outputs.append(module(x))
    assert torch.equal(outputs[0], outputs[1]) and not torch.equal(outputs[0], outputs[2])


@settings(max_examples=5, deadline=None)
@given(genotype=recurrent(), tokens=st.integers(1, 6))
def test_any_language_model_is_traced(genotype: pydarts.Genotype, tokens: int) -> None:
    net = pydarts.build(genotype, vocabulary=11, units=4).eval()
    traced = torch.fx.symbolic_trace(net)
    inputs = (torch.randint(11, (tokens, 3)), torch.randn(3, 4))
    for found, wanted in zip(traced(*inputs), net(*inputs), strict=True):
        assert torch.equal(found, wanted)


def test_networks_are_traced_by_example() -> None:
    net = pydarts.build(genotypes.DARTS_V2, channels=2, layers=3).eval()
    traced = torch.jit.trace(net, torch.randn(2, 3, 9, 9))
    x = torch.randn(5, 3, 9, 9)
    assert torch.equal(traced(x), net(x))


@pytest.mark.parametrize("opset", [18, 20, 21, None])
def test_a_graph_has_the_opset_that_was_chosen(opset: int | None, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    path = tmp_path / "net.onnx"
    pydarts.export(pydarts.build(genotypes.DARTS_V2, channels=2, layers=3), path, image_size=8, opset=opset)
    (written,) = (part.version for part in onnx.load(path).opset_import if not part.domain)
    assert written == opset or (opset is None and written >= 18)


@pytest.mark.parametrize(
    ("ending", "opset"),
    [("onnx", 17), ("onnx", "20"), ("onnx", True), ("onnx", 10**6), ("pt2", 20), ("safetensors", 20)],
)
def test_another_opset_is_refused(ending: str, opset: Any, tmp_path: Path) -> None:
    if ending == "onnx":
        pytest.importorskip("onnxscript")
    net = pydarts.build(genotypes.DARTS_V2, channels=2, layers=1)
    with pytest.raises(pydarts.ConfigError, match="opset"):
        pydarts.export(net, tmp_path / f"net.{ending}", opset=opset)
    assert not list(tmp_path.iterdir())
