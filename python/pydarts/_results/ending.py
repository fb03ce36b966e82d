"""How a search or a training ends, well or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from .._values.words import count


class Ended(Protocol):
    """What a run leaves."""

    @property
    def history(self) -> Sequence[object]:
        """One record an epoch."""

    @property
    def config(self) -> Any:
        """Has a `checkpoint_dir`."""


R = TypeVar("R", bound=Ended)


def end(result: R, error: BaseException | None, callbacks: Sequence[Any], what: str) -> R:
    """Tell the callbacks; then return the result, or raise what stopped the run with the result on it.

    What a callback raises keeps the others from nothing, a Ctrl-C while it uploads neither.
    """
    for callback in callbacks:
        try:
            callback.on_end(result)
        except BaseException as late:
            if error is None:
                error = late
            else:
                _note(error, f"afterwards on_end of {type(callback).__name__} raised {late!r}")
    if error is None:
        return result
    try:
        error.result = result  # type: ignore[attr-defined]
    except AttributeError:
        where = "it could not be hung on this exception"
    else:
        where = "it is this exception's attribute `result`"
    folder = result.config.checkpoint_dir
    kept = "" if folder is None or not wrote(result) else f"; the last checkpoint lies in {folder}"
    _note(
        error,
        f"pydarts: the {what} stopped after {reached(result)}; what it reached: {where}{kept}",
    )
    raise error


def reached(result: Ended) -> str:
    """How far a run got: in epochs; a search that stopped before its end, in steps too."""
    epochs = count(len(result.history), "epoch")
    steps: Sequence[int] = getattr(result, "steps", ())
    if getattr(result, "status", "complete") == "complete" or not any(steps):
        return epochs if result.history else "less than an epoch"
    return count(steps[-1], "step") + (f" ({epochs})" if result.history else "")


def wrote(result: Ended) -> bool:
    """Whether a run got as far as a checkpoint: a search after a step, a training after an epoch."""
    return bool(len(result.history) or any(getattr(result, "steps", ())))


def _note(error: BaseException, text: str) -> None:
    add = getattr(error, "add_note", None)  # Python 3.11 and later
    if add is not None:
        add(text)
