"""`TrainConfig`: every choice of a training, and what the published one was."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeAlias, get_args

import torch

from .. import _core

Keep: TypeAlias = Literal["best", "last"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The choices of a training. Immutable; None stands for the published value.

    That value depends on what is trained. A language model (A.2.2 of the paper and the published code; "ours"
    where the choice is this library's):

    ===============  ======  ==================================================================
    field            value   meaning (source)
    ===============  ======  ==================================================================
    epochs           8000    passes over the training text (code)
    batch_size       64      sequences side by side (A.2.2)
    eval_batch_size  10      sequences side by side in the evaluation (code)
    bptt             35      tokens of a segment: its length is drawn from a normal distribution
                             around it, around half of it once in twenty (code)
    learning_rate    20.0    of SGD, times length / bptt of each segment (A.2.2)
    weight_decay     8e-7    added to the gradient (A.2.2)
    grad_clip        0.25    largest 2-norm of the gradient (A.2.2)
    slowness         1e-3    times the mean square by which a state differs from the one before
                             it: added to the loss (A.2.2)
    patience         5       epochs: averaging of the weights begins when the validation loss is
                             above the lowest of those before the last so many (code)
    keep             "best"  which weights the network has at the end: of the epoch with the
                             lowest validation loss, or of the last epoch (code)
    ===============  ======  ==================================================================

    For all networks alike, all ours: `seed` 0 (all randomness is a function of seed, epoch and step),
    `device` "auto" (CUDA where there is one), `checkpoint_dir` None (a folder for checkpoints, one an epoch,
    the last two kept), `resume` False (go on from the newest checkpoint there, if there is one), `progress`
    True.

    Raises:
        ConfigError: a value out of range, or of a wrong type; the message names field, value and range.

    >>> TrainConfig(epochs=3, learning_rate=5.0)
    TrainConfig(epochs=3, learning_rate=5.0)
    """

    epochs: int | None = None
    batch_size: int | None = None
    eval_batch_size: int | None = None
    bptt: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    grad_clip: float | None = None
    slowness: float | None = None
    patience: int | None = None
    keep: Keep | None = None
    seed: int = 0
    device: str = "auto"
    checkpoint_dir: str | os.PathLike[str] | None = None
    resume: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        for name, (kind, least) in _RANGES.items():
            _check(name, getattr(self, name), kind, least)
        if self.keep is not None and self.keep not in get_args(Keep):
            raise _core.ConfigError(f"keep is {self.keep!r}; it must be one of {', '.join(get_args(Keep))}")
        if self.resume and self.checkpoint_dir is None:
            raise _core.ConfigError("resume=True needs a checkpoint_dir to resume from")
        if self.checkpoint_dir is not None:
            object.__setattr__(self, "checkpoint_dir", os.fspath(self.checkpoint_dir))

    def __repr__(self) -> str:
        given = (f for f in fields(self) if getattr(self, f.name) != f.default)
        return f"TrainConfig({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in given)})"

    def replace(self, **changes: Any) -> TrainConfig:
        """A configuration like this one but for `changes`.

        >>> TrainConfig(epochs=3).replace(seed=1)
        TrainConfig(epochs=3, seed=1)
        """
        unknown = sorted(set(changes) - {f.name for f in fields(self)})
        if unknown:
            raise _core.ConfigError(f"a TrainConfig has no field {', '.join(unknown)}")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain data, fit for JSON."""
        return asdict(self)

    @property
    def resolved_device(self) -> torch.device:
        """Where the training runs.

        Raises:
            DeviceError: CUDA asked for where there is none.
        """
        here = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(here if self.device == "auto" else self.device)
        except RuntimeError as error:
            raise _core.ConfigError(
                f'device is {self.device!r}; it must be "auto" or a device, as "cuda"'
            ) from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise _core.DeviceError(f'device is {self.device!r}, and there is no CUDA here; use "cpu"')
        return device


_RANGES: dict[str, tuple[type, float | None]] = {
    "epochs": (int, 1),
    "batch_size": (int, 1),
    "eval_batch_size": (int, 1),
    "bptt": (int, 1),
    "learning_rate": (float, 0),
    "weight_decay": (float, 0),
    "grad_clip": (float, 0),
    "slowness": (float, 0),
    "patience": (int, 1),
    "seed": (int, 0),
    "resume": (bool, None),
    "progress": (bool, None),
}


def _check(name: str, value: Any, kind: type, least: float | None) -> None:
    if value is None:
        return
    number: Any = value
    takes = (int, float) if kind is float else kind
    if not isinstance(value, takes) or (isinstance(value, bool) and kind is not bool):
        article = {int: "a whole number", float: "a number", bool: "True or False"}[kind]
        raise _core.ConfigError(f"{name} is {value!r}; it must be {article}")
    if least is not None and not (math.isfinite(number) and number >= least):
        raise _core.ConfigError(f"{name} is {value!r}; it must be finite and at least {least}")


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """What the training of a language model reads; the defaults are the published ones."""

    epochs: int = 8000
    batch_size: int = 64
    eval_batch_size: int = 10
    bptt: int = 35
    learning_rate: float = 20.0
    weight_decay: float = 8e-7
    grad_clip: float = 0.25
    slowness: float = 1e-3
    patience: int = 5
    keep: Keep = "best"
    seed: int = 0

    @classmethod
    def of(cls, config: TrainConfig) -> TextSettings:
        """Those of a configuration, and the published ones where it says nothing."""
        given = {f.name: getattr(config, f.name) for f in fields(cls)}
        return cls(**{name: value for name, value in given.items() if value is not None})
