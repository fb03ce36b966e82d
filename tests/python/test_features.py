"""The features of the crate: what it depends on without tensors, and without Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")


def dependencies(*options: str) -> set[str]:
    """Names of all crates that are linked in under these options."""
    command = ["cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    names = {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    assert {"pydarts", "ndarray", "serde"} <= names
    return names


def starting_with(prefix: str, names: set[str]) -> set[str]:
    return {name for name in names if name.startswith(prefix)}


def test_the_crate_without_features_needs_neither_libtorch_nor_python() -> None:
    names = dependencies("--no-default-features")
    assert not names & {"tch", "torch-sys", "numpy"}
    assert not starting_with("pyo3", names)


def test_the_torch_feature_needs_no_python() -> None:
    names = dependencies("--no-default-features", "--features", "torch")
    assert {"tch", "torch-sys"} <= names
    assert "numpy" not in names
    assert not starting_with("pyo3", names)


def test_the_python_feature_needs_libtorch_and_python() -> None:
    assert {"tch", "torch-sys", "pyo3", "numpy"} <= dependencies(
        "--no-default-features", "--features", "python"
    )
