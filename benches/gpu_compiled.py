"""The compiled side of gpu.py in a process of its own, which can be ended while it compiles.

It reads commands, a JSON object per line: {"prepare": SETTING} compiles the step of a setting and answers
with its first losses and the seconds that this took, or with why it cannot; {"step": true} takes one and
answers with its seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import begin
from sides import Setting, build, prepare


class Compiled:
    """That process, from outside."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(Path(__file__).resolve().parent), os.environ.get("PYTHONPATH", "")])
        self._cache = TemporaryDirectory()  # else the time to compile would be that of an earlier cache
        self._process = subprocess.Popen(
            [sys.executable, "-c", "import gpu; gpu.stand_in(); import gpu_compiled; gpu_compiled.main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": self._cache.name, "PYTHONPATH": path},
            start_new_session=True,  # a compiler's own processes end with it
        )
        self._asked: Setting | None = None
        self.hopeless = ""  # why there is no such process any more

    def ask(self, setting: Setting) -> None:
        """Begin to prepare a setting, unless that has begun."""
        if not self.hopeless and self._asked != setting:
            self._asked = setting
            self._send({"prepare": setting.to_json()})

    def ready(self, limit: float) -> dict[str, Any]:
        """The answer of the process: {"losses": ..., "seconds": ...} or {"fails": ...}."""
        if self.hopeless:
            return {"fails": self.hopeless}
        answer = self._read(limit)
        if answer is None:
            why = f"not compiled within {limit:.0f} s"
            self.close(why)
            return {"fails": why}
        return answer

    def step(self) -> float:
        """Seconds of a step of the setting that is ready."""
        self._send({"step": True})
        answer = self._read(60.0)
        if answer is None or "seconds" not in answer:
            self.close("did not take a step within 60 s" if answer is None else answer["fails"])
            raise RuntimeError(f"the compiled side: {self.hopeless}")
        return float(answer["seconds"])

    def close(self, why: str = "closed") -> None:
        """End the process and those that it began."""
        if self.hopeless:
            return
        self.hopeless = why
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._cache.cleanup()

    def _send(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer that is missing tells
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()

    def _read(self, limit: float) -> dict[str, Any] | None:
        """The next answer; None if there is none within `limit` seconds."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(max(limit, 0.0)):
                return None
        line = self._process.stdout.readline()
        if not line:
            return {"fails": f"the process ended with exit code {self._process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer


def prepared(setting: Setting) -> tuple[Any, dict[str, Any]]:
    """A compiled step, and the answer to the command."""
    prepare(setting)
    begun = time.perf_counter()
    try:
        step = build("compiled", setting)
        losses = step()
        step(), step()  # the first two steps compile
    except Exception as error:  # what the compiler cannot do is a result
        lines = str(error).strip().splitlines() or [""]
        return None, {"fails": f"{type(error).__name__}: {lines[0][:160]}"}
    return step, {"losses": losses, "seconds": time.perf_counter() - begun}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a compiler prints is no answer
    step, device = None, "cpu"
    for line in sys.stdin:
        command = json.loads(line)
        if "prepare" in command:
            setting = Setting.from_json(command["prepare"])
            device = setting.device
            step, answer = prepared(setting)
        else:
            assert step is not None
            end = begin(device)
            step()
            answer = {"seconds": end()}
        print(json.dumps(answer), file=answers, flush=True)
