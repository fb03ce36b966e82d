"""A table in a file, a row an epoch."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from .._search.callbacks import EpochInfo, StartInfo
from .._values.files import write_atomically
from .base import Logger, names, weights

if TYPE_CHECKING:
    from .._results.result import SearchResult


class CSV(Logger):
    """Writes a table with a row an epoch, as soon as it is over; and α, if asked for.

    The columns are those of `history.to_pandas()`, of a recurrent search also the perplexities, and
    `genotype` in the paper's notation. The file of α has a row for each epoch, edge and operation: `epoch,
    table, source, target, operation, weight`, the softmax weight.

    A search that goes on (`resume=True`) goes on in the files that are there: epochs that it does again, and
    a row that was cut off, are taken out first. Any other search wants new files.

    Args:
        path: the file of the table; its folder is made if need be.
        alphas: the file of α; None: none is written.

    Raises:
        FileExistsError: when the search starts: a file that is there already, without `resume`.
        ValueError: when the search starts: a file with other columns.

    >>> import tempfile, numpy as np, pydarts
    >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
    >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pydarts.search((X, y), cfg, pydarts.loggers.CSV(f"{folder}/log.csv"))
    ...     print(open(f"{folder}/log.csv").readline()[:21])
    epoch,train_loss,vali
    """

    def __init__(self, path: str | os.PathLike[str], alphas: str | os.PathLike[str] | None = None) -> None:
        self._table = _Table(Path(path))
        self._alphas = None if alphas is None else _Table(Path(alphas))

    def _begin(self, info: StartInfo) -> None:
        headers = {self._table: ["epoch", *names(self._space), "genotype"]}
        if self._alphas is not None:
            headers[self._alphas] = ["epoch", "table", "source", "target", "operation", "weight"]
        # Both are looked at before one is written: where one is refused, the other stays as it was.
        kept = {table: table.kept(info, columns) for table, columns in headers.items()}
        for table, lines in kept.items():
            table.begin(lines)

    def _write(self, epoch: int, info: EpochInfo, row: dict[str, float]) -> None:
        self._table.write([[epoch, *row.values(), info.genotype]])
        if self._alphas is not None:
            found = weights(info, self._space)
            self._alphas.write([[epoch, *entry, weight] for entry, weight in found.items()])

    def _finish(self, result: SearchResult) -> None:
        self._table.close()
        if self._alphas is not None:
            self._alphas.close()


class _Table:
    """A file of rows that begin with their epoch."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def kept(self, info: StartInfo, columns: list[str]) -> list[str]:
        """The lines to begin with: the header, and of what is there the epochs before the first one."""
        header = ",".join(columns) + "\n"
        rows = self._rows(header, info.config.resume)
        return [header, *(row for row in rows if int(row.split(",", 1)[0]) < info.first_epoch)]

    def begin(self, lines: list[str]) -> None:
        """Open the file with these lines in it."""
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, "".join(lines))
        self._file = self._path.open("a", newline="", encoding="utf-8")

    def _rows(self, header: str, resume: bool) -> list[str]:
        """The whole lines below the header."""
        if not self._path.exists() or not self._path.stat().st_size:
            return []
        if not resume:
            raise FileExistsError(
                f"{self._path} is there already; name another file, or go on with its search (resume=True)"
            )
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        if lines[0] != header:
            raise ValueError(
                f"{self._path} has the columns {lines[0].strip()}, but this search writes {header.strip()}; "
                "name another file"
            )
        return [line for line in lines[1:] if line.endswith("\n")]

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        """Append rows, and see them out of this process."""
        assert self._file is not None
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue())
        self._file.flush()

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = None
