"""Cells drawn by chance: of the space, each once, uniformly, by seed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pydarts
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import Space, random_genotypes

SPACES = [
    "darts",
    "darts-rnn",
    Space(nodes=1, operations=["skip_connect", "none", "conv_1x1"]),
    Space(nodes=6, concat=[7, 3]),
    Space(nodes=3, operations=["none", "relu", "tanh"], concat=[2]),
]


@settings(max_examples=30, deadline=None)
@given(space=st.sampled_from(SPACES), n=st.integers(1, 8), seed=st.integers(0, 2**70))
def test_they_are_of_the_space_distinct_and_the_first_of_any_more(
    space: str | Space, n: int, seed: int
) -> None:
    drawn = random_genotypes(space, n, seed)
    for genotype in drawn:
        genotype.validate(space)
        concat = Space.preset(space).concat if isinstance(space, str) else space.concat
        assert concat in (genotype.normal_concat, genotype.concat)
    assert len(set(drawn)) == n
    assert random_genotypes(space, n + 3, seed)[:n] == drawn
    if isinstance(space, str):  # the others are so small that two seeds may begin alike
        assert random_genotypes(space, n, seed + 1) != drawn


def test_a_small_space_is_drawn_whole_and_no_further() -> None:
    convolutional = Space(nodes=2, operations=["none", "skip_connect", "conv_1x1"], name="small")
    cells = 2**2 * (3 * 2**2)  # node 2: both inputs; node 3: three pairs; an operation of two for each edge
    recurrent = Space(nodes=3, operations=["none", "tanh", "relu"], name="small-rnn")
    for space, number in ((convolutional, cells**2), (recurrent, 2 * 4 * 6)):
        assert len(set(random_genotypes(space, number, seed=5))) == number
        with pytest.raises(pydarts.ConfigError, match=f"{number + 1}.*{space.name}.*{number}"):
            random_genotypes(space, number + 1)


def test_every_operation_and_pair_of_sources_is_as_likely_as_another() -> None:
    # 2000 draws: each count within five deviations of its mean.
    drawn = random_genotypes("darts", 2000, seed=1)
    for table in ("normal", "reduce"):
        flat = [getattr(genotype, table) for genotype in drawn]
        operations = Counter(operation for cell in flat for operation, _ in cell)
        check(operations, 7, 16_000)
        for node, pairs in ((3, 3), (4, 6), (5, 10)):
            sources = Counter(
                tuple(source for _, source in cell[2 * node - 4 : 2 * node - 2]) for cell in flat
            )
            check(sources, pairs, 2000)
    both = Counter((genotype.normal[0], genotype.reduce[0]) for genotype in drawn)
    check(both, 49, 2000)


def check(counts: Counter[Any], kinds: int, draws: int) -> None:
    mean = draws / kinds
    assert len(counts) == kinds
    assert all(abs(count - mean) < 5 * mean**0.5 for count in counts.values()), counts


def test_the_cells_of_a_seed_do_not_move() -> None:
    first = random_genotypes("darts-rnn", n=1, seed=0)[0]
    assert str(first) == (
        "Genotype(recurrent=[('sigmoid', 0), ('identity', 1), ('identity', 0), ('identity', 3), ('relu', 0), "
        "('tanh', 1), ('tanh', 1), ('sigmoid', 4)], concat=[1, 2, 3, 4, 5, 6, 7, 8])"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": 0}, "^n is 0;"),
        ({"n": 2.0}, r"^n is 2\.0;"),
        ({"n": True}, "^n is True;"),
        ({"seed": -1}, "^seed is -1;"),
        ({"seed": None}, "^seed is None;"),
        ({"space": "dart"}, "`dart`.*mean `darts`"),
    ],
)
def test_what_cannot_be_drawn_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(pydarts.ConfigError, match=words):
        random_genotypes(**arguments)


def test_drawn_cells_can_be_built() -> None:
    for genotype in random_genotypes("darts", 3, seed=2):
        assert pydarts.cost(pydarts.build(genotype, channels=4, layers=3), image_size=8)["multiply_adds"] > 0
