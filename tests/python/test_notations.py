"""Genotypes as others write them: nothing is lost either way, and what is wrong is named."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pydarts
import pytest
import torch
from drawn import convolutional, genes, recurrent
from hypothesis import given
from hypothesis import strategies as st
from pydarts import Genotype, genotypes

CONVOLUTIONAL = ["DARTS_V1", "DARTS_V2", "PC_DARTS_CIFAR", "PC_DARTS_IMAGENET"]
DARTS = tuple(name for name in pydarts.Space.preset("darts").operations if name != "none")
CELLS = ("normal", "reduce", "recurrent")
PREFIX = "NetworkSelectorDatasetInfo:darts:"


@st.composite
def of_all_nodes(draw: st.DrawFn) -> Genotype:
    """Cells of one to six nodes, not of the same number, whose outputs are of all."""
    parts: dict[str, Any] = {}
    for cell in ("normal", "reduce"):
        nodes = draw(st.integers(1, 6))
        parts |= {cell: draw(genes(nodes)), f"{cell}_concat": range(2, nodes + 2)}
    return Genotype(**parts)


@st.composite
def of_darts(draw: st.DrawFn) -> Genotype:
    normal, reduce = draw(genes(4, DARTS)), draw(genes(4, DARTS))
    return Genotype(normal=normal, normal_concat=range(2, 6), reduce=reduce, reduce_concat=range(2, 6))


def ordered(genotype: Genotype) -> Genotype:
    """The same cells, with the edges into each node sorted by source."""

    def by_source(cell: Any) -> list[Any]:
        return [sorted(edges, key=lambda edge: edge[1]) for edges in cell]

    values = genotype.to_dict()
    return Genotype.from_dict(values | {cell: by_source(values[cell]) for cell in ("normal", "reduce")})


@given(genotype=st.one_of(convolutional(), recurrent()))
def test_notation_and_json_give_any_genotype_back(genotype: Genotype) -> None:
    outputs = (genotype.normal_concat, genotype.reduce_concat, genotype.concat)
    cells = (
        (genotype.edges(name), max(concat)) for name, concat in zip(CELLS, outputs, strict=True) if concat
    )
    # If the output ends before the last node, another number of edges per node may explain a flat list.
    if all(edges[-1][2] == last for edges, last in cells):
        assert Genotype.from_notation(str(genotype)) == genotype
    assert Genotype.from_json(genotype.to_json()) == genotype
    assert Genotype.from_dict(genotype.to_dict()) == genotype


@given(genotype=st.one_of(convolutional(), recurrent()), data=st.data())
def test_a_notation_with_a_character_too_much_names_its_position_or_is_another_genotype(
    genotype: Genotype, data: st.DataObject
) -> None:
    text = str(genotype)
    at = data.draw(st.integers(1, len(text)))  # text before the genotype is ignored
    broken = text[:at] + data.draw(st.sampled_from("!;{$")) + text[at:]
    with pytest.raises(pydarts.GenotypeError, match=r"^at character (\d+): ") as caught:
        Genotype.from_notation(broken)
    # Inside of a name it is the name that is wrong, from its beginning.
    named = int(str(caught.value).split()[2].rstrip(":"))
    assert broken[named - 1 : at].replace("_", "").isalnum() or named - 1 == at


@given(genotype=of_all_nodes())
def test_the_dictionary_of_nnis_hub_gives_a_genotype_back(genotype: Genotype) -> None:
    values = genotype.to_nni()
    assert Genotype.from_nni(values) == genotype
    assert Genotype.from_nni(values).to_nni() == values
    numbers = {key: value[0] if isinstance(value, list) else value for key, value in values.items()}
    assert Genotype.from_nni(numbers | {"width": 36, "depth": 20}) == genotype


@given(genotype=of_darts())
def test_the_dictionary_of_nas_bench_301_gives_the_cells_back(genotype: Genotype) -> None:
    values = genotype.to_nasbench301()
    assert Genotype.from_nasbench301(values) == ordered(genotype)
    assert Genotype.from_nasbench301(values).to_nasbench301() == values
    others = {"OptimizerSelector:optimizer": "sgd", PREFIX + "layers": 20}
    unused = {PREFIX + f"edge_normal_{row}": None for row in range(14)}
    assert Genotype.from_nasbench301(others | unused | values) == ordered(genotype)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_published_genotypes_come_back_from_every_form(name: str) -> None:
    genotype = getattr(genotypes, name)
    assert Genotype.from_nni(genotype.to_nni()) == genotype
    assert Genotype.from_nasbench301(genotype.to_nasbench301()) == ordered(genotype)


def test_the_network_is_the_same_in_whatever_order_the_edges_into_a_node_stand() -> None:
    ours = pydarts.build(genotypes.DARTS_V2, channels=4, layers=3).double().eval()
    again = Genotype.from_nasbench301(genotypes.DARTS_V2.to_nasbench301())
    theirs = pydarts.build(again, channels=4, layers=3).double().eval()
    assert again != genotypes.DARTS_V2, "so that there is something to see"
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    assert torch.equal(ours(x), theirs(x))


def test_the_forms_are_the_published_ones() -> None:
    nni = genotypes.DARTS_V2.to_nni()
    assert len(nni) == 32
    # From the hub's own statement of the second-order cell.
    expected = {
        "normal/op_4_1": "skip_connect", "normal/input_4_0": [1], "normal/input_4_1": [0],
        "normal/op_5_1": "dil_conv_3x3", "normal/input_5_1": [2],
        "reduce/op_3_0": "skip_connect", "reduce/input_3_0": [2], "reduce/input_3_1": [1],
        "reduce/op_4_0": "max_pool_3x3", "reduce/input_5_0": [2], "reduce/input_5_1": [1],
    }  # fmt: skip
    assert expected.items() <= nni.items()
    bench = genotypes.DARTS_V2.to_nasbench301()
    assert len(bench) == 16 + 6
    first = {0: 0, 1: 0, 2: 2, 3: 5, 4: 9}  # how many edges there are into the nodes before
    for cell, flat in (("normal", genotypes.DARTS_V2.normal), ("reduce", genotypes.DARTS_V2.reduce)):
        for position, (operation, source) in enumerate(flat):
            row = first[position // 2 + 1] + source
            assert bench.pop(f"{PREFIX}edge_{cell}_{row}") == operation
    assert bench == {
        PREFIX + "inputs_node_normal_3": "0_1",
        PREFIX + "inputs_node_normal_4": "0_1",
        PREFIX + "inputs_node_normal_5": "0_2",
        PREFIX + "inputs_node_reduce_3": "1_2",
        PREFIX + "inputs_node_reduce_4": "0_2",
        PREFIX + "inputs_node_reduce_5": "1_2",
    }


NNI = genotypes.DARTS_V2.to_nni()
BENCH = genotypes.DARTS_V2.to_nasbench301()
EDGE, INPUTS = PREFIX + "edge_normal_0", PREFIX + "inputs_node_reduce_4"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "list"),
        ({}, "normal/op_2_0"),
        ({key: value for key, value in NNI.items() if key != "reduce/input_4_1"}, "reduce/input_4_1"),
        (
            NNI | {"normal/op_3_0": "max_pool_5x5"},
            "'normal/op_3_0'.*'max_pool_5x5'",
        ),
        (NNI | {"normal/op_3_0": "none"}, "'normal/op_3_0'.*'none'"),
        (NNI | {"normal/op_3_0": ["tanh"]}, "normal/op_3_0.*tanh"),
        (NNI | {"normal/input_3_0": [3]}, r"'normal/input_3_0'.*\[3\]"),
        (NNI | {"normal/input_3_0": [0, 1]}, r"normal/input_3_0.*\[0, 1\]"),
        (NNI | {"normal/input_3_0": True}, "normal/input_3_0.*True"),
        (NNI | {"normal/op_5_2": "conv_1x1"}, "normal/op_5_2"),
        (NNI | {"normal/op_99_0": "conv_1x1"}, "normal/op_6_0"),
    ],
)
def test_a_wrong_dictionary_of_nnis_hub_is_refused_with_the_key(values: Any, words: str) -> None:
    with pytest.raises(pydarts.GenotypeError, match=words):
        Genotype.from_nni(values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (None, "NoneType"),
        (NNI, EDGE),
        (BENCH | {EDGE: "none"}, f"{EDGE}.*none.*max_pool_3x3"),
        (BENCH | {EDGE: "conv_1x1"}, f"{EDGE}.*conv_1x1"),
        (BENCH | {INPUTS: "2_0"}, f"{INPUTS}.*2_0.*0_1"),
        (BENCH | {INPUTS: "0_4"}, f"{INPUTS}.*0_4"),
        (BENCH | {INPUTS: "0_1"}, "edge_reduce_6"),
        (BENCH | {PREFIX + "edge_reduce_13": "skip_connect"}, "edge_reduce_13"),
        (BENCH | {PREFIX + "inputs_node_normal_6": "0_1"}, "inputs_node_normal_6"),
    ],
)
def test_a_wrong_dictionary_of_nas_bench_301_is_refused_with_the_key(values: Any, words: str) -> None:
    with pytest.raises(pydarts.GenotypeError, match=words):
        Genotype.from_nasbench301(values)


@given(
    values=st.dictionaries(
        st.one_of(st.sampled_from([*NNI, *BENCH]), st.text(max_size=5), st.integers()),
        st.one_of(
            st.sampled_from(["skip_connect", "0_1", [0], 1]), st.none(), st.floats(), st.text(max_size=5)
        ),
    )
)
def test_any_dictionary_is_a_genotype_or_a_genotype_error(values: dict[Any, Any]) -> None:
    for read, whole in ((Genotype.from_nni, NNI), (Genotype.from_nasbench301, BENCH)):
        with pytest.raises(pydarts.GenotypeError):
            read(values)
        with suppress(pydarts.GenotypeError):
            assert isinstance(read(whole | values), Genotype)


def change(**parts: Any) -> Genotype:
    return Genotype.from_dict(genotypes.DARTS_V2.to_dict() | parts)


ALL = r"\[2, 3, 4, 5\]"


@pytest.mark.parametrize(
    ("genotype", "nni", "bench"),
    [
        (genotypes.DARTS_RNN_V1, "recurrent", "recurrent"),
        (
            change(reduce_concat=[2, 3]),
            rf"reduce.*\[2, 3\].*{ALL}",
            rf"reduce.*\[2, 3\].*{ALL}",
        ),
        (change(normal_concat=[5, 4, 3, 2]), f"cell normal: .*; .*{ALL}", f"cell normal: .*; .*{ALL}"),
        (change(normal=[[("skip_connect", 0)]] * 4), "cell normal: node 2", "cell normal: node 2"),
    ],
)
def test_a_genotype_that_a_form_cannot_hold_is_refused(genotype: Genotype, nni: str, bench: str) -> None:
    with pytest.raises(pydarts.GenotypeError, match=nni):
        genotype.to_nni()
    with pytest.raises(pydarts.GenotypeError, match=bench):
        genotype.to_nasbench301()


FLAT = str(genotypes.DARTS_V2)
NESTED = (
    "[[('sep_conv_3x3', 0), ('sep_conv_3x3', 1)], [('sep_conv_3x3', 0), ('sep_conv_3x3', 1)], "
    "[('sep_conv_3x3', 1), ('skip_connect', 0)], [('skip_connect', 0), ('dil_conv_3x3', 2)]]"
)
REDUCE = (
    "[[('max_pool_3x3', 0), ('max_pool_3x3', 1)], [('skip_connect', 2), ('max_pool_3x3', 1)], "
    "[('max_pool_3x3', 0), ('skip_connect', 2)], [('skip_connect', 2), ('max_pool_3x3', 1)]]"
)
WEIGHTED = NESTED.replace("0)", "0, 0.1302)").replace("1)", "1, tensor(0.13, device='cuda:0'))")
DICTIONARY = (
    f"{{'normal': {WEIGHTED}, 'normal_concat': [2, 3, 4, 5], 'reduce': {REDUCE}, "
    "'reduce_concat': array([2, 3, 4, 5])}"
)


@pytest.mark.parametrize(
    "text",
    [
        f"Genotype(normal={NESTED}, normal_concat=range(2, 6), reduce={REDUCE}, reduce_concat=range(2, 6))",
        f"Genotype(normal={WEIGHTED}, normal_concat=range(2, 6), reduce={REDUCE}, reduce_concat=range(2, 6))",
        f"Genotype({NESTED}, [2, 3, 4, 5], {REDUCE}, reduce_concat=(2, 3, 4, 5,))",
        DICTIONARY,
        f"2019-12-30 04:54:12,339 genotype = {FLAT}",
        f"# second order\nDARTS_V2 = genotypes.{FLAT}\n",
        FLAT.replace(", ", ",\n    "),
        FLAT.replace("[2, 3, 4, 5]", "range(2, 6, 1)"),
        FLAT.replace("[2, 3, 4, 5]", "np.arange(2, 6, 1)"),
        FLAT.replace("('", "(u'"),
        DICTIONARY.replace("'", "u'", 1),
        f'"{FLAT}"',
        f"'{FLAT}'\n",
        f"genotype: `{FLAT}`",
        f"```python\n{FLAT}\n```\n",
        f'```\nX = "{DICTIONARY}"  # 97.2 %\n```',
    ],
)
def test_text_of_other_tools_is_a_genotype(text: str) -> None:
    assert Genotype.from_notation(text) == genotypes.DARTS_V2


def test_edges_with_weights_are_read_from_dictionaries() -> None:
    values = genotypes.DARTS_V2.to_dict()
    for name in ("normal", "reduce"):
        values[name] = [tuple((*edge, torch.tensor(0.1)) for edge in node) for node in values[name]]
    assert Genotype.from_dict(values) == genotypes.DARTS_V2


def test_cells_of_nas_bench_201_are_read() -> None:
    text = "arch = |nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"
    genotype = Genotype.from_notation(text)
    assert genotype.to_nasbench201() == text.removeprefix("arch = ")
    with pytest.raises(pydarts.GenotypeError, match="cell"):
        genotype.to_nni()
    with pytest.raises(pydarts.GenotypeError):
        genotype.to_nasbench301()


def test_the_text_of_several_genotypes_is_refused_where_the_second_begins() -> None:
    with pytest.raises(pydarts.GenotypeError, match=rf"^at character {len(FLAT) + 2}: "):
        Genotype.from_notation(f"{FLAT}\n{FLAT}")


def test_a_step_of_a_range_is_a_step() -> None:
    text = FLAT.replace("[2, 3, 4, 5]", "range(2, 6, 3)")
    assert Genotype.from_notation(text).normal_concat == (2, 5)
    for step in ("0", "-1", "1, 1", ""):
        with pytest.raises(pydarts.GenotypeError, match=r"^at character "):
            Genotype.from_notation(FLAT.replace("[2, 3, 4, 5]", f"range(2, 6, {step})"))


@pytest.mark.parametrize("end", ["'", '"', "`", "```", "\n```\n", "x", "u'"])
def test_quotes_after_a_genotype_need_quotes_before_it(end: str) -> None:
    with pytest.raises(pydarts.GenotypeError, match=r"^at character "):
        Genotype.from_notation(FLAT + end)
