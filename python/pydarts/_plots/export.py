"""The cells of a genotype as text: DOT and SVG."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .._palette import look_of
from .cells import cells, cells_of, size_of
from .style import node_name, output_name

if TYPE_CHECKING:
    from .._genotype import Genotype


def to_dot(genotype: Genotype) -> str:
    """The cells in the language of Graphviz, each a cluster of its own."""
    lines = ["digraph genotype {", "  rankdir=LR;", '  node [fontname="sans-serif", shape=box];']
    lines.append('  edge [fontname="sans-serif", fontsize=10];')
    for name, graph, first in cells_of(genotype):
        lines += [f"  subgraph cluster_{name} {{", f"    label={_quoted(name)};"]
        for node in graph.nodes:
            text = output_name(first) if node == "out" else node_name(node, first)
            shape = "" if node == "out" or node < first else ", shape=circle"
            lines.append(
                f"    {name}_{node} [label={_quoted(text.replace('{', '').replace('}', ''))}{shape}];"
            )
        for source, target, operation in graph.edges(data="operation"):
            about = ""
            if operation is not None:
                about = f" [label={_quoted(operation)}, color={_quoted(look_of(operation).color)}]"
            lines.append(f"    {name}_{source} -> {name}_{target}{about};")
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def to_svg(genotype: Genotype) -> str:
    """The cells as an SVG document, the same bytes for the same genotype; text stays text."""
    return as_svg(size_of(genotype), lambda ax: cells(genotype, ax=ax))


def as_svg(size: tuple[float, float], draw: Callable[[Axes], object]) -> str:
    """What `draw` draws into axes that fill `size` inches, as an SVG document."""
    settings = {"svg.hashsalt": "pydarts", "svg.fonttype": "none"}
    # What the user has set is not part of a picture in a file.
    with matplotlib.style.context(["default", settings]), io.StringIO() as text:
        figure = Figure(size)
        FigureCanvasSVG(figure)
        draw(figure.add_axes((0.0, 0.0, 1.0, 1.0)))
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": "pydarts"})
        return text.getvalue()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
