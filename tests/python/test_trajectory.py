"""Trajectory: weights, entropies, genotypes and margins against small statements of their own."""

import math

import numpy as np
import pydarts
import pytest
from hypothesis import given, settings
from paths import RECURRENT, SMALL, drawn_paths, make_path
from pydarts import SearchResult, Space, Trajectory


def weights_of(alpha: list[float]) -> list[float]:
    """Softmax of one edge, one number after the other."""
    terms = [math.exp(float(value) - max(alpha)) for value in alpha]
    return [term / sum(terms) for term in terms]


def kept_edges(path: Trajectory, genotype: pydarts.Genotype, table: str) -> dict[tuple[int, int], str]:
    """Edge -> operation of one cell of a genotype."""
    first, k = (1, 1) if path.space.kind == "recurrent" else (2, 2)
    genes = getattr(genotype, table)
    return {(source, first + place // k): operation for place, (operation, source) in enumerate(genes)}


@given(path=drawn_paths())
@settings(max_examples=40, deadline=None)
def test_weights_are_the_softmax_of_every_edge(path: Trajectory) -> None:
    for table, alphas in path.alphas.items():
        weights = path.weights(table)
        assert weights.shape == alphas.shape and weights.dtype == np.float64
        for point in range(len(path)):
            expected = [weights_of(row) for row in alphas[point].tolist()]
            np.testing.assert_allclose(weights[point], expected, rtol=1e-12)
            np.testing.assert_array_equal(path.weights(table, point), weights[point])


@given(path=drawn_paths())
@settings(max_examples=40, deadline=None)
def test_entropies_are_the_mean_over_the_edges_in_nats(path: Trajectory) -> None:
    for table, alphas in path.alphas.items():
        for point, value in enumerate(path.entropy(table)):
            edges = [weights_of(row) for row in alphas[point].tolist()]
            expected = sum(-sum(w * math.log(w) for w in edge if w > 0) for edge in edges) / len(edges)
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)
            assert -1e-12 <= value <= math.log(len(path.space.operations)) + 1e-12


@given(path=drawn_paths())
@settings(max_examples=40, deadline=None)
def test_genotypes_are_those_that_derive_gives_at_every_point(path: Trajectory) -> None:
    genotypes = path.genotypes
    assert len(genotypes) == len(path) == len(path.skips)
    for point, genotype in enumerate(genotypes):
        alphas = {name: values[point] for name, values in path.alphas.items()}
        assert genotype == pydarts.derive(alphas, path.space)
        genes = (*genotype.normal, *genotype.reduce, *genotype.recurrent)
        skips = sum(operation in ("skip_connect", "identity") for operation, _ in genes)
        assert path.skips[point] == skips


@given(path=drawn_paths())
@settings(max_examples=60, deadline=None)
def test_margins_name_what_the_genotype_keeps_and_by_how_much(path: Trajectory) -> None:
    names, k = path.space.operations, 1 if path.space.kind == "recurrent" else 2
    for point, genotype in enumerate(path.genotypes):
        margins = path.margins(point)
        for table in path.alphas:
            ours = [margin for margin in margins if margin.table == table]
            assert {m.edge: m.chosen for m in ours} == kept_edges(path, genotype, table)
            kept = {margin.edge for margin in ours}
            assert [margin.edge for margin in ours] == [e for e in path.space.edges if e in kept]
            weights = {
                edge: dict(zip(names, weights_of(row), strict=True))
                for edge, row in zip(path.space.edges, path.alphas[table][point].tolist(), strict=True)
            }
            for edge in weights:
                del weights[edge]["none"]
            for margin in ours:
                assert margin.node == margin.edge[1] and margin.next not in (margin.chosen, "none")
                others = sorted((w for name, w in weights[margin.edge].items() if name != margin.chosen))
                assert weights[margin.edge][margin.next] == pytest.approx(others[-1], rel=1e-9)
                ahead = weights[margin.edge][margin.chosen] - others[-1]
                assert margin.operation == pytest.approx(ahead, rel=1e-9, abs=1e-12) and margin.operation >= 0
                into = [edge for edge in weights if edge[1] == margin.node]
                left = [max(weights[edge].values()) for edge in into if edge not in kept]
                if len(into) <= k:
                    assert math.isnan(margin.edges)
                else:
                    ahead = max(weights[margin.edge].values()) - max(left)
                    assert margin.edges == pytest.approx(ahead, rel=1e-9, abs=1e-12) and margin.edges >= 0


def test_weights_have_the_bits_of_a_row_by_itself() -> None:
    alpha = np.random.default_rng(0).normal(size=(3, 5, 3))
    path = Trajectory(dict.fromkeys(SMALL.tables, np.float32(alpha)), range(3), SMALL, 2)
    weights = path.weights("normal")
    assert weights.shape == alpha.shape and weights.dtype == np.float64
    for point, row in np.ndindex(3, 5):
        alone = np.full((1, 5, 3), np.float32(alpha[point, row]))
        again = Trajectory(dict.fromkeys(SMALL.tables, alone), (0,), SMALL, 0).weights("normal")
        assert np.array_equal(weights[point, row], again[0, 0])
    np.testing.assert_allclose(weights.sum(-1), 1.0)


def test_edges_that_are_equal_but_for_rounding_are_ranked_as_derive_ranks_them() -> None:
    rng, space = np.random.default_rng(0), Space()
    for _ in range(20):
        row = rng.normal(size=8)
        alphas = {name: np.stack([rng.permutation(row) for _ in range(14)])[None] for name in space.tables}
        path = Trajectory(alphas, (0,), space, 0)
        for table in space.tables:
            chosen = {margin.edge: margin.chosen for margin in path.margins() if margin.table == table}
            assert chosen == kept_edges(path, path.genotypes[0], table)


@given(path=drawn_paths())
@settings(max_examples=40, deadline=None)
def test_after_the_last_change_the_same_edges_keep_the_same_operations(path: Trajectory) -> None:
    kept = [
        {table: kept_edges(path, genotype, table) for table in path.alphas} for genotype in path.genotypes
    ]
    last = path.last_change
    assert all(cells == kept[-1] for cells in kept[last:])
    assert last == 0 or kept[last - 1] != kept[last]


def test_another_ranking_of_the_same_edges_is_no_change() -> None:
    alphas = {name: np.zeros((2, 2, 3)) for name in ("normal", "reduce")}
    alphas["normal"][:, :, 2] = [[2.0, 1.0], [1.0, 2.0]]
    path = Trajectory(alphas, (0, 1), SMALL.replace(nodes=1), 1)
    assert path.genotypes[0] != path.genotypes[1] and path.last_change == 0


def test_an_operation_alone_has_no_next_and_all_kept_edges_no_left_one() -> None:
    space = Space(operations=("none", "sep_conv_3x3"), nodes=1)
    path = Trajectory({name: np.zeros((1, 2, 2)) for name in space.tables}, (0,), space, 0)
    for margin in path.margins():
        assert margin.next == "" and math.isnan(margin.operation) and math.isnan(margin.edges)


def test_time_is_in_epochs_where_alpha_was_recorded_by_epoch_else_in_steps() -> None:
    path = make_path(points=4)
    assert path.time[1] == "epoch" and path.time[0].tolist() == [0, 1, 2, 3]
    dense = Trajectory(path.alphas, path.steps, path.space, 1)
    assert dense.time[1] == "step" and dense.time[0].tolist() == [0, 10, 20, 30]


@pytest.mark.parametrize("space", [SMALL, RECURRENT])
def test_points_count_from_the_end_too(space: Space) -> None:
    path = make_path(space)
    table = space.tables[0]
    np.testing.assert_array_equal(path.weights(table, -1), path.weights(table, 3))
    assert repr(path.margins()) == repr(path.margins(3)) != repr(path.margins(0))
    assert path.weights(table, slice(1, 3)).shape[0] == 2


def test_an_unknown_table_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"normal.*recurrent"):
        make_path(RECURRENT).weights("normal")
    with pytest.raises(ValueError, match="normal"):
        make_path(RECURRENT).entropy("normal")


def test_huge_logits_overflow_nothing() -> None:
    alpha = np.array([[1e4, -1e4, 1e4], *[[0.0, 0.0, 0.0]] * 4])[None]
    weights = Trajectory(dict.fromkeys(SMALL.tables, alpha), (0,), SMALL, 0).weights("normal", 0)
    np.testing.assert_allclose(weights[:2], [[0.5, 0.0, 0.5], [1 / 3] * 3])
    path = Trajectory({"normal": np.full((1, 5, 3), 1e4), "reduce": np.full((1, 5, 3), -1e4)}, (0,), SMALL, 0)
    assert path.entropy("normal")[0] == pytest.approx(math.log(3))


def test_the_trajectory_of_a_search_agrees_with_its_history(tiny_result: SearchResult) -> None:
    path = tiny_result.trajectory
    assert len(path) == len(tiny_result.history) + 1 and path.time[1] == "epoch"
    assert path.genotypes[-1] == tiny_result.genotype
    assert path.skips[1:].tolist() == [record.skip_connections for record in tiny_result.history]
    for table in path.alphas:
        told = [record.entropy[table] for record in tiny_result.history]
        np.testing.assert_allclose(path.entropy(table)[1:], told, rtol=1e-5)
