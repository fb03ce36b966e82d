"""Read the accuracies of NAS-Bench-201 from `.npz` and `.csv` files."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .._core import DataError, GenotypeError
from .._values.files import read_npz, user_path
from .._values.nas_bench_201 import COUNT, EDGES, OPERATIONS, string_of
from .._values.words import listed, shown

DATASETS = ("cifar10", "cifar100", "imagenet16-120")

Column = tuple[str, str]
"""A data set and a split."""
Accuracies = npt.NDArray[np.float64]


class Table(NamedTuple):
    """The contents of a file."""

    strings: tuple[str, ...]
    """All architectures, in the order of the file."""
    accuracies: dict[Column, Accuracies]
    """Percent, in the order of `strings`."""


def read(path: str | os.PathLike[str]) -> Table:
    """Read and check a file; see `NASBench201` for the formats.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file has another format, or its table is incomplete.
    """
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no file {os.fspath(path)!r}; pass the table of NAS-Bench-201 as an .npz or .csv file. pydarts "
            "does not contain it; help(pydarts.benchmarks.NASBench201) describes the formats"
        )
    readers = {".npz": _npz, ".csv": _csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"expected an .npz or .csv file, got {shown(path.name)}; pickles, such as the .pth files of the "
            "published API, are not read, because they can run code: export the accuracies once"
        )
    table = reader(path)
    _check_strings(table.strings, path)
    if not table.accuracies:
        raise DataError(f"{path} contains no accuracies; expected names such as cifar10_test")
    for column, values in table.accuracies.items():
        _check_values("_".join(column), values, table.strings, path)
    return table


def _npz(path: Path) -> Table:
    arrays = read_npz(path)
    for name in ("ops", "edges"):
        if name not in arrays:
            raise DataError(f"{path} does not contain {name}; found {listed(sorted(arrays)) or 'nothing'}")
    accuracies = {}
    if "acc200" in arrays:
        values = _shaped("acc200", arrays, (COUNT, len(DATASETS)), "iuf", path)
        accuracies = {(dataset, "test"): values[:, place] for place, dataset in enumerate(DATASETS)}
    named = {name: column for name in arrays if (column := _column(name))}
    _check_distinct([*map("_".join, accuracies), *named], path)
    for name, column in named.items():
        accuracies[column] = _shaped(name, arrays, (COUNT,), "iuf", path)
    return Table(_strings(arrays, path), {column: _decimals(values) for column, values in accuracies.items()})


def _strings(arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> tuple[str, ...]:
    """Return the strings of all rows of `edges`, whose entries are indices of `ops`."""
    names = [str(name) for name in arrays["ops"].reshape(-1)]
    if sorted(names) != sorted(OPERATIONS):
        raise DataError(f"ops of {path} is {shown(names)}; expected {', '.join(OPERATIONS)}")
    edges = _shaped("edges", arrays, (COUNT, len(EDGES)), "iu", path)
    if edges.min() < 0 or edges.max() >= len(names):
        raise DataError(
            f"edges of {path} contains {edges.min()} to {edges.max()}; expected indices of ops, 0 to 4"
        )
    return tuple(string_of([names[place] for place in row]) for row in edges.tolist())


def _shaped(
    name: str, arrays: Mapping[str, npt.NDArray[Any]], shape: tuple[int, ...], kinds: str, path: Path
) -> npt.NDArray[Any]:
    """Return an array of this shape whose dtype is of one of these kinds."""
    values = arrays[name]
    if values.shape != shape or values.dtype.kind not in kinds:
        kind = "integers" if kinds == "iu" else "numbers"
        raise DataError(
            f"{name} of {path} has shape {list(values.shape)} and dtype {values.dtype}; expected {kind} of "
            f"shape {list(shape)}"
        )
    return values


def _decimals(values: npt.NDArray[Any]) -> Accuracies:
    """Return float64: of shorter floats the decimal that they print as, 94.3733 and not 94.37329864501953.

    >>> _decimals(np.array([94.3733], np.float32)).tolist()
    [94.3733]
    """
    shorter = values.dtype.kind == "f" and values.dtype.itemsize < 8
    return (values.astype(str) if shorter else values).astype(np.float64)


def _csv(path: Path) -> Table:
    strings, rows = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            places = {column: header.index(name) for name in header if (column := _column(name))}
            if "architecture" not in header:
                raise DataError(f"{path} has no column architecture; found {listed(header) or 'nothing'}")
            _check_distinct(header, path)
            at = header.index("architecture")
            for row in filter(None, lines):
                where = f"line {lines.line_num} of {path}"
                if len(row) != len(header):
                    raise DataError(
                        f"{where} has {len(row)} values; expected {len(header)}, as in the header"
                    )
                strings.append(_checked(row[at], where))
                rows.append([_number(row[place], header[place], where) for place in places.values()])
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error!s:.500}") from error
    values = np.array(rows, np.float64).reshape(len(rows), len(places))
    return Table(tuple(strings), {column: values[:, place].copy() for place, column in enumerate(places)})


def _checked(string: str, where: str) -> str:
    try:
        return string_of(string)
    except GenotypeError as error:
        raise DataError(f"{where}: {error}") from None


def _number(text: str, name: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{where}: {name} is {shown(text)}; expected a number") from None


def _column(name: str) -> Column | None:
    """Return data set and split of a name `<dataset>_<split>`; None: it names something else.

    >>> _column("imagenet16-120_test"), _column("seconds")
    (('imagenet16-120', 'test'), None)
    """
    dataset, _, split = name.partition("_")
    return (dataset, split) if dataset in DATASETS and split else None


def _check_distinct(names: Iterable[str], path: Path) -> None:
    seen = set[str]()
    for name in names:
        if name in seen:
            raise DataError(f"{path} contains {name} twice")
        seen.add(name)


def _check_strings(strings: tuple[str, ...], path: Path) -> None:
    """Check that there are as many rows as architectures, all different: then none is missing."""
    if len(strings) != COUNT:
        raise DataError(f"{path} has {len(strings)} rows; expected {COUNT}, one per architecture")
    rows = dict[str, int]()
    for row, string in enumerate(strings):
        if rows.setdefault(string, row) != row:
            raise DataError(f"rows {rows[string]} and {row} of {path} are both {string}; expected it once")


def _check_values(name: str, values: Accuracies, strings: tuple[str, ...], path: Path) -> None:
    wrong = ~((values >= 0) & (values <= 100))  # NaN too
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{name} of {path} is {values[row]} for {strings[row]} (row {row}); expected percent, 0 to 100"
        )
    if values.max() <= 1:
        raise DataError(f"{name} of {path} is at most {values.max()}: expected percent, got fractions")
