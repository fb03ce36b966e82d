"""Tables of options in docstrings."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence


def table(rows: Sequence[tuple[str, str, str]], indent: str = "    ", width: int = 110) -> str:
    """Format a head and rows of three columns as a reStructuredText table.

    >>> print(table([("field", "default", "meaning"), ("epochs", "50", "passes")]).splitlines()[3])
        epochs  50       passes
    """
    names, defaults = (max(len(row[column]) for row in rows) + 2 for column in (0, 1))
    rest = width - len(indent) - names - defaults
    rule = f"{'=' * (names - 2)}  {'=' * (defaults - 2)}  {'=' * rest}"
    lines = []
    for name, default, meaning in rows:
        first, *more = textwrap.wrap(meaning, rest)
        lines.append(f"{name:{names}}{default:{defaults}}{first}")
        lines += [f"{'':{names + defaults}}{line}" for line in more]
    return "\n".join(indent + line for line in [rule, lines[0], rule, *lines[1:], rule])
