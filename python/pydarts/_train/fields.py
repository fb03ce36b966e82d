"""The published values and meanings of the fields of a `TrainConfig`, one row per field.

The tables in the docstring of `TrainConfig` and the options of the command line are made from these rows. The
command line loads this file by its path; it therefore imports no other module of pydarts.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Keep: TypeAlias = Literal["best", "last"]
Schedule: TypeAlias = Literal["cosine", "exponential"]
Precision: TypeAlias = Literal["auto", "bfloat16"]


class Field(NamedTuple):
    """A field of the configuration, with the values that None selects, as Python writes them."""

    name: str
    value: str = ""
    """The value for networks of images, or for all networks; empty if only language models have the field."""
    meaning: str = ""
    """The meaning of `value`, with its source in parentheses."""
    text_value: str = ""
    """The value for a language model; empty if it does not use the field or if `value` applies to it."""
    text_meaning: str = ""


NETWORK_FIELDS = (
    Field(
        "epochs",
        "600",
        "passes over the training images (A.2.1)",
        "8000",
        "passes over the training text (code)",
    ),
    Field(
        "batch_size",
        "96",
        "images per batch, for arrays; a loader has its own batch size (A.2.1)",
        "64",
        "number of parallel sequences (A.2.2)",
    ),
    Field(
        "eval_batch_size",
        "None",
        "images per batch of the evaluation; None: 4 x `batch_size` (ours)",
        "10",
        "number of parallel sequences in the evaluation (code)",
    ),
    Field(
        "bptt",
        text_value="35",
        text_meaning="tokens per segment: lengths are drawn from a normal distribution around this value, in "
        "one of twenty cases around half of it (code)",
    ),
    Field(
        "weight_lr",
        "0.025",
        "initial learning rate of SGD (A.2.1)",
        "20.0",
        "learning rate of SGD, multiplied by length / bptt for each segment (A.2.2)",
    ),
    Field(
        "weight_lr_schedule",
        '"cosine"',
        '"cosine": decay to 0 over the epochs (A.2.1); "exponential": multiply by 0.97 after every epoch '
        "(A.2.3)",
    ),
    Field(
        "warmup",
        "0",
        "number of initial epochs, fewer than all, in which the learning rate rises linearly to "
        "`weight_lr` (PC-DARTS, on ImageNet: 5)",
    ),
    Field("weight_momentum", "0.9", "momentum of SGD (code)"),
    Field("weight_decay", "3e-4", "added to the gradient (A.2.1)", "8e-7", "added to the gradient (A.2.2)"),
    Field(
        "grad_clip",
        "5.0",
        "maximum 2-norm of the gradient; 0 or infinity: no limit (code)",
        "0.25",
        "maximum 2-norm of the gradient; 0 or infinity: no limit (code)",
    ),
    Field(
        "label_smoothing",
        "0.0",
        "fraction of the target that is spread over all classes (code, on ImageNet: 0.1)",
    ),
    Field(
        "auxiliary_weight",
        "0.4",
        "weight of the auxiliary head's loss; without an auxiliary head only the default is accepted (A.2.1)",
    ),
    Field("augment", '"none"', '"cifar": random crop (padding 4) and flip; arrays only (code)'),
    Field("cutout", "0", "side in pixels of the square set to zero; 0: none; arrays only (A.2.1; code: 16)"),
    Field("mean", "None", "mean per channel, as in `SearchConfig`"),
    Field("std", "None", "standard deviation per channel, as in `SearchConfig`"),
    Field("train_portion", "0.9", "fraction for training, unless data are a pair; rest: validation (ours)"),
    Field(
        "ema",
        "0.0",
        "decay per step of an exponential moving average of the weights, which is evaluated and kept "
        "instead of them; 0: no average. After n steps the decay is at most (1 + n) / (10 + n) (ours)",
    ),
    Field(
        "precision",
        '"auto"',
        '"auto": that of the weights; "bfloat16": forward passes in bfloat16, weights in float32 (ours)',
    ),
    Field("channels_last", "False", "images in channels-last memory format (ours)"),
    Field("compile", "False", "use `torch.compile`, which takes minutes at the start (ours)"),
    Field(
        "slowness",
        text_value="1e-3",
        text_meaning="factor of the mean squared difference of consecutive states, which is added to the "
        "loss (code)",
    ),
    Field(
        "patience",
        text_value="5",
        text_meaning="number of epochs: weight averaging starts when the validation loss exceeds the minimum "
        "of all epochs before the last `patience` ones (code)",
    ),
    Field(
        "keep",
        '"last"',
        'weights of the trained network: those of the epoch with the highest validation accuracy, "best", '
        'or those of the last epoch, "last" (code)',
        '"best"',
        "weights of the trained network: those of the epoch with the lowest validation loss, or those of the "
        "last epoch (code)",
    ),
)
MODULE_FIELDS = (
    Field(
        "metric_mode",
        '"max"',
        'whether larger values of `metric` are better, "max", or smaller ones, "min", as for an error; '
        "`TrainResult.best` and `keep` follow it (ours)",
    ),
)
RUN_FIELDS = (
    Field("seed", "0", "random seed: all random numbers depend only on seed, epoch and step"),
    Field("device", '"auto"', '"auto": CUDA if available; "cpu", "cuda", "cuda:1"'),
    Field("checkpoint_dir", "None", "folder for checkpoints, one per epoch, of which the last two are kept"),
    Field(
        "resume",
        "False",
        "continue from the newest checkpoint in `checkpoint_dir`, if any; "
        '"force": even if the data or the loss differ from those of the checkpoint',
    ),
    Field("progress", "True", "show a progress bar"),
)


def rows(kind: str) -> list[tuple[str, str, str]]:
    """Return the table of fields of "images", "text", "own" or "every" network: head, name, value, meaning.

    >>> rows("text")[:2]
    [('field', 'value', 'meaning (source)'), ('epochs', '8000', 'passes over the training text (code)')]
    """
    if kind in ("every", "own"):
        chosen = RUN_FIELDS if kind == "every" else MODULE_FIELDS
        return [("field", "value", "meaning"), *((row.name, row.value, row.meaning) for row in chosen)]
    value, meaning = {"images": (1, 2), "text": (3, 4)}[kind]
    found = [("field", "value", "meaning (source)")]
    for row in NETWORK_FIELDS:
        if (row[value], row[meaning]) == found[-1][1:]:  # such as mean and std, which share a row
            found[-1] = (f"{found[-1][0]}, {row.name}", row[value], row[meaning])
        elif row[value]:
            found.append((row.name, row[value], row[meaning]))
    return found
