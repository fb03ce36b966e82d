"""Presets: published settings per space, scaled with the number of epochs; each runs and resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from pydarts import SearchConfig
from pydarts.algorithms import Linear, presets, table

NAMES = [preset.name for preset in presets()]
SMALL: dict[str, Any] = {
    "channels": 4, "layers": 3, "nodes": 2, "batch_size": 8, "epochs": 3, "progress": False, "device": "cpu",
    "record": "step", "seed": 1,
}  # fmt: skip
PUBLISHED = {
    "darts_first_order": {},
    "darts_second_order": {"hypergradient": "unrolled"},
    "darts_exact": {"hypergradient": "unrolled_exact"},
    "pc_darts": {
        "partial_channels": 4, "edge_normalization": True, "batch_size": 256, "weight_lr": 0.1,
        "weight_lr_min": 0.0, "arch_lr": 6e-4, "arch_start_epoch": 15, "epochs": 50,
    },
    "gdas": {
        "epochs": 250, "batch_size": 256, "weight_nesterov": True, "weight_decay": 5e-4,
        "order": "weights_first", "weight_lr_schedule": "step",
    },
    "snas": {
        "epochs": 150, "hypergradient": "single_level", "arch_optimizer": "sgd", "train_portion": 0.9,
        "drop_path": 0.3, "arch_init": ("normal", 0.01, 1.0),
    },
    "drnas": {"channels": 36, "layers": 20, "partial_channels": 6, "arch_lr": 6e-4, "arch_start_epoch": 10},
    "fair_darts": {
        "batch_size": 128, "weight_lr": 0.005, "arch_lr": 3e-3, "arch_betas": (0.9, 0.999),
        "arch_init": ("normal", 0.0),
    },
    "darts_minus": {"auxiliary_skip": Linear(1.0, 0.02)},
    "sdarts_rs": {"hypergradient": "first_order"},
    "sdarts_adv": {"hypergradient": "first_order"},
    "robust_darts": {"hypergradient": "unrolled", "weight_decay": 81e-4, "curvature_every": 2},
    "beta_darts": {"hypergradient": "first_order", "arch_weight_decay": 1e-3},
    "milenas": {"arch_lr": 3e-4},
    "random_ws": {"epochs": 100},
}  # fmt: skip


def images() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(48, 1, 8, 8)).astype("float32"), generator.integers(3, size=48)


def small(name: str, **changes: Any) -> SearchConfig:
    """A preset with sizes that take a second, and few samples where it evaluates architectures."""
    if name == "random_ws":
        changes["selection"] = pydarts.algorithms.Sampled(samples=4, batches=1, finalists=2, epoch_samples=2)
    if name == "snas":  # a tenth of the examples must be a batch
        changes["batch_size"] = 4
    return SearchConfig.preset(name, **SMALL | changes)


@pytest.mark.parametrize("name", NAMES)
def test_each_preset_has_its_published_settings(name: str) -> None:
    config = SearchConfig.preset(name)
    assert config.algorithm == name
    assert {field: getattr(config, field) for field in PUBLISHED[name]} == PUBLISHED[name]
    assert SearchConfig.from_json(config.to_json()) == config


NESTEROV = {"weight_nesterov": True, "weight_decay": 5e-4, "weight_lr_schedule": "step"}
PLAIN = {"weight_nesterov": False, "weight_decay": 3e-4, "weight_lr_schedule": "epoch"}
ON_NAS_BENCH_201: dict[str, dict[str, Any]] = {
    "darts_first_order": NESTEROV | {"epochs": 50, "order": "weights_first"},
    "darts_second_order": NESTEROV | {"epochs": 50, "order": "arch_first", "hypergradient": "unrolled"},
    "darts_exact": NESTEROV | {"epochs": 50, "hypergradient": "unrolled_exact"},
    "gdas": NESTEROV | {"epochs": 250, "order": "weights_first"},
    "drnas": PLAIN | {"epochs": 100, "partial_channels": 1, "arch_start_epoch": 0},
    "beta_darts": PLAIN | {"epochs": 100},
    "random_ws": NESTEROV | {"epochs": 250},
}
"""ALGORITHMS 1.2, 1.4, 1.15, 1.20 and 2.1; all with 16 channels, 5 cells per stage, batches of 64."""


@pytest.mark.parametrize("name", NAMES)
def test_presets_have_their_settings_on_nas_bench_201_or_none(name: str) -> None:
    if name not in ON_NAS_BENCH_201:
        with pytest.raises(pydarts.ConfigError, match=rf"{name}.*nas-bench-201"):
            SearchConfig.preset(name, space="nas-bench-201")
        return
    config = SearchConfig.preset(name, space="nas-bench-201")
    sizes = {"channels": 16, "layers": 5, "batch_size": 64, "weight_lr": 0.025, "weight_lr_min": 0.001}
    expected = ON_NAS_BENCH_201[name] | sizes | {"arch_lr": 3e-4, "arch_betas": (0.5, 0.999)}
    assert {field: getattr(config, field) for field in expected} == expected
    assert config.resolved_space == pydarts.Space.preset("nas-bench-201")
    if name == "beta_darts":
        [term] = config.arch_terms
        values = [term.weight.at(epoch, 100) for epoch in (0, 50, 99)]  # type: ignore[union-attr]
        assert values == pytest.approx([0, 25, 49.5], abs=1e-12)


def test_schedules_have_the_published_numbers() -> None:
    def of(name: str, epoch: int, epochs: int, /, **changes: Any) -> float:
        config = SearchConfig.preset(name, **changes)
        value: Any = {
            "gdas": lambda: config.relaxation.temperature,  # type: ignore[attr-defined]
            "snas": lambda: config.relaxation.temperature,  # type: ignore[attr-defined]
            "darts_minus": lambda: config.auxiliary_skip,
            "sdarts_rs": lambda: config.perturbation.epsilon,  # type: ignore[union-attr]
            "beta_darts": lambda: config.arch_terms[0].weight,  # type: ignore[attr-defined]
        }[name]()
        assert config.epochs == epochs
        return float(value.at(epoch, epochs))

    assert [of("gdas", e, 250) for e in (0, 1, 249)] == pytest.approx([10, 9.960241, 0.1], abs=1e-6)
    assert [of("snas", e, 150) for e in (0, 75, 149)] == pytest.approx([1, 0.515, 0.036467], abs=1e-6)
    assert [of("darts_minus", e, 50) for e in (0, 25, 49)] == pytest.approx([1, 0.5, 0.02], abs=1e-12)
    assert [of("sdarts_rs", e, 50) for e in (0, 25, 49)] == pytest.approx([0.03, 0.165, 0.2946], abs=1e-12)
    assert [of("beta_darts", e, 50) for e in (0, 10, 49)] == pytest.approx([0, 5, 24.5], abs=1e-12)
    assert [of("darts_minus", e, 10, epochs=10) for e in (0, 9)] == pytest.approx([1, 0.1], abs=1e-12)


@pytest.mark.parametrize(("epochs", "start"), [(50, 15), (100, 30), (10, 3), (3, 1), (2, 1), (1, 0)])
def test_a_warm_up_scales_and_leaves_an_epoch(epochs: int, start: int) -> None:
    assert SearchConfig.preset("pc_darts", epochs=epochs).arch_start_epoch == start


def test_values_that_are_given_are_literal() -> None:
    config = SearchConfig.preset("pc_darts", epochs=10, arch_start_epoch=0, partial_channels=2, seed=7)
    assert (config.arch_start_epoch, config.partial_channels, config.seed) == (0, 2, 7)


def test_none_is_a_value() -> None:
    assert SearchConfig.preset("robust_darts").stop is not None
    assert SearchConfig.preset("robust_darts", stop=None).stop is None
    assert SearchConfig.preset("darts_minus", auxiliary_skip=None).auxiliary_skip is None


def test_a_space_without_published_settings_needs_like() -> None:
    with pytest.raises(pydarts.ConfigError, match=r"pc_darts.*darts-1d"):
        SearchConfig.preset("pc_darts", space="darts-1d")
    assert SearchConfig.preset("pc_darts", space="darts-1d", like="darts").partial_channels == 4
    own = pydarts.Space(name="mine", operations=["none", "skip_connect", "sep_conv_3x3"])
    with pytest.raises(pydarts.ConfigError, match="mine"):
        SearchConfig.preset("fair_darts", space=own)
    config = SearchConfig.preset("fair_darts", space=own, like="darts")
    assert config.resolved_space.operations == ("none", "skip_connect", "sep_conv_3x3")
    assert SearchConfig.preset("darts_second_order", space="darts-rnn").weight_lr == 20.0


@pytest.mark.parametrize(
    ("error", "arguments", "fact"),
    [
        (pydarts.ConfigError, {"name": "pcdarts"}, "pc_darts"),
        (pydarts.ConfigError, {"name": "gdas", "like": "darts-rnn"}, "darts-rnn"),
        (pydarts.ConfigError, {"name": "gdas", "epochs": 0}, "epochs"),
        (TypeError, {"name": 3}, "3"),
    ],
)
def test_errors_name_what_was_wrong(error: type[Exception], arguments: dict[str, Any], fact: str) -> None:
    with pytest.raises(error, match=fact):
        SearchConfig.preset(**arguments)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_moves_alpha_in_a_run_of_three_epochs(name: str) -> None:
    result = pydarts.search(images(), small(name))
    assert result.status == "complete"
    moved = {table: np.abs(alpha[-1] - alpha[0]).max() for table, alpha in result.alphas.items()}
    assert all((distance > 0) == (name != "random_ws") for distance in moved.values()), moved
    assert result.genotype.kind == "convolutional"


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("darts_first_order", "random_ws")])
def test_alpha_differs_from_that_of_darts(name: str) -> None:
    sizes = SMALL | {"precision": "float64", "operations": pydarts.Space().operations[1:], "batch_size": 4}
    ours = pydarts.search(images(), SearchConfig.preset(name, **sizes))
    darts = pydarts.search(images(), SearchConfig(**sizes))
    shared = darts.alphas.keys()
    assert max(np.abs(ours.alphas[table][-1] - darts.alphas[table][-1]).max() for table in shared) > 1e-6


# The tests of the options cover resuming, too. One preset of each kind runs in `make test`, the others in
# `make test-long`.
KINDS = ("gdas", "snas", "sdarts_rs", "random_ws")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (name not in KINDS)) for name in NAMES]
)
def test_every_preset_resumes_within_an_epoch_bit_for_bit(name: str, tmp_path: Path) -> None:
    class Interrupt(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            if info.step == 4:
                raise KeyboardInterrupt

    whole = pydarts.search(images(), small(name))
    config = small(name, checkpoint_dir=str(tmp_path))
    assert pydarts.search(images(), config, callbacks=[Interrupt()]).status == "interrupted"
    again = pydarts.search(images(), config.replace(resume=True))
    assert all(np.array_equal(whole.alphas[table], again.alphas[table]) for table in whole.alphas)
    assert whole.genotype == again.genotype
    for one, other in zip(whole.history, again.history, strict=True):
        assert one.valid_loss == other.valid_loss
        assert one.diagnostics == other.diagnostics


def test_the_table_has_a_row_per_preset_and_names_what_differs() -> None:
    head, _, *rows = table().splitlines()
    assert [row.split("`")[1] for row in rows] == NAMES
    assert all(row.count("|") == head.count("|") for row in rows)
    row = next(row for row in rows if row.startswith("| `pc_darts`"))
    assert "partial_channels=4" in row and "edge_normalization=True" in row
