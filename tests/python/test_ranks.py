"""One search on several ranks: equal to micro-batches in one process, and ended together."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
import torch.distributed as dist
from pydarts import SearchConfig
from ranked import on_ranks, values
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

X = np.random.default_rng(0).normal(size=(67, 1, 8, 8))
y = np.arange(67) % 3
SMALL: dict[str, Any] = {
    "channels": 2, "layers": 3, "nodes": 2, "epochs": 2, "batch_size": 11, "precision": "float64",
    "progress": False, "record": "step", "weight_lr": 0.1, "arch_lr": 0.01,
}  # fmt: skip


class Own(nn.Module):
    """A network with dropout, batch norm and a count."""

    def __init__(self) -> None:
        super().__init__()
        self.first = pydarts.nn.Choice(
            {
                "conv": nn.Conv2d(1, 4, 3, padding=1),
                "wide": nn.Conv2d(1, 4, 5, padding=2),
            }
        )
        self.norm, self.dropout, self.last = nn.BatchNorm2d(4), nn.Dropout(0.3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.dropout(self.norm(self.first(x)).relu().mean((2, 3))))


def seen(result: pydarts.SearchResult) -> dict[str, Any]:
    """What is compared of a result."""
    return {
        "alphas": {name: torch.from_numpy(values) for name, values in result.alphas.items()},
        "state": dict(result.state_dict),
        "history": [(r.train_loss, r.valid_loss, r.valid_accuracy, dict(r.metrics)) for r in result.history],
        "status": result.status,
        "architecture": result.architecture,
    }


def computed(result: pydarts.SearchResult) -> int:
    return int(result.environment["examples computed"])


def searched(**changes: Any) -> dict[str, Any]:
    return seen(pydarts.search((X, y), SearchConfig(**SMALL | changes)))


def searched_own(**changes: Any) -> dict[str, Any]:
    """A search of a network of one's own, whose initial weights differ by rank."""
    torch.manual_seed(dist.get_rank() if dist.is_initialized() else 0)
    options = {name: value for name, value in SMALL.items() if name not in ("channels", "layers", "nodes")}
    config = SearchConfig(**options | changes)
    metric = lambda output, targets: (output.argmax(1) != targets).double().mean()  # noqa: E731
    return seen(pydarts.search((X.astype("float64"), y), config, network=Own(), metric=metric))


def near(one: Any, other: Any, what: str = "", tolerance: float = 1e-12) -> None:
    """Compare to a tolerance relative to the largest value."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            near(one[name], other[name], f"{what}.{name}", tolerance)
    elif isinstance(one, Tensor):
        scale = max(1.0, float(other.double().abs().max())) if other.numel() else 1.0
        assert one.shape == other.shape and float((one - other).double().abs().max()) <= tolerance * scale, (
            what
        )
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            near(a, b, f"{what}[{place}]", tolerance)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=tolerance, abs=0), what
    else:
        assert one == other, what


class Nested(pydarts.Callback):
    """Searches in a callback, which rank 0 alone calls."""

    def on_epoch(self, info: pydarts.EpochInfo) -> None:
        assert pydarts.search((X, y), SearchConfig(**SMALL | {"epochs": 1})).status == "complete"


def several() -> list[dict[str, Any]]:
    """Searches one after the other on the same ranks."""
    result = pydarts.search((X, y), SearchConfig(**SMALL | {"epochs": 1}), Nested())
    # Batches of 11 are divided into 5 and 6; a step has two, and an epoch three steps.
    assert computed(result) == 2 * 3 * (5 + dist.get_rank())
    with pytest.raises(pydarts.ConfigError, match="process group"):
        pydarts.search_many((X, y), SearchConfig(**SMALL), seeds=1)
    return [
        searched(hypergradient="unrolled_exact", relaxation="gumbel"),
        searched_own(hypergradient="unrolled"),
    ]


def test_ranks_equal_one_process_with_micro_batches(tmp_path: Path) -> None:
    found = values(on_ranks(tmp_path, 2, several))
    near(found[0], found[1])
    expected = [
        searched(hypergradient="unrolled_exact", relaxation="gumbel", micro_batch=6),
        searched_own(hypergradient="unrolled", micro_batch=6),
    ]
    near(found[0], expected)


def loaded(sampled: bool) -> dict[str, Any]:
    """A search by loaders, whose examples are numbered, with the numbers that this rank saw."""
    numbers: list[int] = []

    class Seen(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            numbers.append(index)
            return super().__getitem__(index)

    data = Seen(torch.from_numpy(X), torch.from_numpy(y))
    train: Any = DistributedSampler(data) if sampled else None
    loaders = (
        DataLoader(data, 4, sampler=train, shuffle=None if sampled else True, drop_last=True),
        DataLoader(TensorDataset(*data.tensors), 4),
    )
    options = SMALL | {"epochs": 2, "num_classes": 3}
    del options["batch_size"]
    result = pydarts.search(loaders, SearchConfig(**options))
    return {"numbers": numbers, "result": seen(result)}


def test_a_loader_is_shared_and_a_distributed_sampler_respected(tmp_path: Path) -> None:
    for sampled in (False, True):
        found = values(on_ranks(tmp_path, 2, loaded, sampled))
        near(found[0]["result"], found[1]["result"])
        assert (
            len(found[0]["result"]["alphas"]["normal"]) == 2 * 8 + 1
        )  # of 67 examples 33 per rank, 4 per batch
        one, other = (rank["numbers"][-32:] for rank in found)  # of the last pass
        assert not {*one} & {*other} and len({*one}) == len({*other}) == 32
        assert one != found[0]["numbers"][-64:-32]  # every pass has an order of its own


class Failing(nn.Module):
    """Fails, or is interrupted, in a forward pass of one rank."""

    def __init__(self, rank: int, how: str) -> None:
        super().__init__()
        self.own, self.rank, self.how, self.passes = Own(), rank, how, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        if self.passes == 14 and dist.get_rank() == self.rank:
            if self.how == "raise":
                raise ValueError("this layer is broken")
            os.kill(os.getpid(), signal.SIGINT)
        return self.own(x)


def failures() -> list[tuple[str, Any]]:
    """Searches that fail on one rank, one after the other in the same processes."""
    found: list[tuple[str, Any]] = []
    for rank in (0, 1):
        for how in ("raise", "interrupt"):
            options = {
                name: SMALL[name] for name in ("epochs", "batch_size", "precision", "progress", "record")
            }
            begun = time.monotonic()
            try:
                network = Failing(rank, how)
                result = pydarts.search((X, y), SearchConfig(**options), network=network)
                found.append((result.status, seen(result)["alphas"]))
            except Exception as error:
                partial: Any = error.result  # type: ignore[attr-defined]
                found.append((f"{type(error).__name__}: {error}", seen(partial)["alphas"]))
            assert time.monotonic() - begun < 20
    total = torch.ones(1)
    dist.all_reduce(total)  # the group of the user is as it was
    found.append(("sum", float(total)))
    return found


def test_a_failure_on_one_rank_ends_all_with_the_same_partial_result(tmp_path: Path) -> None:
    one, other = values(on_ranks(tmp_path, 2, failures))
    for (own, alphas), (theirs, others), failing in zip(one[:4], other[:4], (0, 0, 1, 1), strict=True):
        near(alphas, others)
        if own == "interrupted" or theirs == "interrupted":
            assert own == theirs
            continue
        first, second = (own, theirs) if failing == 0 else (theirs, own)
        assert first == "ValueError: this layer is broken"
        assert second.startswith("RankError") and f"rank {failing} " in second and "broken" in second
    assert one[4] == other[4] == ("sum", 2.0)


def killed(folder: Path) -> Any:
    """A search in which rank 1 kills itself in its third step, once in a folder."""

    class Loader:
        sharded = True

        def __len__(self) -> int:
            return 6

        def __iter__(self) -> Any:
            for number in range(6):
                if number == 3 and dist.get_rank() == 1 and not (folder / "killed").exists():
                    (folder / "killed").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                yield torch.from_numpy(X[:4]), torch.from_numpy(y[:4])

    options = SMALL | {
        "checkpoint_dir": folder / "run",
        "checkpoint_every": 1,
        "resume": True,
        "num_classes": 3,
    }
    del options["batch_size"]
    try:
        return seen(pydarts.search((Loader(), Loader()), SearchConfig(**options)))
    except pydarts.RankError as error:
        return str(error)


@pytest.mark.long
def test_the_others_name_a_rank_that_dies_and_the_resumed_search_is_the_whole_one_bit_for_bit(
    tmp_path: Path,
) -> None:
    begun = time.monotonic()
    first, dead, third = on_ranks(tmp_path, 3, killed, tmp_path)
    assert dead.code == -signal.SIGKILL and (first.code, third.code) == (0, 0), (first.trace, third.trace)
    assert all("rank 1 of 3 died" in one.value for one in (first, third)), (first.value, third.value)
    assert time.monotonic() - begun < 60
    resumed = values(on_ranks(tmp_path, 3, killed, tmp_path))
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "killed").touch()  # so that nothing is killed
    for own, other in zip(resumed, values(on_ranks(tmp_path, 3, killed, whole)), strict=True):
        near(own, other, tolerance=0.0)
        assert own["status"] == "complete"


def endless(folder: Path, most: int | None) -> tuple[str, int]:
    """A search that says when a step is done and is interrupted after some: its status and last step."""

    class Steps(pydarts.Callback):
        done = 0

        def on_step(self, info: pydarts.StepInfo) -> None:
            (folder / "stepped").touch()
            self.done += 1
            if self.done == most:
                raise KeyboardInterrupt

    options = SMALL | {
        "checkpoint_dir": folder / "run",
        "checkpoint_every": 5,
        "resume": True,
        "epochs": 10_000,
    }
    try:
        result = pydarts.search((X, y), SearchConfig(**options), Steps())
    except pydarts.RankError as error:
        return str(error), error.result.steps[-1]  # type: ignore[attr-defined]
    return result.status, result.steps[-1]


@pytest.mark.long
@pytest.mark.parametrize("moment", range(10))
def test_a_rank_may_be_killed_at_any_moment(tmp_path: Path, moment: int) -> None:
    random = np.random.default_rng(moment)
    victim, delay = int(random.integers(3)), float(random.uniform(0, 4))
    killed_at: list[float] = []

    def kill(processes: Any) -> None:
        while not (tmp_path / "stepped").exists():
            assert all(process.is_alive() for process in processes)
            time.sleep(0.01)
        time.sleep(delay)
        processes[victim].kill()
        killed_at.append(time.monotonic())

    found = on_ranks(tmp_path, 3, endless, tmp_path, None, meanwhile=kill)
    assert time.monotonic() - killed_at[0] < 30
    assert found[victim].code == -signal.SIGKILL
    for rank, one in enumerate(found):
        if rank != victim:
            # Without rank 0 there is no store, which would know who is alive.
            named = "rank 0 of 3 has ended or died" if victim == 0 else f"rank {victim} of 3 died"
            assert one.code == 0 and named in one.value[0], (victim, one)
    reached = max(one.value[1] for rank, one in enumerate(found) if rank != victim)
    resumed = values(on_ranks(tmp_path, 3, endless, tmp_path, 12))
    assert [status for status, _ in resumed] == ["interrupted"] * 3
    assert len({step for _, step in resumed}) == 1 and resumed[0][1] > reached


def different() -> list[str]:
    """A search whose configuration differs by rank, and one whose arrays do."""
    found = []
    for changes, x in (({"seed": dist.get_rank()}, X), ({}, X[dist.get_rank() :])):
        try:
            pydarts.search((x, y[: len(x)]), SearchConfig(**SMALL | changes))
        except pydarts.Error as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


def test_ranks_with_different_configurations_or_data_are_refused(tmp_path: Path) -> None:
    first, second = values(on_ranks(tmp_path, 2, different))
    assert second[0].startswith("ConfigError: seed is 1 on rank 1 and 0 on rank 0")
    assert first[0].startswith("RankError: rank 1 of 2 failed: seed is 1")
    assert second[1].startswith("DataError: data.examples is 66 on rank 1 and 67 on rank 0")
    assert first[1].startswith("RankError: rank 1 of 2 failed: data.examples")
