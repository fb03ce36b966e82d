"""Batches of any structure: take out the tensors, which the engine holds, and put them back."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from .._core import DataError
from .arrays import as_tensor, name_of

_DEPTH = 64  # levels of nesting
_SHOWN = 6  # members of a structure in a description


@dataclasses.dataclass(frozen=True)
class _Held:
    """A tensor: its number in the list."""

    number: int


@dataclasses.dataclass(frozen=True)
class _Kept:
    """A value that the engine does not see."""

    value: Any


@dataclasses.dataclass(frozen=True)
class _Moved(_Kept):
    """An object that moves to a device with its own method `to`, such as a graph."""


@dataclasses.dataclass(frozen=True)
class _Branch:
    """A structure: its members, and how they make it."""

    members: tuple[_Node, ...]
    make: Callable[[list[Any]], Any]


_Node: TypeAlias = _Held | _Kept | _Branch


class Layout:
    """What a structure was besides its tensors.

    Attributes:
        paths: the path of each tensor, such as `x["pixels"][3]`.
        whole: what cannot be divided by examples: paths and lengths of lists without tensors, and paths of
            objects that move with a method `to`, with None.
    """

    def __init__(
        self, node: _Node, paths: tuple[str, ...], whole: tuple[tuple[str, int | None], ...]
    ) -> None:
        self._node, self.paths, self.whole = node, paths, whole
        self._device: torch.device | None = None
        self._objects: dict[int, Any] = {}  # on that device

    def rebuild(self, tensors: Sequence[Tensor]) -> Any:
        """Return the structure with these tensors; containers are new ones, so that they may be changed.

        Objects with a method `to` are moved to the device of the first tensor, a copy of each once.

        Raises:
            ValueError: the structure has another number of tensors.
        """
        if len(tensors) != len(self.paths):
            raise ValueError(f"expected {len(self.paths)} tensors, got {len(tensors)}")
        device = tensors[0].device if tensors else torch.device("cpu")
        if device != self._device:
            self._device, self._objects = device, {}
        return self._rebuilt(self._node, tensors)

    def _rebuilt(self, node: _Node, tensors: Sequence[Tensor]) -> Any:
        if isinstance(node, _Held):
            return tensors[node.number]
        if isinstance(node, _Moved):
            return self._moved(node.value)
        if isinstance(node, _Kept):
            return node.value
        return node.make([self._rebuilt(member, tensors) for member in node.members])

    def _moved(self, value: Any) -> Any:
        if self._device is None or self._device.type == "cpu":
            return value
        if id(value) not in self._objects:
            # Some objects move in place, and the user's would fill the GPU.
            self._objects[id(value)] = copy.copy(value).to(self._device)
        return self._objects[id(value)]


def flatten(value: Any, names: Sequence[str] = (), of: str = "") -> tuple[list[Tensor], Layout]:
    """Take the tensors out of a structure.

    Structures are tuples, lists, named tuples, mappings (rebuilt as dictionaries) and dataclasses in any
    nesting. NumPy arrays of numbers become tensors. A tensor that occurs several times is taken once. All
    else is kept as it is; objects with a method `to` move to the device of the tensors.

    Args:
        value: the structure.
        names: the names of the members of `value`, a tuple, in paths; without them it is called "batch".
        of: what errors append to a path, such as " of batch 3".

    Raises:
        DataError: a structure that contains itself, or that is nested too deeply; a tensor that is not dense.

    >>> tensors, layout = flatten(({"x": torch.ones(2), "id": "a"}, torch.zeros(2)), ("x", "y"))
    >>> layout.paths
    ('x["x"]', 'y')
    >>> layout.rebuild([tensor + 1 for tensor in tensors])
    ({'x': tensor([2., 2.]), 'id': 'a'}, tensor([1., 1.]))
    """
    reader = _Reader(of)
    if names:
        members = tuple(reader.read(part, name) for part, name in zip(value, names, strict=True))
        node: _Node = _Branch(members, tuple)
    else:
        node = reader.read(value, "batch")
    return reader.tensors, Layout(node, tuple(reader.paths), tuple(reader.whole))


class _Reader:
    """Reads structures and collects their tensors."""

    def __init__(self, of: str) -> None:
        self._of = of
        self.tensors: list[Tensor] = []
        self.paths: list[str] = []
        self.whole: list[tuple[str, int | None]] = []
        self._numbers: dict[int, int] = {}
        self._given: list[Any] = []  # alive, so that no other object has its id
        self._open: list[int] = []

    def read(self, value: Any, path: str) -> _Node:
        """Read the value at `path`."""
        if isinstance(value, Tensor) or _is_numeric(value):
            return self._tensor(value, path)
        found = _taken_apart(value)
        if found is None:
            if not is_movable(value):
                return _Kept(value)
            self.whole.append((path, None))
            return _Moved(value)
        if id(value) in self._open:
            raise DataError(
                f"{path}{self._of} is a {type(value).__name__} that contains itself; remove the cycle"
            )
        if len(self._open) >= _DEPTH:
            raise DataError(f"{path[:80]}...{self._of} is nested more than {_DEPTH} levels deep; flatten it")
        self._open.append(id(value))
        parts, make = found
        members = tuple(self.read(member, path + step) for step, member in parts)
        self._open.pop()
        kept = all(type(member) is _Kept for member in members)
        if kept and isinstance(value, (tuple, list)):
            self.whole.append((path, len(value)))
        if kept and not isinstance(value, (list, Mapping)):
            return _Kept(value)
        return _Branch(members, make)

    def _tensor(self, value: Any, path: str) -> _Node:
        if id(value) not in self._numbers:
            if isinstance(value, Tensor) and value.is_nested:
                raise DataError(
                    f"{path}{self._of} is a nested tensor; give a padded one or a list of tensors"
                )
            self._numbers[id(value)] = len(self.tensors)
            self._given.append(value)
            self.tensors.append(as_tensor(value, path + self._of))
            self.paths.append(path)
        return _Held(self._numbers[id(value)])


_Parts: TypeAlias = list[tuple[str, Any]]


def _taken_apart(value: Any) -> tuple[_Parts, Callable[[list[Any]], Any]] | None:
    """Return the members of a structure with their steps in a path, and how to make it; None: a leaf."""
    kind = type(value)
    if isinstance(value, Mapping):
        keys = list(value)
        return [(f'["{key}"]' if isinstance(key, str) else f"[{key!r}]", value[key]) for key in keys], (
            lambda members: dict(zip(keys, members, strict=True))
        )
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [each.name for each in dataclasses.fields(value) if hasattr(value, each.name)]
        template = copy.copy(value)
        for name in names:  # the template holds no memory
            object.__setattr__(template, name, None)
        return [(f".{name}", getattr(value, name)) for name in names], (
            lambda members: _filled(template, names, members)
        )
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        if is_movable(value):  # such as a PackedSequence, of which one tensor stays on the CPU
            return None
        return [(f".{name}", member) for name, member in zip(value._fields, value, strict=True)], kind._make
    if isinstance(value, (tuple, list)):
        make: Callable[[list[Any]], Any] = list if isinstance(value, list) else tuple
        if hasattr(kind, "n_sequence_fields"):  # as torch.max(x, 1) returns them
            make = kind
        return [(f"[{index}]", member) for index, member in enumerate(value)], make
    return None


def _filled(template: Any, names: Iterable[str], members: Iterable[Any]) -> Any:
    made = copy.copy(template)
    for name, member in zip(names, members, strict=True):
        object.__setattr__(made, name, member)  # also of frozen ones
    return made


def is_movable(value: Any) -> bool:
    """Return whether `value` is an object with a method `to` for devices, not a tensor or a module."""
    return not isinstance(value, (Tensor, nn.Module, type)) and callable(getattr(value, "to", None))


def _is_numeric(value: Any) -> bool:
    """Return whether `value` is an array of numbers; a single number is kept as it is."""
    if isinstance(value, (np.generic, type)) or not hasattr(value, "__array__"):
        return False
    if _is_structure(value) or is_movable(value):
        return False
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    return kind in tuple("biufc")


def _is_structure(value: Any) -> bool:
    return isinstance(value, (Mapping, tuple, list)) or dataclasses.is_dataclass(value)


def describe(value: Any, levels: int = 2) -> str:
    """Describe a batch for people.

    >>> describe((torch.zeros(4, 3), {"id": 7, "mask": torch.ones(4).bool()}, "a"))
    "a tuple of 3: (float32 [4, 3], {'id': int, 'mask': bool [4]}, str)"
    """
    article = "an" if type(value).__name__[:1].lower() in "aeiou" else "a"
    name = f"{article} {type(value).__name__}"
    if isinstance(value, Tensor) or _is_numeric(value):
        return f"{name} {_described(value, levels)}"
    if isinstance(value, Mapping):
        return f"{name} with {len(value)} keys: {_described(value, levels)}"
    if isinstance(value, (tuple, list)):
        return f"{name} of {len(value)}: {_described(value, levels)}"
    held = held_by(value)
    return f"{name} with the attributes {', '.join(held[:_SHOWN])}" if held else name


def held_by(value: Any) -> list[str]:
    """Return the names of the attributes of an object that are tensors or arrays."""
    named = {} if isinstance(value, type) else getattr(value, "__dict__", {})
    return [name for name, each in named.items() if isinstance(each, Tensor) or _is_numeric(each)]


def _described(value: Any, levels: int) -> str:
    if isinstance(value, Tensor):
        return f"{name_of(value.dtype)} {list(value.shape)}"
    if _is_numeric(value):
        return f"{value.dtype} {list(value.shape)}"
    if not isinstance(value, (Mapping, tuple, list)) or not levels:
        return type(value).__name__
    more = ["..."] if len(value) > _SHOWN else []
    if isinstance(value, Mapping):
        some = [f"{key!r}: {_described(value[key], levels - 1)}" for key in list(value)[:_SHOWN]]
        return "{" + ", ".join(some + more) + "}"
    some = [_described(member, levels - 1) for member in value[:_SHOWN]]
    left, right = "()" if isinstance(value, tuple) else "[]"
    return left + ", ".join(some + more) + right
