"""The discrete convolutional network: stem, cells and classifier."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from .. import _core
from .._values.checks import flag, one_of, whole
from .._values.genotype import Genotype
from .._values.notations import Edges
from .._values.operation import Operation, by_name
from .._values.words import shown
from ._auxiliary import AuxiliaryHead
from ._cells import GraphCell
from ._images import ImageNetwork, sizes_of
from ._layers import IMAGES, Layers
from ._operations import FactorizedReduction, ReluConvBn
from ._own import candidate

Stem: TypeAlias = Literal["cifar", "imagenet", "small"]


def reduction_cells(layers: int, given: Sequence[int] | None = None) -> tuple[int, ...]:
    """Return the positions of the reduction cells; None: one third and two thirds of the layers (3.1.1).

    Raises:
        ConfigError: positions that are not distinct integers from 0 to layers - 1.

    >>> reduction_cells(20), reduction_cells(1), reduction_cells(5, [3])
    ((6, 13), (0, 0), (3,))
    """
    if given is None:
        return layers // 3, 2 * layers // 3
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise _core.ConfigError(f"reductions is {given!r}; it must be a list of cells, [] for none")
    cells = tuple(whole("reductions", cell, 0) for cell in given)
    if len(set(cells)) < len(cells) or any(cell >= layers for cell in cells):
        raise _core.ConfigError(
            f"reductions is {list(cells)}; with layers={layers} they must be distinct, 0 to {layers - 1}"
        )
    return cells


class ConvBn(nn.Module):
    """A 3x3 convolution and batch norm."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1, layers: Layers = IMAGES) -> None:
        super().__init__()
        self.conv = layers.conv(in_channels, channels, 3, stride)
        self.bn = layers.norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> [N, channels, ⌈H/stride⌉, ⌈W/stride⌉]."""
        out: Tensor = self.bn(self.conv(x))
        return out


class Cell(GraphCell):
    """A discrete convolutional cell: every node is the sum of its edges (section 2.1 of the paper).

    An edge with the operation `none` carries zeros. A node that no edge enters, or only such edges, is zeros
    of the same size as the other nodes.

    Args:
        edges: (operation, source, target) of each edge, as `Genotype.edges` returns them.
        concat: nodes whose outputs are concatenated.
        in_channels: channels of the two inputs.
        channels: channels of every node.
        reduction: whether edges from the inputs halve height and width.
        after_reduction: whether the first input comes from before a reduction and has twice the size.
        pool_norm: whether batch norm follows pooling, as in the search.
        dimensions: 2 for images, 1 for sequences.
        causal: whether all padding of sequences is before their first position.
        operations: operations of your own by name.

    Raises:
        GenotypeError: an operation of your own is missing from `operations`, or `edges` are not such triples
            or cannot occur in a genotype.
    """

    def __init__(
        self,
        edges: Edges,
        concat: Sequence[int],
        in_channels: tuple[int, int],
        channels: int,
        *,
        reduction: bool,
        after_reduction: bool,
        pool_norm: bool,
        dimensions: int = 2,
        causal: bool = False,
        operations: Mapping[str, Operation] | None = None,
    ) -> None:
        super().__init__()
        last = _check_edges(edges, concat)
        layers = self._layers = Layers(dimensions, causal)
        self.concat, self._stride = tuple(concat), 2 if reduction else 1
        self.pre0: nn.Module
        if after_reduction:
            self.pre0 = FactorizedReduction(in_channels[0], channels, layers)
        else:
            self.pre0 = ReluConvBn(in_channels[0], channels, 1, layers=layers)
        self.pre1 = ReluConvBn(in_channels[1], channels, 1, layers=layers)

        def make(name: str, source: int) -> nn.Module:
            stride = self._stride if source < 2 else 1
            return candidate(name, (channels, channels), stride, pool_norm, layers, operations or {})

        self._add_edges(edges, 2, last - 1, make)

    def forward(self, before: Tensor, previous: Tensor, drop_path: Tensor | None = None) -> Tensor:
        """Compute the cell from two inputs; training drops the fraction `drop_path` of the paths."""
        states = self._states([self.pre0(before), self.pre1(previous)], drop_path)
        return torch.cat([states[node] for node in self.concat], dim=1)


def _check_edges(edges: Edges, concat: Sequence[int]) -> int:
    """Check that edges and output make a cell of a genotype; return its last node."""
    try:
        targets = sorted({operator.index(target) for _, _, target in edges})
        last = max([*targets, *map(operator.index, concat)])
    except (TypeError, ValueError) as error:
        raise _core.GenotypeError(
            f"expected edges (operation, source, target) and output nodes, got {shown(edges)} and "
            f"{shown(concat)}"
        ) from error
    if targets and targets[0] < 2:
        raise _core.GenotypeError(f"edges enter nodes {targets}; number the nodes 2, 3, ...")
    # A genotype refuses so many nodes; a list of all of them could fill the memory.
    nodes = [[edge[:2] for edge in edges if edge[2] == node] for node in range(2, min(last, 99) + 1)]
    Genotype(normal=nodes, normal_concat=concat, reduce=nodes, reduce_concat=concat)
    return last


def layers_of(genotype: Genotype, dimensions: int | None, causal: bool) -> Layers:
    """Return the layers of a genotype's network.

    Raises:
        GenotypeError: the operations have another number of dimensions.
        ConfigError: `dimensions` is neither 1 nor 2, or `causal` is True for a network of images.
    """
    own = genotype.dimensions
    chosen = (own or 2) if dimensions is None else whole("dimensions", dimensions, 1, 2)
    if own not in (None, chosen):
        raise _core.GenotypeError(
            f"dimensions is {chosen}, but the genotype has {own}-D operations; leave it out"
        )
    if flag("causal", causal) and chosen != 1:
        raise _core.ConfigError("causal is True, which requires a network of sequences (dimensions=1)")
    return Layers(chosen, causal)


class ConvolutionalNetwork(ImageNetwork):
    """A stem, the cells of a genotype, global average pooling and a linear classifier (A.2.1 of the paper).

    Reduction cells halve height and width and double the channels. Batch norm is affine; there is none after
    pooling.

    Args:
        genotype: a genotype with normal and reduction cells.
        channels: channels of the first cells.
        layers: number of cells.
        num_classes: number of classes.
        in_channels: channels of an image.
        stem: "cifar", one convolution to 3·channels; "imagenet", three convolutions that divide height and
            width by 8, the first to half of `channels`; "small", one convolution to `channels`.
        auxiliary: whether the network has an auxiliary head, for training: after the second reduction cell
            or, with fewer than two, after cell 2·layers//3.
        drop_path: fraction of paths dropped in training, never those through an identity; `train` raises it
            from 0 to this value over its epochs.
        pool_norm: whether batch norm without affine parameters follows pooling, as in the search network.
        reductions: positions of the reduction cells, counted from 0, as in `Space`; []: none; None: layers//3
            and 2·layers//3, as published.
        dimensions: 2 for images, 1 for sequences [N, in_channels, L], with 1-D layers; None: that of the
            operations of the genotype (2 if it has only `none`, `noise` and `skip_connect`).
        causal: whether all padding of sequences is before their first position, as in `Space`.
        operations: your own `Operation`s that the genotype uses; their batch norms are affine here.

    Raises:
        GenotypeError: the genotype has no convolutional cells, or operations of other `dimensions`.
        ConfigError: a count below 1 (`channels` with the stem "imagenet": below 2), a fraction outside
            [0, 1), an unknown stem, a flag that is neither True nor False, reductions that are not distinct
            cells of the network.

    >>> from pydarts import genotypes
    >>> net = ConvolutionalNetwork(genotypes.DARTS_V2, channels=4, layers=3, num_classes=10, auxiliary=True)
    >>> logits, auxiliary = net(torch.zeros(2, 3, 32, 32))
    >>> net.eval()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        channels: int = 36,
        layers: int = 20,
        num_classes: int = 10,
        in_channels: int = 3,
        stem: Stem = "cifar",
        auxiliary: bool = False,
        drop_path: float = 0.0,
        pool_norm: bool = False,
        reductions: Sequence[int] | None = None,
        dimensions: int | None = None,
        causal: bool = False,
        operations: Sequence[Operation] = (),
    ) -> None:
        if genotype.tables != ("normal", "reduce"):
            raise _core.GenotypeError(f"{genotype} has no normal and reduction cells; use pydarts.build")
        one_of("stem", stem, get_args(Stem))
        sizes = sizes_of(channels, layers, num_classes, in_channels)
        if stem == "imagenet" and channels == 1:
            raise _core.ConfigError('channels is 1; the stem "imagenet" requires 2 or more')
        given = {
            "stem": stem,
            "auxiliary": flag("auxiliary", auxiliary),
            "drop_path": drop_path,
            "pool_norm": flag("pool_norm", pool_norm),
        }
        own = by_name(operations)
        super().__init__(genotype, sizes | given, own)
        channels, layers, num_classes, in_channels = sizes.values()
        self._reductions = reduction_cells(layers, reductions)
        if reductions is not None:  # left out otherwise, for version 1 to read the files
            self.arguments["reductions"] = list(self._reductions)
        self._layers = layers_of(genotype, dimensions, causal)
        if self._layers.dimensions == 1:
            self.arguments |= {"dimensions": 1} | ({"causal": True} if causal else {})
        width = self._make_stem(stem, in_channels, channels)
        self.cells = nn.ModuleList()
        entering, after_reduction, current = (width, width), stem == "imagenet", channels
        for index in range(layers):
            reduction = index in self._reductions
            current *= 2 if reduction else 1
            concat = genotype.reduce_concat if reduction else genotype.normal_concat
            self.cells.append(
                Cell(
                    genotype.edges("reduce" if reduction else "normal"),
                    concat,
                    entering,
                    current,
                    reduction=reduction,
                    after_reduction=after_reduction,
                    pool_norm=pool_norm,
                    dimensions=self.dimensions,
                    causal=causal,
                    operations=own,
                )
            )
            entering, after_reduction = (entering[1], len(concat) * current), reduction
            if auxiliary and index == self.head_cell:
                self.auxiliary = AuxiliaryHead(
                    entering[1], num_classes, imagenet=stem == "imagenet", dimensions=self.dimensions
                )
        self.classifier = nn.Linear(entering[1], num_classes)

    @property
    def reductions(self) -> tuple[int, ...]:
        """The positions of the reduction cells; the two default positions are equal if there is one layer."""
        return self._reductions

    @property
    def dimensions(self) -> int:
        """2 for images, 1 for sequences."""
        return self._layers.dimensions

    @property
    def head_cell(self) -> int:
        """The position of the cell whose output the auxiliary head classifies."""
        found = sorted(self._reductions)
        return found[1] if len(found) > 1 else 2 * int(self.arguments["layers"]) // 3

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Classify images, or sequences.

        Args:
            x: [N, in_channels, H, W], or [N, in_channels, L].

        Returns:
            Logits [N, classes]; in training mode with an auxiliary head, a pair: the logits of the network
            and those of the head.
        """
        before, previous = self._enter(x)
        aside: Tensor | None = None
        # In this order the compiler makes one graph for evaluation, whatever training drops.
        dropped = self._now_dropped()
        for index, cell in enumerate(self.cells):
            before, previous = previous, cell(before, previous, dropped)
            if self.auxiliary is not None and self.training and index == self.head_cell:
                aside = self.auxiliary(previous)
        logits: Tensor = self.classifier(self._layers.mean(previous))
        return logits if aside is None else (logits, aside)

    def _make_stem(self, stem: Stem, in_channels: int, channels: int) -> int:
        """Create the stem and return the number of channels of its output."""
        if stem != "imagenet":
            width = channels if stem == "small" else 3 * channels
            self.stem = ConvBn(in_channels, width, layers=self._layers)
            return width
        self.stem0 = nn.Sequential(
            ConvBn(in_channels, channels // 2, 2, self._layers),
            nn.ReLU(),
            ConvBn(channels // 2, channels, 2, self._layers),
        )
        self.stem1 = nn.Sequential(nn.ReLU(), ConvBn(channels, channels, 2, self._layers))
        return channels

    def _enter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.arguments["stem"] == "imagenet":
            first = self.stem0(x)
            return first, self.stem1(first)
        entered = self.stem(x)
        return entered, entered
