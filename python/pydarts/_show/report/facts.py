"""The tables of the report: configuration, environment, plan and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
import matplotlib as mpl
import plotly  # type: ignore[import-untyped]
import torch

from ... import _core
from ..._results.algorithm import applicable, axes, named
from ..._results.environment import versions
from ..._results.tables import is_cells
from ..._search.supernet import Supernet
from ..._values.config import SearchConfig
from ..._values.words import count
from ...nn._build import build
from ...nn._cost import cost, number_of_weights

if TYPE_CHECKING:
    from ..._results.result import SearchResult


_NAMES = {"torch": "PyTorch", "python": "Python"}  # the official spelling


class Choice(NamedTuple):
    """A field of the configuration."""

    name: str
    value: str
    default: str
    changed: bool


class Fact(NamedTuple):
    """A name and a value."""

    name: str
    value: str


@dataclass(frozen=True)
class Plan:
    """The plan of the search network, and its cost."""

    device: str
    """The device of the plan."""
    summary: str
    text: str
    """The whole plan, as `Supernet.explain` returns it."""
    supernet: tuple[Fact, ...]
    derived: tuple[Fact, ...]


def configuration(config: SearchConfig, cells: bool = True) -> list[Choice]:
    """Return every field that applies to the search, with its default."""
    recurrent = config.resolved_space.kind == "recurrent"
    defaults = SearchConfig(space="darts-rnn" if recurrent else "darts")
    return [
        Choice(
            name,
            repr(getattr(config, name)),
            repr(getattr(defaults, name)),
            getattr(config, name) != getattr(defaults, name),
        )
        for name in applicable(config, cells)
    ]


def algorithm(config: SearchConfig) -> list[Fact]:
    """Return the name of the algorithm and what distinguishes it from DARTS; nothing for DARTS."""
    found = [Fact(name.replace("_", " "), text) for name, text in axes(config).items()]
    return [Fact("algorithm", named(config)), *found] if found or config.algorithm else []


def kept_environment(result: SearchResult) -> list[Fact]:
    """Return fingerprint and environment of the result; without one, what the configuration requested."""
    config = result.config
    where = result.environment or {"device": config.device, "precision": config.precision}
    passes = "chosen for the device and the images" if config.passes is None else ", ".join(config.passes)
    return [
        *_named(where),
        Fact("CPU threads", str(result.threads)),
        *([Fact("passes", passes or "none")] if is_cells(result.tables) else []),
        *_named(result.fingerprint),
    ]


def environment() -> list[Fact]:
    """Return the versions of the software that writes the page."""
    return [
        *_named(versions()),
        Fact("matplotlib", mpl.__version__),
        Fact("plotly", plotly.__version__),
        Fact("jinja2", jinja2.__version__),
        Fact("CUDA device", torch.cuda.get_device_name() if torch.cuda.is_available() else "none"),
    ]


def _named(found: Mapping[str, str]) -> list[Fact]:
    return [Fact(_NAMES.get(name, name), text) for name, text in found.items()]


def plan(result: SearchResult) -> Plan:
    """Return the plan of the search network, on the search's device if this machine has it."""
    device = "cuda" if result.config.device == "auto" and torch.cuda.is_available() else None
    try:
        net, where = Supernet(config=result.config, device=device), device or result.config.device
    except _core.DeviceError:
        # "tf32" exists on GPUs only.
        net, where = Supernet(config=result.config.replace(precision="auto"), device="cpu"), "cpu"
    where = "CPU" if where in ("auto", "cpu") else where
    summary, _, _ = net.explain().partition("\ncost\n")  # the cost is in a table
    return Plan(f"this machine's {where}", summary, net.explain(full=True), _supernet(net), _derived(result))


def _supernet(net: Supernet) -> tuple[Fact, ...]:
    found = net.cost()
    words, sequences = net.space.kind == "recurrent", net.space.dimensions == 1
    each = "a token" if words else "a sequence" if sequences else "an image"
    example = "sequence" if words or sequences else "image"
    return (
        Fact("weights", f"{found['weights']:,}"),
        Fact("logits α", f"{found['alphas']:,}"),
        Fact(f"multiply-adds of {each}, forward", f"{found['multiply_adds']:,}"),
        Fact(f"memory of a step per {example}", size(found["bytes_per_image"])),
        Fact(f"memory of a step, batch size {net.config.batch_size}", size(found["bytes"])),
    )


def _derived(result: SearchResult) -> tuple[Fact, ...]:
    config, genotype = result.config, result.genotype
    try:
        if genotype.kind == "recurrent":
            network, image, each = _shapes(result, units=config.units), None, "a token"
            published = _shapes(result, units=850)
            much, full = f"{config.units} units", "850 units"
        else:
            network = _shapes(result, channels=config.channels, layers=config.layers)
            sequences = config.resolved_space.dimensions == 1
            image, each = config.image_size, "a sequence" if sequences else "an image"
            much = f"{config.channels} channels, {count(config.layers, 'cell')}"
            if config.resolved_space.stages is None:
                # Positions of reductions in the search are not those in 20 cells, unless there are none.
                cells = () if config.resolved_space.reductions == () else None
                published = _shapes(result, channels=36, layers=20, reductions=cells)
                full = "36 channels, 20 cells"
            else:
                sizes = (16, 5) if isinstance(config.resolved_space.stages, int) else (64, 2)
                published = _shapes(result, channels=sizes[0], layers=sizes[1])
                much = f"{much} per stage"
                full = f"{sizes[0]} channels, {sizes[1]} cells per stage"
    except _core.GenotypeError as error:
        return (Fact("not counted", str(error)),)
    except Exception as error:  # of modules of user-defined operations
        if not result.config.resolved_space.own_operations:
            raise
        return (Fact("not counted", f"{type(error).__name__}: {error}"),)
    found = cost(network, image)
    return (
        Fact(f"weights, {much} (the search's)", f"{found['weights']:,}"),
        Fact(f"multiply-adds of {each}", f"{found['multiply_adds']:,}"),
        Fact(f"weights, {full} (the paper's)", f"{number_of_weights(published):,}"),
    )


def _shapes(result: SearchResult, **width: Any) -> Any:
    """Return the network of the genotype for the search's data, without memory for its weights."""
    config = result.config
    sizes: dict[str, Any] = (
        {"vocabulary": config.num_classes}
        if result.genotype.kind == "recurrent"
        else {"num_classes": config.num_classes, "in_channels": config.in_channels}
    )
    with torch.device("meta"):
        return build(result, **sizes, **width)


def size(count: int) -> str:
    """Format a number of bytes.

    >>> size(1536), size(3 * 2**30)
    ('1.5 KiB', '3.0 GiB')
    """
    value, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{count} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"
