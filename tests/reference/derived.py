"""Discrete networks, plainly: images node by node; the recurrent cell token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .language import ACTIVATIONS


def derived_images(network: Any, x: Tensor) -> Tensor:
    """The logits of a convolutional network, from its stem, its operations and its classifier.

    A node is the sum of its edges; `none` adds nothing, and what nothing enters is zeros.
    """
    before = previous = network.stem(x)
    for index, cell in enumerate(network.cells):
        table = "reduce" if index in network.reductions else "normal"
        states = [cell.pre0(before), cell.pre1(previous)]
        images, channels, height, width = states[1].shape
        if table == "reduce":
            height, width = -(-height // 2), -(-width // 2)
        for target, edges in enumerate(network.genotype.nodes(table), 2):
            node = torch.zeros(images, channels, height, width, dtype=x.dtype)
            for name, source in edges:
                if name != "none":
                    node = node + cell.edges[f"{source}_{target}"][name](states[source])
            states.append(node)
        concat = getattr(network.genotype, f"{table}_concat")
        before, previous = previous, torch.cat([states[node] for node in concat], dim=1)
    logits: Tensor = network.classifier(previous.mean((2, 3)))
    return logits


def derived_cell(
    weights: Mapping[str, Tensor],
    nodes: Sequence[Sequence[tuple[str, int]]],
    concat: Sequence[int],
    x: Tensor,
    h: Tensor,
    masks: Mapping[str, Tensor],
) -> Tensor:
    """The state after one token x [batch, units], from the state h before it.

    A node has one edge; one without an edge, or whose edge holds `none`, is zeros.
    """
    both = torch.cat([x * masks["input"], h * masks["hidden"]], dim=1)
    states = []
    for node, edges in enumerate([[("tanh", -1)], *nodes]):
        if not edges or edges[0][0] == "none":
            states.append(torch.zeros_like(h))
            continue
        ((name, source),) = edges
        before = h if node == 0 else states[source]
        inputs = both if node == 0 else before * masks["hidden"]
        product = inputs @ weights[f"cell.w{node}"]
        c, u = product[:, : h.shape[1]], product[:, h.shape[1] :]
        activation = ACTIVATIONS[name]
        assert activation is not None
        states.append(before + torch.sigmoid(c) * (activation(u) - before))
    return sum(states[node] for node in concat) / len(concat)  # type: ignore[return-value]


def derived_logits(
    weights: Mapping[str, Tensor],
    nodes: Sequence[Sequence[tuple[str, int]]],
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
        h = derived_cell(weights, nodes, concat, embedded, h, masks)
        states.append(h)
        logits.append((h * masks["output"]) @ table.T + weights["decoder.bias"])
    return torch.stack(logits), torch.stack(states)
