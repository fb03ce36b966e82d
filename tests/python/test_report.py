"""The report: one file that needs nothing else, says everything, and moves."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from browser import chromium, opened
from conftest import make_arrays, make_config
from playwright.sync_api import Browser, Page, expect
from pydarts import Callback, Genotype, History, SearchResult, SearchRow, SearchTable, Space, StepInfo
from pydarts._report import facts
from pydarts._report import page as page_module
from pydarts._report import view as view_module
from pydarts._report.baseline import baseline
from pydarts._report.notations import notations
from pydarts._report.pictures import cell_picture
from pydarts._report.view import CELLS, POINTS, WEIGHTS, genes_of, kept_of, thin, view

ATTACK = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'


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


def moving(base: SearchResult, points: int = 6, **changes: Any) -> SearchResult:
    """A search whose first node turns to a skip connection halfway, and whose weights move all along."""
    alpha = np.zeros((points, 5, 3))
    alpha[:, :, 2] = np.linspace(0.5, 1.5, points)[:, None]
    alpha[points // 2 :, 0, 1] = 3.0
    reduce = np.zeros((points, 5, 3))
    reduce[:, :, 1] = np.linspace(0.1, 2.0, points)[:, None]
    alphas = {"normal": alpha, "reduce": reduce}
    genotype = pydarts.derive(
        {name: values[-1] for name, values in alphas.items()}, base.config.resolved_space
    )
    fields = {"alphas": alphas, "steps": tuple(range(0, 3 * points, 3)), "genotype": genotype}
    return replace(base, **(fields | changes))


def restless(base: SearchResult, points: int, rows: int = 1) -> SearchResult:
    """α at every step; the first rows of the tables move about by chance."""
    walk = np.zeros((points, 5, 3))
    walk[:, :, 2] = 0.5
    walk[:, :rows] = np.random.default_rng(0).normal(size=(points, rows, 3))
    alphas = {"normal": walk, "reduce": walk[::-1].copy()}
    genotype = pydarts.derive(
        {name: values[-1] for name, values in alphas.items()}, base.config.resolved_space
    )
    return replace(base, alphas=alphas, steps=tuple(range(points)), genotype=genotype)


def table_of(result: SearchResult, name: str = "mine") -> SearchTable:
    drawn = pydarts.random_genotypes(result.config.resolved_space, 3, seed=1)
    rows = [
        SearchRow(
            name=name, origin="searched", status="complete", genotype=result.genotype, accuracy=0.9, loss=0.3,
            weights=1234, search_accuracy=0.7, search_loss=0.9,
        )
    ]  # fmt: skip
    rows += [
        SearchRow(
            name=f"random {number}", origin="random", status="complete", genotype=genotype,
            accuracy=accuracy, loss=0.4,
        )
        for number, (genotype, accuracy) in enumerate(zip(drawn, (0.8, 0.85, 0.95), strict=True))
    ]  # fmt: skip
    return SearchTable(rows)


@pytest.fixture(scope="module")
def recurrent_result() -> SearchResult:
    generator = np.random.default_rng(0)
    config = pydarts.SearchConfig(
        space="darts-rnn", nodes=3, units=8, batch_size=4, bptt=7, epochs=2, device="cpu", progress=False
    )
    return pydarts.search((generator.integers(0, 12, 400), generator.integers(0, 12, 200)), config)


class Stop(Callback):
    """Ctrl-C at the first step."""

    def on_step(self, info: StepInfo) -> None:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def interrupted_result() -> SearchResult:
    result = pydarts.search(make_arrays(), make_config(record="step"), Stop())
    assert result.status == "interrupted" and not result.history
    return result


@pytest.fixture(scope="module")
def reports(
    tiny_result: SearchResult,
    recurrent_result: SearchResult,
    interrupted_result: SearchResult,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """A report of every kind of search."""
    folder = tmp_path_factory.mktemp("reports")
    evil = Space(
        name=ATTACK, nodes=2, operations=("none", "skip_connect", "sep_conv_3x3"), kind="convolutional"
    )
    found = {
        "moving": (moving(tiny_result), table_of(moving(tiny_result))),
        "recurrent": (recurrent_result, None),
        "interrupted": (interrupted_result, None),
        "failed": (
            replace(
                tiny_result, status="failed", history=History([]), steps=(0,),
                alphas={name: values[:1] for name, values in tiny_result.alphas.items()},
            ),
            None,
        ),
        "long": (restless(tiny_result, 1500), None),
        "attack": (
            replace(tiny_result, config=tiny_result.config.replace(space=evil)),
            table_of(tiny_result, name=ATTACK),
        ),
    }  # fmt: skip
    return {
        name: result.report(folder / f"{name}.html", table=table) for name, (result, table) in found.items()
    }


KINDS = ("moving", "recurrent", "interrupted", "failed", "long", "attack")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


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
    assert sorted(fields + others) == sorted(tiny_result.config.to_dict())


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
    assert "better than 2 of 3 drawn by chance" in text and "n = 3" in text
    assert 'class="mine"' in text
    assert "Random baseline" not in reports["recurrent"].read_text(encoding="utf-8")


def test_a_baseline_without_this_cell_or_without_chance_says_so(tiny_result: SearchResult) -> None:
    result = moving(tiny_result)
    other = table_of(result)
    assert "not among those of the table" in baseline(result, SearchTable(other[1:])).verdicts[-1]
    assert "no cells drawn by chance" in baseline(result, SearchTable(other[:1])).verdicts[-1]
    untrained = SearchTable([replace(other[0], accuracy=None), *other[1:]])
    assert "no complete training" in baseline(result, untrained).verdicts[-1]


def test_weights_and_cells_of_the_view_are_those_of_the_trajectory(tiny_result: SearchResult) -> None:
    result = moving(tiny_result)
    path, seen = result.trajectory, view(result.trajectory)
    for table in seen.data["tables"]:
        np.testing.assert_allclose(table["weights"], path.weights(table["name"]), atol=1e-6)
        for point, kept in enumerate(table["kept"]):
            genes, _ = genes_of(kept, path.space)
            expected = getattr(path.genotypes[point], table["name"])
            assert sorted(genes) == sorted(expected)
            assert kept == kept_of(path.genotypes[point], table["name"], path.space)
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
        len(cell_picture(table, *genes_of(kept_of(genotype, table, space), space), space).encode())
        for table in space.tables
    )
    plotly = len(page_module.get_plotlyjs().encode())
    assert plotly + CELLS * (largest + 100) + 12 * WEIGHTS < 7_000_000, "a whole plan takes some 0.3 MB"


def test_a_picture_is_told_in_words_and_takes_the_colours_of_the_page() -> None:
    genotype, space = pydarts.genotypes.DARTS_V2, Space()
    picture = cell_picture(
        "normal", *genes_of(kept_of(genotype, "normal", space), space), space
    )  # fmt: skip
    assert "node 3: skip_connect from c_k-2, dil_conv_3x3 from 0" in picture
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
    with pytest.raises(TypeError, match=r"table must be a SearchTable.*got a list"):
        tiny_result.report(tmp_path / "r.html", table=[])  # type: ignore[arg-type]
    with pytest.raises(IsADirectoryError, match=r"report\.html"):
        tiny_result.report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_plotly_the_error_names_the_extra(
    tiny_result: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    monkeypatch.delitem(sys.modules, "pydarts._report.page")
    with pytest.raises(ImportError, match=r"pip install 'pydarts\[report\]'"):
        tiny_result.report(tmp_path / "report.html")


def test_the_plan_of_a_device_that_is_not_here_is_that_of_the_cpu(tiny_result: SearchResult) -> None:
    if torch.cuda.device_count() > 7:
        pytest.skip("this machine has the device")
    elsewhere = replace(tiny_result, config=tiny_result.config.replace(device="cuda:7"))
    assert facts.plan(elsewhere).device == "this machine's CPU"
    assert facts.kept_environment(elsewhere)[0] == ("device", "cuda:7")


# In the browser. `opened` fails at any word on the console and any request.


SMALL = """() => {
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const part = node.parentElement;
    if (!node.data.trim() || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(part.tagName)) continue;
    if (!part.getClientRects().length) continue;
    const matrix = part.getScreenCTM ? part.getScreenCTM() : { a: 1, b: 0 };
    const size = parseFloat(getComputedStyle(part).fontSize) * Math.hypot(matrix.a, matrix.b);
    // c_{k-2}: what stands below the line is smaller.
    if (size < (part.tagName === "tspan" ? 9 : 10.9)) found.push([node.data, size]);
  }
  return found;
}"""

CUT = """[...document.querySelectorAll(".plot")].filter(plot => {
  const outer = plot.getBoundingClientRect();
  return [...plot.querySelectorAll("text")].some(text => {
    const inner = text.getBoundingClientRect();
    return inner.width && (inner.left < outer.left - 1 || inner.right > outer.right + 1
      || inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1);
  });
}).map(plot => plot.id || plot.dataset.figure)"""


@pytest.mark.parametrize(
    "kind, width",
    [("moving", 1280), ("recurrent", 1280), *((kind, 400) for kind in KINDS)],
)
def test_the_page_renders_without_an_error_fits_its_window_and_can_be_read(
    browser: Browser, reports: dict[str, Path], kind: str, width: int
) -> None:
    with opened(browser, reports[kind], width) as page:
        drawn = page.evaluate(
            "[...document.querySelectorAll('.plot')].map(p => !!p.querySelector('.main-svg'))"
        )
        assert drawn and all(drawn)
        assert page.locator("#alpha-picture svg").count() == 1
        assert page.evaluate("window.hacked") is None
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(SMALL) == [], "letters of at least 11 pixels"
        assert page.evaluate(CUT) == [], "no text of a plot is cut at its edge"
        if kind == "failed":
            assert page.locator("#alpha-time").is_disabled() and page.locator("#alpha-play").is_disabled()
            assert page.get_by_text("No epoch was completed").is_visible()
            assert page.locator(".status").inner_text() == "failed"


def bars(page: Page) -> list[str]:
    return page.locator("#alpha-bars .bartext").all_text_contents()


def settled(page: Page) -> None:
    """Wait until what was chosen has been drawn."""
    page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))"
    )


def test_the_slider_moves_bars_cell_and_heat_map(
    browser: Browser, tiny_result: SearchResult, reports: dict[str, Path]
) -> None:
    weights = moving(tiny_result).trajectory.weights("normal")
    with opened(browser, reports["moving"]) as page:
        slider = page.locator("#alpha-time")
        assert slider.get_attribute("aria-valuetext") == "step 15 of 15"
        end_bars, end_cell = bars(page), page.locator("#alpha-picture").inner_html()
        end_heat = page.locator("#alpha-heat .hm").inner_html()
        assert [float(text.strip()) for text in end_bars] == pytest.approx(weights[-1, 0].tolist(), abs=1e-4)
        assert page.locator("#alpha-same").inner_text() == "at the end"
        slider.focus()
        page.keyboard.press("Home")
        settled(page)
        assert [float(text.strip()) for text in bars(page)] == pytest.approx(weights[0, 0].tolist(), abs=1e-4)
        assert page.locator("#alpha-picture").inner_html() != end_cell
        assert page.locator("#alpha-heat .hm").inner_html() != end_heat
        assert page.locator("#alpha-same").inner_text() == "1 of 4 operations differs from the end"
        assert page.locator("#alpha-now").inner_text() == "step 0"
        assert slider.get_attribute("aria-valuetext") == "step 0 of 15"
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        settled(page)
        assert page.locator("#alpha-same").inner_text() == "the same as at the end"
        assert page.locator("#alpha-picture").inner_html() == end_cell


def test_cell_and_edge_can_be_chosen(
    browser: Browser, tiny_result: SearchResult, reports: dict[str, Path]
) -> None:
    path = moving(tiny_result).trajectory
    with opened(browser, reports["moving"]) as page:
        page.get_by_label("Cell", exact=True).select_option("reduce")
        page.get_by_label("Edge", exact=True).select_option("0 → 1")
        settled(page)
        expected = path.weights("reduce", -1)[path.space.edges.index((2, 3))]
        assert [float(text.strip()) for text in bars(page)] == pytest.approx(expected.tolist(), abs=1e-4)
        said = page.locator("#alpha-said").inner_text()
        assert said.startswith("reduce 0 → 1 at step 15: skip_connect") and "leaves this edge out" in said
        label = page.locator("#alpha-picture svg").get_attribute("aria-label") or ""
        assert label.startswith("The reduce cell. node 0: skip_connect from c_k-2, skip_connect from c_k-1")
        # A click on the second row of the heat map chooses its edge.
        box = page.locator("#alpha-heat .nsewdrag").first.bounding_box()
        assert box is not None
        page.locator("#alpha-heat").scroll_into_view_if_needed()
        box = page.locator("#alpha-heat .nsewdrag").first.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 1.5 / 5)
        settled(page)
        assert page.locator("#alpha-edge").input_value() == "1"
        assert page.locator("#alpha-said").inner_text().startswith("reduce cₖ₋₁ → 0 at")


def test_play_runs_from_the_first_point_to_the_last_and_stops_there(
    browser: Browser, reports: dict[str, Path]
) -> None:
    with opened(browser, reports["moving"]) as page:
        page.evaluate(
            """() => {
              window.seen = [];
              const now = document.getElementById("alpha-now");
              new MutationObserver(() => window.seen.push(now.value)).observe(now, { childList: true });
            }"""
        )
        play = page.locator("#alpha-play")
        play.click()
        expect(play).to_have_text("Pause")
        expect(play).to_have_text("Play", timeout=30_000)
        settled(page)
        seen = page.evaluate("window.seen")
        assert seen[0] == "step 0" and seen[-1] == "step 15" and len(seen) > 2
        assert page.locator("#alpha-time").input_value() == "5"
        play.click()
        expect(play).to_have_text("Pause")
        play.click()
        expect(play).to_have_text("Play")


def brightness(page: Page, script: str) -> float:
    """Of a colour, 0 to 1."""
    channels = [float(value) for value in re.findall(r"[\d.]+", page.evaluate(script))[:3]]
    return sum(channels) / 765


def test_the_page_is_dark_where_it_is_wanted_and_light_on_paper(
    browser: Browser, reports: dict[str, Path]
) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#alpha-lines .xtick text')).fill"
    node = (
        "getComputedStyle([...document.querySelectorAll('#alpha-picture text')]"
        ".find(text => text.textContent === '0')).fill"
    )
    with opened(browser, reports["moving"], scheme="dark") as page:
        assert brightness(page, back) < 0.2 and brightness(page, ink) > 0.7
        page.emulate_media(color_scheme="light")
        settled(page)
        assert brightness(page, back) > 0.8 and brightness(page, ink) < 0.3
        page.emulate_media(color_scheme="dark")
        settled(page)
        assert brightness(page, node) > 0.7
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert brightness(page, back) > 0.8 and brightness(page, ink) < 0.3
        assert page.evaluate("document.querySelectorAll('details:not([open])').length") == 1, "the whole plan"
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert brightness(page, back) < 0.2 and brightness(page, ink) > 0.7
        assert page.evaluate("document.querySelectorAll('details[open]').length") == 1
