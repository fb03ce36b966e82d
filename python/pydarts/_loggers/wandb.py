"""A logger that writes a run of Weights & Biases: configuration, metrics and plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._search.callbacks import EpochInfo, StartInfo
from .base import Logger, missing, picture, tag, weights

if TYPE_CHECKING:
    from .._results.result import SearchResult
    from .._values.genotype import Genotype


class WeightsAndBiases(Logger):
    """Writes a search as a run of Weights & Biases.

    The configuration is that of the run, the measurements of an epoch become metrics of step `epoch`.
    When the cell changes, a plot of the cells is logged and the genotype is stored in the summary. Offline,
    `mode="offline"` keeps the run in a folder, for `wandb sync` to upload later.

    A resumed search (`resume=True`) continues the run with the given `id`, if there is one.

    Args:
        project: name of the project.
        alphas: whether to log mixing weights as metrics too: `alpha/table/source_target/operation`.
        init: further arguments of `wandb.init`: `name`, `mode`, `dir`, `id`, `tags`, ….

    Raises:
        ImportError: wandb is not installed.
    """

    def __init__(self, project: str = "pydarts", *, alphas: bool = False, **init: Any) -> None:
        try:
            import wandb
        except ImportError as error:
            raise missing("WeightsAndBiases", "wandb") from error
        self._wandb, self._alphas = wandb, alphas
        self._init: dict[str, Any] = {"project": project} | init

    def _begin(self, info: StartInfo) -> None:
        goes_on: dict[str, Any] = {"resume": "allow"} if info.config.resume and "id" in self._init else {}
        self._run = self._wandb.init(config=info.config.to_dict(), **(goes_on | self._init))

    def _write(self, epoch: int, info: EpochInfo, row: dict[str, float]) -> None:
        if self._alphas:
            row = row | {
                tag(*entry): weight for entry, weight in weights(info, self._config, self._tables).items()
            }
        self._run.log(row, step=epoch)

    def _show(self, epoch: int, genotype: Genotype) -> None:
        self._run.log({"cells": self._wandb.Image(picture(genotype))}, step=epoch)
        self._run.summary["genotype"] = str(genotype)

    def _finish(self, result: SearchResult) -> None:
        self._run.finish(exit_code=0 if result.status == "complete" else 1)
