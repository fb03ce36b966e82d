"""Arrays to search on: their sizes, statistics and dtypes, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_arrays, make_config
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import DataError
from pydarts._data.arrays import channel_statistics, read_arrays
from pydarts._data.loaders import open_sources
from pydarts._data.passes import split_indices


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_arrays_are_split_and_their_sizes_read(opened: Any, convert: Any) -> None:
    X, y = make_arrays(channels=3, size=10, classes=4)
    config = opened((convert(X), convert(y))).config
    assert (config.in_channels, config.image_size, config.num_classes) == (3, (10, 10), 4)


def test_a_given_number_of_classes_may_be_larger_than_seen(opened: Any) -> None:
    assert opened(make_arrays(), num_classes=9).config.num_classes == 9


@pytest.mark.parametrize("changes", [{"in_channels": 3}, {"image_size": 9}, {"num_classes": 3}])
def test_sizes_that_contradict_the_data_are_refused(opened: Any, changes: dict[str, int]) -> None:
    with pytest.raises(DataError, match=next(iter(changes))):
        opened(make_arrays(), **changes)
    with pytest.raises(DataError, match=next(iter(changes))):
        opened((make_arrays(), make_arrays()), **changes)


def test_bytes_are_normalised_by_the_training_images(opened: Any) -> None:
    X, y = make_arrays(channels=2)
    config = opened((X, y)).config
    train, _ = split_indices(len(X), 0.5, 0)
    scaled = X[train].astype(np.float64) / 255
    assert config.mean == pytest.approx(scaled.mean((0, 2, 3)), abs=1e-12)
    assert config.std == pytest.approx(scaled.std((0, 2, 3)), abs=1e-12)


def test_given_statistics_are_kept_and_float_images_have_none(opened: Any) -> None:
    X, y = make_arrays()
    config = opened((X, y), mean=[0.5], std=[0.25], in_channels=1).config
    assert (config.mean, config.std) == ((0.5,), (0.25,))
    config = opened((X.astype(np.float32), y)).config
    assert (config.mean, config.std) == (None, None)


def test_a_constant_channel_keeps_a_finite_scale() -> None:
    assert channel_statistics(torch.full((4, 1, 2, 2), 51, dtype=torch.uint8), None)[1] == [1.0]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_floating_images_of_any_width_are_cast_to_the_search(kind: str, precision: str) -> None:
    X, y = make_arrays()
    dtype = {"float32": torch.float32, "float64": torch.float64}[precision]
    data = read_arrays((X / 255).astype(kind), y.astype("uint16"), "training", dtype, None)
    assert data.x.dtype == dtype and data.y.dtype == torch.int64


def test_bytes_stay_bytes_and_share_memory() -> None:
    X, y = make_arrays()
    data = read_arrays(X, y, "training", torch.float32, None)
    assert data.x.dtype == torch.uint8 and data.x.data_ptr() == X.ctypes.data


def test_strided_reversed_and_read_only_arrays_are_taken() -> None:
    X, y = make_arrays()
    y.flags.writeable = False
    data = read_arrays(X[:, :, ::-1], y, "training", torch.float32, None)
    assert np.array_equal(data.x.numpy(), X[:, :, ::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, 0], y), r"X\[:, None\]"),
        (lambda X, y: (X[0, 0], y), "2 dimensions"),
        (lambda X, y: (X.transpose(0, 2, 3, 1), y), r"transpose\(0, 3, 1, 2\)"),
        (lambda X, y: (torch.from_numpy(X).permute(0, 2, 3, 1), y), r"permute\(0, 3, 1, 2\)"),
        (lambda X, y: (X.astype(np.int64), y), "uint8"),
        (lambda X, y: (X.astype(object), y), "numbers"),
        (lambda X, y: (X.astype(complex), y), "floating"),
        (lambda X, y: (X, y.astype(np.float32)), "integers.*astype"),
        (lambda X, y: (X, y > 1), "integers"),
        (lambda X, y: (X, y[:-1]), "47.*48"),
        (lambda X, y: (X, y[:, None]), "reshape"),
        (lambda X, y: (X, np.eye(4, dtype=np.int64)[y]), "argmax"),
        (lambda X, y: (X, y - 1), "negative.*number 0"),
        (lambda X, y: (X[:0], y[:0]), "empty"),
        (lambda X, y: (X[:, :, :0], y), "pixels"),
    ],
)
def test_bad_arrays_are_refused_with_the_cause_and_the_remedy(change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_sources(change(*make_arrays()), make_config())


def test_channels_last_is_only_suspected_where_the_config_does_not_say_otherwise(opened: Any) -> None:
    X = np.zeros((48, 8, 4, 4), np.uint8)
    with pytest.raises(DataError, match="in_channels=8"):
        opened((X, make_arrays()[1]))
    assert opened((X, make_arrays()[1]), in_channels=8).config.in_channels == 8


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@given(index=st.integers(0, 47))
@settings(max_examples=10)
def test_the_first_image_that_is_not_finite_is_named(value: float, index: int) -> None:
    X, y = make_arrays()
    X = X.astype(np.float32)
    X[index:, 0, 3, 3] = value
    with pytest.raises(DataError, match=rf"image {index}\b"):
        open_sources((X, y), make_config())


def test_too_few_images_for_a_batch_say_batch_size_and_portion() -> None:
    with pytest.raises(DataError, match=r"train_portion=0\.5.*batch_size=32"):
        open_sources(make_arrays(), make_config(batch_size=32))
    with pytest.raises(DataError, match="batch_size=64"):
        open_sources((make_arrays(), make_arrays()), make_config(batch_size=64))


def test_labels_without_images_and_images_without_labels_are_refused() -> None:
    X, y = make_arrays()
    with pytest.raises(DataError, match="labels"):
        open_sources(X, make_config())
    with pytest.raises(DataError, match="tuple of 3"):
        open_sources((X, y, y), make_config())  # type: ignore[arg-type]
