"""Equations become MathML when the site is built: to read them takes no script, no font and no network."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

# What pymdownx.arithmatex leaves of $...$ and $$...$$.
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)

# The one common command that the converter lacks.
_ARG = re.compile(r"\\arg(?![a-zA-Z])")

# A prime is raised by its own shape; raised again it is too small to see in most fonts.
_PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>(&#x0203[2-4];)</mi></msup>")


def on_page_content(content: str, **_: Any) -> str:
    """The page with its equations as MathML."""
    return _EQUATION.sub(_mathml, content)


def _mathml(match: re.Match[str]) -> str:
    latex = _ARG.sub(r"\\operatorname{arg}", html.unescape(match[3]).strip())
    block = match[2] == "["
    written: str = convert(latex, display="block" if block else "inline")
    written = _PRIME.sub(r'<mrow>\1<mo lspace="0" rspace="0">\2</mo></mrow>', written)
    if "\\" in written:  # what the converter does not know, it hands on
        raise PluginError(f"this equation has a command that cannot be written in MathML: {latex}")
    return f'<div class="equation">{written}</div>' if block else written
