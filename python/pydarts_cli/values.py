"""Text of the command line as the value of a field."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer


@dataclass(frozen=True)
class Kind:
    """What a field may be, as its annotation says."""

    names: tuple[str, ...] = ()
    """Names to choose from."""
    flag: bool = False
    whole: bool = False
    real: bool = False
    text: bool = False
    items: Kind | None = None
    """Of several, parted by commas."""
    none: bool = False

    def read(self, value: Any) -> Any:
        """The value of a text; what a file says in other types is left to the configuration to check.

        Raises:
            typer.BadParameter: it is none of what the field may be.

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
        raise typer.BadParameter(f"{text!r} is not {self.expected}")

    @property
    def expected(self) -> str:
        """In words.

        >>> Kind(names=("auto",), whole=True).expected
        'auto or a whole number'
        """
        words = list(self.names)
        words += ["a whole number"] * self.whole + ["a number"] * self.real + ["a text"] * self.text
        if self.items is not None:
            words.append(f"several, parted by commas, each {self.items.expected}")
        words += ["none"] * self.none
        return " or ".join(words)

    @property
    def metavar(self) -> str:
        """As help shows it.

        >>> Kind(whole=True, items=Kind(whole=True)).metavar
        'INT|INT,...'
        """
        words = list(self.names) + ["INT"] * self.whole + ["FLOAT"] * self.real + ["TEXT"] * self.text
        return "|".join(words + ([f"{self.items.metavar},..."] if self.items is not None else []))


def kind_of(annotation: ast.expr, aliases: Mapping[str, ast.expr]) -> Kind:
    """The kind that an annotation stands for.

    >>> kind_of(ast.parse("int | Literal['auto'] | None", mode="eval").body, {})
    Kind(names=('auto',), flag=False, whole=True, real=False, text=False, items=None, none=True)
    """
    found: dict[str, Any] = {}
    for part in _alternatives(annotation, aliases):
        text = ast.unparse(part)
        if text in _PLAIN:
            found[_PLAIN[text]] = True
        elif isinstance(part, ast.Subscript) and ast.unparse(part.value) == "Literal":
            names = part.slice.elts if isinstance(part.slice, ast.Tuple) else [part.slice]
            found["names"] = tuple(str(ast.literal_eval(name)) for name in names)
        elif isinstance(part, ast.Subscript) and ast.unparse(part.value) == "Sequence":
            found["items"] = kind_of(part.slice, aliases)
        else:  # a Space, a device, a path: what a text can say of it
            found["text"] = True
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
