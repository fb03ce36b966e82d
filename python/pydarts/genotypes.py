"""The published genotypes.

>>> from pydarts import genotypes
>>> genotypes.DARTS_V2.normal[0]
('sep_conv_3x3', 0)
"""

from . import _core
from ._values.genotype import Genotype

_published = {name: Genotype._of(found) for name, found in _core.published_genotypes().items()}

DARTS_V1: Genotype = _published["DARTS_V1"]
"""DARTS, first order, on CIFAR-10 (the published code)."""
DARTS_V2: Genotype = _published["DARTS_V2"]
"""DARTS, second order, on CIFAR-10 (paper, figures 4 and 5)."""
PC_DARTS_CIFAR: Genotype = _published["PC_DARTS_CIFAR"]
"""PC-DARTS (ICLR 2020) on CIFAR-10."""
PC_DARTS_IMAGENET: Genotype = _published["PC_DARTS_IMAGENET"]
"""PC-DARTS (ICLR 2020) on ImageNet."""
DARTS_RNN_V1: Genotype = _published["DARTS_RNN_V1"]
"""DARTS, first order, recurrent, on Penn Treebank (the published code)."""
DARTS_RNN_V2: Genotype = _published["DARTS_RNN_V2"]
"""DARTS, second order, recurrent, on Penn Treebank (paper, figure 6)."""

__all__ = ["DARTS_RNN_V1", "DARTS_RNN_V2", "DARTS_V1", "DARTS_V2", "PC_DARTS_CIFAR", "PC_DARTS_IMAGENET"]


def __dir__() -> list[str]:
    return [*__all__]
