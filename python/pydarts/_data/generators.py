"""Random generators of every kind: find those of a loader or a loss; read, write and seed their states."""

from __future__ import annotations

import contextlib
import functools
import random
import types
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils.data import Subset

Generator: TypeAlias = torch.Generator | np.random.Generator | np.random.RandomState | random.Random

_DEPTH = 4  # levels of attributes below a loader, its samplers, its data set and its functions
_MOST = 64  # items of a list and attributes of an object that are looked at
_OPAQUE = (type, types.ModuleType, torch.Tensor, np.ndarray, str, bytes, int, float, complex, type(None))


def generators_of(source: Any) -> tuple[Generator, ...]:
    """Return the generators that a loader, its samplers, its data set or its functions hold as attributes.

    Class attributes and arguments of `functools.partial` count; so do parts, such as those of a
    ConcatDataset, and the modules in a module.

    >>> from torch.utils.data import DataLoader
    >>> mine = torch.Generator()
    >>> generators_of(DataLoader([1, 2], shuffle=True, generator=mine))[0] is mine
    True
    """
    names = ("sampler", "batch_sampler", "collate_fn", "worker_init_fn", "dataset")
    owners = [source, *(getattr(source, name, None) for name in names)]
    owners.append(getattr(owners[2], "sampler", None))
    dataset = owners[5]
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
        owners.append(dataset)
    found: dict[int, Generator] = {}
    seen: dict[int, Any] = {}
    for _ in range(_DEPTH):
        below: list[Any] = []
        for owner in owners:
            if id(owner) in seen or isinstance(owner, _OPAQUE):
                continue
            seen[id(owner)] = owner
            for value in _held(owner):
                shared = value is torch.default_generator or isinstance(value, random.SystemRandom)
                if isinstance(value, Generator):
                    if not shared:
                        found[id(value)] = value
                else:
                    below.append(value)
        owners = below
    return tuple(found.values())


def _held(owner: Any) -> Iterator[Any]:
    """Yield the attributes, items and arguments of an object, without calling code of the user."""
    if isinstance(owner, (list, tuple)):
        yield from owner[:_MOST]
        return
    if isinstance(owner, dict):
        yield from list(owner.values())[:_MOST]
        return
    if isinstance(owner, functools.partial):
        yield from (owner.func, *owner.args, *owner.keywords.values())
    elif isinstance(owner, types.MethodType):
        yield owner.__self__
    elif isinstance(owner, types.FunctionType):
        yield from (owner.__defaults__, owner.__kwdefaults__)
        for cell in owner.__closure__ or ():
            with contextlib.suppress(ValueError):  # not assigned yet
                yield cell.cell_contents
    # The modules in a module may be at any depth.
    for part in owner.modules() if isinstance(owner, torch.nn.Module) else (owner,):
        yield from list(getattr(part, "__dict__", {}).values())[:_MOST]
        for kind in type(part).__mro__:
            for value in list(vars(kind).values()):
                if isinstance(value, Generator):
                    yield value
                elif isinstance(value, types.MemberDescriptorType) and kind.__module__ != "builtins":
                    with contextlib.suppress(AttributeError, TypeError):  # a slot without a value
                        yield value.__get__(part)


def state_of(generator: Any) -> Any:
    """Return the state of a generator, or of the module `random` or `np.random`."""
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        origin = getattr(bits, "seed_seq", None)
        return bits.state, origin, getattr(origin, "n_children_spawned", 0)
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.getstate() if hasattr(generator, "getstate") else generator.get_state()


def restore(generator: Any, state: Any) -> None:
    """Set a state that `state_of` returned."""
    if isinstance(generator, np.random.Generator):
        _set_bits(generator.bit_generator, *state[:2])
    elif hasattr(generator, "setstate"):
        generator.setstate(state)
    else:
        generator.set_state(state)


def seed(generator: Any, number: int) -> None:
    """Seed a generator, or the module `random` or `np.random`, with a number of 64 bits."""
    if isinstance(generator, torch.Generator):
        generator.manual_seed(number)
    elif isinstance(generator, np.random.Generator):
        kind: Any = type(generator.bit_generator)
        # `spawn` counts the children of the seed sequence, so this one is put aside.
        _set_bits(generator.bit_generator, kind(number).state, np.random.SeedSequence(number))
    elif isinstance(generator, np.random.RandomState) and not _is_twister(generator):
        kind = type(generator._bit_generator)
        generator.set_state(kind(number).state)
    else:
        is_numpy = generator is np.random or isinstance(generator, np.random.RandomState)
        generator.seed(number >> 32 if is_numpy else number)


def _is_twister(generator: np.random.RandomState) -> bool:
    return isinstance(generator._bit_generator, np.random.MT19937)


def _set_bits(bits: Any, state: Any, origin: Any) -> None:
    try:
        bits.__setstate__((state, origin))
    except (TypeError, ValueError):  # NumPy 1 cannot replace the seed sequence
        bits.state = state


def same(one: Any, other: Any) -> bool:
    """Return whether two states of a generator are equal."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, tuple) and {*map(type, one)} != {int}:  # Python's generator has a tuple of 625 numbers
        return all(map(same, one, other))
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)
