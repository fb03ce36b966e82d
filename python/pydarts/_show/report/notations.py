"""A genotype in all notations that can express it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from ... import _core
from ..._values.genotype import Genotype


class Notation(NamedTuple):
    """A genotype as text."""

    title: str
    note: str
    text: str


def notations(genotype: Genotype) -> list[Notation]:
    """Return the notations that can express this genotype."""
    found = [
        Notation("The paper's", "also a Python expression; Genotype.from_notation", _lines(str(genotype))),
        Notation("JSON", "Genotype.from_json", genotype.to_json()),
    ]
    # NNI requires an output of all nodes, NAS-Bench-301 its own space.
    with suppress(_core.GenotypeError):
        found.append(Notation("NNI", "Genotype.from_nni", _entries(genotype.to_nni())))
    with suppress(_core.GenotypeError):
        text = _entries(genotype.to_nasbench301())
        found.append(Notation("NAS-Bench-301", "Genotype.from_nasbench301", text))
    with suppress(_core.GenotypeError):
        found.append(Notation("NAS-Bench-201", "Genotype.from_nasbench201", genotype.to_nasbench201()))
    with suppress(_core.GenotypeError):
        text = genotype.to_transnas101()
        found.append(Notation("TransNAS-Bench-101", "Genotype.from_transnas101", text))
    found.append(Notation("DOT", "for Graphviz: dot -Tsvg", genotype.to_dot()))
    return found


def _entries(values: Mapping[str, object]) -> str:
    """Format a JSON object with one line per entry."""
    entries = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
    return f"{{\n{entries}\n}}"


def _lines(text: str) -> str:
    """Format the paper's notation with one line per field."""
    return text.replace("], ", "],\n  ").replace("Genotype(", "Genotype(\n  ", 1)
