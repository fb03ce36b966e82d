"""`PythonSource`: batches of a Python loader, validated and prefetched on a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from .._core import DataError, normalized
from .._values.ambient import kept
from .arrays import (
    NOUNS,
    as_tensor,
    check_images,
    check_range,
    check_targets,
    first_bad_image,
    is_array,
    name_of,
)
from .draws import Section, Turn
from .interrupt import of_worker
from .passes import Passes
from .structure import Layout, describe
from .unpacking import LABELLED, Contents, Unpacking

Batch: TypeAlias = tuple[Tensor, Tensor]
Structured: TypeAlias = tuple[list[Tensor], Layout]

_AHEAD = 2  # prefetched batches
_POLL = 0.1  # seconds between checks for a stop or an interrupt
_PATIENCE = 1.0  # seconds to wait for a loader to finish its current batch


class Checker(Protocol):
    """Validates the batches of a loader."""

    @property
    def role(self) -> str:
        """The role of the loader in messages: "training" or "validation"."""

    def __call__(self, number: int, batch: Any) -> Batch | Structured:
        """Check batch `number` of a pass, counted from 0; return (x, y), or all tensors and their layout."""


@dataclass(frozen=True)
class BatchChecker:
    """Validates a batch of a loader and converts it to the (x, y) that the engine expects."""

    role: str  # "training" or "validation"
    dtype: torch.dtype
    shape: tuple[int, ...] | None = None  # channels, height, width; or channels, length; None: any
    num_classes: int | None = None  # None: any
    in_channels: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    array_dtype: torch.dtype | None = None  # of the other part, if it is arrays; None: any
    dimensions: int = 2  # 1: sequences
    contents: Contents = LABELLED

    def __call__(self, number: int, batch: Any) -> Batch:
        """Check batch `number` of a pass, counted from 0."""
        what = f"batch {number} of the {self.role} loader"
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            if self.contents.unpack is not None:
                raise DataError(
                    f"unpack must return a pair (images, labels), but returned {describe(batch)} for {what}"
                )
            raise DataError(f"{what} must be a pair (x, y), got a {type(batch).__name__}{_remedy(batch)}")
        x, y = batch
        if not is_array(x) or (not is_array(y) and not isinstance(y, (list, tuple))):
            raise DataError(
                f"{what} must hold arrays or tensors, got {type(x).__name__} and {type(y).__name__}"
            )
        noun = NOUNS[self.dimensions]
        images = as_tensor(x, f"the {noun} of {what}")
        check_images(images, f"the {noun} of {what}", self.in_channels, self.dimensions)
        if self.array_dtype is not None and (images.dtype == torch.uint8) != (
            self.array_dtype == torch.uint8
        ):
            raise DataError(
                f"the {noun} of {what} are {name_of(images.dtype)}, the arrays of the other part "
                f"{name_of(self.array_dtype)}; give both the same dtype, or set mean and std in the config"
            )
        if len(images) == 0:
            raise DataError(f"{what} is empty; give at least one example per batch")
        if self.shape is not None and tuple(images.shape[1:]) != self.shape:
            raise DataError(
                f"the {noun} of {what} have shape {list(images.shape[1:])}, expected {list(self.shape)}; "
                f"give all {noun} the same channels and size"
            )
        made = normalized(images, name_of(self.dtype), self.mean, self.std)
        if not bool(torch.isfinite(made).all()):
            raise DataError(
                f"{what} contains NaN or infinity ({noun[:-1]} {first_bad_image(made)} of the batch); "
                "remove it or replace the values"
            )
        given = as_tensor(y, f"the labels of {what}")
        free = self.contents.free
        labels = check_targets(given, len(images), f"the labels of {what}", self.dtype, free)
        if self.num_classes is not None:
            check_range(labels, self.num_classes, f"the labels of {what}", free)
        # The results do not share memory with the batch: the loader may reuse its memory.
        labels = labels.clone() if labels.data_ptr() == given.data_ptr() else labels
        return made, labels.contiguous()


def _remedy(batch: Any) -> str:
    """Describe the parts of a batch that is no pair, and how `unpack` makes a pair of it."""
    if isinstance(batch, Mapping):
        x, y = (next((key for key in names if key in batch), "...") for names in (_IMAGES, _LABELS))
        keys, parts = ", ".join(map(repr, batch)), f'batch["{x}"], batch["{y}"]'
        size = f" with the keys {keys}"
    elif isinstance(batch, (tuple, list)):
        size, parts = f" of {len(batch)}", "batch[0], batch[1]"
    else:
        return "; give batches of images with their labels"
    return f"{size}; pass unpack to select the images and labels: unpack=lambda batch: ({parts})"


# Usual names of images and labels in batches that are dictionaries.
_IMAGES = ("image", "images", "img", "pixel_values", "x", "X", "input", "inputs", "data")
_LABELS = ("label", "labels", "y", "target", "targets", "fine_label", "class")


@dataclass(frozen=True)
class _Failure:
    error: BaseException


class _Stopped(Exception):
    """The source was stopped before its thread could make a batch."""


_END = object()


class PythonSource:
    """A source of the engine that reads a loader; `next` raises the exceptions of the loader unchanged."""

    def __init__(self, passes: Passes, check: Checker, pin: bool, unpack: Unpacking | None = None) -> None:
        self._passes, self._check, self._pin, self._unpack = passes, check, pin, unpack
        self._queue: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._asked = threading.Semaphore(0)
        self._section: Section | None = None  # in which the thread makes a batch
        self.gate = Turn()  # taken while a batch is made; callbacks take it too
        self.poll: Callable[[], None] = lambda: None  # called while waiting; an exception ends the wait
        self.ahead = True  # whether the next pass prefetches batches, unless making them draws random numbers

    def batches(self) -> int | None:
        """Return the number of batches per pass; None if unknown."""
        return self._passes.batches()

    @property
    def draws_here(self) -> bool:
        """Whether fetching a batch may draw random numbers in this process."""
        return self._passes.draws_here or self._unpack is not None

    @property
    def smallest(self) -> int | None:
        """The number of examples in the smallest batch of a pass; None if unknown."""
        return self._passes.smallest

    def start(self, index: int, skip: int) -> None:
        """Begin pass `index` and skip its first `skip` batches."""
        self._halt()
        with kept(), self._passes.draws.order(index, self.poll):
            iterator, left = self._passes.begin(index, skip)
        self._queue, self._stop = queue.Queue(_AHEAD), threading.Event()
        self._asked = threading.Semaphore(0)
        made = self._batches(iterator, index, skip - left, left, self._stop, self._asked)
        self._thread = threading.Thread(
            target=self._fetch,
            args=(iterator, made, self._queue, self._stop, torch.get_num_threads(), index),
            name=f"pydarts {self._check.role} loader",
            daemon=True,
        )
        self._thread.start()

    def next(self) -> Any:
        """Return the next batch as the checker returns it, or None at the end of the pass."""
        if self._thread is None:
            return None
        self._asked.release()
        while True:
            try:
                item = self._queue.get(timeout=_POLL)
            except queue.Empty:
                self.poll()
                continue
            break
        if item is _END:
            self._thread = None
            return None
        if isinstance(item, _Failure):
            self._thread = None
            raise item.error
        return item

    def close(self) -> None:
        """Stop the thread and release the worker processes; may be called twice."""
        self._halt()
        self._passes.close()

    def _halt(self) -> None:
        self._stop.set()
        if self._thread is not None and self._thread.ident is not None:  # not if its start was interrupted
            self._thread.join(_PATIENCE)
            self._thread = None
        if self._section is not None:
            self._section.end()  # of a thread that still waits for its loader
            self._section = None

    def _fetch(
        self,
        iterator: Iterator[Any],
        made: Iterator[tuple[int, Any]],
        out: queue.Queue[Any],
        stop: threading.Event,
        threads: int,
        index: int,
    ) -> None:
        # A second team of OpenMP threads would compete with the engine for the cores. The count applies to
        # this thread, but threads created later inherit it, so it is restored at the end.
        torch.set_num_threads(1)
        try:
            for number, batch in made:
                checked = self._check(number, batch)
                if not _put(out, _pinned(checked) if self._pin else checked, stop):
                    return
            _put(out, _END, stop)
        except BaseException as error:
            _put(out, _Failure(of_worker(iterator, error)), stop)
        finally:
            self._passes.draws.close(iterator, index)
            torch.set_num_threads(threads)

    def _batches(
        self,
        iterator: Iterator[Any],
        index: int,
        first: int,
        skip: int,
        stop: threading.Event,
        asked: threading.Semaphore,
    ) -> Iterator[tuple[int, Any]]:
        """Yield the batches of a pass from number `first` on, without the first `skip`."""
        passes, number, unasked = self._passes, first, 0
        ahead = self.ahead or not self.draws_here

        def poll() -> None:
            if stop.is_set():
                raise _Stopped

        while True:
            if number >= first + skip:
                if not ahead and not _await(asked, stop, unasked + 1):
                    return
                unasked = unasked + 1 if ahead else 0
            with passes.turn:
                if passes.draws_here:
                    # The generators of a GPU cannot be touched while the engine captures a graph.
                    awaited = not ahead or number <= first + skip
                    section = passes.draws.batch(index, number, cuda=awaited, poll=poll, gate=self.gate)
                    self._section = section
                    with section:
                        batch = next(iterator, _END)
                    # A loader that waits for code of the user must not be read while that code runs.
                    self.ahead = self.ahead and not section.gave_way
                    ahead = self.ahead and not section.drew
                else:
                    batch = next(iterator, _END)
            if batch is _END:
                break
            if stop.is_set():
                return
            if number >= first + skip:
                if self._unpack is not None:
                    section = self._unpack.section(passes.draws, index, number, not ahead, poll, self.gate)
                    self._section = section
                    with section:
                        batch = self._unpack(batch, number, self._check.role)
                    self.ahead = self.ahead and not section.gave_way
                    ahead = ahead and self.ahead and not section.drew
                yield number, batch
            number += 1
        if number == 0 and not passes.may_be_empty:
            raise DataError(f"the {self._check.role} loader is empty; it must yield at least one batch")


def _pinned(batch: Batch | Structured) -> Batch | Structured:
    first, second = batch
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.pin_memory(), second.pin_memory()
    assert isinstance(first, list) and isinstance(second, Layout)
    return [tensor.pin_memory() for tensor in first], second


def _await(asked: threading.Semaphore, stop: threading.Event, count: int) -> bool:
    """Wait for `count` requests; return False if stopped."""
    while count and not stop.is_set():
        count -= asked.acquire(timeout=_POLL)
    return not stop.is_set()


def _put(out: queue.Queue[Any], item: object, stop: threading.Event) -> bool:
    """Put `item` in the queue; return False if stopped."""
    while not stop.is_set():
        try:
            out.put(item, timeout=_POLL)
        except queue.Full:
            continue
        return True
    return False
