"""Batches that are left to the memory there is, and batches in parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from conftest import make_arrays, make_config
from pydarts import _core, search
from pydarts._data import memory


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What `free_memory` says; `bytes` can be set."""
    said = {"bytes": 1 << 40}
    monkeypatch.setattr(memory, "free_memory", lambda device: said["bytes"])
    return said


def test_a_batch_size_is_found_for_the_memory_there_is(free: dict[str, int]) -> None:
    config = make_config(batch_size="auto", epochs=1)
    assert pydarts.SearchConfig.from_json(config.to_json()).batch_size == "auto"
    arrays = make_arrays(100)  # halves of 50
    assert search(arrays, config).config.batch_size == 32
    assert search((arrays, make_arrays(20)), config).config.batch_size == 16
    net = pydarts.Supernet(num_classes=4, in_channels=1, image_size=8, config=make_config(batch_size=8))
    cost = net.cost()
    fixed = cost["bytes"] - 8 * cost["bytes_per_image"]
    free["bytes"] = int((fixed + 9 * cost["bytes_per_image"]) / 0.8)
    assert search(arrays, config).config.batch_size == 8
    free["bytes"] = fixed // 2
    with pytest.raises(pydarts.OutOfMemoryError, match="recompute"):
        search(arrays, config)


def test_a_search_goes_on_with_the_batch_size_it_began_with(free: dict[str, int], tmp_path: Path) -> None:
    config = make_config(batch_size="auto", epochs=1, checkpoint_dir=str(tmp_path))
    assert search(make_arrays(100), config).config.batch_size == 32
    free["bytes"] = 1
    result = search(make_arrays(100), config.replace(epochs=2, resume=True))
    assert result.config.batch_size == 32 and len(result.history) == 2


@pytest.mark.long
def test_searches_that_run_at_once_share_the_memory_and_a_resumed_one_keeps_its_batch(
    free: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_core, "fitting_batch", lambda config, most, memory, own: min(most, memory // 1000))
    arrays = make_arrays()
    free["bytes"] = 16_000

    def batches(workers: int, **changes: Any) -> set[Any]:
        config = make_config(batch_size="auto", epochs=1, **changes)
        select = pydarts.TrainConfig(epochs=1, batch_size=8, device="cpu", progress=False)
        table = pydarts.search_many(arrays, config, 2, select, workers=workers)
        assert table.status == "complete", [row.error for row in table]
        return {row.result.config.batch_size for row in table if row.result is not None}

    assert batches(0) == {16}
    assert batches(2, checkpoint_dir=str(tmp_path)) == {8}
    free["bytes"] = 1 << 40
    (tmp_path / "seed-1" / "result.json").unlink()
    assert batches(0, checkpoint_dir=str(tmp_path), resume=True) == {8}


def test_files_that_a_container_has_read_count_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(memory, "_available", lambda: 1000)
    assert memory.free_memory("cpu") == 1000
    (tmp_path / "memory.max").write_text("500\n")
    (tmp_path / "memory.current").write_text("450\n")
    assert memory.free_memory("cpu") == 50
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 300\nactive_file 20\n")
    assert memory.free_memory("cpu") == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_memory("cpu") == 1000


def test_the_free_memory_of_this_machine_is_a_plausible_number() -> None:
    assert 1 << 20 < memory.free_memory("cpu") < 1 << 50


def test_a_search_in_parts_is_another_search_through_batch_norm_alone() -> None:
    config = make_config(epochs=1, batch_size=12)
    whole, parted, same = (search(make_arrays(), config.replace(micro_batch=n)) for n in (None, 4, 12))
    assert np.array_equal(whole.alphas["normal"], same.alphas["normal"])
    assert not np.array_equal(whole.alphas["normal"], parted.alphas["normal"])
    ways = [(result.alphas["normal"][-1] - result.alphas["normal"][0]).ravel() for result in (whole, parted)]
    assert np.corrcoef(*ways)[0, 1] > 0.3, "both follow gradients of the same loss"
