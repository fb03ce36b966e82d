"""The base of immutable values whose fields, defaults and checks are in the core."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from .._core import Error
from .words import shown

if TYPE_CHECKING:
    from typing_extensions import Self


class Record:
    """An immutable value. A subclass inherits from this class and from the class of the core."""

    __slots__ = ()
    _error: ClassVar[type[Error]]
    """The type of errors about values of this class."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain data that can be written as JSON."""
        values: dict[str, Any] = super().to_dict()  # type: ignore[misc]
        return values

    @classmethod
    def _of(cls, value: object) -> Self:
        """The value of plain data, of a name, or of an instance of the core's class."""
        return super().__new__(cls, value)  # type: ignore[call-arg]

    @classmethod
    def _of_json(cls, text: str) -> Self:
        try:
            value = json.loads(
                without_mark(text), object_pairs_hook=distinct, parse_constant=_refuse_constant
            )
        except (ValueError, RecursionError) as error:
            raise cls._error(f"expected a JSON object: {error}") from error
        if not isinstance(value, dict):
            raise cls._error(f"expected a JSON object, got {shown(text)}")
        return cls._of(value)

    def _json(self, indent: int | None) -> str:
        return json.dumps(self.to_dict(), indent=indent)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable; make another with replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} is immutable")

    def __dir__(self) -> Iterator[str]:
        return iter([*super().__dir__(), *self.to_dict()])

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._of, (self.to_dict(),)


def without_mark(text: str) -> str:
    """Remove the byte-order mark that some editors write at the beginning of a file.

    >>> without_mark("\\ufeff{}")
    '{}'
    """
    return text.removeprefix("\ufeff") if isinstance(text, str) else text


def distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the dictionary of an object of JSON; raise ValueError if a key occurs twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        [(repeated, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(repeated)} occurs twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def freeze(value: Any) -> Any:
    """Convert lists to tuples, recursively.

    >>> freeze([1, [2, 3]])
    (1, (2, 3))
    """
    return tuple(freeze(item) for item in value) if isinstance(value, list) else value


def differences(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `values` that differ from their defaults."""
    return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}
