"""Output to streams that are not UTF-8: characters that they cannot encode are written in ASCII."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from typing import TextIO

_NAME = "pydarts.ascii"
_SPELLED = {
    "α": "alpha",
    "→": "->",
    "−": "-",
    "–": "-",
    "—": "-",
    "±": "+/-",
    "×": "x",
    "•": "*",
    "·": ".",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
}


def spelled(text: str) -> str:
    """Spell the symbols of a text in ASCII; other characters, such as letters of names, become escapes.

    >>> spelled("α: cₖ₋₂ → 0, 1.5 ± 0.1 …"), spelled("é 中")
    ('alpha: ck-2 -> 0, 1.5 +/- 0.1 ...', '\\\\xe9 \\\\u4e2d')
    """
    return "".join(map(_spelled, text))


def _spelled(letter: str) -> str:
    if letter.isascii() or letter in _SPELLED:
        return _SPELLED.get(letter, letter)
    # Subscripts and the like become plain characters; a name without its accents would be another name.
    plain = unicodedata.normalize("NFKD", letter)
    plain = "".join(_SPELLED.get(part, part) for part in plain)
    if plain.isascii() and unicodedata.category(letter) not in ("Ll", "Lu", "Lo"):
        return plain
    return letter.encode("ascii", "backslashreplace").decode()


def fits(text: str, stream: TextIO) -> bool:
    """Return whether a stream can write a text as it is."""
    if is_utf8(stream):
        return True
    try:
        text.encode(stream.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def path_text(path: os.PathLike[str] | str, stream: TextIO) -> str:
    """Return a path with escapes if the stream cannot write it, also for symbols that have a spelling.

    >>> path_text("α/ü", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    '\\\\u03b1/\\\\xfc'
    """
    text = os.fspath(path)
    return text if fits(text, stream) else text.encode("ascii", "backslashreplace").decode()


def is_utf8(stream: TextIO) -> bool:
    """Return whether a stream can encode every character; a stream without an encoding can."""
    name = getattr(stream, "encoding", None)
    try:
        return name is None or codecs.lookup(name).name.startswith("utf")
    except LookupError:
        return False


def never_fail() -> None:
    """Make both standard streams spell what they cannot encode, which would otherwise end a command."""
    codecs.register_error(_NAME, _replacement)
    for stream in (sys.stdout, sys.stderr):
        # With "surrogateescape", UTF-8 keeps any file name. Other handlers are the user's choice.
        kept = ("surrogateescape",) if is_utf8(stream) else ()
        if isinstance(stream, io.TextIOWrapper) and stream.errors in {
            "strict",
            "backslashreplace",
            "surrogateescape",
        } - {*kept}:
            stream.reconfigure(errors=_NAME)


def _replacement(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return spelled(error.object[error.start : error.end]), error.end
