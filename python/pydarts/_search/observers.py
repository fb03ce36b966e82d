"""Passes the events of the engine to the progress bar and the callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._data.draws import Quiet, Turn
from .._data.interrupt import InterruptWatch
from .._results.decisions import architecture_in
from .._results.history import EpochRecord, record_from
from .._results.tables import AlphaTable
from .._values.ambient import kept
from .._values.config import SearchConfig
from .._values.genotype import Genotype
from .._values.hints import hint
from .callbacks import Callback, EpochInfo, StartInfo, StepInfo
from .progress import Progress


class Observers:
    """Passes the engine's events to the progress bar and the callbacks."""

    def __init__(
        self,
        callbacks: Sequence[Callback],
        progress: Progress | None,
        watch: InterruptWatch,
        config: SearchConfig,
        gate: Turn | None = None,
        tables: Mapping[str, AlphaTable] | None = None,
    ) -> None:
        self._callbacks, self._progress, self._watch = callbacks, progress, watch
        self._config, self._gate, self._tables = config, gate or Turn(), tables or {}

    def wants(self, kind: str) -> bool:
        """Called by the engine before the search and after each event; it does not send unwanted kinds."""
        match kind:
            case "step":
                return self._overridden("on_step") or self._progress is not None
            case "epoch":
                return self._overridden("on_epoch") or self._progress is not None
            case "start":
                return self._overridden("on_start") or self._progress is not None
            case _:
                return kind == "warning"

    def _overridden(self, method: str) -> bool:
        """Whether a callback has its own version of a method."""
        inherited = getattr(Callback, method)
        return any(
            getattr(getattr(callback, method), "__func__", None) is not inherited
            for callback in self._callbacks
        )

    def _quiet(self) -> Quiet:
        """The section of a callback: meanwhile no loader seeds the generators that it may use."""
        return Quiet(self._gate, self._watch.check)

    def poll(self) -> None:
        """Called by the engine between batches; raises KeyboardInterrupt after Ctrl-C."""
        self._watch.check()

    def observe(
        self,
        kind: str,
        payload: Mapping[str, Any],
        alphas: Mapping[str, npt.NDArray[Any]] | None,
        strengths: Mapping[str, npt.NDArray[np.float64]] | None = None,
    ) -> None:
        """Called by the engine; an exception stops the search."""
        tables: dict[str, Any] = {"alphas": dict(alphas or {}), "strengths": dict(strengths or {})}
        if kind == "step":
            self._step(StepInfo(**payload, **tables))
        elif kind == "epoch":
            record = record_from(payload["record"], EpochRecord)
            given = payload["genotype"]
            genotype = None if given is None else Genotype.from_dict(given)
            picked = architecture_in(payload["architecture"], self._tables)
            decisions = tuple(payload["decisions"])
            self._epoch(
                EpochInfo(
                    **vars(record), genotype=genotype, architecture=picked, decisions=decisions, **tables
                )
            )
        elif kind == "start":
            self._start(**payload)
        elif kind == "warning":
            hint(payload["message"])

    def _start(self, epochs: int, first_epoch: int, steps_per_epoch: int | None) -> None:
        if self._progress is not None:
            self._progress.begin(epochs, first_epoch, steps_per_epoch)
        for callback in self._callbacks:
            with self._quiet(), kept():
                callback.on_start(StartInfo(self._config, first_epoch, steps_per_epoch, self._tables))

    def _step(self, info: StepInfo) -> None:
        if self._progress is not None:
            self._progress.step(info)
        for callback in self._callbacks:
            with self._quiet(), kept():
                callback.on_step(info)

    def _epoch(self, info: EpochInfo) -> None:
        if self._progress is not None:
            self._progress.epoch(info)
        for callback in self._callbacks:
            with self._quiet(), kept():
                callback.on_epoch(info)
