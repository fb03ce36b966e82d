"""What `pydarts.LiveView` costs a search, in a terminal and in a notebook.

The same search of scikit-learn's digits runs without a view, with one on a pseudo terminal that somebody
reads, and with one in a notebook whose `display` puts every message into JSON, as a kernel does. Whole
searches alternate, A B C A B C. "in the view" is the part of a search that the callback took by its own
clock, "of it at the end" the last picture, which is drawn when the search is over; "pictures" are those of α.
The ratios are of whole searches, to those without a view: above 1, the view costs time.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import IPython.display
import pydarts
import torch
from common import parser, provenance, publish, ratios, table, timing_options
from pydarts import Callback, LiveView, SearchConfig, SearchResult
from rich.console import Console

SCREEN = (120, 45)  # columns and lines


@dataclass(frozen=True)
class Run:
    """One search."""

    seconds: float
    view: float = 0.0
    last: float = 0.0
    pictures: int = 0


class AtEnd(Callback):
    """Notes what a view has taken before its last picture; stands before the view."""

    def __init__(self, view: LiveView) -> None:
        self.view, self.before = view, 0.0

    def on_end(self, result: SearchResult) -> None:
        self.before = self.view.seconds


def main() -> None:
    made = parser("liveview", __doc__)
    made.add_argument("--channels", type=int, default=8, help="channels of the first cells (%(default)s)")
    made.add_argument("--layers", type=int, default=5, help="number of cells (%(default)s)")
    made.add_argument("--epochs", type=int, default=8, help="epochs of a search (%(default)s)")
    made.add_argument("--share", type=float, default=0.015, help="what the view may take (%(default)s)")
    timing_options(made)
    made.set_defaults(rounds=3, warm=1)
    given = made.parse_args()
    torch.set_num_threads(given.threads)
    about = provenance(
        f"digits of 8×8, {given.channels} channels, {given.layers} cells, batch 64, {given.epochs} epochs, "
        f"first_order, float32, {given.threads} threads, share {given.share:g}; n = {given.rounds} searches "
        f"a side after {given.warm} to warm up; seconds, medians"
    )
    data = pydarts.datasets.digits()
    config = SearchConfig(
        channels=given.channels,
        layers=given.layers,
        epochs=given.epochs,
        batch_size=64,
        device="cpu",
        progress=False,
    )
    sides: dict[str, Callable[[], Run]] = {
        "without": lambda: searched(data, config, None),
        "terminal": lambda: in_terminal(data, config, given.share),
        "notebook": lambda: in_notebook(data, config, given.share),
    }
    runs: dict[str, list[Run]] = {side: [] for side in sides}
    for turn in range(given.warm + given.rounds):
        for side, call in sides.items():
            run = call()
            print(f"{turn} {side}: {run}", flush=True)
            if turn >= given.warm:
                runs[side].append(run)
    header = ["view", "search", "minimum", "ratio of medians", "ratio of minima", "in the view"]
    header += ["of it at the end", "pictures"]
    rows = [row_of(side, kept, runs["without"]) for side, kept in runs.items()]
    publish(given.section, f"{about}\n\n{table(header, rows)}", given.write)


def row_of(side: str, runs: list[Run], without: list[Run]) -> list[str]:
    """A row of the table."""
    seconds, plain = [run.seconds for run in runs], [run.seconds for run in without]
    row = [side, f"{median(seconds):.1f}", f"{min(seconds):.1f}"]
    row += [f"{ratio:.3f}" for ratio in ratios(seconds, plain)]
    if side == "without":
        return [*row, "", "", ""]
    for part in ("view", "last"):
        row.append(f"{median(getattr(run, part) / run.seconds for run in runs):.2%}")
    return [*row, f"{median(run.pictures for run in runs):g}"]


def searched(data: Any, config: SearchConfig, view: LiveView | None) -> Run:
    """A search, and what its view took of it."""
    told: list[Callback] = [] if view is None else [AtEnd(view), view]
    begun = perf_counter()
    pydarts.search(data, config, told)
    seconds = perf_counter() - begun
    if view is None:
        return Run(seconds)
    end = told[0]
    assert isinstance(end, AtEnd)
    return Run(seconds, view.seconds, view.seconds - end.before)


def in_terminal(data: Any, config: SearchConfig, share: float) -> Run:
    """On a pseudo terminal."""
    with pseudo_terminal() as (console, read):
        run = searched(data, config, LiveView(share=share, where="terminal", console=console))
    pictures = len(re.findall(rb"train loss", b"".join(read)))
    return Run(run.seconds, run.view, run.last, pictures)


@contextmanager
def pseudo_terminal() -> Iterator[tuple[Console, list[bytes]]]:
    """A console on a terminal of its own, and what was read from it by the end."""
    ours, theirs = os.openpty()
    read: list[bytes] = []

    def drain() -> None:
        try:
            while data := os.read(ours, 65536):
                read.append(data)
        except OSError:  # nobody writes any more
            pass

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    try:
        with os.fdopen(theirs, "w", encoding="utf-8") as file:
            width, height = SCREEN
            yield Console(file=file, width=width, height=height, color_system="truecolor"), read
        reader.join(5)
    finally:
        os.close(ours)


def in_notebook(data: Any, config: SearchConfig, share: float) -> Run:
    """With a stand-in for the display of a kernel."""
    pictures = 0

    def display(data: dict[str, Any], /, *, raw: bool, display_id: str, update: bool) -> None:
        nonlocal pictures
        json.dumps({"data": data, "metadata": {}, "transient": {"display_id": display_id}}).encode()
        pictures += data["text/plain"].startswith("α over time")

    before, IPython.display.display = IPython.display.display, display
    try:
        run = searched(data, config, LiveView(share=share, where="notebook"))
    finally:
        IPython.display.display = before
    return Run(run.seconds, run.view, run.last, pictures)


if __name__ == "__main__":
    main()
