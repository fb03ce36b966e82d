"""Plots of searches, trainings and cells, with matplotlib.

Every function draws into the given axes, or creates a figure of suitable size, and returns a `Plot`, which
`savefig` writes to a file and `show` shows. An operation has the same colour in all plots; the colours are
distinguishable with any colour vision. `result.plot_alphas()` and similar methods call these functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._show.plots.alphas import alphas
from ._show.plots.animation import animate
from ._show.plots.benchmark import benchmark
from ._show.plots.cells import cells
from ._show.plots.compare import compare
from ._show.plots.curves import accuracies, entropy, losses, metrics, skips
from ._show.plots.edges import edges
from ._show.plots.heat_map import weights
from ._show.plots.measured import diagnostics
from ._show.plots.supernet import supernet
from ._values.hints import hint
from ._values.plot import Plot

__all__ = [
    "Plot",
    "accuracies",
    "alphas",
    "animate",
    "benchmark",
    "cells",
    "compare",
    "diagnostics",
    "edges",
    "entropy",
    "losses",
    "metrics",
    "skips",
    "supernet",
    "weights",
]


_FORMERLY = {"supernet_cell": "supernet"}


if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> Any:
        """Return a function by the name that it had in earlier versions, with a warning."""
        if name not in _FORMERLY:
            raise AttributeError(f"module 'pydarts.plots' has no attribute {name!r}")
        hint(f"`plots.{name}` is now `plots.{_FORMERLY[name]}`", DeprecationWarning)
        return globals()[_FORMERLY[name]]


def __dir__() -> list[str]:
    return [*__all__]
