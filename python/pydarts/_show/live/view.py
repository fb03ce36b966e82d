"""`LiveView`: watch a search while it runs."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args

from rich.console import Console

from ..._search.callbacks import Callback, EpochInfo, StartInfo, StepInfo
from ..._values import checks
from .lines import LineView
from .scene import Scene
from .terminal import TerminalView

if TYPE_CHECKING:
    from ..._results.result import SearchResult

Where: TypeAlias = Literal["auto", "notebook", "terminal", "lines"]


class View(Protocol):
    """Draws a search in a terminal, a notebook or a log."""

    def draw(self, scene: Scene, *, last: bool = False) -> None:
        """Draw if it is due; with `last`, draw everything, whatever time it takes."""

    def close(self) -> None:
        """Release the output; what was drawn remains. May be called twice."""


class LiveView(Callback):
    """Shows a running search: α of every edge, losses, scores, entropy, skip connections, current cell.

    In a notebook, three outputs below the cell are updated without flicker: a line of numbers, α with curves,
    and the cells when they change. In a terminal, a view made of text remains below all other output: bars of
    the mixing weights of every edge, a dot after edges that the genotype keeps, curves, and the genotype if
    there is space. Elsewhere, for example in a log file, each epoch is a line. The view replaces the progress
    bar of `search`.

    Plots take at most the fraction `share` of the time of the search, with time for a last one reserved. So
    the rate of updates depends on the drawing time, and in a notebook a search of less than a minute may show
    only the line of numbers before its end. The last view is always drawn, also after an interruption or
    failure, and remains; in a search of a few seconds it takes more than the share. In a resumed search it
    includes what came before.

    An error while drawing gives a warning and ends the view; the search continues.

    Args:
        share: fraction of the time of the search for drawing, below 1; 0: almost no drawing before the end.
        where: "notebook", "terminal" or "lines"; "auto": detect it.
        console: the rich console for terminal and lines; None: standard error.

    Raises:
        ConfigError: an invalid share or `where`.
        ImportError: `where="notebook"` without IPython.

    >>> import numpy as np, pydarts
    >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
    >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8)
    >>> view = pydarts.LiveView(share=0.02)
    >>> pydarts.search((X, y), cfg, callbacks=view).status
    'complete'
    """

    shows_progress = True

    def __init__(
        self, *, share: float = 0.015, where: Where = "auto", console: Console | None = None
    ) -> None:
        share = checks.share("share", share)
        checks.one_of("where", where, get_args(Where))
        self._console = Console(stderr=True) if console is None else console
        self._open = _opener(where, share, self._console)
        self._scene: Scene | None = None
        self._view: View | None = None
        self.seconds = 0.0
        """Seconds that the view of the last search has taken, including the last drawing."""

    def on_start(self, info: StartInfo) -> None:
        """Start a new view."""
        self.seconds = 0.0
        with self._guarded():
            self._scene = Scene(info)
            self._view = self._open()
            self._view.draw(self._scene)

    def on_step(self, info: StepInfo) -> None:
        """Record the step; draw if it is due."""
        with self._guarded():
            if self._view is not None and self._scene is not None:
                self._scene.step(info)
                self._view.draw(self._scene)

    def on_epoch(self, info: EpochInfo) -> None:
        """Record the epoch; draw if it is due."""
        with self._guarded():
            if self._view is not None and self._scene is not None:
                self._scene.epoch(info)
                self._view.draw(self._scene)

    def on_end(self, result: SearchResult) -> None:
        """Draw the last view, which remains."""
        with self._guarded():
            if self._view is not None and self._scene is not None:
                self._scene.end(result)
                self._view.draw(self._scene, last=True)
            self._close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn an error of the view into a warning, so that it does not stop the search."""
        begun = time.perf_counter()
        try:
            yield
        except Exception as error:
            with suppress(Exception):
                self._close()
            warnings.warn(
                f"LiveView has stopped because of an error; the search continues: {error!r}",
                RuntimeWarning,
                stacklevel=3,
            )
        finally:
            self.seconds += time.perf_counter() - begun

    def _close(self) -> None:
        view, self._view = self._view, None
        if view is not None:
            view.close()


def _opener(where: Where, share: float, console: Console) -> Callable[[], View]:
    """Return the constructor of a view."""
    if where == "auto":
        # A terminal that is not UTF-8 has no characters for bars.
        moves = console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")
        where = "notebook" if console.is_jupyter else "terminal" if moves else "lines"
    if where == "lines":
        return lambda: LineView(console)
    if where == "terminal":
        return lambda: TerminalView(console, share)
    try:
        from IPython.display import display
    except ImportError as error:
        raise ImportError(
            'LiveView(where="notebook") requires IPython; install it with: pip install ipykernel'
        ) from error
    from .notebook import NotebookView

    return lambda: NotebookView(display, share)
