"""Pages with code: their blocks, and how these are run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# ```python title="Needs a GPU"
_FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str
    """Shown above the block; one that begins with "Needs" says why the block does not run everywhere."""
    code: str
    line: int

    @property
    def runs(self) -> bool:
        return self.language == "python" and not self.title.startswith("Needs")


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(match[1], match[2] or "", match[3], text.count("\n", 0, match.start()) + 2)
        for match in _FENCE.finditer(text)
    ]
    assert 2 * len(found) == len(re.findall("^```", text, re.MULTILINE)), (
        f"a fence of {page} is not understood"
    )
    return found


def run(page: Path) -> None:
    """Run a page's Python blocks one after the other in one scope, in the current folder."""
    scope: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page):
        if block.runs:  # errors name the page's own lines
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), scope)
