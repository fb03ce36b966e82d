"""Six short searches, recorded with version 1: what they compute must not move by accident.

`valid_loss` and `valid_accuracy` of images alone are later: they were recorded again when evaluations began
to divide the initial value out of running statistics. `test_statistics.py` compares them with the reference.

`python tests/python/baseline.py --record` writes the fixtures; without an option it prints how far the
installed pydarts is from them. `test_baseline.py` runs the comparison.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pydarts
import safetensors
import safetensors.numpy
import torch

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "version1.safetensors"

Values = dict[str, npt.NDArray[Any]]


class Case(NamedTuple):
    """A search: its data, and the fields of its configuration."""

    text: bool
    fields: dict[str, Any]


COMMON: dict[str, Any] = {"precision": "float64", "device": "cpu", "progress": False, "epochs": 2, "seed": 7}
IMAGES: dict[str, Any] = {
    "channels": 2,
    "layers": 3,
    "nodes": 2,
    "batch_size": 8,
    "weight_lr": 0.1,
    "arch_lr": 0.02,
}
TEXT: dict[str, Any] = {
    "space": "darts-rnn",
    "units": 6,
    "nodes": 3,
    "batch_size": 4,
    "bptt": 6,
    "weight_lr": 1.0,
    "weight_lr_min": 1.0,
}

CASES: dict[str, Case] = {
    "images_first_order": Case(False, IMAGES | {"augment": "cifar", "cutout": 2}),
    "images_unrolled": Case(
        False, IMAGES | {"hypergradient": "unrolled", "memory": "recompute", "record": "step"}
    ),
    "images_exact": Case(False, IMAGES | {"hypergradient": "unrolled_exact", "micro_batch": 4}),
    "text_first_order": Case(True, TEXT | {"arch_start_epoch": 1}),
    "text_unrolled": Case(True, TEXT | {"hypergradient": "unrolled", "record": 3}),
    "text_exact": Case(True, TEXT | {"hypergradient": "unrolled_exact", "dropout_rows": 0.1}),
}


def images() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Odd images of two channels, three classes."""
    generator = np.random.default_rng(1)
    X = generator.integers(0, 256, size=(48, 2, 9, 8)).astype(np.uint8)
    return X, (np.arange(48) % 3).astype(np.int64)


def text() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Two rows of tokens of a vocabulary of 11."""
    generator = np.random.default_rng(2)
    return generator.integers(0, 11, size=200), generator.integers(0, 11, size=120)


def searched(case: Case) -> Values:
    """Run a search on one thread: α over time, weights and statistics, and the history, by name."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = pydarts.SearchConfig.from_dict(COMMON | case.fields)
        result = pydarts.search(text() if case.text else images(), config)
    assert result.status == "complete"
    found: Values = {f"alpha/{name}": np.asarray(table) for name, table in result.alphas.items()}
    state = {name: tensor.numpy() for name, tensor in result.state_dict.items()}
    counts = [state.pop(name) for name in list(state) if name.endswith(".num_batches_tracked")]
    assert counts and all(count == result.steps[-1] for count in counts)  # version 1 had no counts
    found |= {f"state/{name}": value for name, value in state.items()}
    found["steps"] = np.asarray(result.steps, dtype=np.int64)
    for name in ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "learning_rate"):
        values = [getattr(record, name) for record in result.history]
        found[f"history/{name}"] = np.asarray(values, dtype=np.float64)
    for table in result.alphas:
        entropy = [record.entropy[table] for record in result.history]
        found[f"history/entropy/{table}"] = np.asarray(entropy, dtype=np.float64)
    found["genotype"] = np.frombuffer(str(result.genotype).encode(), dtype=np.uint8)
    return found


def processor() -> str:
    """All that the last bits of a result depend on: processor, instruction set, libraries."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        names = ("vendor_id", "cpu family", "model", "stepping", "flags")
        cpu = {
            name: match[1]
            for name in names
            if (match := re.search(rf"^{name}\s*: (.+)$", info, re.MULTILINE))
        }
    except OSError:
        cpu = {}
    about = {"cpu": cpu, "torch": torch.__version__, "numpy": np.__version__}
    about["instructions"] = torch.backends.cpu.get_cpu_capability()
    limits = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
    about |= {name: os.environ[name] for name in limits if name in os.environ}
    return json.dumps(about, sort_keys=True)


def record() -> None:
    """Write the fixtures."""
    values = {f"{name}/{key}": value for name, case in CASES.items() for key, value in searched(case).items()}
    FIXTURES.parent.mkdir(exist_ok=True)
    safetensors.numpy.save_file(values, FIXTURES, {"processor": processor(), "pydarts": pydarts.__version__})


def recorded() -> tuple[dict[str, Values], str]:
    """The fixtures by case, and the processor that they were recorded on."""
    with safetensors.safe_open(FIXTURES, "np") as file:
        flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        about = file.metadata()["processor"]
    cases: dict[str, Values] = {name: {} for name in CASES}
    for name, value in flat.items():
        case, key = name.split("/", 1)
        cases[case][key] = value
    return cases, about


def difference(found: Values, expected: Values) -> float:
    """The largest difference relative to the largest value of its array; infinite for other names."""
    if found.keys() != expected.keys():
        return float("inf")
    largest = 0.0
    for name, value in expected.items():
        other = found[name]
        if other.shape != value.shape or other.dtype != value.dtype:
            return float("inf")
        if np.array_equal(other, value) or value.size == 0:
            continue
        if not np.issubdtype(value.dtype, np.floating):
            return float("inf")
        largest = max(largest, float(np.abs(other - value).max() / max(np.abs(value).max(), 1e-300)))
    return largest


def compare() -> None:
    """Print how far each search is from its fixture."""
    expected, about = recorded()
    print("the processor of the fixtures" if about == processor() else "another processor than the fixtures'")
    for name, case in CASES.items():
        print(f"{name}: {difference(searched(case), expected[name]):.3g}")


if __name__ == "__main__":
    record() if "--record" in sys.argv else compare()
