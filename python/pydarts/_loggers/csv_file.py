"""A logger that writes a CSV file with one row per epoch."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from .._results.tables import is_cells
from .._search.callbacks import EpochInfo, StartInfo
from .._values.files import user_path, write_atomically
from .base import Logger, names, weights

if TYPE_CHECKING:
    from .._results.result import SearchResult


_METRIC = "metric_"
_OF_SEARCHES = ("entropy_", "train_", "valid_")  # names of columns that only some searches have


class CSV(Logger):
    """Writes a CSV file with one row per epoch, as soon as the epoch ends, and optionally a file with α.

    The columns are those of `history.to_pandas()`, such as `metric_f1` for a metric and `temperature` for a
    diagnostic, in a recurrent search also the perplexities, and `genotype` in the paper's notation. If a
    value is first measured in a later epoch, its column is added then and is empty in the rows above. The
    file of α has one row per epoch, edge and operation: `epoch, table, source, target, operation, weight`,
    the mixing weight.

    A resumed search (`resume=True`) appends to existing files, after removing incomplete rows and epochs that
    it repeats. Any other search requires new files.

    Args:
        path: the file of the table; its folder is created if necessary.
        alphas: the file of α; None: α is not written.

    Raises:
        FileExistsError: at the start of a search without `resume`, if a file exists.
        ValueError: at the start of a search, if a file has other columns; at the first epoch, if it has
            columns of other metrics.

    >>> import tempfile, numpy as np, pydarts
    >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
    >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pydarts.search((X, y), cfg, pydarts.loggers.CSV(f"{folder}/log.csv"))
    ...     print(open(f"{folder}/log.csv").readline()[:21])
    epoch,train_loss,vali
    """

    def __init__(self, path: str | os.PathLike[str], alphas: str | os.PathLike[str] | None = None) -> None:
        self._table = _Table(user_path(path), grows=True)
        self._alphas = None if alphas is None else _Table(user_path(alphas))

    def _begin(self, info: StartInfo) -> None:
        headers = {self._table: ["epoch", *names(self._tables), "genotype"]}
        if self._alphas is not None:
            row = ["source", "target", "operation"] if is_cells(self._tables) else ["row", "candidate"]
            headers[self._alphas] = ["epoch", "table", *row, "weight"]
        # Both files are checked before one is changed.
        kept = {table: table.kept(info, columns) for table, columns in headers.items()}
        for table, lines in kept.items():
            table.begin(lines)

    def _write(self, epoch: int, info: EpochInfo, row: dict[str, float]) -> None:
        self._table.write_named({"epoch": epoch, **row, "genotype": info.genotype})
        if self._alphas is not None:
            found = weights(info, self._config, self._tables)
            parts = (lambda row: row.split("_")) if is_cells(self._tables) else (lambda row: [row or "0"])
            rows = [[epoch, table, *parts(row), name, at] for (table, row, name), at in found.items()]
            self._alphas.write(rows)

    def _finish(self, result: SearchResult) -> None:
        self._table.close()
        if self._alphas is not None:
            self._alphas.close()


class _Table:
    """A file whose rows begin with their epoch."""

    def __init__(self, path: Path, grows: bool = False) -> None:
        self._path, self._grows = path, grows
        self._file: TextIO | None = None
        self._columns: list[str] = []
        self._begun = False  # whether there are rows

    def kept(self, info: StartInfo, columns: list[str]) -> list[str]:
        """Return the lines to keep: the header, and existing rows of epochs before the first one."""
        header, rows = self._rows(columns, bool(info.config.resume))
        return [header, *(row for row in rows if int(row.split(",", 1)[0]) < info.first_epoch)]

    def begin(self, lines: list[str]) -> None:
        """Open the file and write these lines."""
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, "".join(lines))
        self._file = self._path.open("a", newline="", encoding="utf-8")
        self._columns, self._begun = next(csv.reader(lines[:1])), len(lines) > 1

    def write_named(self, row: Mapping[str, object]) -> None:
        """Append a row by the names of its columns; columns of diagnostics that are new are added.

        Raises:
            ValueError: the rows before have other metrics.
        """
        if not self._begun and list(row) != self._columns:
            self.begin([_line(list(row))])
        metrics = [{name for name in names if name.startswith(_METRIC)} for names in (self._columns, row)]
        if metrics[0] != metrics[1]:
            raise _other_columns(self._path, _line(self._columns), _line(list(row)))
        new = [name for name in row if name not in self._columns]
        if new:
            self._add(new)
        self.write([[row.get(name) for name in self._columns]])

    def _add(self, new: list[str]) -> None:
        """Add columns before the last one, the genotype; they are empty in the rows so far."""
        text = self._path.read_text(encoding="utf-8")
        head, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        wider = [[*head[:-1], *new, head[-1]], *([*row[:-1], *("" for _ in new), row[-1]] for row in rows)]
        self.begin([_line(row) for row in wider])

    def _rows(self, columns: list[str], resume: bool) -> tuple[str, list[str]]:
        """Return the header and the complete lines below it; in an existing file it may have more columns."""
        if not self._path.exists() or not self._path.stat().st_size:
            return _line(columns), []
        if not resume:
            raise FileExistsError(
                f"{self._path} already exists; use another file, or continue its search with resume=True"
            )
        lines = self._path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
        known = next(csv.reader(lines[:1]))
        more = [name for name in known if name not in columns]
        foreign = [name for name in more if not self._grows or name.startswith(_OF_SEARCHES)]
        if foreign or [name for name in known if name in columns] != columns:
            raise _other_columns(self._path, lines[0], _line(columns))
        return lines[0], [line for line in lines[1:] if line.endswith("\n")]

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        """Append rows and flush the file."""
        assert self._file is not None
        self._file.write("".join(map(_line, rows)))
        self._file.flush()
        self._begun = True

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(row: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def _other_columns(path: Path, found: str, wanted: str) -> ValueError:
    return ValueError(
        f"{path} has the columns {found.strip()}, but this search writes {wanted.strip()}; use another file"
    )
