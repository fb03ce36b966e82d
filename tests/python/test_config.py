"""SearchConfig: fields, defaults, immutability, and the ways in and out."""

import copy
import inspect
import json
import pickle
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np
import pydarts
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydarts import SearchConfig, Space, _core, algorithms
from pydarts._values.fields import FIELDS, Method
from stubs import PATH, stub

RUST = _core.SearchConfig(space="darts").to_dict()

DESIGNED = {
    "space": "darts", "channels": 16, "layers": 8, "nodes": 4, "operations": None, "num_classes": None,
    "in_channels": None, "image_size": None, "epochs": 50, "batch_size": 64, "hypergradient": "first_order",
    "epsilon": 0.01, "weight_lr": 0.025, "weight_lr_min": 0.001, "weight_momentum": 0.9, "weight_decay": 3e-4,
    "grad_clip": 5.0, "arch_lr": 3e-4, "arch_betas": (0.5, 0.999), "arch_weight_decay": 1e-3,
    "arch_start_epoch": 0, "train_portion": 0.5, "augment": "none", "seed": 0, "device": "auto",
    "precision": "auto", "record": "epoch", "checkpoint_dir": None, "resume": False, "progress": True,
}  # fmt: skip


@pytest.mark.parametrize("field", DESIGNED)
def test_the_defaults_are_the_published_ones(field: str) -> None:
    assert getattr(SearchConfig(), field) == DESIGNED[field]


def test_the_rows_are_the_fields_of_rust_and_the_stub_is_current() -> None:
    assert [field.name for field in FIELDS] == list(RUST)
    assert PATH.read_text(encoding="utf-8") == stub()


def test_the_signature_shows_every_field_as_keyword_only_with_its_default() -> None:
    parameters = inspect.signature(SearchConfig).parameters
    assert list(parameters) == list(RUST)
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    assert {name: p.default for name, p in parameters.items()} == {
        name: getattr(SearchConfig(), name) for name in RUST
    }


def test_signature_and_attributes_have_types_without_aliases() -> None:
    hints = get_type_hints(SearchConfig)
    assert set(RUST) <= set(hints) and not any(isinstance(hint, str) for hint in hints.values())
    assert (
        hints["hypergradient"] == Method | algorithms.Hypergradient
        and hints["batch_size"] == int | Literal["auto"]
    )
    accepts = inspect.signature(SearchConfig).parameters
    assert accepts["batch_size"].annotation == int | Literal["auto"]
    assert accepts["device"].annotation == str | torch.device


def test_the_docstring_has_a_row_for_every_field_with_its_default() -> None:
    rows = {line.split()[0]: line for line in (SearchConfig.__doc__ or "").splitlines() if line.strip()}
    for name, value in RUST.items():
        if isinstance(value, dict):  # a variant: its name
            value = value["name"]
        shown = json.dumps(value) if isinstance(value, str) else str(getattr(SearchConfig(), name))
        if isinstance(value, float):
            assert float(rows[name].split()[1]) == value
        else:
            assert shown in rows[name], name


def test_arguments_are_keyword_only() -> None:
    with pytest.raises(TypeError):
        SearchConfig("darts")  # type: ignore[arg-type, call-arg]


def test_a_config_cannot_be_changed() -> None:
    config = SearchConfig()
    with pytest.raises(AttributeError, match="replace"):
        config.epochs = 3
    with pytest.raises(AttributeError):
        del config.epochs
    with pytest.raises(AttributeError, match="'epoch'"):
        config.epoch  # type: ignore[attr-defined]  # noqa: B018


def test_replace_changes_only_what_it_is_told() -> None:
    config = SearchConfig(layers=5, nodes=3)
    changed = config.replace(epochs=7)
    assert (changed.layers, changed.nodes, changed.epochs) == (5, 3, 7)
    assert config.epochs == 50


def test_replace_lets_untouched_fields_follow_the_space() -> None:
    space = Space(nodes=2, operations=["none", "skip_connect", "conv_1x1"])
    config = SearchConfig(epochs=9).replace(space=space)
    assert (config.nodes, config.epochs, config.space) == (2, 9, space)
    assert config.replace(space="darts") == SearchConfig(epochs=9)


def test_the_resolved_space_holds_nodes_and_operations() -> None:
    config = SearchConfig(nodes=2, operations=("none", "skip_connect"))
    assert config.resolved_space.nodes == 2
    assert config.resolved_space.operations == ("none", "skip_connect")
    assert config.resolved_space.concat == (2, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": 3, "hypergradient": "unrolled", "arch_betas": (0.9, 0.99)},
        {"image_size": (7, 9), "record": 5},
        {"space": Space(nodes=2)},
        {"mean": (0.5, 0.25), "std": (0.1, 0.2), "in_channels": 2},
    ],
)
def test_dict_json_repr_copy_and_pickle_all_give_the_same_config_back(changes: dict[str, Any]) -> None:
    config = SearchConfig(**changes)
    back = [
        SearchConfig.from_dict(config.to_dict()),
        SearchConfig.from_json(config.to_json()),
        SearchConfig.from_json(config.to_json(indent=2)),
        eval(repr(config), {"SearchConfig": SearchConfig, "Space": Space}),
        copy.deepcopy(config),
        pickle.loads(pickle.dumps(config)),
    ]
    for other in back:
        assert other == config
        assert hash(other) == hash(config)


def test_the_dictionary_is_a_copy() -> None:
    config = SearchConfig()
    config.to_dict()["epochs"] = 1
    assert config.epochs == 50


@given(
    seed=st.integers(0, 2**63),
    epochs=st.integers(1, 10**6),
    lr=st.floats(1e-9, 1e3),
    portion=st.floats(0.01, 0.99),
)
def test_numbers_survive_json_to_the_last_bit(seed: int, epochs: int, lr: float, portion: float) -> None:
    config = SearchConfig(seed=seed, epochs=epochs, weight_lr=lr, weight_lr_min=0.0, train_portion=portion)
    back = SearchConfig.from_json(config.to_json())
    assert (back.seed, back.epochs, back.weight_lr, back.train_portion) == (seed, epochs, lr, portion)


def test_repr_shows_only_what_differs_from_the_defaults() -> None:
    assert repr(SearchConfig()) == "SearchConfig()"
    assert repr(SearchConfig(seed=3, epochs=50)) == "SearchConfig(seed=3)"


def test_configs_differ_by_any_field() -> None:
    assert SearchConfig(seed=1) != SearchConfig()
    assert SearchConfig() != "darts"


def test_numpy_numbers_paths_and_devices_are_understood() -> None:
    import torch

    config = SearchConfig(
        seed=np.int64(3),  # type: ignore[arg-type]
        weight_lr=np.float64(0.5),
        mean=np.array([0.5]),  # type: ignore[arg-type]
        std=np.array([0.25]),  # type: ignore[arg-type]
        checkpoint_dir=Path("a") / "b",
        device=torch.device("cpu"),
    )
    assert (config.seed, config.weight_lr, config.mean, config.device) == (3, 0.5, (0.5,), "cpu")
    assert config.checkpoint_dir == str(Path("a") / "b")


def test_an_unknown_field_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(pydarts.ConfigError, match="epochs"):
        SearchConfig(epoch=3)  # type: ignore[call-arg]
    with pytest.raises(pydarts.ConfigError, match="hypergradient"):
        SearchConfig.from_dict({"hypergradients": "unrolled"})


def test_a_value_of_the_wrong_type_names_its_field() -> None:
    with pytest.raises(pydarts.ConfigError, match="epochs"):
        SearchConfig(epochs="ten")  # type: ignore[arg-type]
    with pytest.raises(pydarts.ConfigError, match="epsilon"):
        SearchConfig(epsilon=float("nan"))
    with pytest.raises(pydarts.ConfigError, match="checkpoint_dir"):
        SearchConfig(checkpoint_dir=object())  # type: ignore[arg-type]


def test_text_that_is_no_config_is_refused() -> None:
    for text in ("", "[1]", "{", '{"epochs": 1'):
        with pytest.raises(pydarts.ConfigError):
            SearchConfig.from_json(text)


def test_lists_that_contain_themselves_and_huge_numbers_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for values in ({"mean": endless}, {"seed": 2**64}, {"seed": 10**400}, {"device": "\ud800"}):
        with pytest.raises(pydarts.ConfigError, match=next(iter(values))):
            SearchConfig.from_dict(values)


def test_resolved_shows_every_option_and_the_default_where_it_differs() -> None:
    for config in (
        SearchConfig.quick(seed=3),
        SearchConfig(space="darts-rnn"),
        SearchConfig(space="nas-bench-201"),
    ):
        resolved = config.resolved()
        assert resolved == {name: getattr(config, name) for name in config.to_dict()}
        lines = str(resolved).splitlines()
        assert [line.split()[0] for line in lines] == list(resolved)
        default = SearchConfig(space=config.space).resolved()
        changed = {name for name in resolved if resolved[name] != default[name]}
        assert {line.split()[0] for line in lines if "(default: " in line} == changed


def test_quick_is_for_images() -> None:
    assert SearchConfig.quick(epochs=2).epochs == 2 and SearchConfig.quick().channels == 4
    with pytest.raises(pydarts.ConfigError, match="images"):
        SearchConfig.quick(space="darts-rnn")


def test_a_training_is_resolved_by_its_network() -> None:
    words = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=7, units=4)
    config = pydarts.TrainConfig(epochs=3)
    assert config.resolved()["batch_size"] == 96 and config.resolved(words)["batch_size"] == 64
    assert "momentum" not in config.resolved(words) and config.resolved(words)["progress"] is True
    assert "epochs" in str(config.resolved()) and "(default: 600)" in str(config.resolved())
    with pytest.raises(pydarts.ConfigError, match="momentum"):
        pydarts.TrainConfig(weight_momentum=0.5).resolved(words)
