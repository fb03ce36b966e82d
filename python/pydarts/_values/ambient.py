"""Shut out the settings of torch around a call that could change what pydarts computes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch.autograd import forward_ad
from torch.utils import _python_dispatch

from .._core import ConfigError
from .hints import hint

# No public function of torch reads all of these settings.
_C: Any = torch._C
_hooks: Any = torch._C._autograd
_backends: Any = torch.backends

_DEVICES = ("cpu", "cuda")
_PRODUCTS = [("generic", "all"), ("cuda", "all"), ("mkldnn", "all")]  # before those that inherit from them
_PRODUCTS += [(place, kind) for place in ("cuda", "mkldnn") for kind in ("matmul", "conv", "rnn")]


@contextmanager
def plain() -> Iterator[None]:
    """Run pydarts with torch as it is in a new process; restore the caller's settings afterwards.

    Code of the user that runs inside, such as a callback, finds torch in this state too. It may use contexts
    of its own.

    Raises:
        ConfigError: inside inference mode, or a transform of `torch.func`, forward-mode AD or the tracer,
            which follow tensors.

    >>> with torch.no_grad(), torch.autocast("cpu"), torch.device("meta"), plain():
    ...     torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.zeros(()).device.type
    (True, False, 'cpu')
    """
    _refuse()
    _warn_of_fork()
    before, token = _Here.now(), _Process.enter()
    try:
        with ExitStack() as stack:
            if _C._len_torch_dispatch_stack():
                modes: Any = _python_dispatch._disable_current_modes()
                stack.enter_context(modes)
            if before.nesting:  # the casts of the caller's region belong to other weights
                torch.clear_autocast_cache()
            _Here(threads=before.threads).apply(before)
            yield
    finally:
        before.apply(_Here.now())
        _Process.leave(token)


@contextmanager
def kept() -> Iterator[None]:
    """Call code of the user inside `plain`, and undo what it changes for good.

    >>> with kept():
    ...     _ = torch.set_grad_enabled(False)
    >>> torch.is_grad_enabled()
    True
    """
    before, process = _Here.now(), _Process.read()
    try:
        yield
    finally:
        after = _Here.now()
        if after != before:
            if after.threads != before.threads:
                hint(
                    f"torch.set_num_threads({after.threads}) has no effect during a run, because "
                    "results depend on the number of threads; call it before the run"
                )
            before.apply(after)
        _Process.after_user(process)


def _refuse() -> None:
    found = (
        ("torch.inference_mode()", torch.is_inference_mode_enabled()),
        ("a transform of torch.func", _C._functorch.peek_interpreter_stack() is not None),
        ("forward-mode AD (dual_level)", forward_ad._current_level >= 0),
        ("torch.jit.trace", _C._get_tracing_state() is not None),
    )
    for name, active in found:
        if active:
            remedy = "; torch.no_grad() is possible" if name == found[0][0] else ""
            raise ConfigError(f"pydarts cannot work inside {name}; call it outside{remedy}")


@dataclass(frozen=True)
class _Here:
    """The settings of this thread; the defaults are those of a new process, except the number of threads."""

    threads: int
    autocast: tuple[bool, ...] = (False,) * len(_DEVICES)
    nesting: int = 0
    """Open autocast regions; with any, torch would keep casts of weights beyond the region of a step."""
    cache: bool = True
    grad: bool = True
    functions: tuple[Any, ...] = ()
    """Function modes, of which a default device is one."""
    saved: tuple[tuple[Any, Any], ...] = ()
    """Hooks of saved tensors."""
    flush: bool = False
    """Whether this thread flushes denormal numbers to zero."""

    @classmethod
    def now(cls) -> _Here:
        nesting = torch.autocast_increment_nesting() - 1
        torch.autocast_decrement_nesting()
        functions = range(_C._len_torch_function_stack())
        return cls(
            torch.get_num_threads(),
            tuple(torch.is_autocast_enabled(device) for device in _DEVICES),
            nesting,
            torch.is_autocast_cache_enabled(),
            torch.is_grad_enabled(),
            tuple(_C._get_function_stack_at(index) for index in functions),
            _saved_hooks(),
            _TINY / 2 == 0.0,
        )

    def apply(self, current: _Here) -> None:
        """Make these settings those of the thread, which now has `current`."""
        if self == current:
            return
        if self.threads != current.threads:
            torch.set_num_threads(self.threads)
        for device, on in zip(_DEVICES, self.autocast, strict=True):
            torch.set_autocast_enabled(device, on)
        for _ in range(current.nesting - self.nesting):
            torch.autocast_decrement_nesting()
        for _ in range(self.nesting - current.nesting):
            torch.autocast_increment_nesting()
        torch.set_autocast_cache_enabled(self.cache)
        torch.set_grad_enabled(self.grad)
        if self.functions != current.functions:
            while _C._len_torch_function_stack():
                _C._pop_torch_function_stack()
            for mode in self.functions:
                _C._push_on_torch_function_stack(mode)
        if self.saved != current.saved:
            _replace_hooks(self.saved)
        if self.flush != current.flush:
            torch.set_flush_denormal(self.flush)


_TINY = 2.0**-1022  # the smallest normal number


def _saved_hooks() -> tuple[tuple[Any, Any], ...]:
    top = _hooks._top_saved_tensors_default_hooks(True)
    if top is None:
        return ()
    found = []
    while top is not None:
        found.append(top)
        _hooks._pop_saved_tensors_default_hooks()
        top = _hooks._top_saved_tensors_default_hooks(True)
    for pair in reversed(found):
        _hooks._push_saved_tensors_default_hooks(*pair)
    return tuple(reversed(found))


def _replace_hooks(pairs: tuple[tuple[Any, Any], ...]) -> None:
    while _hooks._top_saved_tensors_default_hooks(True) is not None:
        _hooks._pop_saved_tensors_default_hooks()
    for pair in pairs:
        _hooks._push_saved_tensors_default_hooks(*pair)


@dataclass(frozen=True)
class _Setting:
    """A setting of the whole process."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]
    plain: Any


def _product(place: str, kind: str) -> _Setting:
    value = "tf32" if place == "cuda" and kind in ("conv", "rnn") else "none"
    return _Setting(
        partial(_C._get_fp32_precision_getter, place, kind),
        partial(_C._set_fp32_precision_setter, place, kind),
        value,
    )


def _attribute(owner: Any, name: str, value: Any) -> _Setting:
    return _Setting(partial(getattr, owner, name), partial(setattr, owner, name), value)


def _get_products() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # the settings below have other values, and only they have an effect
        return None


_SETTINGS = (
    _Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    # This one also sets some of the following.
    _Setting(_get_products, torch.set_float32_matmul_precision, "highest"),
    *(_product(place, kind) for place, kind in _PRODUCTS),
    _attribute(_backends.cuda.matmul, "allow_bf16_reduced_precision_reduction", True),
    _attribute(_backends.cuda.matmul, "allow_fp16_reduced_precision_reduction", True),
    _Setting(_C._get_cudnn_enabled, _C._set_cudnn_enabled, True),
    _Setting(_C._get_cudnn_benchmark, _C._set_cudnn_benchmark, False),
    _Setting(_C._get_mkldnn_enabled, _C._set_mkldnn_enabled, True),
    _Setting(_C._get_nnpack_enabled, _C._set_nnpack_enabled, True),
)


@dataclass(eq=False)
class _Run:
    """An open run: its thread, and the settings of the process before it."""

    thread: int
    before: list[Any]


class _Process:
    """The settings of the process, which runs in several threads share."""

    _lock = threading.Lock()
    _runs: ClassVar[list[_Run]] = []
    """The open runs, oldest first; the oldest one has the settings of the caller."""

    @staticmethod
    def read() -> list[Any]:
        return [setting.read() for setting in _SETTINGS]

    @staticmethod
    def write(values: Sequence[Any]) -> None:
        # Twice, because a setting may change a later one; the order makes the second pass exact.
        for _ in range(2):
            for setting, value in zip(_SETTINGS, values, strict=True):
                if value is not None and setting.read() not in (value, None):
                    setting.write(value)

    @classmethod
    def enter(cls) -> _Run:
        with cls._lock:
            run = _Run(threading.get_ident(), cls.read())
            cls._runs.append(run)
            cls.write(_PLAIN)
            return run

    @classmethod
    def leave(cls, run: _Run) -> None:
        with cls._lock:
            oldest = cls._runs[0] is run
            cls._runs.remove(run)
            if all(other.thread == run.thread for other in cls._runs):
                cls.write(run.before)  # of the caller, or of the callback in which this run was
                return
            # Runs of other threads need plain settings; what this one found may be those of their callbacks.
            if oldest:
                cls._runs[0].before = run.before

    @classmethod
    def after_user(cls, before: list[Any]) -> None:
        """Undo what the user's code has changed; outside a run, restore what it found."""
        with cls._lock:
            cls.write(_PLAIN if cls._runs else before)

    @classmethod
    def only_here(cls) -> None:
        """Keep the runs of this thread, the only one of a forked process."""
        cls._lock, runs = threading.Lock(), cls._runs
        cls._runs = [run for run in runs if run.thread == threading.get_ident()]
        if cls._runs:
            cls._runs[0].before = runs[0].before


_PLAIN = tuple(setting.plain for setting in _SETTINGS)
_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True
    _Process.only_here()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def _warn_of_fork() -> None:
    if _forked and torch.get_num_threads() > 1:
        hint(
            f"this process was forked and uses {torch.get_num_threads()} threads: if its parent has computed "
            "with several threads, the libraries of torch hang; start it with multiprocessing's "
            '"spawn" or "forkserver", or call torch.set_num_threads(1) in it'
        )
