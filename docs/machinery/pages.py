"""Pages of the site that are elsewhere in the repository: benchmarks, notebooks, and the algorithms."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

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
    """Replace `{algorithms}` by a table of the algorithms, `{example NAME PARTS}` by code of an example."""
    markdown = re.sub(
        r"^\{example (\w+) ([\w ]+)\}$", lambda m: example(m[1], m[2].split()), markdown, flags=re.M
    )
    return markdown.replace("{algorithms}", algorithms()) if "{algorithms}" in markdown else markdown


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
    """The public classes of `pydarts.algorithms`, from their source."""
    sources = [ROOT / f"python/pydarts/_values/{name}.py" for name in ("algorithms", "terms")]
    nodes = [node for source in sources for node in ast.parse(source.read_text(encoding="utf-8")).body]
    rows, parts = ["| class | name | |", "|---|---|---|"], []
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            path = f"pydarts.algorithms.{node.name}"
            if ast.unparse(node.bases[0]) != "Variant":
                name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", node.name).lower()
                summary = (ast.get_docstring(node) or "").splitlines()[0]
                rows.append(f"| [`{node.name}`][{path}] | `{name}` | {summary} |")
            parts.append(f"::: {path}")
    return "\n".join(rows) + "\n\n" + "\n\n".join(parts)


def _notebooks() -> list[Path]:
    return sorted((ROOT / NOTEBOOKS).glob("*.ipynb"))


def _page(notebook: Path) -> str:
    return f"{NOTEBOOKS}/{notebook.stem}.md"


def _markdown(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook with the outputs that it was committed with; nothing is run."""
    resources = {"output_files_dir": f"{notebook.stem}_files", "unique_key": notebook.stem}
    text, found = MarkdownExporter().from_filename(str(notebook), resources)
    return text, found["outputs"]
