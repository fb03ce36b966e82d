"""The recurrent search network, plainly.

A cell whose edges carry weighted sums of gated activations, run over a text as a language model with
tied embedding and variational dropout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from .searched import Searched
from .supernet import Criterion

ACTIVATIONS = {
    "none": None,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}
DARTS_RNN_OPERATIONS = tuple(ACTIVATIONS)
PLACES = ("rows", "embedded", "input", "hidden", "output")


@dataclass
class Stream:
    """A text that is read segment by segment: where reading begins, and what the latest loss on it left."""

    hidden: Tensor
    left: Tensor | None = None

    def go_on(self) -> None:
        """The next segment begins with what the last one left."""
        assert self.left is not None
        self.hidden, self.left = self.left, None


Masks = Mapping[str, Tensor]
"""By place, 0 or 1/(1-p): rows [words, 1]; embedded, input, hidden, output [batch, units]."""


def draw_masks(
    dropout: Mapping[str, float],
    words: int,
    batch: int,
    units: int,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Masks:
    """Masks with these probabilities of zero by place."""
    masks = {}
    for place in PLACES:
        size, p = ((words, 1) if place == "rows" else (batch, units)), dropout.get(place, 0.0)
        kept = torch.rand(size, generator=generator, dtype=torch.float64) >= p
        masks[place] = kept.to(dtype) / (1.0 - p)
    return masks


class TimeNorm(nn.Module):
    """Batch norm without affine at every step of a sequence.

    By the statistics of the batch, in evaluation too; `settle` moves the running ones once, by the mean over
    time.
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(units))
        self.register_buffer("running_var", torch.ones(units))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.moves = False
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.moves:
            self.seen.append((x.detach().mean(0), x.detach().var(0, unbiased=True)))
        return F.batch_norm(x, None, None, training=True, eps=1e-5)

    def settle(self) -> None:
        if self.seen:
            for running, over_time in zip(
                (self.running_mean, self.running_var), zip(*self.seen, strict=True), strict=True
            ):
                running.lerp_(torch.stack(list(over_time)).mean(0), 0.1)
            self.num_batches_tracked += 1
        self.seen = []


class RecurrentCell(nn.Module):
    """s_0 = h + σ(c_0)·(tanh(u_0) − h) with [c_0, u_0] = [x, h]·w_0; then per node i
    s_i = Σ_{j<i} Σ_k p_jk·(s_j + σ(c)·(f_k(u) − s_j)) with [c, u] = s_j·w_i.

    A batch norm follows s_0 and each s_i.
    """

    sparse = False
    """Whether activations of weight 0 on all edges into a node are not computed."""

    def __init__(self, operations: Sequence[str], nodes: int, concat: Sequence[int], units: int) -> None:
        super().__init__()
        self.operations, self.nodes, self.concat = tuple(operations), nodes, tuple(concat)
        self.w0 = nn.Parameter(torch.empty(2 * units, 2 * units).uniform_(-0.04, 0.04))
        for node in range(1, nodes + 1):
            self.register_parameter(
                f"w{node}", nn.Parameter(torch.empty(units, 2 * units).uniform_(-0.04, 0.04))
            )
        for node in range(nodes + 1):
            self.add_module(f"bn{node}", TimeNorm(units))

    def forward(self, x: Tensor, h: Tensor, weights: Tensor, x_mask: Tensor, hidden_mask: Tensor) -> Tensor:
        c, u = (torch.cat([x * x_mask, h * hidden_mask], dim=1) @ self.w0).chunk(2, dim=1)
        # As in the published code: the states that enter a node side by side, activation after activation.
        states = self.bn0(h + torch.sigmoid(c) * (torch.tanh(u) - h)).unsqueeze(0)
        row = 0
        for node in range(1, self.nodes + 1):
            c, u = ((states * hidden_mask) @ getattr(self, f"w{node}")).chunk(2, dim=2)
            c = torch.sigmoid(c)
            total = torch.zeros_like(h)
            for k, name in enumerate(self.operations):
                activation = ACTIVATIONS[name]
                if self.sparse and not weights[row : row + node, k].any():
                    continue
                if activation is not None:
                    gated = states + c * (activation(u) - states)
                    total = total + (weights[row : row + node, k, None, None] * gated).sum(0)
            states = torch.cat([states, getattr(self, f"bn{node}")(total).unsqueeze(0)])
            row += node
        return states[list(self.concat)].mean(0)


class LanguageModel(Searched):
    """Embedding, recurrent cell, decoder with the embedding's weights.

    `alphas` maps "recurrent" to a leaf tensor [edges, operations]. Batches are (x, y, stream), x and y int64
    [tokens, batch]. In training mode `masks` must be set; without dropout they are ones.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        units: int = 300,
        nodes: int = 8,
        operations: Sequence[str] = DARTS_RNN_OPERATIONS,
        concat: Sequence[int] | None = None,
        slowness: float = 1e-3,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.operations, self.nodes, self.slowness = tuple(operations), nodes, slowness
        concat = tuple(range(1, nodes + 1)) if concat is None else tuple(concat)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = nn.Embedding(vocabulary, units)
            nn.init.uniform_(self.encoder.weight, -0.04, 0.04)
            self.cell = RecurrentCell(self.operations, nodes, concat, units)
            self.decoder = nn.Module()
            self.decoder.register_parameter("bias", nn.Parameter(torch.zeros(vocabulary)))
            edges = sum(range(1, nodes + 1))
            self.alphas = {"recurrent": (1e-3 * torch.randn(edges, len(self.operations))).requires_grad_()}
        self.masks: Masks = {}
        self._norms = [module for module in self.modules() if isinstance(module, TimeNorm)]
        self.to(dtype)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [tokens, batch, words] and the states [tokens, batch, units] before their dropout."""
        masks = self.masks if self.training else {place: torch.ones(1, 1).to(hidden) for place in PLACES}
        embedded = F.embedding(x, self.encoder.weight * masks["rows"]) * masks["embedded"]
        weights = self.mixing("recurrent")
        self.cell.sparse = self.samples
        states = []
        for token in embedded:
            hidden = self.cell(token, hidden, weights, masks["input"], masks["hidden"])
            states.append(hidden)
        for norm in self._norms:
            norm.settle()
        outputs = torch.stack(states)
        return F.linear(outputs * masks["output"], self.encoder.weight, self.decoder.bias), outputs

    def loss(self, x: Tensor, y: Tensor, stream: Stream, criterion: Criterion = F.cross_entropy) -> Tensor:
        return self.loss_at(None, x, y, stream, criterion)

    def loss_at(
        self,
        weights: dict[str, Tensor] | None,
        x: Tensor,
        y: Tensor,
        stream: Stream,
        criterion: Criterion = F.cross_entropy,
    ) -> Tensor:
        """The loss with other weights than its own."""
        return self._pass(weights, x, y, stream, criterion)[0]

    def training_loss(
        self, x: Tensor, y: Tensor, stream: Stream, criterion: Criterion = F.cross_entropy
    ) -> tuple[Tensor, Tensor]:
        """What the weight step differentiates, with the slowness penalty, and the loss without it."""
        loss, states = self._pass(None, x, y, stream, criterion)
        if len(states) < 2:
            return loss, loss
        return loss + self.slowness * (states[1:] - states[:-1]).square().mean(), loss

    def _pass(
        self, weights: dict[str, Tensor] | None, x: Tensor, y: Tensor, stream: Stream, criterion: Criterion
    ) -> tuple[Tensor, Tensor]:
        call = (x, stream.hidden)
        logits, states = self(*call) if weights is None else functional_call(self, weights, call)
        stream.left = states[-1].detach()
        return criterion(logits.flatten(0, 1), y.flatten()), states
