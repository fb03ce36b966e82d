"""Counts, durations and edges formatted for people."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from typing import NamedTuple

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


class NodeNames(NamedTuple):
    """The names of the nodes of a cell wherever a person reads them; numbers are those of `space.edges`.

    >>> cell = NodeNames(inputs=2)
    >>> cell.name(0), cell.name(2), cell.output, cell.edge((0, 2))
    ('c_{k-2}', '2', 'c_{k}', 'cₖ₋₂ → 2')
    >>> cell = NodeNames(inputs=1, recurrent=True)
    >>> cell.name(0), cell.name(1), cell.output, cell.edge((0, 1))
    ('s_0', '1', 'h_{t}', 's₀ → 1')
    """

    inputs: int
    """The number of inputs, which is also the number of the first intermediate node."""
    recurrent: bool = False

    def name(self, node: int) -> str:
        """Return the name of a node, as mathtext."""
        if node >= self.inputs:
            return str(node)
        # s_0 is computed from x_t and h_{t-1} (paper, figure 6).
        return "s_0" if self.recurrent else ("c_{k-2}", "c_{k-1}")[node - self.inputs + 2]

    @property
    def output(self) -> str:
        """The name of the output, as mathtext."""
        return "h_{t}" if self.recurrent else "c_{k}"

    @property
    def before(self) -> tuple[str, ...]:
        """What the first node of a recurrent cell is computed from, as mathtext."""
        return ("x_{t}", "h_{t-1}") if self.recurrent else ()

    def edge(self, edge: tuple[int, int]) -> str:
        """Format an edge for running text."""
        return " → ".join(_in_words(self.name(node)) for node in edge)


def _in_words(name: str) -> str:
    letter, _, index = name.partition("_")
    return letter + index.strip("{}").translate(_LOWERED)
