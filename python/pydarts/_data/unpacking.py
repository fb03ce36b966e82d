"""`unpack`: what a function of the user makes of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._values.callables import short_name
from .._values.hints import add_note
from .draws import Draws, Section, Turn
from .generators import generators_of
from .structure import describe


class Unpacking:
    """A function of the user from a batch to (inputs, targets).

    It runs on the thread that reads the loader. Its draws depend only on (seed, role, pass, batch).
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        if isinstance(function, type) or not callable(function):
            what = f"the class {function.__name__}" if isinstance(function, type) else f"a {_kind(function)}"
            raise TypeError(f"unpack must be a function from a batch to (inputs, targets), got {what}")
        self._function = function
        self._own = generators_of(function)

    def section(
        self,
        draws: Draws,
        index: int,
        number: int,
        cuda: bool = True,
        poll: Callable[[], None] | None = None,
        gate: Turn | None = None,
    ) -> Section:
        """Return the section in which batch `number` of pass `index` is unpacked."""
        return draws.unpacked(index, number, self._own, cuda=cuda, poll=poll, gate=gate)

    def __call__(self, batch: Any, number: int, role: str) -> Any:
        """Unpacking batch `number` of a loader, inside its section."""
        try:
            return self._function(batch)
        except Exception as error:
            where = f"in `unpack` ({short_name(self._function)}) of batch {number} of the {role} loader"
            add_note(error, f"{where}, {describe(batch)}")
            raise


@dataclass(frozen=True)
class Contents:
    """What the batches of images of a user hold besides the images."""

    free: bool = False
    """Whether targets may be anything, as a loss of the user reads them; else labels or probabilities."""
    unpack: Unpacking | None = None
    """What makes (images, targets) of a batch; None: batches are such pairs."""


LABELLED = Contents()


def _kind(value: object) -> str:
    return type(value).__name__
