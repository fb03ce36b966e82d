"""Limits on the size of files, functions and folders."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("python/pydarts", "python/pydarts_cli")
BUILT = {"__pycache__", ".so", ".pyd"}


def sources(*folders: str) -> Iterator[Path]:
    """The Rust and Python files of folders."""
    for folder in folders:
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in (".rs", ".py", ".pyi"))


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def entries(folder: str) -> list[str]:
    """The entries of a folder that are not built."""
    return [path.name for path in (ROOT / folder).iterdir() if not {path.name, path.suffix} & BUILT]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function from `def` to its end, without its docstring."""
    assert function.end_lineno is not None
    total = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is None:
        return total
    docstring = function.body[0]
    assert docstring.end_lineno is not None
    return total - (docstring.end_lineno - docstring.lineno + 1)


def test_no_function_is_longer_than_80_lines() -> None:
    found = [
        (length(node), f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}")
        for path in sources(*PACKAGES)
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert found
    assert not [entry for entry in found if entry[0] > 80]


def test_no_file_is_longer_than_400_lines() -> None:
    found = {str(path.relative_to(ROOT)): lines(path) for path in sources("src", *PACKAGES)}
    assert not {name: count for name, count in found.items() if count > 400}


def test_folders_have_few_entries() -> None:
    assert len(entries("python/pydarts")) <= 20, sorted(entries("python/pydarts"))
    assert len(entries("src/nn")) <= 8, sorted(entries("src/nn"))


def test_engine_and_python_api_have_at_most_65_000_lines() -> None:
    assert sum(lines(path) for path in sources("src", "python/pydarts")) <= 65_000
