"""Searches that reports are made of, and what tells the tests of them apart."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
from conftest import Stop, make_arrays, make_config
from pydarts import History, SearchResult, SearchRow, SearchTable, Space

ATTACK = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'


def moving(base: SearchResult, points: int = 6, **changes: Any) -> SearchResult:
    """A search whose first node turns to a skip connection halfway, and whose weights move all along."""
    alpha = np.zeros((points, 5, 3))
    alpha[:, :, 2] = np.linspace(0.5, 1.5, points)[:, None]
    alpha[points // 2 :, 0, 1] = 3.0
    reduce = np.zeros((points, 5, 3))
    reduce[:, :, 1] = np.linspace(0.1, 2.0, points)[:, None]
    alphas = {"normal": alpha, "reduce": reduce}
    genotype = pydarts.derive(
        {name: values[-1] for name, values in alphas.items()}, base.config.resolved_space
    )
    fields = {"alphas": alphas, "steps": tuple(range(0, 3 * points, 3)), "genotype": genotype}
    return replace(base, **(fields | changes))


def restless(base: SearchResult, points: int, rows: int = 1) -> SearchResult:
    """α at every step; the first rows of the tables move about by chance."""
    walk = np.zeros((points, 5, 3))
    walk[:, :, 2] = 0.5
    walk[:, :rows] = np.random.default_rng(0).normal(size=(points, rows, 3))
    alphas = {"normal": walk, "reduce": walk[::-1].copy()}
    genotype = pydarts.derive(
        {name: values[-1] for name, values in alphas.items()}, base.config.resolved_space
    )
    return replace(base, alphas=alphas, steps=tuple(range(points)), genotype=genotype)


def table_of(result: SearchResult, name: str = "mine") -> SearchTable:
    drawn = pydarts.random_genotypes(result.config.resolved_space, 3, seed=1)
    rows = [
        SearchRow(
            name=name, origin="searched", status="complete", genotype=result.genotype, accuracy=0.9, loss=0.3,
            weights=1234, search_accuracy=0.7, search_loss=0.9,
        )
    ]  # fmt: skip
    rows += [
        SearchRow(
            name=f"random {number}", origin="random", status="complete", genotype=genotype,
            accuracy=accuracy, loss=0.4,
        )
        for number, (genotype, accuracy) in enumerate(zip(drawn, (0.8, 0.85, 0.95), strict=True))
    ]  # fmt: skip
    return SearchTable(rows)


def recurrent_result() -> SearchResult:
    generator = np.random.default_rng(0)
    config = pydarts.SearchConfig(
        space="darts-rnn", nodes=3, units=8, batch_size=4, bptt=7, epochs=2, device="cpu", progress=False
    )
    return pydarts.search((generator.integers(0, 12, 400), generator.integers(0, 12, 200)), config)


def interrupted_result() -> SearchResult:
    result = pydarts.search(make_arrays(), make_config(record="step"), Stop(KeyboardInterrupt(), 0))
    assert result.status == "interrupted" and not result.history
    return result


KINDS = ("moving", "recurrent", "interrupted", "failed", "long", "attack")


def written(tiny_result: SearchResult, folder: Path) -> dict[str, Path]:
    """A report of every kind of search."""
    evil = Space(
        name=ATTACK, nodes=2, operations=("none", "skip_connect", "sep_conv_3x3"), kind="convolutional"
    )
    found = {
        "moving": (moving(tiny_result), table_of(moving(tiny_result))),
        "recurrent": (recurrent_result(), None),
        "interrupted": (interrupted_result(), None),
        "failed": (
            replace(
                tiny_result, status="failed", history=History([]), steps=(0,),
                alphas={name: values[:1] for name, values in tiny_result.alphas.items()},
            ),
            None,
        ),
        "long": (restless(tiny_result, 1500), None),
        "attack": (
            replace(tiny_result, config=tiny_result.config.replace(space=evil)),
            table_of(tiny_result, name=ATTACK),
        ),
    }  # fmt: skip
    return {
        name: result.report(folder / f"{name}.html", table=table) for name, (result, table) in found.items()
    }
