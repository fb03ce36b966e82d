"""Plain PyTorch DARTS: the float64 oracle of the parity tests and the peer of the benchmarks."""

from .choice_supernet import ChoiceSupernet
from .derive import derive, select, softmax
from .hypergradient import METHODS, first_order, unrolled, unrolled_exact
from .language import DARTS_RNN_OPERATIONS, LanguageModel, Masks, Stream, draw_masks
from .masks import Masked, MaskedSequences
from .operations import DARTS_OPERATIONS, OPERATIONS
from .own import HandAttention, HandLSTM, OwnNetwork, PlainChoice, PlainInputChoice, attended, mixed
from .relaxation import RELAXATIONS, SAMPLED, Relaxation
from .search import Search
from .sequences import DARTS_1D_OPERATIONS, SEQUENCE_OPERATIONS, SequenceSupernet
from .supernet import DEFAULT_WEIGHT_COUNT, Supernet
from .toy import fixed_point, trajectory

__all__ = [
    "DARTS_1D_OPERATIONS",
    "DARTS_OPERATIONS",
    "DARTS_RNN_OPERATIONS",
    "DEFAULT_WEIGHT_COUNT",
    "METHODS",
    "OPERATIONS",
    "RELAXATIONS",
    "SAMPLED",
    "SEQUENCE_OPERATIONS",
    "ChoiceSupernet",
    "HandAttention",
    "HandLSTM",
    "LanguageModel",
    "Masked",
    "MaskedSequences",
    "Masks",
    "OwnNetwork",
    "PlainChoice",
    "PlainInputChoice",
    "Relaxation",
    "Search",
    "SequenceSupernet",
    "Stream",
    "Supernet",
    "attended",
    "derive",
    "draw_masks",
    "first_order",
    "fixed_point",
    "mixed",
    "select",
    "softmax",
    "trajectory",
    "unrolled",
    "unrolled_exact",
]
