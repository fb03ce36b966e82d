"""How much memory is free, and the batch size that fits into it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from .. import _core
from .._values.config import SearchConfig

_CGROUP = Path("/sys/fs/cgroup")


def with_batch_size(config: SearchConfig, most: int, searches: int = 1) -> SearchConfig:
    """The configuration with a batch size, where it leaves that to the memory.

    Args:
        most: examples there are.
        searches: how many share the memory.
    """
    if config.batch_size != "auto":
        return config
    size = _core.fitting_batch(config, most, free_memory(config.device) // searches)
    return config.replace(batch_size=size)


def batch_size(config: SearchConfig) -> int:
    """The batch size of a configuration that has one."""
    assert config.batch_size != "auto"
    return config.batch_size


def free_memory(device: str) -> int:
    """Bytes that a search may take: of a GPU, or of the machine without swapping."""
    if device.startswith("cuda") or (device == "auto" and _core.cuda_is_available()):
        return int(torch.cuda.mem_get_info("cuda" if device == "auto" else device)[0])
    free = _available()
    limit, used = _number("memory.max"), _number("memory.current")
    if limit is None or used is None:
        return free
    # Of what a container is charged for, files that it has read are given back when asked for.
    cache = _number("memory.stat", "inactive_file ") or 0
    return min(free, max(limit - used + cache, 0))


def _available() -> int:
    free = _number("/proc/meminfo", r"MemAvailable:\s*")
    if free is not None:
        return 1024 * free
    # Elsewhere half of what is built in.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _number(file: str, before: str = "") -> int | None:
    """The number that ends a line which begins so, in a file of the container's group or any other."""
    try:
        text = (_CGROUP / file).read_text()
    except OSError:
        return None
    found = re.search(rf"^{before}(\d+)( kB)?$", text, re.MULTILINE)
    return int(found.group(1)) if found else None
