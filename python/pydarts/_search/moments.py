"""Moments of a search as trajectories, for what shows it while it runs."""

from __future__ import annotations

from collections.abc import Mapping

from .._results.tables import AlphaTable, is_cells
from .._results.trajectory import Trajectory
from .._values.config import SearchConfig
from .callbacks import EpochInfo, StepInfo


def snapshot(
    config: SearchConfig, info: StepInfo | EpochInfo, tables: Mapping[str, AlphaTable] | None = None
) -> Trajectory:
    """Return a trajectory of one point: that of an event. `tables` are required if α belongs to no cells."""
    strengths = {name: values[None] for name, values in info.strengths.items()}
    return Trajectory(
        {name: values[None] for name, values in info.alphas.items()},
        steps=(0,),
        space=config.resolved_space if tables is None or is_cells(tables) else None,
        epochs=-1,
        relaxation=config.relaxation,
        selection=config.selection,
        parameter_epochs=(info.epoch,),
        total_epochs=config.epochs,
        tables=tables or {},
        given=strengths or None,
    )
