"""Ctrl-C in a terminal and an interrupt of a Jupyter kernel end a search with its partial result.

Run as a script with the name of a source, this file is the search that is interrupted.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

PATIENCE = 90.0  # seconds for a process to start and take some steps
SLACK = 5.0  # times the measured duration of the same work, for a busy machine
SHUTDOWN = 20.0  # seconds for a kernel to shut down
STEPS = 4  # per epoch


class Announced(list[tuple[torch.Tensor, torch.Tensor]]):
    """Batches that tell when a pass over them begins."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        print("\n<pass>", flush=True)
        return super().__iter__()


def announce_handler() -> None:
    """Print `<ready>` as soon as the handler of SIGINT is another one than now."""
    before = signal.getsignal(signal.SIGINT)

    def watch() -> None:
        while signal.getsignal(signal.SIGINT) is before:
            time.sleep(0.002)
        print("\n<ready>", flush=True)

    threading.Thread(target=watch, daemon=True).start()


def report(source: str) -> None:
    """Search until interrupted, then print the outcome and the times to compare it with."""
    loaded = time.monotonic()
    generator = np.random.default_rng(0)
    X, y = generator.integers(0, 256, (256, 3, 16, 16)).astype(np.uint8), np.arange(256) % 4
    data: Any = (X, y)
    tensors = TensorDataset(torch.from_numpy(X).float() / 255, torch.from_numpy(y))
    if source == "loader":
        data = DataLoader(tensors, batch_size=32, shuffle=True, num_workers=2)
    elif source == "batches":
        batches = [tensors[start : start + 32] for start in range(0, 128, 32)]
        data = (batches, batches)
    config = pydarts.SearchConfig(
        channels=4,
        layers=3,
        nodes=2,
        num_classes=4,
        in_channels=3,
        image_size=16,
        epochs=10_000,
        batch_size=32,
        hypergradient="unrolled",
        device="cpu",
    )
    if source == "text":
        data = tuple(generator.integers(0, 50, 8 * (10 * STEPS + 1)) for _ in range(2))
        config = pydarts.SearchConfig(
            space="darts-rnn",
            units=32,
            bptt=10,
            batch_size=8,
            num_classes=50,
            epochs=10_000,
            hypergradient="unrolled",
            device="cpu",
        )
    ends: list[float] = []
    epochs: list[int] = []

    class Clock(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            ends.append(time.monotonic())
            print(f"\n<step {info.step}>", flush=True)

        def on_epoch(self, info: pydarts.EpochInfo) -> None:
            epochs.append(info.epoch)

    began = time.monotonic()
    pydarts.search(data, config.replace(epochs=1))
    epoch = time.monotonic() - began
    if source == "batches":
        data = (Announced(batches), Announced(batches))
    announce_handler()
    result = pydarts.search(data, config, Clock())
    returned = time.monotonic()
    told = {
        "status": result.status,
        "loaded": loaded,
        "epoch": epoch,
        "returned": returned,
        "ends": ends,
        "steps": result.steps[-1],
        "epochs": len(result.history),
        "heard": len(epochs),
        "finite": all(bool(np.isfinite(trajectory).all()) for trajectory in result.alphas.values()),
        "genotype": str(result.genotype),
        "threads": [thread.name for thread in threading.enumerate() if "loader" in thread.name],
        "processes": len(multiprocessing.active_children()),
        "handler": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    }
    print(f"\n<told {json.dumps(told)}>", flush=True)


def steps_in(text: str) -> int:
    return len(re.findall(r"<step \d+>", text))


def told_in(text: str) -> dict[str, Any]:
    found = re.search(r"<told (\{.*?\})>", text, re.DOTALL)
    assert found, f"the search did not return; the output was:\n{text[-4000:]}"
    told: dict[str, Any] = json.loads(found[1].replace("\r", "").replace("\n", ""))
    return told


def assert_interrupted(told: dict[str, Any], asked: float) -> None:
    """The search returned a partial result after at most two steps, and in the time of a few epochs."""
    assert told["status"] == "interrupted"
    assert told["returned"] - asked < SLACK * told["epoch"]
    ends = told["ends"]
    late = sum(end > asked for end in ends)
    assert late <= 2, f"{late} steps ended after the interrupt: one may be under way, one about to begin"
    assert told["steps"] in (len(ends), len(ends) + 1)  # the interrupt may fall into a callback
    assert told["epochs"] in (told["heard"], told["heard"] + 1)
    assert told["finite"]
    assert told["genotype"].startswith("Genotype(")
    assert told["threads"] == []
    assert told["processes"] == 0


# ---------------------------------------------------------------------------------------------- a terminal


class Terminal:
    """A process in a pseudo-terminal of its own, as if somebody sat before it."""

    def __init__(self, command: list[str]) -> None:
        self.keyboard, screen = os.openpty()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        self.process = subprocess.Popen(
            command,
            stdin=screen,
            stdout=screen,
            stderr=screen,
            env=environment,
            start_new_session=True,
        )
        os.close(screen)
        self.text = ""

    def read_until(self, there: Callable[[str], bool]) -> None:
        """Read until `there` holds for the text, or to the end of the output."""
        deadline = time.monotonic() + PATIENCE
        while not there(self.text):
            assert time.monotonic() < deadline, f"nothing more comes; the output was:\n{self.text[-4000:]}"
            if select.select([self.keyboard], [], [], 0.1)[0]:
                try:
                    data = os.read(self.keyboard, 65536)
                except OSError:  # how Linux tells that the other side is closed
                    return
                if not data:
                    return
                self.text += data.decode(errors="replace")

    def type(self, keys: bytes) -> float:
        os.write(self.keyboard, keys)
        return time.monotonic()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.keyboard)


# the new session takes its standard input as its terminal, then becomes this file
LEADER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are those of POSIX")
@pytest.mark.parametrize(
    ("source", "steps"),
    [
        pytest.param("batches", 0, id="the first step"),
        pytest.param("arrays", 3, id="arrays"),
        pytest.param("text", 3, id="a text", marks=pytest.mark.long),
        pytest.param("loader", 3, id="a loader within its pass", marks=pytest.mark.long),
        pytest.param("loader", STEPS, id="a loader whose workers begin a new pass"),
    ],
)
def test_ctrl_c_in_a_terminal_brings_the_partial_result(source: str, steps: int) -> None:
    passes = 2 if source == "batches" else 0  # it trains and validates: now the first step begins
    launched = time.monotonic()
    terminal = Terminal([sys.executable, "-c", LEADER, __file__, source])

    def reached(text: str) -> bool:
        return steps_in(text) >= steps and text.count("<pass>") >= passes and "<ready>" in text

    try:
        terminal.read_until(reached)
        time.sleep(random.Random(source).uniform(0.0, 0.3))
        asked = terminal.type(b"\x03")
        terminal.read_until(lambda text: False)
        told = told_in(terminal.text)
        status = terminal.process.wait(PATIENCE)
        gone = time.monotonic()
    finally:
        terminal.close()
    assert status == 0, terminal.text[-4000:]
    assert_interrupted(told, asked)
    assert told["handler"]
    assert gone - told["returned"] < SLACK * (told["loaded"] - launched), "a thread delays the exit"
    assert "Traceback" not in terminal.text
    assert "Exception ignored" not in terminal.text


# ------------------------------------------------------------------------------------------------ a notebook


@pytest.fixture(scope="module")
def kernel() -> Iterator[tuple[Any, Any]]:
    """A kernel and its client, shut down in good order at the end."""
    pytest.importorskip("ipykernel")
    manager_of = pytest.importorskip("jupyter_client.manager")
    manager, client = manager_of.start_new_kernel(
        kernel_name="python3",
        startup_timeout=PATIENCE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "JUPYTER_PLATFORM_DIRS": "1"},
    )
    yield manager, client
    client.stop_channels()
    manager.request_shutdown()
    deadline = time.monotonic() + SHUTDOWN
    while manager.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = not manager.is_alive()
    manager.shutdown_kernel(now=True)
    assert ended, "something holds up the end of the kernel"


SHELTERED = """
import multiprocessing, signal, sys
from pydarts._data.interrupt import sheltered
def blocked():
    sys.exit(signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, []))
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    processes = [context.Process(target=blocked) for _ in range(2)]
    for process in processes:
        with sheltered(sys.argv[1]):
            process.start()
    for process in processes:
        process.join()
    print([process.exitcode for process in processes])
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signal masks are POSIX's")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_no_process_that_is_started_sheltered_sees_ctrl_c(method: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SHELTERED)
    done = subprocess.run(
        [sys.executable, str(script), method], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout == "[0, 0]\n", done.stderr


class Cell:
    """A cell under way: what it prints, and how it ends."""

    def __init__(self, client: Any, code: str) -> None:
        self.client, self.text, self.idle = client, "", False
        self.id = client.execute(code)

    def read_until(self, there: Callable[[str], bool]) -> None:
        """Read until `there` holds for the text, or the cell is done."""
        deadline = time.monotonic() + PATIENCE
        while not self.idle and not there(self.text):
            message = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            if message["parent_header"].get("msg_id") != self.id:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                self.text += content["text"]
            elif message["msg_type"] == "error":
                self.text += "\n".join(content["traceback"])
            self.idle = message["msg_type"] == "status" and content["execution_state"] == "idle"

    def status(self) -> str:
        """ "ok" or "error"."""
        self.read_until(lambda text: False)
        while True:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == self.id:
                return str(reply["content"]["status"])


@pytest.mark.parametrize(("source", "steps"), [("arrays", 3), ("loader", STEPS)], ids=["arrays", "a loader"])
def test_an_interrupt_of_a_notebook_brings_the_partial_result(
    kernel: tuple[Any, Any], source: str, steps: int
) -> None:
    manager, client = kernel
    here = Path(__file__)
    cell = Cell(
        client,
        f"import sys; sys.path.insert(0, {str(here.parent)!r})\n"
        f"from {here.stem} import report\nreport({source!r})\nprint('and on it goes')",
    )
    cell.read_until(lambda text: steps_in(text) >= steps)
    time.sleep(random.Random(source).uniform(0.0, 0.2))
    manager.interrupt_kernel()
    asked = time.monotonic()  # the signal was sent by now
    assert cell.status() == "ok", cell.text[-4000:]
    assert "and on it goes" in cell.text
    assert_interrupted(told_in(cell.text), asked)
    again = Cell(client, "print(6 * 7)")
    assert again.status() == "ok"
    assert again.text == "42\n"


if __name__ == "__main__":
    report(sys.argv[1])
