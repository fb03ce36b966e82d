"""`fix`: a network of your own with its choices made; `random_architectures`: the baseline."""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping
from difflib import get_close_matches
from random import Random
from types import MethodType
from typing import Any, TypeAlias

import torch
from torch import nn

from .._core import ConfigError
from .._values.checks import whole
from .._values.words import listed, shown
from ._choice import Choice, InputChoice
from ._choices import Found, choices_of, tables_of_choices

OwnArchitecture: TypeAlias = Mapping[str, str | tuple[int, ...]]


def fix(module: nn.Module, architecture: OwnArchitecture) -> nn.Module:
    """Return a copy of a module with its choices made. The copy contains nothing of pydarts.

    Every `Choice` is replaced by the candidate that the architecture names, with its weights; an
    `InputChoice` by a module that adds or averages the kept inputs. Other candidates are dropped.

    Args:
        module: a module with choices; not changed.
        architecture: the qualified name of every choice -> the name of a candidate, or for an `InputChoice` a
            tuple of indices, such as `SearchResult.architecture` or an item of `random_architectures`.
            Choices inside candidates that are dropped may be left out.

    Raises:
        ConfigError: a choice is missing or unknown, or it has no such candidate.
        TypeError: not a module.

    >>> from pydarts.nn import Choice, fix
    >>> net = nn.Sequential(nn.Linear(2, 2), Choice({"tanh": nn.Tanh(), "relu": nn.ReLU()}))
    >>> fix(net, {"1": "relu"})
    Sequential(
      (0): Linear(in_features=2, out_features=2, bias=True)
      (1): ReLU()
    )
    """
    choices_in(module)
    return fix_in_place(copy.deepcopy(module), architecture)


def fix_in_place(module: nn.Module, architecture: OwnArchitecture) -> nn.Module:
    """Make the choices of a module, which is changed; see `fix`."""
    names = [one.name for one in choices_in(module)]
    if not isinstance(architecture, Mapping):
        raise TypeError(f"architecture must be a dictionary, got a {type(architecture).__name__}")
    for name in architecture:
        if name not in names:
            near = get_close_matches(str(name), names, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; it has {listed(names)}"
            raise ConfigError(f"the module has no choice {shown(name)}{meant}")
    replaced: dict[nn.Module, nn.Module] = {}
    needed: dict[nn.Module, str] = {}
    for one in choices_of(module):
        if one.name in architecture:
            replaced[one.module] = _picked(one, architecture[one.name])
        else:
            needed[one.module] = one.name

    def resolved(part: nn.Module) -> nn.Module:
        while part in replaced:
            part = replaced[part]
        return part

    def rewired(value: Any, levels: int = 4) -> Any:
        """Replace the choices in an attribute such as a list, which is not registered."""
        if isinstance(value, nn.Module):
            return resolved(value)
        if isinstance(value, MethodType) and isinstance(value.__self__, (Choice, InputChoice)):
            return getattr(resolved(value.__self__), value.__name__)
        if type(value) not in (list, tuple, dict) or not levels:
            return value
        parts = [*value.values()] if isinstance(value, dict) else [*value]
        others = [rewired(part, levels - 1) for part in parts]
        if all(one is other for one, other in zip(parts, others, strict=True)):
            return value
        return dict(zip(value, others, strict=True)) if isinstance(value, dict) else type(value)(others)

    made = resolved(module)
    seen: set[int] = set()
    waiting, lacking = [made], list[str]()
    while waiting:
        part = waiting.pop()
        if part in needed:
            lacking.append(needed[part])
            continue
        if id(part) in seen:
            continue
        seen.add(id(part))
        for key, value in vars(part).items():
            if key not in ("_modules", "_parameters", "_buffers"):
                vars(part)[key] = rewired(value)
        for key, child in part._modules.items():
            if child is not None:
                part._modules[key] = resolved(child)
                waiting.append(part._modules[key])  # type: ignore[arg-type]
    if lacking:
        absent = sorted(set(lacking))
        plural = "" if len(absent) == 1 else "s"
        raise ConfigError(f"the architecture lacks the choice{plural} {', '.join(map(repr, absent))}")
    return made


def random_architectures(module: nn.Module, n: int = 1, seed: int = 0) -> list[dict[str, Any]]:
    """Draw architectures of a module with choices, uniformly, as a baseline for a search.

    Choices that share a row of a table get the same candidate. Architectures may repeat; choices inside
    candidates that are not picked are drawn too.

    Args:
        module: a module with choices.
        n: the number of architectures.
        seed: the same seed gives the same architectures; a larger `n` extends the list.

    Returns:
        Dictionaries that `pydarts.nn.fix` accepts.

    Raises:
        ConfigError: the module has no choices, or n is below 1 or the seed below 0.

    >>> from pydarts.nn import Choice, InputChoice
    >>> choice = Choice({"tanh": nn.Tanh(), "relu": nn.ReLU()})
    >>> net = nn.ModuleDict({"act": choice, "skip": InputChoice(3, keep=2)})
    >>> first, second = random_architectures(net, n=2)
    >>> sorted(first), len(first["skip"])
    (['act', 'skip'], 2)
    """
    n, seed = whole("n", n), whole("seed", seed, least=0, most=2**128 - 1)
    tables = tables_of_choices(choices_in(module))
    generator, drawn = Random(seed), []
    for _ in range(n):
        architecture: dict[str, Any] = {}
        for table in tables:
            for row in table.rows:
                first = row.choices[0]
                picks = sorted(generator.sample(range(len(first.candidates)), first.keep))
                architecture |= {one.name: picked_names(one, picks) for one in row.choices}
        drawn.append(architecture)
    return drawn


def picked_names(one: Found, picks: list[int]) -> str | tuple[int, ...]:
    """Return the entry of an architecture for the columns that were picked."""
    return tuple(sorted(picks)) if isinstance(one.module, InputChoice) else one.candidates[picks[0]]


def choices_in(module: Any) -> tuple[Found, ...]:
    """Return the choices in a module, at least one.

    Raises:
        TypeError: not a module.
        ConfigError: it has no choices.
    """
    if not isinstance(module, nn.Module):
        if isinstance(module, type):
            raise TypeError(f"got the class {module.__name__}; pass a module: {module.__name__}()")
        raise TypeError(f"expected an nn.Module, got a {type(module).__name__}")
    found = choices_of(module)
    if not found:
        raise ConfigError(f"{type(module).__name__} contains no pydarts.nn.Choice or InputChoice")
    return found


def _picked(one: Found, pick: Any) -> nn.Module:
    """Return the module that replaces a choice."""
    if isinstance(one.module, Choice):
        if not isinstance(pick, str) or pick not in one.candidates:
            raise ConfigError(
                f"the choice {one.name!r} has no candidate {shown(pick)}; it has "
                f"{listed(map(repr, one.candidates))}"
            )
        return one.module.candidates[pick]
    several = isinstance(pick, (tuple, list)) and len(pick) == one.keep == len({*pick})
    if not several or not all(type(index) is int and 0 <= index < one.module.n for index in pick):
        raise ConfigError(
            f"the choice {one.name!r} keeps {one.keep} of {one.module.n} inputs, got {shown(pick)}; "
            f"it must be {one.keep} different indices from 0 to {one.module.n - 1}"
        )
    return _of_inputs(sorted(pick), one.module.reduction)


def _of_inputs(indices: list[int], reduction: str) -> nn.Module:
    """Return a plain module that reduces some of its inputs."""
    from torch import fx  # half a second, which few need

    graph = fx.Graph()
    inputs = graph.placeholder("inputs")
    parts = [graph.call_function(operator.getitem, (inputs, index)) for index in indices]
    total = parts[0]
    for part in parts[1:]:
        total = graph.call_function(torch.add, (total, part))
    if reduction == "mean" and len(parts) > 1:
        total = graph.call_function(torch.div, (total, len(parts)))
    graph.output(total)
    return fx.GraphModule(nn.Module(), graph, "KeptInputs")
