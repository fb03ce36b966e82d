"""Plain PyTorch DARTS: the float64 oracle of the parity tests and the peer of the benchmarks."""

from .choice_supernet import ChoiceSupernet
from .derive import derive, select, softmax
from .hypergradient import first_order, unrolled, unrolled_exact
from .implicit import METHODS, arch_hessian
from .language import DARTS_RNN_OPERATIONS, LanguageModel, Masks, Stream, draw_masks
from .masks import Masked, MaskedPartial, MaskedSequences
from .noisy import Noisy, NoisyPartial, NoisySequences
from .operations import DARTS_OPERATIONS, OPERATIONS
from .own import HandAttention, HandLSTM, OwnNetwork, PlainChoice, PlainInputChoice, attended, mixed
from .partial import PartialSequenceSupernet, PartialSupernet
from .relaxation import RELAXATIONS, SAMPLED, TEMPERED, Relaxation
from .residual import NAS_BENCH_201_OPERATIONS, ResidualSupernet
from .search import Search
from .sequences import DARTS_1D_OPERATIONS, SEQUENCE_OPERATIONS, SequenceSupernet
from .supernet import DEFAULT_WEIGHT_COUNT, Supernet
from .terms import Term, total
from .toy import fixed_point, trajectory
from .transnas import TRANSNAS_OPERATIONS, TransNasSupernet, macro

__all__ = [
    "DARTS_1D_OPERATIONS",
    "DARTS_OPERATIONS",
    "DARTS_RNN_OPERATIONS",
    "DEFAULT_WEIGHT_COUNT",
    "METHODS",
    "NAS_BENCH_201_OPERATIONS",
    "OPERATIONS",
    "RELAXATIONS",
    "SAMPLED",
    "SEQUENCE_OPERATIONS",
    "TEMPERED",
    "TRANSNAS_OPERATIONS",
    "ChoiceSupernet",
    "HandAttention",
    "HandLSTM",
    "LanguageModel",
    "Masked",
    "MaskedPartial",
    "MaskedSequences",
    "Masks",
    "Noisy",
    "NoisyPartial",
    "NoisySequences",
    "OwnNetwork",
    "PartialSequenceSupernet",
    "PartialSupernet",
    "PlainChoice",
    "PlainInputChoice",
    "Relaxation",
    "ResidualSupernet",
    "Search",
    "SequenceSupernet",
    "Stream",
    "Supernet",
    "Term",
    "TransNasSupernet",
    "arch_hessian",
    "attended",
    "derive",
    "draw_masks",
    "first_order",
    "fixed_point",
    "macro",
    "mixed",
    "select",
    "softmax",
    "total",
    "trajectory",
    "unrolled",
    "unrolled_exact",
]
