"""What the Python tests share: data and configurations so small that a search takes a second."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pydarts
import pytest
import torch
from pydarts._data.loaders import Sources, open_sources

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `reference` is
# What they assert fails as legibly as what tests do.
pytest.register_assert_rewrite("loaders", "parity", "relaxed", "resuming")
matplotlib.use("Agg")
# Whoever runs the tests in the background of a shell hands on that Ctrl-C is ignored, to their processes too.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # the networks are tiny: waiting for a second thread costs more than it brings
os.environ["OMP_NUM_THREADS"] = "1"  # in processes of the tests too

Arrays = tuple[npt.NDArray[Any], npt.NDArray[np.int64]]


def without_checksums(folder: Path) -> Path:
    """Turn a saved result into one of format 1, whose files may be changed."""
    for path in folder.rglob("*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict) and "crc32" in values:
            values = {name: value for name, value in values.items() if name not in ("crc32", "checksums")}
            path.write_text(json.dumps(values | {"format": 1}), encoding="utf-8")
    return folder


def make_arrays(n: int = 48, channels: int = 1, size: int = 8, classes: int = 4, seed: int = 0) -> Arrays:
    """Images whose brightest quarter tells the class, so that there is something to learn."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = generator.integers(0, 80, size=(n, channels, size, size)).astype(np.uint8)
    half = size // 2
    for image, label in zip(X, y, strict=True):
        row, column = divmod(int(label) % 4, 2)
        image[:, row * half : (row + 1) * half, column * half : (column + 1) * half] += 150
    return X, y.astype(np.int64)


def make_config(**changes: Any) -> pydarts.SearchConfig:
    """A network of three narrow cells with three candidates an edge."""
    fields: dict[str, Any] = {
        "channels": 2,
        "layers": 3,
        "nodes": 2,
        "operations": ("none", "skip_connect", "sep_conv_3x3"),
        "epochs": 2,
        "batch_size": 8,
        "device": "cpu",
        "progress": False,
    }
    return pydarts.SearchConfig(**(fields | changes))


@pytest.fixture
def tiny_arrays() -> Arrays:
    return make_arrays()


@pytest.fixture
def tiny_config() -> pydarts.SearchConfig:
    return make_config()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def opened() -> Iterator[Any]:
    """Opens sources and closes them afterwards."""
    kept: list[Sources] = []

    def open_(loader: Any, **changes: Any) -> Sources:
        kept.append(open_sources(loader, make_config(**changes)))
        return kept[-1]

    yield open_
    for sources in kept:
        sources.close()


@pytest.fixture(scope="session")
def tiny_result() -> pydarts.SearchResult:
    """The result of one complete search, for tests that only read it."""
    return pydarts.search(make_arrays(), make_config())


@pytest.fixture(scope="session")
def whole() -> Callable[..., pydarts.SearchResult]:
    """The uninterrupted search that a resumed one must be, run once for each configuration."""
    from resuming import uninterrupted

    return uninterrupted()


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory, tiny_result: pydarts.SearchResult) -> Path:
    """A folder with data, a run and a training, for commands that only read them."""
    folder = tmp_path_factory.mktemp("cli")
    X, y = make_arrays()
    np.savez(folder / "data.npz", x_train=X, y_train=y, x_test=X[:16], y_test=y[:16])
    tiny_result.save(folder / "run")
    net = pydarts.build(tiny_result.genotype, channels=2, layers=3, num_classes=4, in_channels=1)
    training = pydarts.TrainConfig.quick(epochs=1, batch_size=8, progress=False)
    pydarts.train(net, (X, y), training).save(folder / "trained")
    return folder


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory, tiny_result: pydarts.SearchResult) -> dict[str, Path]:
    """A report of every kind of search, by the names in `reports.KINDS`."""
    from reports import written

    return written(tiny_result, tmp_path_factory.mktemp("reports"))


@pytest.fixture
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to be in, for commands that write where they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYDARTS_DEBUG", raising=False)


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


class Stop(pydarts.Callback):
    """Raises after a step."""

    def __init__(self, error: BaseException, step: int = 4) -> None:
        self.error, self.step = error, step

    def on_step(self, info: pydarts.StepInfo) -> None:
        if info.step == self.step:
            raise self.error


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests marked `first`: one that begins last keeps one worker busy and the others idle."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)
