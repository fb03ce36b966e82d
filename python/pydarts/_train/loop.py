"""The loop of a training: steps, evaluation, record and checkpoint of every epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from .. import _core
from .._data.fingerprint import comparable
from .._data.interrupt import InterruptWatch
from .._data.share import current
from .._results.history import History, TrainRecord, record_from
from .._values.ambient import kept
from .._values.hints import hint
from ..nn import LanguageModel
from ..nn._images import ImageNetwork
from . import checkpoint
from .callbacks import TrainCallback, TrainStep
from .config import TrainConfig
from .progress import READ_EVERY, TrainProgress
from .settings import OF_EVERY_RUN
from .task import Evaluation, Step, Task, best_record

_OF_DATA = ("mean", "std")


class Loop:
    """A running training; its attributes hold what it has reached, whatever ends it."""

    def __init__(self, task: Task, config: TrainConfig, writes: bool = True) -> None:
        self._task, self._config, self._writes = task, config, writes
        self._epochs, self._keep = task.settings.epochs, task.settings.keep
        # Settings that must equal those of a checkpoint.
        free = ("epochs", *OF_EVERY_RUN, *task.settings.of_the_run)
        network, genotype, arguments = task.network, None, None
        if isinstance(network, (ImageNetwork, LanguageModel)):
            genotype, arguments = network.genotype.to_dict(), network.arguments
        self._about: dict[str, Any] = {
            "genotype": genotype,
            "arguments": arguments,
            "config": {name: value for name, value in config.to_dict().items() if name not in free},
        }
        self._facts = task.facts
        self._before: tuple[dict[str, str], dict[str, Any]] | None = None  # those of the checkpoint
        self._records: list[TrainRecord] = []
        self._best: dict[str, Tensor] = {}
        self._good = task.weights.copy()  # after the last finished epoch; at first the initial weights
        # A buffer of your own may hold infinity, such as the mask of an attention.
        self._finite = {name for name, value in self._good.items() if bool(value.isfinite().all())}
        self._diverged = False

    @property
    def facts(self) -> dict[str, str]:
        """The facts about data and loss of the latest steps: those of a checkpoint until a step is done."""
        return self._facts if self._before is None else self._before[0]

    @property
    def statistics(self) -> dict[str, Any]:
        """Mean and deviation of the data of the latest steps, by the names of the settings."""
        held: Any = self._about["config"] if self._before is None else self._before[1]
        return {name: None if held.get(name) is None else tuple(held[name]) for name in _OF_DATA}

    @property
    def history(self) -> History[TrainRecord]:
        """The records so far."""
        return History(self._records)

    def weights(self) -> dict[str, Tensor]:
        """The weights to keep; if the last steps broke them, those of the last good epoch."""
        if self._keep == "best" and self._best:
            return self._best
        reached = self._task.weights.copy()
        if self._diverged or not all(bool(reached[name].isfinite().all()) for name in self._finite):
            return self._good
        return reached

    def run(
        self, callbacks: Sequence[TrainCallback], progress: TrainProgress | None, watch: InterruptWatch
    ) -> None:
        """Train until the last epoch is over."""
        self._resume()
        self._check_beginning()
        for epoch in range(len(self._records), self._epochs):
            begun = perf_counter()
            if progress is not None:
                progress.begin(epoch, self._task.step_count(epoch))
            trained = self._train(epoch, callbacks, progress, watch)
            found = self._task.evaluate()
            if not math.isfinite(found.loss):
                self._diverge(f"the validation loss is {found.loss} after epoch {epoch + 1}")
            record = TrainRecord(
                epoch=epoch,
                train_loss=trained.loss,
                valid_loss=found.loss,
                train_accuracy=trained.accuracy,
                valid_accuracy=found.accuracy,
                learning_rate=self._task.learning_rate(epoch),
                averaged=self._task.weights.averaged,
                seconds=perf_counter() - begun,
                train_top5=trained.top5,
                valid_top5=found.top5,
                metrics=found.metrics,
            )
            self._note(record)
            if progress is not None:
                progress.epoch(record)
            for callback in callbacks:
                with kept():
                    callback.on_epoch(record)
            watch.check()

    def _check_beginning(self) -> None:
        peers = current().peers
        epochs = [] if peers is None else peers.exchange(len(self._records))
        if len({*epochs}) > 1:
            found = ", ".join(f"{count} on rank {rank}" for rank, count in enumerate(epochs))
            raise _core.CheckpointError(
                f"the number of epochs that were trained is {found}; give all ranks the same "
                "checkpoint_dir, on storage that they share"
            )

    def _train(
        self,
        epoch: int,
        callbacks: Sequence[TrainCallback],
        progress: TrainProgress | None,
        watch: InterruptWatch,
    ) -> Evaluation:
        steps: list[Step] = []
        unread = 0
        count, rate = self._task.step_count(epoch), self._task.learning_rate(epoch)
        for index, step in enumerate(self._task.steps(epoch)):
            self._before = None
            steps.append(step)
            if step.loss.is_cpu or index % READ_EVERY == 0:
                self._read(steps, unread, epoch)
                unread = len(steps)
            if progress is not None:
                progress.step(step)
            if callbacks:
                info = TrainStep(epoch, index, count, float(step.loss), rate)
                for callback in callbacks:
                    with kept():
                        callback.on_step(info)
            watch.check()
        self._read(steps, unread, epoch)
        return Evaluation.of(steps)

    def _read(self, steps: Sequence[Step], first: int, epoch: int) -> None:
        """Check the losses of an epoch's steps, beginning with step `first`."""
        if first == len(steps):
            return
        losses = torch.stack([step.loss for step in steps[first:]]).tolist()
        for index, loss in enumerate(losses, first):
            if not math.isfinite(loss):
                self._diverge(f"the loss is {loss} in step {index + 1} of epoch {epoch + 1}")

    def _diverge(self, what: str) -> None:
        self._diverged = True
        raise _core.NumericalError(f"{what}; lower weight_lr")

    def _note(self, record: TrainRecord) -> None:
        """Record an epoch and write its checkpoint."""
        self._good = self._task.weights.copy()
        self._records.append(record)
        best = best_record(self._records, self._task.network, self._config.metric_mode)
        if self._keep == "best" and best is record:
            self._best = self._good
        self._task.after([record.valid_loss for record in self._records])
        if self._config.checkpoint_dir is not None and self._writes:
            about = self._about | {
                "epochs": self._epochs,
                "fingerprint": self._facts,
                "history": self.history.to_dicts(),
            }
            tensors = self._task.state() | {f"best/{name}": value for name, value in self._best.items()}
            checkpoint.write(Path(self._config.checkpoint_dir), len(self._records), about, tensors)

    def _resume(self) -> None:
        if self._config.checkpoint_dir is None:
            return
        folder = Path(self._config.checkpoint_dir)
        if not self._config.resume and checkpoint.any_in(folder):
            raise _core.CheckpointError(
                f"{folder} already holds the checkpoints of a training; pass resume=True to continue it, or "
                "use another folder"
            )
        found = checkpoint.newest(folder)
        if found is None:
            return
        tensors, about = found
        history, before = about.pop("history", []), about.pop("epochs", self._epochs)
        batches = about.pop("batches", 1)
        self._check_same_training(folder, about)
        if len(history) > self._epochs:
            raise _core.CheckpointError(
                f"the checkpoint in {folder} has {len(history)} epochs, more than {self._epochs}"
            )
        if before != self._epochs and self._task.scheduled:
            hint(f"epochs changes from {before} to {self._epochs}: the schedules are recomputed")
        if batches != checkpoint.BATCHES and self._task.from_arrays and len(history) < self._epochs:
            hint(
                f"the checkpoint in {folder} was written by an earlier version, which ordered and cropped "
                "arrays differently; the training continues with the order and crops of this version"
            )
        self._records = [record_from(record, TrainRecord) for record in history]
        best = {name: tensors.pop(name) for name in list(tensors) if name.startswith("best/")}
        self._best = {name.removeprefix("best/"): value for name, value in best.items()}
        try:
            self._task.load_state(tensors)
        except RuntimeError as error:
            raise _core.CheckpointError(
                f"the checkpoint in {folder} does not fit the network: {error}"
            ) from error
        self._good = self._task.weights.copy()

    def _check_same_training(self, folder: Path, theirs: dict[str, Any]) -> None:
        """Compare settings, data and loss with those of a checkpoint."""
        # Mean and deviation are computed from the data. Checkpoints of earlier versions have no fingerprint.
        config = dict(self._about["config"])
        mine = {name: config.pop(name, None) for name in _OF_DATA}
        theirs.get("config", {}).setdefault("metric_mode", "max")  # earlier versions had no metrics
        found = {name: theirs.get("config", {}).pop(name, None) for name in _OF_DATA}
        facts = theirs.pop("fingerprint", self._facts)
        if (theirs.get("genotype") is None) is not (self._about["genotype"] is None):
            kinds = ["a network of your own", "a network of pydarts.build"]
            here, there = (kinds[each["genotype"] is not None] for each in (self._about, theirs))
            raise _core.CheckpointError(
                f"the checkpoint in {folder} belongs to another training: of {there}, not {here}"
            )
        for what in differences(self._about | {"config": config}, theirs):
            raise _core.CheckpointError(f"the checkpoint in {folder} belongs to another training: {what}")
        other = "; ".join(differences(*comparable(mine | self._facts, found | facts)))
        if other and self._config.resume != "force":
            raise _core.CheckpointError(
                f"the checkpoint in {folder} belongs to a training with other data or another loss: {other}; "
                'use another folder, or continue with resume="force" (--force on the command line)'
            )
        if other:
            hint(f"steps from here on use other data or another loss: {other}")
        self._before = facts, found


def differences(mine: dict[str, Any], theirs: dict[str, Any]) -> Iterable[str]:
    """Describe the differences between two trees of plain data."""
    for name in sorted({*mine, *theirs}):
        one, other = mine.get(name), theirs.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from differences(one, other)
        elif one != other:
            yield f"its {name} is {other!r}, here {one!r}"
