"""Checkpoints of a training: one safetensors file an epoch, the last two kept."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from .. import _core
from .._files import write_atomically

FORMAT = "pydarts-training-1"
KEPT = 2  # should the disk fail under one, the other is there
_NAME = re.compile(r"training-(\d+)\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A training between two epochs."""

    about: dict[str, Any]
    """Plain data."""
    tensors: dict[str, Tensor]
    """On the CPU."""


def write(folder: Path, epochs: int, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write the checkpoint after so many epochs, and remove the oldest."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"pydarts": json.dumps({"format": FORMAT, **about})}
    write_atomically(folder / f"training-{epochs:06}.safetensors", safetensors.torch.save(plain, header))
    for path in _paths(folder)[:-KEPT]:
        path.unlink(missing_ok=True)


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint of a folder; None where there is none yet.

    Raises:
        CheckpointError: truncated or malformed; the message names the file.
    """
    paths = _paths(folder)
    return read(paths[-1]) if paths else None


def read(path: Path) -> Checkpoint:
    """A file that `write` wrote."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["pydarts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise _core.CheckpointError(
            f"{path} is truncated, malformed, or no checkpoint of a training: {error!r}; the one before it "
            "may be whole: remove this one"
        ) from error
    if not isinstance(about, dict) or about.pop("format", None) != FORMAT:
        raise _core.CheckpointError(f"{path} is not a checkpoint of this version's trainings ({FORMAT})")
    return Checkpoint(about, tensors)


def _paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]
