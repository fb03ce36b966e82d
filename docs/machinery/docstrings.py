"""Docstrings on the site: examples as sections, tables as Markdown, and the table of the fields."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import griffe

# A simple table of reStructuredText, which `help()` shows well: rule, head, rule, rows, rule.
_TABLE = re.compile(r"^(=+(?: +=+)+)\n(.*)\n\1\n((?:.*\n)*?)\1$", re.MULTILINE)
_EXAMPLES = re.compile(r"\n\n(?=>>> )")


class Docstrings(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for everything that was loaded."""
        if obj.docstring is not None:
            text = obj.docstring.value
            if "{fields}" in text and isinstance(obj.filepath, Path):
                text = text.replace("{fields}", _fields(obj.filepath.with_name("fields.py")))
            obj.docstring.value = rewritten(text)


def _fields(path: Path) -> str:
    """The table of fields of a configuration, from the module at this path."""
    spec = spec_from_file_location("fields", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.table(indent=""))


def rewritten(text: str) -> str:
    """A docstring as the parser of Google's style and Markdown read it.

    >>> print(rewritten("A sum.\\n\\n>>> 1 + 1\\n2"))
    A sum.
    <BLANKLINE>
    Examples:
        >>> 1 + 1
        2
    """
    text = _TABLE.sub(_table, text)
    said, *examples = _EXAMPLES.split(text, maxsplit=1)
    if not examples:
        return text
    indented = "\n".join(f"    {line}".rstrip() for line in examples[0].split("\n"))
    return f"{said}\n\nExamples:\n{indented}"


def _table(match: re.Match[str]) -> str:
    starts = [column.start() for column in re.finditer("=+", match[1])]
    head, *rows = [
        [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
        for line in [match[2], *match[3].splitlines()]
    ]
    whole: list[list[str]] = []
    for row in rows:
        if row[0]:
            whole.append(row)
        else:  # goes on with the row above
            whole[-1] = [f"{above} {below}".strip() for above, below in zip(whole[-1], row, strict=True)]
    lines = [head, ["---"] * len(head)]
    lines += [[*(f"`{cell}`" for cell in row[:-1]), row[-1]] for row in whole]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
