"""The fields of a `SearchConfig`, one row each.

Signature, documentation and types (`fields.pyi`, written by `tests/python/stubs.py`) follow from these rows,
and so do the options of the command line, which loads this file by its path. It therefore imports no other
module of pydarts.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

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
ConfigFields: TypeAlias = dict[str, Any]


class ConfigAttributes:
    """The base class of `SearchConfig` that gives type checkers its attributes."""

    __slots__ = ()


class Field(NamedTuple):
    """A field of the configuration."""

    name: str
    type: str
    """The type of the attribute."""
    default: str
    """The default in the space "darts", as Python writes it."""
    meaning: str
    """The meaning, with its source in parentheses."""
    accepts: str = ""
    """The type of the keyword argument, if it is wider than that of the attribute."""


NUMBERS = "Sequence[float]"
SCHEDULED = "float | Schedule | Mapping[str, Any]"
FIELDS = (
    Field("space", "str | Space", '"darts"', "search space: a name or a `Space` (section 2.1)"),
    Field("channels", "int", "16", "channels of the first cells; each reduction doubles them (A.1.1)"),
    Field("layers", "int", "8", "number of cells; with `stages`, number of cells per stage (A.1.1)"),
    Field("nodes", "int", "4", "number of intermediate nodes of a cell (3.1.1)"),
    Field(
        "operations",
        "tuple[str, ...] | None",
        "None",
        "candidate operations in order; None: those of the space (3.1.1)",
        "Sequence[str | Operation] | None",
    ),
    Field("num_classes", "int | None", "None", "number of classes; None: read from the data (ours)"),
    Field("in_channels", "int | None", "None", "channels of an image; None: read from the data (ours)"),
    Field(
        "image_size",
        "tuple[int, int] | None",
        "None",
        "side in pixels or (height, width), or the length of sequences; None: read from the data (ours)",
        "int | Sequence[int] | None",
    ),
    Field("epochs", "int", "50", "passes over the training part (A.1.1)"),
    Field(
        "batch_size",
        "BatchSize",
        "64",
        "images per batch, for arrays; a loader has its own batch size (A.1.1). "
        '"auto": the largest power of two, up to 256, that fits into the free memory (ours)',
    ),
    Field(
        "hypergradient",
        "Method | Hypergradient",
        '"first_order"',
        '"first_order" (ξ = 0), "unrolled" (eq. 7-8), "unrolled_exact" (the Hessian-vector product of eq. 7 '
        'without finite differences), "single_level" (the training loss moves α too; SNAS), "t1_t2", '
        '"neumann", "conjugate_gradient" (estimates of the implicit gradient), "mixed_level" (both losses '
        "move α; MiLeNAS), or an instance of a class of `pydarts.algorithms`",
        "Method | str | Hypergradient | Mapping[str, Any]",
    ),
    Field("epsilon", "float", "0.01", "scale of the finite difference, ε = epsilon / ‖∇w′ L_val‖₂ (eq. 8)"),
    Field("weight_lr", "float", "0.025", "initial learning rate of the weights, and ξ (A.1.1)"),
    Field(
        "weight_lr_min",
        "float",
        "0.001",
        "minimum of the cosine schedule of the learning rate, reached after the last epoch (code)",
    ),
    Field("weight_momentum", "float", "0.9", "momentum of SGD on the weights (A.1.1)"),
    Field(
        "weight_decay",
        "float | Schedule",
        "3e-4",
        "weight decay of the weights: a number or a schedule (A.1.1)",
        SCHEDULED,
    ),
    Field(
        "grad_clip",
        "float",
        "5.0",
        "maximum 2-norm of the gradient of the weights (code); 0, None or infinity: no limit",
        "float | None",
    ),
    Field("arch_lr", "float", "3e-4", "learning rate of α's optimiser (A.1.1)"),
    Field(
        "arch_betas",
        "tuple[float, float]",
        "(0.5, 0.999)",
        "decay rates of the moments of α's Adam (A.1.1)",
        NUMBERS,
    ),
    Field("arch_weight_decay", "float", "1e-3", "weight decay of α, added to its gradient (A.1.1)"),
    Field("arch_start_epoch", "int", "0", "number of initial epochs that train only the weights (ours)"),
    Field(
        "train_portion",
        "float",
        "0.5",
        "fraction of the data that trains the weights; the rest trains α; unused if data is a pair (A.1.1)",
    ),
    Field("augment", "Augment", '"none"', '"cifar": random crop (padding 4) and flip; arrays only (code)'),
    Field("seed", "int", "0", "random seed: all random numbers depend only on (seed, step) (ours)"),
    Field(
        "device",
        "str",
        '"auto"',
        '"auto": CUDA where available; "cpu", "cuda", "cuda:1" (ours)',
        "str | torch.device",
    ),
    Field(
        "precision",
        "Precision",
        '"auto"',
        '"auto": tf32 on GPUs that have it, else float32; "float64", "float32", "tf32", "bfloat16" (ours)',
    ),
    Field(
        "record",
        "Recording",
        '"epoch"',
        'when α is recorded: after every "epoch", every "step", or every n steps and every epoch (ours)',
    ),
    Field(
        "checkpoint_dir",
        "str | None",
        "None",
        "folder for checkpoints, one per epoch, of which the last two are kept (ours)",
        "str | os.PathLike[str] | None",
    ),
    Field(
        "resume",
        "Resume",
        "False",
        "continue from the checkpoint in `checkpoint_dir`, if any; "
        '"force": even if the data or the loss differ from those of the checkpoint (ours)',
    ),
    Field("progress", "bool", "True", "show a progress bar (ours)"),
    Field(
        "mean",
        "tuple[float, ...] | None",
        "None",
        "mean per channel, subtracted from images scaled to [0, 1]; None: computed from the training images "
        "for uint8 arrays, else 0 (ours)",
        f"{NUMBERS} | None",
    ),
    Field(
        "std",
        "tuple[float, ...] | None",
        "None",
        "standard deviation per channel, the divisor after `mean`; None: computed like `mean`, else 1 (ours)",
        f"{NUMBERS} | None",
    ),
    Field("cutout", "int", "0", "side in pixels of the square set to zero; 0: none; arrays only (code)"),
    Field("checkpoint_every", "int | None", "None", "steps between checkpoints within an epoch (ours)"),
    Field(
        "eval_batch_size",
        "int | None",
        "None",
        "images per batch of the evaluation; None: 4 × `batch_size` (ours)",
    ),
    Field(
        "passes",
        "tuple[str, ...] | None",
        "None",
        'optimisation passes over the plan of the search: any of "space_to_batch", "share", "fold", "group", '
        '"sum", "mixtures"; in a recurrent space any of "share", "hoist", "stack", "gates"; None: chosen for '
        "the device and the images (ours)",
        "Sequence[str] | None",
    ),
    Field(
        "memory",
        "str",
        '"keep"',
        '"recompute": keep only the inputs of each cell; compute the cell again in the backward pass; this '
        "takes less memory and up to a third more time (ours)",
    ),
    Field(
        "micro_batch",
        "int | None",
        "None",
        "images per micro-batch, for a batch that does not fit into memory: gradients of its micro-batches "
        "are added; batch norm sees one micro-batch at a time (ours)",
    ),
    Field(
        "log_every",
        "int",
        "1",
        "number of steps after which the losses are read and callbacks receive these steps; with a larger "
        "number a GPU waits less often. The results do not depend on it: a search that fails ends with the "
        "state before the failed step (ours)",
    ),
    Field(
        "graph",
        "str",
        '"auto"',
        '"auto": on CUDA a step is captured as a graph and replayed, which avoids kernel launches; "off": '
        "never (ours)",
    ),
    Field("units", "int", "300", "size of an embedded word and of a state (A.1.2)"),
    Field("bptt", "int", "35", "tokens per segment; one training segment in twenty has half as many (code)"),
    Field("dropout_rows", "float", "0.0", "share of words dropped from the embedding (code)"),
    Field("dropout_embedded", "float", "0.2", "share of an embedded word that is dropped (A.1.2)"),
    Field("dropout_input", "float", "0.75", "share of the cell's input that is dropped (A.1.2)"),
    Field(
        "dropout_hidden",
        "float",
        "0.25",
        "share of each state that is dropped before its product (A.1.2)",
    ),
    Field("dropout_output", "float", "0.75", "share of the output that is dropped (A.1.2)"),
    Field(
        "slowness",
        "float",
        "1e-3",
        "factor of the mean squared difference of consecutive states, which is added to the loss of the "
        "weight step (code)",
    ),
    Field(
        "relaxation",
        "Relaxation",
        '"softmax"',
        "the function from the logits α to the mixing weights: a name or an instance of a class of "
        "`pydarts.algorithms` (eq. 2)",
        "str | Relaxation | Mapping[str, Any] | None",
    ),
    Field(
        "selection",
        "Selection",
        '"strongest"',
        "the rule that picks the operations and edges of the cell: a name or an instance of a class of "
        "`pydarts.algorithms` (section 2.4)",
        "str | Selection | Mapping[str, Any] | None",
    ),
    Field(
        "stop",
        "Decider | None",
        "None",
        "the rule that ends the search early: a name or an instance of a class of `pydarts.algorithms`; "
        "None: the search runs all epochs (ours)",
        "str | Decider | Mapping[str, Any] | None",
    ),
    Field(
        "clip_virtual_step",
        "bool",
        "False",
        "clip the gradient of the virtual step like that of the weight step; True in recurrent spaces (code)",
    ),
    Field(
        "metric_mode",
        "MetricMode",
        '"max"',
        'whether larger values of `metric` are better, "max", or smaller ones, "min", as for an error; '
        "`result.best` follows it (ours)",
    ),
    Field(
        "arch_init",
        "tuple[str, float] | tuple[str, float, float]",
        "('normal', 0.001)",
        'distribution of the initial logits: ("normal", std) or ("normal", std, mean) (code)',
        "Sequence[str | float]",
    ),
    Field(
        "arch_optimizer",
        "ArchOptimizer",
        '"adam"',
        'optimiser of α: "adam", or "sgd" without momentum (A.1.1)',
    ),
    Field("arch_grad_clip", "float | None", "None", "maximum 2-norm of α's gradient; None: no limit (ours)"),
    Field(
        "order",
        "Order",
        '"arch_first"',
        'what a step updates first: α, "arch_first" (algorithm 1), or the weights, "weights_first"; the '
        "gradient of α is then taken at the new weights (GDAS, code)",
    ),
    Field("arch_every", "int", "1", "α is updated in every n-th step (ours)"),
    Field("weight_nesterov", "bool", "False", "Nesterov momentum, except in the virtual step (GDAS, code)"),
    Field(
        "weight_lr_schedule",
        "RateSchedule",
        '"epoch"',
        'when the schedule changes the learning rate of the weights: after every "epoch", or after every '
        '"step" (code)',
    ),
    Field(
        "probe_every",
        "int | None",
        "None",
        'compare the gradient of α with the exact one, "unrolled_exact", in every n-th step of α: the '
        'means of cosine and relative error per epoch are the diagnostics "probe.cosine" and "probe.error"; '
        "None: never (ours)",
    ),
    Field(
        "partial_channels",
        "int",
        "1",
        "k: the operations of an edge process the first 1/k of the channels, and the other channels bypass "
        "them; 1: all channels are processed (PC-DARTS)",
    ),
    Field(
        "edge_normalization",
        "bool",
        "False",
        "weight the edges into each node by a softmax over separate logits, the tables `normal.beta` and "
        "`reduce.beta` (PC-DARTS)",
    ),
    Field(
        "auxiliary_skip",
        "float | Schedule | None",
        "None",
        "weight of a skip connection that is added to every edge: a number or a schedule; "
        "None: no such connection (DARTS-)",
        "float | Schedule | Mapping[str, Any] | None",
    ),
    Field(
        "perturbation",
        "Perturbation | None",
        "None",
        "perturbation of the mixing weights in the weight step: a name or an instance of a class of "
        "`pydarts.algorithms`; None: no perturbation (SDARTS)",
        "str | Perturbation | Mapping[str, Any] | None",
    ),
    Field(
        "arch_terms",
        "tuple[Term, ...]",
        "()",
        "terms added to the validation loss of the α step: a name or an instance of a class of "
        "`pydarts.algorithms`, or several of them (ours)",
        "str | Term | Mapping[str, Any] | Sequence[str | Term | Mapping[str, Any]] | None",
    ),
    Field(
        "drop_path",
        "float | Schedule",
        "0.0",
        "probability that a mixed edge of the search network is dropped, for each image of a training or "
        "validation batch: a number or a schedule; images and sequences only (SNAS, RobustDARTS)",
        SCHEDULED,
    ),
    Field(
        "skip_dropout",
        "float | Schedule",
        "0.0",
        "dropout rate after each skip connection that keeps the size: a number or a schedule; images and "
        "sequences only (P-DARTS)",
        SCHEDULED,
    ),
    Field(
        "curvature_every",
        "int | None",
        "None",
        "measure the largest eigenvalue of the Hessian of the validation loss with respect to α after every "
        'n-th epoch, starting with epoch 0: the diagnostic "curvature"; None: never (RobustDARTS, code: 2)',
    ),
    Field("algorithm", "str | None", "None", "label for reports, set by `preset`; no other effect (ours)"),
    Field("sync_batch_norm", "bool", "False", "synchronise batch norms of own networks across ranks (ours)"),
)


def rows() -> list[tuple[str, str, str]]:
    """Return the table of the fields: head, then name, default and meaning."""
    return [
        ("field", "default", "meaning (source)"),
        *((row.name, row.default, row.meaning) for row in FIELDS),
    ]
