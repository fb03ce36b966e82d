"""`Finding` and `Diagnostics`: explanations of the measurements of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, overload

from ..._values import views, words
from ..._values.config import SearchConfig
from ..._values.genotype import Genotype
from ..history import EpochRecord, History
from ..trajectory import Trajectory

Level: TypeAlias = Literal["warning", "note"]
Topic: TypeAlias = Literal[
    "ending",
    "learning",
    "gap",
    "entropy",
    "skips",
    "weightless",
    "empty",
    "zero",
    "change",
    "margins",
    "probe",
]


class Outcome(Protocol):
    """The part of a `SearchResult` that diagnostics use; `SearchResult` itself imports them."""

    @property
    def status(self) -> str: ...
    @property
    def config(self) -> SearchConfig: ...
    @property
    def genotype(self) -> Genotype: ...
    @property
    def history(self) -> History[EpochRecord]: ...
    @property
    def steps(self) -> tuple[int, ...]: ...
    @property
    def loss(self) -> str | None: ...
    @property
    def class_counts(self) -> tuple[int, ...] | None: ...
    @property
    def trajectory(self) -> Trajectory: ...
    @property
    def decisions(self) -> tuple[tuple[int, Mapping[str, Any]], ...]: ...


@dataclass(frozen=True)
class Finding:
    """One observation about a search."""

    level: Level
    """ "warning": the cell is probably worse than it could be; "note": for information."""
    topic: Topic
    """The subject: "ending", "learning", "gap" (training against validation), "entropy", "skips",
    "weightless" (a cell without weights), "empty" (nodes without inputs), "zero" (the operation `none`),
    "change" (the last change of the genotype), "margins" (between the selected and the second best), "probe"
    (the gradient of α against the exact one)."""
    text: str
    """The observation with its numbers."""
    advice: str = ""
    """The remedy for a warning."""
    table: str = ""
    """The α table concerned; empty: all tables."""
    values: Mapping[str, float] = field(default_factory=dict, hash=False)
    """The numbers by name; entropies and losses in nats, margins in mixing weight."""


class Diagnostics(Sequence[Finding]):
    """The findings about a search, warnings first; `print` shows one per line.

    >>> found = Diagnostics([Finding("note", "ending", "The search is complete.")])
    >>> print(found)
    note     The search is complete.
    >>> found.warnings
    ()
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self._findings = tuple(sorted(findings, key=lambda finding: finding.level != "warning"))

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Diagnostics: ...
    def __getitem__(self, index: int | slice) -> Finding | Diagnostics:
        return Diagnostics(self._findings[index]) if isinstance(index, slice) else self._findings[index]

    def __len__(self) -> int:
        return len(self._findings)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that are warnings."""
        return tuple(finding for finding in self if finding.level == "warning")

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dictionary per finding, of plain data; numbers that are not finite are None."""
        found = [asdict(finding) for finding in self]
        for entry in found:
            entry["values"] = {
                name: value if math.isfinite(value) else None for name, value in entry["values"].items()
            }
        return found

    def __str__(self) -> str:
        return "\n".join(
            f"{finding.level:<8} {' '.join(filter(None, (finding.text, finding.advice)))}" for finding in self
        )

    def _repr_html_(self) -> str:
        return views.cards.of_diagnostics(self)

    def __repr__(self) -> str:
        return f"<Diagnostics: {len(self.warnings)} warnings, {len(self) - len(self.warnings)} notes>"


def count(number: float, unit: str) -> str:
    return words.count(number, unit, ",.0f")


def weight(difference: float) -> str:
    """Format a difference of mixing weights with enough digits to distinguish it from 0.

    >>> weight(0.0123456), weight(4.2e-07), weight(0.0)
    ('0.01235', '4.2e-07', '0')
    """
    return f"{difference:.5f}" if abs(difference) >= 5e-5 else f"{difference:.1e}" if difference else "0"
