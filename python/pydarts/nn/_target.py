"""The costs of the candidates of a space in the network that `build` will make of a genotype."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from .._values.derive import derive
from .._values.genotype import Genotype
from .._values.operation import Operation, by_name
from ._build import placed
from ._convolutional import ConvolutionalNetwork
from ._cost import counted, number_of_weights
from ._examples import example
from ._layers import Layers
from ._own import candidate

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

    def __str__(self) -> str:
        sizes = "x".join(map(str, self.size))
        return f"{self.operation!r} of {self.channels} channels and stride {self.stride} on {sizes}"


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
        whole = derive(zeros, self.space)
        nodes = [()] * len(whole.nodes("normal"))
        empty = Genotype(
            normal=nodes, normal_concat=whole.normal_concat, reduce=nodes, reduce_concat=whole.reduce_concat
        )
        arguments: dict[str, Any] = {
            "channels": channels,
            "layers": layers,
            "num_classes": config.num_classes,
            "in_channels": config.in_channels,
            "stem": stem,
        }
        arguments |= placed(config, arguments)
        self._own: dict[str, Operation] = by_name(arguments.pop("operations", ()))
        with torch.device("meta"):
            self.rest = ConvolutionalNetwork(empty, **arguments).eval()
        self.example: tuple[Tensor, ...] = example(self.rest, image_size or config.image_size, None, 1)
        self._layers = Layers(self.rest.dimensions, self.space.causal)
        self._cells: list[tuple[str, int, tuple[int, ...]]] = []
        """By cell: its table, channels, and the size of its inputs."""
        for index, cell in enumerate(self.rest.cells):
            table = "reduce" if index in self.rest.reductions else "normal"
            cell.pre1.register_forward_hook(  # type: ignore[union-attr]
                lambda _, __, out, table=table: self._cells.append(
                    (table, out.shape[1], tuple(out.shape[2:]))
                )
            )
        with torch.no_grad():
            self.rest(*self.example)
        for cell in self.rest.cells:
            cell.pre1._forward_hooks.clear()  # type: ignore[union-attr]

    def places(self) -> Iterator[tuple[int, Place]]:
        """Yield every candidate of every cell: its entry in flat α, and its place."""
        tables = {name: self.space.columns(name) for name in self.space.tables}
        begins, total = {}, 0
        for name, rows in tables.items():
            begins[name], total = total, total + len(rows) * max(map(len, rows))
        for table, channels, size in self._cells:
            halved = tuple(math.ceil(side / 2) for side in size)
            width = max(map(len, tables[table]))
            for row, ((source, _), names) in enumerate(zip(self.space.edges, tables[table], strict=True)):
                from_input, reduces = source < self.space.inputs, table == "reduce"
                stride = 2 if reduces and from_input else 1
                entered = halved if reduces and not from_input else size
                for column, name in enumerate(names):
                    yield begins[table] + row * width + column, Place(name, channels, stride, entered)

    def module(self, place: Place) -> nn.Module:
        """Make the module of a place."""
        return candidate(place.operation, place.channels, place.stride, False, self._layers, self._own)

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
