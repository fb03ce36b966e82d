"""The costs that the terms of a search need."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from .. import _core
from .._values.config import SearchConfig
from .._values.terms import Flops, Latency, Parameters
from ._latency import latency_costs
from ._target import Costs, Target


def target_costs(config: SearchConfig) -> list[Costs]:
    """Return the costs that the terms of a configuration need.

    Raises:
        ConfigError: a network with these sizes cannot be built, or a table of latencies is that of another
            device.
        FileNotFoundError, CheckpointError: a table of latencies is missing or damaged.
    """
    found = []
    for term in config.arch_terms:
        try:
            if isinstance(term, Flops):
                size: Any = term.image_size
                found.append(Target(config, term.channels, term.layers, size, term.stem).flops())
            elif isinstance(term, Parameters):
                found.append(Target(config, term.channels, term.layers, None, term.stem).parameters())
            elif isinstance(term, Latency):
                found.append(latency_costs(term, config))
        except _core.ConfigError as error:
            raise _core.ConfigError(f"`arch_terms` has {term!r}: {error}") from error
    return found


def latency_facts(costs: Sequence[Costs]) -> dict[str, str]:
    """Return a hash of measured times, by which a resumed search recognises its table."""
    measured = [cost for cost in costs if cost[0] == "latency"]
    return {"latency": hashlib.sha256(json.dumps(measured).encode()).hexdigest()[:16]} if measured else {}
