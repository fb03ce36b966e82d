"""Modules that draw values, imported when a method of a value first needs one.

Methods such as `plot_alphas`, `to_svg`, `report` and `_repr_html_` belong to values, but the modules that
implement them import these values. No other module may import from a higher layer; `lint-imports` checks it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .. import plots as plots
    from .._protocol.table import SearchTable as SearchTable
    from .._show import cards as cards
    from .._show.plots import cells as cells
    from .._show.plots import export as export
    from .._show.plots import scores as scores
    from .._show.report import page as page
else:  # a type checker would accept any name
    _MODULES = {
        "plots": "pydarts.plots",
        "cards": "pydarts._show.cards",
        "cells": "pydarts._show.plots.cells",
        "export": "pydarts._show.plots.export",
        "scores": "pydarts._show.plots.scores",
        "page": "pydarts._show.report.page",
    }

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(_MODULES[name])
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
