"""Weighted edges and the auxiliary skip in searches: strengths, selection, results, contradictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity_partial import Partial
from pydarts import ConfigError, SearchConfig, Trajectory
from pydarts.algorithms import Linear
from resuming import STEPS, assert_same, config, pair, resumed, stopped, uninterrupted
from searches import Listener

pytestmark = pytest.mark.usefixtures("one_thread")
TABLES = ["normal", "reduce", "normal.beta", "reduce.beta"]
run = uninterrupted()


def softmax(row: Any) -> Any:
    powers = np.exp(np.asarray(row) - np.max(row))
    return powers / powers.sum()


# ---- the vector of ALGORITHMS.md 1.1.10: two edges into a node

ROWS = [[0.2, -0.1, 0.5], [0.9, 0.0, -0.3]]
BETA = [[0.1], [-0.2]]
PRODUCT = [[0.185863, 0.137691, 0.250889], [0.249190, 0.101313, 0.075055]]
ONE = pydarts.Space(nodes=1, operations=["max_pool_3x3", "avg_pool_3x3", "skip_connect"])


def vector() -> dict[str, np.ndarray[Any, Any]]:
    tables = {"normal": ROWS, "reduce": ROWS, "normal.beta": BETA, "reduce.beta": BETA}
    return {name: np.array(values) for name, values in tables.items()}


def test_strengths_are_the_product_of_two_softmaxes() -> None:
    path = Trajectory({name: values[None] for name, values in vector().items()}, (0,), ONE, 0)
    assert list(path.strengths) == TABLES
    np.testing.assert_allclose(path.strengths["normal"][0], PRODUCT, atol=1e-6)
    np.testing.assert_allclose(path.strengths["normal.beta"][0, :, 0], [0.574443, 0.425557], atol=1e-6)
    rows = [softmax(row) for row in ROWS]
    entropy = np.mean([-(row * np.log(row)).sum() for row in rows])
    np.testing.assert_allclose(path.entropy("normal"), [entropy], rtol=1e-12)
    np.testing.assert_allclose(path.equal("normal"), [1 / 6, 1 / 6], rtol=1e-12)


def test_the_genotype_is_that_of_the_products() -> None:
    best = (("skip_connect", 0), ("max_pool_3x3", 1))
    found = pydarts.derive(vector(), ONE)
    assert found.normal == best  # edge 0 wins by 0.0017
    assert pydarts.derive(
        {name: value for name, value in vector().items() if name in ONE.tables}, ONE
    ).normal == (
        ("max_pool_3x3", 1),
        ("skip_connect", 0),
    )
    path = Trajectory({name: values[None] for name, values in vector().items()}, (0,), ONE, 0)
    assert path.genotype() == found
    assert {margin.table for margin in path.margins()} == {"normal", "reduce"}


@pytest.mark.parametrize("missing", ["reduce.beta", "normal"])
def test_derive_wants_the_edges_of_all_cells_or_of_none(missing: str) -> None:
    alphas = vector()
    del alphas[missing]
    with pytest.raises(pydarts.DataError, match=missing):
        pydarts.derive(alphas, ONE)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), nodes=st.integers(1, 4))
def test_edge_weights_are_a_softmax_over_the_edges_into_each_node(seed: int, nodes: int) -> None:
    space = pydarts.Space(nodes=nodes)
    rng, edges = np.random.default_rng(seed), space.edges
    alphas = {name: rng.normal(size=(3, len(edges), 8)) for name in space.tables}
    alphas |= {f"{name}.beta": 5 * rng.normal(size=(3, len(edges), 1)) for name in space.tables}
    found = Trajectory(alphas, range(3), space, 2).edge_weights("reduce")
    for node in {target for _, target in edges}:
        rows = [row for row, (_, target) in enumerate(edges) if target == node]
        expected = [softmax(point) for point in alphas["reduce.beta"][:, rows, 0]]
        np.testing.assert_allclose(found[:, rows], expected, rtol=1e-12)


# ---- searches

SCHEDULE = {"name": "linear", "start": 1.0, "end": 0.5}
OPTIONS: dict[str, Any] = {
    "edge_normalization": True,
    "partial_channels": 2,
    "auxiliary_skip": SCHEDULE,
}


def test_a_search_shows_the_edges_but_never_selects_them(tmp_path: Path) -> None:
    result = run(record="step", **OPTIONS)
    edges = len(result.config.resolved_space.edges)
    assert list(result.alphas) == list(result.strengths) == TABLES
    assert (
        result.alphas["normal.beta"].shape
        == result.strengths["normal.beta"].shape
        == (len(result.steps), edges, 1)
    )
    assert sorted(result.architecture) == ["normal", "reduce"]
    assert not np.array_equal(result.alphas["normal.beta"][0], result.alphas["normal.beta"][-1])
    for name in ("normal", "reduce"):
        sums = result.strengths[name].sum(-1)
        np.testing.assert_allclose(sums, result.strengths[f"{name}.beta"][..., 0], rtol=1e-5)
    last = {name: values[-1] for name, values in result.alphas.items()}
    assert (
        pydarts.derive(last, result.config.resolved_space) == result.genotype == result.trajectory.genotype()
    )
    record = result.history[-1]
    assert set(record.entropy) == {"normal", "reduce"}
    for name, value in record.entropy.items():
        assert result.trajectory.entropy(name)[-1] == pytest.approx(value, rel=1e-9)
    result.save(tmp_path / "saved")
    again = pydarts.SearchResult.load(tmp_path / "saved")
    assert list(again.alphas) == TABLES
    np.testing.assert_array_equal(again.strengths["reduce"], result.strengths["reduce"])


def test_events_hold_the_edges_too() -> None:
    heard = Listener()
    pydarts.search(pair(), config(nodes=2, **OPTIONS), callbacks=[heard])
    for info in (heard.steps[0], heard.epochs[-1]):
        assert set(info.alphas) == set(info.strengths) == set(TABLES)
        sums = info.strengths["normal"].sum(-1)
        np.testing.assert_allclose(sums, info.strengths["normal.beta"][:, 0], rtol=1e-5)
        targets = np.array([target for _, target in config(nodes=2, **OPTIONS).resolved_space.edges])
        for node in set(targets.tolist()):
            expected = softmax(info.alphas["normal.beta"][targets == node, 0])
            np.testing.assert_allclose(info.strengths["normal.beta"][targets == node, 0], expected, rtol=1e-5)


def test_the_auxiliary_skip_of_every_epoch_is_recorded() -> None:
    history = run(epochs=3, auxiliary_skip=SCHEDULE).history
    assert [record.diagnostics["auxiliary_skip"] for record in history] == [1.0, 0.75, 0.5]
    assert all("auxiliary_skip" not in record.diagnostics for record in run().history)


def test_the_schedule_of_the_auxiliary_skip_matters() -> None:
    one, other, none = (
        run(record="step", auxiliary_skip=weight).alphas["normal"] for weight in (SCHEDULE, 1.0, None)
    )
    assert np.array_equal(one[: STEPS + 1], other[: STEPS + 1])
    assert not np.array_equal(one, other) and not np.array_equal(one, none)


@pytest.mark.parametrize("method", ["first_order", "unrolled_exact"])
@pytest.mark.parametrize("step", [1, STEPS + 1])
def test_a_resumed_search_is_the_uninterrupted_one(tmp_path: Path, step: int, method: str) -> None:
    changes = OPTIONS | {"record": "step", "hypergradient": method, "relaxation": "gumbel"}
    stopped(tmp_path, step=step, checkpoint_every=1, **changes)
    assert_same(resumed(tmp_path, checkpoint_every=1, **changes), run(**changes))


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_resuming_with_another_value_is_refused(tmp_path: Path, name: str) -> None:
    stopped(tmp_path, step=1, checkpoint_every=1, **OPTIONS)
    other = {"edge_normalization": False, "partial_channels": 4, "auxiliary_skip": 0.5}[name]
    with pytest.raises(pydarts.CheckpointError, match=name):
        resumed(tmp_path, checkpoint_every=1, **OPTIONS | {name: other})


def test_removed_and_decided_candidates_keep_the_weight_of_their_edge() -> None:
    setup = Partial(normalized=True, operations=("skip_connect", "conv_1x1", "none"))
    net, plain = setup.engine(), setup.engine()
    train, valid = setup.batches(2)
    net._net.decide(json.dumps({"decision": "mask", "table": "normal", "row": 0, "columns": [1]}))
    net._net.decide(json.dumps({"decision": "freeze", "table": "normal", "row": 1, "column": 0}))
    gradient = net.arch_gradient(train=train, valid=valid, hypergradient="first_order", xi=0.0)
    assert gradient["normal"][0, 1] == 0 and bool((gradient["normal"][1] == 0).all())
    assert bool((gradient["normal.beta"][:2] != 0).all())
    for decision in (
        {"decision": "mask", "table": "normal.beta", "row": 0, "columns": [0]},
        {"decision": "freeze", "table": "normal.beta", "row": 0, "column": 0},
    ):
        with pytest.raises(ConfigError, match=r"normal\.beta"):
            plain._net.decide(json.dumps(decision))


# ---- contradictions


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"space": "darts-rnn", "partial_channels": 2}, "partial_channels"),
        ({"space": "darts-rnn", "edge_normalization": True}, "edge_normalization"),
        ({"space": "darts-rnn", "auxiliary_skip": 0.5}, "auxiliary_skip"),
        ({"relaxation": "sigmoid", "edge_normalization": True}, "edge_normalization"),
        ({"partial_channels": 0}, "partial_channels"),
        ({"partial_channels": 1.5}, "partial_channels"),
        ({"auxiliary_skip": -0.5}, "auxiliary_skip"),
        ({"auxiliary_skip": Linear(1, -1)}, "auxiliary_skip"),
        ({"edge_normalization": 1}, "edge_normalization"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        SearchConfig(**options)


@pytest.mark.parametrize(
    "option", [{"partial_channels": 2}, {"edge_normalization": True}, {"auxiliary_skip": 1}]
)
def test_networks_of_the_user_have_no_edges(option: dict[str, Any]) -> None:
    choice = pydarts.nn.Choice({"one": torch.nn.Linear(4, 2), "two": torch.nn.Linear(4, 2)})
    x, y = torch.randn(8, 4), torch.randint(2, (8,))
    with pytest.raises(ConfigError, match=next(iter(option))):
        pydarts.search([(x, y)] * 2, SearchConfig(epochs=1, **option), network=choice)


def test_options_survive_a_round_trip() -> None:
    given = SearchConfig(**OPTIONS)
    assert given.auxiliary_skip == Linear(1, 0.5)
    assert SearchConfig.from_json(given.to_json()) == given == SearchConfig.from_dict(given.to_dict())
    assert SearchConfig(auxiliary_skip=SCHEDULE) == SearchConfig(auxiliary_skip=Linear(1, 0.5))
    assert given.replace(auxiliary_skip=None).auxiliary_skip is None
    assert eval(repr(given), {"SearchConfig": SearchConfig, "Linear": Linear}) == given


def test_the_estimate_and_the_cost_fall_with_the_channels() -> None:
    one, four = (Partial(k=k, channels=16).engine().cost() for k in (1, 4))
    assert four["bytes_per_image"] < 0.45 * one["bytes_per_image"]
    assert four["multiply_adds"] < 0.5 * one["multiply_adds"]
