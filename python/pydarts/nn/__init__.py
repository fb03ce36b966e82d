"""The networks of genotypes: plain PyTorch modules; and networks of one's own for a search."""

from ._auxiliary import AuxiliaryHead
from ._build import Network
from ._convolutional import Cell, ConvolutionalNetwork, Stem
from ._function import FunctionNetwork
from ._language import LanguageModel
from ._recurrent import RecurrentCell

__all__ = [
    "AuxiliaryHead",
    "Cell",
    "ConvolutionalNetwork",
    "FunctionNetwork",
    "LanguageModel",
    "Network",
    "RecurrentCell",
    "Stem",
]
