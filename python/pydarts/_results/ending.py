"""The end of a search or a training: callbacks, exceptions and the partial result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from .._values.ambient import kept
from .._values.hints import add_note
from .._values.words import count


class Ended(Protocol):
    """The result of a run that has ended."""

    @property
    def history(self) -> Sequence[object]:
        """One record per epoch."""

    @property
    def config(self) -> Any:
        """The configuration, which has a `checkpoint_dir`."""


R = TypeVar("R", bound=Ended)


def end(result: R, error: BaseException | None, callbacks: Sequence[Any], what: str) -> R:
    """Call `on_end`; then return the result, or raise the exception that stopped the run with the result.

    An exception in one callback, or a Ctrl-C during it, does not keep the others from being called.
    """
    for callback in callbacks:
        try:
            with kept():
                callback.on_end(result)
        except BaseException as late:
            if error is None:
                error = late
            else:
                add_note(error, f"then on_end of {type(callback).__name__} raised {late!r}")
    if error is None:
        return result
    try:
        error.result = result  # type: ignore[attr-defined]
    except AttributeError:
        where = "could not be attached to this exception"
    else:
        where = "is the attribute `result` of this exception"
    folder = result.config.checkpoint_dir
    saved = "" if folder is None or not wrote(result) else f"; the last checkpoint is in {folder}"
    add_note(
        error,
        f"pydarts: the {what} stopped after {reached(result)}; the partial result {where}{saved}",
    )
    raise error


def reached(result: Ended) -> str:
    """Describe how far a run got: in epochs, and in steps if a search stopped early."""
    epochs = count(len(result.history), "epoch")
    steps: Sequence[int] = getattr(result, "steps", ())
    if getattr(result, "status", "complete") == "complete" or not any(steps):
        return epochs if result.history else "less than an epoch"
    return count(steps[-1], "step") + (f" ({epochs})" if result.history else "")


def wrote(result: Ended) -> bool:
    """Return whether a run wrote a checkpoint: a search after a step, a training after an epoch."""
    return bool(len(result.history) or any(getattr(result, "steps", ())))
