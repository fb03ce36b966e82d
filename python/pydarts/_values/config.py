"""`SearchConfig`: every choice of a search, as an immutable value whose defaults stand in Rust."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypedDict

import torch

from .. import _core
from . import views
from .record import Record, differences, freeze
from .space import Space

if TYPE_CHECKING:
    from typing_extensions import Unpack

Method: TypeAlias = Literal["first_order", "unrolled", "unrolled_exact"]
Augment: TypeAlias = Literal["none", "cifar"]
Precision: TypeAlias = Literal["auto", "float64", "float32", "tf32", "bfloat16"]
Recording: TypeAlias = int | Literal["epoch", "step"]


class ConfigFields(TypedDict, total=False):
    """What `SearchConfig(...)` and `replace(...)` take; a test holds these names to those of Rust."""

    space: str | Space
    channels: int
    layers: int
    nodes: int
    operations: Sequence[str] | None
    num_classes: int | None
    in_channels: int | None
    image_size: int | Sequence[int] | None
    epochs: int
    batch_size: int | Literal["auto"]
    hypergradient: Method
    epsilon: float
    weight_lr: float
    weight_lr_min: float
    weight_momentum: float
    weight_decay: float
    grad_clip: float
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
    resume: bool
    progress: bool
    mean: Sequence[float] | None
    std: Sequence[float] | None
    cutout: int
    checkpoint_every: int | None
    eval_batch_size: int | None
    passes: Sequence[str] | None
    tune: str
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


class SearchConfig(Record):
    """The choices of a search. Keyword-only and immutable; the defaults are the published ones.

    The sections named are those of the DARTS paper (ICLR 2019); "code" means that the value is that of the
    published implementation, and "ours" that the choice is this library's. A recurrent space has its own
    defaults (code): `batch_size` 256 sequences side by side, `weight_lr` 20, constant and scaled by the
    length of each segment, no momentum, `weight_decay` 5e-7, `grad_clip` 0.25, in the virtual step too,
    `arch_lr` 3e-3, `arch_betas` (0.9, 0.999); what speaks of images it does not read, and the fields from
    `units` on are its own. Its cells are normalised over the sequences of a batch, in the evaluation too:
    `eval_batch_size` None is `batch_size` (published: 10, by running statistics, under which states grow
    without bound).

    ==================  =============  ==================================================================
    field               default        meaning (source)
    ==================  =============  ==================================================================
    space               "darts"        search space: a name or a `Space` (section 2.1)
    channels            16             channels of the first cells; doubled by each reduction (A.1.1)
    layers              8              number of cells (A.1.1)
    nodes               4              intermediate nodes of a cell (3.1.1)
    operations          None           candidate operations in order; None: the space's (3.1.1)
    num_classes         None           number of classes; None: read from the data (ours)
    in_channels         None           channels of an image; None: read from the data (ours)
    image_size          None           side in pixels or (height, width); None: read from the data (ours)
    epochs              50             passes over the training part (A.1.1)
    batch_size          64             images a batch, for arrays; a loader keeps its own (A.1.1). "auto": the
                                       largest power of two, up to 256, that fits into the free memory (ours)
    hypergradient       "first_order"  "first_order" (ξ = 0), "unrolled" (eq. 7-8), "unrolled_exact" (the
                                       Hessian-vector product of eq. 7 without a difference)
    epsilon             0.01           scale of the finite difference, ε = epsilon / ‖∇w′ L_val‖₂ (eq. 8)
    weight_lr           0.025          first learning rate of the weights, and ξ (A.1.1)
    weight_lr_min       0.001          last learning rate of the cosine schedule over epochs (code)
    weight_momentum     0.9            momentum of SGD on the weights (A.1.1)
    weight_decay        3e-4           weight decay of the weights (A.1.1)
    grad_clip           5.0            largest 2-norm of the weights' gradient (code)
    arch_lr             3e-4           learning rate of Adam on α (A.1.1)
    arch_betas          (0.5, 0.999)   decay rates of Adam's moments (A.1.1)
    arch_weight_decay   1e-3           weight decay of α, added to its gradient (A.1.1)
    arch_start_epoch    0              epochs in which only the weights learn (ours)
    train_portion       0.5            part of a single source that trains the weights, rest: α (A.1.1)
    augment             "none"         "cifar": pad 4 and crop, flip; arrays only (code)
    seed                0              all randomness is a function of (seed, step) (ours)
    device              "auto"         "auto": CUDA where there is one; "cpu", "cuda", "cuda:1" (ours)
    precision           "auto"         "auto": tf32 where the GPU has it, else float32; "float64", "float32",
                                       "tf32", "bfloat16" (ours)
    record              "epoch"        how often α is kept: "epoch", "step", or every n steps and epoch (ours)
    checkpoint_dir      None           folder for checkpoints, one an epoch, the last two kept (ours)
    resume              False          go on from the checkpoint in `checkpoint_dir`, if there is one (ours)
    progress            True           show a progress bar (ours)
    mean                None           per channel, subtracted from images scaled to [0, 1]; None: computed
                                       over the training images for uint8 arrays, else 0 (ours)
    std                 None           per channel, divided by after `mean`; None: as for `mean` (ours)
    cutout              0              side in pixels of the square set to zero; 0: none; arrays only (code)
    checkpoint_every    None           steps between further checkpoints within an epoch (ours)
    eval_batch_size     None           images a batch of the evaluation; None: 4 × `batch_size` (ours)
    passes              None           rewrites of the plan that the search runs: some of "space_to_batch",
                                       "share", "fold", "group", "sum", "mixtures", of a recurrent space of
                                       "share", "hoist", "stack", "gates"; None: what suits device and
                                       images (ours)
    tune                "cached"       the forms in which groups of edges are computed: "off": a fixed rule,
                                       "cached": what earlier starts measured on this device for this
                                       `batch_size`, the rule elsewhere, "full": measure what is not known
                                       yet, half a minute or so, and keep it (ours)
    memory              "keep"         "recompute": a backward pass keeps what enters each cell and computes
                                       the cell again, for less memory and up to a third more time (ours)
    micro_batch         None           images computed at once, where a batch does not fit: gradients of its
                                       parts are added; batch norm sees a part at a time (ours)
    log_every           1              steps after which losses are read and callbacks told of each of these
                                       steps; on a GPU a larger number lets it run ahead. The search is the
                                       same: one that fails ends with the state before its failed step (ours)
    graph               "auto"         "auto": on CUDA a step is captured as a graph and replayed, which
                                       spares the launches; "off": never (ours)
    units               300            numbers in an embedded word and in a state (A.1.2)
    bptt                35             tokens of a segment; one training segment in twenty has half (code)
    dropout_rows        0.0            share of words dropped from the embedding (code)
    dropout_embedded    0.2            share of an embedded word that is dropped (A.1.2)
    dropout_input       0.75           share of the cell's input that is dropped (A.1.2)
    dropout_hidden      0.25           share of each state that is dropped before its product (A.1.2)
    dropout_output      0.75           share of the output that is dropped (A.1.2)
    slowness            1e-3           times the mean square by which a state differs from the one before it:
                                       added to the loss of the weight step (code)
    ==================  =============  ==================================================================

    Raises:
        ConfigError: an unknown field (the message names the nearest known one), or a value out of range or of
            a wrong type (the message names field, value and range).
        SpaceError: a space or list of operations that cannot be.

    >>> SearchConfig(hypergradient="unrolled", seed=3)
    SearchConfig(hypergradient='unrolled', seed=3)
    >>> SearchConfig(layers=5).replace(epochs=10).layers
    5
    """

    __slots__ = ()
    _error = _core.ConfigError
    __signature__: ClassVar[inspect.Signature]
    space: str | Space
    channels: int
    layers: int
    nodes: int
    operations: tuple[str, ...] | None
    num_classes: int | None
    in_channels: int | None
    image_size: tuple[int, int] | None
    epochs: int
    batch_size: int | Literal["auto"]
    hypergradient: Method
    epsilon: float
    weight_lr: float
    weight_lr_min: float
    weight_momentum: float
    weight_decay: float
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
    resume: bool
    progress: bool
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    cutout: int
    checkpoint_every: int | None
    eval_batch_size: int | None
    passes: tuple[str, ...] | None
    tune: str
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

    def __init__(self, **fields: Unpack[ConfigFields]) -> None:
        self._fill(fields)

    @staticmethod
    def _resolve(text: str) -> str:
        return _core.resolve_config(text)

    @staticmethod
    def _read(name: str, value: Any) -> Any:
        return Space.from_dict(value) if name == "space" and isinstance(value, dict) else freeze(value)

    def replace(self, **changes: Unpack[ConfigFields]) -> SearchConfig:
        """A configuration like this one but for `changes`; fields at the default follow a change of `space`.

        >>> SearchConfig(epochs=3).replace(space="darts-rnn").epochs
        3
        """
        return SearchConfig.from_dict(self._not_default() | dict(changes))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchConfig:
        """The configuration of a dictionary as `to_dict` gives it; left-out fields take their defaults.

        >>> SearchConfig.from_dict({"epochs": 3}).epochs
        3
        """
        return cls._of(values)

    @classmethod
    def from_json(cls, text: str) -> SearchConfig:
        """The configuration of a JSON object as `to_json` gives it.

        >>> SearchConfig.from_json('{"seed": 5}').seed
        5
        """
        return cls._of_json(text)

    def to_json(self, indent: int | None = None) -> str:
        """All fields as a JSON object."""
        return json.dumps(self._values, indent=indent)

    @property
    def resolved_space(self) -> Space:
        """The space with this configuration's `nodes` and `operations` in it."""
        if isinstance(self.space, Space):
            return self.space
        space = Space.preset(self.space)
        changes = {"nodes": self.nodes, "operations": self.operations or space.operations}
        return space.replace(
            **{name: value for name, value in changes.items() if value != getattr(space, name)}
        )

    def _not_default(self) -> dict[str, Any]:
        space = self._values["space"]
        shown = differences(self._values, _defaults(_preset(space)))
        if isinstance(space, dict):  # the space itself says these
            shown = {name: value for name, value in shown.items() if name not in ("nodes", "operations")}
        return shown if space == "darts" else {"space": space} | shown

    def _changed(self) -> dict[str, Any]:
        """The defaults of the fields that are not at them."""
        defaults = _defaults(_preset(self._values["space"]))
        return {name: self._read(name, defaults[name]) for name in self._not_default()}

    def _repr_html_(self) -> str:
        return views.cards.of_config(self)

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{name}={self._read(name, value)!r}" for name, value in self._not_default().items()
        )
        return f"SearchConfig({fields})"


def _preset(space: str | dict[str, Any]) -> str:
    """The published space whose defaults hold."""
    if isinstance(space, str):
        return space
    return "darts-rnn" if space["kind"] == "recurrent" else "darts"


@lru_cache(maxsize=8)
def _defaults(preset: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(_core.default_config(preset))
    return values


def _signature() -> inspect.Signature:
    """The call with its defaults, as `help()` and completion show it."""
    types = ConfigFields.__annotations__
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=SearchConfig._read(name, value),
                annotation=getattr(types[name], "__forward_arg__", types[name]) if name in types else Any,
            )
            for name, value in _defaults("darts").items()
        ]
    )


SearchConfig.__signature__ = _signature()
