"""A logger that writes a run of MLflow: parameters, metrics and artifacts."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .._search.callbacks import EpochInfo, StartInfo
from .base import Logger, choices, missing, picture, tag, weights

if TYPE_CHECKING:
    from mlflow.entities import Run

    from .._results.result import SearchResult
    from .._values.genotype import Genotype

_ENDS = {"complete": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_FOLDER = "pydarts.checkpoint_dir"  # tag of a run, by which a resumed search finds it
_MOST = 1000  # metrics per call
_REFUSED = re.compile(r"[^\w\-. /]")  # characters that names of metrics cannot have


class MLflow(Logger):
    """Writes a search as a run of MLflow.

    The configuration becomes parameters, the measurements of an epoch become metrics of step `epoch`. When
    the cell changes, the genotype (`genotype.json`, `genotype.txt`) and a plot of its cells
    (`cells/epoch_N.png`) are stored as artifacts. The run ends as FINISHED, KILLED (Ctrl-C) or FAILED.

    A resumed search (`resume=True`) continues the latest run of the experiment with its `checkpoint_dir`, if
    there is one, and writes no epoch twice.

    Args:
        experiment: name of the experiment, created if necessary.
        run_name: name of the run; None: MLflow chooses one.
        tracking_uri: a server, or a file such as `sqlite:///mlflow.db`; None: the setting of MLflow.
        alphas: whether to log mixing weights as metrics too: `alpha/table/source_target/operation`.

    Raises:
        ImportError: mlflow is not installed.
    """

    def __init__(
        self,
        experiment: str = "pydarts",
        *,
        run_name: str | None = None,
        tracking_uri: str | None = None,
        alphas: bool = False,
    ) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise missing("MLflow", "mlflow") from error
        self._entities = mlflow.entities
        self._client = mlflow.MlflowClient(tracking_uri=tracking_uri)
        self._experiment, self._name, self._alphas = experiment, run_name, alphas

    def _begin(self, info: StartInfo) -> None:
        client, config = self._client, info.config
        found = client.get_experiment_by_name(self._experiment)
        experiment = client.create_experiment(self._experiment) if found is None else found.experiment_id
        folder = "" if config.checkpoint_dir is None else Path(config.checkpoint_dir).resolve().as_uri()
        run = self._before(experiment, folder) if config.resume and folder else None
        if run is None:
            tags = {_FOLDER: folder} if folder else None
            run = client.create_run(experiment, run_name=self._name, tags=tags)
        else:
            client.update_run(run.info.run_id, status="RUNNING")
        self._run = run.info.run_id
        params = [
            self._entities.Param(name, str(value))
            for name, value in choices(config).items()
            if name not in run.data.params  # the value of a parameter cannot change
        ]
        client.log_batch(self._run, params=params)
        written = client.get_metric_history(self._run, "valid_loss")
        self._next = max((metric.step + 1 for metric in written), default=0)

    def _before(self, experiment: str, folder: str) -> Run | None:
        """Return the latest run with this checkpoint folder."""
        # A URL-encoded folder contains no quotes.
        found = self._client.search_runs([experiment], f"tags.`{_FOLDER}` = '{folder}'", max_results=1)
        return found[0] if found else None

    def _write(self, epoch: int, info: EpochInfo, row: dict[str, float]) -> None:
        if epoch < self._next:
            return
        if self._alphas:
            row = row | {
                tag(*entry): weight for entry, weight in weights(info, self._config, self._tables).items()
            }
        now = int(1000 * time.time())
        metrics = [
            self._entities.Metric(_REFUSED.sub("_", name), value, now, epoch) for name, value in row.items()
        ]
        for at in range(0, len(metrics), _MOST):
            self._client.log_batch(self._run, metrics=metrics[at : at + _MOST])

    def _show(self, epoch: int, genotype: Genotype) -> None:
        self._client.log_text(self._run, genotype.to_json(), "genotype.json")
        self._client.log_text(self._run, str(genotype), "genotype.txt")
        self._client.log_figure(self._run, picture(genotype), f"cells/epoch_{epoch}.png")

    def _finish(self, result: SearchResult) -> None:
        self._client.set_terminated(self._run, _ENDS[result.status])
