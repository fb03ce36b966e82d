"""`SearchResult`: the outcome of a search."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from .._core import ConfigError
from .._values import views
from .._values.config import SearchConfig
from .._values.files import (
    user_path,
)
from .._values.genotype import Genotype
from ..nn import Network
from ..nn._examples import check_network
from ..nn._inherit import Inheritance, inherit
from .decisions import Architecture, Decision, architecture_of, epochs_of
from .diagnostics import Diagnostics, diagnose
from .files import read_result, write_result
from .history import EpochRecord, History
from .modules import ModuleLike, built, copied, fixed
from .plotted import Plotted
from .score import best_of
from .tables import AlphaTable, is_cells, tables_of
from .trajectory import Trajectory

if TYPE_CHECKING:
    pass


T = TypeVar("T")
Status: TypeAlias = Literal["complete", "interrupted", "failed"]


@dataclass(frozen=True, eq=False)
class SearchResult(Plotted):
    """The outcome of `search`, complete or partial."""

    genotype: Genotype
    """The genotype derived from the last α. For a network of your own, reading it is an AttributeError."""
    alphas: dict[str, npt.NDArray[Any]] = field(repr=False)
    """Table name -> trajectory of the logits α, [T, rows, columns]; the first is the initial one. NaN where
    a candidate was masked."""
    steps: tuple[int, ...] = field(repr=False)
    """The number of steps done at each of the T points."""
    history: History[EpochRecord]
    """One record per epoch."""
    config: SearchConfig
    """The configuration that ran, with the sizes of the data filled in."""
    status: Status
    """ "complete", "interrupted" (Ctrl-C) or "failed" (an exception stopped the search)."""
    state_dict: dict[str, Tensor] = field(repr=False)
    """Weights and running statistics of the search network by name, for `Supernet(config=...)`. Statistics
    are not corrected for their initial values; `num_batches_tracked` counts the steps that updated them
    (missing in results of earlier versions)."""
    threads: int = field(default=1, repr=False)
    """CPU threads that the search ran on."""
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    """The machine and the versions of the search; for a resumed search, those of its last part.

    `device` ("cpu", "cuda:0"), the name of its `processor`, `precision` ("float32", never "auto"), the
    versions of `pydarts`, `torch`, `numpy` and `python`, `system`."""

    loss: str | None = None
    """Name of the loss function that the search was given; None: cross-entropy."""
    fingerprint: dict[str, str] = field(default_factory=dict, repr=False)
    """Facts about the data ("data.examples", "data.shape", "data.dtype"; for a pair "train.…" and "valid.…"),
    with hashes of the labels and of a sample, and the fact "loss" with a hash of its code.

    `resume` compares them. Empty in results of earlier versions."""
    class_counts: tuple[int, ...] | None = field(default=None, repr=False)
    """Number of validation images per class; None for text and for loaders whose dataset holds no labels."""
    epochs: tuple[int, ...] = field(default=(), repr=False)
    """The epoch of the last step before each of the T points, which determines scheduled parameters."""
    architecture: Architecture = field(default_factory=dict, repr=False)
    """Table name -> for each row (edge), the names of the candidates that the selection picks from the last
    α; empty where it picks none. For a module with choices: the name of each choice -> its candidate, or for
    an `InputChoice` a tuple of indices."""
    decisions: tuple[tuple[int, Decision], ...] = field(default=(), repr=False)
    """The decisions of the search in the order in which they were taken, each with the number of its epoch.

    A decision is taken at the end of its epoch and holds from the next one on. It is a dictionary with
    `decision`: "mask" (with `table`, `row`, `columns`), "freeze" (`table`, `row`, `column`), "drop" (`table`,
    `row`), "roll_back" (`epoch`, the number of epochs that remain) or "stop" (`reason`). A roll back also
    undoes the decisions of the epochs that it removes; decisions that follow it at the end of the same epoch
    have the number of the last epoch that remains."""

    tables: Mapping[str, AlphaTable] = field(default_factory=dict, repr=False)
    """The names of rows and candidates by table: those of the space, or of a network of your own."""

    module: nn.Module | None = field(default=None, repr=False)
    """A copy of the module with choices that was searched. None for other networks, in loaded results, and in
    pickled results if it cannot be pickled."""

    def __post_init__(self) -> None:
        if self.genotype is None:
            object.__delattr__(self, "genotype")
        if not self.tables:
            object.__setattr__(self, "tables", tables_of(self.config.resolved_space))
        # Results made by hand and those of earlier versions.
        if not self.epochs:
            object.__setattr__(self, "epochs", epochs_of(self.steps, len(self.history)))
        if not self.architecture and is_cells(self.tables):
            picked = architecture_of(self.genotype, self.config.resolved_space)
            object.__setattr__(self, "architecture", picked)

    if not TYPE_CHECKING:  # a type checker would accept any name

        def __getattr__(self, name: str) -> Any:
            if name == "genotype":
                raise AttributeError(
                    "this search had a network of your own, which has no cells and no genotype; see "
                    "`architecture`, the candidates that were picked, and `fixed_network()`"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        """Leave out a module that cannot be pickled, such as a parametrized one."""
        state = dict(self.__dict__)
        try:
            pickle.dumps(self.module)
        except Exception:
            state["module"] = None
        return state

    def __repr__(self) -> str:
        named = [entry.name for entry in fields(self) if entry.repr]
        if not hasattr(self, "genotype"):
            named[0] = "architecture"
        return f"SearchResult({', '.join(f'{name}={getattr(self, name)!r}' for name in named)})"

    @property
    def best(self) -> EpochRecord | None:
        """The record of the first epoch with the best value of the metric; None without an epoch.

        `config.metric_mode` determines which values are better; with several metrics, the first one counts.
        Without a metric, it is the first epoch with the highest validation accuracy; without accuracies, with
        the lowest validation loss.
        """
        if not self.history:
            return None
        return best_of(self.history, self.config.metric_mode)

    @property
    def trajectory(self) -> Trajectory:
        """α over time: strengths, entropies, the genotype at every point, margins."""
        return Trajectory(
            self.alphas,
            self.steps,
            self.config.resolved_space if is_cells(self.tables) else None,
            len(self.history),
            relaxation=self.config.relaxation,
            selection=self.config.selection,
            parameter_epochs=self.epochs if len(self.epochs) == len(self.steps) else None,
            total_epochs=self.config.epochs,
            decisions=self.decisions,
            tables=self.tables,
        )

    @property
    def strengths(self) -> dict[str, npt.NDArray[np.float64]]:
        """Table name -> mean mixing weights of the relaxation at `alphas`, [T, edges, operations].

        They are 0 where α is masked, and constant in rows that are decided.
        """
        return self.trajectory.strengths

    def diagnostics(self) -> Diagnostics:
        """Explain the measurements of this search: findings with numbers, warnings first.

        The findings are about how the search ended, whether its network learned, training against validation,
        the gradient of α against the exact one if it was probed, the entropy of the mixing weights, skip
        connections, the last change of the genotype, and the narrowest decisions. `print` shows them; each is
        a `Finding`. Nodes are named as in the plots: the inputs of a convolutional cell are cₖ₋₂ and cₖ₋₁,
        and the other nodes have the numbers of `space.edges`.

        >>> import numpy as np, pydarts
        >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
        >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
        >>> found = pydarts.search((X, y), cfg).diagnostics()
        >>> next(finding.text for finding in found if finding.topic == "ending")
        'The search is complete: 1 epoch, 1 step.'
        """
        return diagnose(self)

    def report(
        self,
        path: str | os.PathLike[str],
        table: views.Table | None = None,
        benchmark: views.Benchmark | None = None,
    ) -> Path:
        """Write a complete report of this search as one HTML file that works offline.

        It contains the diagnostics; α for every edge and point in time, with the cell that would be derived
        there; the curves; the genotype in every notation; the configuration; the plan and its cost; and the
        environment. If the trajectory has very many points, the report shows evenly spaced ones. The file has
        about 5 MB, most of it the plotting library.

        Args:
            path: the file to write, replaced if it exists; its folder is created if necessary.
            table: a table from `search_many` or `compare`; its random cells are the baseline.
            benchmark: a `pydarts.benchmarks.NASBench201`; it adds a section with accuracy, rank and regret of
                the genotype, and the accuracy over time.

        Returns:
            The path of the file.

        Raises:
            ConfigError: the genotype does not belong to the space of `benchmark`.
            ImportError: plotly is not installed.
            TypeError: `table` is not a `SearchTable`, or `benchmark` is not a benchmark.

        >>> import numpy as np, pydarts, tempfile
        >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
        >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
        >>> result = pydarts.search((X, y), cfg)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result.report(f"{folder}/report.html").read_text(encoding="utf-8")[:15]
        '<!doctype html>'
        """
        return views.page.write(self, user_path(path), table, benchmark)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the result to a folder, created if necessary, as JSON, npz and safetensors, never as pickle.

        The files are `config.json`, `genotype.json`, `history.json`, `alphas.npz`, `weights.safetensors` and,
        last, `result.json`. They are written under temporary names and then renamed, so that a failed save
        leaves an earlier result as it was, and a reader never sees a partial file.
        """
        write_result(self, user_path(folder))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> SearchResult:
        """Read a result from a folder that `save` wrote.

        Raises:
            FileNotFoundError: there is no such folder, or a file is missing.
            CheckpointError: a file is truncated or malformed, or contradicts another; the message names it.
        """
        return cls(**read_result(user_path(folder)))

    def fixed_network(self, network: ModuleLike | None = None) -> nn.Module:
        """Return the network of your own that was searched, with its choices made and its weights kept.

        The network contains nothing of pydarts. Running statistics of batch norm are corrected for their
        initial values, as in the evaluation of the search.

        Args:
            network: the module, or the function that makes it; required for a loaded result.

        Raises:
            ConfigError: the search had no module with choices, or `network` is missing.
            CheckpointError: `network` is not the one that was searched.

        >>> import torch, pydarts
        >>> from pydarts.nn import Choice
        >>> choice = Choice({"tanh": torch.nn.Tanh(), "relu": torch.nn.ReLU()})
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 2), choice)
        >>> X, y = torch.randn(32, 4), torch.arange(32) % 2
        >>> cfg = pydarts.SearchConfig(epochs=1, batch_size=8, progress=False)
        >>> result = pydarts.search((X, y), cfg, network=net)
        >>> sorted(result.architecture), type(result.fixed_network()[0])
        (['1'], <class 'torch.nn.modules.linear.Linear'>)
        """
        if not any(table.choices for table in self.tables.values()):
            raise ConfigError("this search had no module with choices, so there is no network to fix")
        if network is None and self.module is None:
            raise ConfigError(
                "a loaded result does not hold the network; pass the module or the function that makes it: "
                "result.fixed_network(Net())"
            )
        module = built(self.module if network is None else network, self.config.seed)
        if not isinstance(network, nn.Module | None):  # a factory may return the same module every time
            with suppress(TypeError):
                module = copied(module)
        return fixed(module, self.state_dict, self.architecture, self.fingerprint.get("network"))

    def inherit(self, network: Network) -> Inheritance:
        """Copy weights of the search into a network of `build`, as a warm start.

        Weights and running statistics are copied where name and shape are equal: those of the operations in
        the network's cells, of the cells' preprocessing, and of stem, classifier, embedding and decoder. All
        tensors fit a network with the width and depth of the search network and any genotype of its space,
        except the affine parameters of batch norm, which the search does not have. No other tensor changes.
        Running statistics are corrected for their initial values, as in the evaluation of the search;
        `num_batches_tracked` is then 2**20.

        Args:
            network: changed in place; it keeps its device and dtype.

        Returns:
            A description of what was copied and what was not; `print` shows it.

        Raises:
            TypeError: not a network of `build`.

        >>> import numpy as np, pydarts
        >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
        >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
        >>> result = pydarts.search((X, y), cfg)
        >>> net = pydarts.build(result.genotype, channels=2, layers=3, num_classes=2, in_channels=1)
        >>> report = result.inherit(net)
        >>> "classifier.weight" in report.copied, report.left["cells.0.pre0.bn.weight"]
        (True, 'the search has no such tensor')
        """
        check_network(network, "inherit")
        return inherit(network, self.state_dict, self.config)

    def _repr_html_(self) -> str:
        return views.cards.of_result(self)
