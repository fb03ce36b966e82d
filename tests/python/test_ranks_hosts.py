"""One search on two hosts: network namespaces with names and addresses of their own, which need root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydarts
import pytest

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("unshare"),
        reason="needs root, ip and unshare",
    ),
]
SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "ranks.py"
_NAME = f"pydarts{os.getpid()}"

Start = Callable[..., subprocess.Popen[str]]


def run(*command: str) -> None:
    subprocess.run(command, check=True)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Start]:
    """Start a command on host 0 or 1; the hosts are called host0 and host1."""
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n10.77.0.1 host0\n10.77.0.2 host1\n")
    run("ip", "link", "add", f"{_NAME}a", "type", "veth", "peer", "name", f"{_NAME}b")
    started: list[subprocess.Popen[str]] = []
    try:
        for number, end in enumerate("ab"):
            space, link = f"{_NAME}-{number}", f"{_NAME}{end}"
            run("ip", "netns", "add", space)
            run("ip", "link", "set", link, "netns", space)
            run("ip", "-n", space, "addr", "add", f"10.77.0.{number + 1}/24", "dev", link)
            run("ip", "-n", space, "link", "set", "lo", "up")
            run("ip", "-n", space, "link", "set", link, "up")

        def start(number: int, *command: str, **environment: str) -> subprocess.Popen[str]:
            inside = f'mount --bind {tmp_path}/hosts /etc/hosts; hostname host{number}; exec "$@"'
            where = ["ip", "netns", "exec", f"{_NAME}-{number}", "unshare", "--uts", "--mount"]
            process = subprocess.Popen(
                [*where, "sh", "-c", inside, "sh", *command],
                env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            started.append(process)
            return process

        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()
        for number in range(2):  # with their ends of the link
            subprocess.run(["ip", "netns", "del", f"{_NAME}-{number}"], check=False)


def test_torchrun_searches_on_two_hosts(host: Start, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "host0:29500"]
    script = [str(SCRIPT), "--epochs", "1", "--out", str(tmp_path / "out")]
    both = [host(number, *torchrun, *meeting, *script) for number in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert pydarts.SearchResult.load(tmp_path / "out" / "result").environment["rank"] == "0 of 2"


def test_both_hosts_notice_that_their_link_is_cut(host: Start, tmp_path: Path) -> None:
    script = [sys.executable, str(SCRIPT), "--epochs", "1000", "--out", str(tmp_path / "out")]
    meeting = {"MASTER_ADDR": "host0", "MASTER_PORT": "29500", "WORLD_SIZE": "2"}
    both = [host(number, *script, RANK=str(number), **meeting) for number in range(2)]
    begun = time.monotonic()
    while not (tmp_path / "out" / "checkpoints").exists():
        assert time.monotonic() - begun < 120 and all(process.poll() is None for process in both)
        time.sleep(0.1)
    run("ip", "-n", f"{_NAME}-1", "link", "set", f"{_NAME}b", "down")
    begun = time.monotonic()
    said = [process.communicate(timeout=150)[0] for process in both]
    assert time.monotonic() - begun < 120
    assert all(process.returncode == 1 for process in both), said
    assert "RankError: rank 1 of 2 died" in said[0] and "from the machine of rank 0" in said[1], said
