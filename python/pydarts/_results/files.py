"""Writing a `SearchResult` to a folder, and reading it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import safetensors.torch

from .._values.config import SearchConfig
from .._values.files import about_of, checksum_of, npz_of, read_checked, tensors_of, write_together
from .decisions import architecture_from
from .history import EpochRecord, History, record_from
from .saved import FORMAT, about_from, alphas_from, genotype_from
from .tables import is_cells, tables_of, to_plain

if TYPE_CHECKING:
    from .result import SearchResult

T = TypeVar("T")


def write_result(result: SearchResult, folder: Path) -> None:
    """Write a result to a folder; see `SearchResult.save`."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"steps": result.steps, "epochs": result.epochs}
    arrays = {name: np.asarray(values, dtype=np.int64) for name, values in counts.items()}
    cells = is_cells(result.tables)
    about = {
        "status": result.status,
        "best": None if result.best is None else result.best.epoch,
        "loss": result.loss,
        "class_counts": result.class_counts,
        "threads": result.threads,
        "environment": result.environment,
        "fingerprint": result.fingerprint,
        "architecture": result.architecture,
        "decisions": result.decisions,
        **({} if cells else {"tables": to_plain(result.tables)}),
    }
    files = {
        "config.json": result.config.to_json(indent=1).encode(),
        "genotype.json": result.genotype.to_json().encode() if cells else b"null",
        "history.json": json.dumps(result.history.to_dicts(), indent=1).encode(),
        "alphas.npz": npz_of(arrays | result.alphas),
        "weights.safetensors": tensors_of(result.state_dict),
    }
    checksums = {name: checksum_of(name, data) for name, data in files.items()}
    marked = about_of(FORMAT, about | {"checksums": checksums})
    write_together(folder, {**files, "result.json": marked})


def read_result(folder: Path) -> dict[str, Any]:
    """Read the fields of a result from a folder; see `SearchResult.load`."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no result in {folder}: not a folder")
    about = read_checked(folder / "result.json", about_from)

    def read(name: str, parse: Callable[[bytes], T]) -> T:
        return read_checked(folder / name, parse, about["checksums"].get(name))

    config = read("config.json", lambda data: SearchConfig.from_json(data.decode("utf-8-sig")))
    genotype: Any = read("genotype.json", lambda data: genotype_from(data, config))
    tables = about["tables"] or tables_of(config.resolved_space)
    history = read(
        "history.json",
        lambda data: History([record_from(row, EpochRecord) for row in json.loads(data)]),
    )
    alphas = read("alphas.npz", lambda data: alphas_from(data, tables, config.edge_normalization))
    steps, epochs = (tuple(alphas.pop(name).tolist()) for name in ("steps", "epochs"))
    picked = about["architecture"]
    if picked is not None:
        picked = read("result.json", lambda _: architecture_from(picked, tables))
    return dict(
        genotype=genotype,  # absent without cells
        alphas=alphas,
        steps=steps,
        history=history,
        config=config,
        status=about["status"],
        state_dict=read("weights.safetensors", safetensors.torch.load),
        threads=about["threads"],
        environment=about["environment"],
        loss=about["loss"],
        fingerprint=about["fingerprint"],
        class_counts=about["class_counts"],
        epochs=epochs,
        architecture=picked or {},
        decisions=about["decisions"],
        tables=tables,
    )
