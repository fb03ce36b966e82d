"""`Operation`: a candidate of a compiled space that the user's own module computes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

from .. import _core
from .digest import digest, is_library, name_of
from .words import shown

Factory = Callable[..., nn.Module]

_MADE: dict[tuple[str, str], Operation] = {}
"""All operations by name and fact: spaces and configurations hold these two as text."""


class Operation:
    """An operation of your own for the edges of convolutional cells, next to the built-in ones.

    Put it into the `operations` of a `Space`, among the names. The compiler does not rewrite its module;
    gradients of all orders, cost and memory include it.

    Args:
        name: letters, digits and underscores, not the name of a built-in operation. It is the name of the
            candidate in results, genotypes and plots, and a part of the names of its weights,
            `cells.0.edges.0_2.<name>.<parameter>`.
        factory: `(channels, stride) -> torch.nn.Module`, a function or a class. The module maps
            [N, channels, H, W] to [N, channels, ⌈H/stride⌉, ⌈W/stride⌉], in a space of sequences [N,
            channels, L] to [N, channels, ⌈L/stride⌉]; stride is 1 or 2. If the factory has
            a third required argument, or one named `affine`, it gets False in a search, whose batch norms
            should not be affine, and True in a network of `build`.

    A search makes the modules with torch's generator, seeded by the seed of the search and the names of their
    weights. Random numbers that a module draws from torch's generators in a pass, such as dropout masks,
    depend only on the seed, the step and the loss. A module may change its buffers; only the weight step
    keeps the changes. It must not change its input in place.

    Raises:
        SpaceError: the name is that of a built-in operation, or not a valid name.
        TypeError: `factory` is not callable, or is a module instead of a function that makes one.

    >>> from torch import nn
    >>> def wide(channels: int, stride: int, affine: bool) -> nn.Module:
    ...     conv = nn.Conv2d(channels, channels, 9, stride, padding=4, groups=channels, bias=False)
    ...     return nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(channels, affine=affine))
    >>> import pydarts
    >>> space = pydarts.Space(operations=["none", "skip_connect", pydarts.Operation("wide", wide)])
    >>> space.operations
    ('none', 'skip_connect', 'wide')
    """

    __slots__ = ("_fact", "_factory", "_name", "_takes")

    def __init__(self, name: str, factory: Factory) -> None:
        if isinstance(factory, nn.Module):
            raise TypeError(
                f"the factory of {shown(name)} is a module; pass a function that makes one for each edge, "
                "such as lambda channels, stride: ..."
            )
        if not callable(factory):
            raise TypeError(f"the factory of {shown(name)} must be callable, got {shown(factory)}")
        if not isinstance(name, str):
            raise TypeError(f"the name of an operation must be a string, got {shown(name)}")
        if hasattr(nn.ModuleDict, name):
            raise _core.SpaceError(
                f"the operation {name!r} has the name of a method of ModuleDict; choose another"
            )
        _core.own_operation(name)
        self._name, self._factory, self._takes = name, factory, _affine_of(factory)
        self._fact = name_of(factory)
        if not is_library(factory):
            self._fact += f" {digest(factory, made=True).hex()}"
        _MADE[name, self._fact] = self

    @property
    def name(self) -> str:
        """The name of the candidate."""
        return self._name

    @property
    def factory(self) -> Factory:
        """The function that makes its modules."""
        return self._factory

    @property
    def fact(self) -> str:
        """The factory's "module:qualname", and a hash of its code and settings, computed as for a loss.

        >>> from torch import nn
        >>> Operation("plain", lambda channels, stride: nn.MaxPool2d(1, stride)).fact.split(":")[1][:8]
        '<lambda>'
        """
        return self._fact

    def build(self, channels: int, stride: int, affine: bool = False) -> nn.Module:
        """Make a module.

        Raises:
            TypeError: the factory returned something else.

        >>> from torch import nn
        >>> Operation("every_second", lambda channels, stride: nn.MaxPool2d(1, stride)).build(4, 2)
        MaxPool2d(kernel_size=1, stride=2, padding=0, dilation=1, ceil_mode=False)
        """
        if self._takes is None:
            module = self._factory(channels, stride)
        elif self._takes:
            module = self._factory(channels, stride, **{self._takes: affine})
        else:
            module = self._factory(channels, stride, affine)
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"the factory of the operation {self._name!r} returned {shown(module)}; it must return a "
                "torch.nn.Module"
            )
        return module

    def __repr__(self) -> str:
        return f"Operation({self._name!r}, {name_of(self._factory)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operation):
            return NotImplemented
        return (self._name, self._fact) == (other._name, other._fact)

    def __hash__(self) -> int:
        return hash((self._name, self._fact))

    def __deepcopy__(self, memo: object) -> Operation:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Operation, (self._name, self._factory)


def _affine_of(factory: Factory) -> str | None:
    """Return the keyword by which a factory takes `affine`; "": by position; None: it does not."""
    try:
        parameters = [*inspect.signature(factory).parameters.values()]
    except (TypeError, ValueError):  # of a compiled function
        return None
    for parameter in parameters:
        if parameter.name == "affine":
            return "" if parameter.kind is parameter.POSITIONAL_ONLY else "affine"
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = len(positional) > 2 and positional[2].default is inspect.Parameter.empty
    return "" if required else None


def named(value: Any, own: dict[str, str]) -> Any:
    """Replace operations in lists and mappings by their names, and collect their facts.

    Raises:
        SpaceError: two operations have one name.
    """
    if isinstance(value, Operation):
        if own.setdefault(value.name, value.fact) != value.fact:
            raise _core.SpaceError(f"two operations have the name {value.name!r}; give each its own name")
        return value.name
    if isinstance(value, Mapping):
        return {key: named(item, own) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [named(item, own) for item in value]
    return value


def made(facts: Mapping[str, str], given: Iterable[Operation] = ()) -> dict[str, Operation]:
    """Return the operations of these names and facts; `given` ones may have other facts.

    Raises:
        ConfigError: an operation is neither given nor made in this process, with the code that it had.
    """
    found = by_name(given)
    for name, fact in facts.items():
        if name in found:
            continue
        if (name, fact) not in _MADE:
            other = [known for known_name, known in _MADE if known_name == name]
            changed = f" (the one in this process has other code, {other[-1]})" if other else ""
            raise _core.ConfigError(
                f"{name!r} is your own operation, made by {fact}{changed}; make it first with "
                f"pydarts.Operation({name!r}, ...), or pass it in space.replace(operations=[...])"
            )
        found[name] = _MADE[name, fact]
    return found


def by_name(given: Iterable[Operation]) -> dict[str, Operation]:
    """Return operations by name.

    Raises:
        TypeError: something else is among them, or it is not a sequence.
    """
    if isinstance(given, (Operation, str)) or not isinstance(given, Iterable):
        raise TypeError(f"operations must be a list of pydarts.Operation, got {shown(given)}")
    found = {}
    for operation in given:
        if not isinstance(operation, Operation):
            raise TypeError(f"operations must hold pydarts.Operation only, got {shown(operation)}")
        found[operation.name] = operation
    return found
