"""The record of gpu.py: what each part found, as JSON and as Markdown tables, written after every entry.

A part has a share of the time. It ends early with status "cut" when its time is over, is "skipped" if there
is no time left for it, and is "failed" if it raised an exception; the next part runs all the same.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import table

Entry = dict[str, Any]


class OutOfTime(Exception):
    """The time of a part is over."""


@dataclass
class Part:
    """One part of the run, and what it found."""

    name: str
    title: str
    share: float  # of the time, relative to the shares of the parts that follow
    status: str = "waiting"  # then "running", and "done", "cut", "skipped" or "failed"
    reason: str = ""  # why it was cut or skipped, or the error
    seconds: float = 0.0
    checks: list[Entry] = field(default_factory=list)  # name, error, limit, passed, why
    entries: list[Entry] = field(default_factory=list)  # measurements, one row of a table each
    notes: list[str] = field(default_factory=list)  # what was left out, and why
    traceback: str = ""
    deadline: float = math.inf
    save: Callable[[], None] = lambda: None

    def left(self) -> float:
        """Seconds that this part may still take."""
        return max(0.0, self.deadline - time.monotonic())

    def go_on(self, what: str) -> None:
        """Raise OutOfTime if the time is over before `what`."""
        if self.left() <= 0:
            raise OutOfTime(f"the time of this part was over before: {what}")

    def add(self, **entry: Any) -> None:
        """Keep a measurement."""
        self.entries.append(entry)
        self._said(entry)

    def check(self, name: str, error: float, limit: float, why: str) -> None:
        """Keep a check: passed if `error` is at most `limit`; NaN does not pass."""
        passed = bool(error <= limit)
        self.checks.append({"name": name, "error": error, "limit": limit, "passed": passed, "why": why})
        if not passed:
            print(f"  FAILED {name}: error {error:.3g}, limit {limit:.3g}", flush=True)
        self.save()

    def note(self, text: str) -> None:
        """Keep what was left out, and why."""
        self.notes.append(text)
        self._said({"note": text})

    def _said(self, entry: Entry) -> None:
        print(
            f"  {self.name}: " + ", ".join(f"{key} {cell(value)}" for key, value in entry.items()), flush=True
        )
        self.save()

    def outcome(self) -> Entry:
        """This part as JSON."""
        without = {"save", "deadline", "name"}
        return {key: value for key, value in vars(self).items() if key not in without}


class Record:
    """All parts, and the files that they are written to."""

    def __init__(self, file: Path, about: Mapping[str, Any], parts: Iterable[Part], begun: float) -> None:
        self.file, self.about, self.begun = file, dict(about), begun
        self.parts = {part.name: part for part in parts}
        self._lock = threading.RLock()
        for part in self.parts.values():
            part.save = self.save
        self.save()

    @property
    def passed(self) -> bool:
        """Whether no check failed and no part raised an exception."""
        parts = self.parts.values()
        return all(part.status != "failed" and all(c["passed"] for c in part.checks) for part in parts)

    def run(self, works: Mapping[str, Callable[[Part], None]], deadline: float) -> None:
        """Do the work of every part, in order, each within its share of the time that is left."""
        waiting = [self.parts[name] for name in works]
        while waiting:
            part = waiting[0]
            left = deadline - time.monotonic()
            part.deadline = time.monotonic() + left * part.share / sum(other.share for other in waiting)
            self._run(waiting.pop(0), works[part.name], left)

    def _run(self, part: Part, work: Callable[[Part], None], left: float) -> None:
        if left <= 0:
            part.status, part.reason = "skipped", "no time was left"
            return self.save()
        part.status = "running"
        print(f"{part.name}: {part.title}, at most {part.left():.0f} s", flush=True)
        self.save()
        begun = time.monotonic()
        try:
            work(part)
            part.status = "done"
        except OutOfTime as over:
            part.status, part.reason = "cut", str(over)
        except BaseException as error:
            part.status, part.reason = "failed", f"{type(error).__name__}: {error}"
            part.traceback = traceback.format_exc()
            print(part.traceback, flush=True)
            if not isinstance(error, Exception):
                raise
        finally:
            part.seconds = time.monotonic() - begun
            print(f"{part.name}: {part.status} after {part.seconds:.1f} s {part.reason}", flush=True)
            self.save()

    def cut(self, reason: str) -> None:
        """Mark what still runs or waits as cut or skipped."""
        for part in self.parts.values():
            if part.status == "running":
                part.status, part.reason = "cut", reason
            elif part.status == "waiting":
                part.status, part.reason = "skipped", reason
        self.save()

    def save(self) -> None:
        """Write both files. Each is replaced at once, so that a reader never sees half of it."""
        with self._lock:
            parts = {name: part.outcome() for name, part in self.parts.items()}
            seconds = time.monotonic() - self.begun
            whole = {**self.about, "passed": self.passed, "seconds": seconds, "parts": parts}
            replace(self.file, json.dumps(finite(whole), indent=1, ensure_ascii=False, allow_nan=False))
            replace(self.file.with_suffix(".md"), self.markdown())

    def markdown(self) -> str:
        """What was found, in tables."""
        lines = ["# First run on a GPU" if self.about.get("cuda") else "# A run without a GPU", ""]
        lines += [f"- {name}: {cell(value)}" for name, value in self.about.items()]
        lines += [f"- all checks passed: {'yes' if self.passed else 'NO'}"]
        for part in self.parts.values():
            head = f"{part.status}, {part.seconds:.0f} s" + (f" ({part.reason})" if part.reason else "")
            lines += ["", f"## {part.title}", "", head]
            if part.checks:
                lines += ["", rows(part.checks)]
            if part.entries:
                lines += ["", rows(part.entries)]
            lines += ["", *(f"- {note}" for note in part.notes)] if part.notes else []
            lines += ["", "```text", part.traceback.strip(), "```"] if part.traceback else []
        return "\n".join(lines) + "\n"


def replace(file: Path, text: str) -> None:
    """Write a file so that it is always whole."""
    new = file.with_name(file.name + ".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, file)


def rows(entries: list[Entry]) -> str:
    """A table of entries, which may have different keys."""
    header = list(dict.fromkeys(key for entry in entries for key in entry))
    return table(header, [[cell(entry.get(key)).replace("|", "/") for key in header] for entry in entries])


def cell(value: Any) -> str:
    """A value in a table.

    >>> cell(0.000123456), cell(12.5), cell(True), cell(None), cell([1, "a"])
    ('0.000123', '12.5', 'yes', '', '1, a')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    return str(value)


def finite(value: Any) -> Any:
    """The same value with NaN and infinity as text, which JSON does not have as numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
