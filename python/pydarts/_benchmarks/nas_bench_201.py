"""`NASBench201`: queries of the tabulated benchmark."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .._core import ConfigError, GenotypeError, unknown_name
from .._protocol.table import SearchTable
from .._results.result import SearchResult
from .._values.checks import whole
from .._values.genotype import Genotype
from .._values.nas_bench_201 import FORM, string_of
from .._values.words import shown
from .scores import BenchmarkTrajectory, followed, scored
from .table import DATASETS, read

Architecture: TypeAlias = str | Sequence[str] | Genotype
"""A string of NAS-Bench-201, the operations of its six edges as a list or tuple, or a genotype."""


class NASBench201:
    """The tabulated benchmark NAS-Bench-201: accuracies of all 15,625 cells of its space.

    Every cell was trained for 200 epochs; accuracies are means over the seeds of the benchmark, in percent.
    The data sets are "cifar10", "cifar100" and "imagenet16-120". pydarts does not contain the table: it reads
    a file.

    An architecture is a `Genotype` of the space `"nas-bench-201"`; the string of the benchmark,
    `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`; or a list or tuple of its six operations, those of the edges (0,1)
    (0,2) (1,2) (0,3) (1,3) (2,3) in this order; node 0 is the input of the cell. The operations are none,
    skip_connect, nor_conv_1x1, nor_conv_3x3 and avg_pool_3x3. Methods raise a ConfigError for an unknown
    architecture, data set or split, and a TypeError for an architecture that is none of these.

    An `.npz` file contains `ops`, the names of the operations [5]; `edges`, the index in `ops` for each edge,
    integers [15625, 6]; and `acc200`, the test accuracies on the three data sets in the order above
    [15625, 3]. An array `<dataset>_<split>` [15625] adds a split; `acc200` is optional if there is one.
    float32 is read as the decimal that it prints as: 94.3733, not 94.37329864501953.

    A `.csv` file has a header with the column `architecture` and a column `<dataset>_<split>` for each split,
    and 15,625 lines in any order:

        architecture,cifar10_test,cifar100_test
        |none~0|+|none~0|none~1|+|none~0|none~1|none~2|,10.0,1.0
        |none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|,10.0,1.0

    Other arrays and columns are ignored. Pickles are not read, because they can run code.

    Source: Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search",
    ICLR 2020.

    Args:
        path: the file, `.npz` or `.csv`.

    Raises:
        FileNotFoundError: the file does not exist.
        DataError: the file has another format; it does not have exactly one row per architecture; an accuracy
            is NaN or not from 0 to 100; or all accuracies of a split are at most 1, which are fractions.

    >>> bench = NASBench201("nasbench201.npz")  # doctest: +SKIP

    A table with invented accuracies, 10 percent and 14 points for each 3x3 convolution:

    >>> import itertools, os, tempfile, numpy as np
    >>> ops = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
    >>> edges = np.array(list(itertools.product(range(5), repeat=6)))
    >>> accuracies = 10.0 + 14.0 * (edges == 3).sum(1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "invented.npz")
    ...     np.savez(path, ops=ops, edges=edges, cifar10_test=accuracies)
    ...     bench = NASBench201(path)
    >>> bench
    <NASBench201: 15,625 architectures; cifar10 (test)>
    >>> conv, skip = "nor_conv_3x3", "skip_connect"
    >>> cell = f"|{conv}~0|+|{conv}~0|{conv}~1|+|{skip}~0|{conv}~1|{conv}~2|"
    >>> bench.accuracy(cell, "cifar10"), bench.rank(cell, "cifar10"), bench.regret(cell, "cifar10")
    (80.0, 2, 14.0)
    >>> bench.best("cifar10", n=2)[0] == (cell.replace(skip, conv), 94.0)
    True
    >>> bench.accuracy([conv, conv, conv, skip, conv, conv], "cifar10")
    80.0
    >>> from pydarts import Genotype
    >>> bench.accuracy(Genotype.from_nasbench201(cell), "cifar10")
    80.0
    >>> drawn = bench.random(100, seed=0)  # random search with 100 queries
    >>> max(bench.accuracy(string, "cifar10") for string in drawn) <= bench.best("cifar10")[0][1]
    True
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._strings, self._accuracies = read(path)
        self._rows = {string: row for row, string in enumerate(self._strings)}
        self._sorted = {column: np.sort(values) for column, values in self._accuracies.items()}
        self._splits = dict[str, tuple[str, ...]]()
        for (dataset, split), values in self._accuracies.items():
            values.flags.writeable = False
            self._splits[dataset] = (*self._splits.get(dataset, ()), split)

    def __repr__(self) -> str:
        return f"<NASBench201: {len(self):,} architectures; {self._held()}>"

    def __len__(self) -> int:
        """The number of architectures, 15,625."""
        return len(self._strings)

    def __contains__(self, architecture: object) -> bool:
        """Whether this is an architecture of the benchmark; anything else is not, without an error."""
        try:
            return _string(architecture) in self._rows
        except (ConfigError, TypeError):
            return False

    @property
    def strings(self) -> tuple[str, ...]:
        """The strings of all architectures, in the order of the file."""
        return self._strings

    @property
    def splits(self) -> Mapping[str, tuple[str, ...]]:
        """The splits that the file holds, by data set."""
        return MappingProxyType(self._splits)

    def index(self, architecture: Architecture) -> int:
        """Return the place of an architecture in `strings`, from 0."""
        return self._rows[_string(architecture)]

    def accuracy(self, architecture: Architecture, dataset: str, split: str = "test") -> float:
        """Return the accuracy of an architecture in percent: the mean over seeds after 200 epochs."""
        return float(self.accuracies(dataset, split)[self.index(architecture)])

    def accuracies(self, dataset: str, split: str = "test") -> npt.NDArray[np.float64]:
        """Return the accuracies of all architectures in percent, in the order of `strings`.

        Returns:
            float64 [15625], read-only.
        """
        return self._accuracies[self._column(dataset, split)]

    def rank(self, architecture: Architecture, dataset: str, split: str = "test") -> int:
        """Return the rank of an architecture, from 1, the best, to 15,625.

        Architectures with equal accuracies share the smallest rank: it is 1 plus the number of better ones.
        """
        accuracy = self.accuracy(architecture, dataset, split)
        ascending = self._sorted[dataset, split]
        return 1 + len(self) - int(np.searchsorted(ascending, accuracy, side="right"))

    def percentile(self, architecture: Architecture, dataset: str, split: str = "test") -> float:
        """Return the share of all 15,625 architectures that are worse, in percent.

        The best has 100 · 15,624 / 15,625, or less if others have its accuracy too; the worst has 0.
        """
        accuracy = self.accuracy(architecture, dataset, split)
        ascending = self._sorted[dataset, split]
        return 100 * int(np.searchsorted(ascending, accuracy, side="left")) / len(self)

    def regret(self, architecture: Architecture, dataset: str, split: str = "test") -> float:
        """Return by how many percentage points the best architecture is better: 0 for the best."""
        accuracy = self.accuracy(architecture, dataset, split)
        return float(self._sorted[dataset, split][-1]) - accuracy

    def best(self, dataset: str, split: str = "test", n: int = 1) -> list[tuple[str, float]]:
        """Return the `n` best architectures with their accuracies in percent, the best first.

        Architectures with equal accuracies are in the order of the file.

        Raises:
            ConfigError: an unknown data set or split; an `n` below 1 or above 15,625.
        """
        values = self.accuracies(dataset, split)
        rows = np.argsort(-values, kind="stable")[: whole("n", n, most=len(self))]
        return [(self._strings[row], float(values[row])) for row in rows.tolist()]

    def random(self, n: int = 1, seed: int = 0) -> list[str]:
        """Draw `n` different architectures uniformly, as strings.

        Args:
            n: number of architectures.
            seed: seed of `numpy.random.default_rng`. The same seed gives the same architectures, and a larger
                `n` extends the list. The architectures depend on their order in the file.

        Raises:
            ConfigError: an `n` below 1 or above 15,625; a seed below 0.
        """
        n, seed = whole("n", n, most=len(self)), whole("seed", seed, least=0, most=2**128 - 1)
        rows = np.random.default_rng(seed).permutation(len(self))[:n]
        return [self._strings[row] for row in rows.tolist()]

    def score(
        self, table: SearchTable, datasets: Sequence[str] | str | None = None, split: str = "test"
    ) -> SearchTable:
        """Return a table with the accuracy, rank and regret of every cell in the benchmark.

        They are in `SearchRow.benchmark`, and in the columns `<data set>_<split>_accuracy` (in percent),
        `..._rank` (from 1) and `..._regret` (in percentage points) of the printed table, `to_pandas` and the
        file. `summary(origin, column=...)` returns their mean and deviation. Columns of an earlier `score`
        remain. `SearchTable.best` and the verdicts still use the short training.

        A searched cell is scored only if its row is complete, because the last genotype of a search that
        failed or was interrupted is not its result.

        Args:
            table: a table from `search_many` or `compare`; it does not change.
            datasets: names of data sets, or one name; None: all of the file that have the split.
            split: the split of the accuracies.

        Raises:
            ConfigError: an unknown data set or split; a row whose cell is of another space.
            TypeError: `table` is not a `SearchTable`.

        >>> import itertools, os, tempfile, numpy as np
        >>> from pydarts import Genotype, SearchRow, SearchTable
        >>> ops = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
        >>> edges = np.array(list(itertools.product(range(5), repeat=6)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "invented.npz")
        ...     np.savez(path, ops=ops, edges=edges, cifar10_test=10.0 + 14.0 * (edges == 3).sum(1))
        ...     bench = NASBench201(path)
        >>> cell = Genotype.from_nasbench201(bench.best("cifar10")[0][0])
        >>> row = SearchRow(name="seed 0", origin="searched", status="complete", genotype=cell, seconds=60)
        >>> print(bench.score(SearchTable([row])))
        name    status    search  trained  weights  seconds  cifar10_test    error
        seed 0  complete       –        –        –     60.0  94.00%, rank 1
        <BLANKLINE>
        searched  –  n = 0 of 1
        searched  cifar10_test: 94.00%, rank 1, regret 0.00  n = 1
        """
        return scored(self, table, datasets, split)

    def trajectory(
        self, result: SearchResult, dataset: str = "cifar10", split: str = "test"
    ) -> BenchmarkTrajectory:
        """Return the tabulated accuracy of the genotype at every recorded point of a search.

        The first point is the initial α; there is one point per epoch, or per step with `record="step"`. A
        search whose selection does not follow α, such as `selection="sampled"`, has one point, its end.
        `plots.benchmark` draws it.

        Raises:
            ConfigError: an unknown data set or split; the search had another space or no cells.
            TypeError: `result` is not a `SearchResult`.

        >>> import itertools, os, tempfile, numpy as np, pydarts
        >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
        >>> sizes = {"channels": 2, "layers": 1, "epochs": 2, "batch_size": 8}
        >>> cfg = pydarts.SearchConfig(space="nas-bench-201", progress=False, **sizes)
        >>> result = pydarts.search((X, y), cfg)
        >>> ops = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
        >>> edges = np.array(list(itertools.product(range(5), repeat=6)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "invented.npz")
        ...     np.savez(path, ops=ops, edges=edges, cifar10_test=10.0 + 14.0 * (edges == 3).sum(1))
        ...     bench = NASBench201(path)
        >>> times, unit, accuracies = bench.trajectory(result)
        >>> times.tolist(), unit, accuracies.tolist()[-1] == bench.accuracy(result.genotype, "cifar10")
        ([0.0, 1.0, 2.0], 'epoch', True)
        """
        return followed(self, result, dataset, split)

    def _column(self, dataset: str, split: str) -> tuple[str, str]:
        """Check a data set and a split."""
        for what, name in (("data set", dataset), ("split", split)):
            if not isinstance(name, str):
                raise ConfigError(
                    f"a {what} must be a string, got {shown(name)}; the file holds {self._held()}"
                )
        if dataset not in DATASETS:
            raise ConfigError(unknown_name("data set", dataset, list(self._splits)))
        if dataset not in self._splits:
            raise ConfigError(f"the file has no accuracies on {dataset}; it holds {self._held()}")
        if split not in self._splits[dataset]:
            raise ConfigError(unknown_name(f"split of {dataset}", split, list(self._splits[dataset])))
        return dataset, split

    def _held(self) -> str:
        return ", ".join(f"{dataset} ({', '.join(splits)})" for dataset, splits in self._splits.items())


def _string(architecture: object) -> str:
    """Return the string of an architecture.

    Raises:
        ConfigError: the string or the list is not of an architecture of the benchmark.
        TypeError: something else.
    """
    try:
        if isinstance(architecture, (str, list, tuple, Genotype)):
            return string_of(architecture)
    except GenotypeError as error:
        raise ConfigError(str(error)) from None
    raise TypeError(
        f"an architecture must be a Genotype, a string {FORM} or a list or tuple of six operations, got "
        f"{shown(architecture)}"
    )
