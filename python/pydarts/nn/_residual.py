"""The discrete network of stages: a cell of one input, with residual blocks between the stages or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from .. import _core
from .._values.checks import flag, one_of, whole
from .._values.genotype import Genotype
from .._values.notations import Edges
from .._values.operation import Operation, by_name
from .._values.space import Space
from ._cells import GraphCell
from ._convolutional import ConvBn
from ._images import ImageNetwork, sizes_of
from ._layers import IMAGES
from ._own import candidate

StageStem: TypeAlias = Literal["cifar", "strided"]


class StageCell(GraphCell):
    """A discrete cell whose node 0 is its input and whose output is its last node.

    Args:
        edges: (operation, source, target) of each edge, as `Genotype.edges` returns them.
        nodes: the number of nodes after the input.
        channels: channels of every node.
        pool_norm: whether batch norm follows pooling.
        operations: operations of your own by name.
        in_channels: channels of the input; None: as many as the nodes have.
        stride: the stride of the edges that leave the input: 1, or 2, which halves height and width.

    Raises:
        GenotypeError: an operation of your own is missing from `operations`, or an operation on an edge that
            leaves the input cannot change the number of channels.
    """

    def __init__(
        self,
        edges: Edges,
        nodes: int,
        channels: int,
        *,
        pool_norm: bool = False,
        operations: Mapping[str, Operation] | None = None,
        in_channels: int | None = None,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self._layers, self._stride = IMAGES, stride
        into = channels if in_channels is None else in_channels
        self._channels = None if into == channels else channels

        def make(name: str, source: int) -> nn.Module:
            entered, steps = (channels, 1) if source else (into, stride)
            return candidate(name, (entered, channels), steps, pool_norm, IMAGES, operations or {})

        self._add_edges(edges, 1, nodes, make)

    def forward(self, x: Tensor, drop_path: Tensor | None = None) -> Tensor:
        """[N, in_channels, H, W] -> [N, channels, ⌈H/stride⌉, ⌈W/stride⌉].

        Training drops the fraction `drop_path` of the paths.
        """
        return self._states([x], drop_path)[-1]


class ResidualBlock(nn.Module):
    """Halve height and width and double the channels: two 3x3 convolutions and a shortcut, not searched."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        out = 2 * channels
        self.conv_a = nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False)
        self.bn_a = nn.BatchNorm2d(out)
        self.conv_b = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn_b = nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(channels, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, 2C, ⌈H/2⌉, ⌈W/2⌉]."""
        inner = self.bn_b(self.conv_b(F.relu(self.bn_a(self.conv_a(F.relu(x))))))
        out: Tensor = inner + self.shortcut(F.avg_pool2d(x, 2, 2, ceil_mode=True))
        return out


class _Last(nn.Module):
    """Batch norm and ReLU before the classifier."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(x))


class StridedStem(nn.Module):
    """Two 3x3 convolutions of stride 2, with batch norms and a ReLU; the first to half the channels."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.conv_a = nn.Conv2d(in_channels, half, 3, stride=2, padding=1, bias=False)
        self.bn_a = nn.BatchNorm2d(half)
        self.conv_b = nn.Conv2d(half, channels, 3, stride=2, padding=1, bias=False)
        self.bn_b = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> [N, channels, ⌈⌈H/2⌉/2⌉, ⌈⌈W/2⌉/2⌉]."""
        out: Tensor = self.bn_b(self.conv_b(F.relu(self.bn_a(self.conv_a(x)))))
        return out


class ResidualNetwork(ImageNetwork):
    """A stem, stages of one cell with residual blocks between them, and a linear classifier.

    The network of NAS-Bench-201 (Dong and Yang, 2020) for a genotype with one cell, `cell`. Each block halves
    height and width and doubles the channels. Batch norm is affine; there is none after pooling.

    With a list of `stages` there are no residual blocks, as in TransNAS-Bench-101 (Duan et al., 2021): the
    first cell of a stage changes channels and size, and the classifier follows the last cell directly.

    Args:
        genotype: a genotype with `cell`, whose output is its last node.
        channels: channels of the first stage; with a list of `stages` those of the stem.
        layers: number of cells in each stage.
        num_classes: number of classes; 120 for ImageNet16-120.
        in_channels: channels of an image.
        stages: number of stages, or a list with one pair (factor, stride) per stage: its first cell
            multiplies the channels by the factor and has the stride, on the edges that leave its input.
        stem: "cifar", one 3x3 convolution; "strided", two of them with stride 2, the first to half of
            `channels`.
        drop_path: fraction of paths dropped in training, never those through an identity; `train` raises it
            from 0 to this value over its epochs.
        pool_norm: whether batch norm without affine parameters follows pooling.
        operations: your own `Operation`s that the genotype uses; their batch norms are affine here.

    Raises:
        GenotypeError: the genotype has other cells, or another output, or 1-D operations, or pooling where
            the number of channels changes.
        ConfigError: a count below 1, a fraction outside [0, 1), or a flag that is neither True nor False.

    >>> import pydarts, torch
    >>> cell = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
    >>> net = pydarts.build(pydarts.Genotype.from_nasbench201(cell), num_classes=120)
    >>> net(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([2, 120])
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        channels: int = 16,
        layers: int = 5,
        num_classes: int = 10,
        in_channels: int = 3,
        stages: int | Sequence[tuple[int, int]] = 3,
        stem: StageStem = "cifar",
        drop_path: float = 0.0,
        pool_norm: bool = False,
        operations: Sequence[Operation] = (),
    ) -> None:
        if genotype.tables != ("cell",):
            raise _core.GenotypeError(f"{genotype} has no cell of one input; use pydarts.build")
        nodes = len(genotype.nodes("cell"))
        if genotype.cell_concat != (nodes,):
            raise _core.GenotypeError(
                f"cell_concat is {list(genotype.cell_concat)}; the output must be the last node, [{nodes}]"
            )
        if genotype.dimensions == 1:
            raise _core.GenotypeError("a network of stages requires 2-D operations, but these are 1-D")
        sizes = sizes_of(channels, layers, num_classes, in_channels)
        stages = staged(stages)
        pool_norm = flag("pool_norm", pool_norm)
        given = {"stages": stages, "drop_path": drop_path, "pool_norm": pool_norm}
        own = by_name(operations)
        super().__init__(genotype, sizes | given, own)
        if one_of("stem", stem, get_args(StageStem)) != "cifar":  # left out otherwise, as in earlier files
            self.arguments["stem"] = stem
        channels, layers, num_classes, in_channels = sizes.values()
        self.stem: nn.Module = (StridedStem if stem == "strided" else ConvBn)(in_channels, channels)
        self.cells = nn.ModuleList()
        for stage in stages if isinstance(stages, tuple) else range(stages):
            into, stride = channels, 1
            if isinstance(stage, tuple):
                channels, stride = channels * stage[0], stage[1]
            elif stage:
                self.cells.append(ResidualBlock(channels))
                into = channels = 2 * channels
            for layer in range(layers):
                cell = StageCell(
                    genotype.edges("cell"),
                    nodes,
                    channels,
                    pool_norm=pool_norm,
                    operations=own,
                    in_channels=channels if layer else into,
                    stride=1 if layer else stride,
                )
                self.cells.append(cell)
        self.last = nn.Identity() if isinstance(stages, tuple) else _Last(channels)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images [N, in_channels, H, W]; returns logits [N, classes]."""
        x, drops = self.stem(x), self._now_dropped()
        for cell in self.cells:
            x = cell(x, drops) if isinstance(cell, StageCell) else cell(x)
        logits: Tensor = self.classifier(self.last(x).mean((2, 3)))
        return logits


def staged(stages: int | Sequence[tuple[int, int]]) -> int | tuple[tuple[int, int], ...]:
    """Return a number of stages, or stages as pairs (channels, stride), after a check.

    Raises:
        ConfigError: a number or a factor out of range, or a stride other than 1 and 2.

    >>> staged([[2, 2], [1, 1]])
    ((2, 2), (1, 1))
    """
    if not isinstance(stages, Sequence) or isinstance(stages, str):
        return whole("stages", stages, most=8)
    try:
        found = Space(operations=["skip_connect"], stages=stages).stages
    except _core.SpaceError as error:
        raise _core.ConfigError(str(error)) from error
    assert isinstance(found, tuple)
    return found


def first_cells(stages: int | tuple[tuple[int, int], ...], layers: int) -> dict[int, tuple[int, int]]:
    """Return the cells that change channels or size: position -> (channels, stride).

    >>> first_cells(((2, 2), (1, 1), (1, 2)), layers=2), first_cells(3, layers=2)
    ({0: (2, 2), 4: (1, 2)}, {})
    """
    given = () if isinstance(stages, int) else stages
    return {layers * number: stage for number, stage in enumerate(given) if stage != (1, 1)}
