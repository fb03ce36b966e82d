"""The networks of genotypes: plain PyTorch modules."""

from ._build import Network
from ._convolutional import AuxiliaryHead, Cell, ConvolutionalNetwork, Stem
from ._language import LanguageModel
from ._recurrent import RecurrentCell

__all__ = [
    "AuxiliaryHead",
    "Cell",
    "ConvolutionalNetwork",
    "LanguageModel",
    "Network",
    "RecurrentCell",
    "Stem",
]
