"""Folders of images: channels, sizes, one folder or two, transforms, and folders that make no sense."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from commands import answered, refused
from conftest import make_config
from pydarts import datasets
from pydarts._data.image_folder import Folder

pytest.importorskip("torchvision")
Image = pytest.importorskip("PIL.Image")

SIDES = (20, 31)  # height, width


def pictures(
    root: Path, classes: str = "ab", sides: tuple[int, int] = SIDES, n: int = 8, mode: str = "RGB"
) -> Path:
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(n):
            shape = (*sides, 3) if mode == "RGB" else sides
            pixels = np.full(shape, 40 + 160 * number + index, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


def of(root: Path, **changes: Any) -> datasets.ImageData:
    return datasets.image_folder(root, **({"batch_size": 4, "loader_workers": 0, "size": 8} | changes))


def shapes(part: Any) -> set[tuple[int, ...]]:
    return {tuple(x.shape) for x, _ in part}


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("grayscale", [False, True])
def test_the_argument_and_not_the_file_gives_the_channels(mode: str, grayscale: bool, tmp_path: Path) -> None:
    data = of(pictures(tmp_path / "x", mode=mode), grayscale=grayscale)
    channels = 1 if grayscale else 3
    assert shapes(data.train) == {(4, channels, 8, 8)}
    assert len(data.settings["mean"]) == len(data.settings["std"]) == channels


@pytest.mark.parametrize(
    ("size", "sides"),
    [(8, (8, 8)), ((8, 12), (8, 12)), ([33, 9], (33, 9)), (None, SIDES), (np.int64(9), (9, 9))],
)
@pytest.mark.parametrize("augment", [None, "flip", "none"])
def test_images_have_the_size_that_is_asked_for(size: Any, sides: Any, augment: Any, tmp_path: Path) -> None:
    root = pictures(tmp_path / "x")
    data = of(root, valid=root, size=size, augment=augment)
    assert shapes(data.train) == shapes(data.valid) == {(4, 3, *sides)}


def test_a_warning_says_that_small_images_are_enlarged(tmp_path: Path) -> None:
    root = pictures(tmp_path / "x")
    for size in (62, (62, 80)):
        with pytest.warns(UserWarning, match="31x20") as caught:
            of(root, size=size)
        assert caught[0].filename == __file__
    for size in (61, (80, 61), None):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            of(root, size=size)


def test_one_folder_is_split_by_a_search_and_a_training(tmp_path: Path) -> None:
    data = of(pictures(tmp_path / "x", n=16), grayscale=True)
    assert data.valid is None and repr(data) == "<ImageData: 32 training images of 2 classes>"
    result = pydarts.search(data.train, make_config(epochs=1, **data.settings))
    assert (result.config.in_channels, result.config.image_size) == (1, (8, 8))
    net = pydarts.build(result.genotype, channels=2, layers=3, num_classes=2, in_channels=1)
    config = pydarts.TrainConfig(epochs=1, device="cpu", progress=False, train_portion=0.5, **data.settings)
    assert pydarts.train(net, data.train, config).status == "complete"


def test_augment_none_leaves_the_pixels(tmp_path: Path) -> None:
    root = tmp_path / "x"
    (root / "a").mkdir(parents=True)
    pixels = np.arange(60, dtype=np.uint8).reshape(1, 60).repeat(5, 0)
    Image.fromarray(pixels).save(root / "a" / "one.png")
    kept, flipped = (
        Folder(
            root,
            of(root, size=None, grayscale=True, augment=augment, batch_size=1).train.dataset._transform,
            "L",
            True,
        )  # type: ignore[union-attr]
        for augment in ("none", "flip")
    )
    expected = torch.from_numpy(pixels).float()[None] / 255
    assert torch.equal(kept[0][0], expected)
    seen = [flipped[0][0] for _ in range(40)]
    assert any(torch.equal(image, expected.flip(-1)) for image in seen)
    assert any(torch.equal(image, expected) for image in seen)


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    root = tmp_path / "x"
    (root / "a").mkdir(parents=True)
    values = np.array([[0, 257, 32768, 65535]], np.uint16).repeat(4, 0)
    Image.fromarray(values).save(root / "a" / "one.png")
    for grayscale, channels in ((True, 1), (False, 3)):
        image = next(iter(of(root, size=None, augment="none", grayscale=grayscale, batch_size=1).train))[0][0]
        assert image.shape == (channels, 4, 4)
        assert (image[0, 0] * 255).round().tolist() == [0, 1, 128, 255]


def test_a_transform_replaces_the_others(tmp_path: Path) -> None:
    root = pictures(tmp_path / "x")

    def mine(image: Any) -> torch.Tensor:
        return torch.full((2, 3, 3), float(np.asarray(image).mean()))

    data = of(root, valid=root, size=224, transform=(mine, lambda image: mine(image) + 1000))
    assert shapes(data.train) == shapes(data.valid) == {(4, 2, 3, 3)}
    assert min(float(x.min()) for x, _ in data.valid) > 1000 > max(float(x.max()) for x, _ in data.train)  # type: ignore[union-attr]
    assert data.settings == {}
    for changes in ({"size": 8}, {"size": 224, "augment": "flip"}):
        with pytest.raises(pydarts.ConfigError, match="`transform`"):
            of(root, transform=mine, **changes)


def test_hidden_files_and_folders_are_no_classes_and_no_images(tmp_path: Path) -> None:
    root = pictures(tmp_path / "x")
    for hidden in (".ipynb_checkpoints", "__MACOSX", "a/.cache"):
        (root / hidden).mkdir()
        (root / hidden / "one.png").write_bytes(b"")
    (root / "a" / "._one.png").write_bytes(b"")
    (root / "a" / "notes.txt").write_text("no image")
    (root / "b" / "deep" / "er").mkdir(parents=True)
    os.replace(root / "b" / "0.png", root / "b" / "deep" / "er" / "0.png")
    data = of(root)
    assert data.classes == ("a", "b") and len(data.train.dataset) == 16  # type: ignore[union-attr]


def test_what_makes_no_sense_is_named(tmp_path: Path) -> None:
    root = pictures(tmp_path / "x")
    (root / "empty").mkdir()
    with pytest.raises(pydarts.DataError, match="empty"):
        of(root)
    (root / "empty").rmdir()
    with pytest.raises(pydarts.DataError, match=r"batch_size=128.*image_folder"):
        of(root, batch_size=128)
    with pytest.raises(pydarts.DataError, match="no folders"):
        of(root / "a")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        of(tmp_path / "nowhere")
    with pytest.raises(pydarts.DataError, match=r"batch_size=12 .*image_folder"):
        pydarts.search(of(root, batch_size=12).train, make_config(epochs=1))
    for changes, word in (
        ({"size": 0}, "size"),
        ({"size": (8, 8, 8)}, "size"),
        ({"augment": "cutout"}, "augment"),
        ({"size": None, "augment": "imagenet"}, "size"),
        ({"grayscale": 1}, "grayscale"),
        ({"batch_size": 0}, "batch_size"),
        ({"loader_workers": -1}, "loader_workers"),
    ):
        with pytest.raises(pydarts.ConfigError, match=word):
            of(root, **changes)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("data", [b"", b"no image", "half"])
def test_a_broken_image_is_named(data: Any, workers: int, tmp_path: Path) -> None:
    root = pictures(tmp_path / "x")
    path = root / "b" / "3.png"
    path.write_bytes(path.read_bytes()[:60] if data == "half" else data)
    with pytest.raises(pydarts.DataError, match=r"3\.png"):
        list(of(root, loader_workers=workers).train)


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    root = pictures(tmp_path / "x")
    Image.new("RGB", (7, 9)).save(root / "b" / "other.png")
    with pytest.raises(pydarts.DataError, match=r"other\.png.*\[3, 9, 7\].*\[3, 20, 31\].*size"):
        list(of(root, size=None, batch_size=1).train)
    assert shapes(of(root).train) == {(4, 3, 8, 8)}


def test_floating_pixels_are_refused(tmp_path: Path) -> None:
    root = pictures(tmp_path / "x")
    Image.fromarray(np.ones((9, 9), np.float32)).save(root / "a" / "float.tiff")
    with pytest.raises(pydarts.DataError, match=r"float\.tiff"):
        list(of(root, batch_size=1).train)


def test_workers_are_bounded_by_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pictures(tmp_path / "x")
    for count, workers in ((1, 1), (2, 2), (64, 4), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert of(root, loader_workers=None).train.num_workers == workers  # type: ignore[union-attr]


def test_folders_of_parts_are_not_taken_for_classes(tmp_path: Path) -> None:
    for part in ("train", "val"):
        pictures(tmp_path / part)
    with pytest.raises(pydarts.DataError, match=r"'train'.*'val'.*image_folder\(train, valid\)"):
        of(tmp_path)


def test_the_command_does_not_enlarge_small_images_unasked(tmp_path: Path) -> None:
    root = pictures(tmp_path / "small", mode="L")
    small = (
        "--channels",
        "2",
        "--layers",
        "3",
        "--epochs",
        "1",
        "--batch-size",
        "4",
        "--loader-workers",
        "0",
    )
    command = ("search", "--data", f"folder:{root}", *small, "--out", tmp_path / "run")
    said = refused(2, *command)
    assert "--image-size 20" in said and "224x224" in said
    assert "--grayscale" in answered(*command, "--image-size", "20,31").err
