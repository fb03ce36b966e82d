"""Bars of progress, in a terminal or a notebook; what stands beside one is never cut off."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

with warnings.catch_warnings():
    # Without ipywidgets a notebook has bars of text: nothing is wrong with them.
    warnings.filterwarnings("ignore", message="IProgress not found")
    from tqdm.auto import tqdm

_SHORTEST = 8  # columns of a bar that still shows something
_RATE = ", {rate_fmt}"
_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}" + _RATE + "{postfix}]"

# What goes first where a terminal is narrow, after the steps a second: the time left says as much.
_DISPENSABLE = ("entropy", "skips", "valid", "train", "acc", "perplexity")


class Bar(tqdm):  # type: ignore[type-arg]
    """A bar of as many columns as the terminal has, with those readings beside it for which there is room.

    >>> bar = Bar(total=4, unit="step")
    >>> bar.readings = {"train": "1.000", "entropy": "0.693"}
    >>> bar.format_dict["postfix"]
    'train 1.000, entropy 0.693'
    >>> bar.close()
    """

    def __init__(self, **choices: Any) -> None:
        self.readings: Mapping[str, str] = {}
        super().__init__(dynamic_ncols=True, bar_format=_FORMAT, **choices)

    @property
    def format_dict(self) -> Any:
        """What a drawing is made of: looked at for each, for times and counts take more room and less."""
        about = dict(super().format_dict)
        told = dict(self.readings)
        if not told:
            return about
        about["postfix"] = in_a_line(told)
        for name in ("rate", *_DISPENSABLE):
            if self._fits(about):
                break
            told.pop(name, None)
            about |= {"postfix": in_a_line(told), "bar_format": _FORMAT.replace(_RATE, "")}
        return about

    def _fits(self, about: Mapping[str, Any]) -> bool:
        if not isinstance(about["ncols"], int):  # no terminal
            return True
        without = {**about, "bar_format": about["bar_format"].replace("{bar}", "")}
        return len(self.format_meter(**without)) + _SHORTEST <= about["ncols"]


def in_a_line(readings: Mapping[str, str]) -> str:
    """Readings as they stand beside a bar.

    >>> in_a_line({"train": "1.000", "entropy": "0.693"})
    'train 1.000, entropy 0.693'
    """
    return ", ".join(f"{name} {value}" for name, value in readings.items())
