"""Cells as text: DOT and SVG."""

import re
import xml.etree.ElementTree as ET
from collections import Counter

import matplotlib as mpl
import pydarts
import pytest
from drawn import convolutional, recurrent
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import Genotype, genotypes
from pydarts._show.palette import look_of

TEXT = "{http://www.w3.org/2000/svg}text"


def wanted(genotype: Genotype) -> Counter[tuple[str, str, str]]:
    """(cell and source, cell and target, operation) of every edge, "" for edges without an operation."""
    edges: Counter[tuple[str, str, str]] = Counter()
    if genotype.recurrent:
        edges.update((f"recurrent_{before}", "recurrent_0", "") for before in ("x_t", "h_t1"))
    for name, genes, concat, first, k in (
        ("normal", genotype.normal, genotype.normal_concat, 2, 2),
        ("reduce", genotype.reduce, genotype.reduce_concat, 2, 2),
        ("recurrent", genotype.recurrent, genotype.concat, 1, 1),
    ):
        for place, (operation, source) in enumerate(genes):
            edges[f"{name}_{source}", f"{name}_{first + place // k}", operation] += 1
        for node in concat:
            edges[f"{name}_{node}", f"{name}_out", ""] += 1
    return edges


@given(genotype=st.one_of(convolutional(), recurrent()))
@settings(max_examples=60, deadline=None)
def test_dot_has_every_edge_of_every_cell_once(genotype: Genotype) -> None:
    text = genotype.to_dot()
    found = re.findall(r'^ +(\w+) -> (\w+)(?: \[label="(\w+)", color="(#\w+)"\])?;$', text, re.MULTILINE)
    assert Counter((source, target, operation) for source, target, operation, _ in found) == wanted(genotype)
    assert all(color == look_of(operation).color for *_, operation, color in found if operation)
    nodes = re.findall(r'^ +(\w+) \[label="[^"]+"(?:, shape=circle)?\];$', text, re.MULTILINE)
    ends = {name for source, target, _ in wanted(genotype) for name in (source, target)}
    inputs = {"normal_0", "normal_1", "reduce_0", "reduce_1"} if genotype.normal else {"recurrent_0"}
    assert sorted(nodes) == sorted(ends | inputs)
    assert text.startswith("digraph") and text.count("{") == text.count("}") and text.endswith("}\n")


@pytest.mark.parametrize("name", genotypes.__all__)
def test_svg_is_xml_whose_text_is_text(name: str) -> None:
    genotype = getattr(genotypes, name)
    root = ET.fromstring(genotype.to_svg())
    texts = Counter("".join(element.itertext()).strip() for element in root.iter(TEXT))
    operations = Counter(
        op for cell in (genotype.normal, genotype.reduce, genotype.recurrent) for op, _ in cell
    )
    assert {name: texts[name] for name in operations} == operations
    cells = [name for name in ("normal", "reduce", "recurrent") if getattr(genotype, name)]
    assert all(texts[cell] == 1 for cell in cells)


def test_svg_is_the_same_bytes_whatever_the_user_has_set() -> None:
    before = genotypes.DARTS_V2.to_svg()
    changed = {"svg.fonttype": "path", "svg.hashsalt": "other", "font.size": 20, "lines.linewidth": 9}
    with mpl.rc_context(changed):
        kept = dict(mpl.rcParams)
        assert genotypes.DARTS_V2.to_svg() == before
        assert dict(mpl.rcParams) == kept
    assert "<style" not in before, "it would hold for the page that the picture stands in"
    assert "date" not in before.lower() and "metadata" not in before
    assert 'style="stroke-linejoin: round; stroke-linecap: butt"' in before


def test_svg_opens_no_figure_of_pyplot() -> None:
    import matplotlib.pyplot as plt

    genotypes.DARTS_RNN_V1.to_svg()
    assert not plt.get_fignums()


def test_a_genotype_plots_itself() -> None:
    assert [ax.get_title(loc="left") for ax in pydarts.genotypes.DARTS_V1.plot()] == ["normal", "reduce"]
    (ax,) = pydarts.genotypes.DARTS_RNN_V1.plot()
    assert ax.get_title(loc="left") == "recurrent"
