"""Search NAS-Bench-201 with eight presets and five hypergradients, and look the chosen cells up in its table.

python experiments/nas_bench_201.py --data cifar10_jpeg.npz --benchmark nasbench201.npz

Everything is seeded. Each finished run is a file in `--out`, so an interrupted experiment continues where it
was. The summary is written to experiments/results, the figures to docs/pictures/findings and the tables to
docs/findings.md. `--summary` makes figures and tables from the committed summary alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pydarts
import torch
from findings import write_page
from one_shot import Images, from_scratch, random_search, supernet_accuracies
from pydarts import Genotype, SearchConfig, algorithms
from pydarts.benchmarks import NASBench201

HERE = Path(__file__).resolve().parent
SUMMARY = HERE / "results" / "nas_bench_201.json"
SPACE = "nas-bench-201"
PRESETS = (
    "darts_first_order", "darts_exact", "pc_darts", "gdas", "drnas", "beta_darts", "darts_minus", "random_ws",
)  # fmt: skip
# A preset without published settings on this space has those of the DARTS space.
LIKE_DARTS = ("pc_darts", "darts_minus")
HYPERGRADIENTS: dict[str, dict[str, Any]] = {
    "first_order": {"hypergradient": "first_order"},
    "unrolled, ε = 0.01": {"hypergradient": "unrolled", "epsilon": 0.01},
    "unrolled, ε = 0.1": {"hypergradient": "unrolled", "epsilon": 0.1},
    "unrolled_exact": {"hypergradient": "unrolled_exact"},
    "neumann, K = 3": {"hypergradient": algorithms.Neumann(terms=3)},
}
# The published rate is 3e-4; with a twentieth of the published number of steps, α would stay near 0.
ARCH_LR = 3e-3
# First-order DARTS with other learning rates of α.
RATES = (3e-4, 1e-3, ARCH_LR)
# The published learning rate is that of a batch of 256.
CHANGES = {"pc_darts": {"weight_lr": 0.1 * 64 / 256}}
# One run for two names: (kind, name) -> the run that has the same settings.
SAME = {
    ("preset", "darts_exact"): ("hypergradient", "unrolled_exact"),
    ("rate", f"{ARCH_LR:g}"): ("preset", "darts_first_order"),
}


@dataclass(frozen=True)
class Sizes:
    """The size of the experiment."""

    images: int = 8000
    """Images of CIFAR-10; half of them train the weights, half are for α and for validation."""
    side: int = 16
    channels: int = 8
    layers: int = 1
    epochs: int = 15
    seeds: int = 3
    cells: int = 200
    """Random cells that are evaluated in the trained search network."""
    trained: int = 20
    """Random cells per seed that are trained on their own."""
    scored: int = 512
    """Validation images of that evaluation."""


@dataclass(frozen=True)
class Job:
    """One run: a search, or a random search of equal cost."""

    kind: str
    name: str
    seed: int

    @property
    def file(self) -> str:
        plain = "".join(letter if letter.isalnum() else "_" for letter in self.name)
        return f"{self.kind}-{plain}-{self.seed}.json"


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument(
        "--data", type=Path, metavar="FILE", help="CIFAR-10 as an npz of JPEG bytes: benches/README.md"
    )
    made.add_argument(
        "--benchmark", type=Path, metavar="FILE", help="the table of NAS-Bench-201, .npz or .csv"
    )
    made.add_argument(
        "--out", type=Path, default=Path("runs/nas_bench_201"), help="folder of runs (%(default)s)"
    )
    made.add_argument("--workers", type=int, default=2, help="processes, with one thread each (%(default)s)")
    made.add_argument("--only", nargs="+", metavar="NAME", help="these algorithms only; writes no summary")
    made.add_argument(
        "--summary", action="store_true", help="make figures and tables of the committed summary"
    )
    for name, value in asdict(Sizes()).items():
        made.add_argument(f"--{name}", type=int, default=value, help="(%(default)s)")
    given = made.parse_args()
    if given.summary:
        write_page(json.loads(SUMMARY.read_text(encoding="utf-8")))
        return 0
    if given.data is None or given.benchmark is None:
        made.error("--data and --benchmark are required")
    sizes = Sizes(**{name: getattr(given, name) for name in asdict(Sizes())})
    jobs = [job for job in all_jobs(sizes) if given.only is None or job.name in given.only]
    begin = time.time()
    run_all(jobs, sizes, given.data, given.benchmark, given.out, given.workers)
    print(f"{len(jobs)} runs, {(time.time() - begin) / 60:.0f} minutes in this call")
    if given.only is None:
        summary = summarize(jobs, sizes, given.benchmark, given.out)
        SUMMARY.parent.mkdir(exist_ok=True)
        SUMMARY.write_text(as_text(summary), encoding="utf-8")
        write_page(summary)
    return 0


# ---- The runs


def all_jobs(sizes: Sizes) -> list[Job]:
    """Return all runs, the longest first."""
    seeds = range(sizes.seeds)
    names = [("hypergradient", name) for name in reversed(HYPERGRADIENTS)]
    names += [("preset", name) for name in PRESETS] + [("random", "random_search")]
    names += [("rate", f"{rate:g}") for rate in RATES] + [("proxy", "from scratch")]
    return [Job(kind, name, seed) for kind, name in names if (kind, name) not in SAME for seed in seeds]


def config_of(job: Job, sizes: Sizes) -> SearchConfig:
    """Return the settings of a search: the published ones, but for the sizes and the learning rate of α."""
    given = {
        "space": SPACE,
        "channels": sizes.channels,
        "layers": sizes.layers,
        "epochs": sizes.epochs,
        "batch_size": 64,
        "seed": job.seed,
        "device": "cpu",
        "progress": False,
    }
    if job.kind == "hypergradient":
        config = SearchConfig.preset("darts_second_order", **given).replace(**HYPERGRADIENTS[job.name])
    elif job.kind == "rate":
        return SearchConfig.preset("darts_first_order", **given).replace(arch_lr=float(job.name))
    else:
        like = "darts" if job.name in LIKE_DARTS else None
        config = SearchConfig.preset(job.name, like=like, **given).replace(**CHANGES.get(job.name, {}))
    if job.name == "random_ws":
        return config.replace(selection=algorithms.Sampled(samples=200, batches=2, finalists=10))
    return config.replace(arch_lr=ARCH_LR)


def run_all(jobs: list[Job], sizes: Sizes, data: Path, benchmark: Path, out: Path, workers: int) -> None:
    """Do the runs that have no file yet, in processes of one thread each."""
    out.mkdir(parents=True, exist_ok=True)
    waiting = [job for job in jobs if not is_done(out / job.file, sizes)]
    print(f"{len(jobs)} runs, {len(jobs) - len(waiting)} of them done")
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(run, job, sizes, data, benchmark, out): job for job in waiting}
        for done in as_completed(running):
            print(f"{running[done].name}, seed {running[done].seed}: {done.result()}", flush=True)


def uniform(operation: str) -> str:
    """Return the cell with this operation on every edge."""
    edges = [(operation, source) for target in (1, 2, 3) for source in range(target)]
    return Genotype(cell=edges, cell_concat=[3]).to_nasbench201()


def is_done(file: Path, sizes: Sizes) -> bool:
    """Return whether a run of these sizes is there."""
    return file.exists() and json.loads(file.read_text(encoding="utf-8"))["sizes"] == asdict(sizes)


def run(job: Job, sizes: Sizes, data: Path, benchmark: Path, out: Path) -> str:
    """Do one run, write its file and describe it."""
    torch.set_num_threads(1)
    bench = NASBench201(benchmark)
    images = halves(data, sizes)
    begin = time.perf_counter()
    if job.kind == "random":
        config = config_of(Job("preset", "darts_first_order", job.seed), sizes)
        record = random_search(images, config, bench)
    elif job.kind == "proxy":
        config = config_of(Job("preset", "darts_first_order", job.seed), sizes)
        record = from_scratch(images, config, bench, proxy_cells(bench, sizes, job.seed))
    else:
        record = search(images, config_of(job, sizes), bench, sizes)
    record |= {"seconds": time.perf_counter() - begin, "sizes": asdict(sizes), **asdict(job)}
    record["accuracy"] = bench.accuracy(record["cell"], "cifar10")
    text = json.dumps(record, ensure_ascii=False)
    part = out / f"{job.file}.part"
    part.write_text(text, encoding="utf-8")
    os.replace(part, out / job.file)
    return f"{record['accuracy']:.2f} % {record['cell']}, {record['seconds']:.0f} s"


def search(images: Images, config: SearchConfig, bench: NASBench201, sizes: Sizes) -> dict[str, Any]:
    """Search, look up the cell of every epoch, and evaluate random cells in the trained search network."""
    result = pydarts.search(images, config)
    if result.status != "complete":
        raise RuntimeError(f"the search ended as {result.status}")
    path = result.trajectory
    # A selection that compares networks has one cell, that of the end.
    cells = [genotype.to_nasbench201() for genotype in path.genotypes] if path.selects else []
    random = random_cells(bench, sizes)
    return {
        "config": config.to_dict(),
        "cell": result.genotype.to_nasbench201(),
        "cells": cells,
        "accuracies": bench.trajectory(result).accuracies.tolist() if path.selects else [],
        "strengths": result.strengths["cell"][-1].round(5).tolist() if path.learns else None,
        "search_accuracy": [record.valid_accuracy for record in result.history],
        "search_seconds": sum(record.seconds for record in result.history),
        "random_cells": supernet_accuracies(result, random, images[1], sizes.scored),
        "random_cells_table": [bench.accuracy(cell, "cifar10") for cell in random],
    }


def random_cells(bench: NASBench201, sizes: Sizes) -> list[str]:
    """Return the cells that are evaluated in every search network."""
    return bench.random(sizes.cells, seed=201)


def proxy_cells(bench: NASBench201, sizes: Sizes, seed: int) -> list[str]:
    """Return the cells that are trained on their own: random ones, by seed, and three known ones."""
    random = random_cells(bench, sizes)[seed * sizes.trained : (seed + 1) * sizes.trained]
    return [*random, uniform("skip_connect"), uniform("nor_conv_3x3"), bench.best("cifar10")[0][0]]


# ---- The data


def halves(path: Path, sizes: Sizes) -> Images:
    """Return the images of a fixed random subset of CIFAR-10, made smaller, in two halves."""
    pixels, labels = common().cifar_images(path, sizes.images)
    factor = pixels.shape[-1] // sizes.side
    blocks = pixels.reshape(len(pixels), 3, sizes.side, factor, sizes.side, factor)
    x: npt.NDArray[np.float32] = (blocks.mean((3, 5)) / 255).astype(np.float32)
    half = len(x) // 2
    mean, std = x[:half].mean((0, 2, 3), keepdims=True), x[:half].std((0, 2, 3), keepdims=True)
    x = (x - mean) / std
    return (x[:half], labels[:half]), (x[half:], labels[half:])


# ---- The summary


def summarize(jobs: list[Job], sizes: Sizes, benchmark: Path, out: Path) -> dict[str, Any]:
    """Collect what figures and tables need."""
    bench = NASBench201(benchmark)
    table = bench.accuracies("cifar10")
    rng = np.random.default_rng(0)
    best_of = {n: rng.choice(table, (10_000, n)).max(1).mean() for n in (1, 10, 100)}
    runs = [json.loads((out / job.file).read_text(encoding="utf-8")) for job in jobs]
    for job, record in zip(jobs, runs, strict=True):
        del record["sizes"]
        if job.kind not in ("random", "proxy"):
            record["config"] = repr(config_of(job, sizes))
            record["random_cells"] = [round(value, 4) for value in record["random_cells"]]
            del record["random_cells_table"]
    for (kind, name), same in SAME.items():
        twins = [record for record in runs if (record["kind"], record["name"]) == same]
        runs += [{**record, "kind": kind, "name": name} for record in twins]
    return {
        "sizes": asdict(sizes),
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
        "table": {
            "best": float(table.max()),
            "median": float(np.median(table)),
            "mean": float(table.mean()),
            "deviation": float(table.std()),
            "quartiles": [float(q) for q in np.quantile(table, (0.25, 0.75))],
            "best_of": {str(n): float(value) for n, value in best_of.items()},
        },
        "random_cells": [bench.accuracy(cell, "cifar10") for cell in random_cells(bench, sizes)],
        "step_seconds": step_seconds(sizes),
        "runs": runs,
    }


def step_seconds(sizes: Sizes, rounds: int = 21) -> dict[str, float]:
    """Return the median time of a step of every search, on one thread; the searches alternate."""
    torch.set_num_threads(1)
    jobs = [job for job in all_jobs(sizes) if job.seed == 0 and job.kind in ("preset", "hypergradient")]
    shape = {"num_classes": 10, "in_channels": 3, "image_size": sizes.side}
    nets = {
        f"{job.kind} {job.name}": pydarts.Supernet(config=config_of(job, sizes).replace(**shape))
        for job in jobs
    }
    x, y = torch.randn(64, 3, sizes.side, sizes.side), torch.arange(64) % 10
    times: dict[str, list[float]] = {name: [] for name in nets}
    for _ in range(rounds):
        for name, net in nets.items():
            begin = time.perf_counter()
            net.step(train=(x, y), valid=(x, y))
            times[name].append(time.perf_counter() - begin)
    return {name: float(np.median(found[1:])) for name, found in times.items()}


def as_text(summary: dict[str, Any]) -> str:
    """Return the summary as JSON, one run per line."""
    parts = [f'"{name}": {json.dumps(value)}' for name, value in summary.items() if name != "runs"]
    runs = ",\n".join(json.dumps(run, ensure_ascii=False) for run in summary["runs"])
    head = ",\n".join(parts)
    return f'{{{head},\n"runs": [\n{runs}\n]}}\n'


def machine() -> str:
    """Return the processor and the versions."""
    return f"{common().machine()}; {common().versions()}"


def common() -> ModuleType:
    """Return what the benchmarks share: benches/common.py."""
    folder = str(HERE.parent / "benches")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("common")


if __name__ == "__main__":
    sys.exit(main())
