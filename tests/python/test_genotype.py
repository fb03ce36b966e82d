"""Genotype: JSON and the paper's notation both ways, validation, and the published ones."""

import copy
import inspect
import json
import pickle
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydarts import Genotype, Space, _core, derive, genotypes

PUBLISHED = {name: getattr(genotypes, name) for name in genotypes.__all__}


def test_every_published_genotype_is_an_attribute() -> None:
    assert set(PUBLISHED) == set(_core.published_genotypes())


@pytest.mark.parametrize("genotype", PUBLISHED.values(), ids=PUBLISHED)
def test_json_notation_dict_repr_copy_and_pickle_give_the_same_genotype_back(genotype: Genotype) -> None:
    back = [
        Genotype.from_json(genotype.to_json()),
        Genotype.from_notation(str(genotype)),
        Genotype.from_dict(genotype.to_dict()),
        eval(repr(genotype)),
        copy.deepcopy(genotype),
        pickle.loads(pickle.dumps(genotype)),
    ]
    for other in back:
        assert other == genotype and hash(other) == hash(genotype)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_genotypes_belong_to_their_space(name: str) -> None:
    PUBLISHED[name].validate("darts-rnn" if "RNN" in name else "darts")


def test_the_second_order_genotype_is_that_of_the_paper() -> None:
    genotype = genotypes.DARTS_V2
    assert genotype.normal == (
        ("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
        ("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2),
    )  # fmt: skip
    assert genotype.normal_concat == genotype.reduce_concat == (2, 3, 4, 5)
    assert genotype.recurrent == () and genotype.concat == ()
    assert genotype.skip_connections == 2 + 3


def test_a_recurrent_genotype_has_no_convolutional_cells() -> None:
    genotype = genotypes.DARTS_RNN_V2
    assert len(genotype.recurrent) == 8
    assert genotype.normal == genotype.reduce == () and genotype.normal_concat == ()
    assert genotype.skip_connections == sum(name == "identity" for name, _ in genotype.recurrent)


def test_notation_of_the_published_code_is_understood() -> None:
    text = (
        "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0)], normal_concat=range(2, 3), "
        "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1)], reduce_concat=[2])"
    )
    genotype = Genotype.from_notation(text)
    assert genotype.normal == (("sep_conv_3x3", 1), ("skip_connect", 0))
    assert genotype.normal_concat == (2,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Genotype(",
        "Genotype(normal=[('sep_conv_3x3', 1)",
        "Genotype(normal=[('bogus_conv', 1)], normal_concat=[2], reduce=[], reduce_concat=[])",
        "__import__('os').system('true')",
        "Genotype(normal=range(2), normal_concat=[2])",
    ],
)
def test_malformed_notation_is_refused(text: str) -> None:
    with pytest.raises(pydarts.GenotypeError, match=r"at character \d+: "):
        Genotype.from_notation(text)


@given(text=st.text(max_size=60))
def test_any_text_is_a_genotype_or_a_genotype_error(text: str) -> None:
    for read in (Genotype.from_notation, Genotype.from_json):
        with pytest.raises(pydarts.GenotypeError):
            read(text)


@pytest.mark.parametrize("text", ["[]", "{}", '{"normal": 3}', '{"normal": [["skip_connect"]]}', "null"])
def test_json_that_is_no_genotype_is_refused(text: str) -> None:
    with pytest.raises(pydarts.GenotypeError):
        Genotype.from_json(text)


def test_a_genotype_is_immutable() -> None:
    with pytest.raises(AttributeError):
        genotypes.DARTS_V2.normal = ()
    with pytest.raises(AttributeError, match="normals"):
        genotypes.DARTS_V2.normals  # type: ignore[attr-defined]  # noqa: B018


def test_a_genotype_of_another_space_is_refused() -> None:
    for space in ("darts-rnn", Space(nodes=3), Space(operations=["none", "skip_connect"])):
        with pytest.raises(pydarts.GenotypeError):
            genotypes.DARTS_V2.validate(space)
    with pytest.raises(pydarts.ConfigError):
        genotypes.DARTS_V2.validate("dart")


def test_json_holds_nodes_as_lists_of_operation_and_source() -> None:
    data = json.loads(genotypes.DARTS_V1.to_json())
    assert data["normal"][0] == [["sep_conv_3x3", 1], ["sep_conv_3x3", 0]]
    cells = {name: [edge for edges in data[name] for edge in edges] for name in ("normal", "reduce")}
    assert Genotype.from_dict(data | cells) == genotypes.DARTS_V1
    assert list(data) == ["normal", "normal_concat", "reduce", "reduce_concat"]


def test_edges_go_to_the_nodes_that_the_cells_of_a_space_have() -> None:
    genotype = genotypes.DARTS_V2
    assert [target for *_, target in genotype.edges("reduce")] == [2, 2, 3, 3, 4, 4, 5, 5]
    assert tuple(edge[:2] for edge in genotype.edges("reduce")) == genotype.reduce
    assert genotype.edges("recurrent") == ()
    recurrent = genotypes.DARTS_RNN_V2.edges("recurrent")
    assert [target for *_, target in recurrent] == list(range(1, 9))
    for found in PUBLISHED.values():
        space = Space.preset("darts-rnn" if found.recurrent else "darts")
        for table in space.tables:
            assert {(source, target) for _, source, target in found.edges(table)} <= set(space.edges)
    with pytest.raises(ValueError, match="normal, reduce, recurrent"):
        genotype.edges("normal_concat")


def test_a_set_of_edges_forgets_their_order_in_a_node_and_nothing_else() -> None:
    values = genotypes.DARTS_V2.to_dict()
    edges = genotypes.DARTS_V2.edge_set
    assert len(edges) == 16 and ("normal", "dil_conv_3x3", 2, 5) in edges
    genes = genotypes.DARTS_V2.normal
    for order, same in (([0, 1, 3, 2, 5, 4, 7, 6], True), ([0, 1, 2, 3, 4, 7, 6, 5], False)):
        other = Genotype.from_dict(values | {"normal": [genes[place] for place in order]})
        assert other != genotypes.DARTS_V2 and (other.edge_set == edges) == same
    exchanged = Genotype.from_dict(values | {"normal": values["reduce"], "reduce": values["normal"]})
    assert exchanged.edge_set != edges


@pytest.mark.parametrize("kind", ["array", "float32", "bfloat16", "list", "grad"])
def test_derive_takes_arrays_tensors_and_lists(kind: str) -> None:
    values = np.zeros((14, 8))
    values[0, 3] = values[1, 4] = 2.0
    given: dict[str, Any] = {
        "array": values,
        "float32": torch.tensor(values, dtype=torch.float32),
        "bfloat16": torch.tensor(values, dtype=torch.bfloat16),
        "list": values.tolist(),
        "grad": torch.tensor(values, requires_grad=True),
    }
    genotype = derive({"normal": given[kind], "reduce": given[kind]})
    assert genotype.normal[:2] == (("skip_connect", 0), ("sep_conv_3x3", 1))


def test_derive_keeps_k_edges_and_knows_recurrent_spaces() -> None:
    alphas = {"normal": np.zeros((14, 8)), "reduce": np.zeros((14, 8))}
    assert len(derive(alphas, k=1).normal) == 4
    assert len(derive({"recurrent": np.zeros((36, 5))}, "darts-rnn").recurrent) == 8


@pytest.mark.parametrize(
    "alphas",
    [
        {},
        {"normal": np.zeros((14, 8))},
        {"normal": np.zeros((14, 8)), "reduce": np.zeros((13, 8))},
        {"normal": np.zeros((14, 8)), "reduce": np.zeros((14, 7))},
        {"normal": np.zeros((14, 8)), "reduce": np.full((14, 8), np.nan)},
        {"normal": np.zeros((14, 8)), "reduced": np.zeros((14, 8))},
        {"normal": np.zeros((14, 8)), "reduce": np.zeros(8)},
        {"normal": np.zeros((14, 8)), "reduce": "zeros"},
    ],
)
def test_derive_refuses_wrong_tables(alphas: dict[str, object]) -> None:
    with pytest.raises(pydarts.DataError):
        derive(alphas)  # type: ignore[arg-type]


def test_derive_refuses_a_bare_array_and_a_trajectory_with_the_remedy() -> None:
    with pytest.raises(pydarts.DataError, match=r"alphas.*ndarray"):
        derive(np.zeros((14, 8)))  # type: ignore[arg-type]
    with pytest.raises(pydarts.DataError, match=r"\[-1\]"):
        derive({"normal": np.zeros((5, 14, 8)), "reduce": np.zeros((5, 14, 8))})


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_edges_are_those_that_were_derived_however_many_a_node_keeps(k: int) -> None:
    rng = np.random.default_rng(k)
    for _ in range(20):
        alphas = {name: rng.normal(size=(14, 8)) for name in ("normal", "reduce")}
        genotype = pydarts.derive(alphas, k=k)
        edges = genotype.edges("normal")
        assert [(name, source) for name, source, _ in edges] == list(genotype.normal)
        ends = [end for _, _, end in edges]
        assert ends == [node for node in range(2, 6) for _ in range(min(k, node))]
        assert Genotype.from_json(genotype.to_json()) == genotype
        assert Genotype.from_notation(str(genotype)) == genotype == eval(repr(genotype))
    assert genotype.to_svg().count("<svg") == 1 and "<svg" in genotype._repr_html_()
    assert genotype.to_dot().count(" -> ") == len(genotype.normal) + len(genotype.reduce) + 8


def test_edges_that_make_no_cell_are_refused() -> None:
    good = [[("skip_connect", 0), ("sep_conv_3x3", 1)]]
    for bad in ([[("skip_connect", 0), ("sep_conv_3x3", 7)]], [("skip_connect", 0)], []):
        with pytest.raises(pydarts.GenotypeError, match="`reduce`"):
            Genotype(normal=good, normal_concat=[2], reduce=bad, reduce_concat=[2])
    with pytest.raises(pydarts.GenotypeError, match="node 3"):
        Genotype(normal=good, normal_concat=[2, 3], reduce=good, reduce_concat=[2])


def test_a_list_of_edges_that_fits_several_cells_is_printed_by_nodes() -> None:
    for count, kept in ((4, 1), (4, 2)):
        nodes = [[("skip_connect", source) for source in range(kept)] for _ in range(count)]
        genotype = Genotype(normal=nodes, normal_concat=[2, 3], reduce=nodes, reduce_concat=[2, 3, 4])
        assert Genotype.from_notation(str(genotype)) == genotype == eval(repr(genotype))


def test_none_is_not_a_space_a_configuration_or_a_genotype() -> None:
    for call in (
        Space.preset,
        Space.from_dict,
        pydarts.random_genotypes,
        genotypes.DARTS_V2.validate,
        lambda none: derive({"normal": np.zeros((14, 8)), "reduce": np.zeros((14, 8))}, space=none),
    ):
        with pytest.raises(pydarts.SpaceError):
            call(None)  # type: ignore[operator]
    with pytest.raises(pydarts.ConfigError):
        pydarts.SearchConfig.from_dict(None)  # type: ignore[arg-type]
    with pytest.raises(pydarts.GenotypeError):
        Genotype.from_dict(None)  # type: ignore[arg-type]


def test_helpers_of_the_core_are_not_in_the_public_classes() -> None:
    assert not {"whole_space", "validate_in", "parse_notation"} & {
        *dir(pydarts.SearchConfig), *dir(Genotype), *dir(genotypes.DARTS_V2)
    }  # fmt: skip


def test_the_signature_has_the_names_of_the_fields() -> None:
    parameters = inspect.signature(Genotype).parameters
    cells = ["normal", "normal_concat", "reduce", "reduce_concat", "recurrent", "concat"]
    assert list(parameters) == [*cells, "cell", "cell_concat"]
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_cells_and_nodes_may_be_iterators() -> None:
    cell = [[("skip_connect", 0), ("conv_1x1", 1)]]
    expected = Genotype(normal=cell, normal_concat=[2], reduce=cell, reduce_concat=[2])
    nodes = ((edge for edge in edges) for edges in cell)
    outputs = (np.array(node) for node in (2,))
    assert Genotype(normal=nodes, normal_concat=outputs, reduce=iter(cell), reduce_concat={2}) == expected
