"""Modules that pydarts did not build, which tests train, count and export."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Words(nn.Module):
    """Numbers and words: an embedding, an LSTM, attention and batch norm; two outputs in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers, self.words = nn.Linear(3, 6), nn.Embedding(7, 6)
        self.lstm = nn.LSTM(6, 4, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm, self.last = nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor, words: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        h, _ = self.lstm(self.words(words) + self.numbers(x)[:, None])
        h, _ = self.attention(h, h, h, key_padding_mask=mask)
        return {"logits": self.last(self.norm(h.mean(1))), "states": h}


class Tied(nn.Module):
    """An autoencoder whose decoder has the weight of the encoder; a mask with -infinity, a count, a scale."""

    count: Tensor
    mask: Tensor
    scale: Tensor

    def __init__(self, size: int = 4, hidden: int = 3) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(size, hidden), nn.Linear(hidden, size)
        self.decoder.weight = nn.Parameter(self.encoder.weight.detach().t().contiguous())
        self.again = nn.Linear(size, hidden)
        self.again.weight = self.encoder.weight  # tied
        self.dropout = nn.Dropout(0.2)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mask", torch.tensor([0.0, float("-inf"), 0.0])[:hidden])
        self.register_buffer("scale", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.count += 1
            self.scale = 0.9 * self.scale + 0.1 * x.detach().abs().mean()  # replaced, not changed in place
        h = torch.tanh(self.encoder(x / self.scale)) + self.again(x)
        return self.decoder(self.dropout((h + self.mask).softmax(1) + h))


def seeded(kind: Any, *arguments: Any, seed: int = 0) -> Any:
    """A module whose initial weights are the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(*arguments)
