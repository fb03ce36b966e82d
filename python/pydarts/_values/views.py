"""Modules that draw values, imported when a method of a value first needs one.

Methods such as `plot_alphas`, `to_svg`, `report` and `_repr_html_` belong to values, but the modules that
implement them import these values. No other module may import from a higher layer; `lint-imports` checks it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

T = TypeVar("T", covariant=True)


class Table(Protocol):
    """A `SearchTable`, as far as a report reads it."""

    def summary(self, origin: Any) -> Any: ...


class Benchmark(Protocol):
    """A tabulated benchmark, as far as a report reads it."""

    def trajectory(self, result: Any, dataset: str, split: str) -> Any: ...


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .plot import Plot

    class Functions(Protocol[T]):
        """A module whose functions return a T; importing it here would close a circle."""

        def __getattr__(self, name: str) -> Callable[..., T]: ...

    cards: Functions[str]
    export: Functions[str]
    files: Functions[Path]
    page: Functions[Path]
    plots: Functions[Plot]
    scores: Functions[Plot]
else:
    _MODULES = {
        "cards": "pydarts._show.cards",
        "export": "pydarts._show.plots.export",
        "page": "pydarts._show.report.page",
        "scores": "pydarts._show.plots.scores",
        **dict.fromkeys(("files", "plots"), "pydarts.plots"),
    }

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(_MODULES[name])
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
