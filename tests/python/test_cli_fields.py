"""Fields that the command line reads from the source equal those of the imported package."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from typing import Any

import pydarts
import pytest
import typer
from pydarts import _core
from pydarts._train.fields import NETWORK_FIELDS
from pydarts._train.settings import ImageSettings, ModuleSettings, TextSettings
from pydarts._values.variants import AXES, Variant
from pydarts_cli.choices import NETWORK, SEARCH, TRAINING
from pydarts_cli.fields import Field, network_fields, search_fields, train_fields
from pydarts_cli.options import Group
from pydarts_cli.values import Kind

GROUPS = pytest.mark.parametrize("group", [SEARCH, TRAINING, NETWORK], ids=["search", "train", "network"])


def default_of(field: Field) -> Any:
    if field.kind.flag:
        return field.default == "True"
    return None if field.default is None else field.kind.read(field.default)


def test_search_fields_have_the_defaults_of_the_core() -> None:
    core = _core.SearchConfig(space="darts").to_dict()
    assert [field.name for field in search_fields()] == [name for name in core if name != "algorithm"]
    for field in search_fields():
        given, default = default_of(field), getattr(pydarts.SearchConfig(), field.name)
        if isinstance(default, Variant):
            given = getattr(pydarts.SearchConfig.from_dict({field.name: given}), field.name)
        assert given == default, field.name


def test_training_fields_have_the_published_values() -> None:
    declared = {field.name: field.default for field in dataclasses.fields(pydarts.TrainConfig)}
    assert sorted(field.name for field in train_fields()) == sorted(declared)
    for field in train_fields():
        kinds = (ImageSettings, TextSettings, ModuleSettings)
        kind = next((each for each in kinds if hasattr(each, field.name)), ImageSettings)
        assert default_of(field) == getattr(kind, field.name, declared[field.name]), field.name
    for row in NETWORK_FIELDS:
        for kind, value in ((ImageSettings, row.value), (TextSettings, row.text_value)):
            assert bool(value) == hasattr(kind, row.name), row.name
            assert not value or ast.literal_eval(value) == getattr(kind, row.name), row.name


def test_network_fields_have_the_defaults_of_the_constructors() -> None:
    found = {field.name: field for field in network_fields()}
    for kind in (pydarts.nn.ConvolutionalNetwork, pydarts.nn.LanguageModel):
        for name, parameter in inspect.signature(kind).parameters.items():
            if name not in ("genotype", "operations"):
                empty = parameter.default is parameter.empty
                assert default_of(found.pop(name)) == (None if empty else parameter.default), name
    assert not found


@GROUPS
def test_every_field_has_a_meaning_a_type_and_a_panel(group: Group) -> None:
    placed = {name for names in group.panels.values() for name in names}
    for field in group.fields:
        assert len(field.meaning) > 5, field.name
        assert field.kind.flag or field.kind.metavar, field.name
        assert field.name in placed, field.name
    assert placed == {field.name for field in group.fields}


@GROUPS
def test_every_field_becomes_an_option(group: Group) -> None:
    expected = {*(field.name for field in group.fields), *group.renamed}
    assert {parameter.name for parameter in group.parameters()} == expected


def test_a_field_without_a_panel_still_becomes_an_option() -> None:
    new = Field("new_field", Kind(whole=True), "3", "a field that was added")
    group = Group((*SEARCH.fields, new), SEARCH.panels)
    (parameter,) = (found for found in group.parameters() if found.name == "new_field")
    assert parameter.default == "3"


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("epochs", "7", 7),
        ("weight_lr", "3e-4", 3e-4),
        ("arch_betas", "0.9, 0.99", (0.9, 0.99)),
        ("batch_size", "auto", "auto"),
        ("batch_size", "16", 16),
        ("image_size", "32", 32),
        ("image_size", "32,48", (32, 48)),
        ("image_size", "none", None),
        ("operations", "none,skip_connect", ("none", "skip_connect")),
        ("operations", "none", None),
        ("record", "step", "step"),
        ("record", "5", 5),
        ("augment", "none", "none"),
        ("hypergradient", "unrolled", "unrolled"),
        ("device", "cuda:1", "cuda:1"),
        ("space", "darts-rnn", "darts-rnn"),
        ("checkpoint_every", "none", None),
        ("stop", "none", None),
        ("relaxation", "softmax", {"name": "softmax"}),
        ("relaxation", "softmax()", {"name": "softmax"}),
        ("relaxation", "gumbel(temperature=2)", {"name": "gumbel", "temperature": 2}),
        ("relaxation", " gumbel( temperature = 5e-1 ) ", {"name": "gumbel", "temperature": 0.5}),
        *(
            (
                "relaxation",
                f"gumbel(temperature={text})",
                {"name": "gumbel", "temperature": {"name": name, "start": 10.0, "end": 0.1}},
            )
            for name, text in (
                ("linear", "10:0.1"),
                ("linear", "linear(10, 0.1)"),
                ("cosine", "cosine(10,0.1)"),
                ("exponential", "exponential( 10, 1e-1 )"),
            )
        ),
        ("selection", "threshold(value=0.8, k=3)", {"name": "threshold", "value": 0.8, "k": 3}),
        ("stop", "skip_connections(most=3)", {"name": "skip_connections", "most": 3}),
        ("arch_terms", "[]", ()),
        ("arch_terms", "entropy", ({"name": "entropy"},)),
        (
            "arch_terms",
            'beta_decay(weight=0:50), zero_one(weight=1, form="l1")',
            (
                {"name": "beta_decay", "weight": {"name": "linear", "start": 0.0, "end": 50.0}},
                {"name": "zero_one", "weight": 1, "form": "l1"},
            ),
        ),
    ],
)
def test_text_is_converted_to_the_type_of_the_field(field: str, text: str, value: Any) -> None:
    kind = next(found.kind for found in search_fields() if found.name == field)
    assert kind.read(text) == value


@pytest.mark.parametrize(
    ("field", "text", "says"),
    [
        ("epochs", "ten", "ten"),
        ("epochs", "1.5", r"1\.5"),
        ("weight_lr", "fast", "fast"),
        ("batch_size", "big", "auto"),
        ("order", "arch", "arch_first.*weights_first"),
        ("arch_betas", "0.9;0.99", "0.9;0.99"),
        ("mean", "", "comma"),
        ("relaxation", "", "NAME"),
        ("relaxation", "gumbel(", r"gumbel\("),
        ("relaxation", "gumbel(temperature=1))", r"gumbel\("),
        ("relaxation", "gumbel temperature=1", "gumbel temperature=1"),
        ("relaxation", "gumbel(0.5)", r"FIELD=VALUE.*0\.5"),
        ("relaxation", "gumbel(temperature=)", "temperature.*number"),
        ("relaxation", "gumbel(temperature=warm)", "temperature.*warm.*number"),
        ("relaxation", "gumbel(temperature=10:1:0)", "temperature.*10:1:0"),
        ("relaxation", "gumbel(temperature=cosine(10))", r"temperature.*cosine\(10\)"),
        ("relaxation", "gumbel(temperature=cosine(10, low))", "temperature.*low"),
        ("relaxation", "gumbel(temperature=1, temperature=2)", "temperature.*twice"),
        ("relaxation", "gumbel(name=1)", "name.*twice"),
        ("selection", "threshold(value=0.8 k=3)", "value.*0.8 k=3"),
    ],
)
def test_an_error_for_invalid_text_names_the_value_or_the_choices(field: str, text: str, says: str) -> None:
    kind = next(found.kind for found in search_fields() if found.name == field)
    with pytest.raises(typer.BadParameter, match=says):
        kind.read(text)


def test_the_names_of_variants_are_those_of_the_package() -> None:
    for name, base in AXES.items():
        found = [field.kind.variants for field in search_fields() if field.name == name]
        assert found == ([] if name == "schedule" else [tuple(base._classes)]), name


def test_values_that_are_not_text_are_not_converted() -> None:
    assert Kind(whole=True).read([1, 2]) == [1, 2]
