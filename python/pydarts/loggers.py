"""Callbacks that log a search: to a CSV table, TensorBoard, MLflow or Weights & Biases.

Except for the table, each requires a package: `pip install tensorboard`, `pip install mlflow` or
`pip install wandb`. All number epochs from 0.
"""

from __future__ import annotations

from ._loggers.csv_file import CSV
from ._loggers.mlflow import MLflow
from ._loggers.tensorboard import TensorBoard
from ._loggers.wandb import WeightsAndBiases

__all__ = ["CSV", "MLflow", "TensorBoard", "WeightsAndBiases"]


def __dir__() -> list[str]:
    return [*__all__]
