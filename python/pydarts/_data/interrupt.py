"""Handle Ctrl-C during a search: defer it to a safe point, and block it in worker processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType, TracebackType


class InterruptWatch:
    """Context manager that defers the first SIGINT to the next call of `check`.

    An exception raised at an arbitrary point can be lost in a destructor, or break a DataLoader that is
    starting its workers. The second SIGINT calls the previous handler, so that pressing Ctrl-C twice stops
    at once.
    """

    def __init__(self) -> None:
        self.seen = False
        self._before: object = None

    def check(self) -> None:
        """Raise KeyboardInterrupt if SIGINT was received."""
        if self.seen:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.seen and callable(self._before):
            self._before(number, frame)
        self.seen = True

    def __enter__(self) -> InterruptWatch:
        here = threading.current_thread() is threading.main_thread()  # others may not set handlers
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
    """Block SIGINT in processes that are started inside this context by `start_method`.

    A terminal sends SIGINT to the whole process group, and it takes seconds to detect that a worker died.
    Child processes inherit the signal mask. This process receives a pending SIGINT when the context ends.
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
