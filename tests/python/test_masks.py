"""The masks of drop path and skip dropout: where they are, how they are drawn, and who sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from masked_edges import MaskedImages, MaskedSequences
from pydarts.algorithms import Cosine, Linear
from reference.noise import kept

pytestmark = pytest.mark.usefixtures("one_thread")

BOTH: dict[str, Any] = {"drop_path": 0.3, "skip_dropout": 0.4}
SETUP = MaskedImages(operations=("none", "skip_connect", "sep_conv_3x3"), layers=3, nodes=2)


def drawn(setup: Any = SETUP, step: int = 0, **config: Any) -> dict[str, torch.Tensor]:
    """The masks of a step."""
    net = setup.engine(**(BOTH | config))
    train, valid = setup.batches(2)
    for _ in range(step):
        net.step(train, valid)
    net.arch_gradient(train=train, valid=valid, hypergradient="unrolled")
    return net.masks()


def test_trap_1_5_a_skip_that_halves_the_size_is_never_dropped() -> None:
    """ALGORITHMS.md 1.5 (1): dropout is behind Identity only; stride-2 skips have none."""
    for setup in (SETUP, MaskedSequences(operations=("skip_connect", "conv_1"), nodes=2)):
        names = {name.split(".", 2)[2] for name in drawn(setup) if name.endswith(".skip_connect")}
        # Of three cells the last two are reduction cells, where edges from the inputs halve the size.
        halving = {f"cells.{cell}.edges.{i}_{j}" for cell in (1, 2) for i in (0, 1) for j in (2, 3)}
        edges = {f"cells.{cell}.edges.{i}_{j}" for cell in range(3) for j in (2, 3) for i in range(j)}
        assert names == {f"{edge}.skip_connect" for edge in edges - halving}


def test_trap_1_11_drop_path_drops_whole_edges_image_by_image() -> None:
    """ALGORITHMS.md 1.11 (1): the whole mixed edge, per image, inverted; edges with a skip too."""
    masks = {name: mask for name, mask in drawn().items() if not name.endswith(".skip_connect")}
    edges = {f"cells.{cell}.edges.{i}_{j}" for cell in range(3) for j in (2, 3) for i in range(j)}
    assert set(masks) == {f"{role}.0.{edge}" for role in ("alpha", "weight") for edge in edges}
    assert all(mask.shape == (SETUP.batch,) for mask in masks.values())
    values = torch.stack(list(masks.values()))
    assert set(values.unique().tolist()) == {0.0, 1 / (1 - 0.3)}
    assert (values.max(1).values > values.min(1).values).any(), "images of one edge are dropped alike"
    assert (values.max(0).values > values.min(0).values).any(), "edges of one image are dropped alike"


@pytest.mark.parametrize("step", [0, 2])
def test_masks_are_a_function_of_seed_kind_role_part_and_step(step: int) -> None:
    found = drawn(step=step)
    for kind, p, ends in (("drop_path", 0.3, False), ("skip_dropout", 0.4, True)):
        for role in ("alpha", "weight"):
            own = [
                mask
                for name, mask in found.items()
                if name.startswith(f"{role}.0.") and name.endswith(".skip_connect") == ends
            ]
            flat = torch.cat([mask.flatten() for mask in own])
            expected = kept(SETUP.seed, f"{kind}.{role}.0", step, flat.numel(), p)
            assert torch.equal(flat != 0, expected)
            assert set(flat.unique().tolist()) == {0.0, 1 / (1 - p)}


def test_masks_differ_by_role_step_seed_and_part() -> None:
    first = drawn()
    edge = "cells.0.edges.0_2.skip_connect"
    others = [
        first[f"alpha.0.{edge}"],
        drawn(step=1)[f"weight.0.{edge}"],
        drawn(MaskedImages(operations=SETUP.operations, seed=1))[f"weight.0.{edge}"],
    ]
    assert all(not torch.equal(first[f"weight.0.{edge}"], other) for other in others)
    parts = drawn(micro_batch=2)
    assert torch.equal(parts[f"weight.0.{edge}"] != 0, parts[f"weight.0.{edge}"] != 0)
    assert not torch.equal(parts[f"weight.0.{edge}"], parts[f"weight.1.{edge}"])


@pytest.mark.parametrize(("kind", "p"), [("drop_path", 0.2), ("drop_path", 0.7), ("skip_dropout", 0.4)])
def test_shares_are_as_wanted_and_masks_are_independent(kind: str, p: float) -> None:
    """Within four standard errors, edge by edge, image by image, and for pairs of either."""
    batch = 400
    setup = MaskedImages(
        operations=("skip_connect",), nodes=2, layers=1, reductions=(), batch=batch, size=(2, 2)
    )
    net = setup.engine(**{kind: p})
    net.loss(*setup.batches(1)[0])
    masks = [mask.flatten(1).double() if mask.dim() > 1 else mask.double() for mask in net.masks().values()]
    dropped = torch.stack([(mask == 0).double().flatten() for mask in masks])  # edges, images (and elements)
    n, error = dropped.numel(), (p * (1 - p)) ** 0.5
    assert abs(dropped.mean().item() - p) <= 4 * error / n**0.5
    assert (dropped.mean(1) - p).abs().max() <= 4.5 * error / dropped.shape[1] ** 0.5
    centred = (dropped - p) / error
    between_edges = (centred[:-1] * centred[1:]).mean().item()
    between_images = (centred[:, :-1] * centred[:, 1:]).mean().item()
    assert abs(between_edges) <= 4 / n**0.5 + 4 / n**0.5
    assert abs(between_images) <= 4 / n**0.5


def test_an_evaluation_in_between_changes_no_mask() -> None:
    ours, same = SETUP.engine(**BOTH), SETUP.engine(**BOTH)
    train, valid = SETUP.batches(2)
    for net in (ours, same):
        net.step(train, valid)
        if net is ours:
            net.evaluate(*valid)
            net.loss(train[0][:2], train[1][:2])
        net.step(train, valid)
    for name, value in same.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


@pytest.mark.parametrize("name", ["drop_path", "skip_dropout"])
@pytest.mark.parametrize("value", [1, -0.1, 1.5, {"name": "linear", "start": 0.0, "end": 1.0}], ids=str)
def test_probabilities_are_from_0_up_to_1(name: str, value: Any) -> None:
    with pytest.raises(pydarts.ConfigError, match=name):
        pydarts.SearchConfig(**{name: value})


def test_a_loss_of_a_whole_batch_needs_no_micro_batches() -> None:
    [batch] = SETUP.batches(1)
    parted, whole = SETUP.engine(**BOTH, micro_batch=2), SETUP.engine(**BOTH)
    assert parted.loss(*batch) == whole.loss(*batch)
    assert torch.equal(parted.logits(batch[0]), whole.logits(batch[0]))


@pytest.mark.parametrize("name", ["drop_path", "skip_dropout"])
def test_texts_and_user_defined_networks_refuse_them(name: str) -> None:
    with pytest.raises(pydarts.ConfigError, match=name):
        pydarts.SearchConfig(space="darts-rnn", **{name: 0.1})
    with pytest.raises(pydarts.ConfigError, match=name):
        pydarts.SearchConfig(space="darts-rnn", **{name: {"name": "linear", "start": 0.0, "end": 0.1}})
    network = torch.nn.Sequential(pydarts.nn.Choice({"a": torch.nn.Linear(4, 2), "b": torch.nn.Linear(4, 2)}))
    data = np.zeros((8, 4), np.float32), np.arange(8) % 2
    config = pydarts.SearchConfig(epochs=1, batch_size=4, progress=False, **{name: 0.1})
    with pytest.raises(pydarts.ConfigError, match=name):
        pydarts.search(data, config, network=network)


def test_schedules_are_values_of_the_configuration() -> None:
    config = pydarts.SearchConfig(
        drop_path=Linear(0, 0.2), skip_dropout=0.1, weight_decay=Cosine(3e-4, 0.0243)
    )
    assert (config.drop_path, config.skip_dropout) == (Linear(0, 0.2), 0.1)
    assert config.weight_decay == Cosine(3e-4, 0.0243)
    assert pydarts.SearchConfig.from_json(config.to_json()) == config
    assert config.to_dict()["skip_dropout"] == 0.1
    assert config.replace(drop_path=0.0).drop_path == 0.0
    assert pydarts.SearchConfig().weight_decay == 3e-4
