"""Rows from a Ray cluster, which schedules the jobs and runs those of lost workers again."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any

import torch

from .. import _core
from .._values.hints import hint
from .futures import Futures, Task
from .job import Given, Job
from .row import SearchRow
from .workers import TRIES


def on_ray(given: Given, cpus: int | None, gpus: float | None) -> Futures:
    """Return the jobs' side of the Ray cluster that this process is connected to, or of one on this machine.

    Raises:
        ConfigError: Ray is not installed, or this machine has fewer CPUs or GPUs than a job needs.
        DataError: what all jobs share cannot be pickled.
    """
    try:
        import ray
        from ray import cloudpickle
    except ImportError as error:
        raise _core.ConfigError("executor='ray' needs the package ray: pip install 'ray>=2.50'") from error
    _check_resources(ray, cpus or 1, gpus or 0)
    try:
        pickler: Any = cloudpickle
        shared: bytes = pickler.dumps(given)  # classes of a notebook or script are pickled by value
    except Exception as error:  # pickling may raise anything
        raise _core.DataError(
            f"the data of the jobs cannot be pickled ({type(error).__name__}: {error}); pass a function that "
            "returns the loader"
        ) from error
    return Futures(lambda: _Cluster(shared, cpus or 1, gpus or 0))


def _check_resources(ray: Any, cpus: int, gpus: float) -> None:
    """Refuse jobs that Ray would never begin; a cluster of the user may still grow, so warn there."""
    if not ray.is_initialized():
        has = {"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count()}
        if cpus > has["CPU"] or gpus > has["GPU"]:
            raise _core.ConfigError(
                f"a search needs {cpus} CPUs and {gpus:g} GPUs, and this machine has {has['CPU']} and "
                f"{has['GPU']}; reduce cpus or gpus, or connect to a cluster with ray.init(address=...)"
            )
        return
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        hint(
            f"no machine of the Ray cluster has {cpus} CPUs and {gpus:g} GPUs, which a search needs; Ray "
            "waits until one joins"
        )


class _Cluster:
    """A Ray cluster. One that is started here ends with the jobs."""

    def __init__(self, shared: bytes, cpus: int, gpus: float) -> None:
        import ray
        from ray.exceptions import TaskCancelledError

        self.withdrawn: tuple[type[BaseException], ...] = (CancelledError, TaskCancelledError)
        self._ray: Any = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            # Ray replaces the handler of SIGTERM, which searches rely on.
            handler = signal.getsignal(signal.SIGTERM)
            ray.init(log_to_driver=False, include_dashboard=False)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)
        self._task = Task.of(cpus)
        self._shared = ray.put(shared)  # once per machine, not once per job
        self._remote: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=TRIES - 1)(_run)
        self._running: dict[Future[SearchRow | None], Any] = {}

    def submit(self, job: Job) -> Future[SearchRow | None]:
        begun = self._remote.remote(self._task, self._shared, job)
        future: Future[SearchRow | None] = begun.future()
        self._running[future] = begun
        return future

    def withdraw(self, future: Future[SearchRow | None]) -> bool:
        return False  # Ray does not say which jobs have begun

    def stop(self, future: Future[SearchRow | None]) -> None:
        with suppress(Exception):  # it has just ended
            self._ray.cancel(self._running[future])

    def close(self) -> None:
        self._running.clear()
        self._task.close()
        if self._ours:
            self._ray.shutdown()


def _run(task: Task, shared: bytes, job: Job) -> SearchRow | None:
    return task(shared, job)
