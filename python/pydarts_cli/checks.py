"""The checks of `pydarts doctor`. They work even if PyTorch or pydarts cannot be imported."""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

State = Literal["ok", "missing", "broken"]

_TORCH = "pip install 'torch>=2.11,<2.12'"
# Never by name: on the public index, the name of this package belongs to another project.
_OWN = "in the clone: pip install --force-reinstall --no-deps ."


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    state: State
    """Whether the check passed; "missing" means that an optional package is not installed."""
    found: str
    remedy: str = ""
    """A command or instruction that fixes the problem; empty if there is none."""


def examine() -> list[Check]:
    """Run the checks in order; those after PyTorch and pydarts run only if these can be imported."""
    checks = [_python(), _package("numpy"), _torch()]
    if checks[-1].state == "ok":
        checks.append(_guarded("pydarts", _extension, _OWN))
    if checks[-1].name == "pydarts" and checks[-1].state == "ok":
        checks.append(_guarded("libtorch", _libtorch, f"{_TORCH}; then {_OWN}"))
        checks.append(_guarded("devices", _devices, "check the driver with nvidia-smi"))
        checks += _extras()
        checks.append(
            _guarded(
                "search", _search, f"report it with the output of `pydarts doctor --debug`, or try, {_OWN}"
            )
        )
    return checks


def _guarded(name: str, look: Callable[[], str], remedy: str) -> Check:
    try:
        return Check(name, "ok", look())
    except Exception as error:
        return Check(name, "broken", f"{type(error).__name__}: {error}", remedy)


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"
    return Check("Python", "ok", found)


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "broken", "not installed", f"pip install {name}")


def _torch() -> Check:
    found = _package("torch")
    if found.state != "ok":
        return Check("PyTorch", "broken", found.found, _TORCH)
    if found.found.split("+")[0].split(".")[:2] != ["2", "11"]:
        return Check("PyTorch", "broken", f"{found.found}; pydarts is built for 2.11", _TORCH)
    return _guarded("PyTorch", lambda: str(importlib.import_module("torch").__version__), _TORCH)


def _extension() -> str:
    pydarts = importlib.import_module("pydarts")
    return f"{pydarts.__version__}, {Path(str(pydarts.__file__)).parent}"


def _libtorch() -> str:
    """Check that the extension uses the libraries of the imported torch and no other copy of them."""
    import torch

    here = Path(torch.__file__).parent / "lib"
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return f"from PyTorch {torch.__version__}"
    loaded = set(re.findall(r"(/\S+)/libtorch_cpu\S*\.so", maps.read_text()))
    others = [folder for folder in loaded if Path(folder).resolve() != here.resolve()]
    if others:
        raise RuntimeError(f"loaded from {here} and also from {', '.join(others)}")
    return f"one copy, from PyTorch {torch.__version__}, {here}"


def _devices() -> str:
    import torch
    from pydarts import _core

    found = [f"CPU, {torch.get_num_threads()} of {os.cpu_count()} threads"]
    if torch.cuda.is_available() != _core.cuda_is_available():
        raise RuntimeError("PyTorch and the extension disagree on whether CUDA is available")
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(number)
        found.append(f"cuda:{number} {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    if len(found) == 1:
        found.append("no CUDA")
    return "; ".join(found)


def _extras() -> Iterator[Check]:
    """Check the optional packages, one check per extra of pydarts."""
    try:
        declared = requires("pydarts") or []
    except PackageNotFoundError:
        return
    extras: dict[str, list[str]] = {}
    for requirement in declared:
        found = re.match(r"([\w.-]+).*extra *== *['\"]([\w-]+)['\"]", requirement)
        if found and found[2] not in ("test", "demo", "docs"):
            extras.setdefault(found[2], []).append(found[1])
    for extra, names in extras.items():
        yield _extra(extra, names)


def _extra(extra: str, names: list[str]) -> Check:
    found, absent = [], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            absent.append(name)
    if absent:
        return Check(
            extra, "missing", f"not installed: {', '.join(absent)}", f"pip install {' '.join(absent)}"
        )
    if "torchvision" in names:  # its compiled operations fit one version of PyTorch only
        upgrade = "pip install --upgrade 'torch>=2.11,<2.12' torchvision"
        return _guarded(
            extra, lambda: str(importlib.import_module("torchvision").__name__) and ", ".join(found), upgrade
        )
    return Check(extra, "ok", ", ".join(found))


def _search() -> str:
    import numpy as np
    import pydarts

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (32, 1, 8, 8)).astype(np.uint8)
    config = pydarts.SearchConfig(
        channels=2, layers=3, epochs=1, batch_size=8, hypergradient="unrolled", progress=False
    )
    result = pydarts.search((images, np.arange(32) % 2), config)
    if not all(np.isfinite(values).all() for values in result.alphas.values()):
        raise RuntimeError("α has values that are not finite")
    moved = max(float(abs(values[-1] - values[0]).max()) for values in result.alphas.values())
    if not moved:
        raise RuntimeError("α did not change")
    return f"2 steps of {config.hypergradient} on {config.device}, {result.history[0].seconds:.2f} s"
