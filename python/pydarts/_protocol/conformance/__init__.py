"""Conformance: published facts about algorithms, networks and genotypes as checks on this machine.

Facts are data with their sources; the engine that searches use finds the values. No check needs a data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

import torch

from ... import _core
from . import channels, costs, counts, derivation, hypergradients, reductions, relaxations, terms, toy
from .check import Check, Outcome

__all__ = ["Check", "Outcome", "checks", "conformance", "selected"]


def conformance(only: Sequence[str] = ()) -> list[Outcome]:
    """Run the checks one after the other; a check that fails or raises does not stop the others.

    They use one thread: the networks are too small for a second one to make them faster.

    Args:
        only: names or patterns such as "toy.*"; empty: all checks.

    Raises:
        ConfigError: a pattern that matches no check.

    >>> [outcome.passed for outcome in conformance(["derive.ties"])]
    [True]
    """
    chosen = selected(only)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [check.run() for check in chosen]
    finally:
        torch.set_num_threads(threads)


def checks() -> list[Check]:
    """Return all checks; nothing is computed yet."""
    groups = (counts, derivation, relaxations, terms, toy, hypergradients, channels, reductions, costs)
    return [check for group in groups for check in group.checks()]


def selected(only: Sequence[str] = ()) -> list[Check]:
    """Return the checks whose name matches one of the patterns, in the order of `checks`."""
    known = checks()
    names = [check.name for check in known]
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in names):
            groups = [f"{group}.*" for group in dict.fromkeys(name.split(".")[0] for name in names)]
            near = get_close_matches(pattern, [*names, *groups], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(groups)}"
            raise _core.ConfigError(f"no check matches {pattern!r}; {hint}")
    return [check for check in known if not only or any(fnmatchcase(check.name, one) for one in only)]
