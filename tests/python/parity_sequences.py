"""Networks of sequences stated twice, by the engine and by `tests/reference`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pydarts
import reference
import torch
from parity import Batch, Setup

SMALL = ("none", "skip_connect", "sep_conv_3")
ALL = tuple(reference.SEQUENCE_OPERATIONS)


@dataclass(frozen=True)
class Sequences(Setup):
    """As `Setup`, for sequences [N, C, L]."""

    operations: Any = reference.DARTS_1D_OPERATIONS
    length: int = 16
    causal: bool = False
    passes: tuple[str, ...] | None = None

    def reference(self) -> reference.SequenceSupernet:
        return reference.SequenceSupernet(
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
        space = pydarts.Space(
            name="darts-1d",
            operations=self.operations,
            nodes=self.nodes,
            concat=self.concat,
            reductions=self.reductions,
            stem_multiplier=self.stem_multiplier,
            causal=self.causal,
        )
        return pydarts.Supernet(
            space,
            channels=self.channels,
            layers=self.layers,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
            image_size=self.length,
            precision="float64",
            seed=self.seed,
            config=pydarts.SearchConfig(passes=self.passes, **config),
        )

    def batches(self, n: int) -> list[Batch]:
        generator = torch.Generator().manual_seed(self.seed + 2)
        shape = (self.batch, self.in_channels, self.length)
        return [
            (
                torch.randn(shape, generator=generator, dtype=torch.float64),
                torch.randint(self.num_classes, (self.batch,), generator=generator),
            )
            for _ in range(n)
        ]


RAGGED: dict[str, Any] = {
    "normal": [
        ("skip_connect", "dil_conv_3"),
        ("none", "max_pool_3", "sep_conv_7", "conv_1"),
        ("dil_conv_7",),
        ("avg_pool_5", "max_pool_3", "none"),
        ("sep_conv_3", "skip_connect"),
    ],
    "reduce": [
        ("max_pool_7",),
        ("skip_connect", "none"),
        ("max_pool_3", "dil_conv_5", "skip_connect"),
        ("skip_connect", "max_pool_3"),
        ("none", "conv_5"),
    ],
}

SETUPS = {
    "the preset": Sequences(),
    "the preset, causal": Sequences(causal=True),
    "published cells of four nodes": Sequences(nodes=4, layers=2, channels=2, reductions=(1,)),
    "an odd length of 13": Sequences(length=13, layers=5, nodes=1),
    "an odd length of 13, causal": Sequences(length=13, layers=5, nodes=1, causal=True),
    "a length of 7, causal": Sequences(length=7, in_channels=1, causal=True),
    "longer than the groups of depthwise convolutions": Sequences(length=300, nodes=1, channels=2),
    "all operations": Sequences(operations=ALL, length=21, nodes=1),
    "all operations, causal": Sequences(operations=ALL[::-1], length=22, nodes=1, causal=True),
    "reductions alone": Sequences(operations=("skip_connect", "conv_1"), reductions=(0, 1, 2), length=9),
    "reductions alone, causal": Sequences(
        operations=("skip_connect", "conv_3"), reductions=(0, 1, 2), length=10, causal=True
    ),
    "no reduction and a length of 1": Sequences(operations=SMALL, reductions=(), length=1),
    "one to four operations per edge": Sequences(operations=RAGGED, nodes=2, length=11, causal=True),
    "pooling only, causal": Sequences(operations=("avg_pool_3", "max_pool_5"), length=9, causal=True),
    "without passes": Sequences(passes=(), causal=True, nodes=1),
}
