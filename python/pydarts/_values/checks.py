"""Checks of single values that users pass: integers, numbers, fractions, flags, devices and names."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

import torch

from .._core import ConfigError, DeviceError
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


def number(name: str, value: Any, *, above: float | None = None) -> float:
    """Return `value` as a finite float of at least 0 or, if `above` is given, greater than `above`.

    >>> number("learning_rate", 1)
    1.0
    """
    found = _real(value)
    if not (math.isfinite(found) and (found >= 0 if above is None else found > above)):
        range_ = "at least 0" if above is None else f"greater than {above:g}"
        raise ConfigError(f"{name} is {shown(value)}; it must be a finite number, {range_}")
    return found


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
    """Raise ConfigError for an unknown name; suggest the nearest known name, or list all of them."""
    for name in given:
        if name not in known:
            name = str(name)[:80]
            nearest = get_close_matches(name, known, n=1, cutoff=2 / 3)
            remedy = f"did you mean `{nearest[0]}`?" if nearest else f"known: {', '.join(known)}"
            raise ConfigError(f"unknown option `{name}`; {remedy}")


def _real(value: Any) -> float:
    """Return `value` as a float, or NaN if it is not a number."""
    if isinstance(value, (bool, str, bytes)):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return math.nan
