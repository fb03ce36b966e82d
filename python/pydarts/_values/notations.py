"""Genotypes in the notations of other tools: NNI's model hub, NAS-Bench-301 and TransNAS-Bench-101."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeAlias

from .. import _core
from .space import Space
from .words import shown

Genes: TypeAlias = tuple[tuple[str, int], ...]
Edges: TypeAlias = tuple[tuple[str, int, int], ...]

CELLS = ("normal", "reduce")

# Operations of NNI's hub that pydarts has too, under the same names.
NNI_OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "conv_1x1",
    "conv_3x3",
    "conv_7x1_1x7",
)

# NAS-Bench-301 covers this space only; it numbers edges in the order of the rows of α.
NASBENCH301 = Space.preset("darts")
NASBENCH301_OPERATIONS = tuple(name for name in NASBENCH301.operations if name != "none")
NASBENCH301_PREFIX = "NetworkSelectorDatasetInfo:darts:"

# The digits of a cell are the numbers of its operations, in the order of the rows of α.
TRANSNAS101 = Space.preset("transnas-bench-101")
_CODE = re.compile(r"(\d+-[1-4]+-)?([0-3])_([0-3]{2})_([0-3]{3})")


class Cells(Protocol):
    """The part of a `Genotype` that these functions use; `Genotype` itself imports this module."""

    @property
    def tables(self) -> tuple[str, ...]: ...
    @property
    def normal_concat(self) -> tuple[int, ...]: ...
    @property
    def reduce_concat(self) -> tuple[int, ...]: ...
    def edges(self, table: str) -> Edges: ...
    def nodes(self, table: str) -> tuple[Genes, ...]: ...
    def validate(self, space: str | Space) -> None: ...


def to_nni(genotype: Cells) -> dict[str, str | list[int]]:
    """See `Genotype.to_nni`."""
    if genotype.tables != CELLS:
        cells = ", ".join(genotype.tables)
        raise _core.GenotypeError(f"NNI's hub has normal and reduction cells only; this genotype has {cells}")
    values: dict[str, str | list[int]] = {}
    for cell, edges, concat in _cells(genotype):
        nodes = _two_edges(genotype, cell, "NNI's cells")
        if concat != tuple(nodes):
            raise _core.GenotypeError(
                f"cell {cell}: the output consists of nodes {list(concat)}; in NNI's cells it consists "
                f"of all nodes in order, {list(nodes)}"
            )
        for position, (operation, source, node) in enumerate(edges):
            _check_operation(cell, operation, source, node, NNI_OPERATIONS, "NNI's hub")
            edge = position % 2
            values[f"{cell}/op_{node}_{edge}"] = operation
            values[f"{cell}/input_{node}_{edge}"] = [source]
    return values


def from_nni(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a genotype; see `Genotype.from_nni`."""
    _check_mapping(values, "NNI's", "'normal/op_2_0': 'sep_conv_3x3'")
    fields: dict[str, Any] = {}
    for cell in CELLS:
        given = [key for key in values if isinstance(key, str) and key.startswith(f"{cell}/")]
        numbers = (re.fullmatch(r"\w+/(?:op|input)_(\d{1,3})_[01]", key) for key in given)
        nodes = range(2, 1 + max([2, *(int(number[1]) for number in numbers if number)]))
        found, read = [], set()
        for node in nodes:
            edges = []
            for edge in (0, 1):
                operation, source = f"{cell}/op_{node}_{edge}", f"{cell}/input_{node}_{edge}"
                edges.append((_operation(values, operation, NNI_OPERATIONS), _source(values, source, node)))
                read |= {operation, source}
            found.append(edges)
        _check_all_read(given, read, f"{cell}/op_{{node}}_{{0 or 1}} and {cell}/input_{{node}}_{{0 or 1}}")
        fields |= {cell: found, f"{cell}_concat": list(nodes)}
    return fields


def to_nasbench301(genotype: Cells) -> dict[str, str]:
    """See `Genotype.to_nasbench301`."""
    try:
        genotype.validate(NASBENCH301)
    except _core.GenotypeError as error:
        raise _core.GenotypeError(f"NAS-Bench-301 takes cells of space 'darts': {error}") from error
    values: dict[str, str] = {}
    for cell, edges, concat in _cells(genotype):
        _two_edges(genotype, cell, "NAS-Bench-301")
        if concat != NASBENCH301.concat:
            raise _core.GenotypeError(
                f"cell {cell}: the output consists of nodes {list(concat)}; in NAS-Bench-301 it consists of "
                f"all nodes in order, {list(NASBENCH301.concat)}"
            )
        for node in NASBENCH301.concat:
            into = sorted((source, operation) for operation, source, target in edges if target == node)
            for source, operation in into:
                _check_operation(cell, operation, source, node, NASBENCH301_OPERATIONS, "NAS-Bench-301")
                values[_edge_key(cell, source, node)] = operation
            if node > 2:
                values[_inputs_key(cell, node)] = "_".join(str(source) for source, _ in into)
    return values


def from_nasbench301(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a genotype; see `Genotype.from_nasbench301`."""
    _check_mapping(values, "NAS-Bench-301's", f"'{NASBENCH301_PREFIX}edge_normal_0': 'sep_conv_3x3'")
    fields: dict[str, Any] = {}
    for cell in CELLS:
        begins = tuple(f"{NASBENCH301_PREFIX}{what}_{cell}_" for what in ("edge", "inputs_node"))
        # ConfigSpace writes None for a parameter that does not apply.
        given = [
            key
            for key, value in values.items()
            if isinstance(key, str) and key.startswith(begins) and value is not None
        ]
        found, read = [], set()
        for node in NASBENCH301.concat:
            sources = (0, 1) if node == 2 else _inputs(values, _inputs_key(cell, node), node)
            read.add(_inputs_key(cell, node))
            keys = {source: _edge_key(cell, source, node) for source in sources}
            read |= set(keys.values())
            found.append(
                [(_operation(values, key, NASBENCH301_OPERATIONS), source) for source, key in keys.items()]
            )
        _check_all_read(given, read, f"the edges that its {begins[1]}{{3, 4, 5}} choose")
        fields |= {cell: found, f"{cell}_concat": list(NASBENCH301.concat)}
    return fields


def to_transnas101(genotype: Cells, network: str | None) -> str:
    """See `Genotype.to_transnas101`."""
    try:
        genotype.validate(TRANSNAS101)
    except _core.GenotypeError as error:
        raise _core.GenotypeError(f"not a cell of TransNAS-Bench-101: {error}") from error
    digits = {
        (source, target): str(TRANSNAS101.operations.index(name))
        for name, source, target in genotype.edges("cell")
    }
    cell = "_".join("".join(digits[source, node] for source in range(node)) for node in (1, 2, 3))
    code = cell if network is None else f"{network}-{cell}"
    if not _CODE.fullmatch(code):
        raise _core.GenotypeError(f"network is {network!r}; expected a code such as '64-41414'")
    return code


def from_transnas101(text: str) -> dict[str, Any]:
    """The fields of a genotype; see `Genotype.from_transnas101`."""
    found = _CODE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise _core.GenotypeError(
            f"got {shown(text)}; expected a cell of TransNAS-Bench-101 such as '1_02_333' or "
            "'64-41414-1_02_333'"
        )
    nodes = [
        [(TRANSNAS101.operations[int(digit)], source) for source, digit in enumerate(digits)]
        for digits in found.groups()[1:]
    ]
    return {"cell": nodes, "cell_concat": [3]}


def _cells(genotype: Cells) -> Iterator[tuple[str, Edges, tuple[int, ...]]]:
    yield "normal", genotype.edges("normal"), genotype.normal_concat
    yield "reduce", genotype.edges("reduce"), genotype.reduce_concat


def _two_edges(genotype: Cells, cell: str, whose: str) -> range:
    """Check that every node has two edges; return the nodes."""
    for node, edges in enumerate(genotype.nodes(cell), 2):
        if len(edges) != 2:
            raise _core.GenotypeError(
                f"cell {cell}: node {node} has {len(edges)} edges; every node of {whose} has two"
            )
    return range(2, 2 + len(genotype.nodes(cell)))


def _check_operation(
    cell: str, operation: str, source: int, node: int, known: tuple[str, ...], whose: str
) -> None:
    if operation not in known:
        raise _core.GenotypeError(
            f"cell {cell}: the edge from node {source} to node {node} has the operation {operation!r}; "
            f"{whose} has {', '.join(known)}"
        )


def _edge_key(cell: str, source: int, node: int) -> str:
    return f"{NASBENCH301_PREFIX}edge_{cell}_{NASBENCH301.edges.index((source, node))}"


def _inputs_key(cell: str, node: int) -> str:
    return f"{NASBENCH301_PREFIX}inputs_node_{cell}_{node}"


def _check_mapping(values: object, whose: str, example: str) -> None:
    if not isinstance(values, Mapping):
        raise _core.GenotypeError(
            f"{whose} genotypes are dictionaries such as {{{example}, ...}}; got a {type(values).__name__}"
        )


def _check_all_read(given: list[str], read: set[str], known: str) -> None:
    for key in given:
        if key not in read:
            raise _core.GenotypeError(f"{shown(key)} does not belong to this cell; the keys are {known}")


def _value(values: Mapping[str, Any], key: str) -> Any:
    if key not in values:
        raise _core.GenotypeError(f"the dictionary lacks {shown(key)}")
    return values[key]


def _operation(values: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    value = _value(values, key)
    if not isinstance(value, str) or value not in known:
        raise _core.GenotypeError(f"{shown(key)} is {shown(value)}; it must be one of {', '.join(known)}")
    return value


def _source(values: Mapping[str, Any], key: str, node: int) -> int:
    value = _value(values, key)
    source = value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
    if not isinstance(source, int) or isinstance(source, bool) or not 0 <= source < node:
        raise _core.GenotypeError(
            f"{shown(key)} is {shown(value)}; it must be [source], a node from 0 to {node - 1}"
        )
    return source


def _inputs(values: Mapping[str, Any], key: str, node: int) -> tuple[int, int]:
    value = _value(values, key)
    choices = {f"{i}_{j}": (i, j) for j in range(node) for i in range(j)}
    if not isinstance(value, str) or value not in choices:
        raise _core.GenotypeError(
            f"{shown(key)} is {shown(value)}; it must be one of {', '.join(sorted(choices))}"
        )
    return choices[value]
