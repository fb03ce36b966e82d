"""The base of immutable values whose fields, defaults and checks are in the core."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from .._core import Error

if TYPE_CHECKING:
    from typing_extensions import Self


class Record:
    """An immutable value. A subclass inherits from this class and from the class of the core."""

    __slots__ = ()
    _error: ClassVar[type[Error]]
    """The type of errors about values of this class."""

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain data that can be written as JSON."""
        values: dict[str, Any] = super().to_dict()  # type: ignore[misc]
        return values

    @classmethod
    def _of(cls, value: object) -> Self:
        """The value of plain data, of a name, or of an instance of the core's class."""
        return super().__new__(cls, value)  # type: ignore[call-arg]

    @classmethod
    def _of_json(cls, text: str) -> Self:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise cls._error(f"expected a JSON object: {error}") from error
        if not isinstance(value, dict):
            raise cls._error(f"expected a JSON object, got {text[:80]!r}")
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


def freeze(value: Any) -> Any:
    """Convert lists to tuples, recursively.

    >>> freeze([1, [2, 3]])
    (1, (2, 3))
    """
    return tuple(freeze(item) for item in value) if isinstance(value, list) else value


def differences(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of `values` that differ from their defaults."""
    return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}
