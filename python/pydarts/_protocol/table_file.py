"""The file of a `SearchTable`: CSV with a column of checksums."""

from __future__ import annotations

import csv
import io
import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args

from .._values.fields import MetricMode
from .._values.genotype import Genotype
from .._values.words import shown
from .row import BenchmarkScore, Origin, RowStatus, SearchRow

_NO_COLUMNS = ("benchmark", "result", "training")
_COLUMNS = tuple(entry.name for entry in fields(SearchRow) if entry.name not in _NO_COLUMNS)
_OF_METRICS = ("metric", "metric_mode", "search_value", "value")
_OF_MODULES = ("architecture",)
_OF_FAMILY = ("algorithm",)
_OLDER = tuple(name for name in _COLUMNS if name not in (*_OF_METRICS, *_OF_MODULES, *_OF_FAMILY))


def columns_of(rows: Sequence[SearchRow]) -> tuple[str, ...]:
    """Return the columns of rows.

    Those of metrics, architectures, algorithms and benchmarks only if a row has one.
    """
    left: tuple[str, ...] = () if any(row.metric is not None for row in rows) else _OF_METRICS
    left += () if any(row.architecture is not None for row in rows) else _OF_MODULES
    left += () if any(row.algorithm is not None for row in rows) else _OF_FAMILY
    return (*(name for name in _COLUMNS if name not in left), *benchmark_columns(rows))


def benchmarks_of(rows: Iterable[SearchRow]) -> list[str]:
    """Return the data sets and splits of benchmarks that rows have scores of, such as "cifar10_test"."""
    return list(dict.fromkeys(name for row in rows for name in row.benchmark))


def benchmark_columns(rows: Iterable[SearchRow]) -> list[str]:
    """Return the columns of benchmarks, such as "cifar10_test_rank"."""
    return [column for name in benchmarks_of(rows) for column in _columns(name)]


def _columns(name: str) -> list[str]:
    return [f"{name}_{field}" for field in BenchmarkScore._fields]


def values_of(row: SearchRow, columns: Iterable[str]) -> dict[str, Any]:
    """Return the values of a row by column; None where a benchmark has no score of it."""
    scores = {
        column: value
        for name, score in row.benchmark.items()
        for column, value in zip(_columns(name), score, strict=True)
    }
    return {name: getattr(row, name) if name in _COLUMNS else scores.get(name) for name in columns}


def written(rows: Sequence[SearchRow]) -> str:
    """Return the text of the file."""
    text, columns = io.StringIO(newline=""), columns_of(rows)
    writer = csv.writer(text)
    writer.writerow([*columns, _SUM])
    cells = [[as_text(value) for value in values_of(row, columns).values()] for row in rows]
    writer.writerows([*row, found] for row, found in zip(cells, _sums(cells), strict=True))
    return text.getvalue()


def as_text(value: Any) -> str:
    if isinstance(value, Genotype):
        return value.to_json()
    if isinstance(value, Mapping):
        return json.dumps(value)
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def rows_of(data: bytes) -> list[SearchRow]:
    """Read the rows of a file.

    Raises:
        ValueError: the file is not such a table, was changed, or a value is out of range.
    """
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    columns, *rows = [row for row in reader if row] or [[]]
    names = tuple(name for name in columns if name != _SUM)  # earlier versions wrote no checksum
    most = tuple({*part} & {*names} for part in (_OF_METRICS, _OF_MODULES, _OF_FAMILY))
    wanted = [name for name in _COLUMNS if name in _OLDER or any(name in part for part in most)]
    whole = most[0] in (set(), {*_OF_METRICS})
    benchmarks = [
        name.removesuffix("_accuracy") for name in names[len(wanted) :: len(BenchmarkScore._fields)]
    ]
    wanted += [column for name in benchmarks for column in _columns(name)]
    if list(names) != wanted or not whole or columns not in ([*names], [*names, _SUM]):
        raise ValueError(f"its columns are {shown(columns)}, expected {', '.join(_COLUMNS)}")
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"expected {len(columns)} fields in a row, got {shown(row)}")
    if columns[-1] == _SUM:
        sums = [row.pop() for row in rows]
        for row, given, found in zip(rows, sums, _sums(rows), strict=True):
            if given != found:
                raise ValueError(
                    f"the checksum of row {shown(row[0])} differs, so the table was damaged or changed after "
                    f"it was written; to read it as it is, remove the column {_SUM}"
                )
    return [_row(dict(zip(names, row, strict=True)), benchmarks) for row in rows]


def _sums(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Yield the checksum of each row, which depends on the rows before it and on their number."""
    found = zlib.crc32(str(len(rows)).encode())
    for row in rows:
        found = zlib.crc32(json.dumps(row).encode(), found)
        yield f"{found:08x}"


def _row(values: dict[str, str], benchmarks: Iterable[str]) -> SearchRow:
    texts_of = {name: [values.pop(column) for column in _columns(name)] for name in benchmarks}
    scores = {name: _score(name, *texts) for name, texts in texts_of.items() if any(texts)}
    texts = {"origin": get_args(Origin), "status": get_args(RowStatus), "metric_mode": get_args(MetricMode)}
    for name, known in texts.items():
        if name in values and values[name] not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {shown(values[name])}")
    found: dict[str, Any] = {
        name: _READ.get(name, str)(text) if text or name == "name" else None for name, text in values.items()
    }
    for name, most in _RANGES.items():
        value = found[name]
        if value is not None and not (0 <= value <= most and value < math.inf):
            raise ValueError(f"{name} must be in [0, {most:g}], got {shown(values[name])}")
    return SearchRow(**found, benchmark=scores)


def _score(name: str, accuracy: str, rank: str, regret: str) -> BenchmarkScore:
    found = BenchmarkScore(float(accuracy), int(rank), float(regret))
    if not (0 <= found.accuracy <= 100 and found.rank >= 1 and 0 <= found.regret <= 100):
        raise ValueError(
            f"accuracy and regret on {name} must be in [0, 100] and the rank from 1 on, got "
            f"{shown((accuracy, rank, regret))}"
        )
    return found


def _architecture(text: str) -> dict[str, Any]:
    """Return an architecture from JSON, which has lists instead of tuples."""
    values = json.loads(text)
    entries = values.values() if isinstance(values, dict) else [None]
    if not all(isinstance(one, str) or (isinstance(one, list) and all(map(_whole, one))) for one in entries):
        raise ValueError(f"architecture must map choices to candidates, got {shown(values)}")
    return {name: tuple(one) if isinstance(one, list) else one for name, one in values.items()}


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0


_SUM = "crc32"
_RANGES = {
    **dict.fromkeys(("search_accuracy", "accuracy"), 1.0),
    **dict.fromkeys(("weights", "multiply_adds", "seconds"), math.inf),
}
_READ: dict[str, Callable[[str], Any]] = {
    "genotype": Genotype.from_json,
    "architecture": _architecture,
    "weights": int,
    "multiply_adds": int,
    **dict.fromkeys(("search_accuracy", "search_loss", "accuracy", "loss", "seconds"), float),
    **dict.fromkeys(("search_value", "value"), float),
}
