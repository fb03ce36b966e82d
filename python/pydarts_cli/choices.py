"""The groups of options that commands share, and the help panels that show them."""

from __future__ import annotations

from .fields import network_fields, renamed_fields, search_fields, train_fields
from .options import Group

_RECURRENT = "Recurrent cells (text)"

SEARCH = Group(
    search_fields(),
    {
        "Space and search network": (
            "space", "channels", "layers", "nodes", "operations", "num_classes", "in_channels", "image_size",
            "partial_channels", "edge_normalization", "auxiliary_skip",
        ),
        "Optimisation of α": (
            "relaxation", "hypergradient", "epsilon", "arch_lr", "arch_betas", "arch_weight_decay",
            "arch_start_epoch", "arch_every", "arch_init", "arch_optimizer", "arch_grad_clip", "order",
            "clip_virtual_step", "arch_terms", "probe_every", "curvature_every", "selection", "stop",
        ),
        "Optimisation of the weights": (
            "epochs", "batch_size", "weight_lr", "weight_lr_min", "weight_momentum", "weight_decay",
            "grad_clip", "weight_nesterov", "weight_lr_schedule", "perturbation", "drop_path", "skip_dropout",
        ),
        "Data processing": ("train_portion", "augment", "cutout", "mean", "std", "eval_batch_size"),
        _RECURRENT: (
            "units", "bptt", "dropout_rows", "dropout_embedded", "dropout_input", "dropout_hidden",
            "dropout_output", "slowness",
        ),
        "Run": (
            "seed", "device", "precision", "record", "resume", "checkpoint_dir", "checkpoint_every",
            "progress", "log_every", "metric_mode",
        ),
        "Engine": ("passes", "graph", "memory", "micro_batch", "sync_batch_norm"),
    },
)  # fmt: skip

TRAINING = Group(
    train_fields(),
    {
        "Training": (
            "epochs", "batch_size", "weight_lr", "weight_lr_schedule", "warmup", "weight_momentum",
            "weight_decay", "grad_clip", "label_smoothing", "auxiliary_weight", "ema", "keep", "metric_mode",
        ),
        "Data processing": ("train_portion", "augment", "cutout", "mean", "std", "eval_batch_size"),
        _RECURRENT: ("bptt", "slowness", "patience"),
        "Run": (
            "seed", "device", "resume", "checkpoint_dir", "progress", "precision", "channels_last", "compile",
        ),
    },
    renamed_fields(),
)  # fmt: skip

NETWORK = Group(
    network_fields(),
    {
        "Network": (
            "channels", "layers", "num_classes", "in_channels", "stem", "auxiliary", "drop_path", "pool_norm",
            "reductions", "dimensions", "causal",
        ),
        _RECURRENT: (
            "vocabulary", "units", "dropout_rows", "dropout_embedded", "dropout_input", "dropout_hidden",
            "dropout_output",
        ),
    },
)  # fmt: skip
