"""Conformance: the published facts hold here, and a fact that does not hold is reported."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import count
from typing import Any

import pydarts
import pytest
import torch
from commands import Outcome as Run
from commands import answered, refused
from pydarts import SearchConfig, _core, build, search
from pydarts._protocol.conformance import (
    checks,
    conformance,
    costs,
    derivation,
    hypergradients,
    reductions,
    relaxations,
    selected,
    toy,
)
from pydarts._protocol.conformance.check import Check, Outcome, Value, agree
from pydarts.algorithms import BetaDecay, Relaxation, Softmax, Uniform
from pydarts_cli.conformance import written

pytestmark = pytest.mark.usefixtures("one_thread", "somewhere")

QUICK = "derive.ties"


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return conformance()


# ---- the checks


def test_every_check_passes(outcomes: list[Outcome]) -> None:
    assert not [outcome for outcome in outcomes if not outcome.passed]
    assert [outcome.name for outcome in outcomes] == [check.name for check in checks()]


def test_every_check_has_a_name_of_its_own_a_subject_and_a_source(outcomes: list[Outcome]) -> None:
    assert len({outcome.name for outcome in outcomes}) == len(outcomes)
    for outcome in outcomes:
        assert outcome.compares and len(outcome.source) > 10, outcome.name
        assert outcome.seconds >= 0 and outcome.tolerance >= 0


@pytest.mark.parametrize(
    "group",
    [
        "weights",
        "derive",
        "relaxation",
        "term",
        "schedule",
        "toy",
        "gradient",
        "hessian",
        "partial_channels",
        "equal",
        "repeat",
        "cost",
    ],
)
def test_every_group_of_facts_is_checked(group: str) -> None:
    assert selected([f"{group}.*"])


def test_every_published_genotype_is_derived_and_counted() -> None:
    names = {check.name for check in checks()}
    for genotype in pydarts.genotypes.__all__:
        assert f"derive.{genotype}" in names
        same_size = "DARTS_RNN_V2" if genotype == "DARTS_RNN_V1" else genotype
        assert any(name.startswith(f"weights.{same_size}.") for name in names)


def test_every_registered_relaxation_has_vectors_of_both_functions() -> None:
    assert set(relaxations.VECTORS) == {known["name"] for known in _core.variants("relaxation")}
    for _, vectors in relaxations.VECTORS.values():
        assert any(vector.weights for vector in vectors) and any(vector.backward for vector in vectors)


def test_a_relaxation_without_vectors_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Relaxation._classes, "newest", Softmax)
    found = {outcome.name: outcome.passed for outcome in conformance(["relaxation.newest*"])}
    assert found == {
        "relaxation.newest.derivative": True,
        "relaxation.newest.weights": False,
        "relaxation.newest.backward": False,
    }


def test_a_derivative_that_is_nan_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Softmax, "backward", lambda self, alpha, *_, **__: math.nan * torch.as_tensor(alpha))
    assert failed("relaxation.softmax.*") == {"relaxation.softmax.derivative", "relaxation.softmax.backward"}


# ---- checks that must fail


def failed(*patterns: str) -> set[str]:
    return {outcome.name for outcome in conformance(patterns) if not outcome.passed}


def test_options_that_are_on_differ_from_darts(monkeypatch: pytest.MonkeyPatch) -> None:
    on: dict[str, dict[str, Any]] = {
        "partial_channels": {"partial_channels": 2},
        "temperature": {"relaxation": Softmax(temperature=0.9)},
        "perturbation": {"perturbation": Uniform(epsilon=0.1)},
        "term": {"arch_terms": BetaDecay(weight=0.1)},
    }
    off = reductions._OFF
    monkeypatch.setattr(reductions, "_OFF", tuple((name, on[name], *rest) for name, _, *rest in off))
    assert failed("equal.*") == {f"equal.{name}" for name in on}


def test_another_step_has_another_fixed_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "XI", 0.11)
    assert failed("toy.*") == {"toy.unrolled", "toy.unrolled_exact"}


def test_another_virtual_step_has_another_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypergradients, "SearchConfig", lambda **_: SearchConfig(weight_decay=0.11))
    assert failed("hessian.unrolled_loss") == {"hessian.unrolled_loss"}


def test_another_scale_has_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    error = hypergradients._error
    monkeypatch.setattr(hypergradients, "_error", lambda epsilon: error(2 * epsilon) + 1e-5)
    assert failed("hessian.order", "hessian.error") == {"hessian.order", "hessian.error"}


def test_another_seed_is_another_search(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = count()
    monkeypatch.setattr(
        reductions, "search", lambda data, config: search(data, config.replace(seed=next(seeds)))
    )
    assert failed("repeat.*") == {"repeat.search"}


def test_another_network_has_another_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "build", lambda genotype, **sizes: build(genotype, **sizes | {"layers": 5}))
    assert failed("cost.*") == {"cost.genotypes"}


def test_other_genotypes_are_not_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = derivation._logits

    def reversed_rows(*arguments: Any) -> Any:
        return logits(*arguments)[::-1]

    monkeypatch.setattr(derivation, "_logits", reversed_rows)
    assert failed("derive.*") == {f"derive.{name}" for name in pydarts.genotypes.__all__}


# ---- how checks are run


def test_a_failed_check_and_an_exception_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Value:
        raise ValueError("no such number")

    first = Check("toy.wrong", "", "", 1.0, lambda: 2.0, 0.5)
    monkeypatch.setattr(toy, "checks", lambda: [first, replace(first, name="toy.broken", find=broken)])
    found = {outcome.name: outcome for outcome in conformance(["toy.*", QUICK])}
    assert {name: outcome.passed for name, outcome in found.items()} == {
        QUICK: True,
        "toy.wrong": False,
        "toy.broken": False,
    }
    assert found["toy.wrong"].found == 2.0
    assert "ValueError" in str(found["toy.broken"].found)


@pytest.mark.parametrize(
    ("expected", "found", "tolerance", "same"),
    [
        (2.0, 2.5, 0.5, True),
        (2.0, 2.6, 0.5, False),
        (3, 3, 0.0, True),
        ((1.0, 2.0), (1.0, 2.0), 0.0, True),
        ((1.0, 2.0), (1.0, 2.1), 0.05, False),
        ((1.0, 2.0), (1.0,), 9.0, False),
        (0.0, math.nan, 9.0, False),
        ((0.0, 0.0), (0.0, math.nan), 9.0, False),
        (0.0, math.inf, 9.0, False),
        ("a", "a", 0.0, True),
        ("a", "b", 9.0, False),
        ("1", 1.0, 9.0, False),
    ],
)
def test_values_agree_within_their_tolerance(
    expected: Value, found: Value, tolerance: float, same: bool
) -> None:
    assert agree(expected, found, tolerance) == same


def test_checks_use_one_thread_and_restore_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    check = Check("toy.threads", "", "", 1, torch.get_num_threads)
    monkeypatch.setattr(toy, "checks", lambda: [check])
    torch.set_num_threads(2)
    try:
        assert conformance(["toy.*"])[0].passed
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_patterns_select_checks_in_their_order() -> None:
    names = [check.name for check in selected(["toy.*", QUICK])]
    assert names == [QUICK, "toy.first_order", "toy.unrolled", "toy.unrolled_exact", "toy.implicit"]
    with pytest.raises(pydarts.ConfigError, match=r"toys\.\*.*toy\.\*"):
        selected([QUICK, "toys.*"])


# ---- the command


def test_json_has_every_field_of_every_check() -> None:
    answer = answered("conformance", "--only", QUICK, "--only", "schedule.linear", "--json").json
    assert answer["passed"] is True and answer["seconds"] >= 0
    assert [check["name"] for check in answer["checks"]] == [QUICK, "schedule.linear"]
    for check in answer["checks"]:
        assert set(check) == {field.name for field in fields(Outcome)}
        assert check["passed"] is True
    assert answer["checks"][1]["expected"] == [10, 9.960241, 0.1]


def test_the_table_has_every_check() -> None:
    lines = answered("conformance", "--only", "schedule.*").out.splitlines()
    assert len(lines) == len(selected(["schedule.*"])) + 2
    for check, line in zip(selected(["schedule.*"]), lines[1:], strict=False):
        assert line.split()[:2] == ["passed", check.name] and check.compares in line


def test_rows_of_the_whole_table_are_not_wrapped(outcomes: list[Outcome]) -> None:
    # 200 columns, less the state, tolerance, seconds and the space between columns.
    widths = [
        max(map(len, texts))
        for texts in (
            [outcome.name for outcome in outcomes],
            [outcome.compares for outcome in outcomes],
            [written(outcome.expected) for outcome in outcomes],
            [written(outcome.found) for outcome in outcomes],
        )
    ]
    assert sum(widths) <= 200 - 6 - 9 - 7 - 12, widths


def test_a_failed_check_sets_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Check("toy.wrong", "", "a publication", 1.0, lambda: math.nan, 0.5)
    monkeypatch.setattr(toy, "checks", lambda: [wrong])
    run = Run("conformance", "--only", "toy.*", "--only", QUICK, "--json")
    assert run.code == 1 and run.json["passed"] is False
    assert {check["name"]: check["passed"] for check in run.json["checks"]} == {
        QUICK: True,
        "toy.wrong": False,
    }
    assert run.json["checks"][1]["found"] is None
    run = Run("conformance", "--only", "toy.*")
    assert run.code == 1 and "toy.wrong" in run.out and "a publication" in run.out


def test_an_unknown_name_is_a_usage_error() -> None:
    assert "derive.tie" in refused(2, "conformance", "--only", "derive.tie")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1_930_618, "1,930,618"),
        (0.0, "0"),
        ((0.25, 1e-9), "0.25, 1e-09"),
        (math.nan, "nan"),
        ("DARTS_V2", "DARTS_V2"),
    ],
)
def test_values_are_written_with_six_decimals(value: Value, text: str) -> None:
    assert written(value) == text
