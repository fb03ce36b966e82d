"""experiments/: settings, measures on invented images and an invented table, and the page of findings."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from pages import ROOT
from pydarts.benchmarks import NASBench201
from tabulated import ARRAYS, write_npz

CONV = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|skip_connect~2|"


@pytest.fixture(scope="module")
def modules() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "experiments"))
        yield [importlib.import_module(name) for name in ("nas_bench_201", "one_shot", "findings")]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> NASBench201:
    return NASBench201(write_npz(tmp_path_factory.mktemp("table") / "table.npz", ARRAYS))


@pytest.fixture(scope="module")
def images() -> Any:
    rng = np.random.default_rng(1)
    y = np.arange(64) % 10
    x = rng.normal(size=(64, 3, 8, 8)).astype(np.float32)
    return (x[:32], y[:32]), (x[32:], y[32:])


def tiny(main: ModuleType) -> Any:
    return main.Sizes(images=64, side=8, channels=4, epochs=1, seeds=1, cells=3, scored=32)


def config(main: ModuleType, name: str) -> pydarts.SearchConfig:
    return main.config_of(main.Job("preset", name, 0), tiny(main)).replace(batch_size=16)


def test_one_run_serves_two_names_only_where_their_settings_are_equal(modules: Any) -> None:
    main, *_ = modules
    sizes = main.Sizes()
    for (kind, name), (other, same) in main.SAME.items():
        one = main.config_of(main.Job(kind, name, 1), sizes)
        two = main.config_of(main.Job(other, same, 1), sizes)
        assert one.replace(algorithm=None) == two.replace(algorithm=None)
    jobs = main.all_jobs(sizes)
    searches = len(main.PRESETS) + len(main.HYPERGRADIENTS) + len(main.RATES)
    assert len(jobs) == len({job.file for job in jobs}) == sizes.seeds * (searches + 2 - len(main.SAME))


@pytest.mark.parametrize("name", ["gdas", "pc_darts"])
def test_a_search_is_looked_up_epoch_by_epoch(
    modules: Any, bench: NASBench201, images: Any, name: str
) -> None:
    main, *_ = modules
    record = main.search(images, config(main, name), bench, tiny(main))
    assert record["cells"][-1] == record["cell"] and len(record["cells"]) == 2
    assert record["accuracies"] == [bench.accuracy(cell, "cifar10") for cell in record["cells"]]
    assert len(record["random_cells"]) == 3 and all(0 <= value <= 1 for value in record["random_cells"])


def test_both_ways_to_evaluate_a_cell_in_the_search_network_agree(modules: Any, images: Any) -> None:
    main, one_shot, _ = modules
    result = pydarts.search(images, config(main, "darts_first_order"))
    x = torch.from_numpy(images[1][0])
    built, masked = one_shot.inherited_logits(result)(CONV)(x), one_shot.partial_logits(result)(CONV)(x)
    torch.testing.assert_close(built, masked, rtol=1e-3, atol=1e-4)


def test_random_search_stays_within_the_cost_of_a_search(
    modules: Any, bench: NASBench201, images: Any
) -> None:
    main, one_shot, _ = modules
    settings = config(main, "darts_first_order")
    record = one_shot.random_search(images, settings, bench)
    net = pydarts.Supernet(config=settings.replace(num_classes=10, in_channels=3, image_size=8))
    spent = sum(one["multiply_adds"] for one in record["tried"])
    assert 0 < spent <= 2 * net.cost()["multiply_adds"]
    best = max(one["valid_accuracy"] for one in record["tried"])
    assert any(one["cell"] == record["cell"] and one["valid_accuracy"] == best for one in record["tried"])


def test_the_page_shows_the_summary(modules: Any) -> None:
    main, _, findings = modules
    summary = json.loads(Path(main.SUMMARY).read_text(encoding="utf-8"))
    page = findings.PAGE.read_text(encoding="utf-8")
    for name, make in findings.TABLES.items():
        shown = page.split(f"<!-- begin {name} -->", 1)[1].split(f"<!-- end {name} -->", 1)[0]
        assert shown.strip() == make(summary).strip(), name
    for name in findings.FIGURES:
        assert (findings.PICTURES / f"{name}.svg").exists()
