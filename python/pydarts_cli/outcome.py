"""What a search or a training came to: kept in its folder, and answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .answer import Answer, Problem, code_of, say

if TYPE_CHECKING:
    from pydarts import SearchResult, TrainResult


NO_CHECKPOINTS = "it left no checkpoints (--checkpoint-dir none), so it cannot go on"


def refuse_results(folder: Path, marks: tuple[str, ...], resume: bool) -> None:
    """Keep a command from writing over what an earlier one left.

    Raises:
        Problem: the folder holds one of the marks, and nobody asked to go on.
    """
    if resume:
        return
    for mark in marks:
        if any(folder.glob(mark)):
            raise Problem(f"{folder} already holds a run; go on with it (--resume) or name another (--out)")


def keep(result: SearchResult | TrainResult | None, folder: Path) -> None:
    """Save what a run came to; one that got less far than what the folder holds leaves that in its place.

    That is what a run comes to which is to go on and stops before it has read its checkpoint. Of a search
    without a step nothing is kept: the folder stays free for another try.
    """
    from pydarts import SearchResult

    if result is None or (isinstance(result, SearchResult) and not any(result.steps)):
        return
    if result.status != "complete" and len(result.history) < _epochs_in(folder):
        say(f"{folder} keeps what it holds: more epochs")
        return
    result.save(folder)
    say(f"kept in {folder}")


def _epochs_in(folder: Path) -> int:
    """Epochs of the result in a folder; 0 where there is none, or none that can be read."""
    for name in ("history.json", "training.json"):
        try:
            found = json.loads((folder / name).read_text(encoding="utf-8"))
            return len(found["history"] if isinstance(found, dict) else found)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return 0


def ended(
    result: SearchResult | TrainResult, out: Path, more: Mapping[str, Any], lines: Sequence[str]
) -> Answer:
    """How a run ended: what both kinds have in common, `more` of this one, and the lines for people."""
    last = result.history[-1] if result.history else None
    data = {
        "status": result.status,
        "out": str(out),
        "epochs": len(result.history),
        "best_epoch": result.best,
        "last": None if last is None else asdict(last),
        **more,
    }
    return Answer(data, list(lines), code_of(result.status))
