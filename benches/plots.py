"""What the plots share: colours of the sides, and where a picture goes."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

FOLDER = Path(__file__).with_name("plots")
# Hues of Okabe and Ito, told apart with any colour vision.
COLORS = {
    "ours": "#0072b2",
    "unfused": "#56b4e9",
    "plain": "#d55e00",
    "needed": "#e69f00",
    "compiled": "#009e73",
}
MARKERS = {"ours": "o", "plain": "s"}
INK = "#333333"


def save(figure: Figure, section: str, alt: str, write: bool) -> str:
    """The line that shows the picture in RESULTS.md; with `write` the picture is drawn as well."""
    path = FOLDER / f"{section}.svg"
    if write:
        FOLDER.mkdir(exist_ok=True)
        # The same numbers give the same file: no date, and no random names inside.
        with matplotlib.rc_context({"svg.hashsalt": section, "svg.fonttype": "none"}):
            figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")
    return f"![{alt}]({FOLDER.name}/{path.name})"
