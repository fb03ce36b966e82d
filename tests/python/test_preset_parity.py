"""Five steps of every preset against a plain PyTorch statement of its algorithm, in float64.

A preset that has no effect in its first epoch (β decay, whose weight rises from 0) gets a constant instead.
"""

from __future__ import annotations

from typing import Any

import pydarts
import pytest
import reference
from parity import Setup, apart
from parity_partial import Partial
from pydarts import SearchConfig
from pydarts.algorithms import Adversarial, BetaDecay, Schedule, Uniform, presets
from relaxed import share_noise
from test_perturbation import EPSILON, Perturbed

pytestmark = pytest.mark.usefixtures("one_thread")

SEVEN = pydarts.Space().operations[1:]
OF_SETUP = ("partial_channels", "edge_normalization", "auxiliary_skip", "operations", "channels", "layers")
OF_RUN = (
    "epochs", "batch_size", "train_portion", "arch_start_epoch", "algorithm", "selection", "stop",
    "curvature_every", "weight_lr_schedule", "arch_init",
)  # fmt: skip
OF_STEP = (
    "weight_momentum", "weight_decay", "grad_clip", "arch_lr", "arch_betas", "arch_weight_decay",
    "arch_optimizer", "arch_grad_clip", "order", "weight_nesterov", "epsilon",
)  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    "beta_darts": {"arch_terms": [BetaDecay(weight=5)]},
    "sdarts_rs": {"perturbation": Uniform(epsilon=EPSILON)},
    "sdarts_adv": {"perturbation": Adversarial(epsilon=EPSILON)},
    "snas": {"drop_path": 0.0},  # with masks: test_supernet_masks
}
TERMS = {
    "beta_darts": reference.Term("beta_decay", 5.0),
    "fair_darts": reference.Term("zero_one", 10.0, "l2"),
}
TEMPERATURES = {"gdas": 10.0, "gumbel": 1.0}
"""Those of the first epoch."""


def first(value: Any) -> Any:
    """A number, or a schedule's in the first epoch."""
    return value.at(0, 2) if isinstance(value, Schedule) else value


@pytest.mark.parametrize("name", [preset.name for preset in presets()])
def test_five_steps_are_those_of_plain_pytorch(name: str) -> None:
    config = SearchConfig.preset(name, **CHANGES.get(name, {}))
    operations = SEVEN if name in ("drnas", "fair_darts") else reference.DARTS_OPERATIONS
    setup = Setup(channels=12, operations=operations, size=(9, 8))
    edges = {
        "k": config.partial_channels,
        "normalized": config.edge_normalization,
        "auxiliary": first(config.auxiliary_skip),
    }
    if edges != {"k": 1, "normalized": False, "auxiliary": None}:
        setup = Partial(channels=12, operations=operations, size=(9, 8), **edges)
    given = {field: getattr(config, field) for field in config._not_default()}
    ours, theirs = setup.pair(**{n: v for n, v in given.items() if n not in (*OF_SETUP, *OF_RUN)})
    relaxation = config.relaxation.name
    theirs.relaxation = reference.Relaxation(relaxation, TEMPERATURES.get(relaxation, 1.0))
    if name == "sdarts_adv":  # the attack reads running statistics
        for norm in theirs._norms:
            norm.num_batches_tracked.fill_(1000)
        ours.load_state_dict(theirs.state_dict())
    method = config.hypergradient if isinstance(config.hypergradient, str) else config.hypergradient.name
    kind = Perturbed if config.perturbation else reference.Search
    search = kind(
        theirs,
        method=method,
        published=False,
        terms=[TERMS[name]] if name in TERMS else [],
        **{field: getattr(config, field) for field in OF_STEP},
    )
    if isinstance(search, Perturbed):
        search.attack = name == "sdarts_adv"
    batches = setup.batches(10)
    before = ours.alphas
    for number, (train, valid) in enumerate(zip(batches[::2], batches[1::2], strict=True)):
        share_noise(theirs, number, seed=setup.seed)
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, config.weight_lr), rel=1e-6)
    if name == "random_ws":  # decay does not move α either
        assert apart(ours.alphas, before) == 0.0
    else:
        assert apart(ours.alphas, theirs.alphas) <= 1e-8
    weights = {key: tensor for key, tensor in ours.state_dict().items() if key in theirs.weights()}
    assert apart(weights, theirs.weights()) <= 1e-6
    if name != "random_ws":
        assert all((after - before[key]).abs().max() > 1e-6 for key, after in ours.alphas.items())
