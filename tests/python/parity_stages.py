"""Networks of stages with residual blocks, stated twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pydarts
import reference
from parity import Setup

DARTS: dict[str, Any] = {"weight_decay": 3e-4, "weight_nesterov": False}
"""The optimiser of the reference."""


@dataclass(frozen=True)
class Stages(Setup):
    """As `Setup`, for spaces with `stages`."""

    operations: Any = reference.NAS_BENCH_201_OPERATIONS
    nodes: int = 3
    layers: int = 1
    stages: int = 3
    stem_multiplier: int = 1
    pooling_norm: bool = False
    affine: bool = False
    bias: bool = False

    def space(self) -> pydarts.Space:
        return pydarts.Space(
            stages=self.stages,
            nodes=self.nodes,
            operations=self.operations,
            pooling_norm=self.pooling_norm,
            affine=self.affine,
            bias=self.bias,
        )

    def reference(self) -> reference.Supernet:
        return reference.ResidualSupernet(
            channels=self.channels,
            layers=self.layers,
            stages=self.stages,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
            nodes=self.nodes,
            operations=self.operations,
            pooling_norm=self.pooling_norm,
            affine=self.affine,
            bias=self.bias,
            seed=self.seed,
        )

    def engine(self, dtype: str = "float64", **config: Any) -> pydarts.Supernet:
        return pydarts.Supernet(
            self.space(),
            channels=self.channels,
            layers=self.layers,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
            image_size=self.size,
            precision=dtype,
            seed=self.seed,
            config=pydarts.SearchConfig(space=self.space(), **(DARTS | config)),
        )
