"""Differentiable architecture search (DARTS): search for cells, watch the search, train the results."""

from ._values import libtorch as _libtorch  # noqa: F401, before everything that loads the extension

# isort: split
import importlib as _importlib
import typing as _typing

from . import algorithms, benchmarks, datasets, genotypes, loggers, nn
from ._core import (
    CheckpointError,
    ConfigError,
    DataError,
    DeviceError,
    EngineError,
    Error,
    GenotypeError,
    NumericalError,
    OutOfMemoryError,
    RankError,
    SpaceError,
    __version__,
)
from ._protocol.row import SearchRow
from ._protocol.search_many import compare, search_many
from ._protocol.table import SearchTable
from ._results.diagnostics import Diagnostics, Finding
from ._results.history import EpochRecord, History, TrainRecord
from ._results.result import SearchResult
from ._results.trajectory import Margin, Trajectory
from ._search.callbacks import Callback, EpochInfo, StartInfo, StepInfo
from ._search.inspected import Probe
from ._search.search import search
from ._search.search_module import SearchModule
from ._search.supernet import Supernet
from ._show.live.view import LiveView
from ._train.callbacks import TrainCallback, TrainStep
from ._train.config import TrainConfig
from ._train.result import TrainResult
from ._train.task import Evaluation
from ._train.train import train
from ._values.config import SearchConfig
from ._values.derive import derive
from ._values.genotype import Genotype
from ._values.operation import Operation
from ._values.random import random_genotypes
from ._values.space import Space
from .nn._build import build
from .nn._cost import cost
from .nn._export import export
from .nn._files import load_network
from .nn._fix import random_architectures
from .nn._inherit import Inheritance
from .nn._latency import latency_table

if _typing.TYPE_CHECKING:
    from . import plots

__all__ = [
    "Callback",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "Diagnostics",
    "EngineError",
    "EpochInfo",
    "EpochRecord",
    "Error",
    "Evaluation",
    "Finding",
    "Genotype",
    "GenotypeError",
    "History",
    "Inheritance",
    "LiveView",
    "Margin",
    "NumericalError",
    "Operation",
    "OutOfMemoryError",
    "Probe",
    "RankError",
    "SearchConfig",
    "SearchModule",
    "SearchResult",
    "SearchRow",
    "SearchTable",
    "Space",
    "SpaceError",
    "StartInfo",
    "StepInfo",
    "Supernet",
    "TrainCallback",
    "TrainConfig",
    "TrainRecord",
    "TrainResult",
    "TrainStep",
    "Trajectory",
    "__version__",
    "algorithms",
    "benchmarks",
    "build",
    "compare",
    "cost",
    "datasets",
    "derive",
    "export",
    "genotypes",
    "latency_table",
    "load_network",
    "loggers",
    "nn",
    "plots",
    "random_architectures",
    "random_genotypes",
    "search",
    "search_many",
    "train",
]


if not _typing.TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> _typing.Any:
        """Import `plots` at its first use: matplotlib and networkx take a second, and not everyone plots."""
        if name == "plots":
            return _importlib.import_module(".plots", __name__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
