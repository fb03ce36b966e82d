"""Ctrl-C and SIGTERM during a run: defer them to a safe point, and block Ctrl-C in worker processes."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from types import FrameType, TracebackType
from typing import Any


class InterruptWatch:
    """Context manager that defers the first SIGINT and the first SIGTERM to the next call of `check`.

    An exception raised at an arbitrary point can be lost in a destructor, or break a DataLoader that is
    starting its workers. Repeating a signal calls the previous handler, so that pressing Ctrl-C twice stops
    at once, except while generators or settings are restored. In a run inside another one, such as a training
    in a callback, a signal interrupts both. An ignored signal stays ignored, and a handler of SIGTERM that
    the user has installed stays.
    """

    def __init__(self) -> None:
        self.seen = False
        self._outer: InterruptWatch | None = None
        self._before: dict[int, Any] = {}
        self._numbers: set[int] = set()
        self._process = os.getpid()

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal was received."""
        if self.seen:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._outer is not None:
            self.seen = True
            self._outer._note(number, frame)
            return
        before = self._before.get(number)
        # A process forked during the run has nothing to finish.
        again = number in self._numbers or os.getpid() != self._process
        self._numbers.add(number)
        self.seen = True
        if again and _must_finish(frame):
            return
        if again and callable(before):
            before(number, frame)
        elif again:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def __enter__(self) -> InterruptWatch:
        if threading.current_thread() is not threading.main_thread():  # others may not set handlers
            return self
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            outer = getattr(before, "__self__", None)
            if isinstance(outer, InterruptWatch):
                self._outer, self.seen = outer, outer.seen
            own = callable(before) if number == signal.SIGINT else before == signal.SIG_DFL
            if own or isinstance(outer, InterruptWatch):
                self._before[number] = before
                signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)


def _must_finish(frame: FrameType | None) -> bool:
    """Return whether code runs that takes or restores generators or settings, not code that it calls."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if name in _FINISHING:
            return True
        if name.partition(".")[0] not in _LIBRARIES:
            return False
        frame = frame.f_back
    return False


_FINISHING = ("pydarts._data.draws", "pydarts._data.generators", "pydarts._values.ambient")
_LIBRARIES = ("torch", "numpy", "random", "threading", "contextlib", "dataclasses", "functools")
_PATIENCE = 5.0  # seconds for a worker process that has closed its connection to end


def of_worker(iterator: Iterator[Any], error: BaseException) -> BaseException:
    """Return what `error` of a DataLoader means if it only says that a worker process is gone.

    A worker swallows KeyboardInterrupt and ends, and its parent finds no connection or a closed one.
    """
    passed_on = "in DataLoader worker process" in str(error)  # an exception of the data set
    closed = isinstance(error, (OSError, EOFError)) and not passed_on
    if not closed and not str(error).startswith("DataLoader worker"):
        return error
    workers, working = getattr(iterator, "_workers", ()), getattr(iterator, "_workers_status", ())
    # Those without work have finished; torch has stopped to count on those that its error names.
    named = re.findall(r"\d+", str(error))
    lost = [
        worker
        for worker, works in zip(workers, working, strict=True)
        if works or (not closed and str(worker.pid) in named)
    ]
    ended = wait([worker.sentinel for worker in lost], _PATIENCE)
    for worker in lost:
        if worker.sentinel in ended:
            worker.join(_PATIENCE)  # its exit code follows the end of its files
        code, found = worker.exitcode, error
        if code in (0, -signal.SIGINT, -signal.SIGTERM):
            found = KeyboardInterrupt("a worker process of the loader was interrupted")
        elif code is not None and closed:
            how = f"status {code}" if code > 0 else f"signal {-code}"
            found = RuntimeError(f"worker process {worker.pid} of the loader ended with {how}")
        if found is not error:
            found.__cause__ = error
            return found
    return error


@contextmanager
def sheltered(start_method: str = "fork") -> Iterator[None]:
    """Block SIGINT in processes that are started inside this context by `start_method`.

    A terminal sends SIGINT to the whole process group, and it takes seconds to detect that a worker died.
    Child processes inherit the signal mask. This process receives a pending SIGINT when the context ends.
    SIGTERM is not blocked: a DataLoader ends workers with it that do not end by themselves.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if start_method != "fork":
        resource_tracker.ensure_running()  # starting it later would unblock SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
