"""Example inputs of a network, for inspecting it without data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import _core
from .._values.checks import whole
from .._values.genotype import Genotype
from .._values.words import shown
from ._images import ImageNetwork
from ._language import LanguageModel
from ._module import check_module


def check_network(network: object, what: str, *others: str) -> None:
    """Raise TypeError unless `network` comes from `build`.

    Args:
        network: the value to check.
        what: name of the caller.
        others: other values that the caller accepts.

    Raises:
        TypeError: the value is something else, or a network that `torch.compile` has wrapped.
    """
    # torch.compile keeps the network in `_orig_mod`; importing its class would take seconds.
    if isinstance(getattr(network, "_orig_mod", None), (ImageNetwork, LanguageModel)):
        raise TypeError(
            f"{what} got a network that torch.compile has wrapped; pass the network itself: "
            "TrainConfig(compile=True) compiles it for the training"
        )
    if not isinstance(network, (ImageNetwork, LanguageModel)):
        takes = " or ".join(("a network of pydarts.build", *others))
        remedy = ""
        if isinstance(network, Genotype) or isinstance(getattr(network, "genotype", None), Genotype):
            remedy = f"; build its network first: {what}(pydarts.build(genotype, ...))"
        raise TypeError(f"{what} takes {takes}, got a {type(network).__name__}{remedy}")


def check_sizes(network: object, what: str, example: Any, **sizes: Any) -> None:
    """Check that inputs are known: from sizes for a network of `build`, from `example` for another module.

    Raises:
        TypeError: neither, or `example` is missing.
        ConfigError: `example` or a size does not apply to the network.
    """
    if isinstance(network, (ImageNetwork, LanguageModel)):
        if example is not None:
            raise _core.ConfigError(
                f"`example` does not apply to a {type(network).__name__} of pydarts.build; leave it out"
            )
        return
    check_module(network, what)
    given = [name for name, value in sizes.items() if value is not None]
    if given:
        raise _core.ConfigError(
            f"{given[0]} applies only to networks of pydarts.build; for a {type(network).__name__} pass its "
            "inputs as `example`"
        )
    if example is None:
        raise TypeError(
            f"{what} of a {type(network).__name__} requires `example`, the inputs of the network, because "
            f"pydarts.build did not make it; call {what}(network, ..., example=x)"
        )


def example(
    network: ImageNetwork | LanguageModel,
    image_size: int | Sequence[int] | None,
    tokens: int | None,
    batch: int,
) -> tuple[Tensor, ...]:
    """Return inputs on the network's device: images [batch, C, H, W], sequences [batch, C, L], or a text.

    A text is tokens [tokens, batch] and a state.

    Args:
        network: a network that `build` returned.
        image_size: side in pixels or (height, width), or the length of a sequence (also as (1, length));
            None: that of the training of the network; without one, 224 with the stem "imagenet", else 32.
        tokens: length of a segment of text; None: 1.
        batch: number of images or sequences.

    Raises:
        ConfigError: an invalid size, or a size that does not apply to the network.
    """
    weight = next(network.parameters())
    if isinstance(network, LanguageModel):
        if image_size is not None:
            raise _core.ConfigError("image_size does not apply to a LanguageModel; leave it out")
        length = whole("tokens", 1 if tokens is None else tokens)
        text = torch.zeros(length, batch, dtype=torch.int64, device=weight.device)
        return text, weight.new_zeros(batch, network.cell.units)
    if tokens is not None:
        raise _core.ConfigError("tokens does not apply to a network of images; leave it out")
    if image_size is None:
        image_size = network.image_size or (224 if network.arguments.get("stem") == "imagenet" else 32)
    channels = int(network.arguments["in_channels"])
    if network.dimensions == 1:
        size: Any = image_size
        if isinstance(size, Sequence) and len(size) == 2 and (size[0] == 1 or size[0] == size[1]):
            size = size[1]  # as in a SearchConfig
        return (weight.new_zeros(batch, channels, whole("image_size", size, most=65_536)),)
    sides = (image_size, image_size) if isinstance(image_size, int) else image_size
    if not isinstance(sides, Sequence) or len(sides) != 2:
        raise _core.ConfigError(f"image_size is {shown(image_size)}; it must be a side or (height, width)")
    height, width = (whole("image_size", side, most=65_536) for side in sides)
    return (weight.new_zeros(batch, channels, height, width),)
