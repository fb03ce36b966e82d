"""Several searches in executors of the user's own, and in Ray."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
from conftest import make_config
from many import X, plain, short, y
from pydarts import SearchTable
from pydarts._protocol import futures
from safetensors import safe_open

SPAWN = multiprocessing.get_context("spawn")
CONFIG = make_config(epochs=1)


def searched(loader: Any = (X, y), seeds: int = 2, random: int = 1, **where: Any) -> SearchTable:
    return pydarts.search_many(loader, CONFIG, seeds, short(epochs=1), random=random, **where)


@pytest.fixture(scope="module")
def here() -> SearchTable:
    """What this process finds."""
    return searched(workers=0)


# ---- executors


def test_threads_find_what_this_process_finds(here: SearchTable, tmp_path: Path) -> None:
    config = CONFIG.replace(checkpoint_dir=tmp_path)
    with ThreadPoolExecutor(2) as pool:
        found = pydarts.search_many((X, y), config, 2, short(epochs=1), random=1, executor=pool)
    assert plain(found) == plain(here)
    assert plain(SearchTable.load(tmp_path / "table.csv")) == plain(here)


def test_processes_of_the_users_own_find_what_this_process_finds(here: SearchTable) -> None:
    with ProcessPoolExecutor(1, SPAWN) as pool:
        assert plain(searched(executor=pool, cpus=1)) == plain(here)
        # The same workers serve another table.
        cells = {row.name: row.genotype for row in here if row.genotype is not None}
        narrow = {"channels": 2, "layers": 3}
        found = pydarts.compare(cells, (X, y), short(epochs=1), network=narrow, executor=pool)
    assert [row.accuracy for row in found] == [row.accuracy for row in here]


class Fatal:
    """Batches that kill another process than that of the test."""

    def __iter__(self) -> Iterator[Any]:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return iter([(X[:8], y[:8]), (X[8:16], y[8:16])])


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is that of POSIX")
def test_a_lost_worker_is_a_failed_row() -> None:
    fixed: dict[str, Any] = {"epochs": 1, "mean": (0.2,), "std": (0.2,)}
    batches = [(X[:8], y[:8])]
    with ProcessPoolExecutor(1, SPAWN) as pool:
        found = pydarts.search_many(
            (Fatal(), batches), make_config(**fixed), 1, short(**fixed), executor=pool
        )
    assert found[0].status == "failed" and "BrokenProcessPool" in (found[0].error or "")


def test_a_failed_search_is_its_own_row() -> None:
    with ThreadPoolExecutor(1) as pool:
        found = pydarts.search_many(
            (X, y), CONFIG.replace(weight_lr=1e30), 1, short(epochs=1), random=1, executor=pool
        )
    assert [row.status for row in found] == ["failed", "complete"]


# ---- loaders by function


class Made:
    """Returns data that cannot be pickled, and notes the process that asked for them."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def __call__(self) -> Any:
        if self.folder is not None:
            (self.folder / str(os.getpid())).touch()
        return Alone((X[start : start + 8], y[start : start + 8]) for start in range(0, 80, 8)), [(X, y)]


@pytest.mark.long
def test_a_function_makes_the_data_in_every_worker(tmp_path: Path) -> None:
    assert plain(searched(Made(tmp_path), workers=1)) == plain(searched(Made(None), workers=0))
    pids = {int(path.name) for path in tmp_path.iterdir()}
    assert os.getpid() in pids and len(pids) == 2


def test_an_error_of_the_function_is_raised() -> None:
    def broken() -> Any:
        raise FileNotFoundError("no data here")

    with pytest.raises(FileNotFoundError, match="no data here"):
        searched(broken)


# ---- what does not fit


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ({"executor": "threads"}, "threads"),
        ({"executor": "ray", "workers": 2}, "workers"),
        ({"workers": -1}, "workers"),
        ({"workers": True}, "workers"),
        ({"cpus": 0}, "cpus"),
        ({"cpus": 1.5}, "cpus"),
        ({"cpus": 2, "workers": 0}, "cpus"),
        ({"gpus": 1}, "gpus"),
        ({"executor": "ray", "gpus": 1.5}, "gpus"),
        ({"executor": "ray", "gpus": float("nan")}, "gpus"),
        ({"executor": "ray", "gpus": -1}, "gpus"),
    ],
)
def test_values_that_do_not_fit_are_refused(where: dict[str, Any], named: str) -> None:
    with pytest.raises(pydarts.ConfigError, match=named):
        searched(**where)
    with pytest.raises(pydarts.ConfigError, match=named):
        pydarts.compare({"a": pydarts.genotypes.DARTS_V2}, (X, y), **where)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX forks")
def test_processes_that_would_be_forked_are_refused() -> None:
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    with pool, pytest.raises(pydarts.ConfigError, match="spawn"):
        searched(executor=pool)


def test_an_executor_that_is_shut_down_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    config = CONFIG.replace(checkpoint_dir=tmp_path / "many")
    with pytest.raises(pydarts.ConfigError, match="shutdown"):
        pydarts.search_many((X, y), config, 1, short(epochs=1), executor=pool)
    assert not (tmp_path / "many").exists()


class Alone(list[Any]):
    """Batches that can be neither copied nor pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("not to be copied")


def test_a_loader_that_does_not_go_to_a_worker_is_refused() -> None:
    batches = Alone([(X[:8], y[:8])])
    with ThreadPoolExecutor(1) as pool, pytest.raises(pydarts.DataError, match="not to be copied"):
        searched((batches, batches), executor=pool)
    with ProcessPoolExecutor(1, SPAWN) as pool:
        with pytest.raises(pydarts.DataError, match="not to be copied"):
            searched((batches, batches), executor=pool)
        with pytest.raises(pydarts.DataError, match="function"):
            searched(lambda: (X, y), executor=pool)
        assert searched(Made(None), seeds=1, random=0, executor=pool).status == "complete"


def test_more_than_this_machine_has_is_refused() -> None:
    pytest.importorskip("ray")
    with pytest.raises(pydarts.ConfigError, match="100000"):
        searched(executor="ray", cpus=100000)


def test_settings_of_a_thread_stay_and_data_do_not(here: SearchTable) -> None:
    before = torch.get_num_threads()
    with ThreadPoolExecutor(1) as pool:
        assert plain(searched(executor=pool, cpus=1)) == plain(here)
        assert pool.submit(torch.get_num_threads).result() == before
    assert not futures._copies


def test_after_ctrl_c_no_job_begins() -> None:
    """A pool of processes fetches jobs before a worker is free, and cannot give them back."""
    task = futures.Task.of(None)
    task.close()
    job: Any = None
    assert task(b"", job) is None


def test_an_automatic_batch_size_needs_to_know_the_memory() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(pydarts.ConfigError, match="batch_size"):
        pydarts.search_many((X, y), CONFIG.replace(batch_size="auto"), 1, short(epochs=1), executor=pool)


# ---- Ray


@pytest.mark.long
def test_ray_finds_what_this_process_finds(here: SearchTable) -> None:
    ray = pytest.importorskip("ray")

    class OfTheTest(list[Any]):
        """Goes along by value."""

    batches = OfTheTest((X[start : start + 8], y[start : start + 8]) for start in range(0, 48, 8))
    assert plain(searched(executor="ray")) == plain(here)
    assert not ray.is_initialized()
    assert searched((batches, batches), executor="ray", random=0).status == "complete"


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is that of POSIX")
def test_ray_tries_the_row_of_a_lost_worker_again(here: SearchTable, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    importable = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=importable)
    try:
        found = searched(FatalOnce(tmp_path, os.getpid()), executor="ray")
        assert ray.is_initialized(), "a cluster of the user's own stays"
    finally:
        ray.shutdown()
    assert (tmp_path / "killed").exists() and plain(found) == plain(here)


@pytest.mark.long
def test_a_search_of_a_lost_machine_continues_on_another(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    config, folder = make_config(epochs=60, checkpoint_dir=tmp_path / "many"), tmp_path / "many"
    saved: dict[str, list[float]] = {}

    def checkpoints(row: str) -> list[Path]:
        return sorted((folder / row / "checkpoints").glob("*.safetensors"))

    def lose() -> None:
        """Remove a machine in the middle of its search."""
        while not all(len(checkpoints(row)) >= 2 for row in ("seed-0", "seed-1")):
            time.sleep(0.01)
        cluster.remove_node(lost, allow_graceful=False)
        for row in ("seed-0", "seed-1"):
            with suppress(
                FileNotFoundError
            ):  # the other search is still running and removes its older checkpoints
                with safe_open(checkpoints(row)[0], "np") as file:
                    history = json.loads(file.metadata()["pydarts"])["progress"]["history"]
                saved[row] = [record["seconds"] for record in history]

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    try:
        ray.init(cluster.address, log_to_driver=False)
        thread = threading.Thread(target=lose)
        thread.start()
        found = pydarts.search_many((X, y), config, 2, short(epochs=1), random=0, executor="ray")
        thread.join()
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert found.status == "complete"
    assert saved
    for row, seconds in saved.items():  # of epochs that were not computed again
        history = pydarts.SearchResult.load(folder / row).history
        assert seconds and [record.seconds for record in history][: len(seconds)] == seconds
    plainly = pydarts.search_many((X, y), make_config(epochs=60), 2, short(epochs=1), random=0, workers=0)
    assert plain(found) == plain(plainly)


class FatalOnce:
    """Returns the data, and once kills a worker instead."""

    def __init__(self, folder: Path, parent: int) -> None:
        self.folder, self.parent = folder, parent

    def __call__(self) -> Any:
        if os.getpid() != self.parent and not (self.folder / "killed").exists():
            (self.folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return X, y


INTERRUPTED = """
import sys
sys.path.insert(0, {tests!r})
import pydarts, ray
from conftest import make_config
from many import X, y, short

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
config = make_config(epochs=100_000, checkpoint_dir={folder!r})
print(pydarts.search_many((X, y), config, 3, short(), executor="ray"))
"""


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="SIGINT is that of POSIX")
def test_ctrl_c_interrupts_the_searches_in_ray(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    folder, tests = tmp_path / "many", str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(tests=tests, folder=str(folder))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 180.0
        while len({path.parent for path in folder.glob("seed-*/checkpoints/*.safetensors")}) < 2:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        shown, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    statuses = [row.status for row in SearchTable.load(folder / "table.csv")]
    assert statuses == ["interrupted", "interrupted", "waiting"], shown
    assert len(list(folder.glob("seed-*/result.json"))) == 2
