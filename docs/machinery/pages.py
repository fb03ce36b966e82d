"""Parts of the site that are elsewhere: benchmarks, notebooks, and what the library says of algorithms."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydarts
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[2]
BENCHES = ("README.md", "RESULTS.md", "plots/*.svg")
NOTEBOOKS = "notebooks"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Every notebook is in the navigation, under its own title."""
    assert config.nav is not None
    pages = [_page(path) for path in _notebooks()]
    config.nav = [
        {"Notebooks": pages} if "Notebooks" in entry else entry
        for entry in config.nav
        if pages or "Notebooks" not in entry
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages and pictures, under the paths that they have in the repository, so that their links hold."""
    for pattern in BENCHES:
        for path in sorted((ROOT / "benches").glob(pattern)):
            place = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, place, abs_src_path=str(path)))
    for path in _notebooks():
        text, pictures = _markdown(path)
        files.append(File.generated(config, _page(path), content=text))
        for place, content in pictures.items():
            files.append(File.generated(config, f"{NOTEBOOKS}/{place}", content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace lines that stand for what the library says itself.

    `{algorithms}` is the list of classes, `{settings NAME}` the settings of a preset, `{table of presets}`
    that of all presets by axis, `{example NAME PARTS}` code of an example.
    """
    parts: dict[str, Callable[[re.Match[str]], str]] = {
        r"\{example (\w+) ([\w ]+)\}": lambda m: example(m[1], m[2].split()),
        r"\{settings (\w+)\}": lambda m: settings(m[1]),
        r"\{table of presets\}": lambda m: pydarts.algorithms.table(),
        r"\{algorithms\}": lambda m: algorithms(),
    }
    for pattern, replacement in parts.items():
        markdown = re.sub(f"^{pattern}$", replacement, markdown, flags=re.MULTILINE)
    return markdown


def example(name: str, parts: list[str]) -> str:
    """Classes and functions of a script in `examples/`, as a block of code."""
    text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    nodes = {getattr(node, "name", ""): node for node in ast.parse(text).body}
    missing = [part for part in parts if part not in nodes]
    if missing:
        raise PluginError(f"examples/{name}.py has no {missing[0]}")
    code = "\n\n\n".join(ast.get_source_segment(text, nodes[part]) or "" for part in parts)
    return f'```python title="examples/{name}.py"\n{code}\n```'


def algorithms() -> str:
    """The public classes and functions of `pydarts.algorithms`."""
    rows, parts = ["| class | name | |", "|---|---|---|"], []
    for name in pydarts.algorithms.__all__:
        path, value = f"pydarts.algorithms.{name}", getattr(pydarts.algorithms, name)
        if getattr(value, "name", ""):  # a rule, not the base class of an axis
            rows.append(f"| [`{name}`][{path}] | `{value.name}` | {(value.__doc__ or '').splitlines()[0]} |")
        parts.append(f"::: {path}")
    return "\n".join(rows) + "\n\n" + "\n\n".join(parts)


def settings(name: str) -> str:
    """The settings of a preset that differ from those of DARTS, its source and its spaces."""
    presets = {preset.name: preset for preset in pydarts.algorithms.presets()}
    if name not in presets:
        raise PluginError(f"there is no preset {name}")
    preset = presets[name]
    config, default = pydarts.SearchConfig.preset(name), pydarts.SearchConfig()
    shown = [field for field in default.to_dict() if field not in ("space", "algorithm")]
    pairs = [(field, getattr(config, field), getattr(default, field)) for field in shown]
    rows = [f"| `{field}` | `{value!r}` | `{other!r}` |" for field, value, other in pairs if value != other]
    spaces = ", ".join(f"`{space}`" for space in preset.spaces)
    about = f"`{name}`: {preset.title}. Read in {preset.source}. Spaces with published settings: {spaces}."
    table = ["| option | preset | default |", "|---|---|---|", *rows] if rows else []
    return "\n".join([about, "", *table])


def _notebooks() -> list[Path]:
    return sorted((ROOT / NOTEBOOKS).glob("*.ipynb"))


def _page(notebook: Path) -> str:
    return f"{NOTEBOOKS}/{notebook.stem}.md"


def _markdown(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook with the outputs that it was committed with; nothing is run."""
    resources = {"output_files_dir": f"{notebook.stem}_files", "unique_key": notebook.stem}
    text, found = MarkdownExporter().from_filename(str(notebook), resources)
    return text, found["outputs"]
