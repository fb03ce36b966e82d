"""Helpers of the tests of the command line: run a command and read its output."""

from __future__ import annotations

import json
from typing import Any

import pydarts
from pydarts_cli.app import app
from typer.testing import CliRunner

PATIENCE = 120.0  # seconds for a process on a busy machine
COMMANDS = (
    "search",
    "train",
    "compare",
    "plot",
    "report",
    "derive",
    "cost",
    "explain",
    "export",
    "doctor",
    "conformance",
)
V2 = pydarts.genotypes.DARTS_V2


def words(text: str) -> list[str]:
    return text.split()


# The configuration of `make_config` as options.
TINY = words(
    "--channels 2 --layers 3 --nodes 2 --operations none,skip_connect,sep_conv_3x3 --epochs 2 --batch-size 8 "
    "--device cpu"
)
NARROW = words("--channels 2 --layers 3")


class Outcome:
    """The exit code and the two outputs of a command."""

    def __init__(self, *arguments: object) -> None:
        given = [str(argument) for argument in arguments]
        done = CliRunner().invoke(app, given, env={"COLUMNS": "200"}, prog_name="pydarts")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        self.code, self.out, self.err = done.exit_code, done.stdout, done.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def answered(*arguments: object) -> Outcome:
    """Run a command that must succeed."""
    outcome = Outcome(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def refused(code: int, *arguments: object) -> str:
    """Run a command that must fail with this exit code, and return its error message in one line."""
    outcome = Outcome(*arguments)
    assert outcome.code == code, outcome.out + outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    return " ".join(outcome.err.replace("│", " ").split())
