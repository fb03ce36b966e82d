"""A search that is killed at any moment leaves checkpoints from which it resumes, bit for bit.

Run as a script with a folder, this file is the search that is killed.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import own_resume
import pydarts
import pytest
import torch

resource = pytest.importorskip("resource")

CHAINS, KILLS = 4, 5  # searches, and how often each of them is killed and resumed
STEPS, EPOCHS = 8, 30
PATIENCE = 120.0  # seconds for a process to write its next checkpoint

pytestmark = [
    pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process are Linux's"),
    pytest.mark.usefixtures("one_thread"),
]


def run(folder: Path | None, kind: str = "images") -> pydarts.SearchResult:
    """Run the search of cells, or of a user-defined network; resume it from the checkpoints in `folder`."""
    if kind == "own":
        return own_resume.run(folder, EPOCHS * STEPS // own_resume.STEPS)
    generator = np.random.default_rng(0)
    X, y = generator.integers(0, 256, (2 * STEPS * 4, 1, 6, 6)).astype(np.uint8), np.arange(2 * STEPS * 4) % 3
    config = pydarts.SearchConfig(
        space=pydarts.Space(operations=("none", "skip_connect", "conv_1x1"), nodes=1, reductions=(1,)),
        channels=4,
        layers=2,
        epochs=EPOCHS,
        batch_size=4,
        arch_lr=0.01,
        record="step",
        checkpoint_dir=folder,
        checkpoint_every=None if folder is None else 1,
        resume=folder is not None,
        device="cpu",
        progress=False,
    )
    return pydarts.search((X, y), config)


@dataclass(frozen=True)
class Kill:
    """What a killed process left."""

    aim: str
    snapshot: Path
    seen: int  # steps of the newest checkpoint that was seen before
    writing: bool  # whether a file was left half-written


def newest(folder: Path) -> int:
    """Steps of the newest checkpoint in `folder`, -1 without one."""
    return max((int(path.stem.split("-")[1]) for path in folder.glob("checkpoint-*.safetensors")), default=-1)


def unfinished(folder: Path) -> bool:
    """Whether something in `folder` is neither a checkpoint nor a lock."""
    return any(not entry.name.endswith((".safetensors", ".lock")) for entry in os.scandir(folder))


def wait_for(process: subprocess.Popen[bytes], folder: Path, steps: int) -> None:
    """Wait until a checkpoint after that many steps is there."""
    deadline = time.monotonic() + PATIENCE
    while newest(folder) < steps:
        assert process.poll() is None, f"the search ended by itself with {process.returncode}"
        assert time.monotonic() < deadline, "the search makes no progress"
        time.sleep(0.001)


def checkpoints(folder: Path) -> list[os.stat_result]:
    """The checkpoints in `folder`; the search deletes old ones meanwhile."""
    found = []
    for path in folder.glob("checkpoint-*.safetensors"):
        with contextlib.suppress(FileNotFoundError):
            found.append(path.stat())
    return found


def step_time(folder: Path) -> float:
    """Seconds between the two newest checkpoints, which are one step apart; 0 without two."""
    times = [checkpoint.st_mtime for checkpoint in checkpoints(folder)]
    return max(times) - min(times) if len(times) == 2 else 0.0


def kill_while_writing(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Kill a process in the middle of its next checkpoint: the kernel does when a file becomes too large.

    No timing decides where the file ends, so this works at any speed of the processor and the disk.
    """
    sizes = [checkpoint.st_size for checkpoint in checkpoints(folder)]
    while not sizes:  # the last one was replaced in this moment
        sizes = [checkpoint.st_size for checkpoint in checkpoints(folder)]
    half = max(sizes) // 2
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (half, half))
    process.wait(PATIENCE)


def kill_again_and_again(root: Path, chain: int, kind: str) -> list[Kill]:
    """Start the search, kill it, start it again; keep a copy of the folder after each kill."""
    moment = random.Random(chain)
    folder, found = root / "search", []
    folder.mkdir()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for n in range(KILLS):
        before = newest(folder)
        process = subprocess.Popen([sys.executable, __file__, str(folder), kind], env=environment)
        aim = "start" if n == chain == 0 else ("any", "write")[n % 2]
        try:
            if aim == "start":
                end = time.monotonic() + moment.uniform(0.0, 2.0)
                while time.monotonic() < end and newest(folder) < 0:  # a fast machine has begun by then
                    time.sleep(0.001)
            else:
                wait_for(process, folder, max(before, 0) + moment.randint(1, 9))
                if aim == "any":
                    time.sleep(moment.uniform(0.0, 1.5) * step_time(folder))
                else:
                    kill_while_writing(process, folder)
            seen = newest(folder)
        finally:
            process.kill()
            status = process.wait()
        assert status == -(signal.SIGXFSZ if aim == "write" else signal.SIGKILL), "it ended by itself"
        snapshot = root / f"snapshot {n}"
        shutil.copytree(folder, snapshot)
        found.append(Kill(aim, snapshot, seen, unfinished(folder)))
    return found


@pytest.fixture(scope="module", params=["images", pytest.param("own", marks=pytest.mark.long)])
def kind(request: pytest.FixtureRequest) -> str:
    """What is searched: cells for images, or a user-defined network."""
    return str(request.param)


@pytest.fixture(scope="module")
def uninterrupted(kind: str) -> pydarts.SearchResult:
    return run(None, kind)


@pytest.mark.parametrize(
    "chain", [0, *(pytest.param(chain, marks=pytest.mark.long) for chain in range(1, CHAINS))]
)
def test_a_killed_search_resumes_bit_for_bit(
    chain: int, kind: str, uninterrupted: pydarts.SearchResult, tmp_path: Path
) -> None:
    for kill in kill_again_and_again(tmp_path, chain, kind):
        assert newest(kill.snapshot) >= kill.seen, "a checkpoint that was there is gone"
        assert kill.writing or kill.aim != "write", "the process was killed while it wrote"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = run(kill.snapshot, kind)
        assert result.status == "complete"
        assert result.steps == uninterrupted.steps == tuple(range(STEPS * EPOCHS + 1))
        for name, trajectory in uninterrupted.alphas.items():
            assert np.array_equal(result.alphas[name], trajectory)
        for name, tensor in uninterrupted.state_dict.items():
            assert torch.equal(result.state_dict[name], tensor)
        assert len(list(kill.snapshot.glob("checkpoint-*.safetensors"))) == 2
        assert not unfinished(kill.snapshot), "the killed process left a half-written file"


if __name__ == "__main__":
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    run(Path(sys.argv[1]), sys.argv[2])
