"""A search killed at any moment leaves checkpoints from which it goes on, bit for bit.

Run as a script with a folder, this file is the search that is killed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydarts
import pytest
import torch

CHAINS, KILLS = 4, 5  # searches, and how often each is killed and goes on
STEPS, EPOCHS = 8, 12
STARTUP = 60.0  # seconds a process may take to its first checkpoint

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="SIGKILL and SIGSTOP are those of POSIX"),
    pytest.mark.usefixtures("one_thread"),
]


def run(folder: Path | None) -> pydarts.SearchResult:
    """The search; it goes on from what lies in `folder`."""
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
    """What was found when the process was dead."""

    snapshot: Path
    seen: int  # steps of the newest checkpoint that was seen before
    begun: bool  # whether a checkpoint was seen at all
    writing: bool  # whether a file was being written


def newest(folder: Path) -> int:
    """Steps of the newest checkpoint in `folder`, -1 without one."""
    return max((int(path.stem.split("-")[1]) for path in folder.glob("checkpoint-*.safetensors")), default=-1)


def unfinished(folder: Path) -> bool:
    """Whether something in `folder` is neither checkpoint nor lock: one that is being written."""
    return any(not entry.name.endswith((".safetensors", ".lock")) for entry in os.scandir(folder))


def wait_for(process: subprocess.Popen[bytes], folder: Path, steps: int) -> None:
    """Until a checkpoint after that many steps is there."""
    deadline = time.monotonic() + STARTUP
    while newest(folder) < steps:
        assert process.poll() is None, f"the search ended by itself with {process.returncode}"
        assert time.monotonic() < deadline, "the search does not get on"
        time.sleep(0.001)


def stop_while_writing(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Halt the process while a checkpoint is half there; False if that did not succeed."""
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline and process.poll() is None:
        if not unfinished(folder):
            time.sleep(0.0001)
            continue
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        if unfinished(folder):
            return True
        os.kill(process.pid, signal.SIGCONT)
    return False


def kill_again_and_again(root: Path, chain: int) -> list[Kill]:
    """Start the search, kill it, start it again; a copy of the folder is kept of each time."""
    moment = random.Random(chain)
    folder, found = root / f"search {chain}", []
    folder.mkdir()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for n in range(KILLS):
        before = newest(folder)
        process = subprocess.Popen([sys.executable, __file__, str(folder)], env=environment)
        try:
            aim = "start" if n == chain == 0 else moment.choice(["any", "any", "write"])
            if aim == "start":
                time.sleep(moment.uniform(0.0, 2.0))
            else:
                wait_for(process, folder, max(before, 0) + moment.randint(1, 9))
                if aim == "any":
                    time.sleep(moment.uniform(0.0, 0.015))
                else:
                    stop_while_writing(process, folder)
            seen = newest(folder)
        finally:
            process.kill()
            status = process.wait()
        assert status == -signal.SIGKILL, f"the search ended by itself with {status}"
        snapshot = root / f"snapshot {chain} {n}"
        shutil.copytree(folder, snapshot)
        found.append(Kill(snapshot, seen, seen >= 0, unfinished(folder)))
    return found


@pytest.fixture(scope="module")
def uninterrupted() -> pydarts.SearchResult:
    return run(None)


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> list[Kill]:
    root = tmp_path_factory.mktemp("killed")
    with ThreadPoolExecutor(2) as pool:
        chains = pool.map(lambda chain: kill_again_and_again(root, chain), range(CHAINS))
        return [kill for chain in chains for kill in chain]


@pytest.mark.parametrize("n", range(CHAINS * KILLS))
def test_a_killed_search_goes_on_bit_for_bit(
    kills: list[Kill], uninterrupted: pydarts.SearchResult, n: int
) -> None:
    kill = kills[n]
    assert newest(kill.snapshot) >= kill.seen, "a checkpoint that was there is gone"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run(kill.snapshot)
    assert result.status == "complete"
    assert result.steps == uninterrupted.steps == tuple(range(STEPS * EPOCHS + 1))
    for name, trajectory in uninterrupted.alphas.items():
        assert np.array_equal(result.alphas[name], trajectory)
    for name, tensor in uninterrupted.state_dict.items():
        assert torch.equal(result.state_dict[name], tensor)
    assert len(list(kill.snapshot.glob("checkpoint-*.safetensors"))) == 2
    assert not unfinished(kill.snapshot), "what the killed process left half written is still there"


def test_some_were_killed_while_a_checkpoint_was_written(kills: list[Kill]) -> None:
    assert len(kills) == CHAINS * KILLS
    assert sum(kill.begun for kill in kills) >= len(kills) - 1
    assert any(kill.writing for kill in kills)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
