"""The diagnostics of epochs: their names, what they are in words, and the groups that curves show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from .history import Measures


class Quantity(NamedTuple):
    """What a diagnostic is."""

    title: str
    unit: str
    group: str = ""
    """Diagnostics of one group are drawn in one pair of axes; empty: alone."""


_KNOWN = {
    "temperature": Quantity("temperature of the relaxation", ""),
    "epsilon": Quantity("radius ε of the perturbation", "mixing weight"),
    "auxiliary_skip": Quantity("auxiliary skip connection", "mixing weight"),
    "drop_path": Quantity("drop path", "probability", "Dropout in the search network"),
    "skip_dropout": Quantity("dropout of skip connections", "probability", "Dropout in the search network"),
    "weight_decay": Quantity("weight decay of the weights", ""),
    "sample_entropy": Quantity("entropy of the drawn mixing weights", "nats"),
    "curvature": Quantity("largest curvature of the validation loss by α", "largest eigenvalue"),
    "probe.cosine": Quantity("cosine with the exact gradient", "", "Probe of the gradient by α"),
    "probe.error": Quantity("relative error against the exact gradient", "", "Probe of the gradient by α"),
    "cost.flops": Quantity("expected cost of the target network", "multiply-adds"),
    "cost.parameters": Quantity("expected size of the target network", "weights"),
    "cost.latency": Quantity("expected latency of the target network", "milliseconds"),
}
_TERMS = "Terms of the α step, with their weights"
_BRIEF = ("temperature", "epsilon", "curvature", "probe.cosine")


def quantity(name: str) -> Quantity:
    """Return what a diagnostic is; one of an unknown name has this name.

    >>> quantity("term.beta_decay").title, quantity("mine").title
    ('term beta_decay', 'mine')
    """
    if name.startswith("term."):
        return Quantity(name.replace(".", " ", 1), "loss", _TERMS)
    return _KNOWN.get(name, Quantity(name, ""))


def names_of(history: Iterable[Measures]) -> list[str]:
    """Return the names of the diagnostics of a history, known ones first, terms and unknown ones last."""
    found = dict.fromkeys(name for record in history for name in getattr(record, "diagnostics", ()))
    order = [*_KNOWN, *(name for name in found if name not in _KNOWN)]
    return [name for name in order if name in found]


def grouped(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the diagnostics that belong in one pair of axes, each group with its title.

    >>> grouped(["temperature", "probe.cosine", "probe.error"])[1]
    ('Probe of the gradient by α', ['probe.cosine', 'probe.error'])
    """
    title = {name: quantity(name).group or quantity(name).title for name in names}
    order = list(dict.fromkeys(title.values()))
    parts = groupby(sorted(names, key=lambda name: order.index(title[name])), key=title.__getitem__)
    return [(text[:1].upper() + text[1:], list(part)) for text, part in parts]


def points(history: Iterable[Measures], name: str) -> tuple[list[int], list[float]]:
    """Return epochs, counted from 1, and the finite values of a diagnostic, which few epochs may have."""
    found = [(record.epoch + 1, getattr(record, "diagnostics", {}).get(name, math.nan)) for record in history]
    found = [(epoch, value) for epoch, value in found if math.isfinite(value)]
    return [epoch for epoch, _ in found], [value for _, value in found]


def latest(history: Sequence[Measures]) -> dict[str, float]:
    """Return the last finite value of every diagnostic."""
    found = {name: points(history, name)[1] for name in names_of(history)}
    return {name: values[-1] for name, values in found.items() if values}


def in_words(values: Mapping[str, float], most: int | None = None) -> dict[str, str]:
    """Format finite diagnostics by name; with `most`, only that many of those that matter most.

    >>> in_words({"temperature": 0.5, "term.entropy": 0.0123})
    {'temperature': '0.5', 'term.entropy': '0.0123'}
    >>> in_words({"temperature": 0.5, "term.entropy": 0.0123}, most=2)
    {'temperature': '0.5'}
    """
    names = list(values) if most is None else [name for name in _BRIEF if name in values][:most]
    return {name: f"{values[name]:.4g}" for name in names if math.isfinite(values[name])}


class Limit(NamedTuple):
    """The rule that ends a search by its curvature, at the epochs, from 1, that measured it."""

    epochs: list[int]
    averages: list[float]
    """The local average at each of them; NaN where there is none."""
    limits: list[float]
    """What the average must not exceed; NaN where the rule does not decide."""


def curvature_limit(history: Sequence[Measures], stop: Any) -> Limit | None:
    """Return the averages and limits of the rule `stop`; None for another rule."""
    if getattr(stop, "name", None) != "curvature":
        return None
    window, back = int(stop.window), int(stop.back)
    epochs, values = points(history, "curvature")

    def average(until: int) -> float:
        part = values[max(0, until - window) : max(0, until)]
        return sum(part) / len(part) if len(part) > window // 2 else math.nan

    averages = [average(at + 1) for at in range(len(values))]
    before = [average(at + 1 - back) for at in range(len(values))]
    return Limit(epochs, averages, [stop.ratio * value if value > 0 else math.nan for value in before])
