"""Modules with choices drawn by hypothesis: nested, shared, called twice, in tables of several rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from own_models import Parts, Recorder
from torch import Tensor, nn

WIDTH, EXAMPLES = 4, 6
Spec = tuple[Any, ...]
"""A kind and what it is made of; every module maps [N, WIDTH] to [N, WIDTH]."""

LEAVES: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(WIDTH, WIDTH),
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
    "batch norm": lambda: nn.BatchNorm1d(WIDTH),
    "layer norm": lambda: nn.LayerNorm(WIDTH),
}


class Total(nn.Module):
    """The sum of modules of one input."""

    def __init__(self, modules: list[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([part(x) for part in self.parts]).sum(0)


class Repeat(nn.Module):
    """A module that is called twice."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.inner = module

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(torch.tanh(self.inner(x)))


class Inputs(nn.Module):
    """A choice among the outputs of modules."""

    def __init__(self, modules: list[nn.Module], choice: nn.Module) -> None:
        super().__init__()
        self.parts, self.which = nn.ModuleList(modules), choice

    def forward(self, x: Tensor) -> Tensor:
        return self.which([part(x) for part in self.parts])


class Builder:
    """Builds a module from a specification; `shared` modules and rows of shared tables are made once."""

    def __init__(self, plain: bool) -> None:
        self.parts = Parts(plain, Recorder())
        self.shared: dict[int, nn.Module] = {}
        self.rows: dict[tuple[int, bool], int] = {}

    def build(self, spec: Spec) -> nn.Module:
        kind, *rest = spec
        if kind == "leaf":
            return LEAVES[rest[0]]()
        if kind == "sequential":
            return nn.Sequential(*map(self.build, rest[0]))
        if kind == "total":
            return Total([*map(self.build, rest[0])])
        if kind == "repeat":
            return Repeat(self.build(rest[0]))
        if kind == "shared":
            key, inner = rest
            if key not in self.shared:
                self.shared[key] = self.build(inner)
            return self.shared[key]
        specs, named, together = rest
        modules = [*map(self.build, specs)]
        where: dict[str, Any] = {}
        if together:  # one table, with a row for every number of candidates
            size = (len(modules), named)
            where = {"alpha": kind, "row": self.rows.setdefault(size, sum(1 for _ in self.rows))}
        if kind == "inputs":
            return Inputs(modules, self.parts.inputs(len(modules), **where))
        candidates = {chr(97 + i): module for i, module in enumerate(modules)} if named else modules
        return self.parts.choice(candidates, **where)


def build(spec: Spec, plain: bool) -> nn.Module:
    """A module in float64, whose numbers depend only on the specification."""
    torch.manual_seed(0)
    found = Builder(plain).build(spec)
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH), found, nn.Linear(WIDTH, 3)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64) * 0.7)
    return net


def _several(inner: st.SearchStrategy[Spec]) -> st.SearchStrategy[Spec]:
    lists = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.tuples(st.just("sequential"), lists),
        st.tuples(st.just("total"), lists),
        st.tuples(st.just("repeat"), inner),
        st.tuples(st.just("choice"), lists, st.booleans(), st.booleans()),
    )


LEAF = st.tuples(st.just("leaf"), st.sampled_from(sorted(LEAVES)))
NESTED = st.recursive(LEAF, _several, max_leaves=5)


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    """A choice of nested modules, next to choices of inputs and modules that occur twice."""
    shared: Spec = ("shared", 0, draw(NESTED))
    together = draw(st.booleans())
    pool = st.one_of(NESTED, st.just(shared))
    outer: Spec = ("choice", draw(st.lists(pool, min_size=1, max_size=3)), draw(st.booleans()), together)
    parts = [outer, *draw(st.lists(pool, max_size=2))]
    if draw(st.booleans()):
        return ("sequential", parts)
    return ("inputs", parts, False, False)


def batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(EXAMPLES, WIDTH, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (EXAMPLES,), generator=generator)
