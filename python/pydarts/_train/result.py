"""`TrainResult`: the outcome of a training."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor, nn

from .. import _core
from .._results.environment import texts_from
from .._results.history import History, TrainRecord, record_from
from .._results.result import Status
from .._values import views
from .._values.callables import check_loss, fact_of, name_in
from .._values.files import about_in, about_of, read_checked, user_path, write_together
from .._values.plot import Plot, PlotOptions
from ..nn import LanguageModel, Network
from ..nn._cost import number_of_weights
from ..nn._files import load_network, network_bytes
from ..nn._images import know_normalization
from .config import TrainConfig
from .settings import not_published, settings_of
from .task import Evaluation, best_record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Unpack as Options

    from .._data.pairs import Unpack
    from .._search.metrics import MetricFunction
    from .module import AnyLoss

_FORMAT = 2
_SOURCES = ("data.source", "train.source")  # facts: of one data set, and of a pair


class Functions(NamedTuple):
    """The functions of the user in a training."""

    loss: AnyLoss | None = None
    metric: MetricFunction | None = None
    unpack: Unpack | None = None


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The outcome of `train`, complete or partial."""

    network: Network | Any = field(repr=False)
    """The trained network, with the weights selected by `TrainConfig.keep`; in evaluation mode. A module that
    `build` did not make is the one that was passed to `train`."""
    history: History[TrainRecord]
    """One record per epoch."""
    config: TrainConfig
    """The configuration of the run, with the published values filled in."""
    status: Status
    """ "complete", "interrupted" (Ctrl-C) or "failed" (an exception stopped the training)."""
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    """The machine and the versions of the training; for a resumed training, those of its last part: `device`,
    the name of its `processor`, the versions of `pydarts`, `torch`, `numpy` and `python`, `system`."""
    fingerprint: dict[str, str] = field(default_factory=dict, repr=False)
    """Facts about the data and the loss of the training; see `SearchResult.fingerprint`."""
    _functions: Functions | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_functions": None}  # functions of a notebook cannot be pickled

    def __copy__(self) -> TrainResult:
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> TrainResult:
        copied = {
            name: copy.deepcopy(value, memo) for name, value in vars(self).items() if name != "_functions"
        }
        return TrainResult(**copied, _functions=self._functions)

    @property
    def best(self) -> TrainRecord | None:
        """The record of the first epoch with the highest validation accuracy; for text, the lowest loss.

        With a metric, it is the first epoch with the best value in the sense of `config.metric_mode`; if the
        metric has several values, the first one counts. Without metric and accuracy, it is the epoch with the
        lowest validation loss. None without an epoch.
        """
        if not self.history:
            return None
        return best_record(self.history, self.network, self.config.metric_mode)

    def evaluate(
        self,
        data: Any,
        loss: AnyLoss | None = None,
        metric: MetricFunction | None = None,
        unpack: Unpack | None = None,
    ) -> Evaluation:
        """Measure the trained network on other data, such as a test set, in evaluation mode.

        Args:
            data: `(X, y)` arrays or a loader of batches, in the same form as in the training; for text, an
                array of tokens. If the training images were uint8, uint8 images and images scaled to [0, 1]
                are normalised as in the training. Nothing is augmented.
            loss: as in `train`; None: that of the training.
            metric: as in `train`; None: that of the training.
            unpack: as in `train`; None: that of the training. If the training read a loader, arrays `(X, y)`
                are not unpacked; for a loader whose batches are pairs already, pass
                `unpack=lambda batch: batch`.

        A result that was loaded from a folder or unpickled does not have these functions.

        Returns:
            The mean loss in nats, the accuracy (None without classes), the top-5 accuracy (None with at most
            five classes), and the values of the metric by name.

        Raises:
            DataError: the data have another form; the message says what to do.
            ConfigError: `loss` is missing for a result that was loaded or unpickled, and the training had a
                loss of your own.

        >>> import pydarts, torch
        >>> X, y = torch.zeros(40, 1, 8, 8), torch.arange(40) % 2
        >>> net = pydarts.build(
        ...     pydarts.genotypes.DARTS_V2, channels=2, layers=3, num_classes=2, in_channels=1
        ... )
        >>> cfg = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
        >>> trained = pydarts.train(net, (X, y), cfg)
        >>> trained.evaluate((X, y)).accuracy
        0.5
        """
        from .evaluation import evaluate

        if not (loss is None or isinstance(loss, str) or callable(loss)):
            raise TypeError(
                f"loss must be a function, got a {type(loss).__name__}; inputs and targets are one pair: "
                "evaluate((X, y))"
            )
        if callable(loss):
            check_loss(loss)
        known = self._functions or Functions()
        if loss is None:
            loss = known.loss if self._functions is not None else self._saved_loss()
        arrays = isinstance(data, tuple) and len(data) == 2 and hasattr(data[1], "shape")
        if unpack is None and (not arrays or "arrays" in map(self.fingerprint.get, _SOURCES)):
            unpack = known.unpack
        metric = known.metric if metric is None else metric
        return evaluate(self.network, data, self.config, loss, metric, unpack)

    def _saved_loss(self) -> Literal["network"] | None:
        """Return the loss of a training that was loaded, which is known by its name only."""
        fact = self.fingerprint.get("loss", fact_of(None))
        name = name_in(fact)
        if name is None or fact in (fact_of(nn.functional.cross_entropy), fact_of(nn.CrossEntropyLoss())):
            return None
        if name == "network":
            return "network"
        raise _core.ConfigError(
            f"the training used the loss `{name}`, which a saved result does not contain; pass that loss "
            "again, evaluate(..., loss=...), or torch.nn.functional.cross_entropy for the cross-entropy"
        )

    def predict(self, x: Any) -> Tensor:
        """Return the outputs of the trained network in evaluation mode, computed in batches, on the CPU.

        Args:
            x: images or sequences, arrays as in the training, which are normalised in the same way; for
                another module, its inputs, with one row per example.

        Returns:
            The outputs [N, ...], for networks of `build` the logits [N, classes]: `predict(x).argmax(1)` are
            class numbers, `predict(x).softmax(1)` probabilities.

        Raises:
            ConfigError: the network is a language model.
            TypeError: the network does not return a tensor.

        >>> import pydarts, torch
        >>> net, X = nn.Linear(4, 2), torch.zeros(16, 4)
        >>> cfg = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
        >>> pydarts.train(net, (X, torch.arange(16) % 2), cfg).predict(X[:3]).shape
        torch.Size([3, 2])
        """
        from .evaluation import outputs

        return outputs(self.network, x, self.config)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the result to a folder, created if necessary: `network.safetensors`, then `training.json`.

        They are written under temporary names and then renamed, so that a failed save leaves an earlier
        result as it was, and a reader never sees a partial file.
        """
        folder = user_path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "status": self.status,
            "config": self.config.to_dict(),
            "history": self.history.to_dicts(),
            "environment": self.environment,
            "fingerprint": self.fingerprint,
        }
        files: dict[str, str | bytes] = {
            "network.safetensors": network_bytes(self.network),
            "training.json": about_of(_FORMAT, about),
        }
        write_together(folder, files)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], network: nn.Module | None = None) -> TrainResult:
        """Read a result from a folder that `save` wrote.

        Args:
            folder: the folder.
            network: for a module that `build` did not make, the module into which the weights are copied.
                Without it, the network of the result has only the `state_dict()`.

        Raises:
            FileNotFoundError: there is no such folder, or a file is missing.
            CheckpointError: a file is truncated or malformed, or does not fit `network`; the message says so.
        """
        folder = user_path(folder)
        about = read_checked(folder / "training.json", _about)
        trained = load_network(folder / "network.safetensors", network).eval()
        know_normalization(trained, about[1].mean, about[1].std)  # files of earlier versions
        return cls(trained, *about)

    def plot_losses(
        self,
        ax: Axes | None = None,
        **options: Options[PlotOptions],
    ) -> Plot:
        """Draw training and validation losses, or perplexities of text: `plots.losses`."""
        return views.plots.losses(
            self.history, words=isinstance(self.network, LanguageModel), ax=ax, **options
        )

    def plot_accuracies(
        self,
        ax: Axes | None = None,
        **options: Options[PlotOptions],
    ) -> Plot:
        """Draw training and validation accuracies: `plots.accuracies`."""
        return views.plots.accuracies(self.history, ax=ax, **options)

    def plot_metrics(
        self,
        ax: Axes | None = None,
        **options: Options[PlotOptions],
    ) -> Plot:
        """Draw the values of the metric: `plots.metrics`."""
        return views.plots.metrics(self.history, mode=self.config.metric_mode or "max", ax=ax, **options)

    def _repr_html_(self) -> str:
        changed = not_published(self.config, settings_of(self.network))
        return views.cards.of_training(self, number_of_weights(self.network), changed)


def _about(data: bytes) -> tuple[History[TrainRecord], TrainConfig, Status, dict[str, str], dict[str, str]]:
    about = about_in(data, _FORMAT)
    history = History([record_from(record, TrainRecord) for record in about["history"]])
    config = TrainConfig.from_dict(about["config"])
    return (
        history,
        config,
        about["status"],
        texts_from("environment", about),
        texts_from("fingerprint", about),
    )
