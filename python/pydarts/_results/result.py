"""`SearchResult`: the outcome of a search."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import safetensors.torch
from torch import Tensor

from .._values import views
from .._values.config import SearchConfig
from .._values.files import (
    about_in,
    about_of,
    arrays_in,
    checksum_of,
    npz_of,
    read_checked,
    tensors_of,
    user_path,
    write_together,
)
from .._values.genotype import Genotype
from .._values.words import shown
from ..nn import Network
from ..nn._examples import check_network
from ..nn._inherit import Inheritance, inherit
from .decisions import Architecture, Decision, architecture_from, architecture_of, decisions_from, epochs_of
from .diagnostics import Diagnostics, diagnose
from .environment import texts_from
from .history import EpochRecord, History, record_from
from .trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes


T = TypeVar("T")
Status: TypeAlias = Literal["complete", "interrupted", "failed"]

_FORMAT = 2  # 1 has no checksums
_STATUSES = ("complete", "interrupted", "failed")


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The outcome of `search`, complete or partial."""

    genotype: Genotype
    """The genotype derived from the last α."""
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
    """Weights and running statistics of the search network by name; fits `Supernet(config=...)`. Statistics
    are raw, with the number of steps that moved them as `num_batches_tracked`; results of earlier versions
    lack it."""
    threads: int = field(default=1, repr=False)
    """CPU threads that the search ran on."""
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    """The machine and the versions of the search; for a resumed search, those of its last part.

    `device` ("cpu", "cuda:0"), the name of its `processor`, `precision` ("float32", never "auto"), the
    versions of `pydarts`, `torch`, `numpy` and `python`, `system`."""

    loss: str | None = None
    """Name of the loss function that the search was given; None: cross-entropy."""
    fingerprint: dict[str, str] = field(default_factory=dict, repr=False)
    """What the search was given: facts about the data ("data.examples", "data.shape", "data.dtype"; of a pair
    "train.…" and "valid.…"), hashes of labels and of a sample, and "loss" with a hash of its code.

    `resume` compares them. Empty in results of earlier versions."""
    class_counts: tuple[int, ...] | None = field(default=None, repr=False)
    """Number of validation images per class; None for text and for loaders whose dataset holds no labels."""
    epochs: tuple[int, ...] = field(default=(), repr=False)
    """The epoch of the latest step at each of the T points, whose parameters of the relaxation hold there."""
    architecture: Architecture = field(default_factory=dict, repr=False)
    """Table name -> for each row (edge), the names of the candidates that the selection picks from the last
    α; empty where it picks none."""
    decisions: tuple[tuple[int, Decision], ...] = field(default=(), repr=False)
    """The decisions of the search in the order in which they were taken, each with the number of its epoch.

    A decision is taken at the end of its epoch and holds from the next one on. It is a dictionary with
    `decision`: "mask" (with `table`, `row`, `columns`), "freeze" (`table`, `row`, `column`), "drop" (`table`,
    `row`), "roll_back" (`epoch`, the number of epochs that remain) or "stop" (`reason`). A roll back undoes
    the decisions at the end of the epochs that it undoes; decisions after it in the same epoch have the
    number of the last epoch that remains."""

    def __post_init__(self) -> None:
        # Results made by hand and those of earlier versions.
        if not self.epochs:
            object.__setattr__(self, "epochs", epochs_of(self.steps, len(self.history)))
        if not self.architecture:
            picked = architecture_of(self.genotype, self.config.resolved_space)
            object.__setattr__(self, "architecture", picked)

    @property
    def best(self) -> int | None:
        """The first epoch with the highest validation accuracy, counted from 0; None without an epoch."""
        if not self.history:
            return None
        return max(self.history, key=lambda record: record.valid_accuracy).epoch

    @property
    def trajectory(self) -> Trajectory:
        """α over time: mixing weights, entropies, the genotype at every point, margins."""
        return Trajectory(self.alphas, self.steps, self.config.resolved_space, len(self.history))

    def diagnostics(self) -> Diagnostics:
        """Explain the measurements of this search: findings with numbers, warnings first.

        The findings are about how the search ended, whether its network learned, training against
        validation, the entropy of the mixing weights, skip connections, the last change of the genotype, and
        the narrowest decisions. `print` shows them; each is a `Finding`. Nodes are named as in the plots
        (paper, figure 4): in a convolutional cell, 0 … n - 1 are the nodes 2 … n + 1 of `space.edges`; the
        narrowest edges are named in both ways.

        >>> import numpy as np, pydarts
        >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
        >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
        >>> found = pydarts.search((X, y), cfg).diagnostics()
        >>> next(finding.text for finding in found if finding.topic == "ending")
        'The search is complete: 1 epoch, 1 step.'
        """
        return diagnose(self)

    def report(self, path: str | os.PathLike[str], table: views.Table | None = None) -> Path:
        """Write a complete report of this search as one HTML file that works offline.

        It contains the diagnostics; α for every edge and point in time, with the cell that would be derived
        there; the curves; the genotype in every notation; the configuration; the plan and its cost; and the
        environment. If the trajectory has very many points, the report shows evenly spaced ones. The file has
        about 5 MB, most of it the plotting library.

        Args:
            path: the file to write, replaced if it exists; its folder is created if necessary.
            table: from `search_many` or `compare`; its random cells are the baseline.

        Returns:
            The path of the file.

        Raises:
            ImportError: plotly is not installed.
            TypeError: `table` is not a `SearchTable`.

        >>> import numpy as np, pydarts, tempfile
        >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
        >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
        >>> result = pydarts.search((X, y), cfg)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result.report(f"{folder}/report.html").read_text(encoding="utf-8")[:15]
        '<!doctype html>'
        """
        return views.page.write(self, user_path(path), table)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the result to a folder, created if necessary, as JSON, npz and safetensors, never as pickle.

        The files are `config.json`, `genotype.json`, `history.json`, `alphas.npz`, `weights.safetensors` and,
        last, `result.json`. They are written under temporary names and then renamed, so that a failed save
        leaves an earlier result as it was, and a reader never sees a partial file.
        """
        folder = user_path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        counts = {"steps": self.steps, "epochs": self.epochs}
        arrays = {name: np.asarray(values, dtype=np.int64) for name, values in counts.items()}
        about = {
            "status": self.status,
            "best": self.best,
            "loss": self.loss,
            "class_counts": self.class_counts,
            "threads": self.threads,
            "environment": self.environment,
            "fingerprint": self.fingerprint,
            "architecture": self.architecture,
            "decisions": self.decisions,
        }
        files = {
            "config.json": self.config.to_json(indent=1).encode(),
            "genotype.json": self.genotype.to_json().encode(),
            "history.json": json.dumps(self.history.to_dicts(), indent=1).encode(),
            "alphas.npz": npz_of(arrays | self.alphas),
            "weights.safetensors": tensors_of(self.state_dict),
        }
        checksums = {name: checksum_of(name, data) for name, data in files.items()}
        marked = about_of(_FORMAT, about | {"checksums": checksums})
        write_together(folder, {**files, "result.json": marked})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> SearchResult:
        """Read a result from a folder that `save` wrote.

        Raises:
            FileNotFoundError: there is no such folder, or a file is missing.
            CheckpointError: a file is truncated or malformed, or contradicts another; the message names it.
        """
        folder = user_path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"no result in {folder}: not a folder")
        about = read_checked(folder / "result.json", _about)

        def read(name: str, parse: Callable[[bytes], T]) -> T:
            return read_checked(folder / name, parse, about["checksums"].get(name))

        config = read("config.json", lambda data: SearchConfig.from_json(data.decode("utf-8-sig")))
        genotype = read("genotype.json", lambda data: _genotype(data, config))
        history = read(
            "history.json",
            lambda data: History([record_from(row, EpochRecord) for row in json.loads(data)]),
        )
        alphas = read("alphas.npz", lambda data: _alphas(data, config))
        steps, epochs = (tuple(alphas.pop(name).tolist()) for name in ("steps", "epochs"))
        picked = about["architecture"]
        if picked is not None:
            picked = read("result.json", lambda _: architecture_from(picked, config.resolved_space))
        return cls(
            genotype=genotype,
            alphas=alphas,
            steps=steps,
            history=history,
            config=config,
            status=about["status"],
            state_dict=read("weights.safetensors", safetensors.torch.load),
            threads=about["threads"],
            environment=about["environment"],
            loss=about["loss"],
            fingerprint=about["fingerprint"],
            class_counts=about["class_counts"],
            epochs=epochs,
            architecture=picked or {},
            decisions=about["decisions"],
        )

    def inherit(self, network: Network) -> Inheritance:
        """Copy weights of the search into a network of `build`, as a warm start.

        Weights and running statistics are copied where name and shape are equal: those of the operations in
        the network's cells, of the cells' preprocessing, and of stem, classifier, embedding and decoder. All
        tensors fit a network with the width and depth of the search network and any genotype of its space,
        except the affine parameters of batch norm, which the search does not have. Others do not change.
        Running statistics are copied as the evaluation of the search uses them, without their initial values;
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

    def plot_alphas(self, ax: Axes | None = None, *, cell: str | None = None) -> npt.NDArray[Any]:
        """Draw the softmax weights over time: `plots.alphas` of the trajectory."""
        return views.panels.alphas(self.trajectory, ax=ax, cell=cell)

    def plot_weights(
        self, ax: Axes | None = None, *, at: int = -1, cell: str | None = None
    ) -> npt.NDArray[Any]:
        """Draw the softmax weights at one point as a heat map: `plots.weights` of the trajectory."""
        return views.panels.weights(self.trajectory, at=at, cell=cell, ax=ax)

    def plot_supernet(
        self, ax: Axes | None = None, *, at: int = -1, cell: str | None = None
    ) -> npt.NDArray[Any]:
        """Draw every edge of the search network's cells at one point: `plots.supernet_cell`."""
        return views.panels.supernet_cell(self.trajectory, at=at, cell=cell, ax=ax)

    def plot_cells(self, ax: Axes | None = None) -> npt.NDArray[Any]:
        """Draw the derived cells as graphs: `plots.cells` of the genotype."""
        return views.panels.cells(self.genotype, ax=ax)

    def plot_entropy(self, ax: Axes | None = None) -> Axes:
        """Draw the mean entropy of the softmax weights over time: `plots.entropy`."""
        return views.axes.entropy(self.trajectory, ax=ax)

    def plot_skips(self, ax: Axes | None = None) -> Axes:
        """Draw how many skip connections the genotype has over time: `plots.skips`."""
        return views.axes.skips(self.trajectory, ax=ax)

    def plot_losses(self, ax: Axes | None = None) -> Axes:
        """Draw training and validation losses, or perplexities of text: `plots.losses`."""
        return views.axes.losses(self.history, words=self.config.resolved_space.kind == "recurrent", ax=ax)

    def plot_accuracies(self, ax: Axes | None = None) -> Axes:
        """Draw training and validation accuracies: `plots.accuracies`."""
        return views.axes.accuracies(self.history, ax=ax)

    def animate(
        self, file: str | os.PathLike[str], *, cell: str | None = None, fps: int = 8, frames: int = 40
    ) -> Path:
        """Write an animation of α as a GIF: `plots.animate` of the trajectory."""
        return views.files.animate(self.trajectory, file, cell=cell, fps=fps, frames=frames)

    def _repr_html_(self) -> str:
        return views.cards.of_result(self)


def _about(data: bytes) -> dict[str, Any]:
    about = about_in(data, _FORMAT)
    if about.get("status") not in _STATUSES:
        raise ValueError(f"status must be one of {', '.join(_STATUSES)}, got {shown(about.get('status'))}")
    return {
        "status": about["status"],
        "loss": about.get("loss"),
        "class_counts": _counts(about.get("class_counts")),
        "checksums": _checksums(about),
        "threads": int(about.get("threads", 1)),
        "environment": texts_from("environment", about),
        "fingerprint": texts_from("fingerprint", about),
        "architecture": about.get("architecture"),
        "decisions": decisions_from(about.get("decisions", [])),
    }


def _checksums(about: Mapping[str, Any]) -> dict[str, Any]:
    found = about.get("checksums", {} if about["format"] == 1 else None)
    if not isinstance(found, dict):
        raise ValueError(f"checksums must be an object, got {shown(found)}")
    return found


def _counts(counts: Any) -> tuple[int, ...] | None:
    """Return the examples per class; files of earlier versions have none."""
    if counts is None:
        return None
    if not (
        isinstance(counts, list) and counts and all(type(n) is int and n >= 0 for n in counts) and any(counts)
    ):
        raise ValueError("class_counts must be a list of whole numbers, not all of them 0")
    return tuple(counts)


def _genotype(data: bytes, config: SearchConfig) -> Genotype:
    values, space = json.loads(data), config.resolved_space
    for table in space.tables:
        edges, kept = values[table], space.edges_kept
        # Version 1 wrote one list, which the space splits into nodes.
        if edges and edges[0] and isinstance(edges[0][0], str):
            values[table] = [edges[first : first + kept] for first in range(0, len(edges), kept)]
    genotype = Genotype.from_dict(values)
    genotype.validate(space)
    return genotype


def _alphas(data: bytes, config: SearchConfig) -> dict[str, npt.NDArray[Any]]:
    arrays = arrays_in(io.BytesIO(data))
    space = config.resolved_space
    arrays.setdefault("epochs", np.zeros(0, np.int64))  # earlier versions have none
    if sorted(arrays) != sorted([*space.tables, "epochs", "steps"]):
        raise ValueError(f"holds {', '.join(sorted(arrays))}; the space has {', '.join(space.tables)}")
    for name in ("steps", "epochs"):
        if arrays[name].ndim != 1 or arrays[name].dtype.kind not in "iu":
            raise ValueError(f"{name} are {arrays[name].dtype} of shape {list(arrays[name].shape)}")
    points = len(arrays["steps"])
    if len(arrays["epochs"]) not in (0, points):
        raise ValueError(f"{len(arrays['epochs'])} epochs and {points} steps")
    shape = (points, len(space.edges), len(space.operations))
    for name in space.tables:
        if arrays[name].shape != shape or arrays[name].dtype.kind != "f":
            found = f"{arrays[name].dtype} of shape {list(arrays[name].shape)}"
            raise ValueError(f"{name} is {found}, expected floating-point numbers of shape {list(shape)}")
    return arrays
