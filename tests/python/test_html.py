"""What notebooks show: well-formed, escaped, without scripts or addresses, and of the right contents."""

import dataclasses
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from best import best_epoch
from browser import chromium, opened
from PIL import Image
from pydarts import (
    Diagnostics,
    Finding,
    Genotype,
    History,
    SearchConfig,
    SearchResult,
    SearchRow,
    SearchTable,
    Space,
    Supernet,
    TrainConfig,
    TrainRecord,
    TrainResult,
    build,
    genotypes,
    nn,
)

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Tags, attributes and text; every tag must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style" and data.strip():
            self.said.append(" ".join(data.split()))

    def has(self, *texts: str) -> bool:
        """Whether these texts follow each other."""
        return any(tuple(self.said[k : k + len(texts)]) == texts for k in range(len(self.said)))


def shown(thing: Any) -> Page:
    page = Page(thing._repr_html_())
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    addresses = [value for name, value in page.attributes if "://" in value and not name.startswith("xmlns")]
    assert addresses == [], "nothing is fetched"
    assert page.tags.count("style") == 1 and ("class", "pydarts-card") in page.attributes
    return page


TABLE = SearchTable(
    [
        SearchRow(name="seed 0", origin="searched", status="complete", accuracy=0.75, loss=0.9, weights=12345,
                  genotype=genotypes.DARTS_V1),
        SearchRow(name="seed 1", origin="searched", status="failed", error="NumericalError: <b>NaN</b>"),
        SearchRow(name="random 0", origin="random", status="complete", accuracy=0.7, loss=1.0,
                  genotype=genotypes.DARTS_V2),
        SearchRow(name="random 1", origin="random", status="complete", accuracy=0.72, loss=1.0,
                  genotype=genotypes.DARTS_V2),
    ]
)  # fmt: skip


@pytest.mark.parametrize("name", genotypes.__all__)
def test_a_genotype_shows_its_cells_and_its_notation(name: str) -> None:
    genotype = getattr(genotypes, name)
    page = shown(genotype)
    assert page.said[0] == "Genotype" and page.tags.count("svg") == 1
    assert ("role", "img") in page.attributes and " ".join(str(genotype).split()) in page.said
    for operation, _ in (*genotype.normal, *genotype.reduce, *genotype.recurrent):
        assert operation in page.said


def test_genotypes_count_their_skip_connections_in_words() -> None:
    genes = [("skip_connect", 0), ("sep_conv_3x3", 1)]
    plain = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1)]
    one = Genotype(normal=genes, normal_concat=[2], reduce=plain, reduce_concat=[2])
    assert "normal and reduce, 1 skip connection" in shown(one).said
    none = Genotype(recurrent=[("tanh", 0)], concat=[1])
    assert "recurrent, 0 skip connections" in shown(none).said


def test_a_configuration_shows_first_what_is_not_at_its_default() -> None:
    config = SearchConfig(epochs=3, arch_betas=(0.9, 0.99))
    page = shown(config)
    assert page.has("SearchConfig", "space darts", "not at its default", "value", "default")
    assert page.has("epochs", "3", "50") and page.has("arch_betas", "(0.9, 0.99)", "(0.5, 0.999)")
    rest = page.said[page.said.index("field") + 2 :]
    assert rest[0::2] == [name for name in config.to_dict() if name not in ("space", "epochs", "arch_betas")]
    assert f"the other {len(rest) // 2} fields, at their defaults" in page.said
    assert page.has("channels", "16") and page.has("hypergradient", "'first_order'")


def test_a_configuration_of_defaults_says_so() -> None:
    assert "Every field is at its published default." in shown(SearchConfig()).said
    page = shown(SearchConfig(space="darts-rnn"))
    assert "space darts-rnn" in page.said and "Every field is at its published default." in page.said
    assert page.has("weight_lr", "20.0")
    own = Space(name="mine", nodes=2)
    assert f"space {own!r}" in shown(SearchConfig(space=own)).said


def test_a_result_shows_its_end_its_cells_and_its_last_epochs(tiny_result: SearchResult) -> None:
    page = shown(tiny_result)
    last, config = tiny_result.history[-1], tiny_result.config
    assert page.has("SearchResult", "complete, 2 of 2 epochs") and page.tags.count("svg") == 1
    assert (
        f"in epoch {(best_epoch(tiny_result) or 0) + 1}"
        in page.said[page.said.index("validation accuracy") + 1]
    )
    assert page.has("skip connections", str(tiny_result.genotype.skip_connections))
    assert any(text.startswith(f"{last.valid_accuracy:.2%}, best ") for text in page.said)
    assert page.has(str(last.epoch + 1), f"{last.train_loss:.4f}", f"{last.valid_loss:.4f}")
    assert page.has("channels", str(config.channels), "16") and str(tiny_result.genotype) in page.said
    assert "validation perplexity" not in page.said


def test_a_result_without_an_epoch_and_a_long_one_are_shown(tiny_result: SearchResult) -> None:
    none = dataclasses.replace(tiny_result, history=History([]), status="interrupted")
    assert shown(none).has("SearchResult", "interrupted, 0 of 2 epochs")
    records = [dataclasses.replace(tiny_result.history[0], epoch=epoch, seconds=600.0) for epoch in range(9)]
    page = shown(dataclasses.replace(tiny_result, history=History(records)))
    assert "the last 5 of 9 epochs" in page.said and page.has("duration", "1 h 30 min")
    lost = dataclasses.replace(tiny_result.history[0], valid_loss=float("nan"), valid_accuracy=float("nan"))
    shown(dataclasses.replace(tiny_result, history=History([lost])))


def test_a_result_of_words_has_a_perplexity(tiny_result: SearchResult) -> None:
    space = Space.preset("darts-rnn")
    record = dataclasses.replace(tiny_result.history[0], entropy={"recurrent": 1.5}, valid_loss=np.log(20.0))
    result = dataclasses.replace(
        tiny_result,
        genotype=genotypes.DARTS_RNN_V1,
        alphas={"recurrent": np.zeros((2, len(space.edges), len(space.operations)))},
        config=SearchConfig(space="darts-rnn"),
        history=History([record]),
    )
    page = shown(result)
    assert page.has("validation perplexity", "20.00") and "recurrent 1.500" in page.said


def training(network: nn.Network, records: Sequence[TrainRecord], **choices: Any) -> TrainResult:
    return TrainResult(network, History(records), TrainConfig(epochs=9, **choices), "interrupted")


def test_a_training_shows_its_end_its_best_and_last_epochs() -> None:
    net = build(genotypes.DARTS_V2, channels=2, layers=3, num_classes=10, in_channels=1)
    records = [
        TrainRecord(epoch, 1.5, 1.25, 0.5, accuracy, 0.025, averaged=epoch > 4, seconds=30, valid_top5=0.75)
        for epoch, accuracy in enumerate([0.1, 0.2, 0.3, 0.6, 0.5, 0.4])
    ]
    page = shown(training(net, records, keep="best", weight_lr=0.025))
    assert page.has("TrainResult", "interrupted, 6 of 9 epochs", "network")
    assert f"ConvolutionalNetwork, {sum(p.numel() for p in net.parameters()):,} weights" in page.said
    assert page.has("validation accuracy", "40.00%, best 60.00% in epoch 4")
    assert page.has("validation accuracy, top 5", "75.00%", "weights averaged", "from epoch 6 on")
    assert page.has("duration", "3 min 0 s", "weights kept", "of the best epoch", "the last 5 of 6 epochs")
    assert page.has("6", "1.5000", "1.2500", "50.00%", "40.00%", "0.025", "30.0")
    assert page.has("published", "epochs", "9", "600", "keep", "'best'", "'last'"), "the rate is as published"


def test_trainings_of_words_and_without_an_epoch_are_shown() -> None:
    net = build(genotypes.DARTS_RNN_V2, vocabulary=7, units=8)
    assert shown(training(net, [])).has("TrainResult", "interrupted, 0 of 9 epochs")
    records = [
        TrainRecord(epoch, 2.0, loss, 0.5, 0.1, 20.0, averaged=False, seconds=1)
        for epoch, loss in enumerate([np.log(20.0), np.log(10.0), np.log(40.0), np.nan])
    ]
    page = shown(training(net, records[:3]))
    assert page.has("validation perplexity", "40.00, lowest 10.00 in epoch 2")
    shown(training(net, records))


def test_findings_are_shown_warnings_first_with_their_advice() -> None:
    found = Diagnostics(
        [Finding("note", "ending", "It is <b>complete</b>."), Finding("warning", "gap", "It rose.", "Stop.")]
    )
    page = shown(found)
    assert page.has("Diagnostics", "1 warning, 1 note")
    assert page.has("warning", "It rose.", "Stop.", "note", "It is <b>complete</b>.")
    assert [value for _, value in page.attributes if value in ("pydarts-warning", "pydarts-note")] == [
        "pydarts-warning",
        "pydarts-note",
    ]


def test_a_table_shows_its_rows_what_they_come_to_and_the_best_cell() -> None:
    page = shown(TABLE)
    assert page.has("SearchTable", "4 rows") and page.has("seed 0", "complete", "–", "75.00%", "12,345")
    assert any("+4.00 points" in text for text in page.said)
    assert "the best cell: seed 0" in page.said and " ".join(str(genotypes.DARTS_V1).split()) in page.said
    assert [value for name, value in page.attributes if value == "pydarts-best"] == ["pydarts-best"]


def test_a_table_without_a_best_row_has_no_cell() -> None:
    page = shown(TABLE[1:2])
    assert page.has("SearchTable", "1 row") and "svg" not in page.tags
    assert shown(SearchTable([])).has("SearchTable", "0 rows")


def test_a_network_shows_its_sizes_and_cost() -> None:
    net = Supernet(channels=4, layers=3, num_classes=5, in_channels=1, image_size=8)
    page, cost = shown(net), net.cost()
    assert page.has("Supernet", "darts, float32 on cpu") and page.has("weights", f"{cost['weights']:,}")
    assert page.has("network", "3 cells, 4 initial channels, 5 classes, images 1×8×8")
    assert page.has("α", "224 numbers: normal [14, 8], reduce [14, 8]")
    assert page.has("forward", f"{cost['multiply_adds']:,} multiply-adds per image")


def test_a_network_of_words_shows_words() -> None:
    page = shown(Supernet("darts-rnn", vocabulary=1000, units=8))
    assert page.has("network", "8 units, 1,000 words") and any("per token" in text for text in page.said)


def test_what_others_wrote_is_escaped() -> None:
    evil = "<script>alert(1)</script>&\"'"
    row = SearchRow(name=evil, origin="given", status="failed", error=evil)
    for thing in (
        SearchTable([row]),
        SearchConfig(checkpoint_dir=evil),
        SearchConfig(space=Space(name=evil)),
        Supernet(Space(name=evil, nodes=1), channels=2, layers=3, num_classes=2, in_channels=1, image_size=8),
    ):
        text = thing._repr_html_()
        assert "<script" not in text and "&lt;script" in text
        shown(thing)


def test_cards_are_small() -> None:
    assert len(SearchConfig()._repr_html_()) < 10_000
    assert len(genotypes.DARTS_V2._repr_html_()) < 60_000


def test_pictures_of_two_cells_on_one_page_share_no_name_that_differs() -> None:
    """Clips are found by name, anywhere on the page: equal names must mean equal clips."""
    clips: dict[str, str] = {}
    for name in genotypes.__all__:
        text = getattr(genotypes, name)._repr_html_()
        for key, body in re.findall(r'<clipPath id="(\w+)">(.*?)</clipPath>', text, re.DOTALL):
            assert clips.setdefault(key, body) == body
    assert clips


def test_cells_are_seen_whole_but_on_narrow_screens_and_scroll_there(tmp_path: Path) -> None:
    pages = []
    for name in ("DARTS_RNN_V1", "PC_DARTS_CIFAR"):  # the widest of either kind
        pages.append(tmp_path / f"{name}.html")
        card = getattr(genotypes, name)._repr_html_()
        # As a notebook has it: what is beside the output takes its place.
        page = f"<!doctype html><link rel=icon href='data:,'><body style='margin: 0 80px'>{card}"
        pages[-1].write_text(page, encoding="utf-8")
    with chromium() as browser:
        for file in pages:
            for width, whole in ((900, True), (400, False)):
                with opened(browser, file, width) as page:
                    sizes = "e => [e.scrollWidth - e.clientWidth, e.querySelector('svg').clientWidth]"
                    hidden, drawn = page.locator(".pydarts-picture").evaluate(sizes)
                    assert (hidden == 0) == whole and drawn >= 600, (file.stem, width)
                    assert page.evaluate("document.documentElement.scrollWidth") <= width
            with opened(browser, file, 400) as page:
                edges = []
                for at in (0, 10_000):
                    page.locator(".pydarts-picture").evaluate(f"e => e.scrollLeft = {at}")
                    shot = page.locator(".pydarts-picture").screenshot()
                    grey = np.asarray(Image.open(io.BytesIO(shot)).convert("L"))
                    edges.append(grey[4, [1, -2]].tolist())
                assert edges[0][0] == 255 > 230 > edges[0][1], "a shade where there is more"
                assert edges[1][1] == 255 > 230 > edges[1][0]
