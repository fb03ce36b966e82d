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
    """Shown above the block. "Needs …" says why the block does not run everywhere, "Measured …" that the page
    does not print it."""
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


_NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?")
_CELL = re.compile(r"\('\w+', \d\)")


def disagreement(shown: str, printed: str, points: float) -> str | None:
    """The first shown line that was not printed; None if all were, in order, or if the text was as it stands.

    A search amplifies the last bits, in which processors differ: percentages may differ by `points`, in such
    lines other numbers (times, weights) freely, and the edges of genotypes too. A line is compared up to "…".
    """
    rest = " ".join(printed.split())
    for part in re.split("…|\n", shown):
        _, found, rest = rest.partition(" ".join(part.split())) if part.strip() else ("", "-", rest)
        if not found:
            break
    else:
        return None
    lines = iter(_CELL.sub("(op, node)", printed).splitlines())
    for line in shown.splitlines():
        wanted = " ".join(_CELL.sub("(op, node)", line).split())
        if wanted and not any(_agrees(wanted, " ".join(found.split()), points) for found in lines):
            return line
    return None


def _agrees(wanted: str, found: str, points: float) -> bool:
    wanted, cut, _ = wanted.partition("…")
    if "%" not in wanted:
        return found.startswith(wanted) if cut else found == wanted
    pieces, others = _NUMBER.split(wanted), _NUMBER.split(found)
    same = pieces[:-1] == others[: len(pieces) - 1] and others[len(pieces) - 1 :]
    if not same or not (same[0].startswith(pieces[-1]) if cut else same == [pieces[-1]]):
        return False
    numbers = zip(_NUMBER.finditer(wanted), _NUMBER.finditer(found), strict=False)
    percentages = [(one[0], other[0]) for one, other in numbers if wanted[one.end() :].startswith("%")]
    return all(abs(float(one) - float(other)) <= points for one, other in percentages)


def run(page: Path) -> None:
    """Run a page's Python blocks one after the other in one scope, in the current folder."""
    scope: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page):
        if block.runs:  # errors name the page's own lines
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), scope)
