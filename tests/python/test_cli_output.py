"""The output of the command line, and of the live view, on streams that are not UTF-8."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from commands import PATIENCE
from conftest import make_arrays, make_config
from hypothesis import given
from hypothesis import strategies as st
from pydarts import LiveView, search
from pydarts_cli.answer import Answer, quoted
from pydarts_cli.output import is_utf8, never_fail, spelled
from rich.console import Console
from rich.table import Table

ENCODINGS = ("ascii", "latin-1", "cp1252")


@given(st.text())
def test_any_text_can_be_spelled_in_ascii(text: str) -> None:
    assert spelled(text).isascii()
    assert not text.isascii() or spelled(text) == text


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "command", ["--help", "search --help", pytest.param("doctor", marks=pytest.mark.long)]
)
def test_a_command_answers_in_any_encoding(command: str, encoding: str) -> None:
    code = f"import sys\nsys.argv = ['pydarts', *{command.split()}]\nfrom pydarts_cli import main\nmain()"
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding)
    assert b"UnicodeEncodeError" not in done.stderr


@pytest.mark.parametrize("name", ["ü run", "α", "it's \\ 中", "plain", "a b", "a\udce9"])
def test_a_path_in_ascii_is_that_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stderr", out)
    command = quoted(Path(name))
    assert command.isascii()
    read = subprocess.run(["bash", "-c", f"printf %s {command}"], capture_output=True, check=True).stdout
    assert read == os.fsencode(name)
    never_fail()
    Answer({}, [Path(name)]).show(out, as_json=False)
    print(f"saved to {name}", file=out)
    out.flush()
    printed, message = out.buffer.getvalue().decode("ascii").splitlines()  # type: ignore[attr-defined]
    escaped = name.encode("ascii", "backslashreplace").decode()
    assert printed == escaped
    assert message in (f"saved to {escaped}", f"saved to {escaped}".replace("\\u03b1", "alpha"))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("errors", ["strict", "surrogateescape", "backslashreplace"])
def test_text_tables_and_json_are_printed_in_any_encoding(
    encoding: str, errors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    monkeypatch.setattr(sys, "stdout", out)
    never_fail()
    assert not is_utf8(out)
    table = Table("α → entropy")
    table.add_row("± 0.3 中 \udce9")
    Answer({}, ["97.2% ± –", table]).show(out, as_json=False)
    at = out.tell()
    Answer({"name": "α 中"}).show(out, as_json=True)
    out.flush()
    printed = out.buffer.getvalue()  # type: ignore[attr-defined]
    assert b"alpha -> entropy" in printed
    assert json.loads(printed[at:]) == {"name": "α 中"}


def test_an_encoding_that_can_write_everything_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdout", out)
    never_fail()
    Answer({}, ["α \udce9"]).show(out, as_json=False)
    out.flush()
    assert out.buffer.getvalue() == "α ".encode() + b"\xe9\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_live_view_is_shown_in_ascii(terminal: bool) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=out, force_terminal=terminal, width=100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(make_arrays(), make_config(), LiveView(console=console))
    out.flush()
    assert b"Genotype(" in out.buffer.getvalue()  # type: ignore[attr-defined]
