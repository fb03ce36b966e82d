"""What a command answers: for people, or as JSON; and how it fails."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TextIO

from typer import Exit

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def code_of(status: str) -> int:
    """The exit code of what came to an end, by its status.

    >>> code_of("complete"), code_of("interrupted"), code_of("failed")
    (0, 130, 1)
    """
    return {"complete": 0, "interrupted": INTERRUPTED}.get(status, FAILED)


class Problem(Exception):
    """Something that the user can mend: told in a line."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Answer:
    """The outcome of a command."""

    data: Any
    """Plain data, for JSON."""
    shown: Sequence[Any] = field(default=())
    """For people, one below the other: texts as they are, else what rich renders."""
    code: int = 0
    """Exit code."""

    def show(self, out: TextIO, as_json: bool) -> None:
        """Write to `out`."""
        if as_json:
            print(json.dumps(strict(self.data), indent=2, allow_nan=False, ensure_ascii=False), file=out)
            return
        for part in self.shown:
            if isinstance(part, str):
                print(part, file=out)
            else:
                from rich.console import Console

                # Whoever reads through a pipe wants whole rows.
                Console(file=out, highlight=False, width=None if out.isatty() else 200).print(part)


def strict(value: Any) -> Any:
    """`value` without what JSON has no word for: NaN and infinities are null.

    >>> strict({"loss": float("nan"), "sizes": (1, 2)})
    {'loss': None, 'sizes': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name that was probably meant; None where none is near.

    >>> nearest("digit", ["corpus", "digits"]), nearest("mnist", ["corpus", "digits"])
    ('digits', None)
    """
    found = get_close_matches(name, list(known), n=1)
    return found[0] if found else None


def say(text: str) -> None:
    """Tell something beside the answer: on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Say on standard error what takes a while, as long as it does: at a terminal, and not beside JSON."""
    if sys.stdout is sys.stderr or not sys.stderr.isatty():  # `perform` leads all to standard error for JSON
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(text)):
        yield


def perform(work: Callable[[], Answer], *, as_json: bool, debug: bool) -> int:
    """Do the work of a command, show what it answers or why it failed; returns the exit code."""
    out = sys.stdout
    try:
        with _warnings_in_a_line(), redirect_stdout(sys.stderr) if as_json else nullcontext():
            answer = work()
        answer.show(out, as_json)
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except (BrokenPipeError, Exit):
        raise
    except Exception as error:
        code = _code(error)
        if debug or code is None:
            raise
        say(f"error: {in_a_line(error)}")
        return code
    return answer.code


def in_a_line(error: BaseException) -> str:
    """The message of an error; of one of the system with the file first.

    >>> in_a_line(FileNotFoundError(2, "No such file or directory", "a.npz"))
    'a.npz: No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _code(error: Exception) -> int | None:
    """The exit code of an error that needs no traceback; None: it is not foreseen."""
    if isinstance(error, Problem):
        return error.code
    pydarts = sys.modules.get("pydarts")
    if pydarts is not None and isinstance(error, getattr(pydarts, "ConfigError", ())):
        return USAGE
    foreseen = (OSError, ImportError, getattr(pydarts, "Error", OSError))
    return FAILED if isinstance(error, foreseen) else None


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(f"warning: {message}")

    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # for those who write libraries
            warnings.simplefilter("ignore", category)
        warnings.showwarning = show
        yield
