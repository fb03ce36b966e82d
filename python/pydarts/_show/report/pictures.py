"""A cell as a small SVG in the page's colours, with a description in words."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from markupsafe import Markup
from matplotlib.axes import Axes

from ..._values.notations import Edges
from ..._values.space import Space
from ..._values.words import NodeNames
from ..layout import layout
from ..plots.cells import cell_graph, draw_cell
from ..plots.export import as_svg
from ..plots.style import FAINT, INK, INNER, OUTER

_SVG = "http://www.w3.org/2000/svg"
# Names of operations have 8 points, which are 12 pixels on screen, where a point is 4/3 pixels.
_ENLARGED = 12 / (8 * 4 / 3)
# Attributes that most elements have, set once.
_COMMON = {
    "fill": "none",
    "stroke-width": "1.6",
    "stroke-linecap": "round",
    "stroke-linejoin": "round",
    "font-family": "'DejaVu Sans',Verdana,sans-serif",
}
# Colours defined by the page, so that the dark theme can change them.
_COLORS = {INK: "var(--ink)", FAINT: "var(--faint)", INNER: "var(--inner)", OUTER: "var(--outer)"}


def cell_picture(table: str, edges: Edges, concat: tuple[int, ...], space: Space) -> Markup:
    """Return the graph of a cell as an SVG element in natural size, labelled with its edges in words."""
    nodes = NodeNames(space.inputs, space.kind == "recurrent")
    graph = cell_graph(edges, concat, nodes, space.nodes)
    plan = layout(graph)

    def draw(ax: Axes) -> None:
        ax.figure.patch.set_visible(False)
        draw_cell(ax, graph, nodes, "")

    # Wide and high enough for letters in full size; see `draw_cell`.
    size = 1.9 * max(plan.layer.values()) + 0.85, 0.36 * plan.extent + 0.35
    svg = ET.fromstring(as_svg(size, draw))
    width, height = (float(value) for value in svg.attrib["viewBox"].split()[2:])
    _strip(svg)
    for name in list(svg.attrib):
        if name not in ("viewBox", f"{{{_SVG}}}viewBox"):
            del svg.attrib[name]
    svg.attrib |= {
        "width": f"{width * 4 / 3 * _ENLARGED:.0f}",
        "height": f"{height * 4 / 3 * _ENLARGED:.0f}",
        "role": "img",
        "aria-label": words(table, edges, concat, space),
        "style": ";".join(f"{name}:{value}" for name, value in _COMMON.items()),
    }
    svg[:] = list(_leaves(svg))
    ET.register_namespace("", _SVG)
    return Markup(ET.tostring(svg, encoding="unicode"))  # drawn by matplotlib, escaped by ElementTree


def words(table: str, edges: Edges, concat: tuple[int, ...], space: Space) -> str:
    """Describe a cell in words."""
    names, first = NodeNames(space.inputs, space.kind == "recurrent"), space.inputs
    said: dict[int, list[str]] = {node: [] for node in range(first, first + space.nodes)}
    for operation, source, target in edges:
        said[target].append(f"{operation} from {_plain(names.name(source))}")
    parts = (f"node {node}: {', '.join(into) or 'no edges'}" for node, into in said.items())
    nodes = "; ".join(parts)
    output = ", ".join(map(str, concat))
    return f"The {table} cell. {nodes}; output {_plain(names.output)}: nodes {output}."


def _strip(parent: ET.Element) -> None:
    """Remove what an embedded SVG does not need, and shorten the rest."""
    for child in list(parent):
        if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}defs"):
            parent.remove(child)
            continue
        for name in ("id", "clip-path"):
            child.attrib.pop(name, None)
        for name, value in child.attrib.items():
            child.attrib[name] = _short(value)
        if "style" in child.attrib:
            child.attrib["style"] = _own(child.attrib["style"])
        if child.attrib.get("transform", "").startswith("rotate(-0 "):
            del child.attrib["transform"]
        _strip(child)
        child.tail = None
        if child.text is not None and not child.text.strip():
            child.text = None


def _short(value: str) -> str:
    value = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), value)
    return re.sub(r"\s*([;:,])\s*|\s+", lambda gap: gap[1] or " ", value).strip()


def _own(style: str) -> str:
    """Return a style in the page's colours, without what the whole SVG defines."""
    kept = []
    for part in style.split(";"):
        name, _, value = part.partition(":")
        if name not in ("font-family", "stroke-linecap", "stroke-linejoin") and _COMMON.get(name) != value:
            kept.append(f"{name}:{_COLORS.get(value, value)}")
    return ";".join(kept)


def _leaves(parent: ET.Element) -> Iterator[ET.Element]:
    """Yield the drawn elements, without groups that have no effect."""
    for child in parent:
        if child.tag == f"{{{_SVG}}}g" and not child.attrib:
            yield from _leaves(child)
        else:
            yield child


def _plain(name: str) -> str:
    return name.replace("{", "").replace("}", "")
