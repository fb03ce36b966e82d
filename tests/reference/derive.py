"""From α to the operations kept: the plain statement of the derivation of a discrete cell."""

import math
from collections.abc import Sequence

import numpy as np


def softmax(logits: Sequence[float]) -> list[float]:
    """Softmax in float64: subtract the maximum, exp, sum in order, divide."""
    logits = [float(logit) for logit in logits]
    highest = max(logits)
    exps = [math.exp(logit - highest) for logit in logits]
    total = 0.0
    for value in exps:
        total += value
    return [value / total for value in exps]


def derive(alpha_rows: np.ndarray, operations: Sequence[str], nodes: int, k: int) -> list[tuple[str, int]]:
    """Per node the `k` edges with the largest best weight, as (operation, source node), strongest first.

    `alpha_rows` is [edges, operations], rows ordered by target, then source. The softmax runs over all
    operations, `none` included, but `none` is never chosen. Equal weights go to the lower column, equal
    edges to the lower source. A node with fewer than `k` edges keeps all of them.
    """
    edges = sum(range(2, nodes + 2))
    if np.shape(alpha_rows) != (edges, len(operations)):
        raise ValueError(f"alpha must be [{edges}, {len(operations)}], got {list(np.shape(alpha_rows))}")
    columns = [column for column, name in enumerate(operations) if name != "none"]
    if not columns:
        raise ValueError("there is no operation but none to choose")
    chosen: list[tuple[str, int]] = []
    row = 0
    for j in range(2, nodes + 2):
        candidates = []
        for i in range(j):
            weights = softmax(alpha_rows[row + i])
            best = max(columns, key=weights.__getitem__)  # max keeps the first of equals
            candidates.append((weights[best], i, operations[best]))
        candidates.sort(key=lambda candidate: (-candidate[0], candidate[1]))
        chosen += [(name, i) for _, i, name in candidates[:k]]
        row += j
    return chosen


def select(
    strengths: np.ndarray, operations: Sequence[str], first: int, rule: str, k: int = 0, value: float = 0.0
) -> list[list[tuple[str, int]]]:
    """Per node its edges as (operation, source), by the strengths [edges, operations] of the operations.

    Of every edge the strongest operation other than `none` counts. "strongest": the `k` strongest edges.
    "argmax": all. "threshold": of the `k` strongest edges those of at least `value` (FairDARTS). A cell has
    `first` inputs. Ties go to the lower column and the lower source.
    """
    nodes, row, target = [], 0, first
    while row < len(strengths):
        edges = []
        for source in range(target):
            weights = strengths[row + source]
            columns = [column for column, name in enumerate(operations) if name != "none"]
            best = max(columns, key=lambda column: float(weights[column]))
            edges.append((float(weights[best]), operations[best], source))
        edges.sort(key=lambda edge: -edge[0])  # stable
        if rule != "argmax":
            edges = edges[:k]
        nodes.append(
            [(name, source) for strength, name, source in edges if rule != "threshold" or strength >= value]
        )
        row, target = row + target, target + 1
    return nodes
