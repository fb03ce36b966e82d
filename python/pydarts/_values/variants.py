"""Variants: classes of values that an option of a search takes, such as `Gumbel(temperature=0.5)`.

A variant is a class with a docstring and typed fields. Its name in files and on the command line is that of
the class in snake_case, or the one that the class gives (`called=`). The core knows the same names and
fields, checks them, and has their defaults.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import Self, dataclass_transform

from .. import _core
from .words import shown


@dataclass_transform(frozen_default=True)
class Variant:
    """An immutable value with a name and fields, equal by value."""

    axis: ClassVar[str] = ""
    """The option of `SearchConfig` that takes it; "schedule" for schedules."""
    name: ClassVar[str] = ""
    """The name in files and on the command line."""
    _classes: ClassVar[dict[str, type[Variant]]]

    def __init_subclass__(cls, axis: str = "", called: str = "", **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if axis:
            cls.axis, cls._classes = axis, {}
            AXES[axis] = cls
        else:
            dataclasses.dataclass(frozen=True)(cls)
            cls.name = called or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
            cls._classes[cls.name] = cls

    def __post_init__(self) -> None:
        for name, default in self._fields().items():
            given = getattr(self, name)
            if default is None and given is not None and given == self._checked(self.name)[name]:
                raise _core.ConfigError(
                    f"`{self.axis}.{name}` is {given!r}; pass another value, or None for the default"
                )
        for name, value in self._values(self.to_dict()).items():
            object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Return the name and all fields as plain data that can be written as JSON."""
        given = {name: plain(getattr(self, name)) for name in self._fields()}
        given = {name: value for name, value in given.items() if value is not None}
        checked = self._checked({"name": self.name} | given)
        return {name: checked[name] for name in ("name", *self._fields())}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Create a value from a dictionary such as `to_dict` returns; missing fields take their defaults.

        Raises:
            ConfigError: an unknown name or field, or a value out of range.
            TypeError: not a mapping.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"expected a mapping with the key `name`, got {shown(values)}")
        return cls._of(dict(values))

    def _at(self, state: Mapping[str, float] | None) -> dict[str, Any]:
        """Return the plain data with the values of `state`."""
        if not isinstance(state, Mapping | None):
            raise TypeError(f"state must be a mapping from parameters to numbers, got {shown(state)}")
        known = list(self._fields())
        for name in state or {}:
            if name not in known:
                raise _core.ConfigError(_core.unknown_name(f"parameter of `{self.name}`", str(name), known))
        return self.to_dict() | dict(state or {})

    @classmethod
    def _of(cls, value: object) -> Self:
        """Return the value of a name, a dictionary or an instance."""
        checked = AXES[cls.axis]._checked(plain(value))
        kind = cls._classes[checked["name"]]
        if not issubclass(kind, cls):
            raise _core.ConfigError(f"the name is {kind.name!r}; that of a {cls.__name__} is {cls.name!r}")
        return kind(**kind._values(checked))

    @classmethod
    def _fields(cls) -> dict[str, Any]:
        """The fields and their defaults."""
        return {field.name: field.default for field in dataclasses.fields(cls)}  # type: ignore[arg-type]

    @classmethod
    def _checked(cls, value: Any) -> dict[str, Any]:
        """Return the plain data of a variant, checked and with all fields."""
        return _core.variant(cls.axis, value)

    @classmethod
    def _values(cls, checked: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the fields. A default of None means the default of the core."""
        found = {}
        for name, default in cls._fields().items():
            value = checked[name]
            if isinstance(value, Mapping):
                value = AXES["schedule"]._of(value)
            elif default is None and value == cls._checked(cls.name)[name]:
                value = None
            found[name] = value
        return found


AXES: dict[str, type[Variant]] = {}
"""The classes from which the variants of an option inherit."""


def plain(value: Any) -> Any:
    """Return plain data as it is, and variants in it as dictionaries.

    >>> plain({"epochs": 3})
    {'epochs': 3}
    """
    if isinstance(value, Variant):
        return value.to_dict()
    if isinstance(value, type) and issubclass(value, Variant):
        raise _core.ConfigError(f"{value.__name__} is a class; pass {value.__name__}()")
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
