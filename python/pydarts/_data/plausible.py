"""Hints about data that can be used but are probably not what the user meant."""

from __future__ import annotations

import torch
from torch import Tensor

from .._core import ConfigError, DataError
from .._values.config import SearchConfig
from .._values.hints import hint
from .arrays import is_labels

# Scaled or normalised images, and spectrograms in decibels, are below this or partly negative.
_UNSCALED = 100.0
# Whole numbers up to this or more are counts of an image file: scikit-learn's digits go up to 16.
_WHOLE = 15.0
_SAMPLE = 1000  # images in which whole numbers are looked for
# With more classes than this, of which most have no example, the labels are certainly ids.
_IDS = 65_536


def check_pixels(x: Tensor, what: str, config: SearchConfig) -> None:
    """Warn if floating-point images [N, C, H, W] look like bytes that were not scaled.

    They do if none is negative and the largest is above 100, or at least 15 with whole numbers only.
    """
    # Sequences have units of their own.
    if x.ndim != 4 or not x.is_floating_point() or config.mean is not None or not x.numel():
        return
    low, high = (float(value) for value in torch.aminmax(x))
    some = x[:_SAMPLE]
    if low >= 0 and (high > _UNSCALED or (high >= _WHOLE and bool((some == some.round()).all()))):
        hint(
            f"{what} are floating-point, from {low:g} to {high:g}, and are not scaled; divide them by 255 "
            "(or their largest possible value), or pass bytes as uint8"
        )


def check_classes(y: Tensor, what: str, config: SearchConfig, *, some: bool = False) -> None:
    """Warn if labels, int64 [N] from 0, do not look like class numbers; other targets are not examined.

    `some`: the labels need not contain all classes, like those of a validation part.

    Raises:
        DataError: the labels would make so many unused classes that they must be ids.
    """
    if not len(y) or not is_labels(y):
        return
    present = torch.unique(y)
    distinct, least, most = len(present), int(present[0]), int(present[-1])
    classes = most + 1
    if distinct == 1:
        hint(
            f"{what} are all {least}: there is only one class, so there is nothing to learn; check the labels"
        )
        return
    if config.num_classes is not None or some:
        return
    numbered = "np.unique(y, return_inverse=True)[1]"
    gaps = distinct < most - least + 1
    text = f"{what} have {distinct:,} distinct values from {least:,} to {most:,}: {classes:,} classes"
    intended = f"or pass num_classes={classes} if that is intended"
    if 2 * distinct < classes and classes > _IDS:
        raise DataError(f"{text}; number the classes from 0: {numbered}")
    if 2 * distinct < classes and gaps:
        hint(f"{text}; number the classes from 0, {numbered}, {intended}")
    elif least > 0:
        hint(f"{text}, as no label is 0; subtract {least}, {intended}")


def check_cutout(config: SearchConfig) -> None:
    """Warn if the cutout is as large as the image.

    Raises:
        ConfigError: the cutout covers the whole image wherever its centre is.
    """
    assert config.image_size is not None
    height, width = config.image_size
    text = f"cutout is {config.cutout} and the images are {height}x{width}"
    # The square has its centre in the image and reaches (cutout - 1) // 2 pixels or more to every side.
    if (config.cutout + 1) // 2 >= max(height, width):
        raise ConfigError(f"{text}, so every training image would be zero; choose at most half of a side")
    if config.cutout >= min(height, width):
        hint(f"{text}, so most of every training image is zero; choose at most half of a side")
