"""Checks of single values that users pass: integers, numbers, fractions, flags, devices and names."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Collection, Mapping
from typing import Any

import torch

from .._core import ConfigError, DataError, DeviceError, unknown_name
from .fields import Resume
from .words import shown

MOST = 1_000_000_000  # the largest count of any kind, as in the core


def whole(name: str, value: Any, least: int = 1, most: int = MOST) -> int:
    """Return `value` as an int of at least `least` and at most `most`; NumPy integers are accepted.

    >>> whole("layers", 3)
    3
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ConfigError(f"{name} is {shown(value)}; it must be a whole number of at least {least}")
    if number > most:
        raise ConfigError(f"{name} is {shown(value)}; it must be a whole number of at most {most}")
    return number


def number(name: str, value: Any) -> float:
    """Return `value` as a finite float of at least 0.

    >>> number("learning_rate", 1)
    1.0
    """
    found = _real(value)
    if not (math.isfinite(found) and found >= 0):
        raise ConfigError(f"{name} is {shown(value)}; it must be a finite number, at least 0")
    return found


def clip(name: str, value: Any) -> float:
    """Return the largest norm of a gradient; 0 for infinity, as without a limit.

    >>> clip("grad_clip", 5), clip("grad_clip", math.inf)
    (5.0, 0.0)
    """
    return 0.0 if _real(value) == math.inf else number(name, value)


def share(name: str, value: Any) -> float:
    """Return `value` as a float in [0, 1).

    >>> share("drop_path", 0)
    0.0
    """
    found = _real(value)
    if not 0 <= found < 1:
        raise ConfigError(f"{name} is {shown(value)}; it must be a number, at least 0 and below 1")
    return found


def flag(name: str, value: Any) -> bool:
    """Return a bool; integers and other values that could stand for one are refused.

    >>> flag("auxiliary", True)
    True
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{name} is {shown(value)}; it must be True or False")
    return value


def resume(name: str, value: Any) -> Resume:
    """Return a bool or "force".

    >>> resume("resume", "force")
    'force'
    """
    if isinstance(value, bool):
        return value
    if value == "force":
        return "force"
    raise ConfigError(f'{name} is {value!r}; it must be True, False or "force"')


def device(name: str, value: Any) -> str:
    """Return the name of a device; a `torch.device` is accepted.

    >>> device("device", "cuda:1")
    'cuda:1'
    """
    text = str(value) if isinstance(value, torch.device) else value
    if not isinstance(text, str) or not re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", text):
        raise ConfigError(f'{name} is {shown(value)}; it must be "auto", "cpu", "cuda" or "cuda:N"')
    return text


def available_device(name: str) -> torch.device:
    """Return the device of a name that `device` has checked; "auto" is the first GPU, if there is one.

    Raises:
        DeviceError: CUDA was requested but is not available.

    >>> available_device("cpu")
    device(type='cpu')
    """
    here = "cuda" if torch.cuda.is_available() else "cpu"
    found = torch.device(here if name == "auto" else name)
    count = torch.cuda.device_count() if found.type == "cuda" else 1
    if not count:
        raise DeviceError(f'device is {shown(name)}, but CUDA is not available; use "cpu"')
    if (found.index or 0) >= count:
        raise DeviceError(
            f"device is {shown(name)}, but there are {count} CUDA devices: cuda:0 to cuda:{count - 1}"
        )
    return found


def one_of(name: str, value: Any, known: Collection[str]) -> str:
    """Return `value` if it is one of the known names.

    >>> one_of("stem", "small", ("cifar", "imagenet", "small"))
    'small'
    """
    if not isinstance(value, str) or value not in known:
        raise ConfigError(f"{name} is {shown(value)}; it must be one of {', '.join(known)}")
    return value


def known_fields(given: Collection[str], known: Collection[str]) -> None:
    """Raise ConfigError for an unknown name; suggest known names, or list all of them."""
    for name in given:
        if name not in known:
            raise ConfigError(unknown_name("option", name, list(known)))


def check_state(state: Mapping[str, Any]) -> None:
    """Raise DataError if the tensors of a state dict are nested, or if a wrapper has renamed every one.

    >>> check_state({"classifier.weight": 0})
    """
    for prefix, wrapper in (("module.", "DataParallel"), ("_orig_mod.", "torch.compile")):
        if state and all(str(name).startswith(prefix) for name in state):
            raise DataError(
                f"every name begins with {prefix!r}, which {wrapper} adds; remove it: torch.nn.modules.utils."
                f"consume_prefix_in_state_dict_if_present(state, {prefix!r})"
            )
    for name, value in state.items():
        if isinstance(value, Mapping):
            raise DataError(
                f"{name!r} is a dictionary, not a tensor; to load what it holds, pass state[{name!r}]"
            )


def _real(value: Any) -> float:
    """Return `value` as a float, or NaN if it is not a number."""
    if isinstance(value, (bool, str, bytes)):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return math.nan
