"""What the benchmarks share: the machine in words, alternating timings, tables, and RESULTS.md."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import pydarts
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("RESULTS.md")
METHODS = ("first_order", "unrolled", "unrolled_exact")

Batch = tuple[Tensor, Tensor]


# ---- the command line


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    made = argparse.ArgumentParser(
        prog=f"benches/{name}.py", description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument("--threads", type=int, default=2, help="CPU threads of libtorch (%(default)s)")
    made.add_argument("--write", action="store_true", help="replace this benchmark's section of RESULTS.md")
    made.add_argument("--section", default=name, help="the section to replace (%(default)s)")
    return made


def network_options(made: argparse.ArgumentParser, *, batch: int | None, size: int | None = 32) -> None:
    """Options for the size of the network and of its batches; None leaves an option out."""
    made.add_argument("--channels", type=int, default=16, help="channels of the first cells (%(default)s)")
    made.add_argument("--layers", type=int, default=8, help="number of cells (%(default)s)")
    if size is not None:
        made.add_argument("--size", type=int, default=size, help="side of an image in pixels (%(default)s)")
    if batch is not None:
        made.add_argument("--batch", type=int, default=batch, help="images a batch (%(default)s)")


def timing_options(made: argparse.ArgumentParser) -> None:
    """Options for sides that alternate."""
    made.add_argument("--rounds", type=int, default=9, help="alternations that count (%(default)s)")
    made.add_argument("--warm", type=int, default=2, help="alternations before those (%(default)s)")


# ---- what ran where


def machine(device: str = "cpu") -> str:
    """Processor, cores and load; for a CUDA device the GPU as well."""
    cpu = platform.processor() or platform.machine()
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        cpu = found.group(1).strip() if found else cpu
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    text = f"{cpu}, {cores} cores, load average {os.getloadavg()[0]:.1f} at the start"
    return f"{torch.cuda.get_device_name(device)}; {text}" if device.startswith("cuda") else text


def versions() -> str:
    """Versions of what was measured and of what it runs on."""
    python = platform.python_version()
    return (
        f"pydarts {pydarts.__version__}, torch {torch.__version__}, numpy {np.__version__}, Python {python}"
    )


def provenance(setting: str, device: str = "cpu") -> str:
    """The paragraph above a table; take it before the measurement, for the load average."""
    return f"{machine(device)}; {versions()}; {date.today().isoformat()}.\n{setting}."


# ---- time


def alternate(
    sides: Mapping[str, Callable[[], object]], rounds: int, warm: int, device: str = "cpu"
) -> dict[str, list[float]]:
    """Seconds of every call of every side, A B A B ...; the first `warm` rounds are not kept."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warm + rounds):
        for name, call in sides.items():
            end = begin(device)
            call()
            seconds = end()
            if turn >= warm:
                times[name].append(seconds)
    return times


def begin(device: str) -> Callable[[], float]:
    """Begin to measure; the function returned gives the seconds since then.

    On a GPU these are the seconds between two events on its current stream, and the function waits for it.
    """
    synchronize(device)
    if not device.startswith("cuda"):
        begun = time.perf_counter()
        return lambda: time.perf_counter() - begun
    stream = torch.cuda.current_stream(device)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record(stream)

    def end() -> float:
        last.record(stream)
        last.synchronize()
        return first.elapsed_time(last) / 1e3

    return end


def synchronize(device: str) -> None:
    """Wait for what the device still has to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def ratios(slow: Sequence[float], fast: Sequence[float]) -> tuple[float, float]:
    """Ratio of medians and ratio of minima."""
    return median(slow) / median(fast), min(slow) / min(fast)


# ---- data


def random_batch(
    batch: int,
    size: int,
    *,
    seed: int,
    channels: int = 3,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Batch:
    """Normal images and uniform labels of ten classes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, size, size, generator=generator, dtype=dtype)
    y = torch.randint(10, (batch,), generator=generator)
    return x.to(device), y.to(device)


def cifar_images(
    path: Path, count: int, seed: int = 0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """A random subset of the training images of an npz of JPEG bytes: uint8 [count, 3, 32, 32] and labels.

    Image i is `train_jpeg[train_offset[i]:train_offset[i + 1]]`, its class `train_label[i]`.
    """
    from PIL import Image

    with np.load(path, allow_pickle=False) as file:
        data, offsets, labels = file["train_jpeg"], file["train_offset"].astype(np.int64), file["train_label"]
    chosen = np.random.default_rng(seed).choice(len(labels), count, replace=False)
    decoded = [Image.open(io.BytesIO(data[offsets[i] : offsets[i + 1]].tobytes())) for i in chosen]
    images = np.stack([np.asarray(image.convert("RGB")) for image in decoded]).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(images), labels[chosen].astype(np.int64)


def standardized(images: npt.NDArray[np.uint8], dtype: torch.dtype) -> Tensor:
    """Images with mean 0 and deviation 1 in every channel."""
    x = torch.from_numpy(images).to(dtype)
    return (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)


# ---- the peer


def reference() -> Any:
    """The plain PyTorch DARTS of tests/reference."""
    tests = str(ROOT / "tests")
    if tests not in sys.path:
        sys.path.insert(0, tests)
    return importlib.import_module("reference")


def twin(net: pydarts.Supernet, dtype: torch.dtype, device: str = "cpu") -> Any:
    """A plain PyTorch network with the sizes, weights, statistics and α of `net`."""
    cfg, space = net.config, net.config.resolved_space
    made = reference().Supernet if space.stages is None else reference().ResidualSupernet
    plain = made(
        channels=cfg.channels,
        layers=cfg.layers,
        num_classes=cfg.num_classes,
        in_channels=cfg.in_channels,
        nodes=space.nodes,
        operations=space.operations,
        **({} if space.stages is None else {"stages": space.stages}),
    ).to(dtype=dtype, device=device)
    plain.load_state_dict(net.state_dict())
    plain.set_alphas(net.alphas)
    plain.train()
    return plain


# ---- results


def milliseconds(seconds: float) -> str:
    """With a decimal where it says something.

    >>> milliseconds(0.01234), milliseconds(1.234)
    ('12.3', '1234')
    """
    return f"{1e3 * seconds:.{1 if seconds < 0.1 else 0}f}"


def gibibytes(size: int) -> str:
    """Bytes in GiB."""
    return f"{size / 2**30:.2f}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table, numbers to the right.

    >>> print(table(["a", "b"], [["x", "1"]]))
    | a | b |
    |:--|--:|
    | x | 1 |
    """
    rule = [":--", *["--:"] * (len(header) - 1)]
    lines = ["| " + " | ".join(cells) + " |" for cells in [header, *rows]]
    return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]])


def publish(section: str, text: str, write: bool) -> None:
    """Print a result; with `write`, put it in place of its section of RESULTS.md."""
    print(f"\n{text}")
    if not write:
        return
    begin, end = f"<!-- begin {section} -->", f"<!-- end {section} -->"
    old = RESULTS.read_text(encoding="utf-8")
    if begin not in old:
        old += f"\n## {section}\n\n{begin}\n{end}\n"
    head, rest = old.split(begin, 1)
    _, tail = rest.split(end, 1)
    RESULTS.write_text(f"{head}{begin}\n{text.strip()}\n{end}{tail}", encoding="utf-8")
    print(f"\nwritten to {RESULTS.name}, section {section}")
