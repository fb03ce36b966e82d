"""Explanations of the measurements of a search: `SearchResult.diagnostics`."""

from __future__ import annotations

from ..trajectory import Trajectory
from . import alphas, losses
from .finding import Diagnostics, Finding, Outcome

__all__ = ["Diagnostics", "Finding", "diagnose"]


def diagnose(result: Outcome, path: Trajectory | None = None) -> Diagnostics:
    """See `SearchResult.diagnostics`; `path` is `result.trajectory` if the caller has computed it."""
    path = result.trajectory if path is None else path
    return Diagnostics(
        [
            *losses.ending(result),
            *losses.learning(result),
            *losses.gap(result),
            *alphas.entropies(path),
            *alphas.skips(result.genotype, path),
            *alphas.weightless(result.genotype),
            *alphas.zeros(path),
            *alphas.change(path),
            *alphas.margins(path),
        ]
    )
