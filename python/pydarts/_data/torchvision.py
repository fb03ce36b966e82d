"""Data sets read by torchvision: CIFAR-10 and CIFAR-100."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
import torch

from .._values.files import user_path
from .image_data import ImageData, of_arrays


def cifar10(root: str | os.PathLike[str], *, download: bool = False) -> ImageData:
    """Load CIFAR-10 with torchvision: 50,000 training and 10,000 test images, 32x32 pixels, 10 classes.

    Args:
        root: the folder that contains `cifar-10-batches-py`.
        download: whether to download the data set (170 MB) if it is missing.

    Returns:
        Arrays, with the test images as the validation part. `settings` includes the crops and flips of the
        published code; `TrainConfig.cifar10()` adds cutout.

    Raises:
        ImportError: torchvision is not installed, or was built for another PyTorch.
        FileNotFoundError: the images are missing or incomplete.

    >>> data = cifar10("data")  # doctest: +SKIP
    >>> cfg = pydarts.SearchConfig(**data.settings)  # doctest: +SKIP
    >>> result = pydarts.search(data.train, cfg)  # doctest: +SKIP
    >>> net = pydarts.build(result.genotype, auxiliary=True, drop_path=0.2)  # doctest: +SKIP
    >>> training = pydarts.TrainConfig.cifar10(**data.settings)  # doctest: +SKIP
    >>> pydarts.train(net, (data.train, data.valid), training)  # doctest: +SKIP
    """
    return _cifar("CIFAR10", root, download, "cifar10")


def cifar100(root: str | os.PathLike[str], *, download: bool = False) -> ImageData:
    """Load CIFAR-100, as `cifar10` does: 100 classes; `root` contains `cifar-100-python`.

    >>> data = cifar100("data")  # doctest: +SKIP
    """
    return _cifar("CIFAR100", root, download, "cifar100")


def _cifar(kind: str, root: str | os.PathLike[str], download: bool, name: str) -> ImageData:
    (datasets,) = import_torchvision(name, "datasets")
    root = user_path(root)
    try:
        parts = [
            getattr(datasets, kind)(os.fspath(root), train=train, download=download)
            for train in (True, False)
        ]
    except RuntimeError as error:  # torchvision: files are missing or corrupt
        raise FileNotFoundError(
            f"no {kind} in {os.fspath(root)!r} ({error}); download it with {name}(root, download=True)"
        ) from error
    train, valid = (
        (np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.asarray(part.targets, dtype=np.int64))
        for part in parts
    )
    return of_arrays(train, valid, tuple(parts[0].classes), "cifar")


def import_torchvision(name: str, *modules: str) -> list[Any]:
    """Import modules of torchvision for the data set `name`.

    Raises:
        ImportError: torchvision is not installed, or was built for another PyTorch.
    """
    try:
        return [importlib.import_module(f"torchvision.{module}") for module in modules]
    except ModuleNotFoundError as error:
        raise ImportError(
            f"pydarts.datasets.{name}() needs torchvision; install it with: pip install torchvision"
        ) from error
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another PyTorch
        raise ImportError(
            f"pydarts.datasets.{name}() needs the torchvision version for PyTorch {torch.__version__}, but "
            f"the installed one cannot be imported ({error}); install it with: "
            "pip install --upgrade 'torch>=2.11,<2.12' torchvision"
        ) from error
