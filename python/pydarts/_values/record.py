"""The base of immutable values whose fields, defaults and checks are defined in Rust."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from .._core import Error

if TYPE_CHECKING:
    from typing_extensions import Self


class Record:
    """An immutable value with fields as attributes; equality and hash compare the fields."""

    __slots__ = ("_values",)
    _values: dict[str, Any]  # plain JSON data: str, numbers, bool, None, lists, dicts
    _error: ClassVar[type[Error]]
    """The exception raised for a field that is not plain data."""

    @staticmethod
    def _resolve(text: str) -> str:
        """Check fields given as JSON text, and return all fields as JSON text, defaults included."""
        raise NotImplementedError

    def _fill(self, fields: Mapping[str, Any]) -> None:
        self._fill_from(json.dumps({name: plain(name, value, self._error) for name, value in fields.items()}))

    def _fill_from(self, text: str) -> None:
        object.__setattr__(self, "_values", json.loads(self._resolve(text)))

    @classmethod
    def _of(cls, fields: Mapping[str, Any]) -> Self:
        record = cls.__new__(cls)
        record._fill(fields)
        return record

    @classmethod
    def _of_json(cls, text: str) -> Self:
        record = cls.__new__(cls)
        record._fill_from(text)
        return record

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain data that JSON can represent."""
        copy: dict[str, Any] = json.loads(json.dumps(self._values))
        return copy

    @staticmethod
    def _read(name: str, value: Any) -> Any:
        """Convert the JSON value of a field to the value of its attribute."""
        return freeze(value)

    if not TYPE_CHECKING:  # type checkers use the annotated fields only

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and name in self._values:
                return self._read(name, self._values[name])
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable; make another with replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable")

    def __dir__(self) -> Iterator[str]:
        return iter([*super().__dir__(), *self._values])

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(json.dumps(self._values, sort_keys=True))

    def __copy__(self) -> Record:
        return self

    def __deepcopy__(self, memo: object) -> Record:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._of, (self._values,)


def freeze(value: Any) -> Any:
    """Convert lists to tuples, recursively.

    >>> freeze([1, [2, 3]])
    (1, (2, 3))
    """
    return tuple(freeze(item) for item in value) if isinstance(value, list) else value


def plain(name: str, value: Any, error: type[Error]) -> Any:
    """Return `value` as JSON data; raise `error` with the field's name if that is impossible."""
    if isinstance(value, Record):
        return value._values
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise error(f"{name} must be a finite number, got {value}")
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(f"{name}.{key}", item, error) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [plain(f"{name}[{i}]", item, error) for i, item in enumerate(value)]
    if hasattr(value, "tolist"):  # numpy scalars and arrays, tensors
        return plain(name, value.tolist(), error)
        raise error(f"{name} cannot be a {type(value).__name__}, got {value!r}")


def differences(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `values` that differ from their defaults."""
    return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}
