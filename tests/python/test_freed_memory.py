"""A search keeps freed memory in the process after its first step, and returns it at its end."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not (sys.platform == "linux" and platform.libc_ver()[0] == "glibc"),
    reason="only glibc's allocator is configured",
)

STEPS = """
import resource, sys, torch, pydarts
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
torch.set_num_threads(1)
config = pydarts.SearchConfig(channels=16, layers=3, image_size=32, hypergradient=sys.argv[1], device="cpu")
nets = [pydarts.Supernet(config=config) for _ in range(2)]
batch = torch.randn(16, 3, 32, 32), torch.arange(16) % 10
for index in range(2):
    nets[index].step(batch, batch)
held = resident()
nets.pop()
print(held - resident())
nets.pop()
print(held - resident())
"""


def returned(method: str, **environment: str) -> list[float]:
    """MiB that the process returns when the first and when the second of two networks is deleted."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("GLIBC_", "MALLOC_"))
    }
    ran = subprocess.run(
        [sys.executable, "-c", STEPS, method],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return [float(line) for line in ran.stdout.split()]


@pytest.mark.parametrize("method", ["first_order", pytest.param("unrolled_exact", marks=pytest.mark.long)])
def test_memory_is_kept_while_a_network_that_made_a_step_exists(method: str) -> None:
    first, both = returned(method)
    assert first < 50 and both > 200


def test_settings_of_the_users_own_are_left_alone() -> None:
    assert max(returned("unrolled_exact", GLIBC_TUNABLES="glibc.malloc.check=0")) < 100
