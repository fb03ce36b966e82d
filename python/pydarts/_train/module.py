"""Training of a module that pydarts did not build: any inputs, targets, loss and metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils import _pytree as trees

from .. import _core
from .._data.arrays import name_of
from .._data.draws import SeededLoss
from .._data.loaders import Loader, Sources
from .._data.pairs import Unpack, open_pairs
from .._data.source import PythonSource
from .._data.structure import describe
from .._results.modules import fact_of_module
from .._search.metrics import Metric, MetricFunction, check_metric, counter_of
from .._values.callables import fact_of
from .._values.hints import add_note
from ..nn._module import called, check_complete
from .config import TrainConfig
from .criterion import objective_of
from .descent import Descent
from .settings import BFLOAT16, ModuleSettings
from .task import Evaluation, Step

AnyLoss: TypeAlias = Callable[[Any, Any], Tensor] | Literal["network"]
"""(output, targets) -> mean over the batch, a scalar tensor; or "network": the module returns its loss."""


class ModuleTask(Descent[nn.Module, ModuleSettings]):
    """The training of a module as the paper trains networks of images, on any data and with any loss."""

    from_arrays = False

    def __init__(
        self,
        network: nn.Module,
        sources: Sources,
        settings: ModuleSettings,
        device: torch.device,
        loss: AnyLoss | None = None,
        metric: MetricFunction | None = None,
        poll: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(network, settings, device)
        # A module that is in evaluation mode as a whole was not put there to freeze its batch norm.
        still = [part for part in network.modules() if not part.training]
        self._frozen = still if len(still) < len([*network.modules()]) else []
        assert isinstance(sources.train, PythonSource) and isinstance(sources.evaluation, PythonSource)
        self._sources, self._device, self._dtype = sources, device, dtype_of(network)
        self._train, self._evaluation = sources.train, sources.evaluation
        self.facts = sources.facts
        self._epoch, self._steps = 0, self._train.batches()
        self._forward = SeededLoss(self._called, settings.seed, poll)
        self._user = None if loss is None or loss == "network" else SeededLoss(loss, settings.seed, poll)
        given: Any = loss if self._user is None else self._user
        self._loss = objective_of(given)
        self._objective = objective_of(given, settings.label_smoothing)
        self._metric = None if metric is None else Metric(metric, settings.seed, poll)
        self._correct = None if loss == "network" else counter_of(loss)
        self._compiled: dict[int, Callable[..., Any]] = {}

    @classmethod
    def open(
        cls,
        network: nn.Module,
        loader: Loader,
        config: TrainConfig,
        device: torch.device,
        poll: Callable[[], None],
        loss: AnyLoss | None = None,
        metric: MetricFunction | None = None,
        unpack: Unpack | None = None,
    ) -> ModuleTask:
        """Create the task of a configuration; `poll` is called while waiting for a loader."""
        settings = ModuleSettings.of(config)
        check_metric(metric, settings.metric_mode)
        if config.checkpoint_dir is not None:
            check_complete(network)
        dtype = dtype_of(network)
        low = settings.precision == BFLOAT16
        if dtype not in ((torch.float32,) if low else (torch.float32, torch.float64)):
            either = "" if low else " or float64"
            raise _core.ConfigError(
                f"the network's weights are {name_of(dtype)}; a training with precision="
                f"{settings.precision!r} keeps them in float32{either}: use network.float()"
            )
        facts = {"network": fact_of_module(network, ()), "loss": loss if loss == "network" else fact_of(loss)}
        if metric is not None:
            if hasattr(metric, "reset"):  # what an earlier run left in it is no setting
                metric.reset()
            facts["metric"] = fact_of(metric)
        if unpack is not None:
            facts["unpack"] = fact_of(unpack)
        reading = config.reading(
            batch_size=settings.batch_size,
            train_portion=settings.train_portion,
            seed=settings.seed,
            device=str(device),
            precision=name_of(dtype),
        )
        sources = open_pairs(loader, reading, poll, unpack, fewest_valid=1)
        sources.facts.update(facts)
        return cls(network, sources, settings, device, loss, metric, poll)

    @property
    def scheduled(self) -> bool:
        """Whether an epoch depends on the total number of epochs."""
        return self.settings.weight_lr_schedule == "cosine"

    def step_count(self, epoch: int) -> int | None:
        """Return the number of steps of an epoch; None in the first pass over a loader without a length."""
        return self._steps

    def steps(self, epoch: int) -> Iterator[Step]:
        """Do the steps of an epoch, one by one."""
        self.network.train()
        for part in self._frozen:
            part.training = False
        self._begin_epoch(epoch)
        done, self._epoch = 0, epoch + 1
        for inputs, targets, count in self._batches(self._train, epoch):
            self._begin(epoch, done, *self.parallel.numbers)
            output = self._run(self.network, inputs)
            loss = self._loss(output, targets)
            objective = self._objective(output, targets) if self.settings.label_smoothing else loss
            step = Step(loss.detach(), self._counted(output, targets), count)
            self._descend(objective, count)
            done += 1
            yield step
        self._steps = done

    def evaluate(self) -> Evaluation:
        """Evaluate loss, accuracy and metric over the validation part, in evaluation mode."""
        self.parallel.average(self.weights.buffers)
        if self._metric is not None:
            self._metric.begin(self._epoch)
        with torch.no_grad():
            steps = []
            for output, targets, count in self.answers():
                steps.append(Step(self._loss(output, targets), self._counted(output, targets), count))
                if self._metric is not None:
                    self._metric.add(output, targets, count)
        return Evaluation.of(steps, {} if self._metric is None else self._metric.measured())

    @torch.no_grad()
    def answers(self) -> Iterator[tuple[Any, Any, int]]:
        """Yield outputs, targets and number of examples of the batches of the validation part."""
        network = self.weights.evaluated.eval()
        for number, (inputs, targets, count) in enumerate(self._batches(self._evaluation, 0)):
            self._begin(self._epoch, -1 - number)
            yield self._run(network, inputs), targets, count

    def close(self) -> None:
        """Stop the loaders' threads."""
        self._sources.close()

    def _batches(self, source: PythonSource, index: int) -> Iterator[tuple[Any, Any, int]]:
        """Yield inputs, targets and number of examples of the batches of a pass."""
        source.start(index, 0)
        while (batch := source.next()) is not None:
            tensors, layout = batch
            if not len(tensors[0]):  # of a last batch with fewer examples than ranks
                continue
            inputs, targets = layout.rebuild([self._placed(tensor) for tensor in tensors])
            yield inputs, targets, len(tensors[0])

    def _placed(self, tensor: Tensor) -> Tensor:
        dtype = self._dtype if tensor.is_floating_point() else None
        placed = tensor.to(self._device, dtype, non_blocking=True)
        if self.settings.channels_last and placed.ndim == 4:
            return placed.contiguous(memory_format=torch.channels_last)
        return placed

    def _begin(self, *step: int) -> None:
        """Tell the network and the loss the step, or the batch of the evaluation, on which draws depend."""
        self._forward.begin("network", *step)
        if self._user is not None:
            self._user.begin(*step)

    def _run(self, network: nn.Module, inputs: Any) -> Any:
        """Return the output of the network; what it draws is seeded."""
        if self.settings.compile and id(network) not in self._compiled:
            # A partial last batch would otherwise make the graph dynamic in size, and slower ever after.
            self._compiled[id(network)] = torch.compile(network, dynamic=False)
        try:
            return self._forward(network, inputs)
        except Exception as error:
            add_note(error, f"{type(network).__name__} was called with {describe(inputs)}")
            raise

    def _called(self, network: nn.Module, inputs: Any) -> Any:
        with self._precision():
            output = called(network, inputs, self._compiled.get(id(network)))
        if self.settings.precision != BFLOAT16:
            return output
        return trees.tree_map_only(Tensor, lambda value: value.float() if _is_half(value) else value, output)

    def _counted(self, output: Any, targets: Any) -> Tensor | None:
        return None if self._correct is None else self._correct(output, targets)

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self.settings.precision == BFLOAT16)


def _is_half(value: Tensor) -> bool:
    return value.dtype in (torch.bfloat16, torch.float16)


def dtype_of(network: nn.Module) -> torch.dtype:
    """Return the dtype of the first weight that is trained."""
    return next(weight.dtype for weight in network.parameters() if weight.requires_grad)
