"""The discrete recurrent cell and its language model, plainly: token by token, edge by edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .language import ACTIVATIONS


def derived_cell(
    weights: Mapping[str, Tensor],
    genes: Sequence[tuple[str, int]],
    concat: Sequence[int],
    x: Tensor,
    h: Tensor,
    masks: Mapping[str, Tensor],
) -> Tensor:
    """The state after one token x [batch, units], from the state h before it."""
    both = torch.cat([x * masks["input"], h * masks["hidden"]], dim=1)
    states = []
    for node in range(len(genes) + 1):
        name, before = ("tanh", h) if node == 0 else (genes[node - 1][0], states[genes[node - 1][1]])
        if name == "none":
            states.append(torch.zeros_like(h))
            continue
        inputs = both if node == 0 else before * masks["hidden"]
        product = inputs @ weights[f"cell.w{node}"]
        c, u = product[:, : h.shape[1]], product[:, h.shape[1] :]
        activation = ACTIVATIONS[name]
        assert activation is not None
        states.append(before + torch.sigmoid(c) * (activation(u) - before))
    return sum(states[node] for node in concat) / len(concat)  # type: ignore[return-value]


def derived_logits(
    weights: Mapping[str, Tensor],
    genes: Sequence[tuple[str, int]],
    concat: Sequence[int],
    tokens: Tensor,
    h: Tensor,
    masks: Mapping[str, Tensor],
) -> tuple[Tensor, Tensor]:
    """Logits [tokens, batch, words] and states [tokens, batch, units] before their dropout."""
    table = weights["encoder.weight"]
    logits, states = [], []
    for row in tokens:
        embedded = torch.stack([table[word] * masks["rows"][word] for word in row]) * masks["embedded"]
        h = derived_cell(weights, genes, concat, embedded, h, masks)
        states.append(h)
        logits.append((h * masks["output"]) @ table.T + weights["decoder.bias"])
    return torch.stack(logits), torch.stack(states)
