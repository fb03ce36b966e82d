"""The colours and line styles of operations, the same in all plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

LineStyle: TypeAlias = Literal["-"] | tuple[float, tuple[float, ...]]


class Look(NamedTuple):
    """Line colour and style of an operation."""

    color: str
    style: LineStyle


# Hues of Okabe and Ito, distinguishable with any colour vision; related ones differ in lightness and dash.
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
    # Those of NAS-Bench-201, which are the same.
    "nor_conv_1x1": Look("#cc79a7", "-"),
    "nor_conv_3x3": Look("#8b3f7f", "-"),
    # Those of sequences, in the colours of images.
    "max_pool_3": Look("#e69f00", "-"),
    "max_pool_5": Look("#e69f00", (0, (4, 1))),
    "max_pool_7": Look("#e69f00", (0, (1, 1))),
    "avg_pool_3": Look("#a67c00", (0, (4, 1))),
    "avg_pool_5": Look("#a67c00", "-"),
    "avg_pool_7": Look("#a67c00", (0, (1, 1))),
    "sep_conv_3": Look("#0072b2", "-"),
    "sep_conv_5": Look("#56b4e9", "-"),
    "sep_conv_7": Look("#0072b2", (0, (4, 1))),
    "sep_conv_15": Look("#56b4e9", (0, (4, 1))),
    "sep_conv_31": Look("#0072b2", (0, (1, 1))),
    "dil_conv_3": Look("#009e73", "-"),
    "dil_conv_5": Look("#7ac74f", "-"),
    "dil_conv_7": Look("#009e73", (0, (4, 1))),
    "conv_1": Look("#cc79a7", "-"),
    "conv_3": Look("#8b3f7f", "-"),
    "conv_5": Look("#cc79a7", (0, (4, 1))),
    "conv_7": Look("#8b3f7f", (0, (4, 1))),
    "noise": Look("#333333", (0, (1, 1))),
    "tanh": Look("#0072b2", "-"),
    "relu": Look("#d55e00", "-"),
    "sigmoid": Look("#009e73", "-"),
    "identity": Look("#cc79a7", "-"),
}


def look_of(operation: str) -> Look:
    """Return colour and line style of an operation.

    >>> look_of("skip_connect").color
    '#d55e00'
    """
    return _LOOKS.get(operation, Look("#000000", "-"))


def looks_of(names: Sequence[str]) -> dict[str, Look]:
    """Return the looks of the candidates of a search; names that are not operations get looks of their own.

    >>> looks_of(("none", "mine"))["mine"].color
    '#d55e00'
    """
    known = {name: _LOOKS[name] for name in names if name in _LOOKS}
    used = set(known.values())
    found: dict[str, Look] = {}
    for number, name in enumerate(names):
        free = (look for look in map(run_look, range(number, number + _OWN)) if look not in used)
        if name in known and known[name] not in found.values():  # operations of different spaces share looks
            found[name] = known[name]
        else:
            found[name] = next(free, run_look(number))
        used.add(found[name])
    return found


# Origins of cells, in the same hues.
_ORIGINS = {"searched": "#0072b2", "given": "#009e73", "random": "#9a9a9a"}


def color_of(origin: str) -> str:
    """Return the colour of the cells of one origin.

    >>> color_of("searched")
    '#0072b2'
    """
    return _ORIGINS[origin]


# Series over time, in the same hues; dashes distinguish them without colour.
_SERIES = {
    "normal": Look("#0072b2", "-"),
    "reduce": Look("#d55e00", (0, (5, 1.5))),
    "recurrent": Look("#0072b2", "-"),
    "cell": Look("#0072b2", "-"),
    "train": Look("#e69f00", (0, (5, 1.5))),
    "valid": Look("#0072b2", "-"),
    "skip_connect": _LOOKS["skip_connect"],
    "limit": Look("#808080", (0, (4, 2))),
}


def series_look(name: str, number: int = 0) -> Look:
    """Return colour and line style of a curve: of an α table, or of a part of the data.

    `number` distinguishes tables with names that are not those of cells.

    >>> series_look("valid").color
    '#0072b2'
    """
    return _SERIES.get(name) or run_look(number)


_RUNS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#333333")
_STYLES: tuple[LineStyle, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)))


_OWN = len(_RUNS) * len(_STYLES)


def run_look(number: int) -> Look:
    """Return colour and line style of one of several runs.

    >>> run_look(0).color, run_look(7).style
    ('#0072b2', (0, (5, 1.5)))
    """
    return Look(_RUNS[number % len(_RUNS)], _STYLES[number // len(_RUNS) % len(_STYLES)])


def text_on(background: str | tuple[float, float, float, float]) -> Literal["white", "#222222"]:
    """Return the more legible text colour on a background, by the contrast of WCAG 2.

    >>> text_on("#0072b2"), text_on("#e69f00")
    ('white', '#222222')
    """
    from matplotlib.colors import to_rgb

    channels = to_rgb(background)
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    dark = 0.0160  # of #222222
    return "white" if 1.05 / (light + 0.05) >= (light + 0.05) / (dark + 0.05) else "#222222"
