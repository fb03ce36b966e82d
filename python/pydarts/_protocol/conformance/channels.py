"""Partial channels: the order of the channels after the mixture and the bypass, read off the engine."""

from __future__ import annotations

from functools import partial

import torch

from ..._search.supernet import Supernet
from ..._values.config import SearchConfig
from ..._values.space import Space
from .check import Check, Value

_PC = "PC-DARTS (Xu et al., 2020); yuhuixu1993/PC-DARTS, model_search.py, channel_shuffle"
# (channels, k, input channels in the order of the output)
_ORDERS = ((8, 4, (0, 2, 4, 6, 1, 3, 5, 7)), (6, 2, (0, 3, 1, 4, 2, 5)))


def checks() -> list[Check]:
    """Return the checks of the channel shuffle."""
    return [
        Check(
            f"partial_channels.shuffle.{k}",
            f"channels of an edge that only skips: C = {channels}, k = {k}",
            _PC,
            order,
            partial(_order, channels, k),
        )
        for channels, k, order in _ORDERS
    ]


def _order(channels: int, k: int) -> Value:
    """Return which channel of the network without partial channels each channel is; -1 for none."""
    whole, parted = _means(channels, 1), _means(channels, k)
    return tuple(
        next((number for number, other in enumerate(whole.tolist()) if abs(other - mean) < 1e-12), -1)
        for mean in parted.tolist()
    )


def _means(channels: int, k: int) -> torch.Tensor:
    """Return the means of the channels of a cell with one node, whose edges only skip."""
    space = Space(nodes=1, operations=["skip_connect"], reductions=[])
    config = SearchConfig(partial_channels=k)
    net = Supernet(
        space,
        channels=channels,
        layers=1,
        num_classes=channels,
        in_channels=2,
        image_size=6,
        precision="float64",
        device="cpu",
        config=config,
    )
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
        if name.endswith("conv.weight")
        else value
        for name, value in net.state_dict().items()
    }
    state["classifier.weight"] = torch.eye(channels, dtype=torch.float64)
    state["classifier.bias"] = torch.zeros(channels, dtype=torch.float64)
    net.load_state_dict(state)
    x = torch.randn(1, 2, 6, 6, generator=generator, dtype=torch.float64)
    return net.logits(torch.cat([x, x.flip(2) ** 2]))[0]
