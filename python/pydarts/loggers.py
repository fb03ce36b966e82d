"""Callbacks that write a search down: as a table, for TensorBoard, MLflow or Weights & Biases.

All but the table need a package of their own: `pip install 'pydarts[tensorboard]'`, `'pydarts[mlflow]'`,
`'pydarts[wandb]'`. An epoch bears its number from 0 everywhere.
"""

from __future__ import annotations

from ._loggers.csv_file import CSV
from ._loggers.mlflow import MLflow
from ._loggers.tensorboard import TensorBoard
from ._loggers.wandb import WeightsAndBiases

__all__ = ["CSV", "MLflow", "TensorBoard", "WeightsAndBiases"]
