"""benches/gpu.py, tried on the CPU: every part runs, and a cut or an error leaves a whole record."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["checks", "graphs", "times", "search"]
BLOCKED = ["filelock", "jinja2", "matplotlib", "networkx", "rich", "safetensors", "tqdm", "typer"]


def run(folder: Path, *options: str, before: Path | None = None) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and Markdown of a run from a folder with nothing but what the command needs."""
    shutil.copytree(ROOT / "benches", folder / "benches", ignore=shutil.ignore_patterns("plots", "*.pyc"))
    shutil.copytree(ROOT / "tests/reference", folder / "tests/reference")
    paths = [str(path) for path in (before, ROOT / "python") if path is not None]
    done = subprocess.run(
        [sys.executable, "benches/gpu.py", "--device", "cpu", "--quick", "--compile-limit", "0", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert (folder / "gpu.json").exists(), done.stderr
    found = json.loads((folder / "gpu.json").read_text(encoding="utf-8"))
    return done.returncode, found, (folder / "gpu.md").read_text(encoding="utf-8")


@pytest.mark.long
def test_every_part_runs_without_a_gpu(tmp_path: Path) -> None:
    code, found, page = run(tmp_path, "--rounds", "2")
    assert (code, found["passed"], list(found["parts"])) == (0, True, PARTS)
    for name, part in found["parts"].items():
        assert part["status"] == "done" and part["entries"] and part["checks"], name
        assert all(check["passed"] and check["error"] <= check["limit"] for check in part["checks"]), name
        assert part["title"] in page
    checked = {entry["network"] for entry in found["parts"]["checks"]["entries"]}
    assert {
        f"{space}, {method}, {precision}"
        for space in ("darts", "darts-rnn")
        for method in ("first_order", "unrolled", "unrolled_exact")
        for precision in ("float64", "float32", "bfloat16")
    } == checked, "tf32 needs a GPU"
    sides = [(entry["side"], entry["n"]) for entry in found["parts"]["times"]["entries"]]
    assert sides == 3 * [("search", 2), ("step", 2), ("plain", 2)]
    assert [entry["epochs"] for entry in found["parts"]["search"]["entries"] if "epochs" in entry] == [2, 2]


def test_a_cut_run_leaves_a_record_and_missing_modules_are_replaced(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {BLOCKED}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
    )
    (tmp_path / "run").mkdir()
    code, found, page = run(tmp_path / "run", "--minutes", "0.001", before=hook)
    assert set(BLOCKED) <= set(found["missing modules"])
    assert code == 0 and list(found["parts"]) == PARTS
    assert {part["status"] for part in found["parts"].values()} <= {"cut", "skipped"}
    assert all(part["reason"] for part in found["parts"].values())
    assert page.count("skipped") + page.count("cut") >= len(PARTS)


def test_an_error_in_a_part_does_not_end_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benches"))
    from gpu_record import Part, Record

    parts = [Part("one", "One", 1.0), Part("two", "Two", 1.0), Part("three", "Three", 1.0)]
    record = Record(tmp_path / "gpu.json", {"cuda": None}, parts, time.monotonic())

    def broken(part: Part) -> None:
        part.add(measured=math.inf)
        raise ValueError("a kernel that is missing")

    def over(part: Part) -> None:
        part.deadline = 0.0
        part.go_on("the second network")

    checked: list[float] = [0.5, 1.5, math.nan]
    record.run(
        {
            "one": broken,
            "two": over,
            "three": lambda part: [part.check("c", error, 1.0, "") for error in checked] and None,
        },
        time.monotonic() + 60,
    )
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert [part["status"] for part in found["parts"].values()] == ["failed", "cut", "done"]
    assert "ValueError: a kernel that is missing" in found["parts"]["one"]["traceback"]
    assert [check["passed"] for check in found["parts"]["three"]["checks"]] == [True, False, False]
    assert not found["passed"] and not record.passed


def test_time_on_a_gpu_is_that_between_two_events(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.syspath_prepend(str(ROOT / "benches"))
    from common import begin

    done: list[tuple[str, object]] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: object) -> None:
            done.append(("record", stream))

        def synchronize(self) -> None:
            done.append(("wait", None))

        def elapsed_time(self, other: Event) -> float:
            assert other is not self
            return 250.0  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: done.append(("synchronize", device)))
    end = begin("cuda:1")
    assert done == [("synchronize", "cuda:1"), ("record", "stream of cuda:1")]
    assert end() == 0.25
    assert done[2:] == [("record", "stream of cuda:1"), ("wait", None)]
