"""The costs that the terms of a search need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import _core
from .._values.config import SearchConfig
from .._values.terms import Flops, Latency, Parameters
from ._latency import latency_costs
from ._target import Costs, Target


def target_costs(config: SearchConfig) -> list[Costs]:
    """Return the costs that the terms of a configuration need.

    Raises:
        ConfigError: a network with these sizes cannot be built.
    """
    found = []
    for term in config.arch_terms:
        given: Mapping[str, Any] = {
            name: getattr(term, name)
            for name in ("channels", "layers", "image_size", "stem")
            if hasattr(term, name)
        }
        if isinstance(term, Latency):
            found.append(latency_costs(term, config))
        elif isinstance(term, Flops | Parameters):
            try:
                target = Target(config, **given)
            except _core.ConfigError as error:
                raise _core.ConfigError(f"`arch_terms` has {term!r}: {error}") from error
            found.append(target.flops() if term.name == "flops" else target.parameters())
    return found
