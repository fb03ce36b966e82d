"""The Rust engine. Tensors cross as torch tensors, α as numpy arrays."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor
from typing_extensions import Self

__version__: str

class Error(Exception):
    """The base of all errors of pydarts."""

class ConfigError(Error, ValueError):
    """A bad option: an unknown name, a value out of range, an unknown space, method or precision."""

class SpaceError(Error, ValueError):
    """A space or network that cannot be built."""

class GenotypeError(Error, ValueError):
    """A malformed genotype, or one that does not fit its space."""

class DataError(Error, ValueError):
    """Data of a wrong rank, size, dtype or range, or none at all."""

class NumericalError(Error, ArithmeticError):
    """A loss or gradient became NaN or infinite."""

class CheckpointError(Error, ValueError):
    """A checkpoint that is truncated, of another space or configuration, or none at all."""

class DeviceError(Error, RuntimeError):
    """A device that is not there, or cannot do what is asked."""

class OutOfMemoryError(Error, MemoryError):
    """Out of memory; the message carries the plan's estimate and a batch size to try."""

class RankError(Error, RuntimeError):
    """Another rank of a search failed or died; its own exception says more."""

class EngineError(Error, RuntimeError):
    """libtorch failed: a bug, or a broken installation."""

class SearchConfig:
    """The options of a search; `pydarts.SearchConfig` declares its attributes."""

    def __new__(cls, *base: object, **fields: object) -> Self: ...
    def _whole_space(self) -> Space: ...
    def to_dict(self) -> dict[str, Any]: ...

class Space:
    """A search space; `pydarts.Space` declares its fields."""

    def __new__(cls, *base: object, **fields: object) -> Self: ...
    @property
    def edges(self) -> tuple[tuple[int, int], ...]: ...
    @property
    def tables(self) -> tuple[str, ...]: ...
    @property
    def inputs(self) -> int: ...
    @property
    def edges_kept(self) -> int | None: ...
    @property
    def all_operations(self) -> tuple[str, ...]: ...
    def columns(self, table: str) -> tuple[tuple[str, ...], ...]: ...
    def to_dict(self) -> dict[str, Any]: ...

class Genotype:
    """A genotype; `pydarts.Genotype` declares its fields."""

    def __new__(cls, *base: object, **fields: object) -> Self: ...
    @staticmethod
    def _parse_notation(text: str) -> Genotype: ...
    @staticmethod
    def _parse_nasbench201(text: str) -> Genotype: ...
    def to_nasbench201(self) -> str: ...
    @property
    def tables(self) -> tuple[str, ...]: ...
    def _validate_in(self, space: Space) -> None: ...
    def edges(self, table: str) -> tuple[tuple[str, int, int], ...]: ...
    def nodes(self, table: str) -> tuple[tuple[tuple[str, int], ...], ...]: ...
    @property
    def kind(self) -> Literal["convolutional", "recurrent"]: ...
    @property
    def dimensions(self) -> int | None: ...
    @property
    def skip_connections(self) -> int: ...
    def to_dict(self) -> dict[str, Any]: ...

def derive(
    space: Space, alphas: dict[str, npt.NDArray[np.float64]], relaxation: object, selection: object
) -> Genotype: ...
def select(space: Space, strengths: dict[str, npt.NDArray[np.float64]], selection: object) -> Genotype:
    """The genotype of strengths, in which NaN marks what may not be selected."""

def strengths(
    relaxation: Any,
    alphas: npt.NDArray[np.float64],
    fixed: npt.NDArray[np.float64],
    epochs: Sequence[int],
    total: int,
) -> npt.NDArray[np.float64]:
    """The mean mixing weights at several points, [points, rows, columns]; `alphas` is NaN where masked.

    `fixed`, of the same shape, holds the mixing weights of frozen rows and is NaN elsewhere; `epochs` has the
    epoch of each point, in a search of `total` epochs.
    """

def edge_weights(logits: npt.NDArray[np.float64], groups: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
    """The weights of edges at several points, [points, rows]: a softmax of their logits over each group."""

def entropy(relaxation: Any, strengths: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean entropy of the rows in nats, [points], from strengths [points, rows, columns]."""

def relaxation_at(relaxation: Any, epoch: int, total: int) -> dict[str, Any]:
    """`name`, `shares` (of 1), `parameters` in this epoch, and the names of the `scheduled` ones."""

def variant_axes() -> list[str]: ...
def variants(axis: str) -> list[dict[str, Any]]: ...
def variant(axis: str, given: object) -> dict[str, Any]: ...
def schedule(given: object) -> dict[str, Any]: ...
def schedule_at(given: dict[str, Any], epoch: int, epochs: int) -> float: ...
def relaxation_sample(given: dict[str, Any], alpha: Tensor, seed: int, step: int) -> Tensor: ...
def relaxation_weights(given: dict[str, Any], alpha: Tensor, noise: Tensor | None) -> Tensor: ...
def relaxation_backward(
    given: dict[str, Any], alpha: Tensor, m: Tensor, gradient: Tensor, noise: Tensor | None
) -> Tensor: ...
def terms_apply(
    given: object,
    relaxation: object,
    alphas: list[Tensor],
    loss: float,
    gradients: list[Tensor],
    costs: list[tuple[str, list[float], float]],
) -> tuple[float, list[Tensor]]: ...
def own_operation(name: str) -> None: ...
def published_genotypes() -> dict[str, Genotype]: ...
def cuda_is_available() -> bool: ...
def processor() -> str: ...
def fitting_batch(config: SearchConfig, most: int, free: int, operations: object = None) -> int: ...

class Supernet:
    """The search network of a complete configuration."""

    def __init__(
        self,
        config: SearchConfig,
        dtype: str,
        device: str,
        operations: object = None,
        costs: list[tuple[str, list[float], float]] = ...,
    ) -> None: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...
    def alphas(self) -> dict[str, Tensor]: ...
    def set_alphas(self, alphas: dict[str, Tensor]) -> None: ...
    def logits(self, x: Tensor) -> Tensor: ...
    def loss(self, x: Tensor, y: Tensor) -> float: ...
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[float, int]: ...
    def arch_gradient(
        self,
        train: tuple[Tensor, Tensor] | None,
        valid: tuple[Tensor, Tensor],
        method: str | dict[str, Any],
        xi: float,
        epsilon: float,
        momentum: dict[str, Tensor] | None,
        probe: bool,
    ) -> tuple[dict[str, Tensor], tuple[float, float] | None]: ...
    def step(self, train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor]) -> tuple[float, float]: ...
    def optimizer_state(self) -> dict[str, Any]: ...
    def decide(self, decision: str) -> None: ...
    def masks(self) -> dict[str, Tensor]: ...
    def explain(self, full: bool) -> str: ...
    def cost(self) -> dict[str, int]: ...

class SearchModule:
    """A network of the user, with the attributes and methods of `_search.network.BoundNetwork`."""

    def __init__(
        self,
        config: SearchConfig,
        network: object,
        dtype: str,
        device: str,
        given_costs: Sequence[tuple[str, list[float], float]] = ...,
    ) -> None: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...
    def alphas(self) -> dict[str, Tensor]: ...
    def set_alphas(self, alphas: dict[str, Tensor]) -> None: ...
    def loss(self, batch: tuple[list[Tensor], Any]) -> float: ...
    def evaluate(self, batch: tuple[list[Tensor], Any]) -> tuple[float, float | None]: ...
    def arch_gradient(
        self,
        train: tuple[list[Tensor], Any] | None,
        valid: tuple[list[Tensor], Any],
        method: str | dict[str, Any],
        xi: float,
        epsilon: float,
        momentum: dict[str, Tensor] | None,
        probe: bool,
    ) -> tuple[dict[str, Tensor], tuple[float, float] | None]: ...
    def step(
        self, train: tuple[list[Tensor], Any], valid: tuple[list[Tensor], Any]
    ) -> tuple[float, float]: ...
    def optimizer_state(self) -> dict[str, Any]: ...
    def decide(self, decision: str) -> None: ...

class Source(Protocol):
    """What the engine asks of a Python loader."""

    def batches(self) -> int | None:
        """Number of batches of a pass, None when unknown."""
    def start(self, index: int, skip: int) -> None:
        """Begin pass number `index`, skipping its first `skip` batches."""
    def next(self) -> tuple[Any, Any] | None:
        """The next (x, y) on the CPU, or for a user-defined network the tensors of a batch and its layout."""
    def close(self) -> None:
        """Stop threads; called at the end, always."""

class Dataset:
    """Images [N, C, H, W] and targets [N, ...], uploaded to the device once for all sources of them."""

    def __init__(self, x: Tensor, y: Tensor) -> None: ...

class Arrays:
    """A view of a data set; role: "train", "valid" (both shuffled), "eval" (in order)."""

    def __init__(
        self,
        dataset: Dataset,
        indices: list[int] | None,
        role: str,
        batch_size: int,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> None: ...
    def open(
        self,
        seed: int,
        crop_and_flip: bool,
        cutout: int,
        dtype: str,
        device: str,
        rank: int = 0,
        ranks: int = 1,
    ) -> ArrayBatches:
        """The share of a rank of the batches that a search with this seed reads; `dtype` as in torch."""

class ArrayBatches:
    """Batches of a view of a data set, on the device."""

    @property
    def smallest(self) -> int: ...
    def batches(self) -> int: ...
    def start(self, index: int, skip: int) -> None: ...
    def next(self) -> tuple[Tensor, Tensor] | None: ...
    def close(self) -> None: ...

def unknown_name(what: str, given: str, known: Sequence[str]) -> str:
    """The message for an unknown name, with what may be meant, or the known names."""

def suggestions(given: str, known: Sequence[str]) -> list[str]:
    """The known names that an unknown one may mean, the likeliest first."""

def normalized(
    images: Tensor, dtype: str, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Tensor:
    """Images as inputs of a network: uint8 scaled to [0, 1], less `mean`, divided by `std`; always a copy."""

class Tokens:
    """A text on the device; role: "train" (some segments halved), "valid", "eval" (all of one length)."""

    def __init__(self, tokens: Tensor, role: str, batch_size: int) -> None: ...

class Observer(Protocol):
    """Receives events of the kinds "start", "step", "epoch", "checkpoint" and "warning"."""

    def wants(self, kind: str) -> bool: ...  # for each kind, before the search and after each event
    def poll(self) -> None: ...  # between batches; an exception stops the search
    def observe(
        self,
        kind: str,
        payload: dict[str, Any],
        alphas: dict[str, npt.NDArray[Any]] | None,
        strengths: dict[str, npt.NDArray[np.float64]] | None,
    ) -> None: ...

def search(
    config: SearchConfig,
    train: Source | Arrays | Tokens,
    valid: Source | Arrays | Tokens,
    evaluation: Source | Arrays | Tokens,
    observer: Observer,
    criterion: tuple[Callable[[Tensor, Tensor], Tensor], bool] | None,
    fingerprint: dict[str, str],
    network: object | None = None,
    operations: object = None,
    metric: object = None,
    costs: list[tuple[str, list[float], float]] = ...,
    ranks: object | None = None,
) -> dict[str, Any]:
    """Run a search. Errors after the first step are returned in the result.

    `criterion`: a loss, and whether it is a cross-entropy. `network`: a `BoundNetwork`; `operations`: a
    `BoundOperations`; `metric`: a `Metric` of a space of images. `ranks`: the `Ranks` that search together.

    `fingerprint` identifies data and loss when a search is resumed. The result has that of the latest steps.
    """
