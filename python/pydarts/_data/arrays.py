"""Validate images and labels that are given as arrays, and compute their shape, classes and statistics."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Number
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .._core import DataError, Dataset

Array: TypeAlias = npt.NDArray[Any] | Tensor
Batches: TypeAlias = Iterable[tuple[Array, Array]] | DataLoader[Any]
Labels: TypeAlias = Array | Sequence[int]
Single: TypeAlias = tuple[Array, Labels] | Batches

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_CHUNK = 4096  # images per step of a check, which limits its memory


@dataclass(frozen=True)
class ArrayData:
    """Validated images [N, C, H, W] or sequences [N, C, L], with int64 labels [N] or other targets [N, ...].

    Images are uint8 or in the dtype of the search, floating-point targets in that dtype.
    """

    x: Tensor
    y: Tensor
    given: torch.dtype | None = None
    """The dtype of the images before they were converted."""
    free: bool = False
    """Whether a loss of the user reads the targets."""

    @cached_property
    def dataset(self) -> Dataset:
        """The data set of the engine; all sources that read it share one copy on the device."""
        return Dataset(self.x, self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of each image, or channels and length of each sequence."""
        return tuple(self.x.shape[1:])

    @property
    def classes(self) -> int | None:
        """The number of classes: the largest label + 1, or the number of probabilities; None if unknown."""
        return classes_in(self.y, self.free)


def is_array(value: object) -> TypeGuard[Array]:
    """Return whether `value` is a NumPy array or a tensor."""
    return isinstance(value, (np.ndarray, Tensor))


def as_pair(source: Any) -> Any:
    """Return (X, y) as a tuple of two arrays if `source` is arrays in another form, else `source` unchanged.

    Other forms are a list [X, y], and lists, pandas objects or anything else with `__array__` for X or y.

    >>> as_pair([np.zeros((2, 1, 4, 4)), [0, 1]])[1]
    array([0, 1])
    """
    if not isinstance(source, (tuple, list)) or len(source) != 2:
        return source
    x, y = source
    for part, what in ((x, "X"), (y, "y")):
        if hasattr(part, "tocsr") and hasattr(part, "toarray"):  # all kinds of scipy.sparse
            raise DataError(f"{what} must be dense, got a sparse {type(part).__name__}; {_DENSE[what]}")
    if is_array(x) and is_array(y):
        return (x, y)
    if _like_array(x) or (_like_list(x) and (_like_array(y) or _numbers(y))):
        if not (_like_array(y) or _numbers(y)):
            if isinstance(y, Iterable) and not isinstance(y, (str, bytes, dict, set)) and not _like_list(y):
                return source
            raise DataError(f"X is an array, but y is {_shown(y)}; give the labels as integers [N]")
        return stacked(x, "X"), stacked(y, "y")
    return source


_DENSE = {
    "X": "convert with X.toarray() and restore the dimensions: .reshape(N, C, H, W)",
    "y": "convert with y.toarray().argmax(1) if it is one-hot, or with y.toarray().ravel()",
}


def _like_array(value: object) -> bool:
    """Return whether NumPy can convert `value` itself, such as a pandas Series."""
    return is_array(value) or (hasattr(value, "__array__") and not isinstance(value, type))


def _like_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _numbers(value: Any) -> bool:
    """Return whether `value` is a sequence of numbers or strings, such as labels, not of batches."""
    if not _like_list(value) or not len(value):
        return False
    first = value[0]
    return isinstance(first, (Number, str, np.generic)) or (is_array(first) and first.ndim == 0)


def stacked(value: Any, what: str) -> Array:
    """Return `value` as an array."""
    if is_array(value):
        return value
    try:
        if _like_list(value) and isinstance(value[0], Tensor):
            return torch.stack(list(value))
        return np.asarray(value)
    except (ValueError, RuntimeError, TypeError) as error:
        raise DataError(f"{what} is a {type(value).__name__} that cannot be an array: {error}") from error


def _shown(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def read_arrays(
    x: Array,
    y: Array,
    what: str,
    dtype: torch.dtype,
    in_channels: int | None,
    dimensions: int = 2,
    free: bool = False,
) -> ArrayData:
    """Validate a data set that is given as arrays; `what` ("training" or "validation") names it in errors.

    `free`: whether a loss of the user reads the targets.
    """
    name = f"the {what} {NOUNS[dimensions]}"
    images = as_tensor(x, name)
    check_images(images, name, in_channels, dimensions)
    if len(images) == 0:
        raise DataError(f"{name} are empty")
    targets = check_targets(
        as_tensor(y, f"the {what} labels"), len(images), f"the {what} labels", dtype, free
    )
    given = images.dtype
    if images.dtype != torch.uint8:
        bad = first_bad_image(images)
        if bad is not None:
            raise DataError(
                f"{NOUNS[dimensions][:-1]} {bad} of {name} contains NaN or infinity; remove it or replace "
                "the values"
            )
        images = images.to(dtype)
    return ArrayData(images.contiguous(), targets, given, free)


def as_tensor(value: Any, what: str) -> Tensor:
    """Convert `value` to a CPU tensor, which shares memory with it where possible.

    Raises:
        DataError: not numbers, a sparse tensor, or an array with masked values.
    """
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            raise DataError(f"{what} must be dense, got the layout {value.layout}; convert with .to_dense()")
        return value.detach().cpu()
    if np.ma.is_masked(value):
        masked = int(np.ma.getmaskarray(value).sum())
        raise DataError(f"{what} have {masked} masked values; replace these with .filled(value)")
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        strings = array.dtype.kind in "SU" or (array.size and isinstance(array.flat[0], str))
        remedy = "number them: np.unique(y, return_inverse=True)[1]" if strings else "convert with .astype()"
        raise DataError(f"{what} must be numbers, got dtype {array.dtype}; {remedy}")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    if array.dtype.byteorder not in "=|":
        array = array.astype(array.dtype.newbyteorder("="))
    array = np.ascontiguousarray(array) if array.ndim else array
    if isinstance(value, np.memmap) and not array.flags.writeable:
        with warnings.catch_warnings():  # the file may be larger than memory; nothing writes
            warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
            return torch.from_numpy(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


NOUNS = {1: "sequences", 2: "images"}
"""What examples are called, by the number of dimensions that convolutions run over."""


def check_images(x: Tensor, what: str, in_channels: int | None, dimensions: int = 2) -> None:
    """Raise DataError unless `x` has shape and dtype of images [N, C, H, W], or of sequences [N, C, L]."""
    shape = list(x.shape)
    if dimensions == 1:
        _check_sequences(x, what, in_channels)
        return
    if x.ndim == 3:
        raise DataError(
            f"{what} must be [N, C, H, W], got {shape}; add the channel dimension of grey images: "
            'X[:, None]; sequences [N, C, L] need a space of one dimension: space="darts-1d"'
        )
    if x.ndim != 4:
        remedy = (
            "restore the dimensions of the images: X.reshape(N, C, H, W)"
            if x.ndim < 3
            else ("volumes and videos are not supported; give 2-D images, for example slices")
        )
        raise DataError(f"{what} must be [N, C, H, W], got {x.ndim} dimensions: {shape}; {remedy}")
    last, second = shape[3], shape[1]
    if last in (1, 3, 4) and second not in (1, 3, 4) and second > last and in_channels != second:
        raise DataError(
            f"{what} must be [N, C, H, W], got {shape}, which looks like [N, H, W, C]; transpose with "
            f"X.transpose(0, 3, 1, 2) in NumPy or X.permute(0, 3, 1, 2) in PyTorch, or pass "
            f"in_channels={second} if the order is correct"
        )
    _check_numbers(x, what)


def _check_sequences(x: Tensor, what: str, in_channels: int | None) -> None:
    shape = list(x.shape)
    if x.ndim != 3:
        remedies = {
            2: "add the channel dimension: X[:, None]",
            4: 'images [N, C, H, W] need a space of two dimensions: space="darts"',
        }
        remedy = remedies.get(x.ndim, "give one array of numbers per channel and position")
        raise DataError(f"{what} must be [N, C, L], got {x.ndim} dimensions: {shape}; {remedy}")
    if shape[1] > 4 * shape[2] and in_channels != shape[1]:
        raise DataError(
            f"{what} must be [N, C, L], got {shape}, which looks like [N, L, C]; transpose with "
            f"X.transpose(0, 2, 1) in NumPy or X.permute(0, 2, 1) in PyTorch, or pass in_channels={shape[1]} "
            "if the order is correct"
        )
    _check_numbers(x, what)


def _check_numbers(x: Tensor, what: str) -> None:
    if x.dtype != torch.uint8 and x.dtype not in _FLOATS:
        raise DataError(
            f"{what} must be uint8 (0 to 255) or floating-point, got {name_of(x.dtype)}; "
            "convert with X.astype('uint8') or X.astype('float32')"
        )
    if 0 in x.shape[1:]:
        raise DataError(
            f"{what} must have {'pixels' if x.ndim == 4 else 'positions'}, got shape {list(x.shape)}; remove "
            "the dimension of size 0"
        )


def is_labels(y: Tensor) -> bool:
    """Return whether targets are whole numbers [N]: those are class numbers."""
    return y.ndim == 1 and not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)


def classes_in(y: Tensor, free: bool) -> int | None:
    """Return the number of classes that targets state; None for any targets of a loss of the user."""
    if is_labels(y):
        return int(y.max()) + 1
    return None if free else y.shape[1]


def check_targets(y: Tensor, length: int, what: str, dtype: torch.dtype, free: bool) -> Tensor:
    """Return labels as int64 [N], or other targets [N, ...], in `dtype` if they are floating-point.

    Others are class probabilities [N, classes], or if a loss of the user reads them (`free`) anything.

    Raises:
        DataError: another number of targets than of examples, NaN or infinity, or neither labels nor
            probabilities.
    """
    soft = y.ndim == 2 and y.is_floating_point() and y.shape[1] > 1
    if is_labels(y) or not (free or soft):
        return check_labels(y, length, what)
    if not y.ndim or len(y) != length:
        raise DataError(f"{what} have shape {list(y.shape)} for {length} images; give one target per image")
    bad = first_bad_image(y.reshape(length, -1))
    if bad is not None:
        raise DataError(f"number {bad} of {what} contains NaN or infinity; remove or replace these values")
    if not free:
        wrong = ((y < 0).any(1) | ((y.sum(1, dtype=torch.float64) - 1).abs() > _OFF_ONE)).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise DataError(
                f"{what} [N, {y.shape[1]}] are not class probabilities: number {row} is {_row(y[row])}; they "
                "must be 0 or more and add up to 1. For regression or several labels pass a loss, such as "
                "loss=torch.nn.functional.mse_loss or binary_cross_entropy_with_logits"
            )
    return y.to(dtype) if y.is_floating_point() else y


_OFF_ONE = 0.01  # by which a sum of probabilities may differ from 1: float16 and bfloat16 round them


def _row(values: Tensor) -> str:
    some = ", ".join(f"{value:g}" for value in values[:4].tolist())
    return f"[{some}{', ...' if len(values) > 4 else ''}]"


def check_labels(y: Tensor, length: int, what: str) -> Tensor:
    """Return the labels as int64 [N]; raise DataError unless they are `length` class numbers from 0."""
    whole = not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
    if y.ndim != 1 or not whole:
        remedy = _remedy(y, length)
        if not whole:
            raise DataError(
                f"{what} must be integers (class numbers from 0), got {name_of(y.dtype)}; {remedy}"
            )
        raise DataError(f"{what} must be [N], one class number per image, got {list(y.shape)}; {remedy}")
    if len(y) != length:
        raise DataError(f"{what} have length {len(y)} for {length} images; give one label per image")
    y = y.long()
    if length and int(y.min()) < 0:
        index = int((y < 0).nonzero()[0])
        raise DataError(f"{what} must not be negative, but number {index} is {int(y[index])}; count from 0")
    return y


def _remedy(y: Tensor, length: int) -> str:
    """Return what to do about labels that are not integers [N], without losing what they say."""
    whole = not y.is_floating_point() or bool((y == y.round()).all())
    if y.ndim > 1 and y.numel() == length and whole:
        return "use y.reshape(-1)"
    if y.ndim == 2 and y.numel() != length:
        if y.numel() and bool(((y != 0).sum(1) == 1).all()) and bool((y.sum(1) == 1).all()):
            return "these are one-hot: use y.argmax(1)"
        return (
            "give one class per image, or probabilities of the classes as floats; multi-label targets need a "
            "loss, such as loss=torch.nn.functional.binary_cross_entropy_with_logits with float targets"
        )
    if y.ndim != 1 and y.numel() != length:
        return "give one class per image, or pass a loss that accepts masks or other structured targets"
    if not whole:
        return "for a regression pass loss=lambda output, y: F.mse_loss(output[:, 0], y) and num_classes=1"
    return "if they are class numbers, convert with y.astype('int64'); for a regression pass a loss"


def check_range(y: Tensor, num_classes: int, what: str, free: bool = False) -> None:
    """Raise DataError if a label is `num_classes` or larger, or probabilities are of another number.

    `free`: whether a loss of the user reads the targets, which have any shape if they are not labels.
    """
    if not is_labels(y):
        if not free and y.shape[1] != num_classes:
            raise DataError(
                f"{what} are probabilities of {y.shape[1]} classes, but num_classes is {num_classes}; make "
                "both equal"
            )
        return
    if len(y) and int(y.max()) >= num_classes:
        index = int((y >= num_classes).nonzero()[0])
        raise DataError(
            f"{what} must be below num_classes={num_classes}, but number {index} is {int(y[index])}; "
            "number the classes from 0, or pass a larger num_classes"
        )


def first_bad_image(x: Tensor) -> int | None:
    """Return the index of the first image that contains NaN or infinity, or None."""
    for start in range(0, len(x), _CHUNK):
        fine = torch.isfinite(x[start : start + _CHUNK]).flatten(1).all(1)
        if not bool(fine.all()):
            return start + int((~fine).nonzero()[0])
    return None


def channel_statistics(x: Tensor, indices: Tensor | None) -> tuple[list[float], list[float]]:
    """Compute mean and standard deviation per channel of uint8 images that are scaled to [0, 1].

    Integer counts make the result independent of the order. A constant channel gets the deviation 1.

    >>> channel_statistics(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), None)
    ([0.5], [0.5])
    """
    counts = torch.zeros(x.shape[1], 256, dtype=torch.int64, device=x.device)
    rows = torch.arange(len(x), device=x.device) if indices is None else indices
    for start in range(0, len(rows), _CHUNK):
        images = x[rows[start : start + _CHUNK]].long()
        for channel in range(x.shape[1]):
            counts[channel] += torch.bincount(images[:, channel].flatten(), minlength=256)
    values = torch.arange(256, dtype=torch.float64, device=x.device) / 255
    weights = counts.double() / counts.sum(1, keepdim=True)
    mean = weights @ values
    std = (weights * (values - mean[:, None]) ** 2).sum(1).sqrt()
    return mean.tolist(), torch.where(std > 0, std, 1.0).tolist()


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a dtype without the module.

    >>> name_of(torch.float32)
    'float32'
    """
    return str(dtype).removeprefix("torch.")
