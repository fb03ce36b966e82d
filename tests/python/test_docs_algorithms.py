"""The pages of the algorithms: complete, with the settings of the presets and pictures of the script."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pages
import pydarts
import pytest
from mkdocs.exceptions import PluginError
from pages import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path for path in (DOCS / "algorithms").glob("*.md") if path.name != "index.md")
PRESETS = {preset.name: preset for preset in pydarts.algorithms.presets()}
NAVIGATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


@cache
def module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, DOCS / path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_every_preset_has_its_settings_and_its_code_on_one_page() -> None:
    shown = {page.name: re.findall(r"^\{settings (\w+)\}$", text_of(page), re.MULTILINE) for page in PAGES}
    assert sorted(name for names in shown.values() for name in names) == sorted(PRESETS)
    for page in PAGES:
        code = "\n".join(block.code for block in pages.blocks(page) if block.runs)
        assert "pydarts.search(" in code, page.name
        for name in shown[page.name]:
            if name != "darts_first_order":  # the defaults
                axes = rf'algorithm="{name}".*?assert by_axes == pydarts.SearchConfig.preset\("{name}"\)'
                found = re.search(axes, code, re.DOTALL)
                assert found or name == "darts_second_order", f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_parts_of_all_pages(page: Path) -> None:
    text = text_of(page)
    assert f"algorithms/{page.name}" in NAVIGATION and f"]({page.name})" in text_of(page.parent / "index.md")
    headings = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert headings[:2] == ["Formula", "Run it"] and headings.index("Combinations") > 1
    assert "$$" in text.partition("## Run it")[0]
    if "{settings " in text:
        assert {"Settings", "Differences from the published code", "Published results"} <= set(headings)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_its_picture_and_says_what_it_shows(page: Path) -> None:
    [(said, place)] = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text_of(page))
    picture = page.parent / place
    assert picture.stem == page.stem and picture.stem in module("figures.py").FIGURES
    assert len(said.split()) > 8 and 1000 < picture.stat().st_size < 60_000


def test_the_script_draws_the_pictures_that_there_are() -> None:
    figures = module("figures.py")
    drawn = {path.stem for path in (DOCS / "pictures" / "algorithms").iterdir()}
    assert drawn == set(figures.FIGURES) == {page.stem for page in PAGES}


@pytest.mark.parametrize("name", ["pc-darts", "darts-minus", "robust-darts"])
def test_a_picture_can_be_drawn(name: str, tmp_path: Path) -> None:
    module("figures.py").FIGURES[name]().savefig(tmp_path / "picture.svg")
    assert "<svg" in (tmp_path / "picture.svg").read_text(encoding="utf-8")


def test_the_picture_of_the_shuffle_has_the_published_order() -> None:
    shuffled = module("figures.py").shuffled
    assert shuffled(8, 4) == [0, 2, 4, 6, 1, 3, 5, 7]
    assert shuffled(6, 2) == [0, 3, 1, 4, 2, 5]


def test_settings_are_those_of_the_preset() -> None:
    machinery = module("machinery/pages.py")
    for name, preset in PRESETS.items():
        config, default = pydarts.SearchConfig.preset(name), pydarts.SearchConfig()
        shown = machinery.on_page_markdown(f"Text.\n\n{{settings {name}}}\n")
        rows = re.findall(r"^\| `(\w+)` \| `(.*)` \| `(.*)` \|$", shown, re.MULTILINE)
        given, usual = config.to_dict(), default.to_dict()
        changed = {field for field in usual if given[field] != usual[field]} - {"algorithm"}
        assert {field for field, _, _ in rows} == changed, name
        assert all(value == repr(getattr(config, field)) for field, value, _ in rows)
        assert preset.source in shown and preset.title in shown
    with pytest.raises(PluginError, match="no_such_preset"):
        machinery.on_page_markdown("{settings no_such_preset}")


def test_the_page_of_all_presets_has_the_table_that_python_prints() -> None:
    machinery = module("machinery/pages.py")
    index = machinery.on_page_markdown(text_of(DOCS / "algorithms" / "index.md"))
    table = pydarts.algorithms.table()
    assert table in index and all(f"`{name}`" in table for name in PRESETS)


def test_no_page_stands_for_a_part_that_is_not_replaced() -> None:
    machinery = module("machinery/pages.py")
    for page in [*PAGES, DOCS / "algorithms" / "index.md"]:
        shown = machinery.on_page_markdown(text_of(page))
        assert not re.search(r"^\{[\w ]+\}$", shown, re.MULTILINE), page.name


@pytest.mark.parametrize(
    "options",
    [
        {"edge_normalization": True, "relaxation": "sigmoid"},
        {"edge_normalization": True, "relaxation": "identity"},
        *(
            {"perturbation": "uniform", "relaxation": name}
            for name in ("gumbel", "gdas", "dirichlet", "random")
        ),
        {"perturbation": "uniform", "relaxation": "identity"},
        {"perturbation": "uniform", "hypergradient": "single_level"},
        {"arch_terms": ["entropy"], "relaxation": "sigmoid"},
        {"arch_terms": ["entropy"], "relaxation": "identity"},
        {"arch_terms": ["kl_anchor"]},
        {"stop": "curvature"},
        {"space": "darts-rnn", "partial_channels": 2},
        {"space": "darts-rnn", "auxiliary_skip": 0.5},
        {"space": "darts-rnn", "arch_terms": ["flops"]},
    ],
    ids=str,
)
def test_what_the_page_says_is_refused_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(pydarts.ConfigError):
        pydarts.SearchConfig(**options)
