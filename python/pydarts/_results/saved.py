"""Reading the files of a saved `SearchResult`, with checks."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .._values.config import SearchConfig
from .._values.files import about_in, arrays_in
from .._values.genotype import Genotype
from .._values.words import shown
from .decisions import decisions_from
from .environment import texts_from
from .tables import EDGES, AlphaTable, from_plain

FORMAT = 2  # 1 has no checksums
_STATUSES = ("complete", "interrupted", "failed")


def about_from(data: bytes) -> dict[str, Any]:
    """Return the content of `result.json`."""
    about = about_in(data, FORMAT)
    if about.get("status") not in _STATUSES:
        raise ValueError(f"status must be one of {', '.join(_STATUSES)}, got {shown(about.get('status'))}")
    return {
        "status": about["status"],
        "loss": about.get("loss"),
        "class_counts": _counts(about.get("class_counts")),
        "checksums": _checksums(about),
        "threads": int(about.get("threads", 1)),
        "environment": texts_from("environment", about),
        "fingerprint": texts_from("fingerprint", about),
        "architecture": about.get("architecture"),
        "decisions": decisions_from(about.get("decisions", [])),
        "tables": from_plain(about.get("tables", {})),
    }


def _checksums(about: Mapping[str, Any]) -> dict[str, Any]:
    found = about.get("checksums", {} if about["format"] == 1 else None)
    if not isinstance(found, dict):
        raise ValueError(f"checksums must be an object, got {shown(found)}")
    return found


def _counts(counts: Any) -> tuple[int, ...] | None:
    """Return the examples per class; files of earlier versions have none."""
    if counts is None:
        return None
    if not (
        isinstance(counts, list) and counts and all(type(n) is int and n >= 0 for n in counts) and any(counts)
    ):
        raise ValueError("class_counts must be a list of whole numbers, not all of them 0")
    return tuple(counts)


def genotype_from(data: bytes, config: SearchConfig) -> Genotype | None:
    """Return the content of `genotype.json`: None if α did not belong to cells."""
    values, space = json.loads(data), config.resolved_space
    if values is None:
        return None
    for table in space.tables:
        edges, kept = values[table], space.edges_kept or 1
        # Version 1 wrote one list, which the space splits into nodes.
        if kept and edges and edges[0] and isinstance(edges[0][0], str):
            values[table] = [edges[first : first + kept] for first in range(0, len(edges), kept)]
    genotype = Genotype.from_dict(values)
    genotype.validate(space)
    return genotype


def alphas_from(
    data: bytes, tables: Mapping[str, AlphaTable], edges: bool = False
) -> dict[str, npt.NDArray[Any]]:
    """Return the content of `alphas.npz`; `edges`: whether it holds logits of edges too."""
    shapes = {name: (len(table.rows), table.columns) for name, table in tables.items()}
    if edges:
        shapes |= {name + EDGES: (len(table.rows), 1) for name, table in tables.items()}
    arrays = arrays_in(io.BytesIO(data))
    arrays.setdefault("epochs", np.zeros(0, np.int64))  # earlier versions have none
    if sorted(arrays) != sorted([*shapes, "epochs", "steps"]):
        raise ValueError(f"holds {', '.join(sorted(arrays))}; the search has {', '.join(shapes)}")
    for name in ("steps", "epochs"):
        if arrays[name].ndim != 1 or arrays[name].dtype.kind not in "iu":
            raise ValueError(f"{name} are {arrays[name].dtype} of shape {list(arrays[name].shape)}")
    points = len(arrays["steps"])
    if len(arrays["epochs"]) not in (0, points):
        raise ValueError(f"{len(arrays['epochs'])} epochs and {points} steps")
    for name, of_point in shapes.items():
        shape = points, *of_point
        if arrays[name].shape != shape or arrays[name].dtype.kind != "f":
            found = f"{arrays[name].dtype} of shape {list(arrays[name].shape)}"
            raise ValueError(f"{name} is {found}, expected floating-point numbers of shape {list(shape)}")
    return arrays
