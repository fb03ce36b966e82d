"""Hashes of loss functions: their code, the user's code that they call, and the settings that it reads."""

from __future__ import annotations

import abc
import argparse
import dataclasses
import enum
import functools
import hashlib
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .bytecode import Names, names_of

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, type(...))
_COMPILED = "_torchdynamo_orig_callable"  # the function that `torch.compile` has wrapped
_BASES = (object, nn.Module, abc.ABC, typing.Generic, typing.Protocol)  # they read no setting
_WHOLE = {"vars", "getattr", "__dict__", "modules", "children", "buffers", "parameters"}
_MOST = 1 << 16  # elements of an array that are hashed; of a larger one, evenly spaced ones
_ITEMS = 10_000  # the same for a list or a dictionary
_VISITS, _DEPTH = 200_000, 60  # what lies beyond is hashed by the name of its type


def digest(value: Any, made: bool = False) -> bytes:
    """Return a hash of a loss, 8 bytes, that is the same in every process and on every machine.

    `made`: whether the value makes modules, so that the code of their classes counts.
    """
    names = Names()
    while True:  # code that is found in one pass may read more attributes
        reader = _Reader(names, made)
        found = reader.of(value)
        if not names.add(reader.found):
            return found


def name_of(value: Any) -> str:
    """Return "module:qualname" of a function, or of the class of an object."""
    while isinstance(value, functools.partial):
        value = value.func
    value = original(value)
    named = value if _attribute(value, "__qualname__", None) else type(value)
    module = getattr(named, "__module__", None) or "builtins"
    # The main script has another name in a process that was spawned.
    return f"{'__main__' if module == '__mp_main__' else module}:{named.__qualname__}"


def original(value: Any) -> Any:
    """Return the function that `torch.compile` has wrapped; any other value as it is."""
    return _attribute(value, _COMPILED, value)


def _attribute(value: Any, name: str, default: Any) -> Any:
    try:
        return getattr(value, name, default)
    except Exception:  # of a __getattr__ of the user
        return default


def is_foreign(value: Any) -> bool:
    """Return whether a function is compiled, or of a library: its name identifies it."""
    if isinstance(value, types.FunctionType):
        return not _is_users(value.__globals__.get("__name__"))
    return isinstance(value, (types.BuiltinFunctionType, type))


def is_library(factory: Any) -> bool:
    """Return whether a class or a function belongs to a library: its name identifies it."""
    return not _is_users(factory.__module__) if isinstance(factory, type) else is_foreign(factory)


@functools.cache
def _is_users(module: str | None) -> bool:
    """Return whether a module is the user's: neither Python's, nor pydarts', nor installed as a package."""
    root = str(module).partition(".")[0]
    if root in ("__main__", "__mp_main__"):
        return True
    file = getattr(sys.modules.get(root), "__file__", None) or ""
    installed = {"site-packages", "dist-packages"} & {*Path(file).parts}
    return not (installed or root in sys.stdlib_module_names or root in ("torch", "pydarts"))


def little_endian(array: np.ndarray[Any, Any]) -> bytes:
    """Return the bytes of an array in C order, the same on every machine.

    >>> little_endian(np.array([1], ">i2"))
    b'\\x01\\x00'
    """
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _joined(parts: Iterable[bytes]) -> bytes:
    found = hashlib.blake2b(digest_size=8)
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.digest()


def _sampled(items: Sequence[Any]) -> Iterator[Any]:
    count = min(len(items), _ITEMS)
    return (items[number * (len(items) - 1) // max(1, count - 1)] for number in range(count))


class _Reader:
    """Hashes values, and collects the names in the code on the way."""

    def __init__(self, names: Names, made: bool) -> None:
        self.found = Names()
        self._names = names  # those that are known from the pass before
        self._made = made
        self._done: dict[int, bytes] = {}
        self._kept: list[Any] = []  # so that no other object gets the same id
        self._visits = self._depth = 0

    def of(self, value: Any) -> bytes:
        """Return the hash of a value; what refers to a value around it is hashed as "again"."""
        value = original(value) if callable(value) else value
        self._visits += 1
        if isinstance(value, _PLAIN):
            return _joined([f"{type(value).__name__} {value!r}".encode()])
        if isinstance(value, (np.ndarray, np.generic, Tensor)):
            return _joined(_of_array(value))
        if id(value) not in self._done:
            if self._visits > _VISITS or self._depth > _DEPTH:
                return name_of(type(value)).encode()
            self._done[id(value)] = b"again"
            self._kept.append(value)
            self._depth += 1
            self._done[id(value)] = _joined(self._parts(value))
            self._depth -= 1
        return self._done[id(value)]

    def _parts(self, value: Any) -> Iterator[bytes]:
        if isinstance(value, (set, frozenset)):
            yield f"set {len(value)}".encode()
            yield from sorted(self.of(item) for item in value) if len(value) <= _ITEMS else ()
        elif isinstance(value, (list, tuple)):
            yield f"{type(value).__name__} {len(value)}".encode()
            yield from (self.of(item) for item in _sampled(value))
        elif isinstance(value, Mapping):
            yield from self._of_mapping(value)
        elif isinstance(value, functools.partial):
            yield from (self.of(value.func), self.of(value.args))
            yield from self._of_named(value.keywords)
        elif isinstance(value, types.MethodType):
            yield from self._of_object(value.__self__, value.__func__)
        elif isinstance(value, types.FunctionType) and not is_foreign(value):
            yield from self._of_function(value)
        elif isinstance(value, (types.FunctionType, types.BuiltinFunctionType)):
            yield name_of(value).encode()
        elif isinstance(value, type):
            yield name_of(value).encode()
            made = self._made and issubclass(value, nn.Module)
            yield from self._of_class(value, {"__init__", "forward"} if made else None)
        elif isinstance(value, types.ModuleType):
            yield value.__name__.encode()
            if _is_users(value.__name__):
                yield from self._of_named(vars(value), self._names.used)
        elif isinstance(value, enum.Enum):
            yield f"{name_of(type(value))}.{value.name}".encode()
        else:
            yield from self._of_object(value)

    def _of_mapping(self, value: Mapping[Any, Any]) -> Iterator[bytes]:
        keys = list(value)
        if all(isinstance(key, str) for key in keys) and (read := {*keys} & self._names.used):
            keys = list(read)
        else:
            yield f"mapping {len(value)}".encode()
        for key in _sampled(sorted(keys, key=repr)):
            yield from (self.of(key), self.of(value[key]))

    def _of_named(self, values: Mapping[str, Any], among: set[str] | None = None) -> Iterator[bytes]:
        """Hash variables or attributes, except those that the code changes: a counter is no setting."""
        for name in sorted(values if among is None else among & {*values}):
            held = values[name]
            array = isinstance(held, (np.ndarray, Tensor))
            if name not in self._names.assigned and (array or name not in self._names.changed):
                yield from (name.encode(), self.of(held))

    def _of_function(self, function: types.FunctionType) -> Iterator[bytes]:
        code = function.__code__
        names = names_of(code)
        self.found.add(names)
        yield self._of_code(code)
        defaults = function.__defaults__ or ()
        positional = code.co_varnames[: code.co_argcount]
        given = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
        yield from self._of_named(given | (function.__kwdefaults__ or {}))
        enclosing = {}
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                enclosing[name] = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        if isinstance(kind := enclosing.pop("__class__", None), type):  # of `super()`
            yield name_of(kind).encode()
        yield from self._of_named(enclosing)
        yield from self._of_named(function.__globals__, names.variables)

    def _of_code(self, code: types.CodeType) -> bytes:
        consts = (
            self._of_code(const) if isinstance(const, types.CodeType) else self.of(const)
            for const in code.co_consts
        )
        names = [*code.co_names, "", *code.co_freevars, str(code.co_argcount)]
        return _joined([code.co_code, *(name.encode() for name in names), *consts])

    def _of_object(self, value: Any, start: Any = None) -> Iterator[bytes]:
        """Hash class, code and settings of an object, beginning with a method that is called."""
        kind = type(value)
        yield name_of(kind).encode()
        if start is not None:
            yield self.of(start)
        if isinstance(value, (torch.jit.ScriptFunction, torch.jit.ScriptModule)):
            yield str(value.code).encode()
        calls = "forward" if isinstance(value, nn.Module) else "__call__"
        yield from self._of_class(kind, {calls} if start is None else set())
        called = start is not None or callable(value)
        users = _is_users(kind.__module__)
        holder = dataclasses.is_dataclass(value) or isinstance(
            value, (types.SimpleNamespace, argparse.Namespace)
        )
        if not (called or users or holder):  # whatever it holds is not known to be a setting
            return
        # Code of a library reads settings that are not known by name.
        library = called and any(
            base not in _BASES and not _is_users(base.__module__) for base in kind.__mro__
        )
        among = None if library or self._names.used & _WHOLE else self._names.used
        held = getattr(value, "__dict__", {})
        if not isinstance(value, nn.Module):
            yield from self._of_named(held, among)
            return
        own = {name for name in held if not name.startswith("_") and name != "training"}
        yield from self._of_named({name: held[name] for name in own}, among)
        if not isinstance(value, nn.modules.batchnorm._NormBase):  # statistics, which move
            yield from self._of_named(dict(value._buffers.items()), among)
        shapes = {name: None if w is None else tuple(w.shape) for name, w in value._parameters.items()}
        yield from self._of_named(shapes, among)
        yield from self._of_named(dict(value._modules.items()), among)

    def _of_class(self, kind: type, methods: set[str] | None = None) -> Iterator[bytes]:
        """Hash the methods and constants of a user's class and its bases that the code uses."""
        used = self._names.used | (methods or set())
        for base in kind.__mro__:
            if _is_users(base.__module__):
                held = {
                    name: _unwrapped(value)
                    for name, value in vars(base).items()
                    if (name in used and not name.startswith("__")) or name in (methods or ())
                }
                yield from self._of_named(held)


def _unwrapped(value: Any) -> Any:
    """Return the function of a static method, a class method or a property."""
    if isinstance(value, (staticmethod, classmethod)):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    return value.func if isinstance(value, functools.cached_property) else value


def _of_array(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        value = value.detach().to_dense() if value.is_sparse else value.detach()
        value = value.cpu().double().numpy() if value.dtype == torch.bfloat16 else value.cpu().numpy()
    array = np.asarray(value)
    yield f"{array.dtype.newbyteorder('<').str} {array.shape}".encode()
    if array.size > _MOST:
        array = array.reshape(-1)[:: -(-array.size // _MOST)]
    yield repr(array.tolist()).encode() if array.dtype.hasobject else little_endian(array)
