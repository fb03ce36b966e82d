"""Counts, durations and edges formatted for people."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable

_LOWERED = str.maketrans("012k-", "₀₁₂ₖ₋")


def count(number: float, unit: str, spec: str = "") -> str:
    """Format a number with its unit; `spec` is the format of the number.

    >>> count(1, "epoch"), count(0, "epoch"), count(1200.0, "step", ",.0f")
    ('1 epoch', '0 epochs', '1,200 steps')
    """
    return f"{number:{spec}} {unit}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """Format seconds for reading.

    >>> duration(59.94), duration(75), duration(7325)
    ('59.9 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def tail(text: str, most: int) -> str:
    """Shorten a qualified name from its start, since names differ at their ends.

    >>> tail("layers.0.block", 20), tail("backbone.layers.0.block", 14)
    ('layers.0.block', '…ayers.0.block')
    """
    return text if len(text) <= most else f"…{text[len(text) + 1 - most :]}"


class _Shown(reprlib.Repr):
    """Cuts long texts and collections."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 12

    def repr_int(self, x: int, level: int) -> str:
        # The decimal digits of a huge number take too long, and Python may refuse to write them.
        return f"{x:#x}"[:16] + "..." if x.bit_length() > 256 else super().repr_int(x, level)


def shown(value: object) -> str:
    """Format a value for an error: its `repr`, cut if it is long.

    >>> shown([1.5, "b"]), len(shown("a" * 1000)), shown(10**100)
    ("[1.5, 'b']", 80, '0x1249ad2594c37c...')
    """
    return _SHOWN.repr(value)


_SHOWN = _Shown()


def listed(names: Iterable[object], most: int = 8) -> str:
    """List names for an error; of many, the first ones and the number of the others.

    >>> listed("abc"), listed(range(5), most=3)
    ('a, b, c', '0, 1, 2 and 2 more')
    """
    given = [str(name) for name in names]
    more = len(given) - most
    return ", ".join(given[:most]) + (f" and {more} more" if more > 0 else "")


def node_name(node: int, first: int) -> str:
    """Name a node as the plots do: convolutional cells count intermediate nodes from 0 (paper, figure 4).

    >>> node_name(0, 2), node_name(2, 2), node_name(0, 1), node_name(1, 1)
    ('c_{k-2}', '0', 's_0', '1')
    """
    if first == 1:  # the initial state, computed from x_t and h_{t-1} (paper, figure 6)
        return "s_0" if node == 0 else str(node)
    return ("c_{k-2}", "c_{k-1}")[node] if node < first else str(node - first)


def edge_in_words(edge: tuple[int, int], first: int) -> str:
    """Format an edge for running text.

    >>> edge_in_words((0, 2), 2), edge_in_words((0, 1), 1)
    ('cₖ₋₂ → 0', 's₀ → 1')
    """
    return " → ".join(_in_words(node_name(node, first)) for node in edge)


def _in_words(name: str) -> str:
    letter, _, index = name.partition("_")
    return letter + index.strip("{}").translate(_LOWERED)
