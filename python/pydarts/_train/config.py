"""`TrainConfig`: every setting of a training, with its published value."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import torch
from torch import nn

from .. import _core
from .._values.arguments import present_names
from .._values.checks import (
    available_device,
    clip,
    device,
    flag,
    known_fields,
    number,
    one_of,
    resume,
    share,
    whole,
)
from .._values.columns import table
from .._values.config import SearchConfig
from .._values.fields import Augment, MetricMode, Resume
from .._values.files import user_path
from .._values.resolved import Resolved
from .fields import Keep, Precision, Schedule, rows
from .renamed import RENAMED, present, renamed
from .settings import OF_EVERY_RUN, ImageSettings, settings_of

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .keywords import TrainFields


class _Renaming(type):
    """Accepts the names that fields had in earlier versions, with a warning."""

    def __call__(cls, *args: Any, **fields: Any) -> Any:
        return super().__call__(*args, **_warned(fields))


def _warned(given: Mapping[str, Any]) -> Any:
    """Return keywords with the present names of fields, with a warning for each earlier one."""
    return present_names(given, RENAMED, "TrainConfig()", present)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(metaclass=_Renaming):
    """The configuration of a training. Immutable; None selects the published value.

    That value depends on the network. For a network of images (A.2.1 of the paper and the published code;
    "ours" marks a choice of this library):

    {fields images}

    Drop path belongs to the network: `build(..., drop_path=0.2)` (A.2.1); `train` raises it from 0 to this
    value over the epochs. Presets are `TrainConfig.cifar10()`, `.imagenet()` and `.quick()`.

    For a language model (A.2.2):

    {fields text}

    Any other `torch.nn.Module` is trained like a network of images, without the fields `augment`, `cutout`,
    `mean`, `std`, `auxiliary_weight` and `eval_batch_size`, and with one more:

    {fields own}

    For all networks (all ours):

    {fields every}

    Raises:
        ConfigError: a field is unknown (the message names the nearest one), or a value is out of range or of
            a wrong type (the message names field, value and range).

    >>> TrainConfig(epochs=3, weight_lr=5.0)
    TrainConfig(epochs=3, weight_lr=5.0)
    """

    __signature__: ClassVar[inspect.Signature]
    epochs: int | None = None
    batch_size: int | None = None
    eval_batch_size: int | None = None
    weight_lr: float | None = None
    weight_decay: float | None = None
    grad_clip: float | None = None
    keep: Keep | None = None
    bptt: int | None = None
    slowness: float | None = None
    patience: int | None = None
    weight_lr_schedule: Schedule | None = None
    warmup: int | None = None
    weight_momentum: float | None = None
    label_smoothing: float | None = None
    auxiliary_weight: float | None = None
    augment: Augment | None = None
    cutout: int | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    train_portion: float | None = None
    ema: float | None = None
    precision: Precision | None = None
    channels_last: bool | None = None
    compile: bool | None = None
    metric_mode: MetricMode | None = None
    seed: int = 0
    device: str = "auto"
    checkpoint_dir: str | os.PathLike[str] | None = None
    resume: Resume = False
    progress: bool = True

    def __new__(cls, **given: Any) -> Self:
        """Check the names first, so that an unknown field raises ConfigError, not TypeError."""
        known_fields(given, [f.name for f in fields(cls)])
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not self.__dataclass_fields__[name].default:
                object.__setattr__(self, name, check(name, value))
        epochs = ImageSettings.epochs if self.epochs is None else self.epochs
        if self.warmup is not None and self.warmup >= epochs:
            raise _core.ConfigError(
                f"warmup is {self.warmup}, but there are only {epochs} epochs; it must be below that"
            )
        data = self.reading()
        for name in READING:
            if getattr(self, name) is not None:  # normalised as in a SearchConfig: numbers in tuples
                object.__setattr__(self, name, getattr(data, name))
        if self.resume and self.checkpoint_dir is None:
            raise _core.ConfigError("`resume=True` requires `checkpoint_dir`")
        if self.checkpoint_dir is not None:
            object.__setattr__(self, "checkpoint_dir", os.fspath(user_path(self.checkpoint_dir)))

    def __repr__(self) -> str:
        given = (f for f in fields(self) if getattr(self, f.name) != f.default)
        return f"TrainConfig({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in given)})"

    def replace(self, **changes: Unpack[TrainFields]) -> TrainConfig:
        """Return a copy with `changes`.

        >>> TrainConfig(epochs=3).replace(seed=1)
        TrainConfig(epochs=3, seed=1)
        """
        return replace(self, **_warned(changes))

    def resolved(self, network: nn.Module | None = None) -> Resolved:
        """All options that a training uses, with the published value for None; they print as a table.

        Args:
            network: the network to train, on which the published values depend; None: one of images.

        Raises:
            ConfigError: an option does not apply to the network.

        >>> resolved = TrainConfig(epochs=3).resolved()
        >>> resolved["weight_lr"], resolved["weight_lr_schedule"]
        (0.025, 'cosine')
        >>> print(str(resolved).splitlines()[0])
        epochs              3  (default: 600)
        """
        kind = settings_of(network)

        def values(config: TrainConfig) -> dict[str, Any]:
            return kind.of(config).values() | {name: getattr(config, name) for name in OF_EVERY_RUN}

        return Resolved(values(self), values(TrainConfig()))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Create a configuration from a dictionary such as `to_dict` returns; absent fields take defaults.

        >>> TrainConfig.from_dict(TrainConfig(epochs=3).to_dict())
        TrainConfig(epochs=3)
        """
        return cls(**renamed(values))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain data that JSON can represent."""
        return {
            name: list(value) if name in ("mean", "std") and value else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def cifar10(cls, **changes: Unpack[TrainFields]) -> TrainConfig:
        """The published training on CIFAR-10 arrays (A.2.1), with its augmentation.

        Its network is `build(genotype, auxiliary=True, drop_path=0.2)`.

        >>> TrainConfig.cifar10(epochs=100)
        TrainConfig(epochs=100, augment='cifar', cutout=16)
        """
        return cls(augment="cifar", cutout=16).replace(**changes)

    @classmethod
    def imagenet(cls, **changes: Unpack[TrainFields]) -> TrainConfig:
        """The published training on ImageNet (A.2.3), with label smoothing (code) and PC-DARTS' warm-up.

        Its network is `build(genotype, channels=48, layers=14, num_classes=1000, stem="imagenet",
        auxiliary=True)`; the loader augments the images, as `datasets.image_folder` does.

        >>> TrainConfig.imagenet().batch_size, TrainConfig.imagenet().weight_decay
        (128, 3e-05)
        """
        published = cls(
            epochs=250,
            batch_size=128,
            weight_lr=0.1,
            weight_lr_schedule="exponential",
            warmup=5,
            weight_decay=3e-5,
            label_smoothing=0.1,
        )
        return published.replace(**changes)

    @classmethod
    def quick(cls, **changes: Unpack[TrainFields]) -> TrainConfig:
        """A short training of a network of images, for comparing genotypes or for experiments (ours).

        With only one or two epochs, all but the last one warm up.

        >>> TrainConfig.quick(seed=1)
        TrainConfig(epochs=10, batch_size=64, weight_lr=0.1, warmup=2, seed=1)
        """
        short: TrainFields = {"epochs": 10, "batch_size": 64, "weight_lr": 0.1}
        changes = _warned(changes)
        config = cls(**(short | changes))
        warmup = 2 if config.epochs is None else min(2, config.epochs - 1)
        return config if "warmup" in changes else config.replace(warmup=warmup)

    def reading(self, **changes: Any) -> SearchConfig:
        """Return a search configuration with the same settings for reading images."""
        given = {name: getattr(self, name) for name in READING}
        return SearchConfig(**{name: value for name, value in (given | changes).items() if value is not None})

    @property
    def resolved_device(self) -> torch.device:
        """The device of the training.

        Raises:
            DeviceError: CUDA was requested but is not available.
        """
        return available_device(self.device)


# The signature for `help()` and completion; `__new__` would hide the fields.
TrainConfig.__signature__ = inspect.signature(TrainConfig.__init__)
TrainConfig.__doc__ = re.sub(
    r"    \{fields (\w+)\}", lambda found: table(rows(found[1])), TrainConfig.__doc__ or ""
)


# Fields that control how images are read; checked as in a `SearchConfig`.
READING = ("augment", "cutout", "mean", "std", "train_portion")

# field -> check of its value, unless it is None
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(("epochs", "batch_size", "eval_batch_size", "bptt", "patience"), whole),
    **dict.fromkeys(("warmup", "seed"), partial(whole, least=0)),
    **dict.fromkeys(("weight_lr", "weight_decay", "slowness", "auxiliary_weight"), number),
    "grad_clip": clip,
    **dict.fromkeys(("weight_momentum", "label_smoothing", "ema"), share),
    **dict.fromkeys(("channels_last", "compile", "progress"), flag),
    "resume": resume,
    "device": device,
    "keep": partial(one_of, known=get_args(Keep)),
    "precision": partial(one_of, known=get_args(Precision)),
    "weight_lr_schedule": partial(one_of, known=get_args(Schedule)),
    "metric_mode": partial(one_of, known=get_args(MetricMode)),
}
