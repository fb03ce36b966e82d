"""The algorithm of a search in words: its name, and what distinguishes it from DARTS."""

from __future__ import annotations

from typing import Any

from .._values.config import SearchConfig
from .._values.variants import Variant

# The options that make an algorithm; all others are sizes, rates and the like, or do not change results.
AXES = (
    "relaxation",
    "hypergradient",
    "partial_channels",
    "edge_normalization",
    "auxiliary_skip",
    "perturbation",
    "arch_terms",
    "weight_decay",
    "drop_path",
    "skip_dropout",
    "order",
    "arch_every",
    "arch_optimizer",
    "arch_grad_clip",
    "weight_nesterov",
    "selection",
    "stop",
)

_OF_TEXT = (
    "units", "bptt", "dropout_rows", "dropout_embedded", "dropout_input", "dropout_hidden", "dropout_output",
    "slowness",
)  # fmt: skip
_OF_IMAGES = (
    "channels", "layers", "in_channels", "image_size", "augment", "mean", "std", "cutout", "partial_channels",
    "edge_normalization", "auxiliary_skip", "drop_path", "skip_dropout",
)  # fmt: skip
_OF_SPACES = ("space", "nodes", "operations", "num_classes", "passes")


def applicable(config: SearchConfig, cells: bool) -> list[str]:
    """Return the options that apply to a search, of cells or of a user-defined network.

    >>> "units" in applicable(SearchConfig(), True), "channels" in applicable(SearchConfig(), True)
    (False, True)
    """
    words = cells and config.resolved_space.kind == "recurrent"
    left = (*(() if words else _OF_TEXT), *(() if cells and not words else _OF_IMAGES))
    left += () if cells else _OF_SPACES
    return [name for name in config.to_dict() if name not in left]


def axes(config: SearchConfig) -> dict[str, str]:
    """Return the options by which the algorithm of a search differs from first-order DARTS, by name.

    >>> from pydarts.algorithms import Gumbel
    >>> axes(SearchConfig(relaxation=Gumbel(temperature=0.5), order="weights_first", epochs=3))
    {'relaxation': 'gumbel(temperature=0.5)', 'order': 'weights_first'}
    >>> axes(SearchConfig())
    {}
    """
    changed = config._changed()
    found = {name: getattr(config, name) for name in AXES if name in changed}
    # Another number is a setting; a schedule is part of the algorithm.
    return {
        name: in_words(value)
        for name, value in found.items()
        if name != "weight_decay" or isinstance(value, Variant)
    }


def named(config: SearchConfig) -> str:
    """Return the name of an algorithm: that of its preset, or of its relaxation and hypergradient.

    >>> named(SearchConfig(algorithm="gdas")), named(SearchConfig(hypergradient="unrolled"))
    ('gdas', 'unrolled')
    """
    relaxation = config.relaxation.name
    return config.algorithm or ", ".join(
        [*([] if relaxation == "softmax" else [relaxation]), short(config.hypergradient)]
    )


def short(value: Any) -> str:
    """Return the name of a variant, or a name as it is."""
    return value.name if isinstance(value, Variant) else str(value)


def in_words(value: Any) -> str:
    """Format the value of an option: a variant by its name with the fields that differ from their defaults.

    >>> from pydarts.algorithms import Linear, Softmax, Strongest
    >>> in_words(Softmax(temperature=Linear(10, 0.1))), in_words(Strongest()), in_words(0.5)
    ('softmax(temperature=10:0.1)', 'strongest', '0.5')
    """
    if isinstance(value, tuple):
        return ", ".join(map(in_words, value))
    if not isinstance(value, Variant):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if value.axis == "schedule":
        numbers = [in_words(getattr(value, name)) for name in value._fields()]
        return ":".join(numbers) if value.name == "linear" else f"{value.name}({', '.join(numbers)})"
    default = type(value)()
    fields = {name: getattr(value, name) for name in value._fields()}
    given = [f"{name}={in_words(one)}" for name, one in fields.items() if one != getattr(default, name)]
    return f"{value.name}({', '.join(given)})" if given else value.name
