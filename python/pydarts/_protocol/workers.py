"""Tasks in processes; the task of a process that dies is tried again in another one."""

from __future__ import annotations

import _thread
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any

import torch

from .._data.interrupt import InterruptWatch, sheltered
from .._values import hints

TRIES = 3
"""The largest number of attempts at a task whose processes die."""
_POLL = 0.1  # seconds between checks for an interrupt
_PATIENCE = 5.0  # seconds that a process gets to end


def run_in_processes(
    work: Callable[[Any, Any, Callable[..., None]], Any],
    shared: bytes,
    tasks: Sequence[Any],
    workers: int,
    threads: int,
    tell: Callable[..., None],
) -> Iterator[tuple[Any, Any]]:
    """Run `work(task, shared, tell)` for every task; yield (task, outcome) as tasks finish.

    Ctrl-C interrupts the running tasks as it would in this process; no other task is started. If a process
    dies, its task is tried again after the others, in another process; after `TRIES` attempts the outcome is
    a `Lost`. No process remains, whatever happens.

    Args:
        work: a function at the top level of a module.
        shared: pickled data that all tasks use.
        tasks: started in this order.
        workers: number of processes.
        threads: CPU threads of each process.
        tell: called with the values that `work` passes to its own `tell`.

    Raises:
        Unreadable: `shared` cannot be unpickled in another process.
        RuntimeError: a process ended before its first task.
    """
    waiting = [(task, 1) for task in tasks]
    team: list[_Worker] = []
    watch = InterruptWatch()
    try:
        with watch:
            while True:
                if watch.seen:
                    waiting.clear()
                    for worker in team:
                        worker.interrupt()
                for worker in team:
                    if worker.ready and waiting:
                        worker.give(waiting.pop(0))
                while len(team) < workers and sum(each.task is None for each in team) < len(waiting):
                    team.append(_Worker(work, shared, threads))
                if not waiting and all(worker.task is None for worker in team):
                    return
                for link in wait([worker.link for worker in team], _POLL):
                    worker = next(each for each in team if each.link is link)
                    try:
                        kind, *values = worker.read()
                    except (EOFError, OSError):
                        team.remove(worker)
                        if worker.task is None and watch.seen:
                            worker.end()
                            continue
                        if worker.task is None:
                            raise RuntimeError(_STILLBORN.format(worker.end())) from None
                        (task, tries), how = worker.task, worker.end()
                        if watch.seen or tries == TRIES:
                            yield task, Lost(how, watch.seen, tries)
                        else:
                            hints.hint(f"a process ended with {how}; its task is begun again in another one")
                            waiting.append((task, tries + 1))
                        continue
                    if kind == "tell":
                        tell(*values)
                        continue
                    if kind == "unreadable":
                        raise Unreadable(
                            "the loader, the loss or the network cannot be unpickled in another process "
                            f"({values[0]})"
                        )
                    worker.ready = True
                    if kind == "done":
                        (task, _), worker.task = worker.task, None
                        yield task, values[0]
    finally:
        for worker in team:
            worker.end()


class Unreadable(Exception):
    """The shared data cannot be unpickled in another process; no task has begun."""


class Lost:
    """The outcome of a task whose process died."""

    def __init__(self, how: str, interrupted: bool, tries: int) -> None:
        self.how, self.interrupted, self.tries = how, interrupted, tries


class _Worker:
    """A process, as its parent sees it."""

    def __init__(self, work: Callable[..., Any], shared: bytes, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.link, link = context.Pipe()
        leash, self._leash = context.Pipe(duplex=False)
        self.task: Any = None
        self.ready = False
        """Whether it waits for a task."""
        self._interrupted = self._begun = False
        self._work, self._shared = work, shared
        self._process = context.Process(target=_serve, args=(link, leash, threads))
        with sheltered("spawn"), _main_only_if_named_in(shared):
            self._process.start()
        link.close()
        leash.close()

    def read(self) -> Any:
        return pickle.loads(self.link.recv_bytes())

    def give(self, task: tuple[Any, int]) -> None:
        """Send a task, which comes with the number of the try; before the first one, send the shared data."""
        self.task, self.ready = task, False
        with suppress(OSError):  # if the process died, the next read notices it
            if not self._begun:
                self._begun = True
                self.link.send_bytes(pickle.dumps(self._work))
                self.link.send_bytes(self._shared)
            self.link.send_bytes(pickle.dumps(task[0]))

    def interrupt(self) -> None:
        """Interrupt the process once, as Ctrl-C does."""
        if self.task is not None and not self._interrupted:
            self._interrupted = True
            with suppress(OSError):
                self._leash.send_bytes(b"interrupt")

    def end(self) -> str:
        """End the process if necessary; describe how it ended."""
        self.link.close()
        self._leash.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        return f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"status {code}"


def _serve(link: Connection, leash: Connection, threads: int) -> None:
    """Run in the process: receive and do tasks."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_obey, args=(leash,), daemon=True).start()
    torch.set_num_threads(threads)
    hints.silence()

    def send(*message: Any) -> None:
        link.send_bytes(pickle.dumps(message))

    def tell(*values: Any) -> None:
        send("tell", *values)

    send("ready")
    try:
        work = pickle.loads(link.recv_bytes())
        try:
            shared = pickle.loads(link.recv_bytes())
        except EOFError:
            raise
        except Exception as error:
            send("unreadable", f"{type(error).__name__}: {error}")
            return
        while True:
            send("done", work(pickle.loads(link.recv_bytes()), shared, tell))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _obey(leash: Connection) -> None:
    """Interrupt the task on request; end the process when its parent is gone, for whatever reason."""
    while True:
        try:
            leash.recv_bytes()
        except (EOFError, OSError):
            os._exit(0)
        _thread.interrupt_main()


@contextmanager
def _main_only_if_named_in(pickled: bytes) -> Iterator[None]:
    """Let processes that start here run the main script again only if the data need one of its objects.

    So a script needs no `if __name__ == "__main__"` around a search of plain arrays.
    """
    main = sys.modules["__main__"]
    if b"__main__" not in pickled:
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


_STILLBORN = (
    "a process ended with {} before its first task; its output is above. If the loader or the network uses "
    'classes of the main script, call this function under `if __name__ == "__main__":`, or use workers=0'
)
