"""A logger for TensorBoard: scalars, one chart per edge, and plots of the cells."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .._results.gathered import TOGETHER
from .._results.score import score_of
from .._results.tables import EDGES
from .._search.callbacks import EpochInfo, StartInfo
from .._values.files import user_path
from .base import Logger, choices, missing, names, picture, tag, weights

if TYPE_CHECKING:
    from .._results.result import SearchResult
    from .._values.genotype import Genotype


class TensorBoard(Logger):
    """Writes event files for TensorBoard: `tensorboard --logdir FOLDER`.

    Per epoch: losses, accuracies, metrics, learning rate, entropies, skip connections, seconds and the
    diagnostics of the algorithm as scalars under `search/`, mixing weights under
    `alpha/table/source_target/operation`; the page "custom scalars" has one chart per edge, or per choice of
    a network of your own. When the cell changes, a plot of the cells and the genotype as text are written.
    The configuration is written as text and, with the metric, accuracy or loss of the best epoch, as
    hyperparameters.

    A resumed search (`resume=True`) continues in the existing folder; events of epochs that it repeats are
    hidden. Any other search requires a new folder.

    Args:
        folder: folder of the event files, created if necessary.

    Raises:
        ImportError: tensorboard is not installed.
        FileExistsError: at the start of a search without `resume`, if the folder holds event files.

    >>> import tempfile, numpy as np, pydarts
    >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
    >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pydarts.search((X, y), cfg, pydarts.loggers.TensorBoard(folder))
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing("TensorBoard", "tensorboard") from error
        self._folder, self._make = user_path(folder), SummaryWriter

    def _begin(self, info: StartInfo) -> None:
        resume = info.config.resume
        if not resume and any(self._folder.glob("events.out.tfevents.*")):
            raise FileExistsError(
                f"{self._folder} already holds the events of a run; use another folder, or continue its "
                "search with resume=True"
            )
        self._writer = self._make(str(self._folder), purge_step=info.first_epoch if resume else None)
        self._writer.add_text("config", f"```json\n{info.config.to_json(indent=1)}\n```", info.first_epoch)
        self._writer.add_custom_scalars(self._layout())

    def _layout(self) -> dict[str, dict[str, list[Any]]]:
        """Return the charts with several curves."""
        known, tables = names(self._tables), self._tables
        curves: dict[str, list[Any]] = {
            name: ["Multiline", [f"search/{part}_{name}" for part in ("train", "valid")]]
            for name in ("loss", "accuracy", "perplexity")
            if f"train_{name}" in known
        }
        pages: dict[str, dict[str, list[Any]]] = {"search": curves}
        for name, table in tables.items():
            page = pages.setdefault(TOGETHER if table.single else name, {})
            for row, candidates in enumerate(table.candidates):
                label = name if table.single else table.tag(row)
                if table.edges:
                    label = label.replace("_", " to ")
                page[label] = ["Multiline", [tag(name, table.tag(row), each) for each in candidates]]
            for row, (_, target) in enumerate(table.edges if self._config.edge_normalization else ()):
                chart = pages.setdefault(name + EDGES, {}).setdefault(f"to {target}", ["Multiline", []])
                chart[1].append(tag(name + EDGES, table.tag(row), "edge"))
        return pages

    def _write(self, epoch: int, info: EpochInfo, row: dict[str, float]) -> None:
        for name, value in row.items():
            self._writer.add_scalar(f"search/{name}", value, epoch)
        for entry, weight in weights(info, self._config, self._tables).items():
            self._writer.add_scalar(tag(*entry), weight, epoch)
        self._writer.flush()

    def _show(self, epoch: int, genotype: Genotype) -> None:
        self._writer.add_figure("cells", picture(genotype), epoch)
        self._writer.add_text("genotype", f"    {genotype}", epoch)
        self._writer.flush()

    def _finish(self, result: SearchResult) -> None:
        if result.history:
            score = score_of(result.history, result.config.metric_mode)
            found = {f"best/valid_{score.name}": score.valid(score.best(result.history))}
            self._writer.add_hparams(choices(self._config), found, run_name=".")
        self._writer.close()
