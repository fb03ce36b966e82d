"""What the tests of `search` share: batches to learn from, and a callback that hears it."""

import torch
from conftest import make_arrays
from loaders import Batches
from pydarts import Callback, EpochInfo, SearchResult, StartInfo, StepInfo


class Listener(Callback):
    """Keeps all that it hears."""

    def __init__(self) -> None:
        self.starts: list[StartInfo] = []
        self.steps: list[StepInfo] = []
        self.epochs: list[EpochInfo] = []
        self.ends: list[SearchResult] = []

    def on_start(self, info: StartInfo) -> None:
        self.starts.append(info)

    def on_step(self, info: StepInfo) -> None:
        self.steps.append(info)

    def on_epoch(self, info: EpochInfo) -> None:
        self.epochs.append(info)

    def on_end(self, result: SearchResult) -> None:
        self.ends.append(result)


def batches(n: int = 3) -> Batches:
    X, y = make_arrays(8 * n)
    x = torch.from_numpy(X).float() / 255
    return [(x[i : i + 8], torch.from_numpy(y[i : i + 8])) for i in range(0, 8 * n, 8)]
