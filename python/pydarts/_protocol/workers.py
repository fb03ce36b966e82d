"""Tasks in processes of their own: one that dies takes its task along and no other."""

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

from .. import _core
from .._data.interrupt import InterruptWatch, sheltered

_POLL = 0.1  # seconds between looks at an interrupt
_PATIENCE = 5.0  # seconds granted to a process to end


def run_in_processes(
    work: Callable[[Any, Any, Callable[..., None]], Any],
    shared: bytes,
    tasks: Sequence[Any],
    workers: int,
    threads: int,
    tell: Callable[..., None],
) -> Iterator[tuple[Any, Any]]:
    """Give `work(task, shared, tell)` of every task, as they come: (task, outcome).

    Ctrl-C reaches the tasks under way as it would reach them here; no other is begun. Where a process dies,
    the outcome is a `Lost`. Whatever happens, no process is left.

    Args:
        work: a function of a module.
        shared: pickled; what all tasks read.
        tasks: handed out in order.
        workers: how many at once.
        threads: CPU threads of each.
        tell: hears what `work` tells.

    Raises:
        DataError: `shared` cannot be read in another process.
        RuntimeError: a process ended before it began.
    """
    waiting = list(tasks)
    team: list[_Worker] = []
    watch = InterruptWatch()
    try:
        with watch:
            while True:
                if watch.seen:
                    waiting.clear()
                    for worker in team:
                        worker.interrupt()
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
                        yield worker.task, Lost(worker.end(), watch.seen)
                        continue
                    if kind == "tell":
                        tell(*values)
                        continue
                    if kind == "unreadable":
                        raise _core.DataError(_UNREADABLE.format(*values))
                    if kind == "done":
                        task, worker.task = worker.task, None
                        yield task, values[0]
                    if waiting:
                        worker.give(waiting.pop(0))
    finally:
        for worker in team:
            worker.end()


class Lost:
    """A process that died with its task."""

    def __init__(self, how: str, interrupted: bool) -> None:
        self.how, self.interrupted = how, interrupted


class _Worker:
    """A process, seen from here."""

    def __init__(self, work: Callable[..., Any], shared: bytes, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.link, link = context.Pipe()
        leash, self._leash = context.Pipe(duplex=False)
        self.task: Any = None
        self._interrupted = self._begun = False
        self._work, self._shared = work, shared
        self._process = context.Process(target=_serve, args=(link, leash, threads))
        with sheltered("spawn"), _main_only_if_named_in(shared):
            self._process.start()
        link.close()
        leash.close()

    def read(self) -> Any:
        return pickle.loads(self.link.recv_bytes())

    def give(self, task: Any) -> None:
        """Send a task, and before the first what all tasks read."""
        self.task = task
        with suppress(OSError):  # if it died, the next look at the link says so
            if not self._begun:
                self._begun = True
                self.link.send_bytes(pickle.dumps(self._work))
                self.link.send_bytes(self._shared)
            self.link.send_bytes(pickle.dumps(task))

    def interrupt(self) -> None:
        """As Ctrl-C, once."""
        if self.task is not None and not self._interrupted:
            self._interrupted = True
            with suppress(OSError):
                self._leash.send_bytes(b"interrupt")

    def end(self) -> str:
        """End the process, if need be; how it ended, in words."""
        self.link.close()
        self._leash.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        return f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"status {code}"


def _serve(link: Connection, leash: Connection, threads: int) -> None:
    """A process, seen from inside."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_obey, args=(leash,), daemon=True).start()
    torch.set_num_threads(threads)

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
    """Interrupt the task when told so; end at once when whoever wanted it is gone, however it went."""
    while True:
        try:
            leash.recv_bytes()
        except (EOFError, OSError):
            os._exit(0)
        _thread.interrupt_main()


@contextmanager
def _main_only_if_named_in(pickled: bytes) -> Iterator[None]:
    """Processes started inside run the main script again only where something of it has to be unpickled.

    So a script needs no `if __name__ == "__main__"` around a search of plain arrays.
    """
    main = sys.modules["__main__"]
    if b"__main__" not in pickled:
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


_UNREADABLE = (
    "the loader cannot be read in another process ({}): define its classes in a module, or have all done in "
    "this process with workers=0"
)
_STILLBORN = (
    "a process ended with {} before it began; what it wrote stands above. In a script whose own classes the "
    'loader holds, the call belongs under `if __name__ == "__main__":`; workers=0 does all in this process'
)
