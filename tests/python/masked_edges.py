"""Networks with drop path and skip dropout, stated twice, and the masks that both see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pydarts
import reference
from parity import Batch, Setup
from parity_partial import Partial
from parity_sequences import Sequences

SIZES = ("channels", "layers", "num_classes", "in_channels", "nodes", "operations", "concat", "reductions",
         "stem_multiplier", "seed")  # fmt: skip


@dataclass(frozen=True)
class MaskedImages(Setup):
    """As `Setup`, with a reference that drops edges and skip connections."""

    def reference(self) -> reference.Masked:
        return reference.Masked(**{name: getattr(self, name) for name in SIZES})


@dataclass(frozen=True)
class MaskedSequences(Sequences):
    """As `Sequences`, with a reference that drops edges and skip connections."""

    def reference(self) -> reference.MaskedSequences:
        sizes: dict[str, Any] = {name: getattr(self, name) for name in SIZES}
        return reference.MaskedSequences(causal=self.causal, **sizes)


@dataclass(frozen=True)
class MaskedPartial(Partial):
    """As `Partial`, with a reference that drops edges and skip connections."""

    def reference(self) -> reference.MaskedPartial:
        return reference.MaskedPartial(**self.sizes())


def share_masks(ours: pydarts.Supernet, theirs: Any, train: Batch, valid: Batch) -> dict[str, Any]:
    """Draw the masks of the next step for these batches, and let the reference see them."""
    ours.arch_gradient(train=train, valid=valid, hypergradient="unrolled")
    theirs.masks = ours.masks()
    return dict(theirs.masks)
