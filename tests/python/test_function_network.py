"""Networks written as Python functions, through the real engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from functions import (
    alphas,
    buffers,
    config,
    data,
    mixed,
    mixed_loss,
    toy,
    toy_data,
    weights,
)
from pydarts.nn import FunctionNetwork
from torch import Tensor

METHODS = ("first_order", "unrolled", "unrolled_exact")
Named = dict[str, Tensor]


@pytest.mark.parametrize(
    ("method", "xi"),
    [
        ("first_order", 0.1),
        ("unrolled", 0.1),
        ("unrolled", 0.5),
        ("unrolled_exact", 0.1),
        ("unrolled_exact", 0.5),
    ],
)
def test_the_toy_of_figure_2_reaches_its_fixed_point(method: Any, xi: float) -> None:
    cfg = config(
        epochs=1,
        hypergradient=method,
        relaxation="identity",
        weight_lr=xi,
        weight_lr_min=xi,
        weight_momentum=0.0,
        weight_decay=0.0,
        grad_clip=0.0,
        arch_lr=0.02,
        arch_betas=(0.0, 0.999),
        arch_weight_decay=0.0,
    )
    result = pydarts.search(toy_data(600), cfg, network=toy())
    alpha = result.alphas["alpha"]
    assert alpha.shape == (601, 1, 1)
    assert alpha[0, 0, 0] == 2.0
    expected = 2.0 if method == "first_order" else 2.0 / (1.0 + 2.0 * xi)
    assert alpha[-1, 0, 0] == pytest.approx(expected, abs=1e-3)
    assert float(result.state_dict["w"]) == pytest.approx(expected, abs=1e-3)


def reference(method: str, steps: int, cfg: pydarts.SearchConfig) -> tuple[list[Named], Named, Named]:
    """α after every step, the weights and the buffers, by plain PyTorch with R = softmax inside the graph."""
    w = {name: value.requires_grad_() for name, value in weights().items()}
    a = {name: value.requires_grad_() for name, value in alphas().items()}
    kept = buffers()
    adam = torch.optim.Adam(a.values(), cfg.arch_lr, betas=cfg.arch_betas, weight_decay=cfg.arch_weight_decay)
    sgd = torch.optim.SGD(
        w.values(), cfg.weight_lr, momentum=cfg.weight_momentum, weight_decay=cfg.weight_decay
    )

    def loss(w: Named, batch: Any, moved: Named | None = None) -> Tensor:
        clones = {name: value.clone() for name, value in kept.items()} if moved is None else moved
        return mixed_loss(w, {name: value.softmax(-1) for name, value in a.items()}, batch, clones)[0]

    path = [{name: value.detach().clone() for name, value in a.items()}]
    train, valid = data()
    for step in range(steps):
        this, other = train[step % len(train)], valid[step % len(valid)]
        xi, moment = cfg.weight_lr, cfg.weight_momentum
        held = {name: sgd.state[value].get("momentum_buffer") for name, value in w.items()} if step else {}
        inputs = list(a.values())
        if method == "first_order":
            found = torch.autograd.grad(loss(w, other), inputs)
        else:
            grads = torch.autograd.grad(loss(w, this), list(w.values()), create_graph=True)
            virtual = {
                name: value - xi * (grad + cfg.weight_decay * value + (moment * held[name] if step else 0.0))
                for (name, value), grad in zip(w.items(), grads, strict=True)
            }
            if method == "unrolled_exact":
                found = torch.autograd.grad(loss(virtual, other), inputs)
            else:
                leaves = {name: value.detach().requires_grad_() for name, value in virtual.items()}
                both = torch.autograd.grad(loss(leaves, other), [*inputs, *leaves.values()])
                direct, v = both[: len(inputs)], both[len(inputs) :]
                radius = cfg.epsilon / torch.cat([part.flatten() for part in v]).norm()
                sides = []
                for sign in (1.0, -1.0):
                    moved = {
                        name: value + sign * radius * part
                        for (name, value), part in zip(w.items(), v, strict=True)
                    }
                    sides.append(torch.autograd.grad(loss(moved, this), inputs))
                found = tuple(d - xi * (p - n) / (2 * radius) for d, p, n in zip(direct, *sides, strict=True))
        for value, grad in zip(inputs, found, strict=True):
            value.grad = grad
        adam.step()
        sgd.zero_grad()
        loss(w, this, kept).backward()
        sgd.step()
        path.append({name: value.detach().clone() for name, value in a.items()})
    return path, w, kept


@pytest.mark.parametrize("method", METHODS)
def test_every_step_is_that_of_plain_torch(method: Any) -> None:
    cfg = config(hypergradient=method, weight_lr=0.1, weight_lr_min=0.1, grad_clip=0.0)
    result = pydarts.search(data(), cfg, network=mixed())
    path, w, kept = reference(method, 6, cfg)
    for name, values in result.alphas.items():
        expected = np.stack([point[name].numpy() for point in path]).reshape(values.shape)
        assert values == pytest.approx(expected, abs=1e-8)
        assert abs(values[-1] - values[0]).min() > 1e-4
    for name, tensor in {**w, **kept}.items():
        assert result.state_dict[name].dtype == tensor.dtype
        assert result.state_dict[name].double().numpy() == pytest.approx(
            tensor.detach().double().numpy(), abs=1e-8
        )
    assert int(kept["count"]) == 6


@pytest.mark.parametrize("relaxation", ["softmax", "identity"])
def test_the_function_gets_mixing_weights_in_the_shapes_that_were_given(relaxation: Any) -> None:
    seen: list[Named] = []

    def loss(w: Named, m: Named, batch: Any) -> Tensor:
        seen.append({name: value.detach().clone() for name, value in m.items()})
        return sum((value**2).sum() for value in m.values()) * (w["w"] ** 2).sum()  # type: ignore[return-value]

    tables: Any = {"table": torch.ones(2, 3), "vector": torch.ones(4), "number": 3.0, "drawn": (2, 2)}
    network = FunctionNetwork(loss, {"w": torch.ones(2)}, tables)
    result = pydarts.search(data(), config(epochs=1, relaxation=relaxation), network=network)
    assert {name: tuple(value.shape) for name, value in seen[0].items()} == {
        "table": (2, 3),
        "vector": (4,),
        "number": (),
        "drawn": (2, 2),
    }
    assert seen[0]["table"].tolist() == pytest.approx(
        np.full((2, 3), 1 / 3 if relaxation == "softmax" else 1.0)
    )
    assert {name: value.shape for name, value in result.alphas.items()} == {
        "table": (4, 2, 3),
        "vector": (4, 1, 4),
        "number": (4, 1, 1),
        "drawn": (4, 2, 2),
    }
    assert 0 < abs(result.alphas["drawn"][0]).max() < 0.01
    other = pydarts.search(data(), config(epochs=1, seed=1, relaxation=relaxation), network=network)
    assert (other.alphas["drawn"][0] != result.alphas["drawn"][0]).all()


def test_buffers_move_in_the_weight_step_only() -> None:
    seen: list[tuple[bool, int]] = []

    def loss(w: Named, m: Named, batch: Any, kept: Named) -> Tensor:
        seen.append((torch.is_grad_enabled(), int(kept["count"])))
        kept["count"].add_(1)
        kept["flag"].logical_not_()
        return (w["w"] * m["a"] * batch[0].sum()).sum() ** 2

    kept = {"count": torch.tensor(0, dtype=torch.uint8), "flag": torch.tensor([False, True])}
    network = FunctionNetwork(loss, {"w": torch.ones(2)}, {"a": torch.zeros(2)}, buffers=kept)
    result = pydarts.search(data(), config(epochs=1, weight_lr=1e-6, weight_lr_min=0.0), network=network)
    # Three steps of an α step and a weight step, then two batches of evaluation.
    assert seen == [(True, 0), (True, 0), (True, 1), (True, 1), (True, 2), (True, 2), (False, 3), (False, 3)]
    assert result.state_dict["count"].dtype == torch.uint8
    assert int(result.state_dict["count"]) == 3
    assert result.state_dict["flag"].tolist() == [True, False]
    assert kept["count"] == 0  # a search works on copies


def test_micro_batches_average_gradients_and_move_buffers_once() -> None:
    def loss(w: Named, m: Named, batch: Any, kept: Named) -> Tensor:
        x, _ = batch
        kept["mean"].mul_(0.5).add_(0.5 * x.mean())
        kept["count"].add_(1)
        return (torch.tanh(x @ w["first"]) * m["a"]).sum(1).pow(2).mean()

    def run(most: int | None) -> pydarts.SearchResult:
        network = FunctionNetwork(
            loss,
            {"first": weights()["first"]},
            {"a": torch.zeros(5)},
            buffers={"mean": torch.zeros((), dtype=torch.float64), "count": torch.tensor(0)},
        )
        return pydarts.search(
            data(), config(micro_batch=most, hypergradient="unrolled_exact"), network=network
        )

    whole, parted = run(None), run(2)
    assert parted.alphas["a"] == pytest.approx(whole.alphas["a"], abs=1e-12)
    for name in ("first", "mean", "count"):
        assert parted.state_dict[name].numpy() == pytest.approx(whole.state_dict[name].numpy(), abs=1e-12)
    assert int(parted.state_dict["count"]) == 6


def noisy_loss(w: Named, m: Named, batch: Any, kept: Named) -> Tensor:
    x, y = batch
    drop = torch.rand(x.shape, dtype=x.dtype) > 0.5
    return mixed_loss(w, m, (x * drop, y), kept)[0]


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_resumed_search_continues_bit_for_bit(tmp_path: Path, at: int) -> None:
    class Stop(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            if info.step == at:
                raise KeyboardInterrupt

    cfg = config(hypergradient="unrolled")
    whole = pydarts.search(data(), cfg, network=mixed(loss=noisy_loss))
    cfg = cfg.replace(checkpoint_dir=str(tmp_path))
    part = pydarts.search(data(), cfg, callbacks=Stop(), network=mixed(loss=noisy_loss))
    assert part.status == "interrupted"
    assert len(part.steps) == at + 2
    found = pydarts.search(data(), cfg.replace(resume=True), network=mixed(loss=noisy_loss))
    assert found.status == "complete"
    for name, values in whole.alphas.items():
        assert np.array_equal(found.alphas[name], values)
    for name, tensor in whole.state_dict.items():
        assert torch.equal(found.state_dict[name], tensor)
    assert [r.valid_loss for r in found.history] == [r.valid_loss for r in whole.history]


def test_losses_of_a_step_share_what_they_draw_by_role() -> None:
    drawn: list[float] = []

    def loss(w: Named, m: Named, batch: Any) -> Tensor:
        drawn.append(float(torch.rand(())))
        return ((w["w"] * m["a"]).sum() - batch[0].mean()) ** 2

    network = FunctionNetwork(loss, {"w": torch.ones(2)}, {"a": torch.zeros(2)})
    state = torch.get_rng_state()
    pydarts.search(data(), config(epochs=1, hypergradient="unrolled"), network=network)
    assert torch.equal(torch.get_rng_state(), state)
    # The virtual step, L_val, w + εv, w − εv and the weight step.
    first, second = drawn[:5], drawn[5:10]
    assert first[0] == first[2] == first[3] == first[4] != first[1]
    assert len({*first, *second}) == 4
    again = drawn.copy()
    drawn.clear()
    pydarts.search(data(), config(epochs=1, hypergradient="unrolled"), network=network)
    assert drawn == again


def test_a_resumed_search_refuses_another_network(tmp_path: Path) -> None:
    cfg = config(epochs=1, checkpoint_dir=str(tmp_path))
    pydarts.search(data(), cfg, network=mixed())
    others: list[FunctionNetwork] = [
        mixed(loss=noisy_loss),
        mixed(weights=weights() | {"second": torch.zeros(5, 4)}),
        mixed(candidates={"choices": ["a", "b", "c"]}),
        mixed(buffers=buffers() | {"count": torch.tensor(0)}),
    ]
    for other in others:
        with pytest.raises(pydarts.CheckpointError, match=r"`(network|loss)`"):
            pydarts.search(data(), cfg.replace(resume=True), network=other)
    force = cfg.replace(resume="force", epochs=2)
    with pytest.warns(UserWarning), pytest.raises(pydarts.CheckpointError, match="count"):
        pydarts.search(data(), force, network=others[-1])
    with pytest.warns(UserWarning, match="loss"):
        kept = pydarts.search(data(), force, network=others[0])
    assert len(kept.history) == 2
