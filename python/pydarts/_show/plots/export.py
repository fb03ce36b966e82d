"""Export of the cells of a genotype as DOT and SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ..palette import look_of
from .cells import cells, cells_of, is_inner, size_of, text_of

if TYPE_CHECKING:
    from ..._values.genotype import Genotype


def to_dot(genotype: Genotype) -> str:
    """Return the cells in the language of Graphviz, one cluster per cell."""
    lines = ["digraph genotype {", "  rankdir=LR;", '  node [fontname="sans-serif", shape=box];']
    lines.append('  edge [fontname="sans-serif", fontsize=10];')
    for name, graph, nodes in cells_of(genotype):
        lines += [f"  subgraph cluster_{name} {{", f"    label={_quoted(name)};"]
        for node in graph.nodes:
            text = text_of(node, nodes)
            shape = ", shape=circle" if is_inner(node, nodes) else ""
            lines.append(
                f"    {_id(name, node)} [label={_quoted(text.replace('{', '').replace('}', ''))}{shape}];"
            )
        for source, target, operation in graph.edges(data="operation"):
            about = ""
            if operation is not None:
                style = ", style=dotted" if operation == "none" else ""
                about = f" [label={_quoted(operation)}, color={_quoted(look_of(operation).color)}{style}]"
            lines.append(f"    {_id(name, source)} -> {_id(name, target)}{about};")
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def to_svg(genotype: Genotype) -> str:
    """Return the cells as an SVG document with text as text, the same bytes for the same genotype."""
    return as_svg(size_of(genotype), lambda ax: cells(genotype, ax=ax))


def as_svg(size: tuple[float, float], draw: Callable[[Axes], object]) -> str:
    """Return what `draw` draws into axes of `size` inches as an SVG document."""
    settings = {"svg.hashsalt": "pydarts", "svg.fonttype": "none", "font.sans-serif": _FONTS}
    # The user's settings of matplotlib must not change the file.
    with matplotlib.style.context(["default", settings]), io.StringIO() as text:
        figure = Figure(size)
        FigureCanvasSVG(figure)
        draw(figure.add_axes((0.0, 0.0, 1.0, 1.0)))
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        return _STYLE.sub(_inherited, text.getvalue(), count=1)


# A style sheet in an embedded SVG would apply to the whole page.
_STYLE = re.compile(
    r'(<svg )(.*?)\s*<defs>\s*<style type="text/css">\*\{([^}]*)\}</style>\s*</defs>', re.DOTALL
)
_FONTS = ["DejaVu Sans", "Verdana", "Arial"]


def _inherited(found: re.Match[str]) -> str:
    """Move the rules for all elements to the style of the root element, which the others inherit."""
    return f'{found[1]}style="{found[3]}" {found[2]}'


def _id(cell: str, node: object) -> str:
    """Return an identifier of a node: letters, digits and underscores."""
    return re.sub(r"\W", "", f"{cell}_{node}")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
