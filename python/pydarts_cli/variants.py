"""Variants on the command line, such as `gumbel(temperature=10:0.1)`."""

from __future__ import annotations

import re
from typing import Any

import typer

_CALL = re.compile(r"([a-z]\w*)\s*(?:\((.*)\))?", re.DOTALL)


def read(text: str) -> dict[str, Any]:
    """Convert text to the plain data of a variant. The configuration checks names and values.

    `NAME` or `NAME(FIELD=VALUE, …)`; a value is a number, a schedule: `10:0.1` (linear), `cosine(10, 0.1)`
    or `exponential(10, 0.1)`, or text in quotation marks.

    Raises:
        typer.BadParameter: the text is not of this form.

    >>> read("softmax")
    {'name': 'softmax'}
    >>> read("gumbel(temperature=10:0.1)")
    {'name': 'gumbel', 'temperature': {'name': 'linear', 'start': 10.0, 'end': 0.1}}
    >>> read("threshold(value=0.8, k=3)")
    {'name': 'threshold', 'value': 0.8, 'k': 3}
    """
    name, arguments = _called(text)
    fields: dict[str, Any] = {"name": name}
    for argument in arguments:
        field, separator, value = argument.partition("=")
        field = field.strip()
        if not separator or not field.isidentifier():
            raise typer.BadParameter(
                f"expected FIELD=VALUE in {name}(…), got {argument!r}; for example gumbel(temperature=0.5)"
            )
        if field in fields:
            raise typer.BadParameter(f"{name} has the field {field!r} twice")
        fields[field] = number(field, value.strip())
    return fields


def read_several(text: str) -> tuple[dict[str, Any], ...]:
    """Convert text to the plain data of variants that are separated by commas.

    >>> read_several('entropy, zero_one(weight=1, form="l1")')
    ({'name': 'entropy'}, {'name': 'zero_one', 'weight': 1, 'form': 'l1'})
    >>> read_several("")
    ()
    """
    parts = _parts(text)
    return tuple(read(part) for part in ([text] if parts is None else parts))


def _called(text: str) -> tuple[str, list[str]]:
    """Return a name and the arguments in its parentheses."""
    found = _CALL.fullmatch(text.strip())
    parts = [] if found is None else _parts(found[2] or "")
    if found is None or parts is None:
        raise typer.BadParameter(f"expected NAME or NAME(FIELD=VALUE, …), got {text!r}")
    return found[1], parts


def _parts(text: str) -> list[str] | None:
    """Split at commas that are not in parentheses; None if parentheses are not balanced."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return None
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        return None
    return [] if not text.strip() else [part.strip() for part in parts]


def number(field: str, text: str) -> Any:
    """Convert the text of a number, of a schedule, or in quotation marks.

    >>> number("weight_decay", "3e-4:2.43e-2")
    {'name': 'linear', 'start': 0.0003, 'end': 0.0243}
    """
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    real = _number(text)
    if real is not None:
        return real
    kind, ends = "linear", text.split(":")
    if len(ends) == 1 and "(" in text:
        kind, ends = _called(text)
    numbers = [_number(end) for end in ends]
    if len(numbers) != 2 or None in numbers:
        raise typer.BadParameter(
            f"{field} is {text!r}; expected a number, a schedule such as 10:0.1 or cosine(10, 0.1), "
            "or text in quotation marks"
        )
    return {"name": kind, "start": numbers[0], "end": numbers[1]}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
