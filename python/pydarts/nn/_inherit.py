"""Copying weights of the search network into a derived network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .._values.words import count as counted
from ._build import Network
from ._convolutional import ConvolutionalNetwork, reduction_cells
from ._residual import ResidualNetwork, first_cells
from ._statistics import COUNT, corrected

if TYPE_CHECKING:
    from .._values.config import SearchConfig


@dataclass(frozen=True)
class Inheritance:
    """The tensors of a network that were copied from a search, and the reasons why others were not."""

    copied: tuple[str, ...] = field(repr=False)
    """Names of the weights and running statistics that were copied."""
    left: dict[str, str] = field(repr=False, hash=False)
    """Name -> reason why the tensor was not copied and has to be trained."""
    weights: int
    """Number of weights copied, without running statistics."""
    of_weights: int
    """Number of weights of the network."""

    def __str__(self) -> str:
        share = self.weights / self.of_weights
        lines = [
            f"inherited {self.weights:,} of {self.of_weights:,} weights ({share:.0%}): "
            f"{counted(len(self.copied), 'tensor')} copied, {len(self.left)} left"
        ]
        for reason, count in Counter(self.left.values()).most_common():
            names = [name for name, why in self.left.items() if why == reason]
            lines.append(f"  {count} left, {reason}: {', '.join(names[:2])}{', ...' if count > 2 else ''}")
        return "\n".join(lines)


def inherit(network: Network, found: Mapping[str, Tensor], config: SearchConfig) -> Inheritance:
    """Copy the matching tensors of a search network into `network`; see `SearchResult.inherit`."""
    momenta = {
        f"{name}.": part.momentum
        for name, part in network.named_modules()
        if isinstance(part, nn.modules.batchnorm._NormBase)
    }
    own, found = network.state_dict(), corrected(found, momenta)
    weights = dict(network.named_parameters())
    cells = _other_cells(network, config)
    copied: list[str] = []
    left: dict[str, str] = {}
    with torch.no_grad():
        for name, tensor in own.items():
            if name.endswith(COUNT):  # goes with the statistics and is not reported
                if name.removesuffix(COUNT) + "running_var" in copied:
                    tensor.copy_(found[name])
                continue
            if name not in found:
                if tensor.data_ptr() in {own[other].data_ptr() for other in copied}:
                    continue  # the second name of a tied weight
                left[name] = "the search has no such tensor"
            elif name.startswith(cells):
                left[name] = "the search's cell there is of the other kind"
            elif found[name].shape != tensor.shape:
                left[name] = "of another shape in the search"
            else:
                tensor.copy_(found[name])
                copied.append(name)
    return Inheritance(
        tuple(copied),
        left,
        sum(weights[name].numel() for name in copied if name in weights),
        sum(weight.numel() for weight in weights.values()),
    )


def _other_cells(network: Network, config: SearchConfig) -> tuple[str, ...]:
    """Prefixes of the cells that halve the size, or change the channels, in only one of the two networks."""
    space = config.resolved_space
    if isinstance(network, ResidualNetwork) and space.stages is not None:
        own = first_cells(network.arguments["stages"], network.arguments["layers"])
        return tuple(
            f"cells.{index}." for index, _ in own.items() ^ first_cells(space.stages, config.layers).items()
        )
    if not isinstance(network, ConvolutionalNetwork):
        return ()
    there = reduction_cells(config.layers, space.reductions)
    return tuple(f"cells.{index}." for index in set(network.reductions) ^ set(there))
