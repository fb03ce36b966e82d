"""The fields that become options, read from the source of pydarts: names, types, defaults and meanings.

The package is not imported, because that loads PyTorch. `tests/python/test_cli_fields.py` compares these
fields with those of the imported package.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from inspect import cleandoc
from pathlib import Path
from types import ModuleType

from .values import Kind, kind_of


@dataclass(frozen=True)
class Field:
    """One choice."""

    name: str
    kind: Kind
    default: str | None
    """As text; None where it is left open."""
    meaning: str


@lru_cache(maxsize=1)
def search_fields() -> tuple[Field, ...]:
    """The fields of a `SearchConfig`."""
    source = _Source("_values/fields.py")
    return tuple(
        Field(
            row.name,
            kind_of(ast.parse(row.accepts or row.type, mode="eval").body, source.aliases),
            _shown(row.default),
            row.meaning,
        )
        for row in source.run().FIELDS
    )


@lru_cache(maxsize=1)
def train_fields() -> tuple[Field, ...]:
    """The fields of a `TrainConfig`; where images and words differ, both are told."""
    source = _Source("_train/config.py")
    aliases = _Source("_values/fields.py").aliases | source.aliases
    rows: dict[str, tuple[str | None, str]] = {}
    for name, (default, meaning) in _rows(source.doc("TrainConfig")):
        if name in rows:
            first, told = rows[name]
            rows[name] = (first, f"{told}. Language model: {default}, {meaning}")
        else:
            rows[name] = (default, meaning)
    return tuple(
        Field(name, kind, *rows.get(name, (None, "")))
        for name, kind in source.annotations("TrainConfig", aliases)
    )


@lru_cache(maxsize=1)
def network_fields() -> tuple[Field, ...]:
    """The arguments of `build`: those of a network of images, then those of a language model."""
    return (
        *_Source("nn/_convolutional.py").arguments("ConvolutionalNetwork"),
        *_Source("nn/_language.py").arguments("LanguageModel"),
    )


class _Source:
    """A module of pydarts as text."""

    def __init__(self, path: str) -> None:
        found = find_spec("pydarts")  # finds the package without running it
        if found is None or found.origin is None:
            raise ImportError("the package pydarts is not installed")
        self._path = Path(found.origin).parent / path
        self._body = ast.parse(self._path.read_text(encoding="utf-8")).body

    def run(self) -> ModuleType:
        """The module, executed without its package."""
        spec = spec_from_file_location(self._path.stem, self._path)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    @property
    def aliases(self) -> dict[str, ast.expr]:
        """Names of types that the module defines."""
        return {
            node.target.id: node.value
            for node in self._body
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.value is not None
            and ast.unparse(node.annotation) == "TypeAlias"
        }

    def _class(self, name: str) -> ast.ClassDef:
        return next(node for node in self._body if isinstance(node, ast.ClassDef) and node.name == name)

    def doc(self, name: str) -> str:
        """The docstring of a class."""
        return ast.get_docstring(self._class(name)) or ""

    def annotations(self, name: str, aliases: dict[str, ast.expr]) -> Iterator[tuple[str, Kind]]:
        """The annotated attributes of a class, those of the class itself apart."""
        for node in self._class(name).body:
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            if not ast.unparse(node.annotation).startswith("ClassVar"):
                yield node.target.id, kind_of(node.annotation, aliases)

    def arguments(self, name: str) -> Iterator[Field]:
        """The keyword-only arguments of a class, told of in the section "Args" of its docstring."""
        meanings = dict(_arguments(self.doc(name)))
        (init,) = (
            node
            for node in self._class(name).body
            if isinstance(node, ast.FunctionDef) and node.name == "__init__"
        )
        for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
            assert argument.annotation is not None
            shown = None if default is None else _shown(ast.unparse(default))
            kind = kind_of(argument.annotation, self.aliases)
            yield Field(argument.arg, kind, shown, meanings[argument.arg])


def _rows(doc: str) -> Iterator[tuple[str, tuple[str | None, str]]]:
    """Name, default and meaning from the tables of a docstring: field, default or value, meaning."""
    borders, starts = 0, [0, 0, 0]
    name, default, meaning = "", "", ""
    for line in cleandoc(doc).splitlines():
        if re.fullmatch(r"(=+ +){2}=+", line):
            borders += 1
            starts = [found.start() for found in re.finditer("=+", line)]
            if borders % 3 == 0:
                yield from _row(name, default, meaning)
                name = ""
        elif borders % 3 == 2:
            first = line[: starts[1]].strip()
            if first:
                yield from _row(name, default, meaning)
                name, default, meaning = first, line[starts[1] : starts[2]].strip(), line[starts[2] :].strip()
            else:
                meaning += f" {line.strip()}"


def _row(names: str, default: str, meaning: str) -> Iterator[tuple[str, tuple[str | None, str]]]:
    for name in filter(None, names.split(", ")):
        yield name, (_shown(default), meaning)


def _shown(default: str) -> str | None:
    """A default as it would be typed.

    >>> _shown("(0.5, 0.999)"), _shown('"none"'), _shown("3e-4"), _shown("None")
    ('0.5,0.999', 'none', '3e-4', None)
    """
    value = ast.literal_eval(default)
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return None if value is None else value if isinstance(value, str) else default


def _arguments(doc: str) -> Iterator[tuple[str, str]]:
    """Names and meanings of the section "Args"."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", doc, re.MULTILINE | re.DOTALL)
    assert section is not None
    for entry in re.split(r"^    (?=\w)", section[1], flags=re.MULTILINE)[1:]:
        name, _, meaning = entry.partition(":")
        yield name, " ".join(meaning.split())
