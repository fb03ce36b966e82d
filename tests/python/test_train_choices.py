"""Training of networks of images: what can be chosen, and what cannot."""

from __future__ import annotations

import copy
import inspect
import json
import math
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays
from pydarts._train.settings import ImageSettings
from torch.utils.data import DataLoader, TensorDataset
from trained import CELL, Steps, StopAt, batches, config, network, press, same, task


def test_the_presets_are_the_published_trainings() -> None:
    cifar = ImageSettings.of(pydarts.TrainConfig.cifar10(seed=3))
    assert (cifar.epochs, cifar.batch_size, cifar.weight_lr, cifar.weight_momentum) == (600, 96, 0.025, 0.9)
    assert (cifar.weight_decay, cifar.grad_clip, cifar.auxiliary_weight) == (3e-4, 5.0, 0.4)
    assert (cifar.augment, cifar.cutout, cifar.seed, cifar.label_smoothing) == ("cifar", 16, 3, 0.0)
    assert cifar.rate(0) == 0.025 and cifar.rate(300) == pytest.approx(0.0125) and cifar.rate(599) < 1e-6
    imagenet = ImageSettings.of(pydarts.TrainConfig.imagenet())
    assert (imagenet.epochs, imagenet.batch_size, imagenet.weight_decay) == (250, 128, 3e-5)
    assert (imagenet.label_smoothing, imagenet.augment, imagenet.cutout) == (0.1, "none", 0)
    assert [imagenet.rate(epoch) for epoch in (0, 4, 5, 100)] == pytest.approx(
        [0.02, 0.1, 0.1 * 0.97**5, 0.1 * 0.97**100]
    )
    warmups = [pydarts.TrainConfig.quick(epochs=epochs).warmup for epochs in (1, 2, 3, 4, None)]
    assert warmups == [0, 1, 2, 2, 2] and pydarts.TrainConfig.quick(warmup=0).warmup == 0


def test_a_configuration_comes_back_from_its_dictionary_and_copies() -> None:
    cfg = pydarts.TrainConfig.cifar10(mean=[0.5], std=(0.25,), checkpoint_dir=Path("here"), seed=3)
    plain = json.loads(json.dumps(cfg.to_dict()))
    assert pydarts.TrainConfig.from_dict(plain) == cfg
    assert copy.deepcopy(cfg) == pickle.loads(pickle.dumps(cfg)) == cfg
    assert pydarts.TrainConfig.from_dict({"epochs": 3}) == pydarts.TrainConfig(epochs=3)
    numbers = pydarts.TrainConfig(epochs=np.int64(3), weight_lr=np.float32(0.5))
    assert json.loads(json.dumps(numbers.to_dict()))["weight_lr"] == 0.5
    assert "weight_lr" in inspect.signature(pydarts.TrainConfig).parameters


@pytest.mark.parametrize(
    "make",
    [
        lambda **fields: pydarts.TrainConfig(**fields),
        lambda **fields: pydarts.TrainConfig().replace(**fields),
        lambda **fields: pydarts.TrainConfig.cifar10(**fields),
        lambda **fields: pydarts.TrainConfig.quick(**fields),
        lambda **fields: pydarts.TrainConfig.from_dict(fields),
    ],
    ids=["call", "replace", "cifar10", "quick", "from_dict"],
)
def test_an_unknown_field_is_named_with_those_that_there_are(make: Any) -> None:
    with pytest.raises(pydarts.ConfigError, match=r"`xyz`.*epochs, batch_size, .*seed"):
        make(xyz=1)
    with pytest.raises(pydarts.ConfigError, match=r"weigt_lr.*weight_lr"):
        make(weigt_lr=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight_momentum": 1.0}, r"weight_momentum.*1.0"),
        ({"grad_clip": -1}, "grad_clip.*-1"),
        ({"grad_clip": math.nan}, "grad_clip.*nan"),
        ({"weight_decay": "1e-4"}, "weight_decay.*'1e-4'"),
        ({"warmup": 3}, "warmup.*3.*3 epochs"),
        ({"warmup": 600, "epochs": None}, "warmup.*600"),
        ({"warmup": -1}, "warmup.*-1"),
        ({"seed": None}, "seed.*None"),
        ({"weight_lr_schedule": "linear"}, "weight_lr_schedule.*'linear'"),
        ({"compile": 1}, "compile.*1"),
        ({"device": 5}, 'device.*5.*"auto"'),
        ({"device": None}, "device.*None"),
        ({"device": "mps"}, "device.*mps"),
        ({"augment": "imagenet"}, "augment"),
        ({"std": [0.0]}, "std"),
        ({"train_portion": 1.0}, "train_portion"),
    ],
)
def test_a_choice_that_cannot_be_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(pydarts.ConfigError, match=words):
        config(**changes)


def test_a_device_of_torch_is_kept_by_its_name() -> None:
    kept = config(device=torch.device("cuda", 1)).to_dict()
    assert json.loads(json.dumps(kept))["device"] == "cuda:1"


def test_choices_for_the_other_kind_of_network_are_refused() -> None:
    with pytest.raises(pydarts.ConfigError, match="bptt, patience"):
        pydarts.train(network(), make_arrays(), config(bptt=3, patience=1))
    words = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=4, units=4)
    with pytest.raises(pydarts.ConfigError, match="augment, cutout"):
        pydarts.train(words, (np.arange(99) % 4,) * 2, pydarts.TrainConfig.cifar10())


X, y = make_arrays()


@pytest.mark.parametrize(
    ("given", "data", "changes", "kind", "words"),
    [
        ({}, X, {}, pydarts.DataError, "labels"),
        ({}, (X[:, 0], y), {}, pydarts.DataError, r"X\[:, None\]"),
        ({}, TensorDataset(torch.from_numpy(X)), {}, pydarts.DataError, "DataLoader"),
        ({}, batches(), {}, pydarts.DataError, r"\(train, valid\)"),
        ({}, (X, y), {"batch_size": 96}, pydarts.DataError, "43.*48.*batch_size=96"),
        ({}, (X, y), {"mean": [0.5] * 3, "std": [1] * 3}, pydarts.ConfigError, "3"),
        ({}, (batches(), batches()), {"cutout": 4}, pydarts.ConfigError, "cutout|augment|transforms"),
        ({"num_classes": 3}, (X, y), {}, pydarts.DataError, "num_classes=3"),
        ({"in_channels": 3}, (X, y), {}, pydarts.DataError, "in_channels.*3.*1"),
        (
            {"auxiliary": True},
            (X, y),
            {},
            pydarts.DataError,
            "auxiliary.*29",
        ),
    ],
)
def test_data_that_cannot_be_are_named(given: Any, data: Any, changes: Any, kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words):
        pydarts.train(network(**given), data, config(**changes))


@pytest.mark.parametrize("known", [True, False])
def test_a_batch_of_one_image_is_refused_where_batch_norm_would_have_a_single_value(known: bool) -> None:
    X = torch.rand(9, 1, 32, 32)
    tensors = TensorDataset(X, torch.arange(9) % 4)
    loader: Any = DataLoader(tensors, batch_size=4)
    if not known:
        loader = [(X[:4], torch.arange(4)), (X[:1], torch.arange(1))]
    seen = Steps()
    with pytest.raises(pydarts.DataError, match=r"32x32.*drop_last=True") as caught:
        pydarts.train(network(auxiliary=True), (loader, loader), config(), seen)
    assert hasattr(caught.value, "result") is not known and len(seen.counts) == (0 if known else 1)
    with pytest.raises(pydarts.DataError, match=r"4x4.*batch_size"):
        pydarts.train(network(), (torch.rand(9, 1, 4, 4), torch.arange(9) % 4), config(batch_size=1))
    for fine in (DataLoader(tensors, batch_size=4, drop_last=True), loader):
        auxiliary = fine is not loader
        result = pydarts.train(network(auxiliary=auxiliary), (fine, loader), config(epochs=1))
        assert result.status == "complete", "one image of more pixels is enough for the cells"


@pytest.mark.parametrize(("stem", "least"), [("small", 29), ("imagenet", 193)])
@pytest.mark.parametrize("layers", [2, 3, 5])
def test_the_least_image_for_the_auxiliary_head_passes_it(stem: Any, least: int, layers: int) -> None:
    net = network(stem=stem, auxiliary=True, layers=layers, num_classes=4)
    labels = torch.arange(2)
    task(net, ((torch.zeros(2, 1, least, least), labels),) * 2, batch_size=2)
    assert net(torch.zeros(2, 1, least, least))[1].shape == (2, 4)
    with pytest.raises(pydarts.DataError, match=rf"\b{least}\b"):
        task(net, ((torch.zeros(2, 1, least - 1, least), labels),) * 2, batch_size=2)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(TypeError, match=r"pydarts\.build.*Genotype.*list"):
        pydarts.train([network()], make_arrays(), config())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"TrainConfig\(compile=True\)"):
        pydarts.train(torch.compile(network()), make_arrays(), config())


@pytest.mark.parametrize("given", [CELL, network()], ids=["genotype", "network"])
def test_the_weight_of_a_loss_that_there_is_not_is_refused(given: Any) -> None:
    with pytest.raises(pydarts.ConfigError, match=r"auxiliary_weight.*0\.3"):
        pydarts.train(given, make_arrays(), config(auxiliary_weight=0.3))


def test_the_configuration_of_a_result_serves_again() -> None:
    first = pydarts.train(network(), make_arrays(), config(epochs=1))
    again = pydarts.train(network(), make_arrays(), first.config)
    assert same(first.network, again.network) and again.config == first.config
    for weight in (0, 0.4):  # no such loss either way
        pydarts.train(network(), make_arrays(), config(epochs=1, auxiliary_weight=weight))


def test_a_drop_path_that_was_set_later_is_that_of_result_and_checkpoint(tmp_path: Path) -> None:
    net = network()
    net.drop_path = 0.3
    found = pydarts.train(net, make_arrays(), config(checkpoint_dir=tmp_path / "checkpoints"))
    assert net.drop_path == 0.3
    found.save(tmp_path / "result")
    again = pydarts.TrainResult.load(tmp_path / "result").network
    assert isinstance(again, pydarts.nn.ConvolutionalNetwork) and again.drop_path == 0.3
    with pytest.raises(pydarts.CheckpointError, match=r"drop_path.*0.3.*0.0"):
        pydarts.train(network(), make_arrays(), config(checkpoint_dir=tmp_path / "checkpoints", resume=True))


def test_the_share_that_is_dropped_rises_while_the_networks_own_stays() -> None:
    net = network(drop_path=0.3)
    seen = []

    class Shares(pydarts.TrainCallback):
        def on_epoch(self, record: pydarts.TrainRecord) -> None:
            seen.append((float(net._dropped), net.drop_path, net.arguments["drop_path"]))

    pydarts.train(net, make_arrays(), config(), Shares())
    assert seen == [(pytest.approx(0.1 * epoch), 0.3, 0.3) for epoch in range(3)]
    assert float(net._dropped) == pytest.approx(0.3)


@pytest.mark.parametrize("keep", ["last", "best"])
def test_after_ctrl_c_the_last_weights_are_those_of_the_moment_and_the_best_of_an_epoch(keep: Any) -> None:
    data, changes = make_arrays(), {"epochs": 3, "weight_lr_schedule": "exponential", "keep": keep}
    part = pydarts.train(network(), data, config(**changes), StopAt(1, 1, press))
    whole = pydarts.train(network(), data, config(**(changes | {"epochs": 1})))
    assert part.status == "interrupted" and len(part.history) == 1
    assert same(part.network, whole.network) is (keep == "best")


@pytest.mark.parametrize(
    ("old", "value", "present", "now"),
    [
        ("learning_rate", 0.5, "weight_lr", 0.5),
        ("momentum", 0.5, "weight_momentum", 0.5),
        ("schedule", "exponential", "weight_lr_schedule", "exponential"),
        ("bfloat16", True, "precision", "bfloat16"),
        ("bfloat16", False, "precision", "auto"),
    ],
)
def test_earlier_names_of_fields_are_accepted(old: str, value: Any, present: str, now: Any) -> None:
    with pytest.warns(DeprecationWarning, match=present):
        config = pydarts.TrainConfig(**{old: value})
    assert getattr(config, present) == now
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pydarts.TrainConfig.from_dict({old: value}) == config, "files of earlier versions are read"
