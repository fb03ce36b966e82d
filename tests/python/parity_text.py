"""A language model stated twice, by the engine and by `tests/reference`, and what both read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pydarts
import reference
import torch
from reference.language import PLACES
from relaxed import as_option
from torch import Tensor


@dataclass(frozen=True)
class Setup:
    """A language model small enough to state twice."""

    operations: tuple[str, ...] = reference.DARTS_RNN_OPERATIONS
    nodes: int = 3
    words: int = 13
    units: int = 6
    batch: int = 4
    tokens: int = 5
    method: str = "first_order"
    passes: tuple[str, ...] | None = None
    concat: tuple[int, ...] | None = None
    rate: float = 20.0
    relaxation: reference.Relaxation = field(default_factory=reference.Relaxation)
    perturbation: Any = None

    def ours(self) -> pydarts.Supernet:
        config = pydarts.SearchConfig(
            space=pydarts.Space(
                kind="recurrent", nodes=self.nodes, operations=self.operations, concat=self.concat
            ),
            batch_size=self.batch,
            bptt=self.tokens,
            hypergradient=self.method,
            passes=self.passes,
            dropout_rows=0.1,
            weight_lr=self.rate,
            weight_lr_min=self.rate,
            relaxation=as_option(self.relaxation),
            perturbation=self.perturbation,
        )
        net = pydarts.Supernet(vocabulary=self.words, units=self.units, precision="float64", config=config)
        generator = torch.Generator().manual_seed(2)
        state = net.state_dict()
        # As large as what they multiply: with the published ±0.04 nearly everything is linear.
        for name, value in state.items():
            if ".bn" not in name:
                state[name] = torch.randn(value.shape, generator=generator, dtype=torch.float64) / 2
        net.load_state_dict(state)
        alphas = net.alphas
        for name, value in alphas.items():
            alphas[name] = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        net.set_alphas(alphas)
        return net

    def twins(self) -> tuple[pydarts.Supernet, reference.LanguageModel]:
        ours = self.ours()
        theirs = reference.LanguageModel(
            vocabulary=self.words,
            units=self.units,
            nodes=self.nodes,
            operations=self.operations,
            concat=self.concat,
        )
        theirs.relaxation = self.relaxation
        theirs.load_state_dict(ours.state_dict())
        theirs.set_alphas(ours.alphas)
        share_masks(ours, theirs)
        return ours, theirs.train()

    def segment(self, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        text = torch.randint(self.words, (self.tokens + 1, self.batch), generator=generator)
        return text[:-1], text[1:]

    def beginning(self) -> reference.Stream:
        return reference.Stream(torch.zeros(self.batch, self.units, dtype=torch.float64))


def share_masks(ours: pydarts.Supernet, theirs: reference.LanguageModel) -> None:
    """The masks of our next step, and ones where nothing is dropped."""
    theirs.masks = {place: torch.ones(1, 1, dtype=torch.float64) for place in PLACES} | ours.masks()


def search(theirs: reference.LanguageModel, method: str) -> reference.Search:
    return reference.Search(
        theirs,
        method=method,
        weight_momentum=0.0,
        weight_decay=5e-7,
        grad_clip=0.25,
        virtual_clip=0.25,
        arch_lr=3e-3,
        arch_betas=(0.9, 0.999),
    )


def apart(one: Tensor, other: Tensor) -> float:
    if one.dtype == torch.int64:
        return 0.0 if torch.equal(one, other) else float("inf")
    return float((one - other).norm() / other.norm())
