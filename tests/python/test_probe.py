"""The probe: how far the hypergradient of a search is from the exact one."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from functions import config, data, mixed, toy, toy_data
from parity import SETUPS, XI, Setup, each
from pydarts import Probe
from pydarts.algorithms import Neumann
from test_double_backward import flat

pytestmark = pytest.mark.usefixtures("one_thread")
METHODS: list[Any] = [
    "first_order",
    "unrolled",
    "unrolled_exact",
    "single_level",
    "t1_t2",
    Neumann(2),
    "mixed_level",
]
methods = pytest.mark.parametrize("method", METHODS, ids=str)


@methods
@each("the published operations")
def test_cosine_and_error_are_those_of_the_two_gradients(setup: Setup, method: Any) -> None:
    net, theirs = setup.pair()
    train, valid = setup.batches(2)
    momentum = setup.buffers(theirs)
    gradient, probe = net.arch_gradient(train, valid, method, XI, momentum=momentum, probe=True)
    assert isinstance(probe, Probe)
    alone = flat(net.arch_gradient(train, valid, method, XI, momentum=momentum))
    exact = flat(net.arch_gradient(train, valid, "unrolled_exact", XI, momentum=momentum))
    assert torch.equal(flat(gradient), alone)
    assert probe.error == pytest.approx(float((alone - exact).norm() / exact.norm()), abs=1e-12)
    assert probe.cosine == pytest.approx(float(alone @ exact / alone.norm() / exact.norm()), abs=1e-12)
    if method == "unrolled_exact":
        assert (probe.cosine, probe.error) == (pytest.approx(1.0, abs=1e-15), 0.0)
    else:
        assert probe.error > 1e-6


def test_a_gradient_of_zero_has_no_probe() -> None:
    net = SETUPS["a single operation"].pair()[0]
    train, valid = SETUPS["a single operation"].batches(2)
    _, probe = net.arch_gradient(train, valid, "first_order", probe=True)
    assert np.isnan(probe.cosine)
    assert np.isnan(probe.error)


def test_the_toy_has_the_values_computed_by_hand() -> None:
    """At (α, w) = (2, −2) with ξ = 0.1: first order −4, unrolled −2.8, mixed level 4."""
    expected = {
        "first_order": (1.0, 1.2 / 2.8),
        "mixed_level": (-1.0, 6.8 / 2.8),
        "unrolled_exact": (1.0, 0.0),
    }
    for method, (cosine, error) in expected.items():
        cfg = config(
            epochs=1,
            hypergradient=method,
            relaxation="identity",
            weight_lr=0.1,
            weight_lr_min=0.1,
            weight_momentum=0.0,
            weight_decay=0.0,
            probe_every=1,
        )
        (record,) = pydarts.search(toy_data(1), cfg, network=toy()).history
        assert record.diagnostics == pytest.approx({"probe.cosine": cosine, "probe.error": error}, abs=1e-9)


def test_the_probe_of_sampled_operations_moves_the_same_weights() -> None:
    """After the first step, kernels that rest have momentum, which neither gradient may apply."""
    setup = SETUPS["all twelve operations"]
    cfg = config(
        operations=setup.operations,
        nodes=setup.nodes,
        channels=setup.channels,
        layers=setup.layers,
        num_classes=setup.num_classes,
        epochs=1,
        hypergradient="unrolled_exact",
        relaxation="gdas",
        probe_every=1,
    )
    (record,) = pydarts.search((setup.batches(3), setup.batches(3)), cfg).history
    assert record.diagnostics["probe.error"] == pytest.approx(0.0, abs=1e-12)


# Steps of one level have no order: the engine refuses another than the first.
ORDERED = [method for method in METHODS if method != "single_level"]


@pytest.mark.parametrize(
    ("method", "order"),
    [*product(METHODS, ["arch_first"]), *product(ORDERED, ["weights_first"])],
    ids=str,
)
def test_a_search_with_probes_moves_as_one_without(method: Any, order: Any) -> None:
    plain, probed = (
        pydarts.search(data(), config(hypergradient=method, order=order, probe_every=every), network=mixed())
        for every in (None, 2)
    )
    for name, values in plain.alphas.items():
        assert np.array_equal(probed.alphas[name], values)
    for name, tensor in plain.state_dict.items():
        assert torch.equal(probed.state_dict[name], tensor)
    assert all(not record.diagnostics for record in plain.history)
    assert all(record.diagnostics.keys() == {"probe.cosine", "probe.error"} for record in probed.history)


@pytest.mark.parametrize("relaxation", ["softmax", "gumbel", "gdas", "dirichlet"])
def test_a_probe_of_a_single_level_step_has_its_noise(relaxation: str) -> None:
    """Without a learning rate w′ is w, and the exact gradient is that of the training loss."""
    cfg = config(
        hypergradient="single_level", relaxation=relaxation, probe_every=1, weight_lr=0.0, weight_lr_min=0.0
    )
    [first, *_] = pydarts.search(data(), cfg, network=mixed()).history
    assert first.diagnostics["probe.cosine"] == pytest.approx(1, abs=1e-9)
    assert first.diagnostics["probe.error"] == pytest.approx(0, abs=1e-9)


def test_every_nth_step_of_alpha_is_probed() -> None:
    """Six steps in two epochs: with n = 4, step 0 in the first epoch and step 4 in the second."""

    def means(every: int, **more: Any) -> list[dict[str, float]]:
        found = pydarts.search(data(), config(probe_every=every, **more), network=mixed())
        return [record.diagnostics for record in found.history]

    each_step = [means(1, epochs=epochs)[0] for epochs in (2,)]
    assert means(1)[0] == each_step[0]
    assert means(4)[0] != means(1)[0]
    assert means(4)[1] != {}
    assert means(6)[1] == {}
    assert means(100)[0] == means(4)[0] == means(3)[0]
    # Without α steps there is nothing to compare.
    assert means(1, arch_start_epoch=1)[0] == {}
    assert means(2, arch_every=2)[0] == means(2, arch_every=2, record="epoch")[0] != {}


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_resumed_search_continues_its_probes(tmp_path: Path, at: int) -> None:
    class Stop(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            if info.step == at:
                raise KeyboardInterrupt

    cfg = config(hypergradient="unrolled", probe_every=2)
    whole = pydarts.search(data(), cfg, network=mixed())
    cfg = cfg.replace(checkpoint_dir=str(tmp_path))
    assert pydarts.search(data(), cfg, callbacks=Stop(), network=mixed()).status == "interrupted"
    found = pydarts.search(data(), cfg.replace(resume=True), network=mixed())
    assert [r.diagnostics for r in found.history] == [r.diagnostics for r in whole.history]
    for name, values in whole.alphas.items():
        assert np.array_equal(found.alphas[name], values)


def test_an_operation_without_a_second_derivative_is_an_error() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient

    def loss(w: Any, m: Any, batch: Any) -> torch.Tensor:
        return (Once.apply(w["w"] * m["a"]).sum() - batch[0].mean()) ** 2  # type: ignore[no-untyped-call]

    network = pydarts.nn.FunctionNetwork(loss, {"w": torch.ones(2)}, {"a": torch.zeros(2)})
    assert pydarts.search(data(), config(epochs=1), network=network).status == "complete"
    for option in ("probe_every", "curvature_every"):
        with pytest.raises(pydarts.ConfigError, match="once_differentiable"):
            pydarts.search(data(), config(epochs=1, **{option: 1}), network=network)
