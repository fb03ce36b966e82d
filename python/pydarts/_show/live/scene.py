"""The current state of a search, for the live views."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._results.decisions import Decision
from ..._results.ending import reached
from ..._results.history import EpochRecord, History
from ..._results.measured import latest
from ..._results.result import SearchResult
from ..._results.tables import decisions_in_words, is_cells
from ..._results.trajectory import Trajectory
from ..._search.callbacks import EpochInfo, StartInfo, StepInfo
from ..._search.progress import numbers, right
from ..._values.genotype import Genotype

_MOST = 96  # points kept: more would not be visible


@dataclass
class _Point:
    """α after a step, and the mean losses of the steps since the previous point."""

    steps: int
    epoch: int
    alphas: Mapping[str, npt.NDArray[Any]]
    strengths: Mapping[str, npt.NDArray[np.float64]]
    train_loss: float
    valid_loss: float
    weight: int


class Scene:
    """Follows a search by its events; keeps α at evenly spaced steps and at the last step."""

    def __init__(self, start: StartInfo) -> None:
        self.config = start.config
        self.tables = start.tables
        self.space = start.config.resolved_space if is_cells(start.tables) else None
        self.first_epoch = start.first_epoch
        self.steps_per_epoch = start.steps_per_epoch
        self.records: list[EpochRecord] = []
        self.last: StepInfo | EpochInfo | None = None
        self.result: SearchResult | None = None
        self._selected: Genotype | None = None
        self._points: list[_Point] = []
        self._decisions: list[tuple[int, Decision]] = []
        self._stride = 1
        self._done = 0  # steps since the start of this run
        self._step = 0  # steps of the whole search
        self._begun = time.perf_counter()
        self._ended = math.nan

    def step(self, info: StepInfo) -> None:
        """Record a step."""
        self.last = info
        self.steps_per_epoch = info.steps_per_epoch or self.steps_per_epoch
        self._done, self._step = self._done + 1, info.step + 1
        valid = math.nan if info.valid_loss is None else info.valid_loss
        point = _Point(info.step + 1, info.epoch, info.alphas, info.strengths, info.train_loss, valid, 1)
        if self._points and self._points[-1].weight < self._stride:
            point = _merged(self._points.pop(), point)
        self._points.append(point)
        if len(self._points) > _MOST and point.weight == self._stride:
            self._thin()

    def epoch(self, info: EpochInfo) -> None:
        """Record an epoch."""
        self.last = info
        self.records.append(info)
        self._selected = info.genotype
        self._decisions += [(info.epoch, decision) for decision in info.decisions]
        if self.steps_per_epoch is None:
            self.steps_per_epoch = self._done

    def end(self, result: SearchResult) -> None:
        """Record the end; for a resumed search also add what came before."""
        self.result = result
        self._ended = time.perf_counter()
        self.records, self._decisions = list(result.history), list(result.decisions)
        self._selected = result.genotype if self.space is not None else None
        first = self._points[0].steps if self._points else math.inf
        path = result.trajectory
        epochs, strengths = list(path.parameter_epochs or ()), path.strengths
        before = [at for at, steps in enumerate(result.steps) if steps < first]
        self._points[:0] = [
            _Point(
                result.steps[at],
                epochs[at],
                {name: values[at] for name, values in result.alphas.items()},
                {name: values[at] for name, values in strengths.items()},
                math.nan,
                math.nan,
                self._stride,
            )
            for at in before[:: max(1, len(before) // _MOST)]
        ]

    @property
    def history(self) -> History[EpochRecord]:
        """The epochs of this run; at the end all epochs."""
        return History(self.records)

    @property
    def trajectory(self) -> Trajectory | None:
        """α over time, by step; None before the first step."""
        if not self._points:
            return None
        alphas, strengths = (
            {name: np.stack([part[name] for part in parts]) for name in parts[0]}
            for parts in ([point.alphas for point in self._points], [p.strengths for p in self._points])
        )
        # Points are not at ends of epochs: the axis counts steps.
        return Trajectory(
            alphas,
            [point.steps for point in self._points],
            self.space,
            epochs=-1,
            relaxation=self.config.relaxation,
            selection=self.config.selection,
            parameter_epochs=[point.epoch for point in self._points],
            total_epochs=self.config.epochs,
            decisions=self._decisions,
            tables=self.tables,
            given=strengths or None,
        )

    @property
    def genotype(self) -> Genotype | None:
        """The current genotype; None before the first step."""
        if not self._points:
            return None
        if self.space is None or self.trajectory is None:
            return None
        if not self.trajectory.selects:  # α does not tell the genotype, but the end of an epoch does
            return self._selected or self.trajectory.genotype()
        return self.trajectory.genotype()

    @property
    def losses(self) -> tuple[list[int], list[float], list[float]]:
        """Steps, and the mean training and validation losses up to each of them."""
        points = [point for point in self._points if not math.isnan(point.train_loss)]
        return (
            [point.steps for point in points],
            [point.train_loss for point in points],
            [point.valid_loss for point in points],
        )

    @property
    def total(self) -> int | None:
        """Steps of the whole search; None while unknown."""
        return None if self.steps_per_epoch is None else self.steps_per_epoch * self.config.epochs

    @property
    def done(self) -> int:
        """Steps of the whole search done so far."""
        return self._step or self.first_epoch * (self.steps_per_epoch or 0)

    @property
    def title(self) -> str:
        """The progress of the search as text."""
        epochs = self.config.epochs
        if self.result is not None:
            elapsed = self._ended - self._begun
            return f"{self.result.status} after {reached(self.result)}, {clock(elapsed)}"
        elapsed = time.perf_counter() - self._begun
        epoch = min(self.first_epoch if self.last is None else self.last.epoch, epochs - 1) + 1
        words = [f"epoch {epoch}/{epochs}"]
        if self.steps_per_epoch is not None and isinstance(self.last, StepInfo):
            words.append(f"step {self.last.step_in_epoch + 1}/{self.steps_per_epoch}")
        words.append(clock(elapsed))
        if self._done and self.total is not None:
            words.append(f"{clock(elapsed / self._done * max(self.total - self.done, 0))} left")
        return ", ".join(words)

    @property
    def numbers(self) -> str:
        """The latest losses, scores, entropy and skip connections as text; empty before step 0."""
        if self.last is None:
            return ""
        known = self.records[-1] if self.records else None
        held_out = f"/{right(self.words, known.valid_loss, known.valid_accuracy)}" if known else ""
        metrics = known.metrics if known else {}
        measured = latest(self.history)
        return numbers(self.config, self.last, held_out, self.tables, metrics, measured, None)

    @property
    def decided(self) -> str:
        """The decisions of the latest epoch that had any, as text."""
        if not self._decisions:
            return ""
        epoch = self._decisions[-1][0]
        return decisions_in_words([entry for entry in self._decisions if entry[0] == epoch], self.tables, 3)

    @property
    def words(self) -> bool:
        """Whether the search is about text."""
        return self.space is not None and self.space.kind == "recurrent"

    def _thin(self) -> None:
        """Merge pairs of points; an odd one waits for its partner."""
        pairs = zip(self._points[::2], self._points[1::2], strict=False)
        odd = self._points[len(self._points) // 2 * 2 :]
        self._points = [_merged(early, late) for early, late in pairs] + odd
        self._stride *= 2


def _merged(early: _Point, late: _Point) -> _Point:
    weight = early.weight + late.weight
    return _Point(
        late.steps,
        late.epoch,
        late.alphas,
        late.strengths,
        (early.weight * early.train_loss + late.weight * late.train_loss) / weight,
        (early.weight * early.valid_loss + late.weight * late.valid_loss) / weight,
        weight,
    )


def clock(seconds: float) -> str:
    """Format seconds as a clock does.

    >>> clock(75.4), clock(3675)
    ('1:15', '1:01:15')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
