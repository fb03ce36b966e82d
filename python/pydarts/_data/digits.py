"""The handwritten digits of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Load the 1,797 handwritten digits of scikit-learn (8x8 pixels) as `(X, y)` for `search` and `train`.

    The result is not an `ImageData`, because the data set has a single part and needs no settings. `search`
    and `train` split it, and normalise by the mean and standard deviation of their training images. The
    digits are too small for the augmentation of the other data sets.

    Returns:
        X, uint8 [1797, 1, 8, 8], scaled from the range 0 to 16 to 0 to 255; y, int64 [1797], 0 to 9.

    Raises:
        ImportError: scikit-learn is not installed.

    >>> X, y = digits()
    >>> X.shape, X.dtype.name, int(X.max()), len(y)
    ((1797, 1, 8, 8), 'uint8', 255, 1797)
    >>> import pydarts
    >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, progress=False)
    >>> result = pydarts.search((X, y), cfg)
    >>> net = pydarts.build(result.genotype, channels=2, layers=3, num_classes=10, in_channels=1)
    >>> trained = pydarts.train(net, (X, y), pydarts.TrainConfig.quick(epochs=1, progress=False))
    """
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            "pydarts.datasets.digits() needs scikit-learn; install it with: pip install scikit-learn"
        ) from error
    bunch: Any = load_digits()
    images = np.rint(np.asarray(bunch.images) * (255 / 16)).astype(np.uint8)
    return images[:, None], np.asarray(bunch.target, dtype=np.int64)
