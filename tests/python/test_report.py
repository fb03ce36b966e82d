"""The report: one file that needs nothing else and says everything."""

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from pydarts import Genotype, SearchResult, SearchTable, Space
from pydarts._show.report import facts
from pydarts._show.report import page as page_module
from pydarts._show.report import view as view_module
from pydarts._show.report.baseline import baseline
from pydarts._show.report.notations import notations
from pydarts._show.report.pictures import cell_picture
from pydarts._show.report.view import CELLS, POINTS, WEIGHTS, cells, edges_of, thin, view
from reports import KINDS, moving, restless, table_of


class Parsed(HTMLParser):
    """What a page holds: texts of elements by tag, their attributes, ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    @property
    def data(self) -> Any:
        """What the page's script reads."""
        found = [
            place for place, (_, attrs) in enumerate(self.of("script")) if attrs.get("id") == "report-data"
        ]
        return json.loads(self.texts["script"][found[0]])

    def of(self, tag: str) -> list[tuple[str, dict[str, str | None]]]:
        return [element for element in self.elements if element[0] == tag]


def parsed(path: Path) -> Parsed:
    return Parsed(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_loaded_from_outside_the_file(reports: dict[str, Path], kind: str) -> None:
    page = parsed(reports[kind])
    for tag, attrs in page.elements:
        assert not {"src", "srcset", "data", "poster", "action"} & set(attrs), (tag, attrs)
        for name in ("href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), (tag, attrs)
    assert not re.search(r"url\(|@import", "".join(page.texts["style"]))
    policy = next(
        attrs for _, attrs in page.of("meta") if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert (policy["content"] or "").startswith("default-src 'none'")
    assert "http" not in (policy["content"] or "")
    assert not list(reports[kind].parent.glob(".*")), "nothing is left beside the file"


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_stays_small_and_its_parts_fit_together(reports: dict[str, Path], kind: str) -> None:
    assert reports[kind].stat().st_size < 6_500_000
    page = parsed(reports[kind])
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    names = {attrs["id"] for _, attrs in page.of("template")}
    alpha = page.data["alpha"]
    assert names == {cell for table in alpha["tables"] for cell in table["cells"]}
    assert {attrs["data-figure"] for _, attrs in page.elements if "data-figure" in attrs} == set(
        page.data["figures"]
    )
    for _, attrs in page.of("a"):
        assert (attrs["href"] or "")[1:] in ids
    for _, attrs in page.elements:
        for name in ("aria-labelledby", "for"):
            assert attrs.get(name) in (None, *ids)


def test_the_genotype_stands_there_in_every_notation(
    tiny_result: SearchResult, reports: dict[str, Path]
) -> None:
    page = parsed(reports["moving"])
    texts = {
        (attrs["aria-label"] or "").removeprefix("Genotype: "): text
        for (_, attrs), text in zip(page.of("pre"), page.texts["pre"], strict=True)
    }
    genotype = moving(tiny_result).genotype
    assert Genotype.from_notation(texts["The paper's"]) == genotype
    assert Genotype.from_json(texts["JSON"]) == genotype
    assert Genotype.from_nni(json.loads(texts["NNI"])) == genotype
    assert texts["DOT"] == genotype.to_dot()
    assert "NAS-Bench-301" not in texts, "two nodes are not of its space"


def test_a_cell_of_the_published_space_is_written_as_nas_bench_301_has_it() -> None:
    texts = {notation.title: notation.text for notation in notations(pydarts.genotypes.DARTS_V2)}
    assert list(texts) == ["The paper's", "JSON", "NNI", "NAS-Bench-301", "DOT"]
    back = Genotype.from_nasbench301(json.loads(texts["NAS-Bench-301"]))
    assert back.to_nasbench301() == pydarts.genotypes.DARTS_V2.to_nasbench301()
    assert [notation.title for notation in notations(pydarts.genotypes.DARTS_RNN_V2)] == [
        "The paper's", "JSON", "DOT",
    ]  # fmt: skip


def test_what_differs_from_the_defaults_comes_first(
    tiny_result: SearchResult, reports: dict[str, Path]
) -> None:
    text = reports["moving"].read_text(encoding="utf-8")
    table = text[text.index("What differs from the defaults") : text.index("All other fields")]
    fields = re.findall(r'<th scope="row">(\w+)</th>', table)
    assert {"channels", "layers", "epochs", "num_classes"} <= set(fields) and "weight_lr" not in fields
    rest = text[text.index("All other fields") : text.index('id="plan"')]
    others = re.findall(r'<th scope="row">(\w+)</th>', rest)
    every = set(tiny_result.config.to_dict())
    assert set(fields + others) == every - {
        "units", "bptt", "dropout_rows", "dropout_embedded", "dropout_input", "dropout_hidden",
        "dropout_output", "slowness",
    }  # fmt: skip
    assert len(fields + others) == len({*fields, *others})


def test_the_numbers_are_those_of_the_result(tiny_result: SearchResult, reports: dict[str, Path]) -> None:
    text = reports["moving"].read_text(encoding="utf-8")
    for finding in moving(tiny_result).diagnostics():
        assert finding.text.partition(" →")[0] in text
    cost = pydarts.Supernet(config=tiny_result.config).cost()
    assert f"{cost['weights']:,}" in text and f"{cost['multiply_adds']:,}" in text
    network = pydarts.build(
        moving(tiny_result).genotype, channels=2, layers=3, num_classes=4, in_channels=1
    )  # fmt: skip
    assert f"{pydarts.cost(network, 8)['multiply_adds']:,}" in text
    loss = parsed(reports["moving"]).data["figures"]["loss"]
    assert loss["data"][1]["y"] == [record.valid_loss for record in tiny_result.history]
    assert pydarts.__version__ in text and "CPU threads" in text


def test_the_random_baseline_tells_where_the_cell_stands(reports: dict[str, Path]) -> None:
    text = reports["moving"].read_text(encoding="utf-8")
    assert "better than 2 of 3" in text and "n = 3" in text
    assert 'class="mine"' in text
    assert "Random baseline" not in reports["recurrent"].read_text(encoding="utf-8")


def test_a_baseline_without_this_cell_or_without_chance_says_so(tiny_result: SearchResult) -> None:
    result = moving(tiny_result)
    other = table_of(result)
    assert "not contain" in baseline(result, SearchTable(other[1:])).verdicts[-1]
    assert "random=8" in baseline(result, SearchTable(other[:1])).verdicts[-1]
    untrained = SearchTable([replace(other[0], accuracy=None), *other[1:]])
    assert "no complete training" in baseline(result, untrained).verdicts[-1]


def test_weights_and_cells_of_the_view_are_those_of_the_trajectory(tiny_result: SearchResult) -> None:
    result = moving(tiny_result)
    path, seen = result.trajectory, view(result.trajectory)
    for table in seen.data["tables"]:
        np.testing.assert_allclose(table["weights"], path.weights(table["name"]), atol=1e-6)
        for point, kept in enumerate(table["kept"]):
            edges = edges_of(path, table["name"], kept)
            expected = path.genotypes[point].edges(table["name"])
            assert sorted(edges) == sorted(expected)
            assert [kept] == cells(path, table["name"], [point])
    normal = seen.data["tables"][0]["cells"]
    assert normal == ["cell-normal-0"] * 3 + ["cell-normal-1"] * 3
    assert [name for name, _ in seen.pictures] == ["cell-normal-0", "cell-normal-1", "cell-reduce-0"]


def test_a_long_trajectory_is_thinned_but_not_its_ends(
    tiny_result: SearchResult, reports: dict[str, Path]
) -> None:
    path = restless(tiny_result, 1500).trajectory
    times = parsed(reports["long"]).data["alpha"]["times"]
    assert len(times) <= POINTS + 2 and times[0] == 0 and times[-1] == 1499
    assert path.last_change in times
    assert f"Of 1,500 recorded points {len(times)} are shown" in reports["long"].read_text(encoding="utf-8")
    entropy = parsed(reports["long"]).data["figures"]["entropy"]
    assert len(entropy["data"][0]["x"]) == 600
    wide = Space(nodes=8)
    numbers = 2 * len(wide.edges) * len(wide.operations)
    assert len(thin(10**6, min(POINTS, WEIGHTS // numbers))) * numbers <= WEIGHTS


def test_a_cell_that_always_changes_is_shown_at_fewer_points(
    tiny_result: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_module, "CELLS", 20)
    monkeypatch.setattr(view_module, "cell_picture", lambda *_: "")
    path = restless(tiny_result, 300, rows=5).trajectory
    seen = view(path)
    assert 2 < len(seen.pictures) <= 20
    assert seen.data["times"][0] == 0 and seen.data["times"][-1] == 299 and len(seen.data["times"]) < 30


def test_with_as_many_pictures_and_weights_as_may_be_the_file_stays_below_8_mb() -> None:
    genotype, space = pydarts.genotypes.DARTS_V2, Space()
    largest = max(
        len(cell_picture(table, genotype.edges(table), space.concat, space).encode())
        for table in space.tables
    )
    plotly = len(page_module.get_plotlyjs().encode())
    assert plotly + CELLS * (largest + 100) + 12 * WEIGHTS < 7_000_000, "a whole plan takes some 0.3 MB"


def test_a_picture_is_told_in_words_and_takes_the_colours_of_the_page() -> None:
    genotype, space = pydarts.genotypes.DARTS_V2, Space()
    picture = cell_picture("normal", genotype.edges("normal"), space.concat, space)
    assert "node 5: skip_connect from c_k-2, dil_conv_3x3 from 2" in picture
    colors = set(re.findall(r"#[0-9a-f]{6}", picture))
    looks = {"#0072b2", "#d55e00", "#009e73", "#222222", "#ffffff"}
    assert colors <= looks, "ink and boxes are the page's"
    assert "var(--ink)" in picture and "<style" not in picture and " id=" not in picture


def test_a_report_goes_where_it_is_told_and_replaces_what_is_there(
    tiny_result: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a" / "b" / "report.html"
    assert tiny_result.report(str(path)) == path
    before = path.read_bytes()

    def broken(*_: object) -> str:
        raise RuntimeError("halfway")

    monkeypatch.setattr(page_module, "page", broken)
    with pytest.raises(RuntimeError, match="halfway"):
        tiny_result.report(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
    monkeypatch.setattr(page_module, "page", lambda *_: "new")
    tiny_result.report(path)
    assert path.read_text() == "new"


def test_a_wrong_table_or_a_folder_is_an_error_that_says_what_to_give(
    tiny_result: SearchResult, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=r"table.*SearchTable.*list"):
        tiny_result.report(tmp_path / "r.html", table=[])  # type: ignore[arg-type]
    with pytest.raises(IsADirectoryError, match=r"report\.html"):
        tiny_result.report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_other_cells_is_refused(tiny_result: SearchResult, tmp_path: Path) -> None:
    cell = pydarts.genotypes.DARTS_RNN_V2
    row = pydarts.SearchRow(
        name="a", origin="given", status="complete", accuracy=0.1, loss=5.0, genotype=cell
    )
    with pytest.raises(ValueError, match=r"convolutional.*recurrent"):
        tiny_result.report(tmp_path / "r.html", table=pydarts.SearchTable([row]))


def test_without_plotly_the_error_names_it(
    tiny_result: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    monkeypatch.delitem(sys.modules, "pydarts._show.report.page")
    with pytest.raises(ImportError, match=r"pip install plotly$"):
        tiny_result.report(tmp_path / "report.html")


def test_the_plan_of_a_device_that_is_not_here_is_that_of_the_cpu(tiny_result: SearchResult) -> None:
    if torch.cuda.device_count() > 7:
        pytest.skip("this machine has the device")
    elsewhere = replace(tiny_result, config=tiny_result.config.replace(device="cuda:7"))
    assert facts.plan(elsewhere).device == "this machine's CPU"
    assert facts.kept_environment(replace(elsewhere, environment={}))[0] == ("device", "cuda:7")
    exact = replace(elsewhere, config=elsewhere.config.replace(precision="tf32"))
    assert facts.plan(exact).device == "this machine's CPU"


def test_the_page_says_where_the_search_ran_whatever_machine_writes_it(tiny_result: SearchResult) -> None:
    there = tiny_result.environment | {"device": "cuda:3", "processor": "A card", "torch": "2.11.9"}
    kept = dict(facts.kept_environment(replace(tiny_result, environment=there)))
    assert (kept["device"], kept["processor"], kept["PyTorch"]) == ("cuda:3", "A card", "2.11.9")
    assert kept["precision"] == "float32", "what was asked for is auto"
    assert dict(facts.environment())["PyTorch"] == torch.__version__
