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

Place: TypeAlias = Literal["auto", "notebook", "terminal", "lines"]


class View(Protocol):
    """Draws a search at one place."""

    def draw(self, scene: Scene, *, last: bool = False) -> None:
        """Draw if it is time; `last`: draw everything, whatever it takes."""

    def close(self) -> None:
        """Let go of the place; what was drawn stays. May be called twice."""


class LiveView(Callback):
    """Shows a search as it moves: α of every edge, losses, accuracies, entropy, skips, the current cell.

    In a notebook three places below the cell are drawn anew, without flicker: a line of numbers, α and the
    curves, the cells where they have changed. In a terminal a picture of text stands below what else is
    printed: bars of the softmax weights of every edge, a point behind the edges that the genotype has,
    curves, and the genotype where there is room. Elsewhere, in a log file for one, an epoch is a line.
    It stands in for the progress bar of `search`, which stays away.

    A picture is drawn when there is time for it: all of them together take no more than `share` of the
    search, one for its end kept back. So how often it moves depends on how long a picture takes, and a
    search of less than a minute may show in a notebook nothing but the line before its end. The last picture
    is always drawn, also of a search that was interrupted or failed, and stays; of a search of some seconds
    it takes more than the share. In a search that goes on from a checkpoint, it has what came before.

    A picture that cannot be drawn is a warning, and ends the view; the search goes on.

    Args:
        share: part of the time of the search that pictures may take, below 1; 0: next to nothing before the
            end.
        where: "notebook", "terminal" or "lines"; "auto": what this process runs in.
        console: where rich prints, in a terminal and in lines; None: standard error.

    Raises:
        ConfigError: a share or a place that is none.
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
        self, *, share: float = 0.015, where: Place = "auto", console: Console | None = None
    ) -> None:
        share = checks.share("share", share)
        checks.one_of("where", where, get_args(Place))
        self._console = Console(stderr=True) if console is None else console
        self._open = _opener(where, share, self._console)
        self._scene: Scene | None = None
        self._view: View | None = None
        self.seconds = 0.0
        """Seconds that the view of the last search has taken, the last picture included."""

    def on_start(self, info: StartInfo) -> None:
        """Begin anew."""
        self.seconds = 0.0
        with self._guarded():
            self._scene = Scene(info)
            self._view = self._open()
            self._view.draw(self._scene)

    def on_step(self, info: StepInfo) -> None:
        """Take in the step; draw if it is time."""
        with self._guarded():
            if self._view is not None and self._scene is not None:
                self._scene.step(info)
                self._view.draw(self._scene)

    def on_epoch(self, info: EpochInfo) -> None:
        """Take in the epoch; draw if it is time."""
        with self._guarded():
            if self._view is not None and self._scene is not None:
                self._scene.epoch(info)
                self._view.draw(self._scene)

    def on_end(self, result: SearchResult) -> None:
        """Draw the last picture, and leave it."""
        with self._guarded():
            if self._view is not None and self._scene is not None:
                self._scene.end(result)
                self._view.draw(self._scene, last=True)
            self._close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """A view that fails is not a search that fails."""
        begun = time.perf_counter()
        try:
            yield
        except Exception as error:
            with suppress(Exception):
                self._close()
            warnings.warn(
                f"LiveView has stopped showing the search, which goes on: {error!r}",
                RuntimeWarning,
                stacklevel=3,
            )
        finally:
            self.seconds += time.perf_counter() - begun

    def _close(self) -> None:
        view, self._view = self._view, None
        if view is not None:
            view.close()


def _opener(where: Place, share: float, console: Console) -> Callable[[], View]:
    """What makes the view of a place."""
    if where == "auto":
        moves = console.is_terminal and not console.is_dumb_terminal
        where = "notebook" if console.is_jupyter else "terminal" if moves else "lines"
    if where == "lines":
        return lambda: LineView(console)
    if where == "terminal":
        return lambda: TerminalView(console, share)
    try:
        from IPython.display import display
    except ImportError as error:
        raise ImportError(
            'LiveView(where="notebook") needs IPython; install it with: pip install ipykernel'
        ) from error
    from .notebook import NotebookView

    return lambda: NotebookView(display, share)
