"""No kernel that a step runs writes past its buffers: the allocator's own checks are the witness.

oneDNN's strided 1x1 kernels did, for few channels in the channels-last layout on one thread, and killed the
interpreter some steps later.
"""

import os
import subprocess
import sys

import pytest

STEPS = """
import torch, pydarts
operations = ("none", "skip_connect", "max_pool_3x3", "avg_pool_3x3", "sep_conv_3x3", "dil_conv_5x5",
              "conv_1x1", "conv_3x3", "conv_7x1_1x7")
for channels in (1, 2, 3, 4, 8):
    for size in (8, 7):
        net = pydarts.Supernet(channels=channels, layers=3, nodes=1, operations=operations, num_classes=3,
                               in_channels=1, image_size=size)
        batch = torch.randn(8, 1, size, size), torch.arange(8) % 3
        for _ in range(12):
            net.step(batch, batch)
print("whole")
"""


@pytest.mark.parametrize("threads", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_many_steps_of_narrow_networks_leave_the_heap_whole(threads: str) -> None:
    # Passive: a thread that waits must not spin where the other needs its core.
    openmp = {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}
    environment = os.environ | openmp | {"MALLOC_CHECK_": "3"}
    ran = subprocess.run(
        [sys.executable, "-c", STEPS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "whole\n"), ran.stderr[-2000:]
