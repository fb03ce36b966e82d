"""Data sets in the form that `search` and `train` take.

`digits` and `corpus` are real data for experiments without a download.
"""

from __future__ import annotations

from ._data.corpus import Corpus, corpus
from ._data.digits import digits
from ._data.image_data import ImageData, npz
from ._data.image_folder import image_folder
from ._data.torchvision import cifar10, cifar100

__all__ = ["Corpus", "ImageData", "cifar10", "cifar100", "corpus", "digits", "image_folder", "npz"]


def __dir__() -> list[str]:
    return [*__all__]
