"""The order of updates and the optimisers of α and w, against plain PyTorch and through a whole search."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from parity import METHODS, SETUPS, assert_steps_agree

FAST: dict[str, Any] = {
    "channels": 2, "layers": 3, "nodes": 1, "batch_size": 8, "progress": False, "device": "cpu",
    "record": "step", "operations": ["none", "skip_connect", "conv_1x1"],
}  # fmt: skip
SETUP = SETUPS["two nodes of three, turned round"]


def images(n: int = 48) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, 1, 6, 6)).astype("float32"), generator.integers(3, size=n)


def search(**options: Any) -> pydarts.SearchResult:
    return pydarts.search(images(), pydarts.SearchConfig(**FAST | options))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "options",
    [
        {"order": "weights_first"},
        {"weight_nesterov": True},
        {"arch_optimizer": "sgd", "arch_lr": 0.3, "arch_weight_decay": 0.1},
        {"arch_grad_clip": 1e-3, "arch_optimizer": "sgd", "arch_lr": 0.3},
    ],
    ids=["weights first", "nesterov", "sgd", "clip"],
)
def test_five_steps_with_each_option_follow_the_reference(method: str, options: dict[str, Any]) -> None:
    assert_steps_agree(SETUP, 5, method, **options)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_five_single_level_steps_follow_the_reference(optimizer: str) -> None:
    assert_steps_agree(SETUP, 5, "single_level", arch_optimizer=optimizer, arch_lr=0.03)


def test_the_order_of_updates_changes_alpha() -> None:
    first, second = (
        search(epochs=1, order=order).alphas["normal"] for order in ("arch_first", "weights_first")
    )
    assert np.array_equal(first[0], second[0])
    assert not np.array_equal(first[1], second[1])


def test_single_level_needs_no_validation_batches_and_moves_alpha() -> None:
    class Counting(list):  # type: ignore[type-arg]
        passes = 0

        def __iter__(self) -> Any:
            self.passes += 1
            return super().__iter__()

    x, y = images()
    train = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 32, 8)]
    valid = Counting([(x[32:40], y[32:40]), (x[40:], y[40:])])
    config = pydarts.SearchConfig(**FAST | {"epochs": 2, "hypergradient": "single_level", "num_classes": 3})
    result = pydarts.search((train, valid), config)
    assert np.abs(result.alphas["normal"][-1] - result.alphas["normal"][0]).max() > 1e-4
    bilevel = Counting(valid)
    pydarts.search((train, bilevel), config.replace(hypergradient="first_order"))
    assert valid.passes < bilevel.passes


def test_alpha_moves_in_every_nth_step_only() -> None:
    alphas = search(epochs=2, arch_every=4).alphas["normal"]
    moved = [not np.array_equal(before, after) for before, after in pairwise(alphas)]
    assert moved == [step % 4 == 0 for step in range(len(moved))]


def test_trap_5_11_the_learning_rate_changes_within_an_epoch_on_request() -> None:
    class Rates(pydarts.Callback):
        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_step(self, info: pydarts.StepInfo) -> None:
            self.seen.append(info.learning_rate)

    for schedule in ("epoch", "step"):
        rates = Rates()
        config = pydarts.SearchConfig(**FAST | {"epochs": 2, "weight_lr_schedule": schedule})
        pydarts.search(images(), config, callbacks=[rates])
        steps = len(rates.seen) // 2
        times = [index / steps if schedule == "step" else index // steps for index in range(2 * steps)]
        expected = [0.001 + 0.024 * (1 + math.cos(math.pi * time / 2)) / 2 for time in times]
        assert rates.seen == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("deviation", "mean"), [(0.0, 0.0), (0.01, 1.0)])
def test_initial_logits_have_the_given_distribution(deviation: float, mean: float) -> None:
    given = ("normal", deviation) if mean == 0.0 else ("normal", deviation, mean)
    drawn = search(epochs=1, arch_init=given, arch_lr=0.0, arch_weight_decay=0.0).alphas["normal"][0]
    published = search(epochs=1).alphas["normal"][0]
    assert drawn == pytest.approx(mean + deviation / 1e-3 * published.astype(float), rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"order": "weights_first", "weight_nesterov": True, "weight_lr_schedule": "step"},
        {"hypergradient": "single_level", "arch_optimizer": "sgd", "arch_lr": 0.1},
        {"arch_every": 3, "arch_grad_clip": 0.01, "hypergradient": "unrolled"},
    ],
)
def test_a_search_resumes_in_the_middle_of_an_epoch_bit_for_bit(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    class Interrupt(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            if info.step == 4:
                raise KeyboardInterrupt

    whole = search(epochs=3, **options)
    stopped = pydarts.SearchConfig(**FAST | options | {"epochs": 3, "checkpoint_dir": str(tmp_path)})
    cut = pydarts.search(images(), stopped, callbacks=[Interrupt()])
    assert cut.status == "interrupted"
    again = pydarts.search(images(), stopped.replace(resume=True))
    assert all(np.array_equal(whole.alphas[name], again.alphas[name]) for name in whole.alphas)


@pytest.mark.parametrize(
    "options",
    [
        {"arch_init": ("uniform", 1.0)},
        {"arch_init": ("normal", -1.0)},
        {"arch_init": "normal"},
        {"arch_optimizer": "rmsprop"},
        {"arch_grad_clip": 0.0},
        {"order": "both"},
        {"order": "weights_first", "hypergradient": "single_level"},
        {"arch_every": 0},
        {"weight_lr_schedule": "batch"},
        {"hypergradient": {"name": "unrolled", "terms": 3}},
    ],
)
def test_values_out_of_range_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(pydarts.ConfigError, match=next(iter(options))):
        pydarts.SearchConfig(**options)


def test_a_rate_by_step_needs_a_loader_with_a_length() -> None:
    x, y = images()

    class Endless:
        def __iter__(self) -> Any:
            return iter([(x[:8], y[:8]), (x[8:16], y[8:16])])

    config = pydarts.SearchConfig(**FAST | {"epochs": 1, "weight_lr_schedule": "step", "num_classes": 3})
    with pytest.raises(pydarts.ConfigError, match="weight_lr_schedule"):
        pydarts.search((Endless(), [(x[16:24], y[16:24])]), config)
