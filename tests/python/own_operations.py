"""User-defined operations for tests: each for the engine, and for the plain PyTorch reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydarts
import pytest
import reference
import torch
from parity import Setup
from reference.operations import OPERATIONS, BatchNorm
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]


def plain_norm(channels: int) -> nn.Module:
    """What a user writes."""
    return nn.BatchNorm2d(channels, affine=False)


class Separable(nn.Module):
    """The built-in sep_conv_3x3 as a user writes it."""

    def __init__(self, channels: int, stride: int, norm: Norm = plain_norm) -> None:
        super().__init__()
        c = channels
        self.dw1 = nn.Conv2d(c, c, 3, stride, padding=1, groups=c, bias=False)
        self.pw1 = nn.Conv2d(c, c, 1, bias=False)
        self.bn1 = norm(c)
        self.dw2 = nn.Conv2d(c, c, 3, padding=1, groups=c, bias=False)
        self.pw2 = nn.Conv2d(c, c, 1, bias=False)
        self.bn2 = norm(c)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.pw1(self.dw1(F.relu(x))))
        return self.bn2(self.pw2(self.dw2(F.relu(x))))


class Smooth(nn.Module):
    """Smooth activations, affine weights and biases, batch norm, a tied weight, and `view` of an image."""

    def __init__(self, channels: int, stride: int, norm: Norm = plain_norm) -> None:
        super().__init__()
        self.stride = stride
        self.spread = nn.Linear(channels, channels)
        self.again = nn.Linear(channels, channels, bias=False)
        self.again.weight = self.spread.weight
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.bn = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride].contiguous()
        n, c, h, w = x.shape
        rows = x.view(n, c, h * w).transpose(1, 2)
        rows = rows + self.again(torch.tanh(self.spread(rows)))
        return self.bn(rows.transpose(1, 2).reshape(n, c, h, w)) * self.scale


class Attention(nn.Module):
    """Attention over the pixels, with layer norm."""

    def __init__(self, channels: int, stride: int, norm: Norm = plain_norm) -> None:
        super().__init__()
        self.stride = stride
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        rows = self.norm(x.flatten(2).transpose(1, 2))
        found, _ = self.attention(rows, rows, rows, need_weights=False)
        return (rows + found).transpose(1, 2).reshape(x.shape)


class Recurrent(nn.Module):
    """An LSTM along the rows of pixels."""

    def __init__(self, channels: int, stride: int, norm: Norm = plain_norm) -> None:
        super().__init__()
        self.stride = stride
        self.rnn = nn.LSTM(channels, channels, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        found, _ = self.rnn(x.flatten(2).transpose(1, 2))
        return found.transpose(1, 2).reshape(x.shape)


class Bare(nn.Module):
    """No weights at all."""

    def __init__(self, channels: int, stride: int, norm: Norm = plain_norm) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x[:, :, :: self.stride, :: self.stride])


KINDS: dict[str, type[nn.Module]] = {
    "separable": Separable,
    "smooth": Smooth,
    "attention": Attention,
    "recurrent": Recurrent,
    "bare": Bare,
}


@dataclass(frozen=True)
class OwnSetup(Setup):
    """A network with the operations of `KINDS`, by name among the built-in ones."""

    def engine(self, **config: Any) -> pydarts.Supernet:
        space = pydarts.Space(
            operations=replaced(self.operations),
            nodes=self.nodes,
            concat=self.concat,
            reductions=self.reductions,
            stem_multiplier=self.stem_multiplier,
        )
        return pydarts.Supernet(
            space,
            channels=self.channels,
            layers=self.layers,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
            image_size=self.size,
            precision="float64",
            seed=self.seed,
            config=pydarts.SearchConfig(**config) if config else None,
        )


def replaced(operations: Any) -> Any:
    """Put the `Operation`s of `KINDS` in the place of their names."""
    if isinstance(operations, str):
        return pydarts.Operation(operations, KINDS[operations]) if operations in KINDS else operations
    if isinstance(operations, Mapping):
        return {table: replaced(rows) for table, rows in operations.items()}
    assert isinstance(operations, Sequence)
    return [replaced(item) for item in operations]


@pytest.fixture
def own_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference knows the operations of `KINDS`, with batch norms that move when told to."""
    for name, kind in KINDS.items():
        monkeypatch.setitem(OPERATIONS, name, lambda c, s, kind=kind: kind(c, s, BatchNorm))
    assert reference.OPERATIONS is OPERATIONS
