"""`export`: save a network for other tools."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Sequence

import torch
from torch import Tensor

from .. import _core
from .._values.checks import whole
from .._values.files import user_path, write_atomically
from ._build import Network
from ._examples import check_network, example
from ._files import network_bytes
from ._language import LanguageModel

ENDINGS = {
    ".onnx": "for ONNX runtimes",
    ".pt2": "for torch.export.load",
    ".safetensors": "for pydarts.load_network",
}


def export(
    network: Network,
    path: str | os.PathLike[str],
    *,
    image_size: int | Sequence[int] | None = None,
    tokens: int | None = None,
    opset: int | None = None,
) -> None:
    """Write a network to a file in the format of its ending; an existing file is replaced atomically.

    `.safetensors` holds weights, running statistics, genotype and arguments: `load_network` restores the
    network, in training mode, for inputs of any size. `.onnx` and `.pt2` hold the network in evaluation mode
    as a graph, for any batch size. A network of images maps `x` [batch, channels, height, width] to `logits`
    [batch, classes], one of sequences `x` [batch, channels, length]. A language model maps `tokens`, int64
    [tokens, batch], and `hidden` [batch, units] to `logits` [tokens, batch, vocabulary] and `states` [tokens,
    batch, units]; the last state is the `hidden` of the next segment, and a text begins with zeros. The
    network does not change.

    `x` is normalised as in the training: images scaled to [0, 1], minus the mean, divided by the standard
    deviation. No file holds these values; they are in the training's configuration, `result.config.mean` and
    `.std`, per channel.

    Args:
        network: a network that `build` returned, trained or not.
        path: ends in `.onnx`, `.pt2` or `.safetensors`.
        image_size: side in pixels or (height, width) of a graph's images, or the length of its sequences;
            None: 224 with the stem "imagenet", else 32.
        tokens: length of the segments of a language model's graph; None: 1.
        opset: version of ONNX's operators in an `.onnx` file, from 18; None: the one that PyTorch recommends.

    Raises:
        TypeError: not a network of `build`.
        ConfigError: an unknown ending, a size or opset that does not apply to the network or ending, or an
            opset that PyTorch cannot write.
        ImportError: `.onnx` without the packages onnx and onnxscript.
        FileNotFoundError: there is no such folder.

    >>> import tempfile
    >>> import pydarts
    >>> net = pydarts.build(pydarts.genotypes.DARTS_V2, channels=4, layers=2, num_classes=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pydarts.export(net, f"{folder}/net.safetensors")
    ...     again = pydarts.load_network(f"{folder}/net.safetensors")
    >>> again.genotype == net.genotype, again.arguments == net.arguments
    (True, True)
    """
    check_network(network, "export")
    path = user_path(path)
    if path.suffix not in ENDINGS:
        known = ", ".join(f"{ending} ({purpose})" for ending, purpose in ENDINGS.items())
        raise _core.ConfigError(f"cannot export to {path.name!r}: the name must end in one of {known}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no folder {os.fspath(path.parent)!r} to export to")
    if opset is not None:
        if path.suffix != ".onnx":
            raise _core.ConfigError(f"opset applies to .onnx files; leave it out for {path.suffix}")
        opset = whole("opset", opset, 18)
    if path.suffix == ".safetensors":
        if image_size is not None or tokens is not None:
            raise _core.ConfigError("a .safetensors file serves any size; leave out image_size and tokens")
        write_atomically(path, network_bytes(network))
        return
    still = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    # The compiler would treat a batch of 1 as a constant.
    inputs = example(still, image_size, tokens, batch=2)
    write_atomically(path, _onnx(still, inputs, opset) if path.suffix == ".onnx" else _pt2(still, inputs))


def _pt2(network: Network, inputs: tuple[Tensor, ...]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(_graph(network, inputs), buffer)
    return buffer.getvalue()


def _onnx(network: Network, inputs: tuple[Tensor, ...], opset: int | None) -> bytes:
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "export to .onnx requires onnx and onnxscript; install them with: pip install onnx onnxscript"
        ) from error
    language = isinstance(network, LanguageModel)
    program = torch.onnx.export(
        _graph(network, inputs),
        dynamo=True,
        opset_version=opset,
        # The graph knows its shapes already; these are names, one for all dimensions that are equal.
        dynamic_shapes={"tokens": {1: "batch"}, "hidden": None} if language else {"x": {0: "batch"}},
        output_names=["logits", "states"] if language else ["logits"],
        verbose=False,
    )
    assert program is not None
    (written,) = (part.version for part in program.model_proto.opset_import if not part.domain)
    if opset is not None and written != opset:
        raise _core.ConfigError(f"opset is {opset}; this PyTorch can write {written}")
    data: bytes = program.model_proto.SerializeToString()
    return data


def _graph(network: Network, inputs: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    language = isinstance(network, LanguageModel)
    shapes = {"tokens": {1: batch}, "hidden": {0: batch}} if language else {"x": {0: batch}}
    return torch.export.export(network, inputs, dynamic_shapes=shapes)
