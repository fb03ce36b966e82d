"""Modules with choices: copies, fingerprints, and the network that a result makes of one."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from .._core import CheckpointError
from .._data.draws import Section, stream
from .._values.ambient import kept
from .._values.callables import short_name
from .._values.digest import name_of
from .._values.words import listed, shown
from ..nn._choices import Found, choices_of, tables_of_choices
from ..nn._fix import choices_in, fix_in_place
from ..nn._places import moved, places_of
from ..nn._settled import is_fresh, settle
from ..nn._statistics import SETTLED

ModuleLike: TypeAlias = nn.Module | Callable[[], nn.Module]
"""A module with choices, or a function or class without arguments that makes one."""


def built(network: Any, seed: int) -> nn.Module:
    """Return a copy of a module, or what a factory makes with torch's generators seeded by `seed`.

    Raises:
        TypeError: neither a module nor a factory of one, or the factory needs arguments.
    """
    if isinstance(network, nn.Module):
        return copied(network)
    if not callable(network):
        raise TypeError(
            "network must be a module with choices, a function without arguments that makes one, or a "
            f"pydarts.nn.FunctionNetwork, got a {type(network).__name__}: {shown(network)}"
        )
    missing = _missing(network)
    if missing:
        name = short_name(network)
        given = ", ".join(f"{one}=…" for one in missing)
        raise TypeError(
            f"network is called without arguments, but {name} requires {listed(missing)}; pass them in a "
            f"function: network=lambda: {name}({given})"
        )
    with kept(), Section(stream(seed, "network", 0), name="the network"):
        module = network()
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"network() of {short_name(network)} must return an nn.Module, got a {type(module).__name__}"
        )
    return module


def _missing(factory: Callable[..., Any]) -> list[str]:
    """Return the arguments without which a factory cannot be called."""
    try:
        given = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # some callables of C have no signature
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in given if one.default is one.empty and one.kind not in optional]


def copied(module: nn.Module) -> nn.Module:
    """Return a deep copy of a module.

    Raises:
        TypeError: it cannot be copied.
    """
    try:
        made = copy.deepcopy(module)
    except Exception as error:
        raise TypeError(
            f"a search works on a copy of the network, and {type(module).__name__} cannot be copied "
            f"({type(error).__name__}: {error}); pass a function that builds it: network=lambda: …"
        ) from error
    if [one.name for one in choices_of(made)] != [one.name for one in choices_of(module)]:
        raise TypeError(
            f"a copy of {type(module).__name__} has other choices than the original; pass a function that "
            f"builds it. Choices: {listed(one.name for one in choices_of(module))}"
        )
    return made


def fact_of_module(module: nn.Module, found: tuple[Found, ...]) -> str:
    """Return the fact about a module: its class, and a hash of names, shapes, dtypes and candidates.

    A search converts floating tensors to its own dtype, so that any floating dtype has the same hash.
    """
    tensors = [
        [name, list(value.shape), "floating" if value.is_floating_point() else str(value.dtype), learns]
        for name, value, learns in (
            *((name, value, value.requires_grad) for name, value in module.named_parameters()),
            *((name, value, False) for name, value in module.named_buffers()),
        )
    ]
    tables = [
        [table.name, table.keep, [[list(row.choices[0].candidates), row.label] for row in table.rows]]
        for table in tables_of_choices(found)
    ]
    structure = hashlib.blake2b(json.dumps([tensors, tables]).encode(), digest_size=8).hexdigest()
    return f"{name_of(type(module))} {structure}"


def fixed(
    module: nn.Module, state: Mapping[str, Tensor], architecture: Mapping[str, Any], fact: str | None
) -> nn.Module:
    """Give a module the weights and buffers of a search, make its choices, and return it.

    The module gets the dtype and device of the weights.
    Running statistics of batch norm lose what is left of their initial values, as in the evaluation.

    Raises:
        CheckpointError: it is not the module of the search, which has the fact `fact`; None: any.
    """
    found = choices_in(module)
    own = fact_of_module(module, found)
    if fact is not None and own != fact:
        raise CheckpointError(
            f"expected the network of the search, {fact}, got {own}; pass the network that was searched"
        )
    norms = [part for part in module.modules() if part.training and is_fresh(part)]
    weight = next(state[name] for name, value in module.named_parameters() if name in state)
    moved(module, dtype=weight.dtype, device=weight.device)  # frozen parameters are not part of the state
    places = places_of(module)
    with torch.no_grad():
        for name, value in state.items():
            kept_value = value.clone()
            for part, key in places[name]:
                _set(part, key, kept_value)
    for norm in norms:
        settle(norm)
        norm.num_batches_tracked.fill_(SETTLED)  # type: ignore[operator]
    return fix_in_place(module, architecture)


def _set(part: nn.Module, key: str, value: Tensor) -> None:
    """Set a parameter or buffer; its dtype and device are those of the value."""
    parameter = part._parameters.get(key)
    if parameter is not None:
        parameter.data = value
    else:
        part._buffers[key] = value
