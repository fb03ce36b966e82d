"""Save and report the results of searches and trainings."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .answer import Answer, Problem, code_of, say
from .output import path_text

if TYPE_CHECKING:
    from pydarts import SearchResult, TrainResult


NO_CHECKPOINTS = "no checkpoints were saved (--checkpoint-dir none), so this run cannot be continued"


def refuse_results(folder: Path, patterns: tuple[str, ...], resume: bool) -> None:
    """Refuse a folder that has results of an earlier command, unless that is resumed.

    Raises:
        Problem: a file in the folder matches one of the patterns, and `resume` is false.
    """
    if resume:
        return
    for pattern in patterns:
        if any(folder.glob(pattern)):
            raise Problem(
                f"{folder} already contains a run; continue it with --resume or choose another --out"
            )


def keep(result: SearchResult | TrainResult | None, folder: Path) -> None:
    """Save the result of a run, unless the folder has a result with more epochs.

    The folder has one if a resumed run stops before it reads its checkpoint. A search without any step is not
    saved, so that the same command can be repeated.
    """
    from pydarts import SearchResult

    if result is None or (isinstance(result, SearchResult) and not any(result.steps)):
        return
    if result.status != "complete" and len(result.history) < _epochs_in(folder):
        say(f"not saved: {path_text(folder, sys.stderr)} contains a result with more epochs")
        return
    result.save(folder)
    say(f"saved to {path_text(folder, sys.stderr)}")


def _epochs_in(folder: Path) -> int:
    """Return the number of epochs of the result in a folder, or 0 if no result can be read."""
    for name in ("history.json", "training.json"):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8-sig"))
            return len(found["history"] if isinstance(found, dict) else found)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return 0


def ended(
    result: SearchResult | TrainResult, out: Path, more: Mapping[str, Any], lines: Sequence[str]
) -> Answer:
    """Return the answer for a run: the data of every run, `more` data of this kind of run, and its text."""
    last = result.history[-1:].to_dicts()
    best = result.best
    data = {
        "status": result.status,
        "out": str(out),
        "epochs": len(result.history),
        "best_epoch": None if best is None else best.epoch,
        "last": last[0] if last else None,
        **more,
    }
    return Answer(data, list(lines), code_of(result.status))
