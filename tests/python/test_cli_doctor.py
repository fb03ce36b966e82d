"""The command `doctor`: problems of an installation and how to fix them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from commands import PATIENCE, answered

pytestmark = pytest.mark.usefixtures("somewhere")


def test_doctor_finds_no_problem_in_this_installation() -> None:
    answer = answered("doctor", "--json").json
    states = {check["name"]: check["state"] for check in answer["checks"]}
    assert answer["healthy"] and "broken" not in states.values()
    assert {"Python", "PyTorch", "pydarts", "libtorch", "numpy", "devices", "search"} <= set(states)
    assert "broken" not in answered("doctor").out


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("sys.modules['torch'] = None", "pip install 'torch>=2.11,<2.12'"),
        ("sys.modules['pydarts._core'] = None", "in the clone: pip install --force-reinstall --no-deps ."),
    ],
    ids=["torch", "extension"],
)
def test_doctor_reports_broken_packages_and_how_to_fix_them(before: str, says: str) -> None:
    code = f"import os, sys\n{before}\nsys.argv = ['pydarts', 'doctor']\nfrom pydarts_cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1, done.stderr
    assert says in done.stdout and "broken" in done.stdout and "Traceback" not in done.stderr
