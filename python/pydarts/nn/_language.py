"""The language model around a discrete recurrent cell."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._values.checks import share, whole
from .._values.genotype import Genotype
from ._recurrent import BOUND, RecurrentCell
from ._state import CheckedModule


class LanguageModel(CheckedModule):
    """An embedding, a recurrent cell, and a decoder that shares the weights of the embedding.

    Dropout is variational: in training mode every call draws one mask per sequence and location from
    PyTorch's generator and uses it for all tokens of the segment. The defaults are those of the published
    training on Penn Treebank (A.2.2 of the paper; dropout rates from the published code), which gives
    22,960,000 weights with 10,000 words.

    Args:
        genotype: a genotype with a recurrent cell.
        vocabulary: number of words.
        units: size of an embedded word and of a state.
        dropout_rows: fraction of words dropped from the embedding.
        dropout_embedded: fraction of an embedded word that is dropped.
        dropout_input: fraction of the cell's input that is dropped.
        dropout_hidden: fraction of each state that is dropped before its product.
        dropout_output: fraction of the output that is dropped.

    Raises:
        GenotypeError: the genotype has no recurrent cell, or a node has several edges.
        ConfigError: a count below 1, or a fraction outside [0, 1).

    >>> from pydarts import genotypes
    >>> net = LanguageModel(genotypes.DARTS_RNN_V2, vocabulary=20, units=8).eval()
    >>> text = torch.arange(12).view(6, 2)  # 6 tokens of 2 sequences
    >>> logits, states = net(text)
    >>> logits.shape, states.shape
    (torch.Size([6, 2, 20]), torch.Size([6, 2, 8]))
    >>> logits, states = net(text, states[-1])  # the next segment
    """

    def __init__(
        self,
        genotype: Genotype,
        *,
        vocabulary: int,
        units: int = 850,
        dropout_rows: float = 0.1,
        dropout_embedded: float = 0.2,
        dropout_input: float = 0.75,
        dropout_hidden: float = 0.25,
        dropout_output: float = 0.75,
    ) -> None:
        super().__init__()
        self.genotype = genotype
        vocabulary = whole("vocabulary", vocabulary, most=10_000_000)
        units = whole("units", units, most=65_536)
        self.arguments: dict[str, int | float] = {
            "vocabulary": vocabulary,
            "units": units,
            "dropout_rows": share("dropout_rows", dropout_rows),
            "dropout_embedded": share("dropout_embedded", dropout_embedded),
            "dropout_input": share("dropout_input", dropout_input),
            "dropout_hidden": share("dropout_hidden", dropout_hidden),
            "dropout_output": share("dropout_output", dropout_output),
        }
        self.encoder = nn.Embedding(vocabulary, units)
        nn.init.uniform_(self.encoder.weight, -BOUND, BOUND)
        self.cell = RecurrentCell(genotype, units=units)
        self.decoder = nn.Module()  # shares the encoder's weight
        bias = nn.Parameter(torch.zeros(vocabulary))
        self.decoder.register_parameter("bias", bias)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Process a segment.

        Args:
            tokens: int64 [tokens, batch], each below `vocabulary`.
            hidden: [batch, units], the initial state; None: zeros.

        Returns:
            The logits of the next words, [tokens, batch, vocabulary], and the states after each token,
            [tokens, batch, units], before dropout; the last one is the initial state of the next segment.
        """
        batch, weight = tokens.shape[1], self.encoder.weight
        if hidden is None:
            hidden = weight.new_zeros(batch, weight.shape[1])
        size = (batch, weight.shape[1])
        embedded = F.embedding(tokens, _times(weight, self._mask("rows", (weight.shape[0], 1))))
        embedded = _times(embedded, self._mask("embedded", size))
        states: Tensor = self.cell(embedded, hidden, self._mask("input", size), self._mask("hidden", size))
        outputs = _times(states, self._mask("output", size))
        return F.linear(outputs, weight, cast(Tensor, self.decoder.bias)), states

    def _mask(self, location: str, size: tuple[int, int]) -> Tensor | None:
        dropped = float(self.arguments[f"dropout_{location}"])
        if not self.training or dropped == 0.0:
            return None
        return F.dropout(self.encoder.weight.new_ones(size), dropped)


def _times(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask
