"""Conversion of command-line text to the values of fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from . import variants

NONE: Mapping[str, tuple[str, ...]] = {}


@dataclass(frozen=True)
class Kind:
    """The values that the annotation of a field allows."""

    names: tuple[str, ...] = ()
    """The names in a `Literal`."""
    flag: bool = False
    whole: bool = False
    real: bool = False
    text: bool = False
    scheduled: bool = False
    """Whether numbers may be schedules, such as `10:0.1`."""
    variants: tuple[str, ...] = ()
    """The names of variants, which may have fields in parentheses."""
    items: Kind | None = None
    """The kind of each item in a list separated by commas."""
    none: bool = False

    def read(self, value: Any) -> Any:
        """Convert text to a value. The configuration checks values of other types, which come from files.

        Raises:
            typer.BadParameter: the field does not allow the value.

        >>> Kind(whole=True, items=Kind(whole=True)).read("32,48")
        (32, 48)
        >>> Kind(real=True).read("3e-4")
        0.0003
        """
        if not isinstance(value, str):
            return value
        text = value.strip()
        if text in self.names:
            return text
        if self.none and text.lower() == "none":
            return None
        if self.items is not None and text == "[]":
            return ()
        if self.variants:
            return variants.read(text) if self.items is None else variants.read_several(text)
        if self.scheduled and not self.variants:
            return variants.number("the value", text)
        for allowed, kind in ((self.whole, int), (self.real, float)):
            if allowed:
                try:
                    return kind(text)
                except ValueError:
                    pass
        if self.items is not None and ("," in text or not self.text):
            parts = [part for part in text.split(",") if part.strip()]
            if parts:
                return tuple(self.items.read(part) for part in parts)
        if self.text:
            return text
        raise typer.BadParameter(f"expected {self.expected}, got {text!r}")

    @property
    def expected(self) -> str:
        """The allowed values in words.

        >>> Kind(names=("auto",), whole=True).expected
        'auto or an integer'
        """
        words = [*self.names, *self.variants]
        words += ["an integer"] * self.whole + ["a number"] * self.real + ["text"] * self.text
        words += ["a schedule such as 10:0.1"] * self.scheduled
        if self.items is not None and self.variants:
            words.append("several of these, separated by commas")
        elif self.items is not None:
            words.append(f"a list, separated by commas, where each item is {self.items.expected}")
        words += ["none"] * self.none
        return " or ".join(words)

    @property
    def metavar(self) -> str:
        """The allowed values as shown in help.

        >>> Kind(whole=True, items=Kind(whole=True)).metavar
        'INT|INT,...'
        """
        words = (
            [*self.names, *self.variants]
            + ["INT"] * self.whole
            + ["FLOAT"] * self.real
            + ["FLOAT:FLOAT"] * self.scheduled
            + ["TEXT"] * self.text
        )
        if self.items is not None and not self.variants:
            words.append(f"{self.items.metavar},...")
        return "|".join(words) + ",..." * (self.items is not None and bool(self.variants))


def kind_of(
    annotation: ast.expr, aliases: Mapping[str, ast.expr], known: Mapping[str, tuple[str, ...]] = NONE
) -> Kind:
    """Return the kind of an annotation; `known` maps classes of variants to their names.

    >>> kind = kind_of(ast.parse("int | Literal['auto'] | None", mode="eval").body, {})
    >>> kind == Kind(names=("auto",), whole=True, none=True)
    True
    """
    found: dict[str, Any] = {}
    for part in _alternatives(annotation, aliases):
        text = ast.unparse(part)
        if text == "Schedule":
            found["scheduled"] = True
        elif text in known:
            found["variants"] = known[text]
        elif text in _PLAIN:
            found[_PLAIN[text]] = True
        elif isinstance(part, ast.Subscript) and ast.unparse(part.value) == "Literal":
            names = part.slice.elts if isinstance(part.slice, ast.Tuple) else [part.slice]
            found["names"] = tuple(str(ast.literal_eval(name)) for name in names)
        elif isinstance(part, ast.Subscript) and ast.unparse(part.value) == "Sequence":
            found["items"] = kind_of(part.slice, aliases, known)
        else:  # a Space, a device or a path, given as text
            found["text"] = True
    if "variants" in found or "scheduled" in found:
        found.pop("text", None)  # the name
    return Kind(**found)


_PLAIN = {"int": "whole", "float": "real", "str": "text", "bool": "flag", "None": "none"}


def _alternatives(annotation: ast.expr, aliases: Mapping[str, ast.expr]) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.BinOp):
        yield from _alternatives(annotation.left, aliases)
        yield from _alternatives(annotation.right, aliases)
    elif isinstance(annotation, ast.Name) and annotation.id in aliases:
        yield from _alternatives(aliases[annotation.id], aliases)
    else:
        yield annotation
