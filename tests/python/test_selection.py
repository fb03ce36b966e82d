"""Selections from Python: `derive` and configurations by the name of the rule, and the plain statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pydarts
import pytest
import reference
from conftest import make_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

SPACES = {name: pydarts.Space.preset(name) for name in ("darts", "darts-rnn")}
RULES: dict[str, Mapping[str, Any]] = {
    "strongest": {"k": 3},
    "argmax": {},
    "threshold": {"value": 0.3, "k": 2},
}


def logits(name: str) -> st.SearchStrategy[Any]:
    """Tables with many ties."""
    space = SPACES[name]
    numbers = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 3.0])
    table = arrays.arrays(np.float64, (len(space.edges), len(space.operations)), elements=numbers)
    return st.fixed_dictionaries(dict.fromkeys(space.tables, table))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_rule_is_that_of_the_plain_statement(rule: str, name: str, data: st.DataObject) -> None:
    space, alphas = SPACES[name], data.draw(logits(name))
    selection = {"name": rule, **RULES[rule]}
    found = pydarts.derive(alphas, space, selection=selection)
    for table, values in alphas.items():
        strengths = np.array([reference.softmax(row) for row in values])
        expected = reference.select(strengths, space.operations, space.inputs, rule, **RULES[rule])
        assert [list(node) for node in found.nodes(table)] == expected
    found.validate(space)


def test_the_defaults_are_the_published_rule() -> None:
    alphas = {name: np.random.default_rng(0).normal(size=(14, 8)) for name in ("normal", "reduce")}
    for selection in ("strongest", {"name": "strongest"}, {"name": "strongest", "k": 0}):
        assert pydarts.derive(alphas, selection=selection) == pydarts.derive(alphas)
    k3 = pydarts.derive(alphas, k=3)
    assert k3 == pydarts.derive(alphas, selection={"name": "strongest", "k": 3}) != pydarts.derive(alphas)
    assert [len(node) for node in k3.nodes("normal")] == [2, 3, 3, 3]


def test_argmax_keeps_every_edge() -> None:
    alphas = {name: np.random.default_rng(0).normal(size=(14, 8)) for name in ("normal", "reduce")}
    found = pydarts.derive(alphas, selection="argmax")
    assert [len(node) for node in found.nodes("reduce")] == [2, 3, 4, 5]
    assert pydarts.build(found, channels=2, layers=3)


def test_threshold_compares_strengths_of_the_relaxation() -> None:
    # The mixing weight of identity is α itself, so the threshold is one on α.
    alphas = {name: np.zeros((14, 8)) for name in ("normal", "reduce")}
    alphas["normal"][[1, 9, 10, 13], 3] = [0.9, 0.85, 0.84, 1.0]
    found = pydarts.derive(alphas, relaxation="identity", selection="threshold")
    assert found.nodes("normal") == (
        (("skip_connect", 1),),
        (),
        (),
        (("skip_connect", 4), ("skip_connect", 0)),
    )
    assert found.nodes("reduce") == ((), (), (), ())
    assert found.skip_connections == 3 and found.kind == "convolutional"


def test_a_temperature_changes_strengths_and_not_their_order_in_a_row() -> None:
    alphas = {name: np.random.default_rng(1).normal(size=(14, 8)) for name in ("normal", "reduce")}
    cold: dict[str, Any] = {"name": "softmax", "temperature": 0.01}
    some = pydarts.derive(alphas, selection="threshold")
    every = pydarts.derive(alphas, relaxation=cold, selection="threshold")
    assert some.nodes("normal") == ((), (), (), ())
    assert len(every.edges("normal")) > 4
    falling = {"name": "linear", "start": 1.0, "end": 0.01}
    cooled = {"name": "softmax", "temperature": falling}
    assert pydarts.derive(alphas, relaxation=cooled, selection="threshold") == every, "its last value"


@pytest.mark.parametrize(
    "arguments",
    [
        {"selection": "strangest"},
        {"selection": 3},
        {"selection": {"k": 2}},
        {"selection": {"name": "strongest", "k": -1}},
        {"selection": {"name": "strongest", "k": 1.5}},
        {"selection": {"name": "argmax", "k": 1}},
        {"selection": {"name": "threshold", "value": 2.0}},
        {"selection": {"name": "threshold", "k": 0}},
        {"selection": "threshold", "k": 2},
        {"selection": {"name": "strongest", "k": 1}, "k": 2},
        {"selection": "argmax", "k": 2},
        {"k": 0},
        {"k": -1},
        {"k": "2"},
        {"relaxation": "softmix"},
        {"relaxation": {"name": "softmax", "temperature": 0.0}},
    ],
)
def test_what_contradicts_itself_is_refused(arguments: dict[str, Any]) -> None:
    alphas = {name: np.zeros((14, 8)) for name in ("normal", "reduce")}
    with pytest.raises(pydarts.ConfigError):
        pydarts.derive(alphas, **arguments)


def test_a_masked_logit_is_minus_infinity_and_never_nan() -> None:
    alphas = {name: np.zeros((14, 8)) for name in ("normal", "reduce")}
    alphas["normal"][:, 1] = -np.inf
    assert pydarts.derive(alphas).normal[0] == ("avg_pool_3x3", 0)
    alphas["normal"][3, 2] = np.nan
    with pytest.raises(pydarts.DataError, match="row 3"):
        pydarts.derive(alphas, selection="argmax")


def test_the_configuration_has_the_rule() -> None:
    assert pydarts.SearchConfig() == pydarts.SearchConfig(selection="strongest")
    chosen = pydarts.SearchConfig(selection={"name": "threshold", "value": 0.9})
    assert chosen != pydarts.SearchConfig() and hash(chosen) != hash(pydarts.SearchConfig())
    assert chosen.to_dict()["selection"] == {"name": "threshold", "value": 0.9, "k": 2}
    assert pydarts.SearchConfig.from_dict(chosen.to_dict()) == chosen
    assert pydarts.SearchConfig.from_json(chosen.to_json()) == chosen
    for wrong in ("strangest", {"name": "threshold", "k": 0}, {"name": "argmax", "value": 1}):
        with pytest.raises(pydarts.ConfigError, match=r"selection|argmax"):
            pydarts.SearchConfig(selection=wrong)


@pytest.mark.parametrize(
    ("selection", "counts"), [("argmax", [2, 3]), ({"name": "threshold", "value": 1.0}, [0, 0])]
)
def test_a_search_ends_with_the_genotype_of_its_rule(
    selection: Any, counts: list[int], tmp_path: Any
) -> None:
    cfg = pydarts.SearchConfig(
        nodes=2, channels=2, layers=3, epochs=1, batch_size=8, progress=False, selection=selection
    )
    result = pydarts.search(make_arrays(32), cfg)
    assert [len(node) for node in result.genotype.nodes("normal")] == counts
    result.save(tmp_path / "run")
    again = pydarts.SearchResult.load(tmp_path / "run")
    assert again.genotype == result.genotype and again.config == result.config
    net = pydarts.build(result, channels=2, layers=3, num_classes=4, in_channels=1)
    report = result.inherit(net)
    assert report.weights > 0
