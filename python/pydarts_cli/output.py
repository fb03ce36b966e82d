"""Output to streams that are not UTF-8: what they cannot encode is written in ASCII."""

from __future__ import annotations

import codecs
import io
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
    """Spell a text in ASCII; characters without a spelling become "?".

    >>> spelled("α: cₖ₋₂ → 0, 1.5 ± 0.1 …"), spelled("é 中")
    ('alpha: ck-2 -> 0, 1.5 +/- 0.1 ...', 'e ?')
    """
    plain = "".join(_SPELLED.get(letter, letter) for letter in text)
    letters = (letter for letter in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() else _SPELLED.get(letter, "?") for letter in letters)


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
