"""Batches of any structure: taken apart, rebuilt, described."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pydarts
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydarts._data.structure import describe, flatten
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence


class Point(NamedTuple):
    x: Any
    y: Any


@dataclasses.dataclass
class Record:
    mask: Any
    name: Any = "a"


@dataclasses.dataclass(frozen=True)
class Frozen:
    boxes: Any
    made: int = dataclasses.field(default=0, init=False)


@dataclasses.dataclass
class Slotted:
    __slots__ = ("values",)
    values: Any


class Encoding(collections.UserDict[str, Any]):
    """As tokenisers return them, with a method of its own for devices."""

    def to(self, device: Any) -> Any:
        raise AssertionError("its tensors are the engine's")


class Graph:
    """An object that moves itself, as torch_geometric's Data does."""

    def __init__(self, nodes: Tensor) -> None:
        self.nodes = nodes

    def to(self, device: Any) -> Graph:
        self.nodes = self.nodes.to(device)
        return self


tensors = st.builds(
    lambda size, dtype: torch.arange(size).to(dtype),
    st.integers(0, 3),
    st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool]),
)
arrays = st.builds(lambda size: np.arange(size, dtype=np.float32), st.integers(0, 3))
others = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3))
keys = st.one_of(st.text(max_size=3), st.integers(0, 9))


def _above(members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(members, max_size=3),
        st.lists(members, max_size=3).map(tuple),
        st.dictionaries(keys, members, max_size=3),
        st.dictionaries(keys, members, max_size=3).map(collections.OrderedDict),
        st.builds(Point, members, members),
        st.builds(Record, members, members),
        st.builds(Frozen, members),
        st.builds(Slotted, members),
    )


structures = st.recursive(st.one_of(tensors, arrays, others), _above, max_leaves=12)


def assert_same(found: Any, value: Any) -> None:
    if isinstance(value, (Tensor, np.ndarray)):
        assert isinstance(found, Tensor)
        expected = torch.as_tensor(value)
        assert found.dtype == expected.dtype and torch.equal(found, expected)
    elif isinstance(value, dict):
        assert type(found) is dict and list(found) == list(value)
        for key, part in value.items():
            assert_same(found[key], part)
    elif dataclasses.is_dataclass(value):
        assert type(found) is type(value)
        for field in dataclasses.fields(value):
            assert_same(getattr(found, field.name), getattr(value, field.name))
    elif isinstance(value, (tuple, list)):
        assert type(found) is type(value) and len(found) == len(value)
        for one, other in zip(found, value, strict=True):
            assert_same(one, other)
    else:
        assert found is value


@given(structures)
def test_a_structure_is_rebuilt_as_it_was(value: Any) -> None:
    taken, layout = flatten(value)
    assert len(taken) == len(layout.paths) == len(set(layout.paths))
    assert_same(layout.rebuild(taken), value)
    assert_same(layout.rebuild(taken), value)  # as often as wanted


@given(structures)
def test_other_tensors_take_their_places(value: Any) -> None:
    taken, layout = flatten(value)
    marks = [torch.tensor([float(number)]) for number in range(len(taken))]
    again, same = flatten(layout.rebuild(marks))
    assert [float(mark) for mark in again] == [float(mark) for mark in marks]
    assert same.paths == layout.paths
    with pytest.raises(ValueError):
        layout.rebuild([*taken, torch.zeros(1)])


def test_paths_name_the_tensors() -> None:
    value = {"pixels": [0, torch.ones(1)], 3: Point(torch.ones(1), Record(np.ones(1)))}
    _, layout = flatten((value, torch.ones(1)), ("x", "y"))
    assert layout.paths == ('x["pixels"][1]', "x[3].x", "x[3].y.mask", "y")


def test_a_tensor_that_occurs_twice_is_taken_once() -> None:
    x, array = torch.ones(2), np.ones(2)
    taken, layout = flatten(({"a": x, "b": array}, [x, array, torch.ones(2)]))
    assert len(taken) == 3
    inputs, targets = layout.rebuild(taken)
    assert inputs["a"] is targets[0] and inputs["b"] is targets[1]


def test_rebuilt_containers_may_be_changed() -> None:
    batch = {"x": torch.ones(1), "more": ["a"]}
    taken, layout = flatten((batch, batch))
    inputs, targets = layout.rebuild(taken)
    inputs.pop("x"), inputs["more"].clear()
    assert list(targets) == ["x", "more"] and targets["more"] == ["a"] == batch["more"]
    assert list(layout.rebuild(taken)[0]) == ["x", "more"]


def test_a_mapping_with_a_method_to_is_a_dict() -> None:
    taken, layout = flatten(Encoding(ids=torch.ones(2, dtype=torch.int64)))
    found = layout.rebuild([taken[0] + 1])
    assert type(found) is dict and found["ids"].tolist() == [2, 2]


def test_results_of_torch_are_rebuilt() -> None:
    value = torch.max(torch.tensor([[1.0, 3.0]]), 1)
    taken, layout = flatten(value)
    found = layout.rebuild(taken)
    assert type(found) is type(value) and found.indices.tolist() == [1]


def test_objects_move_to_the_device_and_the_users_stay() -> None:
    graph, packed = Graph(torch.ones(3)), pack_sequence([torch.ones(2, 1), torch.ones(1, 1)])
    module = nn.Linear(1, 1)
    taken, layout = flatten(((graph, packed, module, graph), torch.ones(2)), ("x", "y"))
    assert layout.paths == ("y",)
    assert layout.rebuild(taken)[0][0] is graph, "nothing is copied on the CPU"
    found = [layout.rebuild([tensor.to("meta") for tensor in taken]) for _ in range(2)]
    moved = found[0][0]
    assert moved[0].nodes.device.type == "meta" and moved[0] is moved[3] is found[1][0][0]
    assert isinstance(moved[1], PackedSequence)
    assert moved[1].data.device.type == "meta" and moved[1].batch_sizes.device.type == "cpu"
    assert moved[2] is module
    assert graph.nodes.device.type == packed.data.device.type == "cpu"
    assert next(module.parameters()).device.type == "cpu"
    assert [path for path, length in layout.whole if length is None] == ["x[0]", "x[1]", "x[3]"]


def test_a_layout_holds_no_memory_of_its_tensors() -> None:
    import gc
    import weakref

    value = torch.ones(3)
    watched = weakref.ref(value)
    taken, layout = flatten(({"a": value}, Record(value), Frozen(value)))
    del value, taken
    gc.collect()
    assert watched() is None
    assert layout.rebuild([torch.zeros(1)])[1].mask.tolist() == [0.0]


def _cycle() -> Any:
    value: dict[str, Any] = {"a": torch.ones(1)}
    value["b"] = [value]
    return value


def _deep() -> Any:
    value: Any = torch.ones(1)
    for _ in range(2000):
        value = [value]
    return value


BAD: dict[str, tuple[Any, str]] = {
    "cycle": (_cycle(), 'batch["b"][0] of batch 7'),
    "depth": (_deep(), "of batch 7"),
    "sparse": ({"a": torch.eye(2).to_sparse()}, 'batch["a"] of batch 7'),
    "nested": ([torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])], "batch[0] of batch 7"),
    "masked": (np.ma.masked_array([1.0, 2.0], [True, False]), "batch of batch 7"),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_taken_apart_is_named(case: str) -> None:
    value, said = BAD[case]
    with pytest.raises(pydarts.DataError) as caught:
        flatten(value, of=" of batch 7")
    assert said in str(caught.value)


def test_a_description_shows_shapes_and_keys() -> None:
    said = describe({"ids": torch.ones(4, 3), "names": ["a"] * 4, "more": (1, np.ones(2))})
    for fact in ("3 keys", "'ids': float32 [4, 3]", "'names': [str", "float64 [2]"):
        assert fact in said
    assert "nodes" in describe(Graph(torch.ones(1)))
    assert len(describe(list(range(1000)))) < 200
