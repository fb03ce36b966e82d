"""Docstrings on the site: examples as sections, tables as Markdown, and the table of the fields."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import griffe

# A simple table of reStructuredText, which `help()` shows well: rule, head, rule, rows, rule.
_TABLE = re.compile(r"^(=+(?: +=+)+)\n(.*)\n\1\n((?:.*\n)*?)\1$", re.MULTILINE)
# The place of a table of fields, with the kind of network in the docstring of `TrainConfig`.
_FIELDS = re.compile(r"\{fields(?: (\w+))?\}")
_EXAMPLES = re.compile(r"\n\n(?=>>> )")


class Docstrings(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for everything that was loaded."""
        if obj.docstring is not None:
            text = obj.docstring.value
            if isinstance(obj.filepath, Path):
                folder = obj.filepath.parent
                text = _FIELDS.sub(lambda found: _fields(folder, *filter(None, found.groups())), text)
            obj.docstring.value = rewritten(text)


def _fields(folder: Path, *kind: str) -> str:
    """Return the table of fields of the configuration in this folder, for one kind of network if given."""
    layout = _module(folder.parent / "_values" / "columns.py")
    return str(layout.table(_module(folder / "fields.py").rows(*kind), indent=""))


def _module(path: Path) -> Any:
    spec = spec_from_file_location("fields", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
