"""The machine and the versions of a run, kept in its result."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .. import _core
from .._values.words import shown


def environment(device: str, **more: str) -> dict[str, str]:
    """Return the device, the name of its processor, the values in `more`, and the versions.

    >>> list(environment("cpu", precision="float32"))
    ['device', 'processor', 'precision', 'pydarts', 'torch', 'numpy', 'python', 'system']
    """
    cuda = torch.device(device).type == "cuda"
    processor = torch.cuda.get_device_name(device) if cuda else _core.processor()
    return {"device": device, "processor": processor, **more, **versions()}


def versions() -> dict[str, str]:
    """Return the versions of pydarts and its dependencies by name.

    >>> versions()["torch"].startswith("2.11")
    True
    """
    return {
        "pydarts": _core.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
    }


def texts_from(name: str, about: Mapping[str, Any]) -> dict[str, str]:
    """Return a mapping of strings of a saved result, such as its environment; earlier versions wrote none.

    Raises:
        ValueError: the entry is not a mapping of strings.

    >>> texts_from("environment", {"environment": {"device": "cpu"}}), texts_from("environment", {})
    ({'device': 'cpu'}, {})
    """
    found = about.get(name) or {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ValueError(f"{name} must be an object of strings, got {shown(found)}")
    return found
