"""Ctrl-C during a search: noted, not raised in the middle of things, and kept from worker processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType, TracebackType


class InterruptWatch:
    """While entered, the first SIGINT is only noted, and the search ends at its next look.

    An exception raised wherever the interpreter happens to be can be lost in a destructor, or break a
    DataLoader that is starting its workers. The second SIGINT does what it did before: whoever presses twice
    wants out now.
    """

    def __init__(self) -> None:
        self.seen = False
        self._before: object = None

    def check(self) -> None:
        """Raise KeyboardInterrupt if SIGINT came."""
        if self.seen:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.seen and callable(self._before):
            self._before(number, frame)
        self.seen = True

    def __enter__(self) -> InterruptWatch:
        here = threading.current_thread() is threading.main_thread()  # only there may handlers be set
        before = signal.getsignal(signal.SIGINT) if here else None
        if callable(before):
            self._before = before
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if callable(self._before):
            signal.signal(signal.SIGINT, self._before)


@contextmanager
def sheltered(start_method: str = "fork") -> Iterator[None]:
    """Processes started inside, by this method, never see Ctrl-C: they end when their owner says so.

    A terminal sends SIGINT to the whole group, and a worker that dies of it takes seconds to be missed. The
    signal mask is inherited; one that comes meanwhile is delivered to us at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if start_method != "fork":
        resource_tracker.ensure_running()  # the first process would start it, which takes SIGINT off the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
