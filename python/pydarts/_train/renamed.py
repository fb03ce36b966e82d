"""Names that fields of a `TrainConfig` had in earlier versions.

A field has the name that it has in a `SearchConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED = {
    "learning_rate": "weight_lr",
    "momentum": "weight_momentum",
    "schedule": "weight_lr_schedule",
    "bfloat16": "precision",
}


def renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with their present names.

    >>> renamed({"learning_rate": 0.1, "bfloat16": True, "seed": 1})
    {'weight_lr': 0.1, 'precision': 'bfloat16', 'seed': 1}
    """
    return {RENAMED.get(name, name): present(name, value) for name, value in fields.items()}


def present(name: str, value: Any) -> Any:
    """Return the value of a field of an earlier version as that of its present name."""
    if name == "bfloat16" and isinstance(value, bool):
        return "bfloat16" if value else "auto"
    return value
