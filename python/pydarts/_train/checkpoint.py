"""Checkpoints of a training: one safetensors file per epoch, of which the last two are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import _core
from .._values.files import read_tensors, remove_leftovers, write_tensors
from .._values.genotype import Genotype
from .renamed import renamed

FORMAT, _OLDER = "pydarts-training-2", "pydarts-training-1"
BATCHES = 2
"""Version of the rule for order and augmentation of the batches of arrays; version 1 stored none."""
KEPT = 2  # if writing one fails, the other remains
_NAME = re.compile(r"training-(\d+)\.safetensors")


def write(folder: Path, epochs: int, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write the checkpoint after `epochs` epochs, and remove the oldest."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder, ".training-*.part", locked=True)  # as src/checkpoint.rs does
    write_tensors(
        folder / f"training-{epochs:06}.safetensors", tensors, {"format": FORMAT, "batches": BATCHES, **about}
    )
    for path in _paths(folder)[:-KEPT]:
        path.unlink(missing_ok=True)


def any_in(folder: Path) -> bool:
    """Return whether a folder holds a checkpoint."""
    return bool(_paths(folder))


def newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the tensors and plain data of the newest checkpoint in a folder; None if there is none.

    Raises:
        CheckpointError: the file is truncated or malformed; the message names it.
    """
    paths = _paths(folder)
    if not paths:
        return None
    tensors, about = read_tensors(paths[-1], FORMAT, _OLDER)
    del about["format"]
    about["config"] = renamed(about.get("config", {}))
    if about.get("genotype", 0) is None:  # of a module that pydarts did not build
        return tensors, about
    try:
        # Version 1 wrote the edges of all nodes in one list.
        about["genotype"] = Genotype.from_dict(about["genotype"]).to_dict()
    except (KeyError, _core.GenotypeError) as error:
        raise _core.CheckpointError(f"{paths[-1]} holds no genotype: {error}") from error
    return tensors, about


def _paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]
