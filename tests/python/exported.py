"""What the tests of exports share: a network of a genotype written to a file and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch


def assert_exported(genotype: pydarts.Genotype, path: Path) -> None:
    """The file of a small network computes what the network computes."""
    ending, words = path.suffix[1:], genotype.kind == "recurrent"
    sizes: dict[str, Any] = {"vocabulary": 11, "units": 4} if words else {"layers": 3, "channels": 2}
    net = pydarts.build(genotype, **sizes).eval()
    inputs = (torch.randint(11, (1, 3)), torch.randn(3, 4)) if words else (torch.randn(3, 3, 33, 31),)
    if ending == "onnx":
        runtime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    pydarts.export(net, path, image_size=None if words or ending == "safetensors" else (33, 31))
    if ending == "onnx":
        session = runtime.InferenceSession(path.read_bytes())
        names = ("tokens", "hidden") if words else ("x",)
        values = {key: value.numpy() for key, value in zip(names, inputs, strict=True)}
        # An input that has no effect may be absent from the graph.
        used = {node.name for node in session.get_inputs()}
        found = torch.from_numpy(session.run(None, {key: values[key] for key in values if key in used})[0])
    elif ending == "pt2":
        found = torch.export.load(path).module()(*inputs)
    else:
        again = pydarts.load_network(path).eval()
        assert again.genotype == genotype
        found = again(*inputs)
    wanted = net(*inputs)
    first, second = (value[0] if isinstance(value, tuple) else value for value in (found, wanted))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)
