"""The curvature of the validation loss by α against the full Hessian, and the stop that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import reference
import torch
from functions import batches, config, data, mixed, mixed_loss
from parity import SETUPS, SMALL, Setup
from parity_partial import Partial, options
from pydarts.algorithms import Curvature
from pydarts.nn import FunctionNetwork
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")
DECAY = 0.05
Named = dict[str, Tensor]


def measured(result: pydarts.SearchResult) -> list[float | None]:
    return [record.diagnostics.get("curvature") for record in result.history]


@pytest.mark.filterwarnings("ignore:a network of 2 cells")
@pytest.mark.parametrize(
    "setup",
    [
        pytest.param(SETUPS["none, skip and one convolution"], marks=pytest.mark.long),
        SETUPS["one to four operations per edge"],
        Partial(k=2, normalized=True, operations=SMALL),
        Partial(normalized=True, auxiliary=0.5, operations=SMALL),
    ],
    ids=str,
)
def test_trap_1_11_a_the_curvature_is_the_largest_eigenvalue_of_the_full_hessian(setup: Setup) -> None:
    train, valid = setup.batches(3), setup.batches(5)[3:]
    space = pydarts.Space(operations=setup.operations, nodes=setup.nodes, concat=setup.concat)
    cfg = config(
        space=space,
        channels=setup.channels,
        layers=setup.layers,
        num_classes=setup.num_classes,
        epochs=1,
        arch_lr=0.3,
        arch_weight_decay=DECAY,
        curvature_every=1,
        **(options(setup) if isinstance(setup, Partial) else {}),
    )
    result = pydarts.search((train, valid), cfg)
    theirs = setup.reference()
    theirs.load_state_dict(result.state_dict)
    with torch.no_grad():
        for name, alpha in theirs.alphas.items():
            alpha.copy_(torch.nan_to_num(torch.from_numpy(result.alphas[name][-1])))
    # The three steps of α have the validation batches 0, 1 and 0.
    hessian = reference.arch_hessian(theirs, valid[0])
    assert torch.allclose(hessian, hessian.T, atol=1e-9)
    expected = float(torch.linalg.eigvalsh(hessian)[-1]) + DECAY
    assert abs(expected - DECAY) > 1e-4, "the test sees nothing"
    (found,) = measured(result)
    assert found == pytest.approx(expected, rel=1e-6)


RELAXATIONS = {
    "softmax": lambda alpha: torch.softmax(alpha, -1),
    "sigmoid": torch.sigmoid,
    "identity": lambda alpha: alpha,
    "gumbel": lambda alpha: torch.softmax(alpha, -1),
}


@pytest.mark.parametrize("micro_batch", [None, 2])
@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_the_curvature_is_that_of_the_mean_mixing_weights(relaxation: str, micro_batch: int | None) -> None:
    cfg = config(
        epochs=1,
        relaxation=relaxation,
        arch_weight_decay=DECAY,
        arch_lr=0.1,
        curvature_every=1,
        micro_batch=micro_batch,
    )
    result = pydarts.search(data(), cfg, network=mixed())
    (found,) = measured(result)
    last = batches(2, 20)[0]
    parts = [last] if micro_batch is None else [tuple(x[at : at + 2] for x in last) for at in (0, 2, 4)]
    kept = {"mean": torch.zeros(5).double(), "var": torch.ones(5).double(), "count": torch.tensor(0)}
    tables = {name: torch.from_numpy(values[-1]) for name, values in result.alphas.items()}
    weights = {name: result.state_dict[name] for name in ("first", "scale", "second")}

    def loss(flat: Tensor) -> Tensor:
        pieces = flat.split([table.numel() for table in tables.values()])
        m = {
            name: RELAXATIONS[relaxation](piece.view(table.shape))
            for (name, table), piece in zip(tables.items(), pieces, strict=True)
        }
        each_part = [
            mixed_loss(weights, m, part, {k: v.clone() for k, v in kept.items()})[0] for part in parts
        ]  # type: ignore[arg-type]
        return torch.stack(each_part).mean()

    hessian = torch.autograd.functional.hessian(loss, torch.cat([t.flatten() for t in tables.values()]))
    assert found == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]) + DECAY, rel=1e-6)


def test_logits_that_do_not_exist_have_no_curvature() -> None:
    """All eigenvalues of the three logits are −1, which 0 would exceed."""

    def loss(w: Named, m: Named, batch: Any) -> Tensor:
        return -0.5 * (m["alpha"] ** 2).sum() + 0 * w["w"].sum()

    network = FunctionNetwork(
        loss, {"w": 0.0}, {"alpha": torch.ones(2, 2)}, candidates={"alpha": [("a", "b"), ("c",)]}
    )
    cfg = config(epochs=1, relaxation="identity", arch_weight_decay=DECAY, curvature_every=1)
    assert measured(pydarts.search(data(), cfg, network=network)) == pytest.approx([DECAY - 1])


def growing_loss(w: Named, m: Named, batch: Any) -> Tensor:
    """L_val = ½ exp(w) α² on batches of zeros; L_train = −w on others: w grows by the rate of a step."""
    if batch[0].sum() == 0:
        return 0.5 * torch.exp(w["w"]) * (m["alpha"] ** 2).sum()
    return -w["w"] + 0 * m["alpha"].sum()


def growing(**changes: Any) -> pydarts.SearchResult:
    fields: dict[str, Any] = {
        "epochs": 6,
        "relaxation": "identity",
        "weight_lr": 0.1,
        "weight_lr_min": 0.1,
        "weight_momentum": 0.0,
        "weight_decay": 0.0,
        "arch_weight_decay": DECAY,
        "curvature_every": 1,
        "record": "epoch",
    }
    batch = (torch.ones(1), torch.zeros(1)), (torch.zeros(1), torch.zeros(1))
    network = changes.pop("network", None) or FunctionNetwork(
        growing_loss, {"w": 0.0}, {"alpha": torch.tensor([1.0, 0.5])}
    )
    return pydarts.search(([batch[0]] * 3, [batch[1]] * 3), config(**(fields | changes)), network=network)


def test_it_is_measured_in_epoch_0_and_in_every_nth_epoch_that_moves_alpha() -> None:
    """Trap: the published value holds the decay of α on the diagonal."""
    expected = [np.exp(0.3 * (epoch + 1)) + DECAY for epoch in range(6)]
    assert measured(growing()) == pytest.approx(expected)
    some = measured(growing(curvature_every=2, arch_start_epoch=1))
    assert [value is None for value in some] == [True, True, False, True, False, True]
    assert [some[2], some[4]] == pytest.approx([expected[2], expected[4]])
    assert measured(growing(curvature_every=None)) == [None] * 6


def test_measuring_does_not_move_the_search() -> None:
    plain, with_curvature = (
        pydarts.search(data(), config(curvature_every=every, epochs=3), network=mixed())
        for every in (None, 1)
    )
    for name, values in plain.alphas.items():
        assert np.array_equal(with_curvature.alphas[name], values)
    for name, tensor in plain.state_dict.items():
        assert torch.equal(with_curvature.state_dict[name], tensor)


@pytest.mark.parametrize("method", ["single_level", "neumann"])
def test_other_hypergradients_are_measured_too(method: Any) -> None:
    cfg = config(hypergradient=method, curvature_every=1, probe_every=1)
    values = measured(pydarts.search(data(), cfg, network=mixed()))
    assert all(value is not None and np.isfinite(value) for value in values)


def test_float32_networks_have_nearly_the_same_curvature() -> None:
    setup = SETUPS["none, skip and one convolution"]
    found = []
    for precision in ("float64", "float32"):
        net = pydarts.search(
            (setup.batches(2), setup.batches(2)),
            config(
                operations=setup.operations,
                nodes=2,
                channels=4,
                layers=3,
                num_classes=5,
                epochs=1,
                precision=precision,
                curvature_every=1,
            ),
        )
        found += measured(net)
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_a_resumed_search_measures_the_same(tmp_path: Path, at: int) -> None:
    """Step 2 is the last one of epoch 0: a search that stops there reads its validation batch again."""

    class Stop(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            if info.step == at:
                raise KeyboardInterrupt

    cfg = config(curvature_every=1)
    whole = pydarts.search(data(), cfg, network=mixed())
    cfg = cfg.replace(checkpoint_dir=str(tmp_path))
    assert pydarts.search(data(), cfg, callbacks=Stop(), network=mixed()).status == "interrupted"
    found = pydarts.search(data(), cfg.replace(resume=True), network=mixed())
    assert measured(found) == measured(whole)
    for name, values in whole.alphas.items():
        assert np.array_equal(found.alphas[name], values)


@pytest.mark.parametrize("folder", [False, True])
def test_a_search_whose_curvature_grows_returns_to_the_epoch_from_before(
    tmp_path: Path, folder: bool
) -> None:
    """Each epoch multiplies the curvature by exp(0.3) = 1.35."""
    whole = growing(epochs=3)
    options: dict[str, Any] = {"checkpoint_dir": str(tmp_path)} if folder else {}
    stop = Curvature(window=1, back=2, ratio=1.7, start=1)
    result = growing(epochs=9, stop=stop, **options)
    assert result.status == "complete"
    # The curvature of epoch 3 is exp(0.6) = 1.82 times that of epoch 1.
    assert [record.epoch for record in result.history] == [0, 1]
    names = [(epoch, decision["decision"]) for epoch, decision in result.decisions]
    assert names == [(3, "roll_back"), (1, "stop")]
    assert np.array_equal(result.alphas["alpha"][-1], whole.alphas["alpha"][2])
    if folder:
        again = growing(epochs=9, stop=stop, resume=True, **options)
        assert measured(again) == measured(result)
        assert again.decisions == result.decisions


def test_a_curvature_that_grows_slowly_does_not_end_a_search() -> None:
    assert len(growing(stop=Curvature(window=1, back=2, ratio=1.9, start=0)).history) == 6


def test_a_negative_curvature_does_not_end_a_search() -> None:
    """It rises from −1.6 to −0.1, and would be above 1.7 times every earlier one."""

    def loss(w: Named, m: Named, batch: Any) -> Tensor:
        if batch[0].sum() == 0:
            return 0.5 * w["w"] * (m["alpha"] ** 2).sum()
        return -w["w"] + 0 * m["alpha"].sum()

    network = FunctionNetwork(loss, {"w": -2.0}, {"alpha": torch.tensor([1.0, 0.5])})
    result = growing(network=network, stop=Curvature(window=1, back=2, ratio=1.7, start=0))
    assert measured(result) == pytest.approx([0.3 * epoch - 1.7 + DECAY for epoch in range(6)])


def test_the_stop_requires_measurements() -> None:
    with pytest.raises(pydarts.ConfigError, match="curvature_every"):
        pydarts.SearchConfig(stop="curvature")
    config = pydarts.SearchConfig(stop="curvature", curvature_every=2)
    assert pydarts.SearchConfig.from_json(config.to_json()).stop == Curvature()
