"""Networks with partial channels, weighted edges and an auxiliary skip, stated twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pydarts
import reference
from parity import Setup
from parity_sequences import Sequences


def options(setup: Any) -> dict[str, Any]:
    """The options of the edges that differ from their defaults."""
    given: dict[str, Any] = {} if setup.passes is None else {"passes": setup.passes}
    if setup.k != 1:
        given["partial_channels"] = setup.k
    if setup.normalized:
        given["edge_normalization"] = True
    if setup.auxiliary is not None:
        given["auxiliary_skip"] = setup.auxiliary
    return given


@dataclass(frozen=True)
class Partial(Setup):
    """As `Setup`, with the options of the edges."""

    k: int = 1
    normalized: bool = False
    auxiliary: float | None = None
    passes: tuple[str, ...] | None = None

    def reference(self) -> reference.Supernet:
        return reference.PartialSupernet(**self.sizes())

    def sizes(self) -> dict[str, Any]:
        return {
            "k": self.k,
            "normalized": self.normalized,
            "auxiliary": self.auxiliary,
            "channels": self.channels,
            "layers": self.layers,
            "num_classes": self.num_classes,
            "in_channels": self.in_channels,
            "nodes": self.nodes,
            "operations": self.operations,
            "concat": self.concat,
            "reductions": self.reductions,
            "stem_multiplier": self.stem_multiplier,
            "seed": self.seed,
        }

    def engine(self, **config: Any) -> pydarts.Supernet:
        return super().engine(**options(self), **config)


@dataclass(frozen=True)
class PartialSequences(Sequences):
    """As `Sequences`, with the options of the edges."""

    k: int = 1
    normalized: bool = False
    auxiliary: float | None = None

    def reference(self) -> Any:
        return reference.PartialSequenceSupernet(
            k=self.k,
            normalized=self.normalized,
            auxiliary=self.auxiliary,
            causal=self.causal,
            channels=self.channels,
            layers=self.layers,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
            nodes=self.nodes,
            operations=self.operations,
            concat=self.concat,
            reductions=self.reductions,
            stem_multiplier=self.stem_multiplier,
            seed=self.seed,
        )

    def engine(self, **config: Any) -> pydarts.Supernet:
        given = options(self)
        given.pop("passes", None)  # the base class gives them
        return super().engine(**given, **config)


BASES: Mapping[str, Partial] = {
    "the published operations, k=4": Partial(k=4, channels=8, nodes=3),
    "k=2 with weighted edges": Partial(k=2, normalized=True),
    "an odd number of mixed channels": Partial(k=2, channels=7, normalized=True, size=(7, 7)),
    "k that does not divide the channels": Partial(k=3, channels=8, size=(9, 5)),
    "one mixed channel": Partial(k=4, channels=5, size=(8, 7)),
    "k above the number of channels": Partial(k=64, channels=3, normalized=True),
    "a cell of one channel": Partial(k=4, channels=1, reductions=(1,), operations=("none", "conv_1x1")),
    "weighted edges alone": Partial(normalized=True, size=(5, 6)),
    "an auxiliary skip": Partial(auxiliary=0.5),
    "an auxiliary skip without a candidate skip": Partial(
        auxiliary=1.25, operations=("none", "sep_conv_3x3"), size=(7, 5)
    ),
    "an auxiliary skip of weight 0": Partial(auxiliary=0.0),
    "all three": Partial(k=3, normalized=True, auxiliary=0.75, channels=6, nodes=3, size=(9, 9)),
    "no reduction": Partial(k=2, normalized=True, auxiliary=0.5, reductions=()),
    "reductions alone": Partial(k=2, auxiliary=0.5, reductions=(0, 1, 2), size=(9, 11)),
}
