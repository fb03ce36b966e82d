"""Validate images and labels that are given as arrays, and compute their shape, classes and statistics."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from .._core import DataError, Dataset

Array: TypeAlias = npt.NDArray[Any] | Tensor
Batches: TypeAlias = Iterable[tuple[Array, Array]] | DataLoader[Any]
Single: TypeAlias = tuple[Array, Array] | Batches

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_CHUNK = 4096  # images per step of a check, which limits its memory


@dataclass(frozen=True)
class ArrayData:
    """Validated images [N, C, H, W], uint8 or in the dtype of the search, with int64 labels [N]."""

    x: Tensor
    y: Tensor
    given: torch.dtype | None = None
    """The dtype of the images before they were converted."""

    @cached_property
    def dataset(self) -> Dataset:
        """The data set of the engine; all sources that read it share one copy on the device."""
        return Dataset(self.x, self.y)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of each image."""
        _, channels, height, width = self.x.shape
        return channels, height, width

    @property
    def classes(self) -> int:
        """The number of classes: the largest label + 1."""
        return int(self.y.max()) + 1


def is_array(value: object) -> TypeGuard[Array]:
    """Return whether `value` is a NumPy array or a tensor."""
    return isinstance(value, (np.ndarray, Tensor))


def read_arrays(x: Array, y: Array, what: str, dtype: torch.dtype, in_channels: int | None) -> ArrayData:
    """Validate a data set that is given as arrays; `what` ("training" or "validation") names it in errors."""
    images = as_tensor(x, f"the {what} images")
    check_images(images, f"the {what} images", in_channels)
    if len(images) == 0:
        raise DataError(f"the {what} images are empty")
    labels = check_labels(as_tensor(y, f"the {what} labels"), len(images), f"the {what} labels")
    given = images.dtype
    if images.dtype != torch.uint8:
        bad = first_bad_image(images)
        if bad is not None:
            raise DataError(
                f"image {bad} of the {what} images contains NaN or infinity; remove it or replace the values"
            )
        images = images.to(dtype)
    return ArrayData(images.contiguous(), labels, given)


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
        raise DataError(f"{what} are masked at {masked} places; replace these with .filled(value)")
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise DataError(f"{what} must be numbers, got dtype {array.dtype}; convert with .astype()")
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


def check_images(x: Tensor, what: str, in_channels: int | None) -> None:
    """Raise DataError unless `x` has the shape and dtype of images [N, C, H, W]."""
    shape = list(x.shape)
    if x.ndim == 3:
        raise DataError(f"{what} must be [N, C, H, W], got {shape}; add the channel dimension: X[:, None]")
    if x.ndim != 4:
        raise DataError(f"{what} must be [N, C, H, W], got {x.ndim} dimensions: {shape}")
    last, second = shape[3], shape[1]
    if last in (1, 3, 4) and second not in (1, 3, 4) and second > last and in_channels != second:
        raise DataError(
            f"{what} must be [N, C, H, W], got {shape}, which looks like [N, H, W, C]; transpose with "
            f"X.transpose(0, 3, 1, 2) in NumPy or X.permute(0, 3, 1, 2) in PyTorch, or pass "
            f"in_channels={second} if the order is correct"
        )
    if x.dtype != torch.uint8 and x.dtype not in _FLOATS:
        raise DataError(
            f"{what} must be uint8 (0 to 255) or floating-point, got {name_of(x.dtype)}; "
            "convert with X.astype('uint8') or X.astype('float32')"
        )
    if 0 in shape[1:]:
        raise DataError(f"{what} must have pixels, got shape {shape}; remove the dimension of size 0")


def check_labels(y: Tensor, length: int, what: str) -> Tensor:
    """Return the labels as int64 [N]; raise DataError unless they are `length` class numbers from 0."""
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        remedy = "use y.argmax(1)" if y.ndim == 2 and y.shape[1] > 1 else "convert with y.astype('int64')"
        raise DataError(f"{what} must be integers (class numbers from 0), got {name_of(y.dtype)}; {remedy}")
    if y.ndim != 1:
        remedy = "y.reshape(-1)" if y.numel() == length else "y.argmax(1)"
        raise DataError(f"{what} must be [N], one class number per image, got {list(y.shape)}; use {remedy}")
    if len(y) != length:
        raise DataError(f"{what} have length {len(y)} for {length} images; give one label per image")
    y = y.long()
    if length and int(y.min()) < 0:
        index = int((y < 0).nonzero()[0])
        raise DataError(f"{what} must not be negative, but number {index} is {int(y[index])}; count from 0")
    return y


def check_range(y: Tensor, num_classes: int, what: str) -> None:
    """Raise DataError if a label in the int64 tensor `y` is `num_classes` or larger."""
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
