"""Searches with user-defined networks on data of any structure, and how a resumed search recognises them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydarts
import pytest
import torch
from pydarts._data.fingerprint import of_loader, of_rows, summary
from pydarts._data.structure import flatten
from pydarts.nn import Choice, FunctionNetwork
from structured import opened
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

N = 24
X = torch.linspace(-1, 1, N * 3).reshape(N, 3)
IMAGES = torch.linspace(0, 1, N * 16).reshape(N, 1, 4, 4)
Y = torch.arange(N) % 3


def config(**changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {
        "epochs": 1,
        "batch_size": 4,
        "precision": "float64",
        "device": "cpu",
        "record": "step",
        "arch_lr": 0.05,
        "progress": False,
    }
    return pydarts.SearchConfig(**(fields | changes))


def activations() -> Choice:
    return Choice({"tanh": nn.Tanh(), "relu": nn.ReLU()})


class Flat(nn.Module):
    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(3, 6), nn.Linear(6, outputs)
        self.mix = activations()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.second(self.mix(self.first(x)))
        return found


class Two(Flat):
    """Two inputs by name."""

    def forward(self, x: Tensor, image: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x + image.flatten(1)[:, :3])


class Pixels(nn.Module):
    """A network with one output per pixel."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 1)
        self.mix = activations()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.last(self.mix(self.first(x)))
        return found


def moved(result: Any) -> bool:
    return all(not np.array_equal(values[0], values[-1]) for values in result.alphas.values())


def binary(output: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(output, targets.to(output.dtype))


def ranking(output: Tensor, targets: Tensor) -> Tensor:
    scores = output[:, 0]
    return nn.functional.softplus(-(scores[:, None] - scores) * (targets[:, None] - targets).sign()).mean()


class LossNet(Flat):
    """A network that returns its loss, and has no targets."""

    def forward(self, x: Tensor) -> Tensor:
        return ((super().forward(x) - x) ** 2).mean()


SEARCHES: dict[str, Callable[[], tuple[Any, nn.Module, Any, Any]]] = {
    "regression": lambda: ((X, X.sum(1, keepdim=True)), Flat(1), nn.functional.mse_loss, None),
    "multi-label": lambda: ((X, X > 0), Flat(), binary, None),
    "soft labels": lambda: ((X, X.softmax(1)), Flat(), None, None),
    "segmentation": lambda: ((IMAGES, (IMAGES[:, 0] * 2.9).long()), Pixels(), None, None),
    "ranking": lambda: ((X, X[:, 0]), Flat(1), ranking, None),
    "no targets": lambda: ((X, None), LossNet(), "network", None),
    "two inputs": lambda: (({"x": X, "image": IMAGES.numpy()}, Y), Two(), None, None),
    "dict": lambda: (
        {"x": X, "y": Y},
        Flat(),
        lambda output, batch: nn.functional.cross_entropy(output, batch["y"]),
        None,
    ),
    "three members": lambda: (
        DataLoader(TensorDataset(X, IMAGES, Y), 4, shuffle=True),
        Two(),
        None,
        lambda batch: ((batch[0], batch[1]), batch[2]),
    ),
}


class ByKey(Flat):
    """A network that gets a dictionary as its only argument."""

    def forward(self, batch: dict[str, Any]) -> Tensor:  # type: ignore[override]
        return super().forward(batch["x"])


@pytest.mark.parametrize("hypergradient", ["first_order", "unrolled"])
@pytest.mark.parametrize("task", SEARCHES)
def test_targets_and_inputs_of_any_structure_are_searched_on(task: str, hypergradient: Any) -> None:
    data, net, loss, unpack = SEARCHES[task]()
    if task == "dict":
        net = ByKey()
    result = pydarts.search(data, config(hypergradient=hypergradient), loss=loss, network=net, unpack=unpack)
    assert result.status == "complete" and moved(result)
    assert np.isfinite(result.history[0].valid_loss)


def test_all_forms_of_the_same_data_give_the_same_search() -> None:
    def loss(output: Tensor, targets: Any) -> Tensor:
        return nn.functional.cross_entropy(output, targets["y"] if isinstance(targets, dict) else targets)

    parts = [(X[at : at + 4], IMAGES[at : at + 4], Y[at : at + 4]) for at in range(0, N, 4)]
    forms: list[tuple[list[Any], Any]] = [
        ([({"x": x, "image": image}, y) for x, image, y in parts], None),
        ([((x, image), y) for x, image, y in parts], None),
        ([({"image": image.numpy(), "x": x.tolist(), "y": y}) for x, image, y in parts], lambda b: (
            {"x": torch.tensor(b["x"]), "image": b["image"]}, b["y"]
        )),
        (parts, lambda batch: (batch[:2], batch[2])),
        ([{"x": x, "image": image, "y": y} for x, image, y in parts], lambda b: ((b["x"], b["image"]), b)),
    ]  # fmt: skip
    found = [
        pydarts.search((batches[:4], batches[4:]), config(), loss=loss, network=Two(), unpack=unpack)
        for batches, unpack in forms
    ]
    for other in found[1:]:
        assert all(np.array_equal(found[0].alphas[name], other.alphas[name]) for name in found[0].alphas)


def test_micro_batches_divide_every_tensor() -> None:
    data = ({"x": X, "image": IMAGES}, Y)
    whole, divided = (pydarts.search(data, config(micro_batch=size), network=Two()) for size in (None, 2))
    for name, values in whole.alphas.items():
        assert divided.alphas[name] == pytest.approx(values, abs=1e-10)


def test_a_function_network_gets_structures() -> None:
    seen: list[Any] = []

    def loss(w: Any, m: Any, batch: Any) -> Tensor:
        inputs, targets = batch
        seen.append((inputs["name"], inputs["x"].dtype, targets.dtype))
        return (w["w"] * inputs["x"]).sum() ** 2 * m["a"][0]

    def named(count: int) -> list[Any]:
        return [({"x": X[:4], "name": f"batch {number}"}, Y[:4]) for number in range(count)]

    network = FunctionNetwork(loss, {"w": torch.ones(3)}, {"a": torch.zeros(2)})
    pydarts.search((named(2), named(2)), config(weight_lr=1e-6, weight_lr_min=0.0), network=network)
    assert {name for name, *_ in seen} == {"batch 0", "batch 1"}
    assert {tuple(rest) for _, *rest in seen} == {(torch.float64, torch.int64)}


class Graph:
    """A graph with tensors of its own, as torch_geometric's Data."""

    def __init__(self, x: Tensor, owner: Tensor) -> None:
        self.x, self.owner = x, owner

    def to(self, device: Any) -> Graph:
        self.x, self.owner = self.x.to(device), self.owner.to(device)
        return self


class GraphNet(Flat):
    def forward(self, graph: Graph) -> Tensor:  # type: ignore[override]
        nodes = super().forward(graph.x.to(self.first.weight.dtype))
        count = int(graph.owner.max()) + 1
        return torch.zeros(count, 3, dtype=nodes.dtype).index_add(0, graph.owner, nodes)


def test_graphs_are_examples_of_their_targets() -> None:
    batches = [
        (Graph(X[at : at + 6], torch.tensor([0, 0, 1, 1, 1, 2])), torch.tensor([0, 1, 2]))
        for at in (0, 6, 12)
    ]
    result = pydarts.search((batches[:2], batches[2:]), config(), network=GraphNet())
    assert result.status == "complete" and moved(result)


def test_the_loss_of_an_epoch_is_weighted_by_the_first_tensor() -> None:
    def loss(output: Tensor, targets: Any) -> Tensor:
        value: Tensor = 0 * output.sum() + targets["value"].mean()
        return value

    batches = [{"x": X[:3], "value": torch.full((7,), 1.0)}, {"x": X[:1], "value": torch.full((7,), 5.0)}]
    result = pydarts.search((batches, batches), config(), loss=loss, network=ByKey())
    assert result.history[0].train_loss == pytest.approx(2.0)
    assert result.history[0].valid_loss == pytest.approx(2.0)


def test_an_exception_of_the_loader_and_of_unpack_is_raised_as_itself() -> None:
    class Odd(Exception):
        pass

    def unpack(batch: Any) -> Any:
        raise Odd

    with pytest.raises(Odd):
        pydarts.search((X, Y), config(), network=Flat(), unpack=unpack)
    calls: list[int] = []

    def later(batch: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            raise Odd
        return batch

    with pytest.raises(Odd) as caught:
        pydarts.search((X, Y), config(), network=Flat(), unpack=later)
    assert caught.value.result.status == "failed"  # type: ignore[attr-defined]


# ---- fingerprints


class Item(NamedTuple):
    x: Tensor
    more: Any


def names(data: Any, unpack: Any = None) -> dict[str, str]:
    sources = opened(data, unpack)
    sources.close()
    return dict(sources.facts)


def test_facts_are_by_the_path_of_a_tensor() -> None:
    found = names(({"pixels": IMAGES, "x": X}, Y))
    assert found["data.source"] == "arrays" and found["data.examples"] == str(N)
    assert found['data.x["pixels"].shape'] == "[1, 4, 4]" and found["data.y.dtype"] == "int64"
    assert 'data.x["x"].sample' in found and "data.y.sample" in found
    found = names(([(Item(X, [Y]), Y)], [(Item(X, [Y]), Y.float())]))
    assert found["train.x.x.shape"] == "[3]" and found["train.x.more[0].dtype"] == "int64"
    assert found["valid.y.dtype"] == "float32" and "valid.x.x.sample" in found
    loader = DataLoader(TensorDataset(X, IMAGES, Y), 4)
    found = names(loader, lambda batch: ((batch[0], batch[1]), batch[2]))
    assert found["data.inputs[1].shape"] == "[1, 4, 4]" and found["data.targets.dtype"] == "int64"
    assert "data.inputs[0].sample" not in found, "batches of a loader are drawn"


def test_one_value_of_any_array_is_seen() -> None:
    base = names(({"a": X, "b": IMAGES}, Y))
    for name, data in {
        'data.x["a"].sample': ({"a": X + (torch.arange(N) == 17)[:, None], "b": IMAGES}, Y),
        'data.x["b"].sample': ({"a": X, "b": IMAGES.flip(0)}, Y),
        "data.y.sample": ({"a": X, "b": IMAGES}, Y.roll(1)),
    }.items():
        other = names(data)
        assert {key for key in base if base[key] != other[key]} == {name}


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_every_tensor_of_a_tensor_data_set_is_seen(at: int) -> None:
    def facts(changed: int) -> dict[str, str]:
        tensors = [X, Y, IMAGES, X[:, 0]]
        tensors[changed] = tensors[changed] + 1
        return of_loader(DataLoader(TensorDataset(*tensors), 4), None, "data")

    one, other = facts(at), facts((at + 1) % 4)
    assert len({key for key in one if one[key] != other[key]}) == 2


def test_large_arrays_are_sampled() -> None:
    big = torch.zeros(1 << 21)
    tensors, layout = flatten({"a": big})
    assert of_rows(tensors, layout.paths, "data") == of_rows([big.clone()], layout.paths, "data")
    changed = big.clone()
    changed[-1] = 1
    assert of_rows([changed], layout.paths, "data") != of_rows(tensors, layout.paths, "data")


def test_a_summary_names_the_tensors() -> None:
    found = summary(names(({"pixels": IMAGES}, Y)))
    assert list(found) == ["data"]
    for fact in (f"{N} examples", 'x["pixels"] shape [1, 4, 4]', "y int64"):
        assert fact in found["data"]


CHANGES: dict[str, tuple[Callable[[], Any], str]] = {
    "values": (lambda: ({"a": X + 1, "b": IMAGES}, Y), 'data.x["a"].sample'),
    "shape": (lambda: ({"a": X, "b": IMAGES.flatten(1)}, Y), 'data.x["b"].shape'),
    "dtype": (lambda: ({"a": X.double(), "b": IMAGES}, Y), 'data.x["a"].dtype'),
    "name": (lambda: ({"a": X, "c": IMAGES}, Y), 'data.x["c"].shape'),
    "targets": (lambda: ({"a": X, "b": IMAGES}, Y.roll(1)), "data.y.sample"),
    "examples": (lambda: ({"a": X[:20], "b": IMAGES[:20]}, Y[:20]), "data.examples"),
}


class Any2(Flat):
    def forward(self, batch: dict[str, Any]) -> Tensor:  # type: ignore[override]
        return super().forward(batch["a"])


@pytest.mark.parametrize("change", CHANGES)
def test_a_resumed_search_names_the_tensor_that_differs(change: str, tmp_path: Path) -> None:
    cfg = config(checkpoint_dir=str(tmp_path))
    first = pydarts.search(({"a": X, "b": IMAGES}, Y), cfg, network=Any2())
    again = pydarts.search(({"a": X, "b": IMAGES}, Y), cfg.replace(resume=True), network=Any2())
    assert again.fingerprint == first.fingerprint
    make, name = CHANGES[change]
    with pytest.raises(pydarts.CheckpointError) as caught:
        pydarts.search(make(), cfg.replace(resume=True), network=Any2())
    assert f"`{name}`" in str(caught.value)


def test_a_resumed_search_refuses_another_unpack(tmp_path: Path) -> None:
    cfg = config(checkpoint_dir=str(tmp_path))
    pydarts.search((X, Y), cfg, network=Flat(), unpack=lambda batch: (batch[0], batch[1]))
    with pytest.raises(pydarts.CheckpointError, match="`unpack`"):
        pydarts.search((X, Y), cfg.replace(resume=True), network=Flat(), unpack=lambda b: (b[0] * 2, b[1]))


class Examples(Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": X[index], "y": Y[index], "name": str(index)}


def test_a_dict_batch_reaches_network_and_loss(tmp_path: Path) -> None:
    seen: list[Any] = []

    def loss(output: Tensor, batch: dict[str, Any]) -> Tensor:
        seen.append(batch["name"])
        return nn.functional.cross_entropy(output, batch["y"])

    result = pydarts.search(DataLoader(Examples(), 4, shuffle=True), config(), loss=loss, network=ByKey())
    assert result.status == "complete"
    assert {name for batch in seen for name in batch} == {str(number) for number in range(N)}
    result.save(tmp_path / "result")
    assert pydarts.SearchResult.load(tmp_path / "result").fingerprint == result.fingerprint
