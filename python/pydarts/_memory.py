"""How much memory is free, and the batch size that fits into it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from . import _core
from ._config import SearchConfig

_CGROUP = Path("/sys/fs/cgroup")


def with_batch_size(config: SearchConfig, most: int, searches: int = 1) -> SearchConfig:
    """The configuration with a batch size, where it leaves that to the memory.

    Args:
        most: examples there are.
        searches: how many share the memory.
    """
    if config.batch_size != "auto":
        return config
    size = _core.fitting_batch(config.to_json(), most, free_memory(config.device) // searches)
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
    limit, used = (_number(_CGROUP / name) for name in ("memory.max", "memory.current"))
    return free if limit is None or used is None else min(free, max(limit - used + _cache(), 0))


def _cache() -> int:
    """Bytes that a container is charged for files it has read, and that are given back when asked for."""
    try:
        found = re.search(r"^inactive_file (\d+)$", (_CGROUP / "memory.stat").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found.group(1)) if found else 0


def _available() -> int:
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return 1024 * int(found.group(1))
    # Elsewhere half of what is built in.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
