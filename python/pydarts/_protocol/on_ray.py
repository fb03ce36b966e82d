"""Rows from a Ray cluster, which schedules the jobs and tries those of lost workers again elsewhere."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any

from .. import _core
from .futures import Futures, Task
from .job import Given, Job
from .row import SearchRow
from .workers import TRIES


def on_ray(given: Given, cpus: int | None, gpus: float | None) -> Futures:
    """Return what does jobs in the Ray cluster that this process is connected to, or in one on this machine.

    Raises:
        ConfigError: Ray is not installed.
        DataError: what all jobs share cannot be pickled.
    """
    try:
        from ray import cloudpickle
    except ImportError as error:
        raise _core.ConfigError("executor='ray' needs the package ray: pip install 'pydarts[ray]'") from error
    try:
        pickler: Any = cloudpickle
        shared: bytes = pickler.dumps(given)  # classes of a notebook or script go along by value
    except Exception as error:  # pickling may raise anything
        raise _core.DataError(
            f"what all jobs share cannot be pickled ({type(error).__name__}: {error}); pass a function that "
            "returns the loader"
        ) from error
    return Futures(lambda: _Cluster(shared, cpus or 1, gpus or 0))


class _Cluster:
    """A Ray cluster. One that is begun here ends with the jobs."""

    def __init__(self, shared: bytes, cpus: int, gpus: float) -> None:
        import ray
        from ray.exceptions import TaskCancelledError

        self.cancelled: tuple[type[BaseException], ...] = (CancelledError, TaskCancelledError)
        self._ray: Any = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            ray.init(log_to_driver=False, include_dashboard=False)
        self._task = Task.of(cpus)
        self._shared = ray.put(shared)  # once per machine, not once per job
        self._remote: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=TRIES - 1)(_run)
        self._running: dict[Future[SearchRow], Any] = {}

    def submit(self, job: Job) -> Future[SearchRow]:
        begun = self._remote.remote(self._task, self._shared, job)
        future: Future[SearchRow] = begun.future()
        self._running[future] = begun
        return future

    def withdraw(self, future: Future[SearchRow]) -> bool:
        return False  # Ray does not say which jobs have begun

    def stop(self, future: Future[SearchRow]) -> None:
        with suppress(Exception):  # it has just ended
            self._ray.cancel(self._running[future])

    def close(self) -> None:
        self._running.clear()
        if self._ours:
            self._ray.shutdown()


def _run(task: Task, shared: bytes, job: Job) -> SearchRow:
    return task(shared, job)
