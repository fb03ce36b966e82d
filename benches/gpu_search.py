"""The part of gpu.py that searches CIFAR-10 until its time is over, and extrapolates to 50 epochs."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import pydarts
from common import cifar_images
from gpu_record import Part
from pydarts import Callback, EpochInfo, SearchConfig, StepInfo

EPOCHS = 50  # of the published search
Images = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


class Until(Callback):
    """Keeps what every epoch took, and ends the search when its time is over."""

    def __init__(self, part: Part, method: str, deadline: float) -> None:
        self.part, self.method, self.deadline = part, method, deadline
        self.seconds: list[float] = []
        self.begun = time.monotonic()
        self.steps, self.steps_per_epoch, self.since = 0, 0, 0.0

    def on_step(self, info: StepInfo) -> None:
        self.steps, self.steps_per_epoch = info.step + 1, info.steps_per_epoch or 0
        self.since = time.monotonic() - self.begun
        if time.monotonic() >= self.deadline:
            raise KeyboardInterrupt  # ends the search like Ctrl-C

    def on_epoch(self, info: EpochInfo) -> None:
        self.seconds.append(info.seconds)
        self.part.add(
            search=self.method,
            epoch=info.epoch + 1,
            seconds=info.seconds,
            train_loss=info.train_loss,
            train_accuracy=info.train_accuracy,
            valid_loss=info.valid_loss,
            valid_accuracy=info.valid_accuracy,
            skip_connections=info.skip_connections,
        )


def images(part: Part, file: Path | None, count: int, size: int) -> Images:
    """CIFAR-10, or random images with a class to see; says which."""
    if file is not None:
        try:
            found = cifar_images(file, count)
        except (ImportError, OSError, KeyError, ValueError) as error:
            part.note(f"synthetic images: {file.name} cannot be read: {type(error).__name__}: {error}")
        else:
            part.note(f"{count} training images of CIFAR-10 from {file.name}")
            return found
    else:
        part.note(f"synthetic images: no --data. {count} of {size}×{size}; their accuracies mean nothing")
    generator = np.random.default_rng(0)
    y = np.arange(count, dtype=np.int64) % 10
    X = generator.integers(0, 200, (count, 3, size, size), dtype=np.uint8)
    X[:, 0, :2] += (5 * y).astype(np.uint8)[:, None, None]
    return X, y


def search(
    part: Part,
    device: str,
    methods: tuple[str, ...],
    file: Path | None,
    count: int,
    size: int,
    changes: dict[str, Any],
) -> None:
    """One search per method, each with an equal share of the time that is left."""
    data = images(part, file, count, size)
    for index, method in enumerate(methods):
        part.go_on(method)
        deadline = time.monotonic() + part.left() / (len(methods) - index)
        until = Until(part, method, deadline)
        options = {"hypergradient": method, "augment": "cifar", "num_classes": 10, "device": device}
        options |= {"epochs": EPOCHS, "log_every": 20 if device.startswith("cuda") else 1, "progress": False}
        result = pydarts.search(data, SearchConfig.from_dict(options | changes), until)
        if until.seconds:  # the first epoch also captures graphs and selects kernels
            epoch = median(until.seconds[1:] or until.seconds)
            means = f"the median of {len(until.seconds[1:]) or 1} epochs"
        else:
            epoch = until.since / max(until.steps, 1) * until.steps_per_epoch
            means = f"{until.steps} steps, without the evaluation"
        part.add(
            search=method,
            precision=result.environment.get("precision"),
            steps=until.steps,
            steps_per_epoch=until.steps_per_epoch,
            epochs=len(until.seconds),
            seconds_per_epoch=epoch,
            hours_of_50_epochs=EPOCHS * epoch / 3600,
            extrapolated_from=means,
            genotype=str(result.genotype),
        )
        part.check(f"{method}: a finite loss", float(not np.isfinite(until_loss(result))), 0.0, "it learns")


def until_loss(result: pydarts.SearchResult) -> float:
    """The last training loss; 0 if no epoch was finished."""
    records = list(result.history)
    return records[-1].train_loss if records else 0.0
