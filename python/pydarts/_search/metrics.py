"""Metrics of the user, and the accuracy that is counted without one."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from .._core import ConfigError, DataError
from .._data.draws import SeededLoss
from .._data.share import current
from .._values.callables import Known, fact_of, short_name
from .._values.hints import hint
from .._values.words import shown


@runtime_checkable
class Accumulator(Protocol):
    """A metric with a state, such as those of torchmetrics."""

    def update(self, output: Any, targets: Any, /) -> Any:
        """Add the outputs for a batch and its targets to the state."""

    def compute(self) -> Any:
        """Return the value over all batches since `reset`: a number, or numbers by name."""

    def reset(self) -> Any:
        """Clear the state."""


MetricFunction: TypeAlias = Callable[[Any, Any], Any] | Accumulator
"""(output, targets) -> the mean over a batch, a number or numbers by name; or an `Accumulator`."""

_EXPECTED = (
    "a function (output, targets) -> number, or an object with the methods update(output, targets), "
    "compute() and reset()"
)


def check_metric(metric: Any, mode: str = "max") -> None:
    """Check the arguments `metric` and `metric_mode` of a search or a training.

    Raises:
        TypeError: `metric` is a class, or neither a function nor an object with update, compute and reset.
        ConfigError: `metric_mode` is set without a metric.
    """
    if metric is None:
        if mode != "max":
            raise ConfigError(f'metric_mode is "{mode}", but there is no metric; pass metric= too')
        return
    if isinstance(metric, type):
        raise TypeError(
            f"metric is the class {metric.__name__}; pass an instance: metric={metric.__name__}()"
        )
    if not isinstance(metric, Accumulator) and not callable(metric):
        raise TypeError(f"metric must be {_EXPECTED}, got a {type(metric).__name__}: {shown(metric)}")
    if getattr(metric, "higher_is_better", None) is (mode == "min"):  # an attribute of torchmetrics
        better, wanted = ("large", "max") if mode == "min" else ("small", "min")
        hint(
            f'{better} values of {metric_name(metric)} are better, but metric_mode is "{mode}"; pass '
            f'metric_mode="{wanted}"'
        )


def metric_name(metric: Any) -> str:
    """Return the name under which a metric with one value is recorded: that of its function or class.

    >>> metric_name(torch.nn.functional.l1_loss), metric_name(lambda output, targets: 0.0)
    ('l1_loss', 'metric')
    """
    name = short_name(metric)
    return name if name.isidentifier() else "metric"  # a lambda has no name


def fact_of_metric(metric: MetricFunction) -> str:
    """Return the fact about a metric in a fingerprint, as `fact_of` does; a state is cleared first."""
    if isinstance(metric, Accumulator):
        metric.reset()
    return fact_of(metric)


class Metric:
    """A metric during the evaluations of a run: seeded, on the device of the outputs, its values checked.

    The values of a function are weighted by the examples of the batches. A metric that returns a dictionary
    has one value per key; runs are compared by the first one.

    >>> metric = Metric(lambda output, targets: (output - targets).abs().mean(), seed=0)
    >>> metric.begin(step=0)
    >>> metric.add(torch.zeros(3), torch.ones(3), examples=3)
    >>> metric.add(torch.zeros(1), torch.full((1,), 5.0), examples=1)
    >>> metric.measured()
    {'metric': 2.0}
    """

    def __init__(self, metric: MetricFunction, seed: int, poll: Callable[[], None] | None = None) -> None:
        self.name = metric_name(metric)
        self._metric: Any = metric
        self._keeps_state = isinstance(metric, Accumulator)
        self._seeded = SeededLoss(self._call, seed, poll)
        self._names: tuple[str, ...] | None = None
        self._sums: dict[str, float] = {}
        self._examples, self._open = 0, False
        self._share = current()
        modules = metric.modules() if isinstance(metric, nn.Module) else ()
        self._merged = [
            part for part in modules if hasattr(part, "distributed_available_fn")
        ]  # of torchmetrics
        fits = bool(self._merged) and all(_merges(part) for part in self._merged)
        if self._share.ranks > 1 and self._keeps_state and not fits:
            raise ConfigError(
                f"several ranks cannot merge the state of the metric {self.name}; use a metric of "
                "torchmetrics with states that are tensors or concatenated, or a function (output, targets) "
                "-> number"
            )
        self._device: torch.device | None = None  # that of the metric in this evaluation, once it is known

    def begin(self, step: int) -> None:
        """Begin an evaluation after `step` steps; what the metric draws depends on this number."""
        self._seeded.begin("metric", step)
        self._sums, self._examples, self._open, self._device = {}, 0, True, None
        if self._keeps_state:
            self._seeded(self._metric.reset)

    def add(self, output: Any, targets: Any, examples: int) -> None:
        """Add a batch; outside of an evaluation nothing happens."""
        if not self._open:
            return
        output, targets = _detached(output), _detached(targets)
        self._move(output, targets)
        if self._keeps_state:
            self._seeded(self._metric.update, output, targets)
        else:
            found = self._read(self._seeded(self._metric, output, targets))
            self._sums = {name: self._sums.get(name, 0.0) + examples * value for name, value in found.items()}
        self._examples += examples

    def measured(self) -> dict[str, float]:
        """End the evaluation, and return its values by name; NaN where a value is not a finite number."""
        self._open = False
        if self._keeps_state:
            with self._merging():
                return self._read(self._seeded(self._metric.compute))
        sums, examples = self._of_all_ranks()
        return {name: value / examples for name, value in sums.items()}

    @contextmanager
    def _merging(self) -> Iterator[None]:
        """Make torchmetrics merge states over the ranks of this run; a run in a callback has one rank."""
        names = ("distributed_available_fn", "dist_sync_fn", "_to_sync")
        available = lambda: self._share.peers is not None  # noqa: E731
        own = (available, lambda tensor, group=None: self._share.gather(tensor), True)
        before = [[getattr(part, name) for name in names] for part in self._merged]
        try:
            for part in self._merged:
                for name, value in zip(names, own, strict=True):
                    setattr(part, name, value)
            yield
        finally:
            for part, values in zip(self._merged, before, strict=True):
                for name, value in zip(names, values, strict=True):
                    setattr(part, name, value)

    def _of_all_ranks(self) -> tuple[dict[str, float], int]:
        """Return the sums and the number of examples."""
        if self._share.peers is None:
            return self._sums, self._examples
        sums: dict[str, float] = {}
        examples = 0
        for some, count in self._share.peers.exchange((self._sums, self._examples)):
            sums |= {name: sums.get(name, 0.0) + value for name, value in some.items()}
            examples += count
        return sums, examples

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with torch.no_grad():
            return function(*arguments)

    def _move(self, output: Any, targets: Any) -> None:
        """Move a metric that is a module, such as those of torchmetrics, to the device of the outputs."""
        devices = [tensor.device for tensor in (*_tensors(output), *_tensors(targets))]
        if isinstance(self._metric, nn.Module) and devices and devices[0] != self._device:
            self._device = devices[0]
            self._metric.to(self._device)

    def _read(self, found: Any) -> dict[str, float]:
        """Return the values that the metric returned, by name."""
        if isinstance(found, Mapping):
            if not found:
                raise DataError(
                    f"the metric {self.name} returned an empty dictionary; return a number per name"
                )
            for name in found:
                if not isinstance(name, str) or not name or name != name.strip() or not name.isprintable():
                    raise DataError(
                        f"the metric {self.name} returned a value named {shown(name)}; use a string"
                    )
            values = {name: _number(value, f"{self.name}[{name!r}]") for name, value in found.items()}
        else:
            values = {self.name: _number(found, self.name)}
        names = tuple(values)
        if self._names is None:
            self._names = names
        if names != self._names:
            raise DataError(
                f"the metric {self.name} returned values named {', '.join(names)}, after values named "
                f"{', '.join(self._names)}; return the same names in the same order every time"
            )
        return values


def _merges(part: Any) -> bool:
    """Return whether torchmetrics gathers as many tensors on every rank to merge the states of a metric."""
    lists = [name for name, default in part._defaults.items() if isinstance(default, list)]
    joined = all(getattr(part._reductions[name], "__name__", "") == "dim_zero_cat" for name in lists)
    return joined and type(part)._sync_dist.__module__ == "torchmetrics.metric"


def _number(value: Any, name: str) -> float:
    """Return a value of a metric as a number; NaN if it is infinite, which records cannot hold."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        kind = value.dtype.is_complex if isinstance(value, Tensor) else value.dtype.kind not in "fiub"
        count = value.numel() if isinstance(value, Tensor) else value.size
        if count != 1 or kind:
            raise DataError(
                f"the metric {name} returned {value.dtype} of shape {list(value.shape)}; expected one "
                "number, such as the mean over the batch"
            )
        value = value.item()
    if not isinstance(value, int | float):
        raise TypeError(f"the metric {name} returned {shown(value)}; expected a number or a scalar tensor")
    number = float(value)
    return number if math.isfinite(number) else math.nan


def _detached(value: Any) -> Any:
    """Return the value without graphs, in tuples, lists and dictionaries too."""
    if isinstance(value, Tensor):
        return value.detach()
    if type(value) in (tuple, list):
        return type(value)(map(_detached, value))
    return {name: _detached(part) for name, part in value.items()} if type(value) is dict else value


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


# ---- accuracy


Counter: TypeAlias = Callable[[Any, Any], Tensor | None]


def counter_of(loss: Any) -> Counter | None:
    """Return the function that counts correct predictions, if the loss is a cross-entropy; otherwise None.

    These are None, `torch.nn.CrossEntropyLoss` and `torch.nn.functional.cross_entropy`.
    """
    if isinstance(loss, Known):
        loss = loss.loss
    if loss is None:
        return correct
    if isinstance(loss, nn.CrossEntropyLoss):
        return functools.partial(correct, ignore_index=loss.ignore_index)
    arguments: dict[str, Any] = {}
    if isinstance(loss, functools.partial) and loss.func is nn.functional.cross_entropy and not loss.args:
        loss, arguments = loss.func, loss.keywords
    if loss is not nn.functional.cross_entropy:
        return None
    default = inspect.signature(loss).parameters["ignore_index"].default
    return functools.partial(correct, ignore_index=arguments.get("ignore_index", default))


def correct(output: Any, targets: Any, ignore_index: int = -100) -> Tensor | None:
    """Return the number of examples that were classified correctly, where output and targets are of classes.

    Classes are on dimension 1 of the output, [N, C, ...]. Targets are class indices [N, ...] or class
    probabilities [N, C, ...], whose largest one is compared. With several targets per example, such as the
    pixels of an image, the count is N times the fraction that is correct; targets equal to `ignore_index`
    are left out.

    Returns:
        A scalar of dtype float64 on the device of the output; None for anything else, such as a regression.

    >>> correct(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([1, 1]))
    tensor(1., dtype=torch.float64)
    >>> correct(torch.zeros(2), torch.zeros(2)) is None
    True
    """
    if not isinstance(output, Tensor) or not isinstance(targets, Tensor):
        return None
    if output.dim() < 2 or output.shape[1] < 2 or not output.is_floating_point():
        return None
    with torch.no_grad():
        classes = output.detach().argmax(1)
        if targets.is_floating_point():
            if targets.shape != output.shape:
                return None
            wanted, counted = targets.argmax(1), torch.ones_like(classes, dtype=torch.bool)
        else:
            if targets.shape != classes.shape or targets.dtype == torch.bool or targets.is_complex():
                return None
            wanted, counted = targets, targets != ignore_index
        hits = ((classes == wanted) & counted).sum(dtype=torch.float64)
        return hits * len(output) / counted.sum(dtype=torch.float64)


def check_classes(output: Any, targets: Any) -> None:
    """Check, on a first batch, that outputs and targets are those of a cross-entropy, the default loss.

    PyTorch computes a number for a regression and for several labels per example too, but not a useful one.

    Raises:
        DataError: they are not tensors, or the loss does not depend on the output, or mixes examples.

    >>> check_classes(torch.zeros(4, 2), torch.tensor([0, 1, 1, 0]))
    >>> check_classes(torch.zeros(4, 1), torch.zeros(4, 1))
    Traceback (most recent call last):
    ...
    pydarts.DataError: the network returned [4, 1], ...
    """
    if not isinstance(output, Tensor) or not isinstance(targets, Tensor):
        raise DataError(
            f"the network returned a {type(output).__name__} and the targets are a {type(targets).__name__}; "
            "cross-entropy, the default loss, takes logits [N, classes, ...] and labels [N, ...]: pass "
            "loss=, a function (output, targets) -> scalar tensor"
        )
    remedy = "pass loss=, such as nn.MSELoss() for a regression or nn.BCEWithLogitsLoss() for two classes"
    if output.dim() < 2 or output.shape[1] < 2:
        why = "one number per example" if output.dim() < 2 else "a single class"
        raise DataError(
            f"the network returned {list(output.shape)}, {why}, but cross-entropy, the default loss, takes "
            f"logits [N, classes, ...] of two classes or more; {remedy}"
        )
    if not targets.is_floating_point() or targets.shape != output.shape:
        return
    sums = targets.detach().double().sum(1).flatten()
    wrong = (sums - 1).abs() > 1e-2
    if bool(wrong.any()) or bool((targets < 0).any()):
        odd = float(sums[wrong][0]) if bool(wrong.any()) else float(targets.min())
        what = "sum to" if bool(wrong.any()) else "contain"
        hint(
            f"the targets {list(targets.shape)} of the first batch are not class probabilities: they {what} "
            f"{odd:.4g} {'over the classes ' if bool(wrong.any()) else ''}in an example, but the loss is "
            "cross-entropy, the default; pass loss=, such as nn.MSELoss() for a regression or "
            "nn.BCEWithLogitsLoss() for several labels per example"
        )
