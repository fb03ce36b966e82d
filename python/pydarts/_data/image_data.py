"""`ImageData`: images with the settings for a search and a training; the reader of `.npz` files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import torch

from .._core import DataError
from .._values.fields import Augment
from .._values.files import read_npz, user_path
from .arrays import NOUNS, Single, channel_statistics, check_range, read_arrays

_PARTS = (("x_train", "y_train"), ("x_test", "y_test"))


class Reading(TypedDict, total=False):
    """Normalisation and augmentation: fields that `SearchConfig` and `TrainConfig` share."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set of images.

    Pass `settings` to the configurations and the parts to `search` and `train`:

    >>> import pydarts
    >>> X, y = pydarts.datasets.digits()
    >>> data = of_arrays((X[:800], y[:800]), (X[800:], y[800:]))
    >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, progress=False, **data.settings)
    >>> found = pydarts.search(data.train, cfg)
    >>> training = pydarts.TrainConfig(epochs=2, **data.settings)
    >>> data
    <ImageData: 800 training and 997 validation images of 10 classes>
    """

    train: Single
    """The training part, which `search` splits: `(X, y)` or a DataLoader."""
    valid: Single | None
    """The validation part of a training, of the same type as `train`; None if there is a single part."""
    classes: tuple[str, ...] = field(repr=False)
    """Names of the classes, in the order of their numbers."""
    settings: Reading = field(repr=False)
    """Normalisation and augmentation: `SearchConfig(**data.settings)`, `TrainConfig(**data.settings)`."""

    def __repr__(self) -> str:
        counts = [f"{_count(self.train)} training"]
        if self.valid is not None:
            counts.append(f"{_count(self.valid)} validation")
        return f"<ImageData: {' and '.join(counts)} images of {len(self.classes)} classes>"


def of_arrays(
    train: tuple[Any, Any],
    valid: tuple[Any, Any] | None,
    classes: tuple[str, ...] | None = None,
    augment: Augment = "none",
    dimensions: int = 2,
) -> ImageData:
    """Validate arrays `(X, y)`; `settings` normalises uint8 images by the statistics of the training images.

    `dimensions`: 1 for sequences [N, C, L].

    Raises:
        DataError: the arrays are not images with labels.
    """
    data = read_arrays(*train, "training", torch.float32, None, dimensions)
    checked = [data]
    if valid is not None:
        checked.append(read_arrays(*valid, "validation", torch.float32, None, dimensions))
    count = max(part.classes or 0 for part in checked) if classes is None else len(classes)
    for part, name in zip(checked, ("training", "validation"), strict=False):
        check_range(part.y, count, f"the {name} labels")
        if part.shape != data.shape:
            raise DataError(
                f"training {NOUNS[dimensions]} have shape {list(data.shape)} (channels first), those of the "
                f"validation {list(part.shape)}; give both parts the same shape"
            )
    settings: Reading = {"augment": augment}
    if data.x.dtype == torch.uint8:
        mean, std = channel_statistics(data.x, None)
        settings |= {"mean": tuple(mean), "std": tuple(std)}
    names = tuple(str(number) for number in range(count)) if classes is None else classes
    return ImageData(train, valid, names, settings)


def npz(path: str | os.PathLike[str], *, dimensions: int = 2) -> ImageData:
    """Read images or sequences from a NumPy archive that uses the array names of Keras.

    Args:
        path: an archive with the arrays `x_train` and `y_train`, and optionally `x_test` and `y_test` (the
            validation part) and `classes` (names, as strings or UTF-8 bytes). Images are uint8 (0 to 255) or
            floating-point, [N, H, W], [N, C, H, W] or, with 1, 3 or 4 channels, [N, H, W, C]. Labels are
            integers from 0, [N] or [N, 1].
        dimensions: 2 for images; 1 for sequences [N, C, L], or [N, L] of one channel, for a space such as
            "darts-1d".

    Returns:
        The parts as `(X, y)` with images [N, C, H, W] or sequences [N, C, L]. `settings` normalises uint8
        images by the statistics of the training images, without augmentation.

    Raises:
        FileNotFoundError: the file does not exist.
        DataError: the file is not an archive of arrays, an array is missing, or the arrays are not images
            with labels. Pickled objects are never loaded.

    >>> import os, tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "small.npz")
    ...     np.savez(path, x_train=np.zeros((6, 8, 8, 3), np.uint8), y_train=np.arange(6) % 2)
    ...     data = npz(path)
    >>> data, data.train[0].shape
    (<ImageData: 6 training images of 2 classes>, (6, 3, 8, 8))
    """
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {os.fspath(path)!r}")
    arrays = read_npz(path)
    known = [name for part in _PARTS for name in part]
    missing = [name for name in known if name not in arrays]
    if missing and missing != ["x_test", "y_test"]:
        held = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{path} does not contain {', '.join(missing)}; found {held}")
    parts = [
        (_channels_first(arrays[x], f"{x} of {path}", dimensions), _flat(arrays[y]))
        for x, y in _PARTS[: 1 if missing else 2]
    ]
    names = arrays.get("classes")
    classes = None if names is None else tuple(_text(name, path) for name in names.reshape(-1))
    try:
        return of_arrays(parts[0], parts[1] if len(parts) > 1 else None, classes, dimensions=dimensions)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _channels_first(images: npt.NDArray[Any], what: str, dimensions: int) -> npt.NDArray[Any]:
    if dimensions == 1:
        return images[:, None] if images.ndim == 2 else images
    if images.ndim == 3:
        return images[:, None]
    if images.ndim != 4:
        raise DataError(f"{what} must be [N, C, H, W], [N, H, W, C] or [N, H, W], got {list(images.shape)}")
    if images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images


def _text(name: Any, path: Path) -> str:
    if not isinstance(name, bytes):
        return str(name)
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"classes of {path} contains {bytes(name)!r}, which is not UTF-8") from error


def _flat(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _count(part: Single) -> int:
    return len(part[0]) if isinstance(part, tuple) else len(getattr(part, "dataset", ()))
