"""Training of a network of images: SGD with a schedule, drop path, auxiliary loss and optional averaging."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from .. import _core
from .._data.arrays import is_labels, name_of
from .._data.draws import Masks, SeededLoss
from .._data.loaders import Loader, Source, Sources, open_images
from .._data.pairs import Unpack
from .._data.share import current
from .._data.sizes import search_dtype
from .._data.source import PythonSource
from .._data.unpacking import Contents, Unpacking
from .._search.metrics import Metric, MetricFunction, check_metric, counter_of, fact_of_metric
from .._values.callables import Loss, fact_of
from .._values.config import SearchConfig
from .._values.genotype import Genotype
from ..nn import ConvolutionalNetwork
from ..nn._build import build
from ..nn._examples import example
from ..nn._images import ImageNetwork
from .config import TrainConfig
from .criterion import criterion, wide
from .descent import Descent
from .fields import Precision
from .settings import BFLOAT16, ImageSettings
from .task import Evaluation, Step, step_seed

NEAR = 5  # the top-5 accuracy
_NO_EPOCH = 2**32 - 1  # in the place of an epoch, for what an evaluation draws
Batches: TypeAlias = _core.ArrayBatches | PythonSource


class ImageTask(Descent[ImageNetwork, ImageSettings]):
    """The published training (A.2.1 and A.2.3 of the paper)."""

    def __init__(
        self,
        network: ImageNetwork,
        sources: Sources,
        settings: ImageSettings,
        device: torch.device,
        loss: Loss | None = None,
        poll: Callable[[], None] | None = None,
        metric: MetricFunction | None = None,
        unpack: Unpack | None = None,
    ) -> None:
        super().__init__(network, settings, device)
        self._sources, self._device = sources, device
        self._train = _opened(sources.train, sources.config, device)
        self.facts = {**sources.facts, "loss": fact_of(loss)}
        self.facts |= {} if metric is None else {"metric": fact_of_metric(metric)}
        self.facts |= {} if unpack is None else {"unpack": fact_of(unpack)}
        self._metric = None if metric is None else Metric(metric, settings.seed, poll)
        self._correct = counter_of(loss)
        self._poll, self._epoch = poll, 0
        self._user = None if loss is None else SeededLoss(loss, settings.seed, poll)
        self._loss, self._objective = criterion(self._user), criterion(self._user, settings.label_smoothing)
        self.from_arrays = not isinstance(self._train, PythonSource)
        self._evaluation = _opened(sources.evaluation, sources.config, device)
        self._drop_path = network.drop_path
        self._compiled: dict[int, Callable[[Tensor], Any]] = {}
        self._steps = self._train.batches()

    @classmethod
    def open(
        cls,
        network: ImageNetwork | Genotype,
        loader: Loader,
        config: TrainConfig,
        device: torch.device,
        poll: Callable[[], None],
        loss: Loss | None = None,
        metric: MetricFunction | None = None,
        unpack: Unpack | None = None,
        trains: bool = True,
    ) -> ImageTask:
        """Create the task of a configuration; a genotype's network is built for the data's sizes.

        `poll` is called while waiting for a loader. Unless the task `trains`, a batch may have one image.
        """
        settings = ImageSettings.of(config)
        check_metric(metric, settings.metric_mode)
        contents = Contents(loss is not None, None if unpack is None else Unpacking(unpack))
        given = network if isinstance(network, ImageNetwork) else None
        if settings.channels_last and network.dimensions == 1:
            raise _core.ConfigError("channels_last applies to images only; leave it out for sequences")
        reading = config.reading(
            batch_size=settings.batch_size,
            eval_batch_size=settings.eval_batch_size,
            train_portion=settings.train_portion,
            seed=settings.seed,
            device=str(device),
            precision="float64" if given is not None and _dtype(given) == torch.float64 else "float32",
            num_classes=given.arguments["num_classes"] if given is not None else None,
            in_channels=given.arguments["in_channels"] if given is not None else None,
            space="darts-1d" if network.dimensions == 1 else None,
        )
        sources = open_images(loader, reading, fewest_valid=1, poll=poll, contents=contents)
        sources.fetch_when_asked()
        found = sources.config
        assert (
            found.num_classes is not None and found.in_channels is not None and found.image_size is not None
        )
        if isinstance(network, Genotype):
            with Masks(settings.seed, poll):
                built = build(network, num_classes=found.num_classes, in_channels=found.in_channels)
            assert isinstance(built, ImageNetwork)
            network = built
        _check_dtype(network, settings.precision)
        _check_auxiliary(network, found.image_size)
        settings = replace(settings, mean=found.mean, std=found.std)
        task = cls(network, sources, settings, device, loss, poll, metric, unpack)
        if trains and task._train.smallest == 1:
            _check_alone(network, found.image_size)
        if trains:
            network.image_size = found.image_size
        return task

    @property
    def scheduled(self) -> bool:
        """Whether an epoch depends on the total number of epochs."""
        return self.settings.weight_lr_schedule == "cosine" or self._drop_path > 0

    def step_count(self, epoch: int) -> int | None:
        """Return the number of steps of an epoch; None in the first pass over a loader without a length."""
        return self._steps

    def steps(self, epoch: int) -> Iterator[Step]:
        """Do the steps of an epoch, one by one."""
        settings = self.settings
        self.network.train()
        self.network.drop_now(self._drop_path * epoch / settings.epochs)
        self._begin_epoch(epoch)
        done, self._epoch = 0, epoch + 1
        for x, y in self._batches(self._train, epoch):
            if len(x) == 1:
                _check_alone(self.network, (1, *x.shape[2:])[-2:])
            self._begin(epoch, done)
            with Masks(step_seed(settings.seed, epoch, done, *self.parallel.numbers), self._poll):
                step, objective = self._losses(x, y)
            self._descend(objective, len(x))
            done += 1
            yield step
        self._steps = done

    def evaluate(self) -> Evaluation:
        """Evaluate loss, accuracy and metric over the validation images, with running statistics."""
        self.parallel.average(self.weights.buffers)
        if self._metric is not None:
            self._metric.begin(self._epoch)
        with torch.no_grad():
            steps = []
            for logits, y in self.answers():
                steps.append(self._measured(logits, y))
                if self._metric is not None:
                    self._metric.add(wide(logits), y, len(y))
        return Evaluation.of(steps, {} if self._metric is None else self._metric.measured())

    @torch.no_grad()
    def answers(self) -> Iterator[tuple[Any, Tensor]]:
        """Yield the logits for the batches of the validation images, and their targets."""
        network = self.weights.evaluated.eval()
        for number, (x, y) in enumerate(self._batches(self._evaluation, 0)):
            self._begin(self._epoch, -1 - number)
            with Masks(step_seed(self.settings.seed, _NO_EPOCH, number), self._poll):
                logits = self._forward(network, x)
            yield logits, y

    def close(self) -> None:
        """Stop the loaders' threads; restore the network's drop path."""
        self._sources.close()
        self.network.drop_path = self._drop_path

    def _batches(self, source: Batches, index: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of a pass."""
        source.start(index, 0)
        while (batch := source.next()) is not None:
            if not len(batch[0]):  # of a last batch with fewer images than ranks
                continue
            x, y = (part.to(self._device, non_blocking=True) for part in batch)
            yield x.contiguous(memory_format=torch.channels_last) if self.settings.channels_last else x, y

    def _begin(self, *step: int) -> None:
        """Tell the user's loss the step, or the batch of the evaluation, on which its numbers depend."""
        if self._user is not None:
            self._user.begin(*step)

    def _losses(self, x: Tensor, y: Tensor) -> tuple[Step, Tensor]:
        """Return the measurements of a step, and the loss to minimise."""
        found = self._forward(self.network, x)
        logits, aside = found if isinstance(found, tuple) else (found, None)
        step = self._measured(logits, y)
        objective = self._objective(logits, y) if self.settings.label_smoothing else step.loss
        if aside is not None:
            objective = objective + self.settings.auxiliary_weight * self._objective(aside, y)
        return replace(step, loss=step.loss.detach()), objective

    def _measured(self, logits: Tensor, y: Tensor) -> Step:
        answers = logits.detach()
        loss, near = self._loss(logits, y), None
        if not is_labels(y):
            return Step(loss, None if self._correct is None else self._correct(answers, y), len(y))
        if answers.shape[1] > NEAR:
            near = (answers.topk(NEAR, 1).indices == y[:, None]).any(1).sum()
        return Step(loss, (answers.argmax(1) == y).sum(), len(y), near)

    def _forward(self, network: nn.Module, x: Tensor) -> Any:
        if self.settings.compile and id(network) not in self._compiled:
            # A partial last batch would otherwise make the graph dynamic in size, and slower ever after.
            self._compiled[id(network)] = torch.compile(network, dynamic=False)
        with self._precision():
            return self._compiled.get(id(network), network)(x)

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self.settings.precision == BFLOAT16)


def _opened(source: Source, config: SearchConfig, device: torch.device) -> Batches:
    """Return the batches of a source of images; the engine makes the batches of arrays."""
    assert not isinstance(source, _core.Tokens)
    if isinstance(source, PythonSource):
        return source
    dtype = name_of(search_dtype(config))
    share = current()
    augmented = config.augment == "cifar", config.cutout
    return source.open(config.seed, *augmented, dtype, str(device), share.rank, share.ranks)


def _dtype(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype


def _check_dtype(network: nn.Module, precision: Precision) -> None:
    """Require float32 weights for bfloat16 passes, otherwise float32 or float64 weights."""
    fit = (torch.float32,) if precision == BFLOAT16 else (torch.float32, torch.float64)
    if _dtype(network) not in fit:
        names = " or ".join(name_of(dtype) for dtype in fit)
        raise _core.ConfigError(
            f"the network's weights are {name_of(_dtype(network))}; a training with precision={precision!r} "
            f"keeps them in {names}: use network.float()"
        )


def _check_auxiliary(network: ImageNetwork, size: tuple[int, int]) -> None:
    """Check that the input of the auxiliary head is large enough."""
    if not isinstance(network, ConvolutionalNetwork) or network.auxiliary is None:
        return
    imagenet = network.arguments["stem"] == "imagenet"
    reduced = sum(cell <= network.head_cell for cell in set(network.reductions))
    factor = 2 ** (reduced + (3 if imagenet else 0))
    least = network.auxiliary.least
    if min(-(-side // factor) for side in size[-network.dimensions :]) < least:
        raise _core.DataError(
            f"images of {size[0]}x{size[1]} pixels are too small for the auxiliary head, which requires "
            f"{factor * (least - 1) + 1} or more; build the network with auxiliary=False"
        )


def _check_alone(network: ImageNetwork, size: tuple[int, int]) -> None:
    """Refuse a batch of one image that leaves batch norm a single value per channel, without a variance."""
    shapes = copy.deepcopy(network).to("meta").train()
    try:
        shapes(*example(shapes, size, None, batch=1))
    except ValueError as error:
        raise _core.DataError(
            f"a training batch of one image of {size[0]}x{size[1]} pixels leaves batch norm one value per "
            "channel; drop a partial last batch (DataLoader(..., drop_last=True)), or choose another "
            "batch_size"
        ) from error
