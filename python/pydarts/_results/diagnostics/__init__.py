"""Explanations of the measurements of a search: `SearchResult.diagnostics`."""

from __future__ import annotations

from collections.abc import Iterator

from ..trajectory import Trajectory
from . import alphas, losses
from .finding import Diagnostics, Finding, Outcome
from .probe import probes

__all__ = ["Diagnostics", "Finding", "diagnose"]


def diagnose(result: Outcome, path: Trajectory | None = None) -> Diagnostics:
    """See `SearchResult.diagnostics`; `path` is `result.trajectory` if the caller has computed it."""
    path = result.trajectory if path is None else path
    return Diagnostics(
        [
            *losses.ending(result),
            *losses.learning(result),
            *losses.gap(result),
            *probes(result),
            *(alphas.entropies(path) if path.learns else ()),
            *(_cells(result, path) if path.space is not None else _choices(path)),
        ]
    )


def _cells(result: Outcome, path: Trajectory) -> Iterator[Finding]:
    """The findings about a genotype, which only cells have."""
    yield from alphas.skips(result.genotype, path, result.config)
    yield from alphas.weightless(result.genotype)
    yield from alphas.empty(result.genotype, path)
    if path.learns:
        yield from alphas.zeros(path)
    if path.learns and path.selects:
        yield from alphas.change(path)
        yield from alphas.margins(path)


def _choices(path: Trajectory) -> Iterator[Finding]:
    """The findings about the choices of a user-defined network."""
    if path.learns and any(path.kept(table) for table in path.alphas):
        yield from alphas.change(path)
        yield from alphas.choices(path)
