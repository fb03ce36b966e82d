"""Data of user-defined networks: arrays, loaders and pairs of any structure, and what cannot be read."""

from __future__ import annotations

import collections
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from pydarts._data.forms import arranged
from structured import drain, opened, read, rows
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

N = 20
X = torch.arange(N, dtype=torch.float32)[:, None] + torch.tensor([0.0, 100.0])
LABELS = torch.arange(N) % 3
Pairs = list[Any]


class Batches:
    """A repeatable iterable."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        yield from self.batches


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([(X[n], LABELS[n]) for n in range(N)])


class Named(Dataset[Any]):
    """Examples that are dictionaries."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": X[index], "y": LABELS[index], "name": f"example {index}"}


# ---- what is read

TARGETS: dict[str, Any] = {
    "classes": LABELS,
    "floats": torch.linspace(-1, 1, N),
    "several": torch.rand(N, 5),
    "multi-hot": torch.rand(N, 4) > 0.5,
    "masks": torch.randint(0, 2, (N, 4, 6)),
    "list": LABELS.tolist(),
    "nested list": [[number, 1] for number in range(N)],
    "numpy": LABELS.numpy().astype(np.uint16),
    "nothing": None,
    "tasks": {"kind": LABELS, "size": np.linspace(0, 1, N)},
}


@pytest.mark.parametrize("form", TARGETS)
def test_targets_have_any_shape_and_dtype(form: str) -> None:
    y = TARGETS[form]
    for part in read((X, y)):
        for x, targets in part:
            numbers = x[:, 0].long()
            assert torch.equal(x, X[numbers])
            if isinstance(y, dict):
                assert torch.equal(targets["kind"], LABELS[numbers])
                assert torch.equal(targets["size"], torch.as_tensor(y["size"])[numbers])
            elif y is None:
                assert targets is None
            else:
                whole = torch.as_tensor(y.astype(np.int64) if isinstance(y, np.ndarray) else y)
                assert targets.dtype == whole.dtype and torch.equal(targets, whole[numbers])


def test_arrays_are_split_shuffled_and_read_whole_for_evaluation() -> None:
    sources = opened((X, LABELS), train_portion=0.7)
    first, second = (rows([x for x, _ in drain(sources.train, index)]) for index in (0, 1))
    valid = rows([x for x, _ in drain(sources.valid)])
    whole = rows([x for x, _ in drain(sources.evaluation)])
    assert len(first) == 12 and len(valid) == 4 and len(whole) == 6  # of 14 and 6, in batches of 4
    assert first != second and set(valid) < set(whole) and whole == sorted(whole)
    assert not {*first, *second} & set(whole)
    assert [x.tolist() for x, _ in drain(sources.train, 1, skip=2)] == [
        x.tolist() for x, _ in drain(sources.train, 1)[2:]
    ]
    assert sources.train.batches() == 3 and sources.evaluation.batches() == 2
    sources.close()


def test_several_inputs_are_a_dict_of_arrays() -> None:
    inputs = {"image": torch.rand(N, 1, 2, 2), "number": np.arange(N), "many": list(range(N))}
    for part in read((inputs, LABELS)):
        for x, y in part:
            assert list(x) == ["image", "number", "many"]
            assert torch.equal(x["image"], inputs["image"][x["number"]])
            assert torch.equal(x["many"], x["number"]) and torch.equal(y, LABELS[x["number"]])


def test_a_dict_of_arrays_alone_is_inputs_and_targets() -> None:
    for part in read({"x": X, "y": LABELS}):
        for inputs, targets in part:
            assert list(inputs) == list(targets) == ["x", "y"]
            assert inputs["x"] is targets["x"]
            assert torch.equal(targets["y"], LABELS[inputs["x"][:, 0].long()])


PAIRS: dict[str, Callable[[], Any]] = {
    "arrays": lambda: ((X, LABELS), (X[:8], LABELS[:8])),
    "dicts": lambda: ({"x": X, "y": LABELS}, {"x": X[:8], "y": LABELS[:8]}),
    "dicts with targets": lambda: (({"a": X}, LABELS), ({"a": X[:8]}, LABELS[:8])),
    "loaders": lambda: tuple(DataLoader(TensorDataset(X[:n], LABELS[:n]), 4) for n in (N, 8)),
    "dict loaders": lambda: tuple(DataLoader(Named(), 4, sampler=range(n)) for n in (N, 8)),
    "streams": lambda: (DataLoader(Stream(), 4), DataLoader(Stream(), 4)),
    "lists": lambda: ([(X, LABELS)], [(X[:8], LABELS[:8])] * 2),
    "lists of dicts": lambda: ([{"x": X, "y": LABELS}], [{"x": X, "y": LABELS}] * 2),
    "a loader and a list": lambda: (DataLoader(Named(), 4), [{"x": X, "y": LABELS}] * 2),
    "iterables": lambda: (Batches([(X, LABELS)] * 2), Batches([(X, LABELS)])),
    "UserDict": lambda: ([collections.UserDict(x=X, y=LABELS)], [collections.UserDict(x=X, y=LABELS)]),
}


@pytest.mark.parametrize("form", PAIRS)
def test_a_pair_has_two_members_of_one_sort(form: str) -> None:
    for part in read(PAIRS[form]()):
        assert part
        for inputs, targets in part:
            x = inputs if isinstance(inputs, torch.Tensor) else next(iter(inputs.values()))
            y = targets["y"] if isinstance(targets, dict) else targets
            assert torch.equal(x, X[x[:, 0].long()]) and torch.equal(y, LABELS[x[:, 0].long()])


def test_strings_and_objects_of_a_batch_stay() -> None:
    for part in read(DataLoader(Named(), 4, shuffle=True)):
        for inputs, _ in part:
            assert inputs["name"] == [f"example {int(number)}" for number in inputs["x"][:, 0]]


def test_one_loader_of_any_batches_is_split() -> None:
    train, valid, _ = read(DataLoader(TensorDataset(X, LABELS), 4, shuffle=True), train_portion=0.6)
    assert (len(train), len(valid)) == (3, 2)


def test_micro_batches_may_divide_batches_of_one_length() -> None:
    assert read(({"a": X, "b": X[:, :1]}, LABELS), micro_batch=2)


# ---- unpack


def test_unpack_says_what_inputs_and_targets_are() -> None:
    loader = DataLoader(TensorDataset(X, X + 1, LABELS), 4, shuffle=True)
    for part in read(loader, unpack=lambda batch: ((batch[0], batch[1]), batch[2])):
        for (one, other), y in part:
            assert torch.equal(one + 1, other) and torch.equal(y, LABELS[one[:, 0].long()])


def test_unpack_gets_batches_of_arrays_too() -> None:
    def unpack(batch: Any) -> Any:
        return batch["x"], {"y": batch["y"], "size": len(batch["y"])}

    for part in read({"x": X, "y": LABELS}, unpack):
        assert all(targets["size"] == len(x) for x, targets in part)
    for part in read((X, None), lambda batch: [batch[0], batch[0]]):
        assert all(x is y for x, y in part)


def test_unpack_may_return_tensors_of_other_lengths() -> None:
    found = read(([(X, LABELS)], [(X, LABELS)]), lambda batch: (batch[0], batch[1][:3]))
    assert [len(y) for _, y in found[0]] == [3]


def test_an_exception_of_unpack_has_a_note() -> None:
    class Odd(Exception):
        pass

    calls = []

    def unpack(batch: Any) -> Any:
        calls.append(batch)
        if len(calls) == 3 + 1:  # the first of each part was looked at
            raise Odd
        return batch

    sources = opened(([(X, LABELS)] * 3, [(X, LABELS)]), unpack)
    sources.train.start(0, 0)
    assert sources.train.next() is not None
    with pytest.raises(Odd) as caught:
        sources.train.next()
    sources.close()
    notes = " ".join(getattr(caught.value, "__notes__", ["unpack batch 1 training"]))
    assert "unpack" in notes and "batch 1" in notes and "training" in notes
    with pytest.raises(ZeroDivisionError):
        opened((X, LABELS), lambda batch: 1 / 0)


@pytest.mark.parametrize("found", [None, X, (X,), (X, X, X), {"x": X, "y": X}, "xy"])
def test_unpack_must_return_a_pair(found: Any) -> None:
    with pytest.raises(pydarts.DataError, match="unpack"):
        opened((X, LABELS), lambda batch: found)


@pytest.mark.parametrize("unpack", [3, "x", dict])
def test_unpack_must_be_a_function(unpack: Any) -> None:
    with pytest.raises(TypeError, match="unpack"):
        opened((X, LABELS), unpack)


def test_what_unpack_returns_is_checked() -> None:
    with pytest.raises(pydarts.DataError, match=r'inputs\["x"\].*batch 0.*training.*row 2'):
        opened(
            ([(X, LABELS)], [(X, LABELS)]),
            lambda batch: ({"x": batch[0] / (batch[0][:, :1] != 2)}, batch[1]),
        )


# ---- what cannot be read

NAN = X.clone()
NAN[7, 1] = torch.nan
PAIR = (X, LABELS)
BATCH: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "three": (
        (X, X, LABELS),
        {},
        ["tuple of 3", "float32 [20, 2]", "unpack=", "(batch[0], batch[1]), batch[2]"],
    ),
    "tensor": (X, {}, ["Tensor", "[20, 2]", "unpack="]),
    "object": (
        types.SimpleNamespace(nodes=X, kind=LABELS),
        {},
        ["SimpleNamespace", "nodes, kind", "batch.nodes, batch.kind"],
    ),
    "text": ("ab", {}, ["str", "unpack="]),
    "number": (3, {}, ["int"]),
    "nan": (({"a": [X, NAN]}, LABELS), {}, ['x["a"][1] of batch 1', "row 7"]),
    "infinity in the targets": ((X, {"a": NAN / 0}), {}, ['y["a"] of batch 1']),
    "nan in a dict": ({"a": X, "b": NAN.numpy()}, {}, ['batch["b"]']),
    "complex": ((X, NAN.to(torch.complex64)), {}, ["y of batch 1"]),
    "scalar": ((torch.tensor(1.0), LABELS), {}, ["x of batch 1", "[]"]),
    "empty": ((X[:0], LABELS[:0]), {}, ["x of batch 1", "[0, 2]"]),
    "no tensor": ((["a"], "b"), {}, ["no tensor"]),
    "lengths": ((X, LABELS[:3]), {}, ["[20, 2]", "[3]", "unpack"]),
    "sparse": ((X.to_sparse(), LABELS), {}, ["x of batch 1", "dense"]),
    "micro-batches": (
        ({"a": X, "b": X[:3]}, LABELS),
        {"micro_batch": 4},
        ['x["b"]', "[3, 2]", "micro_batch"],
    ),
    "divided names": (({"a": X, "b": ["name"] * N}, LABELS), {"micro_batch": 4}, ['x["b"]', "micro_batch"]),
}


@pytest.mark.parametrize("case", BATCH)
def test_a_wrong_batch_is_named(case: str) -> None:
    batch, changes, facts = BATCH[case]
    with pytest.raises(pydarts.DataError) as caught:
        read((Batches([PAIR, batch]), [PAIR]), **changes)
    for fact in ("batch 1 of the training loader", *facts):
        assert fact in str(caught.value)


READINGS = ("(train, valid)", "(X, y)")
DATA: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "arrays and a loader": (lambda: (PAIR, DataLoader(TensorDataset(*PAIR), 4)), READINGS),
    "a loader and arrays": (lambda: (DataLoader(TensorDataset(*PAIR), 4), PAIR), READINGS),
    "an array and batches": (lambda: (X, [PAIR]), READINGS),
    "a dict and batches": (lambda: ({"x": X}, [PAIR]), READINGS),
    "a dict and a pair": (lambda: ({"x": X}, PAIR), ("training", "validation", "x, y")),
    "a tuple of inputs": (lambda: ((X, X), LABELS), (*READINGS, '{"a": A, "b": B}')),
    "two dicts": (lambda: ({"x": X}, {"y": LABELS}), ("(train, valid)", "(inputs, targets)", "'x'", "'y'")),
    "loaders by name": (lambda: {"train": [PAIR], "valid": [PAIR]}, ("data['train'], data['valid']",)),
    "an array": (lambda: X, ("(X, y)",)),
    "three arrays": (lambda: (X, X, LABELS), ("(X, y)", '{"a": A, "b": B}')),
    "a data set": (lambda: TensorDataset(*PAIR), ("DataLoader(",)),
    "two data sets": (lambda: (Named(), Named()), ("DataLoader(",)),
    "a generator": (lambda: (part for part in [PAIR]), ("once",)),
    "two generators": (lambda: (iter([PAIR]), iter([PAIR])), ("once",)),
    "a list": (lambda: [PAIR] * 3, ("(train, valid)",)),
    "a stream": (lambda: DataLoader(Stream(), 4), ("IterableDataset",)),
    "a number": (lambda: 3, ("int",)),
    "a text": (lambda: "cifar10", ("str",)),
    "nothing": (lambda: None, ("None",)),
    "no batches": (lambda: ([], [PAIR]), ("training", "empty")),
    "an empty iterable": (lambda: (Batches([]), [PAIR]), ("training", "empty")),
    "rows": (lambda: (X, LABELS[:5]), ("x [20, 2]", "y [5]", "((X, y), (X, y))")),
    "rows of a dict": (lambda: {"a": X, "b": X[:3]}, ('batch["a"] [20, 2]', 'batch["b"] [3, 2]')),
    "a scalar": (lambda: (X, np.array(3)), ("y []",)),
    "no rows": (lambda: (X[:0], LABELS[:0]), ("x [0, 2]",)),
    "strings": (lambda: (X, ["a"] * N), ("y", "numbers")),
    "nan": (lambda: ({"a": NAN}, LABELS), ('x["a"]', "row 7")),
    "nan in the validation part": (lambda: (PAIR, (NAN, LABELS)), ("x of the validation", "row 7")),
    "too few": (lambda: (PAIR, (X[:3], LABELS[:3])), ("validation", "3 examples", "batch_size=4")),
    "other arrays": (lambda: (({"a": X}, LABELS), ({"b": X}, LABELS)), ('x["a"]', 'x["b"]')),
    "too few of one": (lambda: (X[:5], LABELS[:5]), ("2 of 5",)),
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_read_are_explained(case: str) -> None:
    make, facts = DATA[case]
    with pytest.raises(pydarts.DataError) as caught:
        opened(make())
    for fact in facts:
        assert fact in str(caught.value), str(caught.value)


def test_arranging_reads_no_batch() -> None:
    class Never:
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError

    found = arranged((Never(), Never()))
    assert isinstance(found, tuple) and len(found) == 2


def test_a_loader_may_use_its_memory_again() -> None:
    memory = torch.zeros(4, 2)

    class Frugal:
        def __iter__(self) -> Iterator[Any]:
            for number in range(6):
                yield {"x": memory.fill_(number), "y": memory[:, 0]}

    train, *_ = read((Frugal(), Frugal()))
    assert [float(inputs["x"].mean()) for inputs, _ in train] == list(range(6))
    assert [float(targets["y"].mean()) for _, targets in train] == list(range(6))
