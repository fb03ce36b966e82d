"""What goes wrong in a run: its loss, its checkpoints, memory and the engine; a row for each."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from pydarts import search
from rows import Rows

ROWS = Rows()
row = ROWS.row


# ---- losses


class Exploding:
    """A loss that is NaN from some call on: the fifth is that of α in the third step, the sixth that of w."""

    def __init__(self, value: float, since: int = 5) -> None:
        self.calls, self.value, self.since = 0, value, since

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        loss = torch.nn.functional.cross_entropy(logits, targets)
        return loss * self.value if self.calls >= self.since else loss


@row(pydarts.NumericalError, "validation loss.*NaN.*step 2")
def a_loss_that_becomes_nan(_: Path) -> object:
    return search(make_arrays(), make_config(), loss=Exploding(float("nan")))


@row(pydarts.NumericalError, "inf.*step 2")
def a_loss_that_becomes_infinite(_: Path) -> object:
    return search(make_arrays(), make_config(), loss=Exploding(float("inf")))


@row(pydarts.DataError, "scalar")
def a_loss_that_is_no_scalar(_: Path) -> object:
    return search(make_arrays(), make_config(), loss=lambda logits, targets: logits)


@row(pydarts.DataError, "logits")
def a_loss_that_has_left_the_graph(_: Path) -> object:
    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.tensor(torch.nn.functional.cross_entropy(logits, targets).item())

    return search(make_arrays(), make_config(), loss=loss)


# ---- checkpoints


def checkpoint(folder: Path, **changes: Any) -> Path:
    """Leave checkpoints of a short search; the newest one."""
    search(make_arrays(), make_config(checkpoint_dir=folder, **changes))
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name)


def resume(folder: Path, **changes: Any) -> object:
    return search(make_arrays(), make_config(checkpoint_dir=folder, resume=True, epochs=4, **changes))


@row(pydarts.CheckpointError, "truncated or damaged")
def a_truncated_checkpoint(folder: Path) -> object:
    newest = checkpoint(folder)
    newest.write_bytes(newest.read_bytes()[:-100])
    return resume(folder)


@row(pydarts.CheckpointError, "truncated or damaged")
def what_is_not_a_checkpoint(folder: Path) -> object:
    checkpoint(folder).write_bytes(b"a shopping list")
    return resume(folder)


@row(pydarts.CheckpointError, "space|operations|nodes")
def a_checkpoint_of_another_space(folder: Path) -> object:
    checkpoint(folder)
    return resume(folder, operations=("none", "skip_connect", "conv_1x1"))


@row(pydarts.CheckpointError, "`?arch_lr`?.*0.5.*0.0003")
def a_checkpoint_of_another_config(folder: Path) -> object:
    checkpoint(folder)
    return resume(folder, arch_lr=0.5)


@row(pydarts.CheckpointError, "resume=True")
def a_folder_that_holds_another_search(folder: Path) -> object:
    checkpoint(folder)
    return search(make_arrays(), make_config(checkpoint_dir=folder))


@row(pydarts.CheckpointError, "genotype.json")
def a_damaged_result(folder: Path) -> object:
    search(make_arrays(), make_config(epochs=1)).save(folder)
    (folder / "genotype.json").write_text("{")
    return pydarts.SearchResult.load(folder)


@row(FileNotFoundError, "nowhere")
def a_result_that_is_not_there(folder: Path) -> object:
    return pydarts.SearchResult.load(folder / "nowhere")


@row(OSError, "file")
def a_checkpoint_folder_that_cannot_be_made(folder: Path) -> object:
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text("in the way")
    return search(make_arrays(), make_config(checkpoint_dir=folder / "file" / "run"))


# ---- memory and the engine


@row(pydarts.OutOfMemoryError, r"estimates.*GiB.*batch_size=\d+")
def out_of_memory(folder: Path) -> object:
    code = """
        import resource, torch, numpy, pydarts
        torch.set_num_threads(1)
        cfg = pydarts.SearchConfig(
            channels=8, layers=3, nodes=2, epochs=1, batch_size=64, device="cpu", progress=False
        )
        X, y = numpy.zeros((256, 1, 64, 64), numpy.uint8), numpy.arange(256) % 4
        pydarts.search((X[:16, :, :8, :8].copy(), y[:16]), cfg.replace(batch_size=8))
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + 200 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            pydarts.search((X, y), cfg)
        except pydarts.OutOfMemoryError as error:
            print(error)
    """
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory can be limited on Linux only")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    raise pydarts.OutOfMemoryError(done.stdout)


@row(pydarts.EngineError, "libtorch")
def a_failure_inside_libtorch(_: Path) -> object:
    return search(make_arrays(), make_config(), loss=lambda logits, targets: logits.sum().to("meta"))


@row(pydarts.ConfigError, "inference_mode")
def a_search_where_nothing_has_gradients(_: Path) -> object:
    with torch.inference_mode():
        return search(make_arrays(), make_config())
