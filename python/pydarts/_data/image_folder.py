"""Images in one folder per class, read by torchvision's transforms."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .._core import ConfigError, DataError
from .._values.arguments import formerly
from .._values.checks import flag, one_of, whole
from .._values.files import user_path
from .._values.hints import hint
from .image_data import ImageData, Reading
from .torchvision import import_torchvision

FolderAugment: TypeAlias = Literal["imagenet", "flip", "none"]
Transform: TypeAlias = Callable[[Any], Tensor]

# The usual statistics of ImageNet, and those of its images in grey.
_COLOUR: Reading = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_GREY: Reading = {"mean": (0.449,), "std": (0.226,)}
_ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


VALID = ("val", "valid", "validation", "test")  # names of folders of a validation part, not of a class


class Folder(Dataset[tuple[Tensor, int]]):
    """The images of a folder that contains one folder per class; hidden files and folders are ignored.

    Raises:
        FileNotFoundError: there is no such folder.
        DataError: no class, or a class without images; an image that cannot be read, when it is read.
    """

    made_by = "datasets.image_folder"

    def __init__(self, root: str | os.PathLike[str], transform: Transform, mode: str, alike: bool) -> None:
        folder = user_path(root)
        if not folder.is_dir():
            raise FileNotFoundError(f"no folder {os.fspath(root)!r}")
        found = sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path))
        self.classes = [path.name for path in found]
        self.samples: list[tuple[str, int]] = []
        for label, path in enumerate(found):
            files = sorted(os.fspath(file) for file in path.rglob("*") if _is_image(file, path))
            if not files:
                raise DataError(
                    f"{path} has no images ({', '.join(_ENDINGS)}); add some or remove the folder"
                )
            self.samples += [(file, label) for file in files]
        if not found:
            raise DataError(f"{folder} has no folders; expected one folder of images per class")
        self.targets = [label for _, label in self.samples]
        self._transform, self._mode = transform, mode
        self._shape = self[0][0].shape if alike else None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        image = self._transform(_read(path, self._mode))
        shape = getattr(self, "_shape", None)
        if shape is not None and image.shape != shape:
            raise DataError(
                f"{path} is {list(image.shape)} (channels, height, width), {self.samples[0][0]} is "
                f"{list(shape)}; pass `size` to give all images one size"
            )
        return image, label


@formerly(workers="loader_workers")
def image_folder(
    train: str | os.PathLike[str],
    valid: str | os.PathLike[str] | None = None,
    *,
    size: int | Sequence[int] | None = 224,
    grayscale: bool = False,
    augment: FolderAugment | None = None,
    transform: Transform | tuple[Transform, Transform] | None = None,
    batch_size: int = 128,
    loader_workers: int | None = None,
) -> ImageData:
    """Read images from one folder per class, the layout of ImageNet, with torchvision.

    By default training images get a random crop (8 to 100 % of the area) resized to `size`, a random flip and
    colour jitter (brightness, contrast and saturation 0.4, hue 0.2), as in the published code. Validation
    images are resized so that the shorter side is 256/224 of `size`, then cropped at the centre. Images of 16
    bits are reduced to 8. A warning says if the first image has at most half of `size` and is enlarged.
    Hidden files and folders, such as `.ipynb_checkpoints`, are ignored.

    Args:
        train: folder with one folder of images per class.
        valid: the same for the validation part; None: `search` and `train` split the one folder, and the
            images that are evaluated are augmented too.
        size: side in pixels of the cropped images, or (height, width): images are then stretched to this
            aspect ratio before the central crop. None: all images have one size, which is kept.
        grayscale: whether images have one channel instead of three.
        augment: the augmentation of the training images: "imagenet", as described, which requires a `size`;
            "flip", a random flip; "none". None: "imagenet", or "flip" without a `size`.
        transform: a function of your own from a PIL image (mode "RGB", or "L" with `grayscale`) to a tensor
            [C, H, W], or a pair, for training and validation. It replaces `size` and `augment`.
        batch_size: images per batch; the loaders use it, not the `batch_size` of a configuration.
        loader_workers: number of processes that read images; None: 4, or the number of CPUs if that is lower.

    Returns:
        DataLoaders; `settings` contains the mean and standard deviation of ImageNet, without `transform`.

    Raises:
        ImportError: torchvision is not installed, or was built for another PyTorch.
        FileNotFoundError: a folder is missing.
        DataError: no classes, a class without images, folders with different classes, or fewer training
            images than a batch; while reading, an image that is broken or of another size.
        ConfigError: an invalid argument, or arguments that exclude each other.

    >>> data = image_folder("imagenet/train", "imagenet/val")  # doctest: +SKIP
    >>> published = {"channels": 48, "layers": 14, "num_classes": 1000, "stem": "imagenet"}  # doctest: +SKIP
    >>> net = pydarts.build(genotype, **published, auxiliary=True)  # doctest: +SKIP
    >>> training = pydarts.TrainConfig.imagenet(**data.settings)  # doctest: +SKIP
    >>> pydarts.train(net, (data.train, data.valid), training)  # doctest: +SKIP
    >>> scans = image_folder("scans", size=None, grayscale=True, batch_size=16)  # doctest: +SKIP
    """
    (transforms,) = import_torchvision("image_folder", "transforms")
    mode, batch_size = "L" if flag("grayscale", grayscale) else "RGB", whole("batch_size", batch_size)
    most = min(4, os.cpu_count() or 1)
    workers = most if loader_workers is None else whole("loader_workers", loader_workers, 0)
    if transform is None:
        both = _transforms(transforms, size, augment)
    elif size != 224 or augment is not None:
        raise ConfigError("`transform` replaces `size` and `augment`; leave them out")
    else:
        both = transform if isinstance(transform, tuple) else (transform, transform)
    alike = transform is None and size is None
    parts = [
        Folder(folder, each, mode, alike)
        for folder, each in zip((train, valid), both, strict=True)
        if folder is not None
    ]
    if valid is None and set(parts[0].classes) <= {"train", *VALID}:
        names = " and ".join(repr(name) for name in parts[0].classes)
        raise DataError(
            f"{os.fspath(train)} contains the folders {names}, not one folder per class; pass one folder for "
            "each part: image_folder(train, valid)"
        )
    if transform is None and size is not None:
        _check_enlarged(parts[0].samples[0][0], size)
    different = sorted(set(parts[0].classes) ^ set(parts[-1].classes))
    if different:
        raise DataError(
            f"{os.fspath(train)} and {os.fspath(valid or '')} must have the same classes, but only one "
            f"contains {', '.join(different[:5])}"
        )
    if len(parts[0]) < batch_size:
        raise DataError(
            f"{os.fspath(train)} has {len(parts[0])} images, fewer than one batch of "
            f"batch_size={batch_size}; pass a smaller one to image_folder(..., batch_size=...)"
        )
    loaders = [
        DataLoader(part, batch_size=batch_size, shuffle=trains, num_workers=workers, drop_last=trains)
        for part, trains in zip(parts, (True, False), strict=False)
    ]
    settings: Reading = {} if transform is not None else _GREY.copy() if grayscale else _COLOUR.copy()
    return ImageData(loaders[0], loaders[1] if valid is not None else None, tuple(parts[0].classes), settings)


def _transforms(
    transforms: Any, size: int | Sequence[int] | None, augment: FolderAugment | None
) -> tuple[Transform, Transform]:
    """Return the transforms of training and validation images."""
    if augment is not None:
        one_of("augment", augment, get_args(FolderAugment))
    if size is None and augment == "imagenet":
        raise ConfigError('augment="imagenet" crops to a `size`; pass one, or augment="flip"')
    fitted: list[Any] = []
    crop: Any = None
    if size is not None:
        sides = (size, size) if not isinstance(size, Sequence) else tuple(size)
        if len(sides) != 2:
            raise ConfigError(f"size is {size!r}; it must be a side or (height, width)")
        height, width = (whole("size", side) for side in sides)
        crop = (height, width)
        scaled = (height * 256 // 224, width * 256 // 224)
        fitted = [transforms.Resize(scaled if isinstance(size, Sequence) else scaled[0])]
        fitted.append(transforms.CenterCrop(crop))
    flip = [] if augment == "none" else [transforms.RandomHorizontalFlip()]
    trained = [*fitted, *flip]
    if size is not None and augment in (None, "imagenet"):
        jitter = transforms.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)
        trained = [transforms.RandomResizedCrop(crop), *flip, jitter]
    to_tensor = transforms.ToTensor()
    return transforms.Compose([*trained, to_tensor]), transforms.Compose([*fitted, to_tensor])


def _check_enlarged(path: str, size: int | Sequence[int]) -> None:
    """Warn if the first image has at most half the size to which images are resized."""
    found, least = header(path), min(size) if isinstance(size, Sequence) else size
    if found is not None and enlarged(found[0], least):
        width, height = found[0]
        hint(
            f"{path} has {width}x{height} pixels and is enlarged to size={size}, which makes a search many "
            f"times slower; pass size={min(width, height)}, or size=None if all images have one size"
        )


def enlarged(sides: tuple[int, int], size: int) -> bool:
    """Whether an image of these sides has at most half of `size`."""
    return max(sides) <= size // 2


def header(path: str) -> tuple[tuple[int, int], str] | None:
    """Return (width, height) and the mode of an image without reading its pixels; None if it is broken."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size, image.mode
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # the error names the image when it is read


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__"))


def _is_image(file: Path, folder: Path) -> bool:
    inside = (file, *(parent for parent in file.parents if folder in parent.parents))
    return file.suffix.lower() in _ENDINGS and file.is_file() and not any(map(_is_hidden, inside))


def _read(path: str, mode: str) -> Any:
    """Return an image in this mode; 16 bits per pixel are reduced to 8."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image: Image.Image = opened
            if image.mode.startswith("I"):
                pixels = np.asarray(image).astype(np.int64)
                if pixels.min() < 0 or pixels.max() > 65535:
                    raise DataError(f"{path} has pixels outside [0, 65535]; convert it to 8 or 16 bits")
                image = Image.fromarray(((pixels * 255 + 32767) // 65535).astype(np.uint8))
            elif image.mode == "F":
                raise DataError(
                    f"{path} has floating-point pixels, whose range is unknown; convert it to 8 bits"
                )
            return image.convert(mode)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # as PIL raises them
        raise DataError(f"{path} cannot be read as an image: {error}") from error
