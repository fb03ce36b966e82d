"""What the networks of images and sequences that `build` returns have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._values.checks import share, whole
from .._values.genotype import Genotype
from .._values.operation import Operation
from ._auxiliary import AuxiliaryHead
from ._own import own_operation
from ._state import CheckedModule


class Normalization(NamedTuple):
    """What is done with inputs before they enter a network: (x - mean) / std, per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Normalization:
        """Read the values of a file."""
        return cls(*(tuple(float(value) for value in found[name]) for name in cls._fields))


def know_normalization(network: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    """Tell a network of images how its training normalised arrays; None: a loader prepared the data."""
    if isinstance(network, ImageNetwork):
        known = mean is not None and std is not None
        network.normalization = Normalization(tuple(mean or ()), tuple(std or ())) if known else None


class ImageNetwork(CheckedModule):
    """A network of the cells of a genotype that classifies images or sequences: the base class.

    Its attributes are `genotype`; `arguments`, those of its class that build it again; `own_operations`, the
    facts about operations of your own in the genotype; and `auxiliary`, the auxiliary head or None.
    """

    genotype: Genotype
    arguments: dict[str, Any]
    own_operations: dict[str, str]
    auxiliary: AuxiliaryHead | None
    normalization: Normalization | None = None
    """Mean and standard deviation per channel of the arrays that it was trained on. `train` sets it, and
    `export` writes it into files; `forward` itself expects normalised inputs."""
    image_size: tuple[int, int] | None = None
    """(height, width) of the images that it was trained on, (1, length) for sequences. `train` sets it; it is
    the default of `export` and `cost`."""
    _dropped: Tensor

    def __init__(
        self, genotype: Genotype, arguments: dict[str, Any], operations: Mapping[str, Operation]
    ) -> None:
        super().__init__()
        used = genotype.to_dict().get("own_operations", ())
        self.own_operations = {name: own_operation(name, operations).fact for name in used}
        self.genotype, self.arguments, self.auxiliary = genotype, arguments, None
        # A tensor: the compiler would treat a number as a constant and compile again in every epoch.
        self.register_buffer("_dropped", torch.zeros(()), persistent=False)
        self.drop_path = arguments["drop_path"]

    @property
    def dimensions(self) -> int:
        """2 for images, 1 for sequences."""
        return 2

    @property
    def drop_path(self) -> float:
        """The fraction of paths dropped in training; it can be set at any time and is saved in files."""
        return float(self.arguments["drop_path"])

    @drop_path.setter
    def drop_path(self, dropped: float) -> None:
        self.arguments["drop_path"] = share("drop_path", dropped)
        self.drop_now(dropped)

    def drop_now(self, dropped: float) -> None:
        """Drop this fraction of paths until `drop_path` is set; `train` calls this for its schedule.

        `drop_path` and saved files do not change.

        Raises:
            ConfigError: a fraction outside [0, 1).

        >>> import pydarts
        >>> net = pydarts.build(pydarts.genotypes.DARTS_V2, channels=4, layers=1, drop_path=0.2)
        >>> net.drop_now(0.1)
        >>> net.drop_path
        0.2
        """
        dropped = share("drop_path", dropped)
        self._drops = dropped > 0
        self._dropped.fill_(dropped)

    def _now_dropped(self) -> Tensor | None:
        """Return the fraction of paths that this pass drops; None if it drops none."""
        return self._dropped if self.training and self._drops else None


def sizes_of(channels: int, layers: int, num_classes: int, in_channels: int) -> dict[str, int]:
    """Check the sizes that all these networks have.

    Raises:
        ConfigError: a count below 1, or too large.
    """
    return {
        "channels": whole("channels", channels, most=4096),
        "layers": whole("layers", layers, most=1000),
        "num_classes": whole("num_classes", num_classes, most=10_000_000),
        "in_channels": whole("in_channels", in_channels, most=4096),
    }
