"""The report in a browser: it renders, fits, can be read, and moves.

`opened` fails at any word on the console and at any request.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, opened
from masked import ragged, restricted, result_of
from playwright.sync_api import Browser, Page, expect
from pydarts import SearchResult, Trajectory
from reports import KINDS, moving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


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
        page.get_by_label("Edge", exact=True).select_option("2 → 3")
        settled(page)
        expected = path.weights("reduce", -1)[path.space.edges.index((2, 3))]
        assert [float(text.strip()) for text in bars(page)] == pytest.approx(expected.tolist(), abs=1e-4)
        said = page.locator("#alpha-said").inner_text()
        assert said.startswith("reduce 2 → 3 at step 15: skip_connect") and "leaves this edge out" in said
        label = page.locator("#alpha-picture svg").get_attribute("aria-label") or ""
        assert label.startswith("The reduce cell. node 2: skip_connect from c_k-2, skip_connect from c_k-1")
        # A click on the second row of the heat map chooses its edge.
        box = page.locator("#alpha-heat .nsewdrag").first.bounding_box()
        assert box is not None
        page.locator("#alpha-heat").scroll_into_view_if_needed()
        box = page.locator("#alpha-heat .nsewdrag").first.bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 1.5 / 5)
        settled(page)
        assert page.locator("#alpha-edge").input_value() == "1"
        assert page.locator("#alpha-said").inner_text().startswith("reduce cₖ₋₁ → 2 at")


@pytest.mark.parametrize("make", [restricted, ragged], ids=["removed candidates", "no cells"])
def test_rows_may_have_lost_candidates_or_have_different_ones(
    browser: Browser, tiny_result: SearchResult, tmp_path: Path, make: Callable[[], Trajectory]
) -> None:
    path = make()
    with opened(browser, result_of(tiny_result, path).report(tmp_path / "report.html")) as page:
        for name, table in path.tables.items():
            if len(path.tables) > 1:
                page.locator("#alpha-cell").select_option(label=name)
            shown = path.shown(name, -1)
            for row in range(len(table.rows)):
                page.locator("#alpha-edge").select_option(str(row))
                settled(page)
                expected = shown[row][~np.isnan(shown[row])]
                assert [float(text.strip()) for text in bars(page)] == pytest.approx(expected, abs=1e-4)
                said = page.locator("#alpha-said").inner_text()
                assert ("decided" in said) == (path.frozen(name, -1)[row] and not path.dropped(name, -1)[row])
        assert page.locator("#alpha-picture").is_visible() == (path.space is not None)


@pytest.mark.long
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
        ".find(text => text.textContent === '2')).fill"
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
