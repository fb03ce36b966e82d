"""`SearchTable`: cells in comparison."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, get_args, overload

from .._results.history import frame
from .._values import views
from .._values.files import read_checked, user_path, write_atomically
from .._values.plot import Plot, PlotOptions
from .._values.words import listed, shown
from .row import ACCURACY, BenchmarkScore, Measure, Origin, RowStatus, SearchRow
from .table_file import as_text, benchmark_columns, benchmarks_of, columns_of, rows_of, values_of, written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from typing_extensions import Unpack


class Summary(NamedTuple):
    """Mean, sample standard deviation (n - 1; NaN for fewer than two scores) and number of scores."""

    mean: float
    deviation: float
    n: int


class SearchTable(Sequence[SearchRow]):
    """The rows of cells with the same short training, as `search_many` and `compare` return them.

    A sequence of `SearchRow`; `print` shows it with mean ± standard deviation and n of every origin.

    >>> table = SearchTable(
    ...     [
    ...         SearchRow(name="seed 0", origin="searched", status="complete", accuracy=0.75, loss=0.9),
    ...         SearchRow(name="seed 1", origin="searched", status="failed", error="NumericalError: NaN"),
    ...     ]
    ... )
    >>> print(table)
    name    status    search  trained  weights  seconds  error
    seed 0  complete       –   75.00%        –      0.0
    seed 1  failed         –        –        –      0.0  NumericalError: NaN
    <BLANKLINE>
    searched  75.00%  n = 1 of 2
    >>> table.best is table[0], table.summary("searched").n
    (True, 1)
    """

    def __init__(self, rows: Iterable[SearchRow]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> SearchRow: ...
    @overload
    def __getitem__(self, index: slice) -> SearchTable: ...
    def __getitem__(self, index: int | slice) -> SearchRow | SearchTable:
        return SearchTable(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        return self._rows == other._rows if isinstance(other, SearchTable) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @property
    def best(self) -> SearchRow | None:
        """The best row after the short training, without random cells; None if there is none.

        The selection uses the scores of this table, so its score is biased: evaluate the cell on new data.
        """
        trained = [row for row in self if row.origin != "random" and row.score is not None]
        return max(trained, key=lambda row: row.merit, default=None)

    @property
    def status(self) -> RowStatus:
        """ "interrupted" after Ctrl-C, "failed" if any row is, otherwise "complete"."""
        found = {row.status for row in self}
        if found & {"interrupted", "waiting"}:
            return "interrupted"
        return "failed" if "failed" in found else "complete"

    def summary(self, origin: Origin, algorithm: str | None = None, column: str | None = None) -> Summary:
        """Return mean and deviation of the scores of one origin: those of `SearchRow.score`.

        Infinite scores have no deviation. With `algorithm`, only rows of this `SearchRow.algorithm` count, or
        with "darts" those that have none. With `column`, the values of this column of a benchmark, such as
        "cifar10_test_accuracy".

        Raises:
            ValueError: no row has a value in `column`, or it is not one of a benchmark.
        """
        if column is not None and column not in (known := benchmark_columns(self)):
            raise ValueError(f"no column {shown(column)} of a benchmark; found {listed(known) or 'none'}")
        rows = self._rows_of(origin, algorithm)
        found = [row.score if column is None else values_of(row, [column])[column] for row in rows]
        scores: list[float] = [value for value in found if value is not None]
        return Summary(
            statistics.fmean(scores) if scores else math.nan,
            statistics.stdev(scores) if len(scores) > 1 and all(map(math.isfinite, scores)) else math.nan,
            len(scores),
        )

    @property
    def verdicts(self) -> tuple[str, ...]:
        """One sentence per origin: whether its difference from random cells exceeds the deviation.

        Empty without random cells, or if there are too few for a deviation.
        """
        chance = self.summary("random")
        said = []
        for origin in self._origins:
            found = self.summary(origin)
            deviations = [part.deviation for part in (found, chance) if not math.isnan(part.deviation)]
            if origin == "random" or not found.n or not chance.n or not deviations:
                continue
            difference, deviation = found.mean - chance.mean, max(deviations)
            measure = self.measure
            scale, unit = (100.0, " points") if measure.percent else (1.0, "")
            spec = ".2f" if measure.format != ".4g" else ".4g"
            text = f"{origin} − random = {difference * scale:+{spec}}{unit}"
            if min(found.n, chance.n) < 2:
                text += f": not significant with n = {min(found.n, chance.n)}"
            elif abs(difference) <= deviation:
                text += f", within one standard deviation ({deviation * scale:{spec}}): not significant"
            else:
                text += f", more than one standard deviation ({deviation * scale:{spec}})"
            said.append(text)
        return tuple(said)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rows to a CSV file, with genotypes as JSON; the folder must exist.

        The file is replaced atomically. Its last column, `crc32`, is a checksum of the number of rows and of
        all rows up to this one. pandas and spreadsheets read the file; `load` refuses it if it was changed
        and still has that column.
        """
        write_atomically(user_path(path), written(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SearchTable:
        """Read the rows of a file that `save` wrote, without their results.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file is truncated, malformed, changed after it was written, or not such
                a table; or a value is out of range. The message names it.
        """
        return cls(read_checked(user_path(path), rows_of))

    def to_pandas(self) -> pd.DataFrame:
        """Return a table with one row per cell; columns as in the file, genotypes in the paper's notation.

        Raises:
            ImportError: pandas is not installed.
        """
        columns = columns_of(self)
        rows = [values_of(row, columns) for row in self]
        for row in rows:
            row["genotype"] = None if row["genotype"] is None else str(row["genotype"])
            if row.get("architecture") is not None:
                row["architecture"] = as_text(row["architecture"])
        return frame(rows, "table", columns)

    def plot(
        self,
        ax: Axes | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Plot the scores, one point per cell, with mean ± standard deviation of each origin.

        Args:
            ax: axes to draw into; None: a new figure.
            options: `path`, `figsize` and `style`, as of `plots.alphas`.
        """
        scores: dict[str, list[float]] = {
            origin: [row.score for row in self if row.origin == origin and row.score is not None]
            for origin in self._origins
        }
        means: dict[str, tuple[float, float]] = {origin: self.summary(origin)[:2] for origin in self._origins}
        about = {"name": self.measure.name, "percent": self.measure.percent}
        return views.scores.scores(scores, means, **about, ax=ax, **options)

    def __repr__(self) -> str:
        found = [f"{_figures(self.summary(origin), self.measure)} {origin}" for origin in self._origins]
        return f"<SearchTable: {'; '.join(found) or 'no row'}>"

    def __str__(self) -> str:
        lines, numbers = self._lines()
        widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
        text = []
        for line in lines:
            padded = [
                cell.rjust(width) if line is not lines[0] and index in numbers else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            text.append("  ".join(padded).rstrip())
        return "\n".join([*text, "", *self._foot()])

    def _repr_html_(self) -> str:
        best = self.best
        found = None
        if best is not None and best.genotype is not None:
            found = next(index for index, row in enumerate(self) if row is best), best.name, best.genotype
        (head, *rows), numbers = self._lines()
        own = None
        if best is not None and best.architecture is not None:
            own = next(index for index, row in enumerate(self) if row is best), best.name, best.architecture
        return views.cards.of_table(head, rows, numbers, list(self._foot()), found, own)

    def _lines(self) -> tuple[list[tuple[str, ...]], tuple[int, ...]]:
        """Return head and rows as text, and the columns of numbers.

        Algorithms and benchmarks have columns only if a row has one.
        """
        benchmarks = benchmarks_of(self)
        lines = [
            (*_HEAD[:-1], *benchmarks, _HEAD[-1]),
            *(_cells(row, self.measure, benchmarks) for row in self),
        ]
        numbers = tuple(range(_FIRST_NUMBER, len(lines[0]) - 1))
        if not any(row.algorithm for row in self):
            return lines, numbers
        column = ["algorithm", *(_algorithm(row) for row in self)]
        later = tuple(number + 1 for number in numbers)
        return [(line[0], name, *line[1:]) for line, name in zip(lines, column, strict=True)], later

    def _foot(self) -> Iterable[str]:
        """Yield a line for each origin, then the verdicts."""
        wide = max((len(origin) for origin in self._origins), default=0)
        for origin in self._origins:
            rows = sum(row.origin == origin for row in self)
            found = self.summary(origin)
            short = f" of {rows}" if found.n < rows else ""
            yield f"{origin.ljust(wide)}  {_figures(found, self.measure)}{short}"
        for name in self._algorithms:
            yield f"searched by {name}  {_figures(self.summary('searched', name), self.measure)}"
        yield from self._benchmark_lines()
        if self.measure.format == ".4g":
            better = "higher" if self.measure.highest else "lower"
            yield f"search, trained: validation {self.measure.name}, {better} is better"
        yield from self.verdicts

    def _benchmark_lines(self) -> Iterable[str]:
        """Yield a line for each data set of a benchmark and each origin or algorithm."""
        groups: list[tuple[str, Origin, str | None]] = [(origin, origin, None) for origin in self._origins]
        groups += [(f"searched by {name}", "searched", name) for name in self._algorithms]
        wide = max((len(group[0]) for group in groups), default=0)
        for name in benchmarks_of(self):
            for said, origin, algorithm in groups:
                columns = (f"{name}_{field}" for field in BenchmarkScore._fields)
                found = [self.summary(origin, algorithm, column) for column in columns]
                accuracy, rank, regret = map(
                    _spread, found, ("{:.2f}%".format, "{:,.0f}".format, "{:.2f}".format)
                )
                rows = len(self._rows_of(origin, algorithm))
                n = f"n = {found[0].n}" + (f" of {rows}" if found[0].n < rows else "")
                yield f"{said.ljust(wide)}  {name}: {accuracy}, rank {rank}, regret {regret}  {n}"

    def _rows_of(self, origin: Origin, algorithm: str | None) -> list[SearchRow]:
        return [row for row in self if row.origin == origin and algorithm in (None, row.algorithm or _PLAIN)]

    @property
    def _algorithms(self) -> list[str]:
        """The algorithms of the searches, if they are different."""
        found = list(dict.fromkeys(_algorithm(row) for row in self if row.origin == "searched"))
        return found if len(found) > 1 else []

    @property
    def measure(self) -> Measure:
        """What the rows are compared by."""
        named = [row.measure for row in self if row.score is not None or row.search_score is not None]
        return (*named, *(row.measure for row in self), ACCURACY)[0]

    @property
    def _origins(self) -> list[Origin]:
        return [origin for origin in get_args(Origin) if any(row.origin == origin for row in self)]


_PLAIN = "darts"
_HEAD = ("name", "status", "search", "trained", "weights", "seconds", "error")
_FIRST_NUMBER = 2


def _cells(row: SearchRow, measure: Measure, benchmarks: Iterable[str]) -> tuple[str, ...]:
    return (
        row.name,
        row.status,
        measure.text(row.search_score),
        measure.text(row.score),
        "–" if row.weights is None else f"{row.weights:,}",
        f"{row.seconds:.1f}",
        *(_tabulated(row.benchmark.get(name)) for name in benchmarks),
        "" if row.error is None else row.error.partition("\n")[0],
    )


def _tabulated(score: BenchmarkScore | None) -> str:
    return "–" if score is None else f"{score.accuracy:.2f}%, rank {score.rank:,}"


def _spread(found: Summary, text: Callable[[float], str]) -> str:
    """Format the mean, with ± standard deviation if there is one.

    >>> _spread(Summary(1234.5, 2.0, 3), "{:,.1f}%".format), _spread(Summary(0.5, math.nan, 1), str)
    ('1,234.5% ± 2.0%', '0.5')
    """
    return " ± ".join(text(value) for value in found[:2] if not math.isnan(value)) or "–"


def _algorithm(row: SearchRow) -> str:
    return row.algorithm or (_PLAIN if row.origin == "searched" else "–")


def _figures(found: Summary, measure: Measure) -> str:
    return f"{_spread(found, measure.text)}  n = {found.n}"
