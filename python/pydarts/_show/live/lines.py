"""The live view outside terminals and notebooks: one line per epoch."""

from __future__ import annotations

from rich.console import Console

from ..._results.tables import decision_in_words
from ..._search.callbacks import EpochInfo
from .scene import Scene


class LineView:
    """Prints a line after every epoch, and the genotype at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = -1  # the last printed epoch

    def draw(self, scene: Scene, *, last: bool = False) -> None:
        """Print the epochs that have not been printed."""
        info = scene.last
        if isinstance(info, EpochInfo) and info.epoch > self._told:
            self._told = info.epoch
            self._print(f"{scene.title}: {scene.numbers}")
            for decision in info.decisions:
                self._print(f"epoch {info.epoch + 1}: {decision_in_words(decision, scene.tables)}")
        if last and scene.result is not None:
            found = scene.result.genotype if scene.space is not None else scene.result.architecture
            self._print(f"{scene.title}: {found}")

    def _print(self, text: str) -> None:
        encoding = self._console.encoding
        text = text.encode(encoding, "replace").decode(encoding)
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()

    def close(self) -> None:
        """Do nothing: nothing is open."""
