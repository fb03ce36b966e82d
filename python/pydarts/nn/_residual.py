"""The discrete network of stages: a cell of one input, and residual blocks between the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from .. import _core
from .._values.checks import flag, whole
from .._values.genotype import Genotype
from .._values.notations import Edges
from .._values.operation import Operation, by_name
from ._cells import GraphCell
from ._convolutional import ConvBn
from ._images import ImageNetwork, sizes_of
from ._layers import IMAGES
from ._own import candidate


class StageCell(GraphCell):
    """A discrete cell whose node 0 is its input and whose output is its last node.

    Args:
        edges: (operation, source, target) of each edge, as `Genotype.edges` returns them.
        nodes: the number of nodes after the input.
        channels: channels of every node.
        pool_norm: whether batch norm follows pooling.
        operations: operations of your own by name.

    Raises:
        GenotypeError: an operation of your own that is not given.
    """

    def __init__(
        self,
        edges: Edges,
        nodes: int,
        channels: int,
        *,
        pool_norm: bool = False,
        operations: Mapping[str, Operation] | None = None,
    ) -> None:
        super().__init__()
        self._layers, self._stride = IMAGES, 1

        def make(name: str, source: int) -> nn.Module:
            return candidate(name, channels, 1, pool_norm, IMAGES, operations or {})

        self._add_edges(edges, 1, nodes, make)

    def forward(self, x: Tensor, drop_path: Tensor | None = None) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]; training drops the fraction `drop_path` of the paths."""
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


class ResidualNetwork(ImageNetwork):
    """A stem, stages of one cell with residual blocks between them, and a linear classifier.

    The network of NAS-Bench-201 (Dong and Yang, 2020) for a genotype with one cell, `cell`. Each block halves
    height and width and doubles the channels. Batch norm is affine; there is none after pooling.

    Args:
        genotype: a genotype with `cell`, whose output is its last node.
        channels: channels of the first stage.
        layers: number of cells in each stage.
        num_classes: number of classes; 120 for ImageNet16-120.
        in_channels: channels of an image.
        stages: number of stages.
        drop_path: fraction of paths dropped in training, never those through an identity; `train` raises it
            from 0 to this value over its epochs.
        pool_norm: whether batch norm without affine parameters follows pooling.
        operations: the `Operation`s of your own in the genotype; their batch norms are affine here.

    Raises:
        GenotypeError: the genotype has other cells, or another output, or 1-D operations.
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
        stages: int = 3,
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
            raise _core.GenotypeError("a network of stages is one of images, but the operations are 1-D")
        sizes = sizes_of(channels, layers, num_classes, in_channels)
        stages, pool_norm = whole("stages", stages, most=8), flag("pool_norm", pool_norm)
        given = {"stages": stages, "drop_path": drop_path, "pool_norm": pool_norm}
        own = by_name(operations)
        super().__init__(genotype, sizes | given, own)
        channels, layers, num_classes, in_channels = sizes.values()
        self.stem = ConvBn(in_channels, channels)
        self.cells = nn.ModuleList()
        for stage in range(stages):
            if stage:
                self.cells.append(ResidualBlock(channels))
                channels *= 2
            for _ in range(layers):
                edges = genotype.edges("cell")
                self.cells.append(StageCell(edges, nodes, channels, pool_norm=pool_norm, operations=own))
        self.last = _Last(channels)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Classify images [N, in_channels, H, W]; returns logits [N, classes]."""
        x, drops = self.stem(x), self._now_dropped()
        for cell in self.cells:
            x = cell(x, drops) if isinstance(cell, StageCell) else cell(x)
        logits: Tensor = self.classifier(self.last(x).mean((2, 3)))
        return logits
