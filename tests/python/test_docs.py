"""The documentation: its code runs, its commands are there, its site builds and needs no other."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pages
import pydarts
import pytest
import typer
from pages import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
RUNNABLE = [page for page in PAGES if any(block.runs for block in pages.blocks(page))]
MACHINERY = DOCS / "machinery"
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]  # typer does not export it


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


# ---- Code


def slow(page: str) -> bool:
    """Whether its code takes long and does what the README or many small searches do."""
    others = ("index.md", "gallery.md", "concepts/derivation.md")
    others += tuple(f"guide/{name}.md" for name in ("watch", "seeds", "train", "resume", "space"))
    return page.startswith("algorithms/") or page in others


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name_of(page), marks=[pytest.mark.long] * slow(name_of(page)))
        for page in RUNNABLE
    ],
)
def test_the_code_of_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pages.run(page)
    printed = capsys.readouterr().out
    for block in pages.blocks(page):
        if block.language == "text" and not block.title.startswith("Measured"):
            assert pages.disagreement(block.code, printed, points=5) is None


def test_code_that_does_not_run_here_says_what_it_needs_and_fits_the_signatures(tmp_path: Path) -> None:
    checked = 0
    for page in PAGES:
        imports = ["import pydarts"]
        for block in pages.blocks(page):
            if block.language != "python":
                continue
            tree = ast.parse(block.code)
            if not block.runs:
                assert re.fullmatch(r"Needs \w.+", block.title), f"{page}: {block.title!r}"
                name = f"{name_of(page)}_{block.line}".replace("/", "_").replace(".", "_")
                (tmp_path / f"{name}.py").write_text("\n".join([*imports, block.code]), encoding="utf-8")
                checked += 1
            imports += [
                ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
            ]
    assert checked >= 4
    (tmp_path / "wrong.py").write_text("import pydarts\npydarts.SearchConfig(epoch=3)\npydarts.serch(1)\n")
    found = types_of(tmp_path)
    wrong = [line for line in found if "wrong.py" in line]
    assert 'Unexpected keyword argument "epoch"' in wrong[0] and '"serch"' in wrong[1]
    assert found == wrong


def types_of(folder: Path) -> list[str]:
    """What mypy finds in the modules of a folder by the types of pydarts; it knows no others."""
    settings = folder / "mypy.ini"
    settings.write_text(
        "[mypy]\nfollow_imports = skip\nignore_missing_imports = True\ncheck_untyped_defs = True\n"
        "[mypy-pydarts.*]\nfollow_imports = normal\nignore_errors = True\n"
        "[mypy-numpy.*,pandas.*]\nfollow_imports = skip\nfollow_imports_for_stubs = True\n",
        encoding="utf-8",
    )
    modules = [str(path) for path in sorted(folder.glob("*.py"))]
    options = ["--config-file", str(settings), "--cache-dir", os.devnull, "--no-error-summary"]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "python")}
    command = [sys.executable, "-m", "mypy", *options, *modules]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ": error: " in line]


def test_lines_of_code_fit_the_page() -> None:
    for page in PAGES:
        for block in pages.blocks(page):
            for line in block.code.splitlines():
                assert len(line) <= 80 or block.language != "python", f"{name_of(page)}: {line}"


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_the_commands_of_a_page_are_there(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in pages.blocks(page):
        known = ("python", "sh", "toml", "text", "bibtex", "rust")
        assert block.language in known, f"{page}: {block.language}"
        if block.language == "toml":  # its title is its name
            Path(block.title).write_text(block.code, encoding="utf-8")
        if block.language == "sh":
            for line in block.code.splitlines():
                words = shlex.split(line, comments=True)
                assert not words or command_is_there(words), f"{page.name}: {line}"


@pytest.mark.parametrize(
    "line",
    [
        "make demos",
        "pip install '.[nothing]'",
        "python -m pydarts.dome",
        "python benches/rum.py",
        "no-such-tool",
        "pydarts serch --data digits",
        "pydarts search --data digits --layer 5",
        "pydarts cost DARTS_V2 --layers x",
    ],
)
def test_a_command_that_is_not_there_is_found(line: str) -> None:
    assert not command_is_there(shlex.split(line))


def command_is_there(words: list[str]) -> bool:
    """Whether the words name something that this repository or its environment has."""
    command, *rest = words
    if command == "srun":  # SLURM is not here; what it starts is
        return command_is_there(words[words.index("torchrun") :])
    if command == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = [word for word in rest if "=" not in word]
        return all(re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE) for target in targets)
    if command == "pip":
        extras = re.findall(r"\.\[([\w,-]+)\]", " ".join(rest))
        known = re.findall(r"^([\w-]+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
        return rest[0] == "install" and all(name in known for extra in extras for name in extra.split(","))
    if command == "pydarts":
        return it_takes(rest)
    if command == "python":
        if rest[0] == "-m":
            return importlib.util.find_spec(rest[1]) is not None
        return (ROOT / rest[0]).is_file()
    return shutil.which(command) is not None


def it_takes(words: list[str]) -> bool:
    """Whether `pydarts` has this command with these options, of these kinds; nothing is run."""
    from pydarts_cli.app import app
    from typer.main import get_command

    whole = get_command(app)
    with whole.make_context("pydarts", [], resilient_parsing=True) as context:
        command = whole.get_command(context, words[0])  # type: ignore[attr-defined]
        if command is None:
            return False
        try:
            command.make_context(words[0], words[1:], parent=context)
        except USAGE_ERROR:
            return False
    return True


# ---- The site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it: a warning fails, a broken link or anchor is one."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


def html_of(site: Path, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


def test_make_docs_is_the_build_that_is_tested() -> None:
    assert re.search(
        r"^docs: build\n\t.*mkdocs build --strict$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )


def test_every_public_name_has_its_place_in_the_reference(site: Path) -> None:
    reference = "".join(path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html"))
    names = [f"pydarts.{name}" for name in pydarts.__all__ if name != "__version__"]
    modules = [getattr(pydarts, name) for name in pydarts.__all__]
    modules = [module for module in modules if isinstance(module, ModuleType)]
    found = {module.__name__ for module in modules}
    assert found >= {f"pydarts.{name}" for name in ("benchmarks", "datasets", "genotypes", "nn")}
    names += [f"{module.__name__}.{name}" for module in modules for name in module.__all__]
    missing = [name for name in names if f'id="{name}"' not in reference]
    assert not missing, missing
    assert "<code>pydarts.__version__</code>" in reference


@pytest.mark.parametrize("axis", pydarts._core.variant_axes())
def test_the_table_of_algorithms_has_every_variant_of_the_core(axis: str) -> None:
    table = machinery("pages").algorithms()
    for variant in pydarts._core.variants(axis):
        assert re.search(rf"^\| \[`\w+`\]\[.*\] \| `{variant['name']}` \| \w", table, re.MULTILINE), variant


def test_fields_methods_and_arguments_are_documented_where_they_belong(site: Path) -> None:
    page = html_of(site, "reference/search.html")
    for name in ("SearchResult.trajectory", "SearchResult.load", "EpochRecord.valid_loss", "StepInfo.alphas"):
        assert f'id="pydarts.{name}"' in page, name
    for field in pydarts.SearchConfig().to_dict():
        assert f"<td><code>{field}</code></td>" in page, f"SearchConfig's table has no {field}"
    fields = pydarts.TrainConfig().to_dict()
    trained = html_of(site, "reference/train.html")
    for field in fields.keys() - {"mean", "std", "seed", "device", "checkpoint_dir", "resume", "progress"}:
        assert f"<td><code>{field}</code></td>" in trained, f"TrainConfig's tables have no {field}"


def test_examples_of_docstrings_are_code(site: Path) -> None:
    for path in (site / "reference").glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "<blockquote>" not in text, path.name
        assert "====" not in re.sub(r"<[^>]+>", "", text), path.name
    shown = html_of(site, "reference/search.html")
    assert "Examples:" in shown and 'class="gp">&gt;&gt;&gt;' in shown and "Raises:" in shown


def test_equations_need_no_script(site: Path) -> None:
    page = html_of(site, "concepts/gradient.html")
    assert page.count("<math ") >= 20 and page.count('<div class="equation">') >= 5
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert 'class="arithmatex"' not in text, path.name
        assert not re.search(r"<script[^>]*(?:mathjax|katex)", text, re.IGNORECASE), path.name


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r'<(?:script|img|iframe|source|video)\b[^>]*\bsrc="([^"]+)"|<link\b[^>]*\bhref="([^"]+)"'
    )
    found = 0
    for path in site.rglob("*.html"):
        for source, style in loads.findall(path.read_text(encoding="utf-8")):
            address = source or style
            assert not re.match(r"(?:https?:)?//", address), f"{path.name} loads {address}"
            found += 1
    assert found > 50
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:|@import", path.read_text(encoding="utf-8")), path.name


def test_benchmarks_are_shown_from_where_they_stand(site: Path) -> None:
    results = html_of(site, "benches/RESULTS.html")
    for plot in re.findall(
        r"\]\((plots/\w+\.svg)\)", (ROOT / "benches/RESULTS.md").read_text(encoding="utf-8")
    ):
        assert f'src="{plot}"' in results and (site / "benches" / plot).stat().st_size > 1000
    assert 'href="RESULTS.html"' in html_of(site, "benches/index.html")


def test_the_faithful_table_stands_once(site: Path) -> None:
    row = "mixed operation, eq. 2"
    assert row in html_of(site, "concepts/faithful.html")
    holders = [page.name for page in [ROOT / "README.md", *PAGES] if row in page.read_text(encoding="utf-8")]
    assert holders == ["faithful.md"]


def test_every_notebook_has_its_page(site: Path) -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page = html_of(site, f"notebooks/{path.stem}.html")
        first = next(cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code")
        assert 'class="language-python highlight"' in page, "its code is shown as code"
        assert len(first["source"]) > 0


def test_what_the_site_is_made_with_is_not_on_it(site: Path) -> None:
    assert not list(site.rglob("*.py"))


# ---- Its machinery


def machinery(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, MACHINERY / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_equation_that_cannot_be_written_is_an_error() -> None:
    from mkdocs.exceptions import PluginError

    convert = machinery("mathematics").on_page_content
    assert "<mi>x</mi>" in convert(r'<p><span class="arithmatex">\(x &lt; 1\)</span></p>')
    with pytest.raises(PluginError, match="nosuchthing"):
        convert(r'<div class="arithmatex">\[\nosuchthing\]</div>')


def test_a_page_shows_parts_of_an_example() -> None:
    from mkdocs.exceptions import PluginError

    insert = machinery("pages").on_page_markdown
    shown = insert("Text.\n\n{example segment block iou}\n")
    assert 0 < shown.index("def block(") < shown.index("def iou(") and "main" not in shown
    assert insert("a {example segment block} in a line") == "a {example segment block} in a line"
    with pytest.raises(PluginError, match="no_such_part"):
        insert("{example segment no_such_part}")


def test_every_example_of_a_network_has_a_small_picture_on_the_page() -> None:
    page = (DOCS / "guide" / "own-networks.md").read_text(encoding="utf-8")
    pictures = [DOCS / "guide" / name for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)]
    assert {path.stem for path in pictures} >= set(re.findall(r"^\{example (\w+)", page, re.MULTILINE))
    assert all(path.stat().st_size < 100_000 for path in pictures)


def test_tables_and_examples_of_docstrings_become_markdown() -> None:
    rewritten = machinery("docstrings").rewritten
    table = "==  ===\na   b\n==  ===\nx   one\n    two\ny   3\n==  ==="
    assert rewritten(table) == "| a | b |\n| --- | --- |\n| `x` | one two |\n| `y` | 3 |"
    assert rewritten("A.\n\n>>> 1\n1") == "A.\n\nExamples:\n    >>> 1\n    1"
    assert rewritten("A sentence with >>> in it.") == "A sentence with >>> in it."
