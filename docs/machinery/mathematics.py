"""Equations become MathML when the site is built: to read them takes no script, no font and no network."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

# What pymdownx.arithmatex leaves of $...$ and $$...$$.
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """The page with its equations as MathML."""
    return _EQUATION.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    latex = html.unescape(match[3]).strip()
    written: str = convert(latex, display="inline" if match[2] == "(" else "block")
    if "\\" in written:  # what the converter does not know, it hands on
        raise PluginError(f"this equation has a command that cannot be written in MathML: {latex}")
    return written
