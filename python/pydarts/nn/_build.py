"""`build`: the network of a genotype."""

from __future__ import annotations

import inspect
from typing import Any, TypeAlias, overload

from .. import _core
from .._values.genotype import Genotype
from ._convolutional import ConvolutionalNetwork, Stem
from ._language import LanguageModel

Network: TypeAlias = ConvolutionalNetwork | LanguageModel
"""A network that `pydarts.build` returns."""


@overload
def build(
    genotype: Genotype,
    *,
    channels: int = ...,
    layers: int = ...,
    num_classes: int = ...,
    in_channels: int = ...,
    stem: Stem = ...,
    auxiliary: bool = ...,
    drop_path: float = ...,
    pool_norm: bool = ...,
) -> ConvolutionalNetwork: ...
@overload
def build(
    genotype: Genotype,
    *,
    vocabulary: int,
    units: int = ...,
    dropout_rows: float = ...,
    dropout_embedded: float = ...,
    dropout_input: float = ...,
    dropout_hidden: float = ...,
    dropout_output: float = ...,
) -> LanguageModel: ...
def build(genotype: Genotype, **arguments: Any) -> Network:
    """Build the network of a genotype, with new weights, as a plain `torch.nn.Module`.

    A convolutional genotype gives a `pydarts.nn.ConvolutionalNetwork`, a recurrent one a
    `pydarts.nn.LanguageModel`; these classes document `arguments`.

    Args:
        genotype: from `search` or `pydarts.genotypes`, or your own: any number of edges into each node (in a
            recurrent cell exactly one), from earlier nodes.
        arguments: `channels`, `layers`, `num_classes`, `in_channels`, `stem`, `auxiliary`, `drop_path`,
            `pool_norm`; or `vocabulary` (required), `units`, and the dropout rates.

    Raises:
        GenotypeError: not a genotype, or a recurrent one with several edges into a node.
        ConfigError: an argument is unknown, missing or out of range.

    >>> import pydarts
    >>> net = pydarts.build(pydarts.genotypes.DARTS_V2, channels=36, layers=20, num_classes=10)
    >>> sum(weight.numel() for weight in net.parameters())
    3349342
    >>> net = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=10_000, units=850)
    >>> sum(weight.numel() for weight in net.parameters())
    22960000
    """
    if not isinstance(genotype, Genotype):
        raise _core.GenotypeError(f"expected a Genotype, got a {type(genotype).__name__}")
    kind = LanguageModel if genotype.recurrent else ConvolutionalNetwork
    takes = [name for name in inspect.signature(kind).parameters if name != "genotype"]
    unknown = sorted(set(arguments) - set(takes))
    if unknown:
        raise _core.ConfigError(
            f"{kind.__name__} does not accept {', '.join(unknown)}; choose from {', '.join(takes)}"
        )
    if kind is LanguageModel and "vocabulary" not in arguments:
        raise _core.ConfigError("a LanguageModel requires `vocabulary`, the number of words")
    return kind(genotype, **arguments)
