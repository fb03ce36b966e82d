"""The costs of the candidates of a space in the network that `build` will make of a genotype."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from .. import _core
from .._values.derive import derive
from .._values.genotype import Genotype
from .._values.operation import Operation, by_name
from ._build import build, placed
from ._cells import GraphCell
from ._convolutional import Cell, ConvolutionalNetwork
from ._cost import counted, number_of_weights
from ._examples import example
from ._images import ImageNetwork
from ._layers import Layers
from ._own import candidate
from ._residual import ResidualNetwork, StageCell

if TYPE_CHECKING:
    from .._values.config import SearchConfig

Costs: TypeAlias = tuple[str, list[float], float]
"""What is counted, the cost of each entry of flat α, and that of the rest of the network."""


@dataclass(frozen=True)
class Place:
    """An operation with its channels, stride and the size of its input."""

    operation: str
    channels: int
    stride: int
    size: tuple[int, ...]
    out: int
    """The channels of its output."""

    def __str__(self) -> str:
        sizes = "x".join(map(str, self.size))
        channels = str(self.channels) if self.out == self.channels else f"{self.channels} to {self.out}"
        return f"{self.operation!r} of {channels} channels and stride {self.stride} on {sizes}"


class Target:
    """The network that will be built of the genotype of a search.

    Args:
        config: the configuration of the search, whose sizes are known.
        channels: channels of the first cells.
        layers: number of cells.
        image_size: side, (height, width) or length; None: that of the search.
        stem: the stem.

    Raises:
        ConfigError: `reductions` of the space do not fit `layers`, or a value is out of range.
    """

    def __init__(
        self, config: SearchConfig, channels: int, layers: int, image_size: Any = None, stem: str = "cifar"
    ) -> None:
        self.space = config.resolved_space
        zeros = {
            name: np.zeros((len(rows), max(map(len, rows))))
            for name, rows in ((name, self.space.columns(name)) for name in self.space.tables)
        }
        fields = derive(zeros, self.space).to_dict()
        fields.pop("own_operations", None)
        empty = Genotype.from_dict(
            {name: [[] for _ in cell] if name in self.space.tables else cell for name, cell in fields.items()}
        )
        arguments: dict[str, Any] = {
            "channels": channels,
            "layers": layers,
            "num_classes": config.num_classes,
            "in_channels": config.in_channels,
        }
        if self.space.stages is None:
            arguments["stem"] = stem
        elif stem != "cifar":
            raise _core.ConfigError(f"stem is {stem!r}; a network of stages uses that of its space")
        arguments |= placed(config, arguments)
        self._own: dict[str, Operation] = by_name(arguments.pop("operations", ()))
        with torch.device("meta"):
            built = build(empty, **arguments).eval()
        assert isinstance(built, ImageNetwork)
        self.rest = built
        self.example: tuple[Tensor, ...] = example(self.rest, image_size or config.image_size, None, 1)
        self._layers = Layers(self.rest.dimensions, self.space.causal)
        self._cells: list[tuple[str, GraphCell, torch.Size]] = []
        """By cell: its table, itself, and the shape of its input nodes."""
        hooks = [
            module.register_forward_hook(partial(self._entered, table, cell))
            for table, cell, module in self._inputs(built)
        ]
        with torch.no_grad():
            self.rest(*self.example)
        for hook in hooks:
            hook.remove()

    def _inputs(self, network: nn.Module) -> Iterator[tuple[str, GraphCell, nn.Module]]:
        """Yield each cell: its table, itself, and the module that its input nodes enter or leave."""
        if isinstance(network, ResidualNetwork):
            yield from (("cell", cell, cell) for cell in network.cells if isinstance(cell, StageCell))
        elif isinstance(network, ConvolutionalNetwork):
            for index, cell in enumerate(network.cells):
                assert isinstance(cell, Cell)
                yield "reduce" if index in network.reductions else "normal", cell, cell.pre1

    def _entered(self, table: str, cell: GraphCell, module: nn.Module, inputs: Any, out: Tensor) -> None:
        self._cells.append((table, cell, (inputs[0] if module is cell else out).shape))

    def places(self) -> Iterator[tuple[int, Place]]:
        """Yield every candidate of every cell: its entry in flat α, and its place."""
        tables = {name: self.space.columns(name) for name in self.space.tables}
        begins, total = {}, 0
        for name, rows in tables.items():
            begins[name], total = total, total + len(rows) * max(map(len, rows))
        for table, cell, (_, into, *size) in self._cells:
            out, steps = cell._channels or into, cell._stride
            inner = tuple(math.ceil(side / steps) for side in size)
            width = max(map(len, tables[table]))
            for row, ((source, _), names) in enumerate(zip(self.space.edges, tables[table], strict=True)):
                from_input = source < self.space.inputs
                entered = (into, steps, tuple(size)) if from_input else (out, 1, inner)
                for column, name in enumerate(names):
                    yield begins[table] + row * width + column, Place(name, *entered, out)

    def module(self, place: Place) -> nn.Module:
        """Make the module of a place."""
        channels = place.channels, place.out
        return candidate(place.operation, channels, place.stride, False, self._layers, self._own)

    def costs(self, measure: str, of_place: Callable[[Place], float], of_rest: float) -> Costs:
        """Add the costs of places by entry of flat α."""
        found: dict[Place, float] = {}
        total = sum(
            len(rows) * max(map(len, rows))
            for rows in (self.space.columns(name) for name in self.space.tables)
        )
        flat = [0.0] * total
        for entry, place in self.places():
            if place not in found:
                found[place] = of_place(place)
            flat[entry] += found[place]
        return measure, flat, of_rest

    def flops(self) -> Costs:
        """Count the multiply-adds, as `cost` does."""

        def of_place(place: Place) -> float:
            with torch.device("meta"):
                module = self.module(place).eval()
            return counted(module, torch.zeros(1, place.channels, *place.size, device="meta")) // 2

        return self.costs("flops", of_place, counted(self.rest, self.example) // 2)

    def parameters(self) -> Costs:
        """Count the weights, as `cost` does."""

        def of_place(place: Place) -> float:
            with torch.device("meta"):
                return number_of_weights(self.module(place))

        return self.costs("parameters", of_place, number_of_weights(self.rest))
