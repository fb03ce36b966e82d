"""The places in a module that hold a parameter or buffer: several where it is shared."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .._core import ConfigError

Place = tuple[nn.Module, str]
"""A part of a module, and the name of the parameter or buffer in it."""


def places_of(module: nn.Module) -> dict[str, list[Place]]:
    """Return where each parameter and buffer is, by its first name.

    >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    >>> net[1].weight = net[0].weight
    >>> {name: len(places) for name, places in places_of(net).items()}
    {'0.weight': 2}
    """
    owners: dict[int, list[Place]] = {}
    for part in module.modules():
        for key, value in (*part._parameters.items(), *part._buffers.items()):
            if value is not None:
                owners.setdefault(id(value), []).append((part, key))
    named = (*module.named_parameters(), *module.named_buffers())
    return {name: owners[id(value)] for name, value in named}


def moved(
    module: nn.Module, *, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> nn.Module:
    """Return the module after `module.to`, with its shared buffers, of which each owner would get a copy.

    Raises:
        ConfigError: a parameter or buffer is complex; `module.to` would drop its imaginary part.
    """
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_complex():
            raise ConfigError(f"{name} is {value.dtype}; it must be real; use torch.view_as_real")
    places = places_of(module)
    module.to(device=device, dtype=dtype)
    for (first, name), *others in places.values():
        if name in first._buffers:
            for part, key in others:
                part._buffers[key] = first._buffers[name]
    return module


def share(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two modules have a part, a parameter or a buffer in common."""

    def held(module: nn.Module) -> set[Tensor | nn.Module]:
        return {*module.modules(), *module.parameters(), *module.buffers()}

    return not held(one).isdisjoint(held(other))
