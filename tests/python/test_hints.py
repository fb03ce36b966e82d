"""Data and settings that are valid but probably not intended give a hint, good ones do not."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from pydarts._data import sizes
from pydarts._data.loaders import open_sources
from pydarts._data.texts import tokens_of
from torch.utils.data import DataLoader, TensorDataset

X, Y = make_arrays()
FLOATS = X.astype(np.float32)
SHORT = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
IDS = np.array([3, 70, 71, 2000])


def opened(loader: Any, **changes: Any) -> pydarts.SearchConfig:
    sources = open_sources(loader, make_config(**changes))
    sources.close()
    return sources.config


def loader(x: Any, y: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.as_tensor(x), torch.as_tensor(y)), batch_size=8)


def batches(x: Any, y: Any) -> list[tuple[Any, Any]]:
    return [(x[first : first + 8], y[first : first + 8]) for first in range(0, len(x), 8)]


def spread(low: float, high: float) -> Any:
    return FLOATS / FLOATS.max() * (high - low) + low


HINTS: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    "floats of bytes": ((FLOATS, Y), {}, ("255", "uint8")),
    "doubles of bytes": ((X.astype(float), Y), {}, ("255",)),
    "floats of 16 bits": ((spread(0, 65535), Y), {}, ("65535",)),
    "digits as scikit-learn has them": ((spread(0, 16).round(), Y), {}, ("16",)),
    "resized bytes": ((spread(0, 254.5), Y), {}, ("254.5", "uint8")),
    "a pair": (((FLOATS, Y), (FLOATS, Y)), {}, ("training", "255")),
    "a loader": (loader(FLOATS, Y), {}, ("training", "255")),
    "a list of batches": ((batches(FLOATS, Y), batches(FLOATS, Y)), {}, ("training", "255")),
    "one class": ((X, 0 * Y), {}, ("0", "class")),
    "one class of several": ((X, 0 * Y + 2), {"num_classes": 4}, ("2", "class")),
    "one class in a loader": (loader(spread(0, 1), 0 * Y), {}, ("class",)),
    "one class in batches": ((batches(X, 0 * Y), batches(X, 0 * Y)), {}, ("training", "class")),
    "one class for validation": (((X, Y), (X, 0 * Y)), {}, ("validation", "class")),
    "labels from 1": ((X, Y + 1), {}, ("5", "subtract 1")),
    "labels from 5 to 8": ((X, Y + 5), {}, ("9", "subtract 5")),
    "ids": ((X, IDS[Y]), {}, ("4", "2,001", "np.unique")),
    "ids in a loader": (loader(spread(0, 1), IDS[Y]), {}, ("2,001", "np.unique")),
    "ids in batches": ((batches(X, IDS[Y]), batches(X, IDS[Y])), {}, ("2,001", "np.unique")),
    "a cutout as large as the image": ((X, Y), {"cutout": 8}, ("8", "8x8")),
    "a cutout larger than the image": ((X, Y), {"cutout": 14}, ("14", "8x8")),
}


@pytest.mark.parametrize("name", HINTS)
def test_a_hint_names_the_facts_and_points_at_the_callers_line(name: str) -> None:
    data, changes, facts = HINTS[name]
    with pytest.warns(UserWarning) as caught:
        opened(data, **changes)
    texts = [str(warning.message) for warning in caught]
    assert any(all(fact in text for fact in facts) for text in texts), texts
    assert {warning.filename for warning in caught} == {__file__}


GOOD: dict[str, tuple[Any, dict[str, Any]]] = {
    "bytes": ((X, Y), {}),
    "zero to one": ((spread(0, 1), Y), {}),
    "a logarithmic spectrogram": ((spread(0, 20), Y), {}),
    "a spectrogram in decibels": ((spread(0, 80), Y), {}),
    "black and white": ((FLOATS // 128, Y), {}),
    "a few levels": ((FLOATS // 32, Y), {}),
    "normalised": ((spread(-3, 3), Y), {}),
    "normalised with outliers": ((spread(-20, 40), Y), {}),
    "bytes around zero": ((FLOATS - 128, Y), {}),
    "floats with mean and std": ((FLOATS, Y), {"mean": [120.0], "std": [60.0]}),
    "two classes": ((X, Y % 2), {}),
    "a class without examples": ((X, np.array([0, 1, 3, 4])[Y]), {}),
    "ids that are meant": ((X, IDS[Y]), {"num_classes": 2001}),
    "two of the classes for validation": (((X, Y), (X, Y % 2)), {}),
    "a high class only for validation": (((X, Y), (X, Y % 2 + 2)), {}),
    "a loader of bytes": (loader(X, Y), {}),
    "a loader of floats": (loader(spread(0, 1), Y), {}),
    "a cutout of half a side": ((X, Y), {"cutout": 4}),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_data_are_taken_without_a_hint(name: str) -> None:
    data, changes = GOOD[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(data, **changes)


@pytest.mark.parametrize(
    ("act", "fact"),
    [
        (lambda: pydarts.search((X, Y), make_config(epochs=1, arch_start_epoch=1)), "arch_start_epoch"),
        (lambda: pydarts.search((FLOATS, Y), make_config(epochs=1)), "255"),
        (lambda: pydarts.search((X, Y), make_config(epochs=1, layers=2)), "normal"),
        (lambda: pydarts.train(pydarts.genotypes.DARTS_V2, (X, Y), SHORT, Misspelt()), "on_epoch"),
    ],
    ids=["arch_start_epoch", "floats", "no normal cell", "callback"],
)
def test_hints_of_whole_calls_point_at_the_callers_line(act: Callable[[], Any], fact: str) -> None:
    with pytest.warns(UserWarning, match=fact) as caught, contextlib.suppress(Stopped):
        act()
    assert {warning.filename for warning in caught} == {__file__}


class Stopped(Exception):
    pass


class Misspelt(pydarts.TrainCallback):
    def on_epochs(self) -> None: ...

    def on_step(self, info: Any) -> None:
        raise Stopped


@pytest.mark.parametrize("reductions", [[], [0, 1, 2]])
def test_a_space_that_places_its_reductions_is_searched_without_a_hint(reductions: list[int]) -> None:
    space = pydarts.Space(operations=("none", "skip_connect"), nodes=2, reductions=reductions)
    cfg = pydarts.SearchConfig(space=space, channels=2, layers=3, epochs=1, batch_size=8, progress=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pydarts.search((X, Y), cfg)
    texts = [str(warning.message) for warning in caught]
    assert not any("reduce" in text for text in texts), texts
    assert any("normal" in text for text in texts) == bool(reductions)


def test_one_cell_is_singular() -> None:
    with pytest.warns(UserWarning, match=r"\b1 cell\b"):
        pydarts.search((X, Y), make_config(epochs=1, layers=1))


@pytest.mark.parametrize("kind", ["csr_matrix", "coo_array", "lil_matrix"])
def test_scipys_sparse_arrays_are_refused(kind: str) -> None:
    sparse: Any = pytest.importorskip("scipy.sparse")
    dense = FLOATS.reshape(len(FLOATS), -1)
    make = getattr(sparse, kind)
    for data in ((make(dense), Y), [make(dense), Y], (X, make(np.eye(4)[Y])), ((X, Y), (make(dense), Y))):
        with pytest.raises(pydarts.DataError, match=kind):
            opened(data)


def test_a_cutout_that_hides_every_image_is_refused() -> None:
    for side in (15, 99):
        with pytest.raises(pydarts.ConfigError, match=rf"cutout.*{side}.*8x8"):
            opened((X, Y), cutout=side)
    config = pydarts.TrainConfig(epochs=1, batch_size=8, cutout=16, progress=False)
    with pytest.raises(pydarts.ConfigError, match=r"cutout.*16.*8x8"):
        pydarts.train(pydarts.genotypes.DARTS_V2, (X, Y), config)


def test_ids_that_make_a_huge_classifier_are_refused() -> None:
    for data in ((X, Y * 694_690), loader(X, Y * 694_690), (batches(X, Y * 694_690), batches(X, Y))):
        with pytest.raises(pydarts.DataError, match=r"4 .*2,084,071.*np\.unique"):
            opened(data)


class Slow:
    """Batches without known classes."""

    def __iter__(self) -> Iterator[Any]:
        return iter(batches(X, Y))


def test_a_long_count_of_classes_gives_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "PATIENCE", -1.0)
    with pytest.warns(UserWarning, match="num_classes") as caught:
        opened((Slow(), Slow()))
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened((Slow(), Slow()), num_classes=4)


# ---- forms of data that are accepted


@pytest.mark.parametrize(
    "data",
    [
        (X, Y.tolist()),
        (X, tuple(Y.tolist())),
        (X, pd.Series(Y)),
        (X, [torch.tensor(label) for label in Y]),
        (torch.as_tensor(X), pd.Series(Y)),
        [X, Y],
        [X, Y.tolist()],
        (list(X), Y),
        (list(X), Y.tolist()),
        (list(torch.as_tensor(X)), Y),
    ],
    ids=[
        "list",
        "tuple",
        "series",
        "scalars",
        "tensor",
        "pair",
        "pair of a list",
        "images",
        "lists",
        "tensors",
    ],
)
def test_other_forms_of_arrays_are_the_same_data(data: Any) -> None:
    plain = pydarts.search((X, Y), make_config(epochs=1))
    found = pydarts.search(data, make_config(epochs=1))
    assert all(np.array_equal(found.alphas[name], plain.alphas[name]) for name in plain.alphas)
    assert found.config == plain.config


def test_other_forms_are_taken_in_a_pair_and_by_train() -> None:
    config = opened(((X, Y.tolist()), [X, pd.Series(Y)]))
    assert (config.num_classes, config.in_channels) == (4, 1)
    training = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
    net = pydarts.build(pydarts.genotypes.DARTS_V2, channels=2, layers=3, num_classes=4, in_channels=1)
    assert pydarts.train(net, [X, Y.tolist()], training).status == "complete"


def test_tokens_may_be_lists() -> None:
    for texts in (([1, 2, 3], (4, 5)), [np.array([1, 2, 3]), [4, 5]], (pd.Series([1, 2, 3]), range(4, 6))):
        train, valid = tokens_of(texts)
        assert (train.tolist(), valid.tolist()) == ([1, 2, 3], [4, 5])


# ---- unbalanced classes


def counts_of(loader: Any, **changes: Any) -> Any:
    sources = open_sources(loader, make_config(**changes))
    sources.close()
    return sources.class_counts


def test_the_validation_examples_of_each_class_are_counted_where_labels_are_known(tmp_path: Any) -> None:
    few = np.where(np.arange(48) % 8, 0, 1)
    assert counts_of(((X, Y), (X, few))) == (42, 6, 0, 0)
    split = counts_of((X, few))
    assert sum(split) == 24 and split == counts_of(loader(X, few))
    assert counts_of((loader(X, Y), loader(X, few))) == (42, 6, 0, 0)
    assert counts_of((batches(X, Y), batches(X, few))) is None
    result = pydarts.search(((X, Y), (X, few)), make_config(epochs=1))
    result.save(tmp_path)
    assert result.class_counts == pydarts.SearchResult.load(tmp_path).class_counts == (42, 6, 0, 0)


@pytest.mark.parametrize(("accuracy", "level"), [(0.86, "warning"), (0.9, "warning"), (0.91, "note")])
def test_accuracy_is_compared_with_the_share_of_the_largest_class(
    tiny_result: pydarts.SearchResult, accuracy: float, level: str
) -> None:
    last = replace(tiny_result.history[-1], valid_accuracy=accuracy, valid_loss=0.3)
    changes: dict[str, Any] = {"history": pydarts.History([last]), "class_counts": (90, 10, 0, 0)}
    result = replace(tiny_result, steps=(0, *range(1000, 1000 + len(tiny_result.steps) - 1)), **changes)
    found = next(finding for finding in result.diagnostics() if finding.topic == "learning")
    assert found.level == level and found.values["most_frequent"] == 0.9 and "90.0%" in found.text
