"""Batches of any structure as a list of tensors and a layout, from which they are rebuilt on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Leaf:
    """A tensor of a batch: its number among the tensors."""

    index: int


@dataclass(frozen=True)
class Layout:
    """The structure of a batch: tuples, lists and dictionaries of leaves, and what is no tensor."""

    tree: Any

    def rebuild(self, tensors: Sequence[Tensor]) -> Any:
        """Return the batch that these tensors make up.

        >>> tensors, layout = flatten({"x": torch.ones(2), "name": "a"})
        >>> layout.rebuild([2 * tensor for tensor in tensors])
        {'x': tensor([2., 2.]), 'name': 'a'}
        """
        return _rebuilt(self.tree, tensors)


def flatten(batch: Any) -> tuple[list[Tensor], Layout]:
    """Return the tensors of a batch and its layout. A tensor that occurs twice is listed once."""
    tensors: list[Tensor] = []
    known: dict[int, Leaf] = {}
    return tensors, Layout(_flat(batch, tensors, known))


def _flat(value: Any, tensors: list[Tensor], known: dict[int, Leaf]) -> Any:
    if isinstance(value, (Tensor, np.ndarray)):
        if id(value) not in known:
            known[id(value)] = Leaf(len(tensors))
            tensors.append(torch.as_tensor(value))
        return known[id(value)]
    if isinstance(value, Mapping):
        return {key: _flat(part, tensors, known) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [_flat(part, tensors, known) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _rebuilt(tree: Any, tensors: Sequence[Tensor]) -> Any:
    if isinstance(tree, Leaf):
        return tensors[tree.index]
    if isinstance(tree, dict):
        return {key: _rebuilt(part, tensors) for key, part in tree.items()}
    if isinstance(tree, (tuple, list)):
        parts = [_rebuilt(part, tensors) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree
