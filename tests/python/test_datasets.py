"""Data sets: arrays of archives, CIFAR and folders of images through torchvision."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from pydarts import DataError, datasets
from pydarts._data import torchvision
from pydarts._data.arrays import read_arrays

X, y = make_arrays(n=48, channels=3, classes=4)


def training(**changes: Any) -> pydarts.TrainConfig:
    return pydarts.TrainConfig(epochs=1, batch_size=8, device="cpu", progress=False, **changes)


def runs(data: datasets.ImageData) -> None:
    """A search and a training take it."""
    result = pydarts.search(data.train, make_config(epochs=1, **data.settings))
    assert result.config.num_classes == len(data.classes)
    net = pydarts.build(result.genotype, channels=2, layers=3, num_classes=len(data.classes))
    both = data.train if data.valid is None else (data.train, data.valid)
    trained = pydarts.train(net, both, training(**data.settings))
    assert trained.status == "complete" and trained.config.mean == result.config.mean is not None


# ---- archives


@pytest.mark.parametrize(
    ("layout", "labels"),
    [
        (lambda images: images, lambda y: y),
        (lambda images: images.transpose(0, 2, 3, 1), lambda y: y[:, None].astype(np.uint8)),
    ],
    ids=["channels first", "as Keras has them"],
)
def test_an_archive_of_both_parts(layout: Callable[[Any], Any], labels: Any, tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, x_train=layout(X), y_train=labels(y), x_test=layout(X[:10]), y_test=labels(y[:10]))
    data = datasets.npz(path)
    (train, train_labels), (test, test_labels) = data.train, data.valid  # type: ignore[misc]
    assert np.array_equal(train, X) and np.array_equal(test, X[:10])
    assert np.array_equal(train_labels, y) and np.array_equal(test_labels, y[:10])
    assert data.classes == ("0", "1", "2", "3")
    assert data.settings["mean"] == pytest.approx((X / 255).mean((0, 2, 3)))
    assert data.settings["std"] == pytest.approx((X / 255).std((0, 2, 3)))
    assert repr(data) == "<ImageData: 48 training and 10 validation images of 4 classes>"
    runs(data)


def test_an_archive_of_one_part_with_names_and_grey_images(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    names = np.array(["cat", "dog", "eel", "fly", "gnu"])
    np.savez(path, x_train=X[:, 0].astype(np.float32), y_train=y, classes=names)
    data = datasets.npz(str(path))
    assert data.train[0].shape == (48, 1, 8, 8) and data.valid is None  # type: ignore[index]
    assert data.classes == ("cat", "dog", "eel", "fly", "gnu") and data.settings == {"augment": "none"}


def test_names_of_classes_may_be_bytes(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    names = np.array(["katze", "hündin", "aal", "鹿"])
    np.savez(path, x_train=X, y_train=y, classes=np.char.encode(names, "utf-8"))
    assert datasets.npz(path).classes == tuple(names)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"x_train": X, "y_train": y, "classes": np.array([b"a", b"b", b"c", b"\xff"])},
            r"classes.*b'\\xff'.*UTF-8",
        ),
        ({"x_train": X}, "y_train, x_test, y_test.*x_train"),
        ({"x_train": X, "y_train": y, "x_test": X}, "y_test.*x_test, x_train, y_train"),
        ({"images": X, "labels": y}, "x_train.*images, labels"),
        (
            {"x_train": X, "y_train": y[:9]},
            "training.*9.*48",
        ),
        ({"x_train": X[0, 0], "y_train": y}, "x_train"),
        ({"x_train": X, "y_train": y.astype(float)}, "integers"),
        ({"x_train": X, "y_train": y, "classes": np.array(["a"])}, "num_classes=1"),
        (
            {"x_train": X, "y_train": y, "x_test": X[:, :, :4], "y_test": y},
            r"\[3, 8, 8\]",
        ),
        ({"x_train": X, "y_train": np.array([print] * 48)}, "allow_pickle"),
    ],
)
def test_an_archive_that_makes_no_sense_is_named(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, **arrays)
    with pytest.raises(pydarts.DataError, match=words) as caught:
        datasets.npz(path)
    assert "images.npz" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"x" * 90, b"PK\x03\x04" + b"\0" * 60, b"\x93NUMPY", b"half", b"bits"])
def test_a_file_that_is_no_archive_is_named(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez_compressed(path, x_train=X, y_train=y)
    whole = path.read_bytes()
    changes = {b"half": whole[:2000], b"bits": whole[:200] + b"\xff" * 200 + whole[400:]}
    path.write_bytes(changes.get(data, data))
    with pytest.raises(pydarts.DataError, match=r"images\.npz"):
        datasets.npz(path)
    np.save(tmp_path / "alone.npy", X)
    with pytest.raises(pydarts.DataError, match=r"alone\.npy"):
        datasets.npz(tmp_path / "alone.npy")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        datasets.npz(tmp_path / "nowhere.npz")


# ---- torchvision


class Cifar:
    """What torchvision's class shows of itself, with a few images."""

    classes: tuple[str, ...] = ("a", "b", "c", "d")

    def __init__(self, root: str, train: bool, download: bool) -> None:
        if not Path(root).is_dir() and not download:
            raise RuntimeError("Dataset not found or corrupted.")
        part = slice(0, 40) if train else slice(40, 48)
        self.data, self.targets = X[part].transpose(0, 2, 3, 1), y[part].tolist()


@pytest.mark.parametrize(("name", "kind"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_cifar_comes_as_arrays_with_its_augmentation(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    monkeypatch.setattr(torchvision.datasets, kind, Cifar)
    data = getattr(datasets, name)(tmp_path)
    (train, labels), (valid, _) = data.train, data.valid
    assert np.array_equal(train, X[:40]) and np.array_equal(valid, X[40:]) and labels.dtype == np.int64
    assert data.classes == Cifar.classes and data.settings["augment"] == "cifar"
    assert data.settings["mean"] == pytest.approx((X[:40] / 255).mean((0, 2, 3)))
    runs(data)
    with pytest.raises(FileNotFoundError, match=rf"{kind}.*{name}.*download=True"):
        getattr(datasets, name)(tmp_path / "nowhere")
    assert getattr(datasets, name)(tmp_path / "nowhere", download=True).classes == Cifar.classes


def folder(root: Path, classes: str = "ab", sizes: tuple[int, int] = (20, 31)) -> Path:
    from PIL import Image

    generator = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(12):
            pixels = generator.integers(0, 60, (*sizes, 3)).astype(np.uint8) + np.uint8(150 * number)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


def test_folders_of_images_come_as_loaders(tmp_path: Path) -> None:
    train, valid = folder(tmp_path / "train"), folder(tmp_path / "valid", sizes=(40, 25))
    data = datasets.image_folder(train, valid, size=16, batch_size=8, loader_workers=0)
    assert data.classes == ("a", "b") and repr(data).startswith("<ImageData: 24 training and 24 valid")
    batches = [list(part) for part in (data.train, data.train, data.valid, data.valid)]
    assert all(
        x.shape == (8, 3, 16, 16) and x.min() >= 0 and x.max() <= 1 for part in batches for x, _ in part
    )
    assert not torch.equal(batches[0][0][0], batches[1][0][0]) and torch.equal(
        batches[2][0][0], batches[3][0][0]
    )
    brightness = [
        [float(x[y == label].mean()) for x, y in batches[2] if (y == label).any()] for label in (0, 1)
    ]
    assert max(brightness[0]) < 0.2 < 0.6 < min(brightness[1])
    assert data.settings == {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    runs(data)


def test_folders_that_are_not_there_or_have_other_classes_are_named(tmp_path: Path) -> None:
    train, valid = folder(tmp_path / "train"), folder(tmp_path / "valid", classes="ac")
    with pytest.raises(pydarts.DataError, match="b, c"):
        datasets.image_folder(train, valid)
    with pytest.raises(FileNotFoundError):
        datasets.image_folder(train, tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "image_folder"])
def test_without_torchvision_the_remedy_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torchvision", "torchvision.datasets", "torchvision.transforms"):
        monkeypatch.setitem(sys.modules, module, None)
    arguments = ("a", "b") if name == "image_folder" else ("a",)
    with pytest.raises(ImportError, match=rf"{name}.*pip install torchvision"):
        getattr(datasets, name)(*arguments)


@pytest.mark.parametrize("kind", [RuntimeError, ImportError])
def test_a_torchvision_for_another_torch_is_named(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str) -> Any:
        raise kind("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.importlib, "import_module", fails)
    with pytest.raises(
        ImportError,
        match=r"cifar10.*2\.11.*nms does not exist"
        r".*pip install --upgrade 'torch>=2\.11,<2\.12' torchvision",
    ):
        datasets.cifar10("a")


def test_a_mapped_file_is_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((8, 1, 4, 4), np.uint8))
    images = np.load(tmp_path / "x.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_arrays(images, np.arange(8), "training", torch.float32, None)
    assert read.x.data_ptr() == images.ctypes.data


def test_masked_and_sparse_arrays_are_refused_unless_nothing_is_missing() -> None:
    images, labels = np.zeros((4, 1, 2, 2), np.float32), np.arange(4)
    masked = np.ma.masked_array(images, mask=images == 0)
    for x, y in (
        (masked, labels),
        (images, np.ma.masked_equal(labels, 2)),
        (torch.from_numpy(images).to_sparse(), labels),
        (images, torch.arange(4).to_sparse()),
    ):
        with pytest.raises(DataError, match="training"):
            read_arrays(x, y, "training", torch.float32, None)
    assert len(read_arrays(np.ma.masked_array(images), labels, "training", torch.float32, None).x) == 4
