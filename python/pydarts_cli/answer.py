"""The output of a command, as text or JSON, and its exit code."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from typer import Exit

from .output import fits, is_utf8, path_text

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def code_of(status: str) -> int:
    """Return the exit code for the status of a run.

    >>> code_of("complete"), code_of("interrupted"), code_of("failed")
    (0, 130, 1)
    """
    return {"complete": 0, "interrupted": INTERRUPTED}.get(status, FAILED)


class Problem(Exception):
    """An error that the user can fix; it is printed in one line, without a traceback."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Answer:
    """The outcome of a command."""

    data: Any
    """Plain data, printed with `--json`."""
    shown: Sequence[Any] = field(default=())
    """The parts printed without `--json`, in order: strings, paths, or objects that rich renders."""
    code: int = 0
    """The exit code."""

    def show(self, out: TextIO, as_json: bool) -> None:
        """Print the data to `out` if `as_json` is true, and the parts otherwise."""
        if as_json:
            plain = not is_utf8(out)
            print(json.dumps(strict(self.data), indent=2, allow_nan=False, ensure_ascii=plain), file=out)
            return
        for part in self.shown:
            if isinstance(part, (str, Path)):
                print(part if isinstance(part, str) else path_text(part, out), file=out)
            else:
                from rich.console import Console

                # A program that reads from a pipe needs rows that are not wrapped.
                Console(file=out, highlight=False, width=None if out.isatty() else 200).print(part)


def strict(value: Any) -> Any:
    """Return `value` as JSON can represent it: NaN and infinities become null.

    >>> strict({"loss": float("nan"), "sizes": (1, 2)})
    {'loss': None, 'sizes': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def meant(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that an unknown one may mean, as the library suggests them, the likeliest first.

    The list is empty if the library cannot be loaded: `pydarts doctor` finds out why.
    """
    try:
        from pydarts._core import suggestions
    except ImportError:
        return []
    return suggestions(name, list(known))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that an unknown one most likely means, or None.

    >>> nearest("digit", ["corpus", "digits"]), nearest("mnist", ["corpus", "digits"])
    ('digits', None)
    """
    return next(iter(meant(name, known)), None)


def quoted(path: Path) -> str:
    """Return a path as it is written in a shell, in ASCII if standard error cannot write it.

    >>> quoted(Path("run")), quoted(Path("my run"))
    ('run', "'my run'")
    """
    text = os.fspath(path)
    if fits(text, sys.stderr):
        return shlex.quote(text)
    # bash and zsh read this as the bytes of the name.
    return "$'" + repr(os.fsencode(text.replace("'", "\x00")))[2:-1].replace("\\x00", "\\'") + "'"


def cut(text: str, most: int = 200) -> str:
    """Shorten a text that is longer than `most` characters, in its middle.

    >>> cut("a.npz"), len(cut("a" * 1000))
    ('a.npz', 200)
    """
    return text if len(text) <= most else f"{text[: most // 2]}...{text[3 - most // 2 :]}"


def say(text: str) -> None:
    """Print a message to standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show `text` on standard error during a long operation, at a terminal and without `--json` only."""
    if (
        sys.stdout is sys.stderr or not sys.stderr.isatty()
    ):  # with --json, `perform` redirects stdout to stderr
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(text)):
        yield


def perform(work: Callable[[], Answer], *, as_json: bool, debug: bool) -> int:
    """Run a command, print its answer or its error, and return the exit code."""
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
    """Return the message of an error in one line; for an `OSError` the file comes first, cut if it is long.

    >>> in_a_line(FileNotFoundError(2, "No such file or directory", "a.npz"))
    'a.npz: No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        name = error.filename
        file = os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)
        return f"{cut(path_text(file, sys.stderr))}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _code(error: Exception) -> int | None:
    """Return the exit code of an error that is reported without a traceback, or None for any other error."""
    if isinstance(error, Problem):
        return error.code
    pydarts = sys.modules.get("pydarts")
    if pydarts is not None and isinstance(error, getattr(pydarts, "ConfigError", ())):
        return USAGE
    # A warning is an error with PYTHONWARNINGS=error.
    expected = (OSError, ImportError, Warning, getattr(pydarts, "Error", OSError))
    return FAILED if isinstance(error, expected) else None


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(f"warning: {message}")

    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # meant for authors of libraries
            warnings.simplefilter("ignore", category)
        warnings.showwarning = show
        yield
