"""The keywords of a `TrainConfig` for type checkers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypedDict

from .._values.fields import Augment, MetricMode, Resume
from .fields import Keep, Precision, Schedule


class TrainFields(TypedDict, total=False):
    """The fields of a `TrainConfig`, which `replace`, `quick` and the other presets take as keywords."""

    epochs: int | None
    batch_size: int | None
    eval_batch_size: int | None
    weight_lr: float | None
    weight_decay: float | None
    grad_clip: float | None
    keep: Keep | None
    bptt: int | None
    slowness: float | None
    patience: int | None
    weight_lr_schedule: Schedule | None
    warmup: int | None
    weight_momentum: float | None
    label_smoothing: float | None
    auxiliary_weight: float | None
    augment: Augment | None
    cutout: int | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    train_portion: float | None
    ema: float | None
    precision: Precision | None
    channels_last: bool | None
    compile: bool | None
    metric_mode: MetricMode | None
    seed: int
    device: str
    checkpoint_dir: str | os.PathLike[str] | None
    resume: Resume
    progress: bool
