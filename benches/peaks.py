"""Peak memory of a side, measured in a process of its own, which takes a few steps on one pair of batches.

On the CPU the peak is the highest resident size of the process (VmHWM on Linux), and a process may use no
more than the memory free at its start, so that what does not fit says so. On a GPU it is the most that
libtorch's allocator had given out; pydarts and PyTorch share that one. Run with a JSON object, this file is
that process.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import torch
from common import synchronize
from pydarts import Supernet
from sides import Setting, build, network, prepare

MIB, GIB = 2**20, 2**30
NO_MEMORY = re.compile(r"out of memory|can't allocate memory|MemoryError|bad_alloc")
ERROR = re.compile(r"^(?:[\w.]+(?:Error|Exception|Unsupported|Failed|Exceeded)\w*: .+)$", re.MULTILINE)


@dataclass(frozen=True)
class Reading:
    """Of one process; sizes in bytes."""

    before: int  # just before the first step
    peak: int
    estimate: int
    seconds: list[float]  # of every step

    @property
    def steps(self) -> int:
        """What the steps took."""
        return self.peak - self.before

    @property
    def compiling(self) -> float:
        """Seconds that the steps took beyond the fastest one."""
        return sum(self.seconds) - len(self.seconds) * min(self.seconds)


def estimate(net: Supernet, batch: int) -> int:
    """Bytes that a step takes by the network's own account."""
    cost = net.cost()
    fixed = cost["bytes"] - cost["bytes_per_image"] * net.config.batch_size
    return fixed + cost["bytes_per_image"] * batch


def measure(side: str, setting: Setting, steps: int, limit: float | None = None) -> Reading | str:
    """The reading of a process, or why there is none, in a few words. `limit`: seconds it may take."""
    task = json.dumps({"side": side, "setting": setting.to_json(), "steps": steps})
    child = subprocess.Popen(
        [sys.executable, __file__, task],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a compiler's own processes end with it
    )
    try:
        out, err = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return f"not within {limit:.0f} s"
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode == 0:
        return Reading(**json.loads(out.splitlines()[-1]))
    if NO_MEMORY.search(err):
        return "does not fit"
    told = ERROR.findall(err) or err.strip().splitlines() or [f"exit code {child.returncode}"]
    if side == "compiled":  # what the compiler cannot do is a result
        return f"fails: {told[-1][:120]}".replace("|", "/")
    raise SystemExit(f"{setting.method}, {side}: {told[-1]}")


def child(side: str, setting: Setting, steps: int) -> Reading:
    """Take the steps in this process."""
    if setting.device == "cpu":
        limit_to_free_memory()
    prepare(setting)
    planned = estimate(network(setting), setting.batch)
    step = build(side, setting)
    before, seconds = peak(setting.device), []
    for _ in range(steps):
        begun = perf_counter()
        step()
        synchronize(setting.device)
        seconds.append(perf_counter() - begun)
        if side == "compiled" and len(seconds) == 1:
            forget(setting.device)  # the compiler's memory is not the step's
    return Reading(before, peak(setting.device), planned, seconds)


def peak(device: str) -> int:
    """Highest memory of this process so far, in bytes."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    highest = status("VmHWM", Path("/proc/self/status"))
    if highest is not None:
        return highest
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on Linux this remembers the parent's too
    return used if sys.platform == "darwin" else used * 1024


def forget(device: str) -> None:
    """Begin a new peak; where the system has no means for it, the old one stays."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def limit_to_free_memory() -> None:
    """Rather an error than a machine that swaps."""
    available = status("MemAvailable", Path("/proc/meminfo"))
    if available is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        free = int(0.95 * available)
        resource.setrlimit(
            resource.RLIMIT_DATA, (free if soft == resource.RLIM_INFINITY else min(soft, free), hard)
        )


def status(name: str, file: Path) -> int | None:
    """A size in bytes from a file of /proc; None where there is no such file."""
    try:
        found = re.search(rf"^{name}:\s*(\d+) kB$", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps(asdict(child(asked["side"], Setting.from_json(asked["setting"]), asked["steps"]))))
