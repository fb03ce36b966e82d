"""Free memory, and the batch size that fits into it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from .. import _core
from .._values.config import SearchConfig
from .._values.operation import made
from ..nn._own import Described

_CGROUP = Path("/sys/fs/cgroup")


def with_batch_size(config: SearchConfig, most: int, searches: int = 1) -> SearchConfig:
    """Replace `batch_size="auto"` by the batch size that fits into the free memory.

    Args:
        most: number of examples, an upper limit.
        searches: number of searches that share the memory.
    """
    if config.batch_size != "auto":
        return config
    own = config.resolved_space.own_operations
    operations = Described(made(own)) if own else None
    size = _core.fitting_batch(config, most, free_memory(config.device) // searches, operations)
    return config.replace(batch_size=size)


def batch_size(config: SearchConfig) -> int:
    """Return the batch size of a configuration in which it is not "auto"."""
    assert config.batch_size != "auto"
    return config.batch_size


def free_memory(device: str) -> int:
    """Return the free memory in bytes: on the GPU, or on the machine without swapping."""
    if device.startswith("cuda") or (device == "auto" and _core.cuda_is_available()):
        return int(torch.cuda.mem_get_info("cuda" if device == "auto" else device)[0])
    free = _available()
    limit, used = _number("memory.max"), _number("memory.current")
    if limit is None or used is None:
        return free
    # The usage of a container includes its file cache, which the kernel frees on demand.
    cache = _number("memory.stat", "inactive_file ") or 0
    return min(free, max(limit - used + cache, 0))


def _available() -> int:
    free = _number("/proc/meminfo", r"MemAvailable:\s*")
    if free is not None:
        return 1024 * free
    # Other systems: half of the physical memory.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _number(file: str, before: str = "") -> int | None:
    """Read the number after `before` on a line of `file`, which is relative to the cgroup or absolute."""
    try:
        text = (_CGROUP / file).read_text()
    except OSError:
        return None
    found = re.search(rf"^{before}(\d+)( kB)?$", text, re.MULTILINE)
    return int(found.group(1)) if found else None
