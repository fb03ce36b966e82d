"""The look of every operation, the same in all pictures."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Look(NamedTuple):
    """Line colour and style of an operation."""

    color: str
    style: Literal["-"] | tuple[float, tuple[float, ...]]


# Hues of Okabe and Ito, told apart with any colour vision; relatives differ in lightness and dash.
_LOOKS = {
    "none": Look("#9a9a9a", (0, (1, 1))),
    "skip_connect": Look("#d55e00", "-"),
    "max_pool_3x3": Look("#e69f00", "-"),
    "avg_pool_3x3": Look("#a67c00", (0, (4, 1))),
    "sep_conv_3x3": Look("#0072b2", "-"),
    "sep_conv_5x5": Look("#56b4e9", "-"),
    "sep_conv_7x7": Look("#0072b2", (0, (4, 1))),
    "dil_conv_3x3": Look("#009e73", "-"),
    "dil_conv_5x5": Look("#7ac74f", "-"),
    "conv_1x1": Look("#cc79a7", "-"),
    "conv_3x3": Look("#8b3f7f", "-"),
    "conv_7x1_1x7": Look("#8b3f7f", (0, (4, 1))),
    "tanh": Look("#0072b2", "-"),
    "relu": Look("#d55e00", "-"),
    "sigmoid": Look("#009e73", "-"),
    "identity": Look("#cc79a7", "-"),
}


def look_of(operation: str) -> Look:
    """Colour and line style of an operation.

    >>> look_of("skip_connect").color
    '#d55e00'
    """
    return _LOOKS.get(operation, Look("#000000", "-"))


# Where a cell comes from, in the same hues.
_ORIGINS = {"searched": "#0072b2", "given": "#009e73", "random": "#9a9a9a"}


def color_of(origin: str) -> str:
    """Colour of the cells of one origin.

    >>> color_of("searched")
    '#0072b2'
    """
    return _ORIGINS[origin]
