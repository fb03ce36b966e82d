"""Cost terms of networks with choices, which are those of `cost` for the network with its choices made."""

from __future__ import annotations

import itertools
from typing import Any

import pydarts
import pytest
import torch
from pydarts import SearchModule
from pydarts.algorithms import Flops, Latency, Parameters
from pydarts.nn import Choice, InputChoice, fix
from pydarts.nn._choice_costs import choice_costs
from torch import Tensor, nn


def inverted(c: int, out: int, kernel: int, expand: int, stride: int) -> nn.Module:
    """An inverted residual without its shortcut."""
    inner = c * expand
    return nn.Sequential(
        nn.Conv2d(c, inner, 1, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU6(),
        nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False),
        nn.BatchNorm2d(inner),
        nn.ReLU6(),
        nn.Conv2d(inner, out, 1, bias=False),
        nn.BatchNorm2d(out),
    )


class Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


class Block(nn.Module):
    def __init__(self, c: int, out: int, stride: int, row: int) -> None:
        super().__init__()
        self.keeps = stride == 1 and c == out
        candidates: dict[str, nn.Module] = {f"k{k}": inverted(c, out, k, 3, stride) for k in (3, 5)}
        candidates |= {"zero": Zero()} if self.keeps else {}
        self.look = Choice(candidates, alpha="chain", row=row)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.look(x) if self.keeps else self.look(x)


class Chain(nn.Module):
    """Two blocks, the rows of one table, which differ in length, and a choice of inputs."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.Sequential(Block(4, 4, 1, 0), Block(4, 6, 2, 1))
        self.pool = InputChoice(2)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        return self.head(self.pool([x.mean((2, 3)), x.amax((2, 3))]))


def costs_of(net: nn.Module, *terms: Any, batch: Any = None) -> list[Any]:
    config = pydarts.SearchConfig(arch_terms=list(terms))
    return choice_costs(config, net, batch)


def test_costs_at_one_hot_weights_are_those_of_the_network_with_its_choices_made() -> None:
    net = Chain()
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    (_, flops, rest), (_, weights, others) = costs_of(net, Flops(), Parameters(), batch=(x, 3))
    assert len(flops) == len(weights) == 2 * 3 + 2
    for first, second in itertools.product(("k3", "k5", "zero"), ("k3", "k5")):
        made = fix(net, {"blocks.0.look": first, "blocks.1.look": second, "pool": (0,)})
        found = pydarts.cost(made, example=torch.zeros(1, 3, 8, 8))
        names = ("k3", "k5", "zero")
        entries = names.index(first), 3 + names.index(second)
        assert rest + sum(flops[entry] for entry in entries) == found["multiply_adds"]
        assert others + sum(weights[entry] for entry in entries) == found["weights"]


def test_a_search_descends_the_expected_cost() -> None:
    """A strong term leads to the cheapest candidates; the history has E at the softmax of the logits."""
    config = pydarts.SearchConfig(
        arch_terms=[Flops(weight=50.0)], epochs=2, batch_size=8, arch_lr=0.1, progress=False
    )
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(32, 3, 8, 8, generator=generator), torch.arange(32) % 4
    result = pydarts.search(data, config, network=Chain)
    assert (result.architecture["blocks.0.look"], result.architecture["blocks.1.look"]) == ("zero", "k3")
    [(_, flat, rest)] = costs_of(Chain(), Flops(), batch=(data[0][:1], 1))
    first, second = torch.as_tensor(result.alphas["chain"][-1])
    m = torch.cat([first.softmax(0), second[:2].softmax(0)]).double()
    expected = rest + float(m @ torch.tensor(flat[:5], dtype=torch.float64))
    assert result.history[-1].diagnostics["cost.flops"] == pytest.approx(expected, rel=1e-6)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(2, 2)
        self.first, self.second = Choice([layer, nn.Identity()]), Choice([nn.Identity(), layer])

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


@pytest.mark.parametrize(
    ("net", "term", "says"),
    [
        (nn.Sequential(Choice([nn.Linear(2, 2), Choice([nn.Linear(2, 2)])])), Flops(), "nested"),
        (nn.Sequential(Choice([nn.Linear(2, 2), Choice([nn.Linear(2, 2)])])), Parameters(), "nested"),
        (Shared(), Parameters(), "first.candidates.0"),
        (Shared(), Flops(), "second"),
        (Shared(), Latency(file="x.json"), "latency"),
        (Shared(), Flops(channels=16), "channels"),
        (None, Flops(), "FunctionNetwork"),
    ],
)
def test_costs_that_are_no_sums_are_refused(net: Any, term: Any, says: str) -> None:
    with pytest.raises(pydarts.ConfigError, match=says):
        costs_of(net, term, batch=(torch.zeros(1, 2), 1))


def test_multiply_adds_need_an_example() -> None:
    net = nn.Sequential(nn.Linear(2, 2), Choice([nn.Linear(2, 2), nn.Identity()]))
    with pytest.raises(pydarts.ConfigError, match="example"):
        SearchModule(net, pydarts.SearchConfig(arch_terms=[Flops()]))
    SearchModule(net, pydarts.SearchConfig(arch_terms=[Parameters()]))
