"""The folder of several searches and trainings, and the file that identifies them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import _core
from .._data.fingerprint import comparable
from .._train.loop import differences
from .._train.renamed import renamed
from .._values.config import SearchConfig
from .._values.fields import Resume
from .._values.files import about_in, read_checked, write_about
from .._values.genotype import Genotype
from .job import Job

_FORMAT = 2
MARK, TABLE = "many.json", "table.csv"
OF_THE_WHOLE: dict[str, Any] = {"checkpoint_dir": None, "resume": False, "progress": False}
"""Settings of a training that belong to the whole table, not to each row."""


def marked(
    folder: str | os.PathLike[str] | None,
    resume: Resume,
    about: Mapping[str, Any],
    facts: Mapping[str, str],
    template: Job,
    batch_size: int | None = None,
) -> Path | None:
    """Return the folder for all files, with a file that identifies its contents; None: save nothing.

    `facts` identify the data and the loss; with `resume="force"` they may differ from those of the folder.

    Raises:
        CheckpointError: the folder holds something else, or is not empty and `resume` is not set.
    """
    if folder is None:
        return None
    folder = Path(folder)
    training = {
        name: value
        for name, value in template.training.to_dict().items()
        if name not in ("device", *OF_THE_WHOLE)
    }
    # Through JSON, to compare equal with the file.
    mine = json.loads(json.dumps({**about, "training": training, "network": dict(template.network)}))
    path = folder / MARK
    if path.is_file():
        if not resume:
            raise _core.CheckpointError(
                f"{folder} already holds searches or trainings; pass resume=True to continue them, or use "
                "another folder"
            )
        for what in differences(mine, read_checked(path, _choices)):
            raise _core.CheckpointError(f"{folder} was written with other settings: {what}")
        before: dict[str, Any] = said_by(path, "fingerprint") or dict(facts)  # earlier versions wrote none
        other = "; ".join(differences(*comparable(facts, before)))
        if other and resume != "force":
            raise _core.CheckpointError(
                f"{folder} was written with other data or another loss: {other}; use another folder, or keep "
                'its finished rows and continue with resume="force" (--force on the command line)'
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_about(path, _FORMAT, {"batch_size": batch_size, "choices": mine, "fingerprint": facts})
    return folder


def _choices(data: bytes) -> dict[str, Any]:
    """Return the stored settings; those of version 1 have flat lists of edges, and no metrics."""
    choices: dict[str, Any] = about_in(data, _FORMAT)["choices"]
    if "config" in choices:
        config = SearchConfig.from_dict(choices["config"]).to_dict()
        choices["config"] = {name: value for name, value in config.items() if name != "device"}
    if "training" in choices:  # earlier versions had no metrics
        choices["training"] = {"metric_mode": "max", **renamed(choices["training"])}
    if "cells" in choices:
        cells = choices["cells"].items()
        choices["cells"] = {name: Genotype.from_dict(cell).to_dict() for name, cell in cells}
    return choices


def said_by(path: Path, name: str) -> Any:
    """Return the entry `name` of the identifying file; None if it has no such entry."""
    return read_checked(path, lambda data: about_in(data, _FORMAT).get(name))
