"""The part of gpu.py that times search steps: captured, eager, plain PyTorch, and compiled.

`search` is a step of `pydarts.search`, which a GPU replays as a graph, with the gathering of its batches and
a callback; `step` is `Supernet.step`, the same operation by operation; `plain` and `compiled` are those of
sides.py. They alternate: the search's callback takes the steps of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import pydarts
import torch
from common import begin, ratios
from gpu_compiled import Compiled
from gpu_record import OutOfTime, Part
from launches import dispatched
from pydarts import Callback, SearchConfig, StepInfo
from sides import TOLERANCE, Setting, build, prepare
from torch.profiler import ProfilerActivity, profile

UNCAPTURED = 4  # steps of a search before all are replays: two warm up, one captures, one to spare
Call = Callable[[], object]


class Alternation(Callback):
    """Times the steps of a search, and between them those of other sides."""

    def __init__(self, others: dict[str, Call], device: str, rounds: int, warm: int, part: Part) -> None:
        self.others, self.device, self.part = others, device, part
        self.rounds, self.warm = rounds, warm
        self.times: dict[str, list[float]] = {name: [] for name in ("search", *others)}
        self.peak: int | None = None
        self.launched: dict[str, int] | None = None
        self._end: Callable[[], float] | None = None
        self._profile: Any = None

    def on_step(self, info: StepInfo) -> None:
        turn = info.step - UNCAPTURED
        if turn == -1 and self.device.startswith("cuda"):
            self.peak = torch.cuda.max_memory_allocated(self.device)
        if self._profile is not None:  # this step was the one to look at
            self._profile.stop()
            self.launched = device_events(self._profile)
            raise KeyboardInterrupt
        if self._end is not None:
            seconds = self._end()
            if turn >= self.warm:
                self.times["search"].append(seconds)
        for name, call in self.others.items() if turn >= 0 else ():
            end = begin(self.device)
            told = call()
            seconds = told if name == "compiled" and isinstance(told, float) else end()
            if turn >= self.warm:
                self.times[name].append(seconds)
        if turn + 1 >= self.warm + self.rounds or (self.part.left() <= 0 and self.times["search"]):
            if not self.device.startswith("cuda"):
                raise KeyboardInterrupt  # ends the search like Ctrl-C
            self._profile = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
            self._profile.start()
        else:
            self._end = begin(self.device)


def device_events(seen: Any) -> dict[str, int]:
    """What a profile saw: kernels and copies that the GPU ran, and calls of the host that launch some."""
    events = seen.events() or []
    on_device = sum(event.device_type == torch.autograd.DeviceType.CUDA for event in events)
    named = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")
    return {"run": on_device, "launched": sum(event.name.startswith(named) for event in events)}


def look(step: Call, device: str) -> dict[str, int]:
    """Kernels and launches of a step; without a GPU the operations that it dispatches."""
    if not device.startswith("cuda"):
        return {"dispatched": dispatched(step).total()}
    step()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        step()
        torch.cuda.synchronize(device)
    return device_events(seen)


def memory(step: Call, device: str) -> int | None:
    """Bytes that a step takes beyond what was allocated before; None without a GPU."""
    if not device.startswith("cuda"):
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def times(
    part: Part, settings: list[Setting], rounds: int, warm: int, limit: float, compiled: Compiled
) -> None:
    """A row of every side of every setting; `limit`: seconds that compiling one may take."""
    if not settings[0].device.startswith("cuda"):
        part.note("skipped: no CUDA. Times are the host's, operations are those dispatched, no peak")
    for setting in settings:
        name = f"{setting.method}, batch {setting.batch}"
        part.go_on(name)
        compiled.ask(setting)
        answer = compiled.ready(min(limit, 0.4 * part.left()))
        compare(part, name, setting, rounds, warm, compiled, answer)


def compare(
    part: Part,
    name: str,
    setting: Setting,
    rounds: int,
    warm: int,
    compiled: Compiled,
    answer: dict[str, Any],
) -> None:
    """The rows of one setting."""
    prepare(setting)
    steps = {"step": build("ours", setting), "plain": build("plain", setting)}
    first: dict[str, Any] = {side: step() for side, step in steps.items()}
    if "losses" in answer:
        first["compiled"] = answer["losses"]
    for side, losses in first.items():
        for what, found, expected in zip(("training", "validation"), losses, first["plain"], strict=True):
            gap = abs(found - expected) / abs(expected)
            why = "the same step from the same weights"
            part.check(f"{name}: {what} loss of {side}", gap, TOLERANCE[setting.numbers], why)
    seen: dict[str, Any] = {side: look(step, setting.device) for side, step in steps.items()}
    peaks = {side: memory(step, setting.device) for side, step in steps.items()}
    others: dict[str, Call] = dict(steps)
    if "losses" in answer:
        others["compiled"] = compiled.step
    alternation = Alternation(others, setting.device, rounds, warm, part)
    before = search(setting, alternation, UNCAPTURED + rounds + warm + 2)
    seen["search"] = alternation.launched
    peaks["search"] = alternation.peak - before if alternation.peak is not None else None
    if not alternation.times["search"]:
        raise OutOfTime(f"no step of {name} was timed")
    for side, taken in alternation.times.items():
        medians, minima = ratios(alternation.times["plain"], taken)
        part.add(
            step=name,
            side=side,
            n=len(taken),
            median_ms=1e3 * median(taken),
            minimum_ms=1e3 * min(taken),
            plain_to_this_medians=medians,
            plain_to_this_minima=minima,
            per_step=seen.get(side),
            peak_bytes=peaks.get(side),
            compile_seconds=answer.get("seconds") if side == "compiled" else None,
        )
    if "fails" in answer:
        part.note(f"{name}, compiled: {answer['fails']}")


def search(setting: Setting, alternation: Alternation, steps: int) -> int:
    """Run a search of so many steps with a callback; returns the bytes allocated before."""
    count = steps * setting.batch
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(count, 3, setting.size, setting.size, generator=generator)
    y = torch.randint(10, (count,), generator=generator)
    options: dict[str, Any] = {
        "channels": setting.channels,
        "layers": setting.layers,
        "nodes": setting.nodes,
        "operations": setting.operations,
        "hypergradient": setting.method,
        "batch_size": setting.batch,
        "num_classes": 10,
        "device": setting.device,
        "precision": setting.numbers,
        "epochs": 1,
        "progress": False,
    }
    given = {name: value for name, value in options.items() if value is not None}
    before = 0
    if setting.device.startswith("cuda"):
        torch.cuda.synchronize(setting.device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(setting.device)
        before = torch.cuda.memory_allocated(setting.device)
    pydarts.search(((x, y), (x, y)), SearchConfig.from_dict(given), alternation)
    return before
