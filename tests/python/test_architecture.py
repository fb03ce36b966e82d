"""The pages about the code base name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / "architecture.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|python|tests|benches|experiments|notebooks|examples|docs)/[\w./]*)`", text)
    assert page.stem in ("runs", "interfaces") or named
    assert not [name for name in named if not (ROOT / name).exists()]
