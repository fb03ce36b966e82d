"""The facts about data sets, whatever their attributes are called and whenever they are read."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from many import X, short, y
from pydarts._data.fingerprint import comparable, of_loader
from resuming import arrays, config
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset

pytestmark = pytest.mark.usefixtures("one_thread")


class Held(Dataset):  # type: ignore[type-arg]
    """Images and labels in attributes of the given names; `late`: only after the first access."""

    def __init__(self, seed: int, names: tuple[str, str] = ("data", "targets"), late: bool = False) -> None:
        images, labels = arrays(32, seed)
        self._held = (images / 255).astype(np.float32), (labels + seed) % 3
        self._names = names
        for name, values in zip(names, self._held, strict=True):
            setattr(self, name, None if late else values)

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        for name, values in zip(self._names, self._held, strict=True):
            setattr(self, name, values)
        return torch.from_numpy(self._held[0][index]), int(self._held[1][index])


class Filling(Held):
    """A data set that fills a list of labels as it is read."""

    def __init__(self) -> None:
        super().__init__(0)
        self.targets: list[Any] = [None] * 32

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.targets[index] = int(self._held[1][index])
        return torch.from_numpy(self._held[0][index]), self.targets[index]


def files(folder: str, classes: list[str], names: list[str]) -> Any:
    samples = [(f"{folder}/{classes[n % 2]}/{name}", n % 2) for n, name in enumerate(names)]
    return types.SimpleNamespace(classes=classes, samples=samples, __len__=lambda: len(samples))


def loader(dataset: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=8, shuffle=True, **options)


def facts(dataset: Any) -> dict[str, str]:
    class Files(Dataset):  # type: ignore[type-arg]
        def __init__(self) -> None:
            vars(self).update(vars(dataset))

        def __len__(self) -> int:
            return len(self.samples) or 1

    return of_loader(loader(Files()), None, "data")


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("X", "targets"), ("data", "targets")])
def test_data_in_attributes_of_usual_names_are_recognised(names: tuple[str, str], tmp_path: Path) -> None:
    cfg = config(checkpoint_dir=tmp_path, epochs=1)
    first = pydarts.search(loader(Held(0, names)), cfg)
    again = pydarts.search(loader(Held(0, names)), cfg.replace(resume=True))
    assert again.fingerprint == first.fingerprint
    with pytest.raises(pydarts.CheckpointError) as caught:
        pydarts.search(loader(Held(1, names)), cfg.replace(resume=True))
    assert "`data.sample`" in str(caught.value) and "`data.labels`" in str(caught.value)


@pytest.mark.parametrize("workers", [(0, 1), (1, 0), (0, 0)])
@pytest.mark.parametrize("kind", ["late", "filling"])
def test_data_that_are_read_late_are_accepted(kind: str, workers: tuple[int, int], tmp_path: Path) -> None:
    make = Filling if kind == "filling" else lambda: Held(0, late=True)
    cfg = config(checkpoint_dir=tmp_path, epochs=1)
    pydarts.search(loader(make(), num_workers=workers[0]), cfg)
    given = loader(make(), num_workers=workers[1])
    for _ in range(2):  # the second time, the same data set has read its data
        assert pydarts.search(given, cfg.replace(resume=True)).status == "complete"


def test_a_training_accepts_data_that_are_read_late(tmp_path: Path) -> None:
    def train(dataset: Any, resume: Any) -> Any:
        net = pydarts.build(pydarts.genotypes.DARTS_V2, channels=2, layers=3, num_classes=3, in_channels=1)
        cfg = pydarts.TrainConfig(epochs=1, progress=False, checkpoint_dir=tmp_path, resume=resume)
        return pydarts.train(net, loader(dataset), cfg)

    train(Held(0), False)
    assert train(Held(0, late=True), True).status == "complete"
    with pytest.raises(pydarts.CheckpointError, match="sample"):
        train(Held(1), True)


NAMES = [f"{n}.png" for n in range(8)]


def test_classes_and_files_of_a_folder_are_recognised_wherever_it_is() -> None:
    one = facts(files("/data/train", ["cat", "dog"], NAMES))
    assert one["data.files"] == facts(files("elsewhere/./train", ["cat", "dog"], NAMES))["data.files"]
    for other in (
        files("/data/train", ["plane", "ship"], NAMES),
        files("/data/train", ["cat", "dog"], [*NAMES[:-1], "9.png"]),
        types.SimpleNamespace(
            classes=["dog", "cat"], samples=files("/data/train", ["cat", "dog"], NAMES).samples
        ),
    ):
        assert facts(other)["data.files"] != one["data.files"]
    older = files("/data/train", ["cat", "dog"], NAMES)
    older.imgs = older.samples
    assert facts(older)["data.files"] == one["data.files"]
    for samples in ([], None, [1, 2], [(torch.zeros(2), 0)], [("a", "b")]):
        kept = types.SimpleNamespace(samples=samples or [], classes=["a"])
        assert "data.files" not in facts(kept)


def test_the_files_of_a_subset_are_its_own() -> None:
    class Files(Dataset):  # type: ignore[type-arg]
        def __init__(self) -> None:
            self.samples = files("/data/train", ["cat", "dog"], NAMES).samples

        def __len__(self) -> int:
            return len(self.samples)

    found = {
        of_loader(loader(Subset(Files(), part)), None, "data")["data.files"] for part in ([0, 1], [2, 3])
    }
    assert len(found) == 2


def test_other_images_in_a_folder_of_equal_counts_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    image = pytest.importorskip("PIL.Image")
    for root, classes in (("one", "ab"), ("other", "cd")):
        for name in classes:
            (tmp_path / root / name).mkdir(parents=True)
            for n in range(8):
                image.fromarray(arrays(1, n)[0][0, 0]).save(tmp_path / root / name / f"{n}.png")

    def train(root: str) -> Any:
        options: dict[str, Any] = {"size": None, "grayscale": True, "batch_size": 4, "loader_workers": 0}
        return pydarts.datasets.image_folder(tmp_path / root, **options).train

    cfg = config(checkpoint_dir=tmp_path / "run", epochs=1)
    pydarts.search(train("one"), cfg)
    (tmp_path / "one").rename(tmp_path / "moved")
    assert pydarts.search(train("moved"), cfg.replace(resume=True)).status == "complete"
    with pytest.raises(pydarts.CheckpointError, match=r"`data\.files`"):
        pydarts.search(train("other"), cfg.replace(resume=True))


def test_only_hashes_may_be_absent() -> None:
    one = {"data.sample": "a", "data.examples": "9", "loss": "mse"}
    assert comparable(one, {"data.examples": "9"}) == [
        {"data.examples": "9", "loss": "mse"},
        {"data.examples": "9"},
    ]


state = types.SimpleNamespace(n=0)


def unseen(logits: Tensor, targets: Tensor) -> Tensor:
    setattr(state, "n", state.n + 1)  # noqa: B010  # bytecode does not show it
    return F.cross_entropy(logits, targets)


def test_all_rows_of_a_table_have_one_fact_about_the_loss(tmp_path: Path) -> None:
    cfg = pydarts.SearchConfig(
        channels=2, layers=3, epochs=1, batch_size=8, progress=False, checkpoint_dir=tmp_path
    )
    options: dict[str, Any] = {"select": short(), "workers": 0, "loss": unseen}
    state.n = 0
    table = pydarts.search_many((X, y), cfg, 2, **options)
    found = {part.fingerprint["loss"] for row in table for part in (row.result, row.training) if part}
    assert len(found) == 1 and table.status == "complete" and table[0].result.loss == "unseen"  # type: ignore[union-attr]
    state.n = 0  # as in a new process
    assert pydarts.search_many((X, y), cfg.replace(resume=True), 2, **options).status == "complete"
