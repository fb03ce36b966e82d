"""The plots of a search, as methods of its result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._values import views
from .._values.plot import Plot, PlotOptions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Unpack

    from .._values.config import SearchConfig
    from .._values.genotype import Genotype
    from .history import EpochRecord, History
    from .trajectory import Trajectory

    Edges = Sequence[tuple[int, int] | str]


class Plotted:
    """What has α over time and a history: its plots."""

    if TYPE_CHECKING:
        genotype: Genotype
        history: History[EpochRecord]
        config: SearchConfig

        @property
        def trajectory(self) -> Trajectory: ...

    def plot_alphas(
        self,
        ax: Axes | None = None,
        *,
        cell: str | None = None,
        edges: Edges | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw the mixing weights over time: `plots.alphas` of the trajectory."""
        return views.plots.alphas(self.trajectory, cell=cell, edges=edges, ax=ax, **options)

    def plot_weights(
        self,
        ax: Axes | None = None,
        *,
        at: int = -1,
        cell: str | None = None,
        edges: Edges | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw the mixing weights at one point as a heat map: `plots.weights` of the trajectory."""
        return views.plots.weights(self.trajectory, at=at, cell=cell, edges=edges, ax=ax, **options)

    def plot_supernet(
        self,
        ax: Axes | None = None,
        *,
        at: int = -1,
        cell: str | None = None,
        edges: Edges | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw every edge of the search network's cells at one point: `plots.supernet`."""
        return views.plots.supernet(self.trajectory, at=at, cell=cell, edges=edges, ax=ax, **options)

    def plot_cells(
        self,
        ax: Axes | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw the derived cells as graphs: `plots.cells` of the genotype."""
        return views.plots.cells(self.genotype, ax=ax, **options)

    def plot_entropy(
        self,
        ax: Axes | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw the mean entropy of the mixing weights over time: `plots.entropy`."""
        return views.plots.entropy(self.trajectory, ax=ax, **options)

    def plot_skips(
        self,
        ax: Axes | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw how many skip connections the genotype has over time: `plots.skips`."""
        return views.plots.skips(self.trajectory, ax=ax, **options)

    def plot_edges(
        self,
        ax: Axes | None = None,
        *,
        cell: str | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw the weights of edges over time, of a search with `edge_normalization`: `plots.edges`."""
        return views.plots.edges(self.trajectory, cell=cell, ax=ax, **options)

    def plot_losses(
        self,
        ax: Axes | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw training and validation losses, or perplexities of text: `plots.losses`."""
        words = self.config.resolved_space.kind == "recurrent"
        return views.plots.losses(self.history, words=words, trajectory=self.trajectory, ax=ax, **options)

    def plot_accuracies(
        self,
        ax: Axes | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw training and validation accuracies: `plots.accuracies`."""
        return views.plots.accuracies(self.history, ax=ax, **options)

    def plot_metrics(
        self,
        ax: Axes | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw the values of the metric: `plots.metrics`."""
        return views.plots.metrics(self.history, mode=self.config.metric_mode, ax=ax, **options)

    def plot_diagnostics(
        self,
        ax: Axes | None = None,
        *,
        names: Sequence[str] | str | None = None,
        **options: Unpack[PlotOptions],
    ) -> Plot:
        """Draw the parameters and measurements of the algorithm over the epochs: `plots.diagnostics`."""
        return views.plots.diagnostics(
            self.history, names=names, trajectory=self.trajectory, stop=self.config.stop, **options
        )

    def animate(
        self,
        file: str | os.PathLike[str],
        *,
        cell: str | None = None,
        edges: Edges | None = None,
        fps: int = 8,
        frames: int = 40,
        progress: bool = True,
    ) -> Path:
        """Write an animation of α as a GIF: `plots.animate` of the trajectory."""
        options: dict[str, Any] = {"fps": fps, "frames": frames, "progress": progress}
        return views.files.animate(self.trajectory, file, cell=cell, edges=edges, **options)
