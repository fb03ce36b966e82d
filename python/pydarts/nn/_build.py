"""`build`: the network of a genotype."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, overload, runtime_checkable

import torch

from .. import _core
from .._values.genotype import Genotype
from .._values.operation import Operation, made
from ._convolutional import ConvolutionalNetwork, Stem
from ._language import LanguageModel
from ._residual import ResidualNetwork, StageStem

if TYPE_CHECKING:
    from .._values.config import SearchConfig

Network: TypeAlias = ConvolutionalNetwork | ResidualNetwork | LanguageModel
"""A network that `pydarts.build` returns."""


@runtime_checkable
class CellResult(Protocol):
    """What `build` uses of a `SearchResult`, which this package does not import."""

    @property
    def genotype(self) -> Genotype: ...
    @property
    def config(self) -> SearchConfig: ...


@overload
def build(
    genotype: Genotype | CellResult,
    *,
    channels: int = ...,
    layers: int = ...,
    num_classes: int = ...,
    in_channels: int = ...,
    stem: Stem | StageStem = ...,
    auxiliary: bool = ...,
    drop_path: float = ...,
    pool_norm: bool = ...,
    reductions: Sequence[int] | None = ...,
    dimensions: int | None = ...,
    causal: bool = ...,
    operations: Sequence[Operation] = ...,
    stages: int | Sequence[tuple[int, int]] = ...,
) -> ConvolutionalNetwork | ResidualNetwork: ...
@overload
def build(
    genotype: Genotype | CellResult,
    *,
    vocabulary: int,
    units: int = ...,
    dropout_rows: float = ...,
    dropout_embedded: float = ...,
    dropout_input: float = ...,
    dropout_hidden: float = ...,
    dropout_output: float = ...,
) -> LanguageModel: ...
def build(genotype: Genotype | CellResult, **arguments: Any) -> Network:
    """Build the network of a genotype, with new weights, as a plain `torch.nn.Module`.

    The cells of the genotype determine the class of the network. Normal and reduction cells give a
    `pydarts.nn.ConvolutionalNetwork`; one cell with one input, as in NAS-Bench-201 and TransNAS-Bench-101,
    gives a `pydarts.nn.ResidualNetwork`; a recurrent cell gives a `pydarts.nn.LanguageModel`. These classes
    document `arguments`.

    Args:
        genotype: a genotype from `search` or `pydarts.genotypes`, or your own. Each node may have any number
            of edges from earlier nodes (at most one in a recurrent cell); a node without edges is zeros. Or a
            `SearchResult`, whose genotype is used. By default, `reductions`, `stages` with their `stem`,
            `dimensions`, `causal` and `operations` are then those of its space; this requires that the
            `operations` have been made in this process with the same code.
        arguments: for convolutional cells, `channels`, `layers`, `num_classes`, `in_channels`, `stem`,
            `auxiliary`, `drop_path`, `pool_norm`, `reductions`, `dimensions`, `causal` and `operations` (your
            own, a list of `pydarts.Operation`). For one cell with one input, also `stages`, but not
            `auxiliary`, `reductions`, `dimensions` and `causal`. For a recurrent cell, `vocabulary`
            (required), `units`, and the dropout rates.

    Raises:
        GenotypeError: not a genotype, a recurrent one with several edges into a node, or one with an
            operation of your own that `operations` lacks.
        ConfigError: an argument is unknown, missing or out of range, or the space of a result has
            `reductions` and its search had another number of `layers`.

    >>> import pydarts
    >>> net = pydarts.build(pydarts.genotypes.DARTS_V2, channels=36, layers=20, num_classes=10)
    >>> sum(weight.numel() for weight in net.parameters())
    3349342
    >>> net = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=10_000, units=850)
    >>> sum(weight.numel() for weight in net.parameters())
    22960000
    """
    if isinstance(genotype, Genotype):
        cells = genotype
    elif isinstance(genotype, CellResult):
        cells, arguments = genotype.genotype, arguments | placed(genotype.config, arguments)
    else:
        remedy = "; Genotype.from_notation reads text" if isinstance(genotype, str) else ""
        if isinstance(genotype, torch.nn.Module) and hasattr(genotype, "genotype"):
            remedy = "; for another network with its cells pass network.genotype"
        if hasattr(genotype, "architecture"):
            remedy = " of a network of your own, which has no genotype"
        raise _core.GenotypeError(
            f"expected a Genotype or a SearchResult, got a {type(genotype).__name__}{remedy}"
        )
    kind = _NETWORKS[cells.tables]
    takes = [name for name in inspect.signature(kind).parameters if name != "genotype"]
    unknown = sorted(set(arguments) - set(takes))
    if unknown:
        meant = _core.unknown_name("argument", unknown[0], takes)
        raise _core.ConfigError(f"{kind.__name__}: {meant}")
    if kind is LanguageModel and "vocabulary" not in arguments:
        raise _core.ConfigError("a LanguageModel requires `vocabulary`, the number of words")
    network: Network = kind(cells, **arguments)
    return network


_NETWORKS: dict[tuple[str, ...], Any] = {
    ("normal", "reduce"): ConvolutionalNetwork,
    ("cell",): ResidualNetwork,
    ("recurrent",): LanguageModel,
}


def placed(config: SearchConfig, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments of `build` that the space of a search determines and that are not given.

    They are `reductions` and `operations`, if the space has its own, `stages` with their `stem`, and
    `dimensions` and `causal` of a space of sequences.

    Raises:
        ConfigError: the positions are those of a network of another number of layers.
    """
    space, cells = config.resolved_space, config.resolved_space.reductions
    if space.own_operations and "operations" not in arguments:
        with contextlib.suppress(_core.ConfigError):  # the genotype may have none of them
            own = tuple(made(space.own_operations).values())
            return {"operations": own} | placed(config, {**arguments, "operations": own})
    found: dict[str, Any] = {"dimensions": 1} if space.dimensions == 1 else {}
    found |= {"causal": True} if space.causal else {}
    if (stages := space.stages) is not None:
        found |= {"stages": stages if isinstance(stages, int) else [list(stage) for stage in stages]}
    found |= {"stem": "strided"} if space.stem == "strided" else {}
    found = {name: value for name, value in found.items() if name not in arguments}
    if cells is None or "reductions" in arguments or space.kind == "recurrent":
        return found
    layers = arguments.get("layers", inspect.signature(ConvolutionalNetwork).parameters["layers"].default)
    if cells and layers != config.layers:
        raise _core.ConfigError(
            f"the search has reductions={list(cells)} in {config.layers} layers; pass `reductions` "
            f"for a network of {layers} layers"
        )
    return found | {"reductions": list(cells)}
