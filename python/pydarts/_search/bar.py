"""Progress bars in a terminal or a notebook, whose values are never cut off."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

with warnings.catch_warnings():
    # Without ipywidgets, tqdm falls back to text bars in notebooks, which is fine.
    warnings.filterwarnings("ignore", message="IProgress not found")
    from tqdm.auto import tqdm

_SHORTEST = 8  # columns of the shortest useful bar
_RATE = ", {rate_fmt}"
_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}" + _RATE + "{postfix}]"

# Dropped first in a narrow terminal, after the rate: the remaining time says as much.
_DISPENSABLE = (
    "probe.cosine", "curvature", "epsilon", "temperature", "entropy", "skips", "valid", "train", "acc",
    "perplexity",
)  # fmt: skip


class Bar(tqdm):  # type: ignore[type-arg]
    """A bar as wide as the terminal, followed by as many values as fit.

    >>> bar = Bar(total=4, unit="step")
    >>> bar.values = {"train": "1.000", "entropy": "0.693"}
    >>> bar.format_dict["postfix"]
    'train 1.000, entropy 0.693'
    >>> bar.close()
    """

    def __init__(self, **choices: Any) -> None:
        self.values: Mapping[str, str] = {}
        super().__init__(dynamic_ncols=True, bar_format=_FORMAT, **choices)

    @property
    def format_dict(self) -> Any:
        """The values for one drawing, computed for each because times and counts vary in width."""
        about = dict(super().format_dict)
        shown = dict(self.values)
        if not shown:
            return about
        about["postfix"] = in_a_line(shown)
        metrics = [name for name in shown if name not in _DISPENSABLE]
        for name in ("rate", *_DISPENSABLE, *reversed(metrics)):
            if self._fits(about):
                break
            shown.pop(name, None)
            about |= {"postfix": in_a_line(shown), "bar_format": _FORMAT.replace(_RATE, "")}
        return about

    def _fits(self, about: Mapping[str, Any]) -> bool:
        if not isinstance(about["ncols"], int):  # no terminal
            return True
        without = {**about, "bar_format": about["bar_format"].replace("{bar}", "")}
        return len(self.format_meter(**without)) + _SHORTEST <= about["ncols"]


def in_a_line(values: Mapping[str, str]) -> str:
    """Join the values that follow a bar.

    >>> in_a_line({"train": "1.000", "entropy": "0.693"})
    'train 1.000, entropy 0.693'
    """
    return ", ".join(f"{name} {value}" for name, value in values.items())
