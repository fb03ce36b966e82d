"""A line an epoch, where there is neither a terminal nor a notebook."""

from __future__ import annotations

from rich.console import Console

from ..._search.callbacks import EpochInfo
from .scene import Scene


class LineView:
    """Prints what an epoch came to when it is over, and at the end the genotype."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = -1  # the last epoch that was printed

    def draw(self, scene: Scene, *, last: bool = False) -> None:
        """Print what was not printed yet."""
        info = scene.last
        if isinstance(info, EpochInfo) and info.epoch > self._told:
            self._told = info.epoch
            self._print(f"{scene.title}: {scene.numbers}")
        if last and scene.result is not None:
            self._print(f"{scene.title}: {scene.result.genotype}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()

    def close(self) -> None:
        """Nothing is open."""
