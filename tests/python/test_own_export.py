"""Modules that pydarts did not build: what they cost, their files and graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from own_modules import Tied, Words, seeded
from torch import Tensor, nn

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def batch(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, 3, generator=generator), torch.randint(7, (n, 5), generator=generator)


def moved() -> Words:
    """A network with other running statistics than the initial ones."""
    net: Words = seeded(Words)
    for _ in range(3):
        net(*batch(6))
    return net


# ---- cost


def test_multiply_adds_are_those_of_the_example() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(200, 4))
    found = pydarts.cost(net, example=torch.zeros(1, 3, 5, 5))
    assert found == {
        "weights": 8 * 3 * 9 + 804, "auxiliary_weights": 0,
        "multiply_adds": 25 * 8 * 3 * 9 + 800, "flops": 2 * (25 * 8 * 3 * 9 + 800),
    }  # fmt: skip
    assert pydarts.cost(net, example=torch.zeros(2, 3, 5, 5))["flops"] == 2 * found["flops"]


def test_every_layer_with_products_counts_and_shared_weights_count_once() -> None:
    x, words = batch(1)
    lstm, attention = 5 * 2 * 4 * 4 * (6 + 4) // 2, 5 * 4 * 12 + 5 * 4 * 4 + 2 * 5 * 5 * 4
    expected = 3 * 6 + lstm + attention + 4 * 2
    for example in ((x, words), {"words": words, "x": x}):
        assert pydarts.cost(seeded(Words), example=example)["multiply_adds"] == expected
    tied = seeded(Tied)
    assert pydarts.cost(tied, example=torch.zeros(1, 4))["weights"] == 12 + 3 + 12 + 4 + 3


class Looks(nn.Module):
    """Its code depends on values, so that it cannot run on shapes alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(2, 5)
        self.constant = torch.ones(1)  # neither parameter nor buffer

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) if bool((x * self.constant).sum() > 0) else self.second(x)


def test_code_that_looks_at_values_is_evaluated() -> None:
    assert pydarts.cost(Looks(), example=torch.ones(1, 2))["multiply_adds"] == 6
    assert pydarts.cost(Looks(), example=-torch.ones(1, 2))["multiply_adds"] == 10


def test_counting_changes_neither_the_module_nor_the_generators() -> None:
    net = moved()
    net.norm.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    pydarts.cost(net, example=batch(4))
    assert net.training and not net.norm.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# ---- files


@pytest.mark.parametrize("make", [Words, Tied])
def test_safetensors_bring_weights_and_buffers_back(make: Any, tmp_path: Path) -> None:
    net = seeded(make)
    inputs = batch(6) if make is Words else (torch.randn(6, 4),)
    for _ in range(3):
        net(*inputs)
    pydarts.export(net, tmp_path / "net.safetensors")
    other = seeded(make, seed=1)
    assert pydarts.load_network(tmp_path / "net.safetensors", other) is other
    state, found = (
        dict(net.named_buffers()) | net.state_dict(),
        dict(other.named_buffers()) | other.state_dict(),
    )
    assert state.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in state.items())
    saved = pydarts.load_network(tmp_path / "net.safetensors")
    fresh = seeded(make, seed=2)
    assert (
        sum(weight.numel() for weight in saved.parameters()) == pydarts.cost(net, example=inputs)["weights"]
    )
    fresh.load_state_dict(saved.state_dict())
    assert all(torch.equal(value, state[name]) for name, value in fresh.state_dict().items())
    with pytest.raises(pydarts.ConfigError, match=f"{make.__name__}.*load_network"):
        saved(*batch(2))


def test_a_tied_weight_stays_tied(tmp_path: Path) -> None:
    net, other = seeded(Tied), seeded(Tied, seed=1)
    pydarts.export(net, tmp_path / "net.safetensors")
    pydarts.load_network(tmp_path / "net.safetensors", other)
    assert other.again.weight is other.encoder.weight and torch.equal(other.again.weight, net.again.weight)


def test_a_file_of_another_module_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    pydarts.export(seeded(Tied), tmp_path / "net.safetensors")
    for other, fact in ((seeded(Tied, 4, 2), r"decoder\.weight"), (nn.Linear(2, 2), "again")):
        before = {name: value.clone() for name, value in other.state_dict().items()}
        with pytest.raises(pydarts.CheckpointError, match=fact):
            pydarts.load_network(tmp_path / "net.safetensors", other)
        assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    pydarts.export(
        pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=5, units=2), tmp_path / "b.safetensors"
    )
    with pytest.raises(pydarts.ConfigError, match="network"):
        pydarts.load_network(tmp_path / "b.safetensors", pydarts.load_network(tmp_path / "b.safetensors"))


# ---- graphs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["tuple", "dictionary", "one example"])
def test_a_graph_gives_the_same_for_any_batch(kind: str, tmp_path: Path) -> None:
    net, (x, words) = moved(), batch(1 if kind == "one example" else 4)
    pydarts.export(
        net, tmp_path / "net.pt2", example={"words": words, "x": x} if kind == "dictionary" else (x, words)
    )
    graph = torch.export.load(tmp_path / "net.pt2").module()
    assert net.training
    for n in (1, 2, 5):
        x, words = batch(n)
        found = graph(words=words, x=x) if kind == "dictionary" else graph(x, words)
        for name, value in net.eval()(x, words).items():
            torch.testing.assert_close(found[name], value, **CLOSE)


@pytest.mark.filterwarnings("ignore")
def test_onnx_gives_the_same_for_any_batch(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net = moved()
    pydarts.export(net, tmp_path / "net.onnx", example=batch(2))
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    for n in (1, 3):
        x, words = batch(n)
        found = session.run(None, {"x": x.numpy(), "words": words.numpy()})
        for mine, theirs in zip(found, net.eval()(x, words).values(), strict=True):
            np.testing.assert_allclose(mine, theirs.detach(), rtol=1e-4, atol=1e-5)


# ---- errors


class Extra(nn.Linear):
    """State that is no tensor."""

    def get_extra_state(self) -> Any:
        return {"a": 1}

    def set_extra_state(self, state: Any) -> None: ...


ERRORS: dict[str, tuple[Any, type[Exception], str]] = {
    "no example": (lambda: pydarts.cost(nn.Linear(2, 2)), TypeError, "example"),
    "a size": (lambda: pydarts.cost(nn.Linear(2, 2), 8), pydarts.ConfigError, "image_size.*Linear"),
    "a class": (lambda: pydarts.cost(Tied, example=torch.ones(1, 4)), TypeError, r"Tied\("),  # type: ignore[arg-type]
    "a lazy module": (
        lambda: pydarts.cost(nn.LazyLinear(2), example=torch.ones(1, 4)), pydarts.ConfigError, "weight",
    ),
    "a compiled module": (
        lambda: pydarts.cost(torch.compile(Tied()), example=torch.ones(1, 4)), TypeError, r"torch\.compile",
    ),
    "no module": (lambda: pydarts.cost(3, example=torch.ones(1)), TypeError, "int"),  # type: ignore[arg-type]
    "example of a built network": (
        lambda: pydarts.cost(pydarts.build(pydarts.genotypes.DARTS_V2, channels=2), example=torch.ones(1)),
        pydarts.ConfigError, "example",
    ),
    "graph without example": (lambda: pydarts.export(Tied(), "net.pt2"), TypeError, "example"),
    "tokens": (lambda: pydarts.export(Tied(), "net.pt2", tokens=3), pydarts.ConfigError, "tokens"),
    "weights with example": (
        lambda: pydarts.export(Tied(), "net.safetensors", example=1), pydarts.ConfigError, "example",
    ),
    "no batch": (
        lambda: pydarts.export(Tied(), "net.pt2", example=torch.tensor(1.0)), pydarts.ConfigError, "example",
    ),
    "extra state": (
        lambda: pydarts.export(Extra(2, 2), "net.safetensors"), pydarts.ConfigError, "get_extra_state",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ERRORS))
def test_what_cannot_be_counted_or_exported_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    act, kind, fact = ERRORS[name]
    with pytest.raises(kind, match=fact):
        act()
    assert not list(tmp_path.iterdir())
