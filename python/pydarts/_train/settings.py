"""The settings of each kind of training, with their published values."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from .. import _core
from .._values.fields import Augment, MetricMode
from ..nn import LanguageModel
from ..nn._images import ImageNetwork
from .fields import Keep, Precision, Schedule

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from typing_extensions import Self


BFLOAT16 = "bfloat16"
# Fields that affect how a training runs, not its outcome.
OF_EVERY_RUN = ("device", "checkpoint_dir", "resume", "progress")


class Settings:
    """The fields of a `TrainConfig` that one kind of training uses, with published values for None."""

    trains: ClassVar[str]
    of_the_run: ClassVar[tuple[str, ...]] = ()
    """Fields that may differ in a resumed training, because they do not affect the outcome."""
    epochs: int
    keep: Keep

    @classmethod
    def of(cls, config: DataclassInstance) -> Self:
        """Take the settings from a configuration, and the published value for a field that is None.

        Raises:
            ConfigError: the configuration sets a field that this kind of training does not use.
        """
        names = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        given = {
            f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) != f.default
        }
        foreign = [name for name in given if name not in names and name not in OF_EVERY_RUN]
        if foreign:
            raise _core.ConfigError(f"{', '.join(foreign)}: does not apply to {cls.trains}; leave it out")
        return cls(**{name: value for name, value in given.items() if name in names})

    def values(self) -> dict[str, Any]:
        """Return the settings by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class TextSettings(Settings):
    """The settings of the training of a language model; the defaults are the published values."""

    trains: ClassVar[str] = "a language model"
    epochs: int = 8000
    batch_size: int = 64
    eval_batch_size: int = 10
    bptt: int = 35
    weight_lr: float = 20.0
    weight_decay: float = 8e-7
    grad_clip: float = 0.25
    slowness: float = 1e-3
    patience: int = 5
    keep: Keep = "best"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class SgdSettings(Settings):
    """The settings of a training by SGD with momentum and a schedule."""

    of_the_run: ClassVar[tuple[str, ...]] = ("eval_batch_size", "compile")
    epochs: int = 600
    batch_size: int = 96
    eval_batch_size: int | None = None
    weight_lr: float = 0.025
    weight_lr_schedule: Schedule = "cosine"
    warmup: int = 0
    weight_momentum: float = 0.9
    weight_decay: float = 3e-4
    grad_clip: float = 5.0
    label_smoothing: float = 0.0
    train_portion: float = 0.9
    ema: float = 0.0
    precision: Precision = "auto"
    channels_last: bool = False
    compile: bool = False
    metric_mode: MetricMode = "max"
    keep: Keep = "last"
    seed: int = 0

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch.

        >>> settings = ImageSettings(epochs=4, weight_lr=0.1)
        >>> [round(settings.rate(epoch), 4) for epoch in range(4)]
        [0.1, 0.0854, 0.05, 0.0146]
        """
        if epoch < self.warmup:
            return self.weight_lr * (epoch + 1) / self.warmup
        if self.weight_lr_schedule == "exponential":
            return self.weight_lr * 0.97**epoch
        return self.weight_lr * (1 + math.cos(math.pi * epoch / self.epochs)) / 2


@dataclass(frozen=True, kw_only=True)
class ImageSettings(SgdSettings):
    """The settings of the training of a network of images; the defaults are the published values."""

    trains: ClassVar[str] = "a network of images"
    auxiliary_weight: float = 0.4
    augment: Augment = "none"
    cutout: int = 0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ModuleSettings(SgdSettings):
    """The settings of the training of a module that pydarts did not build: those of a network of images."""

    trains: ClassVar[str] = "a network of your own"

    @classmethod
    def of(cls, config: DataclassInstance) -> Self:
        """Take the settings from a configuration, as for a network of images.

        Raises:
            ConfigError: the configuration sets a field that only pydarts' own networks use, to another value
                than the default.
        """
        off = {f.name: f.default for f in fields(ImageSettings)}
        for name, remedy in _OF_IMAGES.items():
            value = getattr(config, name)
            if value not in (None, off[name]):
                raise _core.ConfigError(
                    f"{name} is {value!r}, but it applies to networks of images that pydarts built; {remedy}"
                )
        unset = dict.fromkeys(_OF_IMAGES)
        return super().of(replace(config, **unset))


# Fields of a network of images that no other module uses -> what to do instead.
_OF_IMAGES = {
    "augment": "augment in the data set or in `unpack`",
    "cutout": "augment in the data set or in `unpack`",
    "mean": "normalise in the data set, in `unpack` or in the network",
    "std": "normalise in the data set, in `unpack` or in the network",
    "auxiliary_weight": "add the loss of an auxiliary output in `loss`",
    "eval_batch_size": "pass (train, valid), two loaders with batches of the sizes you want",
}


def settings_of(network: nn.Module | None) -> type[Settings]:
    """Return the kind of settings of the training of a network; None: a network of images."""
    if network is None or isinstance(network, ImageNetwork):
        return ImageSettings
    return TextSettings if isinstance(network, LanguageModel) else ModuleSettings


def not_published(config: DataclassInstance, kind: type[Settings]) -> list[tuple[str, Any, Any]]:
    """Return name, value and published value of the settings that differ from the published ones."""
    published = {f.name: f.default for f in fields(config)}
    published |= {f.name: f.default for f in fields(kind)}  # type: ignore[arg-type]
    given = {name: getattr(config, name) for name in published}
    return [
        (name, value, published[name])
        for name, value in given.items()
        if value is not None and value != published[name]
    ]
