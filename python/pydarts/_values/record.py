"""The base of immutable values whose fields, defaults and checks live in Rust."""

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
    """An immutable value: fields are attributes, equality and hash go by them."""

    __slots__ = ("_values",)
    _values: dict[str, Any]  # plain JSON data: str, numbers, bool, None, lists, dicts
    _error: ClassVar[type[Error]]
    """What a value that is no plain data is refused with."""

    @staticmethod
    def _resolve(text: str) -> str:
        """The core's check: JSON text of some fields as that of all."""
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
        """All fields as plain data, fit for JSON."""
        copy: dict[str, Any] = json.loads(json.dumps(self._values))
        return copy

    @staticmethod
    def _read(name: str, value: Any) -> Any:
        """A field as its attribute shows it."""
        return freeze(value)

    if not TYPE_CHECKING:  # checkers see the annotated fields only

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and name in self._values:
                return self._read(name, self._values[name])
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"a {type(self).__name__} cannot be changed; make another with replace({name}=...)"
        )

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

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
    """Lists as tuples, all the way down.

    >>> freeze([1, [2, 3]])
    (1, (2, 3))
    """
    return tuple(freeze(item) for item in value) if isinstance(value, list) else value


def plain(name: str, value: Any, error: type[Error]) -> Any:
    """`value` as JSON data; raises `error` naming the field where there is no such form."""
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
    """The fields of `values` that are not at their default."""
    return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}
