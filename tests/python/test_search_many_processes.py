"""Several searches in processes of their own: loaders that go there, and what ends them."""

from __future__ import annotations

import _thread
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydarts
import pytest
from conftest import make_config
from many import X, plain, recorded, short, y
from pydarts import SearchTable
from pydarts._protocol import workers

# ---- loaders


class Here(list[Any]):
    """Batches that cannot be given to another process."""

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


class Elsewhere(list[Any]):
    """Batches that can be given to another process, and not be taken there."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise AttributeError("no such class here")


def test_a_loader_that_cannot_be_pickled_is_read_in_this_process_or_refused() -> None:
    batches = Here((X[start : start + 8], y[start : start + 8]) for start in range(0, 48, 8))
    config, select = make_config(epochs=1), short(epochs=1)
    for loader, cause in ((batches, "not to be pickled"), (Elsewhere(batches), "no such class here")):
        with pytest.warns(UserWarning, match=rf"{cause}.*workers=0") as caught:
            found = pydarts.search_many((loader, list(batches)), config, 1, select)
        assert found.status == "complete" and caught[0].filename == __file__
    with pytest.raises(pydarts.DataError, match=r"not to be pickled.*workers=0"):
        pydarts.search_many((batches, batches), config, 1, select, workers=1)
    with pytest.raises(pydarts.DataError, match=r"no such class here.*workers=0"):
        pydarts.search_many((Elsewhere(batches), list(batches)), config, 1, select, workers=1)


@pytest.mark.long
def test_a_data_set_that_a_notebook_defines_is_read_in_this_process(tmp_path: Path) -> None:
    # As in a notebook, the main module has no file that another process could run.
    code = """
        import pydarts, torch
        from torch.utils.data import DataLoader, Dataset
        class Cell(Dataset):
            def __len__(self): return 40
            def __getitem__(self, i): return torch.full((1, 8, 8), (i % 2) / 2), i % 2
        cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
        select = pydarts.TrainConfig(epochs=1, batch_size=8)
        print(pydarts.search_many(DataLoader(Cell(), batch_size=8), cfg, 1, select).status)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=300,
        check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.split() == ["complete"], done.stderr
    assert "UserWarning" in done.stderr and "workers=0" in done.stderr


# ---- processes that are killed


class Fatal:
    """Batches; the first passes over them in other processes than that of the test kill these."""

    def __init__(self, batches: list[Any], folder: Path, kills: int) -> None:
        self.batches, self.folder, self.kills = batches, folder, kills

    def __iter__(self) -> Iterator[Any]:
        killed = len(list(self.folder.glob("killed-*")))
        if multiprocessing.parent_process() is not None and killed < self.kills:
            (self.folder / f"killed-{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return iter(self.batches)


BATCHES = [(X[start : start + 8], y[start : start + 8]) for start in range(0, 48, 8)]
FIXED: dict[str, Any] = {"epochs": 1, "mean": (0.2,), "std": (0.2,)}


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is that of POSIX")
def test_the_row_of_a_process_that_is_killed_is_tried_again(tmp_path: Path) -> None:
    config, select = make_config(**FIXED), short(**FIXED)
    loader = (Fatal(BATCHES, tmp_path, 1), BATCHES)
    with pytest.warns(UserWarning, match=r"signal 9") as caught:
        found = pydarts.search_many(loader, config, 2, select, workers=1)
    whole = pydarts.search_many((BATCHES, BATCHES), config, 2, select, workers=0)
    assert found.status == "complete" and plain(found) == plain(whole)
    assert len(caught) == 1 and caught[0].filename == __file__


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is that of POSIX")
@pytest.mark.filterwarnings("ignore:a process ended")
def test_a_lost_task_goes_to_a_process_that_is_idle(tmp_path: Path) -> None:
    late = threading.Timer(60.0, _thread.interrupt_main)
    late.start()
    try:
        shared = pickle.dumps(str(tmp_path))
        found = dict(workers.run_in_processes(kill_once, shared, [0, 1], 2, 1, lambda *_: None))
    finally:
        late.cancel()
    assert found == {0: 0, 1: 1}


def kill_once(task: int, folder: str, tell: Any) -> int:
    """Do the task; the process of the second one is killed after the first is done."""
    done, killed = Path(folder, "done"), Path(folder, "killed")
    if task == 0:
        done.touch()
    elif not killed.exists():
        while not done.exists():
            time.sleep(0.01)
        time.sleep(1.0)  # the first process is idle by now
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is that of POSIX")
@pytest.mark.filterwarnings("ignore:a process ended")
def test_a_row_whose_process_is_killed_three_times_fails_alone(tmp_path: Path) -> None:
    loader = (Fatal(BATCHES, tmp_path, 3), BATCHES)
    found = pydarts.search_many(loader, make_config(**FIXED), 1, short(**FIXED), workers=1, random=0)
    assert [row.status for row in found] == ["failed"]
    assert found[0].error == "its process ended with signal 9 (Killed), 3 times"


# ---- stopped and started again

EPOCHS = 40  # so many that a search is not over before another process sees its first checkpoint


# Without `if __name__ == "__main__"`: arrays need none.
SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import pydarts
from conftest import make_config
from many import X, y, short

config = make_config(epochs={epochs}, checkpoint_dir={folder!r})
print(pydarts.search_many((X, y), config, {seeds}, short(epochs=2), random=1, workers={workers}))
"""


def started(folder: Path, epochs: int, seeds: int, workers: int) -> subprocess.Popen[str]:
    """The searches that are stopped."""
    script = folder.with_name("script.py")
    tests = str(Path(__file__).parent)
    fields = {"tests": tests, "epochs": epochs, "folder": str(folder), "seeds": seeds, "workers": workers}
    script.write_text(SCRIPT.format(**fields))
    return subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180.0
    while not there():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for_the_end_of(workers: list[int]) -> None:
    deadline = time.monotonic() + 60.0
    while not all(gone(pid) for pid in workers):
        assert workers and time.monotonic() < deadline, "a search goes on that nobody waits for"
        time.sleep(0.01)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes as Linux shows them")
def test_killed_halfway_it_goes_on_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "many"
    process = started(folder, EPOCHS, 2, 1)
    try:
        wait_for(lambda: any((folder / "seed-1" / "checkpoints").glob("*.safetensors")), process)
        workers = children(process.pid)
    finally:
        process.kill()
        process.communicate()
    wait_for_the_end_of(workers)
    assert not (folder / "seed-1" / "result.json").exists(), "it wrote on when nobody waited for it"
    assert [row.status for row in SearchTable.load(folder / "table.csv")] == ["complete"] + 2 * ["waiting"]
    config = make_config(epochs=EPOCHS, checkpoint_dir=folder)
    with pytest.raises(pydarts.CheckpointError, match="resume=True"):
        pydarts.search_many((X, y), config, 2, short(), random=1, workers=0)
    for changes in ({"config": config.replace(channels=4)}, {"select": short(epochs=4)}):
        chosen = {"config": config, "select": short()} | changes
        with pytest.raises(pydarts.CheckpointError, match=r"channels|epochs"):
            pydarts.search_many(
                (X, y), chosen["config"].replace(resume=True), 2, chosen["select"], random=1, workers=0
            )
    done = recorded(monkeypatch)
    found = pydarts.search_many((X, y), config.replace(resume=True), 2, short(), random=1, workers=0)
    assert {name for name, _, _ in done} == {"seed 1", "random 0"}
    assert ("seed 1", "search", 1) not in done and ("seed 1", "training", 2) in done
    whole = pydarts.search_many((X, y), make_config(epochs=EPOCHS), [1], short(), random=1, workers=0)
    assert plain(found)[1:] == plain(whole)
    assert SearchTable.load(folder / "table.csv") == found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes as Linux shows them")
def test_ctrl_c_leaves_what_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    process = started(folder, 100_000, 3, 2)
    try:
        for seed in (0, 1):
            path = folder / f"seed-{seed}" / "checkpoints"
            wait_for(lambda path=path: any(path.glob("*.safetensors")), process)  # type: ignore[misc]
        workers = children(process.pid)
        process.send_signal(signal.SIGINT)
        shown, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in errors, errors
    wait_for_the_end_of(workers)
    assert len(re.findall(r"^seed [01] +interrupted", shown, re.MULTILINE)) == 2
    assert len(re.findall(r"^(seed 2|random 0) +waiting", shown, re.MULTILINE)) == 2
    assert SearchTable.load(folder / "table.csv").status == "interrupted"
    for seed in (0, 1):
        assert pydarts.SearchResult.load(folder / f"seed-{seed}").status == "interrupted"
