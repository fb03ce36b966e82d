"""The networks that genotypes stand for: plain PyTorch modules."""

from typing import TypeAlias

from ._convolutional import AuxiliaryHead, Cell, ConvolutionalNetwork, Stem
from ._language import LanguageModel
from ._recurrent import RecurrentCell

Network: TypeAlias = ConvolutionalNetwork | LanguageModel
"""What `pydarts.build` gives."""

__all__ = [
    "AuxiliaryHead",
    "Cell",
    "ConvolutionalNetwork",
    "LanguageModel",
    "Network",
    "RecurrentCell",
    "Stem",
]
