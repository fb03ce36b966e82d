"""Networks of genotypes, as plain PyTorch modules, and the parts of networks of your own for a search."""

from ._auxiliary import AuxiliaryHead
from ._build import Network
from ._choice import Choice, InputChoice
from ._convolutional import Cell, ConvolutionalNetwork, Stem
from ._fix import fix
from ._function import FunctionNetwork
from ._language import LanguageModel
from ._recurrent import RecurrentCell
from ._residual import ResidualNetwork, StageCell

__all__ = [
    "AuxiliaryHead",
    "Cell",
    "Choice",
    "ConvolutionalNetwork",
    "FunctionNetwork",
    "InputChoice",
    "LanguageModel",
    "Network",
    "RecurrentCell",
    "ResidualNetwork",
    "StageCell",
    "Stem",
    "fix",
]
