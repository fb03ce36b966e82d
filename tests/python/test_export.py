"""Networks as files for other tools: the same numbers in each, whole or not there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from pydarts import genotypes
from pydarts.nn import _export
from torch import Tensor

# Float32 through kernels of another library or another graph, on any processor.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}

# Every convolutional operation, in cells of both kinds.
CELL = pydarts.Genotype(
    normal=[
        ("sep_conv_3x3", 0), ("sep_conv_5x5", 1), ("max_pool_3x3", 0), ("avg_pool_3x3", 2),
        ("skip_connect", 3), ("dil_conv_3x3", 1), ("conv_7x1_1x7", 4), ("conv_1x1", 0),
    ],
    normal_concat=[3, 5],
    reduce=[
        ("skip_connect", 1), ("max_pool_3x3", 0), ("dil_conv_5x5", 0), ("avg_pool_3x3", 1),
        ("sep_conv_7x7", 0), ("conv_3x3", 1), ("conv_7x1_1x7", 1), ("skip_connect", 4),
    ],
    reduce_concat=[2, 4, 5],
)  # fmt: skip


def of_images(**arguments: Any) -> pydarts.nn.ConvolutionalNetwork:
    """A network after some training, so that its running statistics are not what they were."""
    torch.manual_seed(0)
    net = pydarts.build(
        CELL, **({"channels": 4, "layers": 1, "num_classes": 5, "in_channels": 2} | arguments)
    )
    for _ in range(3):
        net(torch.randn(4, 2, 33, 35))
    return net


def of_words() -> pydarts.nn.LanguageModel:
    torch.manual_seed(0)
    net = pydarts.build(genotypes.DARTS_RNN_V2, vocabulary=11, units=6)
    with torch.no_grad():
        net.cell.w0.mul_(20)
    return net


def run_onnx(path: Path, *inputs: Tensor) -> list[Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    found = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
    return [torch.from_numpy(np.asarray(value)) for value in found]


@pytest.mark.parametrize(
    ("arguments", "size", "sides"),
    [({"auxiliary": True, "layers": 3}, (9, 14), (9, 14)), ({"stem": "imagenet"}, None, (224, 224))],
)
def test_onnx_gives_the_images_logits_for_any_batch(
    tmp_path: Path, arguments: Any, size: Any, sides: tuple[int, int]
) -> None:
    net = of_images(**arguments)
    pydarts.export(net, tmp_path / "net.onnx", image_size=size)
    assert net.training and all(weight.requires_grad for weight in net.parameters())
    for batch in (1, 2, 5):
        x = torch.randn(batch, 2, *sides)
        (logits,) = run_onnx(tmp_path / "net.onnx", x)
        torch.testing.assert_close(logits, net.eval()(x), **CLOSE)


def test_onnx_reads_words_on_from_a_state(tmp_path: Path) -> None:
    import onnx

    net = of_words()
    pydarts.export(net, tmp_path / "net.onnx")
    text, hidden = torch.randint(11, (4, 3)), torch.zeros(3, 6)
    logits, states = net.eval()(text)
    for token in range(4):  # one word after the other, as a loop of the user's would
        found, after = run_onnx(tmp_path / "net.onnx", text[token : token + 1], hidden)
        torch.testing.assert_close(found[0], logits[token], **CLOSE)
        torch.testing.assert_close(after[0], states[token], **CLOSE)
        hidden = after[-1]
    graph = onnx.load(tmp_path / "net.onnx").graph
    shapes = {
        value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "tokens": [1, "batch"], "hidden": ["batch", 6], "logits": [1, "batch", 11], "states": [1, "batch", 6],
    }  # fmt: skip


def test_a_graph_of_torch_export_gives_the_same_for_any_batch(tmp_path: Path) -> None:
    net, words = of_images(), of_words()
    pydarts.export(net, tmp_path / "net.pt2")
    pydarts.export(words, tmp_path / "words.pt2", tokens=3)
    images, segments = (torch.export.load(tmp_path / f"{name}.pt2").module() for name in ("net", "words"))
    for batch in (1, 2, 5):
        x = torch.randn(batch, 2, 32, 32)
        torch.testing.assert_close(images(x), net.eval()(x), **CLOSE)
        text, hidden = torch.randint(11, (3, batch)), torch.randn(batch, 6)
        found = segments(text, hidden)
        for mine, theirs in zip(found, words.eval()(text, hidden), strict=True):
            torch.testing.assert_close(mine, theirs, **CLOSE)
    with pytest.raises(Exception, match="32"):
        images(torch.zeros(1, 2, 33, 32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_safetensors_brings_the_network_back(tmp_path: Path, dtype: torch.dtype) -> None:
    x = torch.randn(2, 2, 33, 35, dtype=dtype)
    for net in (of_images(auxiliary=True, drop_path=0.2).to(dtype), of_words().to(dtype)):
        pydarts.export(net, tmp_path / "net.safetensors")
        again = pydarts.load_network(tmp_path / "net.safetensors")
        assert again.genotype == net.genotype and again.arguments == net.arguments and again.training
        assert list(again.state_dict()) == list(net.state_dict())
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in net.state_dict().items())
        if isinstance(net, pydarts.nn.ConvolutionalNetwork):
            assert torch.equal(again.eval()(x), net.eval()(x))


def test_a_drop_path_that_was_set_later_is_in_the_file(tmp_path: Path) -> None:
    net = of_images(drop_path=0.1)
    net.drop_path = 0.3
    pydarts.export(net, tmp_path / "net.safetensors")
    again = pydarts.load_network(tmp_path / "net.safetensors")
    assert isinstance(again, pydarts.nn.ConvolutionalNetwork) and again.drop_path == 0.3


def test_a_failed_export_leaves_the_file_that_stood_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.pt2"
    path.write_text("the older one")

    def fail(*_: Any) -> Any:
        raise RuntimeError("no graph")

    monkeypatch.setattr(_export, "_graph", fail)
    with pytest.raises(RuntimeError, match="no graph"):
        pydarts.export(of_words(), path)
    assert path.read_text() == "the older one" and [file.name for file in tmp_path.iterdir()] == ["net.pt2"]


def test_onnx_without_its_packages_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match="pip install onnx onnxscript"):
        pydarts.export(of_words(), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "changes", "kind", "words"),
    [
        (
            "net.pth",
            {},
            pydarts.ConfigError,
            r"net\.pth.*\.onnx.*\.pt2.*\.safetensors",
        ),
        ("net", {}, pydarts.ConfigError, r"'net'.*\.onnx"),
        ("missing/net.onnx", {}, FileNotFoundError, "missing"),
        ("net.safetensors", {"image_size": 8}, pydarts.ConfigError, "image_size"),
        ("net.onnx", {"tokens": 4}, pydarts.ConfigError, "tokens"),
        ("net.pt2", {"image_size": -1}, pydarts.ConfigError, "image_size.*-1"),
        ("net.pt2", {"network": of_words(), "tokens": 0}, pydarts.ConfigError, "tokens.*0"),
        ("net.pt2", {"network": of_words(), "image_size": 8}, pydarts.ConfigError, "image_size"),
        ("net.pt2", {"network": torch.nn.ReLU()}, TypeError, r"ReLU.*example"),
        ("net.pt2", {"network": torch.compile(of_words())}, TypeError, r"torch\.compile"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_named(
    tmp_path: Path, name: str, changes: dict[str, Any], kind: type[Exception], words: str
) -> None:
    arguments: dict[str, Any] = {"network": of_images()} | changes
    with pytest.raises(kind, match=words):
        pydarts.export(path=tmp_path / name, **arguments)
    assert not list(tmp_path.iterdir())


# Inductor, the default, takes one to two minutes for such a network on two cores, most of them in the C++
# compiler. aot_eager traces, decomposes and differentiates the same graph and leaves out that last step.
BACKEND = "aot_eager"


@pytest.mark.parametrize("kind", ["images", "words"])
def test_a_compiled_network_gives_the_same_values_and_gradients(kind: str) -> None:
    net = of_images(auxiliary=True) if kind == "images" else of_words()
    inputs = {
        "images": (torch.randn(2, 2, 33, 35),),
        "words": (torch.randint(11, (2, 3)), torch.randn(3, 6)),
    }[kind]
    compiled = torch.compile(net, backend=BACKEND, fullgraph=True)

    def values_and_gradients(run: Any) -> list[Tensor]:
        torch.manual_seed(0)  # dropout
        both = run(*inputs)
        # Node 3 of the reduction cell goes nowhere: its weights are in no graph.
        loss, weights = sum(value.logsumexp(-1).sum() for value in both), list(net.parameters())
        return [*both, *torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)]

    expected = values_and_gradients(net)
    for mine, theirs in zip(values_and_gradients(compiled), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    net.eval()
    found, expected = compiled(*inputs), net(*inputs)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_a_drop_path_that_rises_from_epoch_to_epoch_is_compiled_once() -> None:
    from torch._dynamo.testing import CompileCounter

    net = pydarts.build(CELL, channels=2, layers=1, in_channels=2)
    counter = CompileCounter()
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    x = torch.randn(4, 2, 8, 8)
    for share in (0.1, 0.15, 0.2):
        net.drop_path = share
        torch.manual_seed(0)
        found = compiled(x)
        torch.manual_seed(0)
        torch.testing.assert_close(found, net(x))
    assert counter.frame_count == 1
