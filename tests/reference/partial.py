"""Partial channels and weighted edges (PC-DARTS), and the auxiliary skip connection (DARTS−), edge by edge.

An edge sends the first c = max(1, ⌊C/k⌋) channels of its input through the mixture; the others bypass it,
max pooled over 2×2 (ceil mode) where the edge halves the size. Both are concatenated, their channels are
ordered by (j mod c, ⌊j/c⌋), and the whole is multiplied by the edge's weight b, a softmax over the edges into
the node, or 1. An auxiliary skip adds β times the edge's whole input, or its own factorized reduction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import sequences, sparse
from .operations import OPERATIONS, BatchNorm, FactorizedReduction
from .sequences import SequenceCell, SequenceSupernet
from .supernet import Cell, Supernet

Halve = Callable[[Tensor], Tensor]
Make = Callable[[str, int, int], nn.Module]


def mixed_channels(channels: int, k: int) -> int:
    """The number of channels that go through the mixture."""
    return max(1, channels // k)


def order(channels: int, mixed: int) -> list[int]:
    """The input channel of every output channel of the shuffle."""
    return sorted(range(channels), key=lambda j: (j % mixed, j // mixed))


def halved(x: Tensor) -> Tensor:
    """The bypass of an edge of stride 2."""
    return F.max_pool2d(x, 2, 2, ceil_mode=True)


def halved_sequence(x: Tensor, causal: bool) -> Tensor:
    """The same for sequences; in a causal network position i sees positions 2i - 1 and 2i."""
    if causal:
        x = F.pad(x, (1, 0), value=-torch.inf)
        return F.max_pool1d(x, 2, 2)
    return F.max_pool1d(x, 2, 2, ceil_mode=True)


def shifted(x: Tensor) -> Tensor:
    """What the second half of a factorized reduction reads."""
    height, width = x.shape[2:]
    return F.pad(x[:, :, 1:, 1:], (0, width % 2, 0, height % 2))


def shifted_sequence(x: Tensor, causal: bool) -> Tensor:
    """The same for sequences."""
    return F.pad(x, (1, -1)) if causal else F.pad(x, (-1, x.shape[2] % 2))


class OneChannelReduction(nn.Module):
    """A factorized reduction to one channel: ⌊1/2⌋ = 0 channels of the first half, one of the second."""

    def __init__(self, conv: Callable[..., nn.Module], shift: Halve) -> None:
        super().__init__()
        self.conv_2, self.bn, self.shift = conv(1, 1, 1, stride=2, bias=False), BatchNorm(1), shift

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv_2(self.shift(F.relu(x))))


class PartialEdge(nn.ModuleDict):
    """One edge."""

    sparse = False
    """Whether candidates of weight 0 are not computed."""

    def __init__(
        self,
        operations: Sequence[str],
        channels: int,
        stride: int,
        k: int,
        auxiliary: float | None,
        make: Make,
        reduce: Callable[[int], nn.Module],
        halve: Halve,
    ) -> None:
        mixed = mixed_channels(channels, k)
        super().__init__({name: make(name, mixed, stride) for name in operations})
        self.names, self.mixed, self.stride, self.halve = tuple(operations), mixed, stride, halve
        self.auxiliary, self.__dict__["zero"] = auxiliary, make("none", mixed, stride)
        if auxiliary is not None and stride == 2:
            self["auxiliary_skip"] = reduce(channels)

    def forward(self, x: Tensor, weights: Tensor, b: Tensor) -> Tensor:
        first, others = x[:, : self.mixed], x[:, self.mixed :]
        operations = [self[name] for name in self.names]
        if self.sparse:
            whole = sparse.mixed(operations, weights, first, self.zero)
        else:
            whole = sum(
                weight * operation(first) for weight, operation in zip(weights, operations, strict=True)
            )
        if others.shape[1]:
            bypass = others if self.stride == 1 else self.halve(others)
            joined = torch.cat([whole, bypass], dim=1)
            whole = joined[:, order(joined.shape[1], self.mixed)]
        out = b * whole
        if self.auxiliary is not None:
            out = out + self.auxiliary * (self["auxiliary_skip"](x) if self.stride == 2 else x)
        return out


def _rewire(cell: Any, operations: Any, channels: int, edge: Callable[..., PartialEdge]) -> None:
    pairs = [(i, j) for j in range(2, cell.nodes + 2) for i in range(j)]
    strides = [2 if cell.reduction and i < 2 else 1 for i, _ in pairs]
    cell.edges = nn.ModuleDict(
        {
            f"{i}_{j}": edge(names, channels, stride)
            for (i, j), stride, names in zip(pairs, strides, operations, strict=True)
        }
    )


def _nodes(cell: Any, before: Tensor, previous: Tensor, weights: Tensor, b: Tensor) -> Tensor:
    states, row = [cell.pre0(before), cell.pre1(previous)], 0
    for j in range(2, cell.nodes + 2):
        states.append(sum(cell.edges[f"{i}_{j}"](states[i], weights[row + i], b[row + i]) for i in range(j)))
        row += j
    return torch.cat([states[j] for j in cell.concat], dim=1)


class PartialCell(Cell):
    def __init__(self, k: int, auxiliary: float | None, operations: Any, *sizes: Any) -> None:
        super().__init__(operations, *sizes)

        def make(name: str, c: int, stride: int) -> nn.Module:
            if name == "skip_connect" and stride == 2 and c == 1:
                return OneChannelReduction(nn.Conv2d, shifted)
            return OPERATIONS[name](c, stride)

        def edge(names: Sequence[str], channels: int, stride: int) -> PartialEdge:
            reduce = lambda c: FactorizedReduction(c, c)  # noqa: E731
            return PartialEdge(names, channels, stride, k, auxiliary, make, reduce, halved)

        _rewire(self, operations, sizes[3], edge)

    def forward(self, before: Tensor, previous: Tensor, weights: Any, b: Any = None) -> Tensor:
        return _nodes(self, before, previous, weights, b)


class PartialSequenceCell(SequenceCell):
    def __init__(self, causal: bool, k: int, auxiliary: float | None, operations: Any, *sizes: Any) -> None:
        super().__init__(causal, operations, *sizes)

        def make(name: str, c: int, stride: int) -> nn.Module:
            if name == "skip_connect" and stride == 2 and c == 1:
                return OneChannelReduction(nn.Conv1d, partial(shifted_sequence, causal=causal))
            return sequences.operation(name, c, stride, causal)

        def edge(names: Sequence[str], channels: int, stride: int) -> PartialEdge:
            reduce = lambda c: sequences.FactorizedReduction(c, c, causal)  # noqa: E731
            halve = partial(halved_sequence, causal=causal)
            return PartialEdge(names, channels, stride, k, auxiliary, make, reduce, halve)

        _rewire(self, operations, sizes[3], edge)

    def forward(self, before: Tensor, previous: Tensor, weights: Any, b: Any = None) -> Tensor:
        return _nodes(self, before, previous, weights, b)


class _Weighted(Supernet):
    """What both networks add: logits of the edges, and cells that read their weights."""

    normalized: bool

    def _add_edges(self) -> None:
        if self.normalized:
            for name in ("normal", "reduce"):
                rows = len(self.candidates[name])
                self.alphas[f"{name}.beta"] = torch.zeros(rows, 1, dtype=torch.float64).requires_grad_()

    def mask(self, name: str) -> Tensor:
        return torch.ones(len(self.alphas[name]), 1) if name.endswith(".beta") else super().mask(name)

    def edge_weights(self, name: str) -> Tensor:
        """b of every edge: a softmax over the edges into its node, or 1."""
        rows = len(self.candidates[name])
        if not self.normalized:
            return torch.ones(rows, dtype=torch.float64)
        groups, start = [], 0
        for inputs in range(2, self.nodes + 2):
            groups.append(F.softmax(self.alphas[f"{name}.beta"][start : start + inputs, 0], 0))
            start += inputs
        return torch.cat(groups)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.modules():
            if isinstance(module, PartialEdge):
                module.sparse = self.samples
        before = previous = self.stem(x)
        for cell in self.cells:
            name = "reduce" if cell.reduction else "normal"
            before, previous = (
                previous,
                cell(before, previous, self.mixing_weights(name), self.edge_weights(name)),
            )
        return self.classifier(self.pooled(previous))


class PartialSupernet(_Weighted):
    """As `Supernet`, with partial channels, weighted edges and an auxiliary skip of weight `auxiliary`."""

    def __init__(
        self, *, k: int = 1, normalized: bool = False, auxiliary: float | None = None, **sizes: Any
    ) -> None:
        self.__dict__["normalized"] = normalized
        self.__dict__["make_cell"] = partial(PartialCell, k, auxiliary)
        super().__init__(**sizes)
        self._add_edges()


class PartialSequenceSupernet(_Weighted, SequenceSupernet):
    """The same for sequences."""

    def __init__(
        self,
        *,
        k: int = 1,
        normalized: bool = False,
        auxiliary: float | None = None,
        causal: bool = False,
        **sizes: Any,
    ) -> None:
        self.__dict__["normalized"] = normalized
        self.__dict__["make_stem"] = partial(sequences.SequenceStem, causal)
        self.__dict__["make_cell"] = partial(PartialSequenceCell, causal, k, auxiliary)
        Supernet.__init__(self, **({"operations": sequences.DARTS_1D_OPERATIONS} | sizes))
        self._add_edges()
