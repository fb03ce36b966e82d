"""`pydarts.derive` against the plain statement of the derivation in `tests/reference`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pydarts
import pytest
import reference
import torch

Table: TypeAlias = npt.NDArray[np.float64]
Draw: TypeAlias = Callable[[np.random.Generator, int, int], Table]

RNN = ("none", "tanh", "relu", "sigmoid", "identity")
DRAWS = 3000


def recurrent(rows: Table, k: int = 1) -> list[tuple[str, int]]:
    """The same rules for a cell whose step j = 1 … 8 is fed by states 0 … j - 1."""
    chosen: list[tuple[str, int]] = []
    row = 0
    for j in range(1, 9):
        strengths = []
        for i in range(j):
            weights = reference.softmax(rows[row + i])
            best = max(range(1, len(RNN)), key=weights.__getitem__)  # column 0 is none
            strengths.append((-weights[best], i, RNN[best]))
        chosen += [(name, i) for _, i, name in sorted(strengths)[:k]]
        row += j
    return chosen


def small(g: np.random.Generator, rows: int, columns: int) -> Table:
    """As a search begins."""
    return 1e-3 * g.standard_normal((rows, columns))


def large(g: np.random.Generator, rows: int, columns: int) -> Table:
    return 3.0 * g.standard_normal((rows, columns))


def one_decimal(g: np.random.Generator, rows: int, columns: int) -> Table:
    return np.round(g.standard_normal((rows, columns)), 1)


def three_values(g: np.random.Generator, rows: int, columns: int) -> Table:
    return g.integers(-1, 2, (rows, columns)).astype(np.float64)


def two_values(g: np.random.Generator, rows: int, columns: int) -> Table:
    return 0.1 * g.integers(0, 2, (rows, columns))


def shuffled_rows(g: np.random.Generator, rows: int, columns: int) -> Table:
    """The same logits on every edge, each time in another order: the order of the sum decides."""
    return g.permuted(np.tile(g.standard_normal(columns), (rows, 1)), axis=1)


def repeated_rows(g: np.random.Generator, rows: int, columns: int) -> Table:
    return g.standard_normal((3, columns))[g.integers(0, 3, rows)]


def shifted_rows(g: np.random.Generator, rows: int, columns: int) -> Table:
    """One row and its copies shifted by constants, which softmax does not see but for rounding."""
    return g.standard_normal(columns) + g.integers(-3, 4, (rows, 1)).astype(np.float64)


def single_precision(g: np.random.Generator, rows: int, columns: int) -> Table:
    return g.standard_normal((rows, columns)).astype(np.float32).astype(np.float64)


def extreme(g: np.random.Generator, rows: int, columns: int) -> Table:
    """Far beyond where exp over- or underflows."""
    return 1e3 * np.round(g.standard_normal((rows, columns)), 1)


def strong_none(g: np.random.Generator, rows: int, columns: int) -> Table:
    """`none` outweighs all else on most edges, up to leaving nothing to the others."""
    table = np.round(g.standard_normal((rows, columns)), 1)
    table[:, 0] = g.choice([0.0, 5.0, 50.0, 1000.0], rows)
    return table


KINDS: tuple[Draw, ...] = (
    small,
    large,
    one_decimal,
    three_values,
    two_values,
    shuffled_rows,
    repeated_rows,
    shifted_rows,
    single_precision,
    extreme,
    strong_none,
)


def flat(genes: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    return [(str(name), int(node)) for name, node in genes]


def test_three_thousand_convolutional_alphas_give_the_genotype_of_the_plain_statement() -> None:
    generator = np.random.default_rng(0)
    operations = reference.DARTS_OPERATIONS
    for n in range(DRAWS // 2):  # two tables each
        draw, k = KINDS[n % len(KINDS)], (None, 1, 2, 3, 2, 5, 7)[n % 7]
        alphas = {name: draw(generator, 14, 8) for name in ("normal", "reduce")}
        genotype = pydarts.derive(alphas, k=k)
        for name, table in alphas.items():
            expected = reference.derive(table, operations, 4, 2 if k is None else k)
            assert flat(getattr(genotype, name)) == expected, (n, draw.__name__, k, table.tolist())


def test_three_thousand_recurrent_alphas_give_the_genotype_of_the_plain_statement() -> None:
    generator = np.random.default_rng(1)
    for n in range(DRAWS):
        draw = KINDS[n % len(KINDS)]
        table = draw(generator, 36, 5)
        genotype = pydarts.derive({"recurrent": table}, "darts-rnn", k=None if n % 2 else 1)
        assert flat(genotype.recurrent) == recurrent(table), (n, draw.__name__, table.tolist())


@pytest.mark.parametrize("k", [2, 3, 8])
def test_a_recurrent_cell_can_keep_more_than_one_edge(k: int) -> None:
    generator = np.random.default_rng(k)
    for draw in KINDS:
        table = draw(generator, 36, 5)
        assert flat(pydarts.derive({"recurrent": table}, "darts-rnn", k).recurrent) == recurrent(table, k)


@pytest.mark.parametrize(
    ("operations", "nodes"),
    [
        (("skip_connect", "none", "sep_conv_3x3"), 3),
        (("conv_1x1", "conv_3x3"), 1),
        (("max_pool_3x3",), 2),
        (("sep_conv_7x7", "conv_7x1_1x7", "none"), 6),
        (tuple(reference.OPERATIONS), 4),
    ],
)
def test_other_spaces_derive_by_the_same_rules(operations: tuple[str, ...], nodes: int) -> None:
    generator = np.random.default_rng(2)
    space = pydarts.Space(operations=operations, nodes=nodes)
    edges = len(space.edges)
    for n in range(110):
        draw, k = KINDS[n % len(KINDS)], 1 + n % 4
        alphas = {name: draw(generator, edges, len(operations)) for name in ("normal", "reduce")}
        genotype = pydarts.derive(alphas, space, k)
        for name, table in alphas.items():
            assert flat(getattr(genotype, name)) == reference.derive(table, operations, nodes, k)


def test_equal_alphas_go_to_the_first_operation_and_the_first_nodes() -> None:
    genotype = pydarts.derive({name: np.zeros((14, 8)) for name in ("normal", "reduce")})
    assert flat(genotype.normal) == flat(genotype.reduce) == [("max_pool_3x3", 0), ("max_pool_3x3", 1)] * 4
    genotype = pydarts.derive({"recurrent": np.zeros((36, 5))}, "darts-rnn")
    assert flat(genotype.recurrent) == [("tanh", 0)] * 8


def test_none_weighs_in_the_softmax_but_is_never_chosen() -> None:
    table = np.zeros((14, 8))
    table[:, 0] = 9.0  # strongest everywhere
    table[[0, 2, 5, 9], 0] = -9.0  # but on the edges from node 0
    table[[1, 3, 6, 10], 3] = 1.0  # a larger logit than any from node 0, in a smaller share
    genotype = pydarts.derive({"normal": table, "reduce": table}, k=1)
    assert flat(genotype.normal) == [("max_pool_3x3", 0)] * 4


def test_edges_are_listed_by_strength() -> None:
    table = np.zeros((14, 8))
    table[[1, 4, 8, 13], 4] = 2.0  # the last edge of every node
    table[[0, 3, 6, 10], 5] = 1.0
    genotype = pydarts.derive({"normal": table, "reduce": table})
    expected = [(4, 1), (5, 0), (4, 2), (5, 1), (4, 3), (5, 1), (4, 4), (5, 1)]
    assert flat(genotype.normal) == [(reference.DARTS_OPERATIONS[column], node) for column, node in expected]


def test_a_genotype_names_the_nodes_that_are_concatenated() -> None:
    genotype = pydarts.derive({name: np.zeros((14, 8)) for name in ("normal", "reduce")})
    assert tuple(genotype.normal_concat) == tuple(genotype.reduce_concat) == (2, 3, 4, 5)
    space = pydarts.Space(nodes=3, concat=(4, 2))
    genotype = pydarts.derive({name: np.zeros((9, 8)) for name in ("normal", "reduce")}, space)
    assert sorted(genotype.normal_concat) == sorted(genotype.reduce_concat) == [2, 4]
    genotype = pydarts.derive({"recurrent": np.zeros((36, 5))}, "darts-rnn")
    assert tuple(genotype.concat) == tuple(range(1, 9))


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda table: torch.tensor(table, requires_grad=True), id="a tensor"),
        pytest.param(lambda table: table.tolist(), id="lists"),
        pytest.param(lambda table: np.asfortranarray(table), id="an array by columns"),
        pytest.param(lambda table: np.repeat(table, 2, axis=1)[:, ::2], id="a strided view"),
        pytest.param(lambda table: torch.tensor(table.T.copy()).T, id="a transposed tensor"),
    ],
)
def test_alpha_may_come_in_any_form(form: Callable[[Table], Any]) -> None:
    table = np.random.default_rng(3).standard_normal((14, 8))
    genotype = pydarts.derive({"normal": form(table), "reduce": form(table)})
    assert flat(genotype.normal) == reference.derive(table, reference.DARTS_OPERATIONS, 4, 2)


def test_single_precision_is_widened_before_the_softmax() -> None:
    generator = np.random.default_rng(4)
    for _ in range(50):
        table = np.round(generator.standard_normal((14, 8)), 1).astype(np.float32)
        expected = reference.derive(table.astype(np.float64), reference.DARTS_OPERATIONS, 4, 2)
        assert flat(pydarts.derive({"normal": table, "reduce": table}).normal) == expected


def test_the_genotype_of_a_network_is_that_of_its_alpha() -> None:
    net = pydarts.Supernet("darts", channels=2, layers=2, nodes=2, image_size=8)
    genotype = pydarts.derive(net.alphas, net.space)
    for name, table in net.alphas.items():
        expected = reference.derive(table.double().numpy(), reference.DARTS_OPERATIONS, 2, 2)
        assert flat(getattr(genotype, name)) == expected
