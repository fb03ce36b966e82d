"""The progress bar of several searches and trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._search.bar import Bar
from .job import Job
from .row import SearchRow


class ManyProgress:
    """A bar that counts the epochs of all rows and shows a summary of the last one."""

    def __init__(self, jobs: Sequence[Job], what: str = "cell") -> None:
        self._what = what
        self._epochs = {job.name: job.epochs for job in jobs}
        self._searched = {job.name: 0 if job.search is None else job.search.epochs for job in jobs}
        self._done = dict.fromkeys(self._epochs, 0)
        self._rows = 0
        self._bar: Any = Bar(total=sum(self._epochs.values()), unit="epoch")
        self._show("")

    def tell(self, name: str, phase: str, epochs: int, how: str) -> None:
        """Count an epoch."""
        before = self._searched[name] if phase == "training" else 0
        self._done[name] = before + epochs
        self._show(f"{name}: {phase} {epochs}, {how}")

    def row(self, row: SearchRow) -> None:
        """Count the remaining epochs of a row that has ended, for whatever reason."""
        self._done[row.name] = self._epochs[row.name]
        self._rows += 1
        self._show(f"{row.name}: {row.status}")

    def close(self) -> None:
        """Close the bar, which keeps its last state."""
        self._bar.close()

    def _show(self, text: str) -> None:
        self._bar.n = sum(self._done.values())
        self._bar.set_description_str(f"{self._what} {self._rows}/{len(self._epochs)}", refresh=False)
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.refresh()
