"""Strengths: the mean mixing weights of every relaxation, with schedules, masks and decided rows."""

import math
from typing import Any

import numpy as np
import pydarts
import pytest
from paths import SMALL, make_path
from pydarts import Space, Trajectory, _core
from pydarts._results.tables import AlphaTable, decision_in_words, in_effect, tables_of

DECISION: dict[str, Any] = {"table": "normal", "row": 1}


def softmax(alpha: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    powers = np.exp(alpha - np.nanmax(alpha, -1, keepdims=True))
    return powers / np.nansum(powers, -1, keepdims=True)


def path_of(alpha: np.ndarray[Any, Any], **more: Any) -> Trajectory:
    """One table of logits as both tables of a search recorded by epoch."""
    return Trajectory(dict.fromkeys(SMALL.tables, alpha), range(len(alpha)), SMALL, len(alpha) - 1, **more)


def logits(points: int = 5) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).normal(size=(points, len(SMALL.edges), 3))


def names() -> list[str]:
    """The relaxations that this build has."""
    known = ["softmax", "identity", "gumbel", "sigmoid", "gdas", "dirichlet", "random"]
    found = []
    for name in known:
        try:
            _core.relaxation_at(name, 0, 1)
        except pydarts.ConfigError:
            continue
        found.append(name)
    return found


def of_dirichlet(alpha: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """κ = elu(α) + 1."""
    return np.where(alpha > 0, alpha + 1, np.exp(alpha))


# ---- values


@pytest.mark.parametrize("name", names())
def test_strengths_are_the_mean_mixing_weights(name: str) -> None:
    alpha = logits()
    expected = {
        "softmax": softmax,
        "gumbel": softmax,  # the softmax of α, whatever the temperature
        "gdas": softmax,
        "dirichlet": lambda alpha: of_dirichlet(alpha) / of_dirichlet(alpha).sum(-1, keepdims=True),
        "random": lambda alpha: np.full_like(alpha, 1 / alpha.shape[-1]),
        "sigmoid": lambda alpha: 1 / (1 + np.exp(-alpha)),
        "identity": lambda alpha: alpha,
    }[name](alpha)
    path = path_of(alpha, relaxation=name)
    np.testing.assert_allclose(path.weights("normal"), expected, rtol=1e-12)
    assert path.about["shares"] == (name not in ("sigmoid", "identity"))
    shares = np.abs(expected) / np.abs(expected).sum(-1, keepdims=True)
    terms = np.where(shares > 0, -shares * np.log(np.where(shares > 0, shares, 1)), 0.0)
    np.testing.assert_allclose(path.entropy("normal"), terms.sum(-1).mean(-1), rtol=1e-9)


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        ("linear", lambda share: 4 + (0.5 - 4) * share),
        ("cosine", lambda share: 0.5 + 3.5 * (1 + math.cos(math.pi * share)) / 2),
        ("exponential", lambda share: 4 * (0.5 / 4) ** share),
    ],
)
def test_a_point_has_the_temperature_of_its_epoch(kind: str, at: Any) -> None:
    alpha = logits(5)
    schedule = {"name": kind, "start": 4.0, "end": 0.5}
    path = path_of(alpha, relaxation={"name": "softmax", "temperature": schedule}, total_epochs=9)
    assert path.about["scheduled"] == ["temperature"]
    for point, epoch in enumerate([0, 0, 1, 2, 3]):  # the initial α has the temperature of the first epoch
        temperature = at(epoch / 8)
        assert path.parameters(point)["temperature"] == pytest.approx(temperature)
        np.testing.assert_allclose(path.weights("normal", point), softmax(alpha[point] / temperature))
        np.testing.assert_array_equal(path.weights("normal", point), path.weights("normal")[point])


def test_points_may_be_at_steps_of_any_epochs() -> None:
    alpha, schedule = logits(3), {"name": "linear", "start": 3.0, "end": 1.0}
    relaxation = {"name": "softmax", "temperature": schedule}
    path = Trajectory(
        dict.fromkeys(SMALL.tables, alpha), (0, 7, 9), SMALL, 1, relaxation,
        parameter_epochs=[0, 0, 1], total_epochs=3,
    )  # fmt: skip
    for point, temperature in enumerate([3.0, 3.0, 2.0]):
        np.testing.assert_allclose(path.weights("reduce", point), softmax(alpha[point] / temperature))


def test_version_1_is_softmax_with_temperature_1() -> None:
    alpha = logits()
    one, other = path_of(alpha), path_of(alpha, relaxation={"name": "softmax", "temperature": 1.0})
    np.testing.assert_array_equal(one.weights("normal"), other.weights("normal"))
    # The sum runs in the order of the columns, after the maximum is subtracted.
    for row in alpha.reshape(-1, 3):
        powers = [math.exp(value - max(row)) for value in row]
        total = (powers[0] + powers[1]) + powers[2]
        alone = path_of(np.full((1, 5, 3), row)).weights("normal")[0, 0]
        np.testing.assert_allclose(alone, [power / total for power in powers], rtol=4e-16)


# ---- masks


def test_a_masked_candidate_has_strength_0_and_the_others_share_the_rest() -> None:
    alpha = logits()
    alpha[2:, 0, 1] = np.nan
    path = path_of(alpha)
    weights = path.weights("normal")
    assert np.all(weights[2:, 0, 1] == 0) and np.all(weights[:2, 0, 1] > 0)
    np.testing.assert_allclose(weights.sum(-1), 1.0)
    np.testing.assert_allclose(weights[2:, 0, [0, 2]], softmax(alpha[2:, 0][:, [0, 2]]))
    shown, masked = path.shown("normal"), path.masked("normal")
    assert np.isnan(shown[2:, 0, 1]).all() and np.isnan(shown).sum() == 3
    assert masked.sum() == 3 and masked[2:, 0, 1].all()


def test_a_masked_candidate_is_neither_selected_nor_next() -> None:
    alpha = np.zeros((2, 5, 3))
    alpha[:, 0] = [0.0, 5.0, 1.0]
    alpha[1, 0, 1] = np.nan
    path = path_of(alpha)
    assert path.genotypes[0].edges("normal")[0][0] == "skip_connect"
    assert path.genotypes[1].edges("normal")[0][0] == "sep_conv_3x3"
    margin = next(margin for margin in path.margins(1) if margin.edge == (0, 2))
    assert margin.chosen == "sep_conv_3x3" and margin.next == "" and math.isnan(margin.operation)


def test_a_masked_candidate_is_not_selected_before_negative_weights() -> None:
    alpha = np.full((1, 5, 3), -1.0)
    alpha[0, :, 1] = np.nan  # its strength is 0, which is more than -1
    path = path_of(alpha, relaxation="identity")
    assert {name for name, *_ in path.genotype().edges("normal")} == {"sep_conv_3x3"}


# ---- decided rows


def test_a_decided_row_has_constant_strengths_from_the_next_epoch_on() -> None:
    alpha = logits(6)
    freeze = {"decision": "freeze", **DECISION, "column": 2}
    path = path_of(alpha, decisions=[(2, freeze)])
    # Point 3 is the end of epoch 2, at which the decision was taken after its record.
    assert path.frozen("normal").any(0).tolist() == [False, True, False, False, False]
    assert path.frozen("normal")[:, 1].tolist() == [False] * 4 + [True] * 2
    assert not path.frozen("reduce").any() and not path.dropped("normal").any()
    weights = path.weights("normal")
    np.testing.assert_array_equal(weights[4:, 1], [[0, 0, 1]] * 2)
    np.testing.assert_allclose(weights[:4], softmax(alpha[:4]))
    np.testing.assert_array_equal(path.weights("normal", slice(3, 5)), weights[3:5])
    assert ("sep_conv_3x3", 1, 2) in path.genotypes[5].edges("normal")


def test_the_last_point_has_all_decisions() -> None:
    drop = {"decision": "drop", **DECISION}
    path = path_of(logits(4), decisions=[(2, drop)])
    assert path.dropped("normal")[:, 1].tolist() == [False] * 3 + [True]
    assert np.all(path.weights("normal")[3, 1] == 0) and path.entropy("normal")[3] > 0
    assert (1, 2) not in [(i, j) for _, i, j in path.genotypes[3].edges("normal")]


def test_returning_to_an_earlier_state_undoes_decisions() -> None:
    drop = {"decision": "drop", **DECISION}
    back = {"decision": "roll_back", "epoch": 2}
    taken = [(0, drop), (2, {**drop, "row": 2}), (3, back)]
    assert in_effect(taken) == [(0, drop)]
    path = path_of(logits(4), decisions=taken)
    assert path.dropped("normal")[-1].tolist() == [False, True, False, False, False]


def test_decisions_have_positions_in_epochs_and_in_steps() -> None:
    stop = {"decision": "stop", "reason": "2 skip connections"}
    assert [at for at, *_ in path_of(logits(4), decisions=[(1, stop)]).decided()] == [2.0]
    dense = Trajectory(
        make_path(points=5).alphas, (0, 4, 8, 12, 16), SMALL, 2,
        parameter_epochs=[0, 0, 0, 1, 1], decisions=[(0, stop), (1, stop)],
    )  # fmt: skip
    assert [at for at, *_ in dense.decided()] == [8.0, 16.0]


def test_decisions_in_words_name_table_row_and_candidates() -> None:
    tables = tables_of(SMALL)
    said = decision_in_words({"decision": "mask", **DECISION, "columns": [0, 2]}, tables)
    assert all(part in said for part in ("normal", tables["normal"].words(1), "none", "sep_conv_3x3"))
    assert "skip_connect" in decision_in_words({"decision": "freeze", **DECISION, "column": 1}, tables)
    assert "because" in decision_in_words({"decision": "stop", "reason": "because"}, tables)


# ---- ragged tables


def ragged(points: int = 3, **more: Any) -> Trajectory:
    """A table of no cell, whose rows have 2, 3 and 1 candidates."""
    table = AlphaTable("mine", ("first", "second", "third"), (("a", "b"), ("b", "c", "a"), ("c",)))
    alpha = np.random.default_rng(0).normal(size=(points, 3, 3))
    alpha[:, table.padding] = np.nan
    return Trajectory({"mine": alpha}, range(points), None, points - 1, tables={"mine": table}, **more)


def test_columns_are_named_per_row_and_padding_is_nothing() -> None:
    path = ragged()
    table, weights, shown = path.tables["mine"], path.weights("mine"), path.shown("mine")
    assert table.names == ("a", "b", "c") and table.columns == 3
    np.testing.assert_array_equal(shown[:, 0, :2], weights[:, 0, :2])
    np.testing.assert_array_equal(shown[:, 1], weights[:, 1][:, [2, 0, 1]])
    assert np.isnan(shown[:, 0, 2]).all() and np.isnan(shown[:, 2, :2]).all()
    assert not path.masked("mine").any() and np.all(weights[:, 2] == [1, 0, 0])
    assert table.most == pytest.approx((math.log(2) + math.log(3)) / 3)
    assert path.equal("mine").tolist() == pytest.approx([1 / 2, 1 / 3, 1])


def test_tables_of_no_cell_have_no_genotype() -> None:
    path = ragged()
    with pytest.raises(AttributeError):
        path.genotype()
    assert path.kept("mine") == {(0, "b"), (1, "b"), (2, "c")}
    with pytest.raises(TypeError):
        Trajectory(path.alphas, range(3), None, 2)


@pytest.mark.parametrize("name", names())
def test_equal_logits_have_one_strength(name: str) -> None:
    expected = {"sigmoid": 0.5, "identity": 0.0}.get(name, 1 / 3)
    assert path_of(logits(), relaxation=name).equal("normal").tolist() == pytest.approx([expected] * 5)


# ---- the engine's function


def test_shapes_must_fit() -> None:
    alpha = np.zeros((2, 5, 3))
    with pytest.raises(pydarts.DataError):
        _core.strengths("softmax", alpha, alpha[:1], [0, 0], 1)
    with pytest.raises(pydarts.DataError):
        _core.strengths("softmax", alpha, alpha, [0], 1)
    with pytest.raises(pydarts.ConfigError, match="nothing"):
        path_of(alpha, relaxation="nothing").weights("normal")


def test_a_search_has_the_strengths_of_its_relaxation() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 255, (16, 1, 8, 8), dtype=np.uint8), np.arange(16) % 2
    schedule = {"name": "linear", "start": 2.0, "end": 0.5}
    cfg = pydarts.SearchConfig(
        space=Space(nodes=1), channels=2, layers=3, epochs=3, batch_size=8, progress=False, arch_lr=0.5,
        relaxation={"name": "softmax", "temperature": schedule},
    )  # fmt: skip
    result = pydarts.search((X, y), cfg)
    for table, strengths in result.strengths.items():
        alphas = result.alphas[table].astype(np.float64)
        for point, temperature in enumerate([2.0, 2.0, 1.25, 0.5]):
            np.testing.assert_allclose(strengths[point], softmax(alphas[point] / temperature), rtol=1e-9)
        recorded = [record.entropy[table] for record in result.history]
        np.testing.assert_allclose(result.trajectory.entropy(table)[1:], recorded, rtol=1e-5)
