"""The fields that become options: names, types, defaults and meanings, read from the source of pydarts.

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
from pathlib import Path
from types import ModuleType

from .values import Kind, kind_of


@dataclass(frozen=True)
class Field:
    """A field that becomes an option."""

    name: str
    kind: Kind
    default: str | None
    """The default as text, or None if there is none."""
    meaning: str


@lru_cache(maxsize=1)
def search_fields() -> tuple[Field, ...]:
    """The fields of a `SearchConfig`."""
    source = _Source("_values/fields.py")
    variants: dict[str, tuple[str, ...]] = {}
    for name in ("algorithms", "relaxations", "perturbations", "terms"):
        variants |= _Source(f"_values/{name}.py").variants
    return tuple(
        Field(
            row.name,
            kind_of(ast.parse(row.accepts or row.type, mode="eval").body, source.aliases, variants),
            _shown(row.default),
            row.meaning,
        )
        for row in source.run().FIELDS
        if row.name != "algorithm"  # --preset sets it
    )


@lru_cache(maxsize=1)
def train_fields() -> tuple[Field, ...]:
    """The fields of a `TrainConfig`. The meaning includes the values for images and text if both have one."""
    source = _Source("_train/fields.py")
    table = source.run()
    aliases = _Source("_values/fields.py").aliases | source.aliases
    kinds = _Source("_train/config.py").annotations("TrainConfig", aliases)
    found = []
    for row in (*table.NETWORK_FIELDS, *table.MODULE_FIELDS, *table.RUN_FIELDS):
        value, meaning = row.value or row.text_value, row.meaning or row.text_meaning
        if row.value and row.text_value:
            meaning += f". Language model: {_shown(row.text_value)}, {row.text_meaning}"
        found.append(Field(row.name, kinds[row.name], _shown(value), meaning))
    return tuple(found)


def renamed_fields() -> dict[str, str]:
    """The names that fields of a `TrainConfig` had in earlier versions, and their present names."""
    names: dict[str, str] = _Source("_train/renamed.py").run().RENAMED
    return names


@lru_cache(maxsize=1)
def network_fields() -> tuple[Field, ...]:
    """The arguments of `build`: those for networks of images, then those for language models.

    User-defined operations are objects, which a command line cannot hold.
    """
    found = (
        *_Source("nn/_convolutional.py").arguments("ConvolutionalNetwork"),
        *_Source("nn/_language.py").arguments("LanguageModel"),
    )
    return tuple(field for field in found if field.name != "operations")


class _Source:
    """The source of a module of pydarts."""

    def __init__(self, path: str) -> None:
        found = find_spec("pydarts")  # does not import the package
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
        """The type aliases of the module."""
        return {
            node.target.id: node.value
            for node in self._body
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.value is not None
            and ast.unparse(node.annotation) == "TypeAlias"
        }

    @property
    def variants(self) -> dict[str, tuple[str, ...]]:
        """The base classes of the module, and the names of the variants that inherit from each."""
        found: dict[str, tuple[str, ...]] = {}
        for node in self._body:
            if isinstance(node, ast.ClassDef):
                base = ast.unparse(node.bases[0])
                given = [ast.literal_eval(one.value) for one in node.keywords if one.arg == "called"]
                name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", node.name).lower()
                found[base] = (*found.get(base, ()), *(given or [name]))
        return {base: names for base, names in found.items() if base != "Variant"}

    def _class(self, name: str) -> ast.ClassDef:
        return next(node for node in self._body if isinstance(node, ast.ClassDef) and node.name == name)

    def doc(self, name: str) -> str:
        """The docstring of a class."""
        return ast.get_docstring(self._class(name)) or ""

    def annotations(self, name: str, aliases: dict[str, ast.expr]) -> dict[str, Kind]:
        """The kinds of the annotated attributes of a class."""
        return {
            node.target.id: kind_of(node.annotation, aliases)
            for node in self._class(name).body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }

    def arguments(self, name: str) -> Iterator[Field]:
        """The keyword-only arguments of a class, with meanings from the section "Args" of its docstring."""
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


def _shown(default: str) -> str | None:
    """Return a default as it is typed on the command line.

    >>> _shown("(0.5, 0.999)"), _shown('"none"'), _shown("3e-4"), _shown("None")
    ('0.5,0.999', 'none', '3e-4', None)
    """
    value = ast.literal_eval(default)
    if isinstance(value, tuple):
        return "[]" if not value else ",".join(str(item) for item in value)
    return None if value is None else value if isinstance(value, str) else default


def _arguments(doc: str) -> Iterator[tuple[str, str]]:
    """Yield names and meanings from the section "Args" of a docstring."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", doc, re.MULTILINE | re.DOTALL)
    assert section is not None
    for entry in re.split(r"^    (?=\w)", section[1], flags=re.MULTILINE)[1:]:
        name, _, meaning = entry.partition(":")
        yield name, " ".join(meaning.split())
