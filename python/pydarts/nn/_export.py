"""`export`: save a network for other tools."""

from __future__ import annotations

import copy
import inspect
import io
import json
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as trees

from .. import _core
from .._values.checks import flag, whole
from .._values.files import user_path, write_atomically
from . import _examples
from ._files import network_bytes
from ._images import ImageNetwork, Normalization
from ._language import LanguageModel
from ._module import arguments_of, check_module

ENDINGS = {
    ".onnx": "for ONNX runtimes",
    ".pt2": "for torch.export.load",
    ".safetensors": "for pydarts.load_network",
}


def export(
    network: nn.Module,
    path: str | os.PathLike[str],
    *,
    image_size: int | Sequence[int] | None = None,
    tokens: int | None = None,
    example: Any = None,
    opset: int | None = None,
    normalize: bool = True,
) -> None:
    """Write a network to a file in the format of its ending; an existing file is replaced atomically.

    `.safetensors` holds weights, running statistics, genotype and arguments: `load_network` restores the
    network, in training mode, for inputs of any size. `.onnx` and `.pt2` hold the network in evaluation mode
    as a graph, for any batch size. A network of images maps `x` [batch, channels, height, width] to `logits`
    [batch, classes], one of sequences `x` [batch, channels, length]. A language model maps `tokens`, int64
    [tokens, batch], and `hidden` [batch, units] to `logits` [tokens, batch, vocabulary] and `states` [tokens,
    batch, units]; the last state is the `hidden` of the next segment, and a text begins with zeros. The
    network does not change.

    Any other `torch.nn.Module` is written in the same formats. `.safetensors` holds its weights and buffers,
    but not its code: `load_network(path, network)` copies them into an instance. Graphs are made from
    `example`. The first dimension of its first tensor is the batch size; every tensor with an equal first
    dimension accepts any batch size. Their inputs have the names of the arguments of `forward`.

    Networks that `train` trained on arrays know the mean and standard deviation per channel of their data
    (`network.normalization`). Every file records them, and a graph applies them: its `x` are images with
    values from 0 to 1, or sequences as they were in the arrays. Without them, or with `normalize=False`,
    prepare `x` yourself, as in the training.

    Args:
        network: a network that `build` returned, or any other module without choices, trained or not.
        path: ends in `.onnx`, `.pt2` or `.safetensors`.
        image_size: side in pixels or (height, width) of a graph's images, or the length of its sequences;
            None: the size that the network was trained on; without a training, 224 with the stem "imagenet",
            else 32.
        tokens: length of the segments of a language model's graph; None: 1.
        example: inputs of a module that `build` did not make, for its graph: a tensor, or a tuple or
            dictionary of tensors, which are passed as `train` passes them.
        opset: version of ONNX's operators in an `.onnx` file, at least 18; None: the version that
            PyTorch recommends.
        normalize: whether the graph normalises its inputs, if the network knows how.

    Raises:
        TypeError: not a module; or `example` is missing for the graph of a module that `build` did not make.
        ConfigError: a module that contains a choice; an unknown ending, a size or opset that does not apply
            to the network or ending, or an opset that PyTorch cannot write.
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
    built = isinstance(network, (ImageNetwork, LanguageModel))
    if not built:
        check_module(network, "export")
    path = user_path(path)
    if path.suffix not in ENDINGS:
        known = ", ".join(f"{ending} ({purpose})" for ending, purpose in ENDINGS.items())
        raise _core.ConfigError(f"cannot export to {path.name!r}: the name must end in one of {known}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot export: no folder {os.fspath(path.parent)!r}")
    normalize = flag("normalize", normalize)
    if opset is not None:
        if path.suffix != ".onnx":
            raise _core.ConfigError(f"opset applies to .onnx files; leave it out for {path.suffix}")
        opset = whole("opset", opset, 18)
    if path.suffix == ".safetensors":
        if image_size is not None or tokens is not None or example is not None:
            raise _core.ConfigError(
                "a .safetensors file does not depend on sizes; leave out image_size, tokens and example"
            )
        write_atomically(path, network_bytes(network))
        return
    _examples.check_sizes(network, "export", example, image_size=image_size, tokens=tokens)
    still = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    if isinstance(still, (ImageNetwork, LanguageModel)):
        # The compiler would treat a batch of 1 as a constant.
        inputs = _examples.example(still, image_size, tokens, batch=2)
    else:
        inputs = _several(example)
    about: dict[str, str] = {}
    if isinstance(still, ImageNetwork) and still.normalization is not None:
        about = {"normalized": json.dumps(normalize)}
        about |= {name: json.dumps(values) for name, values in still.normalization._asdict().items()}
        still = Normalized(still, still.normalization) if normalize else still
    onnx = path.suffix == ".onnx"
    write_atomically(path, _onnx(still, inputs, about, opset) if onnx else _pt2(still, inputs, about))


class Normalized(nn.Module):
    """A network with the normalisation of its inputs."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: ImageNetwork, normalization: Normalization) -> None:
        super().__init__()
        self.network = network
        dtype = next(network.parameters()).dtype
        for name, values in normalization._asdict().items():
            shape = (-1, *(1,) * network.dimensions)
            self.register_buffer(name, torch.tensor(values, dtype=dtype).view(shape))

    def forward(self, x: Tensor) -> Any:
        return self.network((x - self.mean) / self.std)


def _pt2(network: nn.Module, inputs: Any, about: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(_graph(network, inputs), buffer, extra_files=about)
    return buffer.getvalue()


def _onnx(network: nn.Module, inputs: Any, about: dict[str, str], opset: int | None) -> bytes:
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "export to .onnx requires onnx and onnxscript; install them with: pip install onnx onnxscript"
        ) from error
    outputs = None
    if isinstance(network, (ImageNetwork, LanguageModel, Normalized)):
        outputs = ["logits", "states"] if isinstance(network, LanguageModel) else ["logits"]
    program = torch.onnx.export(
        _graph(network, inputs),
        dynamo=True,
        opset_version=opset,
        # The graph knows its shapes already; these are names, one for all dimensions that are equal.
        dynamic_shapes=_shapes(network, inputs, "batch"),
        output_names=outputs,
        verbose=False,
    )
    assert program is not None
    (written,) = (part.version for part in program.model_proto.opset_import if not part.domain)
    if opset is not None and written != opset:
        raise _core.ConfigError(f"opset is {opset}; this PyTorch can write {written}")
    model = program.model_proto
    for name, value in about.items():
        model.metadata_props.add(key=name, value=value)
    data: bytes = model.SerializeToString()
    return data


def _graph(network: nn.Module, inputs: Any) -> torch.export.ExportedProgram:
    args, kwargs = arguments_of(network, inputs)
    shapes = _shapes(network, inputs, torch.export.Dim("batch"))
    return torch.export.export(network, args, kwargs, dynamic_shapes=shapes)


def _shapes(network: nn.Module, inputs: Any, batch: Any) -> dict[str, Any]:
    """Return the dimensions of any size, which are called `batch`, by arguments of `forward`."""
    if isinstance(network, LanguageModel):
        hidden = None if isinstance(batch, str) else {0: batch}  # ONNX needs the name once
        return {"tokens": {1: batch}, "hidden": hidden}
    args, kwargs = arguments_of(network, inputs)
    given = inspect.signature(network.forward).bind(*args, **kwargs).arguments
    count = _count(inputs)

    def dimensions(value: Any) -> dict[int, Any] | None:
        return {0: batch} if isinstance(value, Tensor) and value.ndim and len(value) == count else None

    found: dict[str, Any] = trees.tree_map(dimensions, dict(given))
    return found


def _count(inputs: Any) -> int:
    """Return the first dimension of the first tensor."""
    first = next((value for value in trees.tree_leaves(inputs) if isinstance(value, Tensor)), None)
    if first is None or first.ndim == 0:
        raise _core.ConfigError("`example` must hold a tensor whose first dimension counts the examples")
    return len(first)


def _several(example: Any) -> Any:
    """Return inputs on the CPU with two or more examples: one would be taken for a constant."""
    one = _count(example) == 1

    def prepared(value: Tensor) -> Tensor:
        here = value.detach().cpu()
        return torch.cat([here, here]) if one and here.ndim and len(here) == 1 else here

    return trees.tree_map_only(Tensor, prepared, example)
