"""The first minutes of pydarts on a GPU, in one command: is it right, is it fast, how long is a search?

Parts, each with a share of `--minutes`: the same numbers on CPU and GPU (`checks`), captured steps with the
bits of eager ones (`graphs`), times, launches and memory against plain and compiled PyTorch (`times`), and a
search of CIFAR-10 with the rest (`search`). Writes OUT.json and OUT.md after every entry, so that a run that
is cut short leaves what it found. Exit code 1: a check failed, a part raised an exception, or did not return.

It needs torch, numpy, the installed wheel, and the folders benches/ and tests/reference/. Modules that the
wheel depends on and that are missing are named, and replaced by empty ones.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.metadata
import importlib.util
import os
import re
import sys
import threading
import time
import types
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

BEGUN = time.monotonic()
PARTS = ("checks", "graphs", "times", "search")
METHODS = ("first_order", "unrolled", "unrolled_exact")
# What pydarts may import, should its metadata not be there.
NEEDED = ("tqdm", "matplotlib", "networkx", "jinja2", "filelock", "rich", "safetensors", "typer")


class Empty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds empty modules for missing ones; whatever is asked of them is an empty class."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = set(names)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        found = name.split(".")[0] in self.names
        return ModuleSpec(name, self, is_package=True) if found else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        vars(module)["__getattr__"] = attribute
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""


def attribute(name: str) -> type:
    """An attribute of an empty module; no special ones."""
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})


def missing() -> list[str]:
    """The dependencies of pydarts that cannot be imported."""
    try:
        required = importlib.metadata.requires("pydarts") or []
    except importlib.metadata.PackageNotFoundError:
        required = []
    plain = [text for text in required if ";" not in text]  # without those of extras and older Pythons
    names = {re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in plain} | set(NEEDED)
    return sorted(name for name in names if not importable(name))


def stand_in() -> list[str]:
    """Put empty modules in the place of missing ones, whose names it returns."""
    absent = missing()
    if absent:
        sys.meta_path.insert(0, Empty(absent))
    return absent


def importable(name: str) -> bool:
    """Whether a module can be found."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(
        prog="benches/gpu.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    made.add_argument(
        "--device", default="cuda", help='"cuda", "cuda:1", or "cpu" to try the command (%(default)s)'
    )
    made.add_argument(
        "--minutes", type=float, default=8.0, help="the whole run takes at most these (%(default)s)"
    )
    made.add_argument(
        "--data", type=Path, metavar="FILE", help="CIFAR-10 as an npz of JPEG bytes, see README.md"
    )
    made.add_argument("--out", type=Path, default=Path("gpu"), help="OUT.json and OUT.md (%(default)s)")
    made.add_argument(
        "--quick", action="store_true", help="tiny networks: tries the command, measures nothing"
    )
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    made.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    made.add_argument("--batches", nargs="+", type=int, help="images per batch of the steps that are timed")
    made.add_argument("--rounds", type=int, help="alternations that count")
    made.add_argument(
        "--compile-limit", type=float, help="seconds that compiling one step may take; 0 leaves it out"
    )
    made.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as many as cores, 1 if --quick")
    return made.parse_args()


def main() -> None:
    given = arguments()
    absent = stand_in()
    if absent:
        print(f"missing modules, replaced by empty ones: {', '.join(absent)}", flush=True)
    import torch

    cuda = given.device.startswith("cuda")
    if cuda and not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} finds no GPU; --device cpu --quick tries the command")
    torch.set_num_threads(given.threads or (1 if given.quick else len(os.sched_getaffinity(0))))
    import pydarts
    from common import machine, versions
    from gpu_record import Part, Record

    about = {
        "machine": machine(given.device),
        "versions": versions(),
        "cuda": torch.version.cuda if cuda else None,
        "pydarts from": str(Path(pydarts.__file__).parent),
        "missing modules": absent,
        "PIL": importable("PIL"),
        "arguments": {name: str(value) for name, value in vars(given).items()},
    }
    parts = {
        "checks": Part("checks", "The same numbers on CPU and GPU", 0.2),
        "graphs": Part("graphs", "Captured steps with the bits of eager ones", 0.2),
        "times": Part("times", "Time of a search step", 0.35),
        "search": Part("search", "A search of CIFAR-10", 0.25),
    }
    chosen = [parts[name] for name in PARTS if name in given.parts]
    record = Record(given.out.with_suffix(".json"), about, chosen, BEGUN)
    whole = 60 * given.minutes
    run(given, record, BEGUN + 0.95 * whole, max(whole, 60.0))
    print(f"\n{record.markdown()}\nwritten to {record.file} and {record.file.with_suffix('.md')}", flush=True)
    sys.stdout.flush()
    os._exit(0 if record.passed else 1)  # a library's thread must not keep the process


def run(given: argparse.Namespace, record: Any, deadline: float, last: float) -> None:
    """All parts until `deadline`; what does not return `last` seconds after the begin is left alone."""
    from gpu_checks import Size, graphs, numbers
    from gpu_compiled import Compiled
    from gpu_search import search
    from gpu_times import times
    from sides import Setting

    quick, methods = given.quick, tuple(given.methods)
    small = Size(channels=4, layers=3, size=8, batch=4, nodes=2) if quick else Size()
    network: dict[str, Any] = {"channels": 4, "layers": 3, "nodes": 1} if quick else {}
    few = {"size": 8, "operations": ("none", "skip_connect", "sep_conv_3x3")}
    sizes: dict[str, Any] = network | few if quick else {}
    timed = [
        Setting(**sizes, batch=batch, method=method, device=given.device, threads=torch_threads())
        for batch in given.batches or ((4,) if quick else (64, 256))
        for method in methods
    ]
    limit = given.compile_limit if given.compile_limit is not None else 40.0 if quick else 240.0
    rounds = given.rounds or (3 if quick else 9)
    compiled = Compiled()
    if limit <= 0 or "times" not in given.parts:
        compiled.close("left out")
    else:
        compiled.ask(timed[0])  # compiles while the first parts run

    def give_up() -> None:
        record.cut(f"did not return within {last:.0f} s")
        compiled.close()
        os._exit(1)

    watch = threading.Timer(max(0.0, BEGUN + last - time.monotonic()), give_up)
    watch.daemon = True
    watch.start()
    searched: dict[str, Any] = network | {"batch_size": 8, "epochs": 2, "augment": "none"} if quick else {}
    images = (64, 8) if quick else (50_000, 32)
    works = {
        "checks": lambda part: numbers(part, given.device, methods, small, not quick),
        "graphs": lambda part: graphs(part, given.device, methods, small, quick),
        "times": lambda part: times(part, timed, rounds, 2, limit, compiled),
        "search": lambda part: search(part, given.device, methods[:2], given.data, *images, searched),
    }
    try:
        record.run({name: work for name, work in works.items() if name in given.parts}, deadline)
    finally:
        watch.cancel()
        compiled.close()


def torch_threads() -> int:
    """Threads of libtorch, as main set them."""
    import torch

    return torch.get_num_threads()


if __name__ == "__main__":
    main()
