"""Data sets read by torchvision: CIFAR-10, CIFAR-100 and folders of images."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from .._core import DataError
from .._values.files import user_path
from .image_data import ImageData, of_arrays

# The usual statistics of ImageNet.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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


def image_folder(
    train: str | os.PathLike[str],
    valid: str | os.PathLike[str],
    *,
    size: int = 224,
    batch_size: int = 128,
    workers: int = 4,
) -> ImageData:
    """Read images from one folder per class, the layout of ImageNet, with torchvision.

    Training images get a random crop (8 to 100 % of the area) resized to `size`, a random flip and colour
    jitter (brightness, contrast and saturation 0.4, hue 0.2), as in the published code. Validation images
    are resized so that the shorter side is 256/224 of `size`, then cropped at the centre.

    Args:
        train: folder with one folder of images per class.
        valid: the same for the validation part.
        size: side of the images in pixels.
        batch_size: images per batch.
        workers: number of processes that read images. With 0, the augmentation of a search (but not of a
            training) does not depend on the seed alone, so it is not reproducible.

    Returns:
        DataLoaders; `settings` contains the mean and standard deviation of ImageNet.

    Raises:
        ImportError: torchvision is not installed, or was built for another PyTorch.
        FileNotFoundError: a folder is missing, or one of its classes has no images.
        DataError: the two folders do not have the same classes.

    >>> data = image_folder("imagenet/train", "imagenet/val")  # doctest: +SKIP
    >>> published = {"channels": 48, "layers": 14, "num_classes": 1000, "stem": "imagenet"}  # doctest: +SKIP
    >>> net = pydarts.build(genotype, **published, auxiliary=True)  # doctest: +SKIP
    >>> training = pydarts.TrainConfig.imagenet(**data.settings)  # doctest: +SKIP
    >>> pydarts.train(net, (data.train, data.valid), training)  # doctest: +SKIP
    """
    datasets, transforms = _torchvision("image_folder", "datasets", "transforms")
    shown = transforms.Compose(
        [transforms.Resize(size * 256 // 224), transforms.CenterCrop(size), transforms.ToTensor()]
    )
    augmented = transforms.Compose(
        [
            transforms.RandomResizedCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2),
            transforms.ToTensor(),
        ]
    )
    parts = [
        datasets.ImageFolder(os.fspath(user_path(folder)), transform)
        for folder, transform in ((train, augmented), (valid, shown))
    ]
    different = sorted(set(parts[0].classes) ^ set(parts[1].classes))
    if different:
        raise DataError(
            f"{os.fspath(train)} and {os.fspath(valid)} must have the same classes, but only one contains "
            f"{', '.join(different[:5])}"
        )
    loaders = [
        DataLoader(
            part,
            batch_size=batch_size,
            shuffle=trains,
            num_workers=workers,
            drop_last=trains,
        )
        for part, trains in zip(parts, (True, False), strict=True)
    ]
    return ImageData(loaders[0], loaders[1], tuple(parts[0].classes), {"mean": _MEAN, "std": _STD})


def _cifar(kind: str, root: str | os.PathLike[str], download: bool, name: str) -> ImageData:
    (datasets,) = _torchvision(name, "datasets")
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


def _torchvision(name: str, *modules: str) -> list[Any]:
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
