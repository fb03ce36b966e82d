# Written by tests/python/stubs.py from the rows of fields.py.
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

import torch

from .algorithms import Decider, Hypergradient, Schedule, Selection
from .operation import Operation
from .perturbations import Perturbation
from .relaxations import Relaxation
from .space import Space
from .terms import Term

Method: TypeAlias = Literal[
    "first_order",
    "unrolled",
    "unrolled_exact",
    "single_level",
    "t1_t2",
    "neumann",
    "conjugate_gradient",
    "mixed_level",
]
Order: TypeAlias = Literal["arch_first", "weights_first"]
ArchOptimizer: TypeAlias = Literal["adam", "sgd"]
RateSchedule: TypeAlias = Literal["epoch", "step"]
Augment: TypeAlias = Literal["none", "cifar"]
Precision: TypeAlias = Literal["auto", "float64", "float32", "tf32", "bfloat16"]
Recording: TypeAlias = int | Literal["epoch", "step"]
BatchSize: TypeAlias = int | Literal["auto"]
Resume: TypeAlias = bool | Literal["force"]
MetricMode: TypeAlias = Literal["max", "min"]

class ConfigFields(TypedDict, total=False):
    space: str | Space
    channels: int
    layers: int
    nodes: int
    operations: Sequence[str | Operation] | None
    num_classes: int | None
    in_channels: int | None
    image_size: int | Sequence[int] | None
    epochs: int
    batch_size: BatchSize
    hypergradient: Method | str | Hypergradient | Mapping[str, Any]
    epsilon: float
    weight_lr: float
    weight_lr_min: float
    weight_momentum: float
    weight_decay: float | Schedule | Mapping[str, Any]
    grad_clip: float | None
    arch_lr: float
    arch_betas: Sequence[float]
    arch_weight_decay: float
    arch_start_epoch: int
    train_portion: float
    augment: Augment
    seed: int
    device: str | torch.device
    precision: Precision
    record: Recording
    checkpoint_dir: str | os.PathLike[str] | None
    resume: Resume
    progress: bool
    mean: Sequence[float] | None
    std: Sequence[float] | None
    cutout: int
    checkpoint_every: int | None
    eval_batch_size: int | None
    passes: Sequence[str] | None
    memory: str
    micro_batch: int | None
    log_every: int
    graph: str
    units: int
    bptt: int
    dropout_rows: float
    dropout_embedded: float
    dropout_input: float
    dropout_hidden: float
    dropout_output: float
    slowness: float
    relaxation: str | Relaxation | Mapping[str, Any] | None
    selection: str | Selection | Mapping[str, Any] | None
    stop: str | Decider | Mapping[str, Any] | None
    clip_virtual_step: bool
    metric_mode: MetricMode
    arch_init: Sequence[str | float]
    arch_optimizer: ArchOptimizer
    arch_grad_clip: float | None
    order: Order
    arch_every: int
    weight_nesterov: bool
    weight_lr_schedule: RateSchedule
    probe_every: int | None
    partial_channels: int
    edge_normalization: bool
    auxiliary_skip: float | Schedule | Mapping[str, Any] | None
    perturbation: str | Perturbation | Mapping[str, Any] | None
    arch_terms: str | Term | Mapping[str, Any] | Sequence[str | Term | Mapping[str, Any]] | None
    drop_path: float | Schedule | Mapping[str, Any]
    skip_dropout: float | Schedule | Mapping[str, Any]
    curvature_every: int | None
    algorithm: str | None
    sync_batch_norm: bool

class ConfigAttributes:
    @property
    def space(self) -> str | Space: ...
    channels: int
    layers: int
    nodes: int
    operations: tuple[str, ...] | None
    num_classes: int | None
    in_channels: int | None
    image_size: tuple[int, int] | None
    epochs: int
    batch_size: BatchSize
    @property
    def hypergradient(self) -> Method | Hypergradient: ...
    epsilon: float
    weight_lr: float
    weight_lr_min: float
    weight_momentum: float
    @property
    def weight_decay(self) -> float | Schedule: ...
    grad_clip: float
    arch_lr: float
    arch_betas: tuple[float, float]
    arch_weight_decay: float
    arch_start_epoch: int
    train_portion: float
    augment: Augment
    seed: int
    device: str
    precision: Precision
    record: Recording
    checkpoint_dir: str | None
    resume: Resume
    progress: bool
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    cutout: int
    checkpoint_every: int | None
    eval_batch_size: int | None
    passes: tuple[str, ...] | None
    memory: str
    micro_batch: int | None
    log_every: int
    graph: str
    units: int
    bptt: int
    dropout_rows: float
    dropout_embedded: float
    dropout_input: float
    dropout_hidden: float
    dropout_output: float
    slowness: float
    @property
    def relaxation(self) -> Relaxation: ...
    @property
    def selection(self) -> Selection: ...
    @property
    def stop(self) -> Decider | None: ...
    clip_virtual_step: bool
    metric_mode: MetricMode
    arch_init: tuple[str, float] | tuple[str, float, float]
    arch_optimizer: ArchOptimizer
    arch_grad_clip: float | None
    order: Order
    arch_every: int
    weight_nesterov: bool
    weight_lr_schedule: RateSchedule
    probe_every: int | None
    partial_channels: int
    edge_normalization: bool
    @property
    def auxiliary_skip(self) -> float | Schedule | None: ...
    @property
    def perturbation(self) -> Perturbation | None: ...
    @property
    def arch_terms(self) -> tuple[Term, ...]: ...
    @property
    def drop_path(self) -> float | Schedule: ...
    @property
    def skip_dropout(self) -> float | Schedule: ...
    curvature_every: int | None
    algorithm: str | None
    sync_batch_norm: bool

class Field(NamedTuple):
    name: str
    type: str
    default: str
    meaning: str
    accepts: str = ...

FIELDS: tuple[Field, ...]

def rows() -> list[tuple[str, str, str]]: ...
