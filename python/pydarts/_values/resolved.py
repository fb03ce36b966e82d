"""All options of a configuration, as a dictionary that prints as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Resolved(dict[str, Any]):
    """Options and their values, in the order of the documentation; printed one per line.

    >>> print(Resolved({"epochs": 3, "seed": 0}, {"epochs": 50, "seed": 0}))
    epochs  3  (default: 50)
    seed    0
    """

    def __init__(self, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._defaults = dict(defaults)

    def __str__(self) -> str:
        width = max(map(len, self), default=0)
        lines = []
        for name, value in self.items():
            default = self._defaults.get(name)
            note = "" if value == default else f"  (default: {default!r})"
            lines.append(f"{name:<{width}}  {value!r}{note}")
        return "\n".join(lines)
