"""`build`: the network of a genotype."""

from __future__ import annotations

import inspect
from typing import Any, Protocol, TypeAlias, overload

import torch

from .. import _core
from .._values.genotype import Genotype
from ._convolutional import ConvolutionalNetwork, Stem
from ._language import LanguageModel

Network: TypeAlias = ConvolutionalNetwork | LanguageModel
"""A network that `pydarts.build` returns."""


class HasGenotype(Protocol):
    """A value that stands for its genotype, such as a `SearchResult` or a row of a table."""

    @property
    def genotype(self) -> Genotype | None: ...


@overload
def build(
    genotype: Genotype | HasGenotype,
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
    genotype: Genotype | HasGenotype,
    *,
    vocabulary: int,
    units: int = ...,
    dropout_rows: float = ...,
    dropout_embedded: float = ...,
    dropout_input: float = ...,
    dropout_hidden: float = ...,
    dropout_output: float = ...,
) -> LanguageModel: ...
def build(genotype: Genotype | HasGenotype, **arguments: Any) -> Network:
    """Build the network of a genotype, with new weights, as a plain `torch.nn.Module`.

    A convolutional genotype gives a `pydarts.nn.ConvolutionalNetwork`, a recurrent one a
    `pydarts.nn.LanguageModel`; these classes document `arguments`.

    Args:
        genotype: from `search` or `pydarts.genotypes`, or your own: any number of edges into each node (in a
            recurrent cell exactly one), from earlier nodes. The result of a search stands for its genotype.
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
    genotype = genotype_of(genotype)
    kind = LanguageModel if genotype.recurrent else ConvolutionalNetwork
    takes = [name for name in inspect.signature(kind).parameters if name != "genotype"]
    unknown = sorted(set(arguments) - set(takes))
    if unknown:
        meant = _core.unknown_name("argument", unknown[0], takes)
        raise _core.ConfigError(f"{kind.__name__} does not accept {', '.join(unknown)}: {meant}")
    if kind is LanguageModel and "vocabulary" not in arguments:
        raise _core.ConfigError("a LanguageModel requires `vocabulary`, the number of words")
    return kind(genotype, **arguments)


def genotype_of(value: object) -> Genotype:
    """Return a genotype, or the genotype of a result.

    Raises:
        GenotypeError: neither a genotype nor a value that has one.
    """
    if isinstance(value, Genotype):
        return value
    found = None if isinstance(value, torch.nn.Module) else getattr(value, "genotype", None)
    if isinstance(found, Genotype):
        return found
    remedy = "; Genotype.from_notation reads text" if isinstance(value, str) else ""
    if isinstance(value, torch.nn.Module) and hasattr(value, "genotype"):
        remedy = "; for another network with its cells pass network.genotype"
    raise _core.GenotypeError(f"expected a Genotype or a SearchResult, got a {type(value).__name__}{remedy}")
