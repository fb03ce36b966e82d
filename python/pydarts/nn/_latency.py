"""Tables of measured times of operations, for the term `Latency`."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Hashable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from .. import _core
from .._values.ambient import plain
from .._values.checks import available_device, whole
from .._values.checks import device as device_name
from .._values.config import SearchConfig
from .._values.files import about_in, read_checked, user_path, write_about
from .._values.space import Space
from ._target import Costs, Place, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._values.terms import Latency

K = TypeVar("K", bound=Hashable)
_FORMAT = 2
_ROUNDS, _LEAST = 50, 3
_SIZES = ("channels", "layers", "image_size", "stem")


@plain()
def latency_table(
    space: str | Space | SearchConfig = "darts",
    path: str | os.PathLike[str] = "latency.json",
    *,
    channels: int = 36,
    layers: int = 20,
    image_size: int | Sequence[int] | None = None,
    in_channels: int | None = None,
    num_classes: int | None = None,
    stem: str = "cifar",
    batch_size: int = 1,
    device: str = "cpu",
    seconds: float = 30.0,
) -> dict[str, Any]:
    """Measure the time of every operation of a space, at the sizes of the target network, and write a table.

    Each combination of operation, channels, stride and size is timed in evaluation mode and in float32, with
    the current number of threads of PyTorch. After a warm-up, all combinations are timed in turn until
    `seconds` have passed; the table holds the median of each. Use it as
    `pydarts.algorithms.Latency(file=path)`.

    Args:
        space: a name, a `Space`, or a configuration, which has one.
        path: the JSON file to write.
        channels: channels of the first cells of the target network.
        layers: number of cells of the target network.
        image_size: side in pixels, (height, width), or the length of a sequence; None: that of the
            configuration, or 32.
        in_channels: channels of an image; None: those of the configuration, or 3.
        num_classes: number of classes; None: that of the configuration, or 10.
        stem: stem of the target network, "cifar", "imagenet" or "small".
        batch_size: examples per pass.
        device: "cpu", "cuda", "cuda:1" or "auto".
        seconds: approximate duration of the measurement; every operation is timed at least three times.

    Returns:
        The table that was written: `device`, the name of the processor; `threads`; `torch`, its version;
        `batch_size`; `target`, the sizes; `rest`, the milliseconds of the network without operations;
        `operations`, a list of operation, channels, stride, size, channels of the output and milliseconds.

    Raises:
        ConfigError: a recurrent space, or a value out of range.
        DeviceError: CUDA was requested but is not available.

    >>> import tempfile, pydarts
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pydarts.latency_table(
    ...         "darts", f"{folder}/latency.json", channels=2, layers=3, image_size=8, seconds=0
    ...     )
    >>> table["target"]["layers"], table["operations"][0]["operation"]
    (3, 'none')
    """
    config = space if isinstance(space, SearchConfig) else SearchConfig(space=space)
    if config.resolved_space.kind == "recurrent":
        raise _core.ConfigError("space is recurrent; its operations cannot be timed separately")
    given = {"image_size": image_size, "in_channels": in_channels, "num_classes": num_classes}
    defaults = {"image_size": 32, "in_channels": 3, "num_classes": 10}
    sizes: dict[str, Any] = {
        name: defaults[name] if value is None and getattr(config, name) is None else value
        for name, value in given.items()
    }
    config = config.replace(**{name: value for name, value in sizes.items() if value is not None})
    where = available_device(device_name("device", device))
    batch = whole("batch_size", batch_size)
    target = Target(config, channels, layers, None, stem)
    places: list[Place] = list(dict.fromkeys(place for _, place in target.places()))
    calls: dict[Place | None, Callable[[], Any]] = {None: _call(target, None, batch, where)}
    # A network computes no zeros, except for a node without other inputs.
    calls |= {place: _call(target, place, batch, where) for place in places if place.operation != "none"}
    times: dict[Place | None, float] = dict.fromkeys(places, 0.0)
    times |= _timed(calls, seconds, where)
    found: dict[str, Any] = {
        "device": processor(where),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "batch_size": batch,
        "target": {
            "channels": channels,
            "layers": layers,
            "image_size": list(config.image_size or ()),
            "stem": stem,
        },
        "rest": times.pop(None),
        "operations": [
            {**vars(place), "size": list(place.size), "milliseconds": time}
            for place, time in times.items()
            if place is not None
        ],
    }
    write_about(user_path(path), _FORMAT, found)
    return found


def latency_costs(term: Latency, config: SearchConfig, device: torch.device | None = None) -> Costs:
    """Return the costs of a term's table for the space of a search.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is not such a table, or is damaged.
        ConfigError: it is of another device, or lacks an operation of the space.
    """
    path = user_path(term.file or "")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; write it with pydarts.latency_table")
    table = read_checked(path, _parsed)
    here = processor(available_device(config.device) if device is None else device)
    if term.other_device == "refuse" and table["device"] != here:
        raise _core.ConfigError(
            f"{path} was measured on {table['device']}, and this search runs on {here}; measure it again "
            'with pydarts.latency_table, or pass other_device="accept"'
        )
    times = table["operations"]

    def of_place(place: Place) -> float:
        if place not in times:
            raise _core.ConfigError(f"{path} has no time for {place}; measure the space of this search")
        return float(times[place])

    sizes: dict[str, Any] = {name: table["target"][name] for name in _SIZES}
    return Target(config, **sizes).costs("latency", of_place, float(table["rest"]))


def processor(device: torch.device) -> str:
    """Return the name of the processor of a device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _core.processor()


def _call(target: Target, place: Place | None, batch: int, device: torch.device) -> Callable[[], Any]:
    """Return one pass of the module of a place, or of the rest of the network, on new random inputs."""
    if place is None:
        module: torch.nn.Module = target.rest.to_empty(device=device)
        shape = target.example[0].shape[1:]
    else:
        module, shape = target.module(place).to(device).eval(), torch.Size((place.channels, *place.size))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # `to_empty` leaves any numbers, of which subnormal ones are slow
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator))
    x: Tensor = torch.rand(batch, *shape, generator=generator).to(device)
    return lambda: module(x)


@torch.no_grad()
def _timed(calls: Mapping[K, Callable[[], Any]], seconds: float, device: torch.device) -> dict[K, float]:
    """Return the median milliseconds of each call; all take turns, for `seconds` and at least three times."""

    def once(call: Callable[[], Any]) -> float:
        begun = perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return 1000 * (perf_counter() - begun)

    for call in calls.values():
        once(call)
    times: dict[K, list[float]] = {key: [] for key in calls}
    begun = perf_counter()
    for round_ in range(_ROUNDS):
        if round_ >= _LEAST and perf_counter() - begun > seconds:
            break
        for key, call in calls.items():
            times[key].append(once(call))
    return {key: statistics.median(found) for key, found in times.items()}


def _parsed(data: bytes) -> dict[str, Any]:
    """Return a table whose operations are a mapping from places to milliseconds."""
    about = about_in(data, _FORMAT)
    operations = {
        Place(
            str(entry["operation"]),
            whole("channels", entry["channels"]),
            whole("stride", entry["stride"]),
            tuple(whole("size", side) for side in entry["size"]),
            whole("out", entry.get("out", entry["channels"])),
        ): _time(entry["milliseconds"])
        for entry in about["operations"]
    }
    target = about["target"]
    if set(target) != set(_SIZES) or not isinstance(about["device"], str):
        raise ValueError("not a table of latencies")
    return {**about, "rest": _time(about["rest"]), "operations": operations}


def _time(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"a time is {value!r}; it must be a number of at least 0")
    return float(value)
