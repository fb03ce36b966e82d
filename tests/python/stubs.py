"""Writes `_values/fields.pyi`, the types of a configuration's fields: `python tests/python/stubs.py`."""

import ast
from pathlib import Path

from pydarts._values import fields

PROPERTIES = (
    "space", "hypergradient", "relaxation", "selection", "stop", "auxiliary_skip", "perturbation",
    "arch_terms", "weight_decay", "drop_path", "skip_dropout",
)  # fmt: skip
PATH = Path(fields.__file__).with_suffix(".pyi")


def stub() -> str:
    """The text of the stub: the definitions of the module, and the types of keywords and attributes."""
    tree = ast.parse(Path(fields.__file__).read_text(encoding="utf-8"))
    aliases = [
        _wrapped(ast.unparse(node))
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) != "ConfigFields"
    ]
    lines = [
        "# Written by tests/python/stubs.py from the rows of fields.py.",
        "import os",
        "from collections.abc import Mapping, Sequence",
        "from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict",
        "",
        "import torch",
        "",
        "from .algorithms import Decider, Hypergradient, Schedule, Selection",
        "from .operation import Operation",
        "from .perturbations import Perturbation",
        "from .relaxations import Relaxation",
        "from .space import Space",
        "from .terms import Term",
        "",
        *aliases,
        "",
        "class ConfigFields(TypedDict, total=False):",
        *(f"    {field.name}: {field.accepts or field.type}" for field in fields.FIELDS),
        "",
        "class ConfigAttributes:",
        *(
            f"    @property\n    def {field.name}(self) -> {field.type}: ..."
            if field.name in PROPERTIES
            else f"    {field.name}: {field.type}"
            for field in fields.FIELDS
        ),
        "",
        "class Field(NamedTuple):",
        *(f"    {name}: str" for name in fields.Field._fields if name != "accepts"),
        "    accepts: str = ...",
        "",
        "FIELDS: tuple[Field, ...]",
        "",
        "def rows() -> list[tuple[str, str, str]]: ...",
        "def table(rows: Sequence[tuple[str, str, str]], indent: str = ..., width: int = ...) -> str: ...",
    ]
    return "\n".join(lines).replace("'", '"') + "\n"


def _wrapped(alias: str) -> str:
    """Return an alias as the formatter writes it: one item per line if it is too long for one."""
    if len(alias) <= 110:
        return alias
    head, items = alias.removesuffix("]").split("[", 1)
    return "\n".join([f"{head}[", *(f"    {item}," for item in items.split(", ")), "]"])


if __name__ == "__main__":
    PATH.write_text(stub(), encoding="utf-8")
