"""A resumed search recognises its data and its loss, and says which facts differ."""

from __future__ import annotations

import functools
import inspect
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydarts
import pytest
import safetensors
import safetensors.torch
import torch
from pydarts._data.arrays import read_arrays
from pydarts._data.fingerprint import of_arrays, of_loader
from resuming import EPOCHS, StopAt, arrays, assert_same, checkpoints, config, pair, resumed, stopped
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

pytestmark = pytest.mark.usefixtures("one_thread")
MEAN = {"mean": (0.5,), "std": (0.25,)}  # given, so that they do not depend on the images


def floats(n: int = 32, seed: int = 0, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    X, y = arrays(n, seed)
    return (X / 255).astype(dtype), y


def loader(data: Any = None, size: int = 8, **options: Any) -> DataLoader[Any]:
    X, y = floats() if data is None else data
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    return DataLoader(dataset, batch_size=size, shuffle=True, **options)


def loaders(**options: Any) -> Any:
    return loader(**options), loader(floats(27, seed=1))


def permuted() -> Any:
    (X, y), valid = pair()
    return (X, y[::-1].copy()), valid


def one_label() -> Any:
    (X, y), valid = pair()
    y = y.copy()
    y[17] = (y[17] + 1) % 3
    return (X, y), valid


def other_valid() -> Any:
    return arrays(32), arrays(27, seed=2)


def subset(first: int) -> Any:
    data = TensorDataset(*(torch.from_numpy(part) for part in floats(40)))
    return DataLoader(Subset(data, range(first, first + 32)), batch_size=8, shuffle=True)


class Drawn(Dataset):  # type: ignore[type-arg]
    """Images that are made when they are asked for; the labels are in memory."""

    def __init__(self, shift: int = 0) -> None:
        self.targets = [(number + shift) % 3 for number in range(32)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((1, 8, 8), index / 32), self.targets[index]


def batches(n: int = 4, seed: int = 0) -> list[Any]:
    X, y = floats(8 * n, seed)
    return [(X[i : i + 8], y[i : i + 8]) for i in range(0, 8 * n, 8)]


GAMMA = 2.0


def focal(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    each = F.cross_entropy(logits, y, reduction="none")
    return ((1 - (-each).exp()) ** GAMMA * each).mean()


def edited(text: str, of: Callable[..., Any] = focal) -> Callable[..., Any]:
    """The function with an edited body, as if its file had been edited."""
    # Whether a name is imported in the same file changes the bytecode of its calls.
    source = "from torch.nn import functional as F\n\n" + inspect.getsource(of)
    space = {**vars(sys.modules[of.__module__])}
    exec(compile(source.replace(*text.split(" => ")), "elsewhere.py", "exec"), space)
    return space[of.__name__]  # type: ignore[no-any-return]


class Focal(nn.Module):
    def __init__(self, gamma: float, weight: list[float] | None = None) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("weight", None if weight is None else torch.tensor(weight, dtype=torch.float32))

    def forward(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        each = F.cross_entropy(logits, y, self.weight, reduction="none")
        return ((1 - (-each).exp()) ** self.gamma * each).mean()


def enclosing(gamma: float) -> Callable[..., Any]:
    def loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, y) * gamma

    return loss


class Change(NamedTuple):
    fact: str
    one: Any = pair
    other: Any = None  # the same data
    loss: Any = None
    loss_then: Any = None
    fields: dict[str, Any] = MEAN


def weighted(*weights: float, **more: Any) -> nn.Module:
    return nn.CrossEntropyLoss(torch.tensor(weights, dtype=torch.float32), **more)


SMOOTH = functools.partial(F.cross_entropy, label_smoothing=0.1)
CHANGES = {
    "other images": Change("train.sample", other=lambda: (arrays(32, seed=5), arrays(27, seed=1))),
    "other images, their own mean": Change(
        "mean", other=lambda: (arrays(32, seed=5), arrays(27, seed=1)), fields={}
    ),
    "fewer images": Change("train.examples", other=lambda: (arrays(24), arrays(27, seed=1))),
    "fewer validation images": Change("valid.examples", other=lambda: (arrays(32), arrays(24, seed=1))),
    "permuted labels": Change("train.labels", other=permuted),
    "one label": Change("train.labels", other=one_label),
    "other validation images": Change("valid.sample", other=other_valid),
    "another dtype": Change(
        "train.dtype", lambda: (floats(), floats(27)), lambda: (floats(dtype=np.float64), floats(27))
    ),
    "a single source": Change("data.examples", other=lambda: arrays(59)),
    "arrays instead of a loader": Change("train.source", loaders, lambda: (floats(), floats(27, seed=1))),
    "batch size of a loader": Change("train.batch_size", loaders, lambda: loaders(size=4)),
    "a loader that drops the last batch": Change("train.drop_last", loaders, lambda: loaders(drop_last=True)),
    "data of a loader": Change("data.sample", loader, lambda: loader(floats(seed=3)), fields={}),
    "examples of a subset": Change("data.indices", lambda: subset(0), lambda: subset(8), fields={}),
    "labels in memory": Change(
        "data.labels",
        lambda: DataLoader(Drawn(), batch_size=8),
        lambda: DataLoader(Drawn(1), batch_size=8),
        fields={},
    ),
    "number of batches": Change(
        "train.batches", lambda: (batches(), batches(3)), lambda: (batches(5), batches(3)), fields={}
    ),
    "batches in a list": Change(
        "train.sample", lambda: (batches(), batches()), lambda: (batches(seed=1), batches()), fields={}
    ),
    "a loss": Change("loss", loss_then=focal),
    "no loss": Change("loss", loss=focal),
    "the body of a loss": Change("loss", loss=focal, loss_then=edited(".mean() => .sum() / 8")),
    "a constant of a loss": Change("loss", loss=focal, loss_then=edited("(1 - => (2 -")),
    "a function instead of a lambda": Change("loss", loss=lambda a, b: focal(a, b), loss_then=focal),
    "class weights": Change("loss", loss=weighted(1, 1, 1), loss_then=weighted(1, 1, 2)),
    "a setting of a module": Change(
        "loss", loss=weighted(1, 1, 1), loss_then=weighted(1, 1, 1, label_smoothing=0.1)
    ),
    "a setting of a user-defined module": Change("loss", loss=Focal(1.0), loss_then=Focal(2.0)),
    "a buffer": Change("loss", loss=Focal(1.0, [1, 1, 1]), loss_then=Focal(1.0, [1, 2, 1])),
    "an argument of a partial function": Change("loss", loss=SMOOTH, loss_then=F.cross_entropy),
    "an enclosing variable": Change("loss", loss=enclosing(1.0), loss_then=enclosing(2.0)),
}


@pytest.mark.parametrize("finished", [False, True], ids=["unfinished", "finished"])
@pytest.mark.parametrize("name", list(CHANGES))
def test_a_change_of_data_or_loss_is_refused_by_its_name(name: str, finished: bool, tmp_path: Path) -> None:
    change = CHANGES[name]
    cfg = config(checkpoint_dir=tmp_path, epochs=1 if finished else 2, **change.fields)
    pydarts.search(change.one(), cfg.replace(epochs=1), loss=change.loss)
    before = {path: path.read_bytes() for path in checkpoints(tmp_path)}
    other = (change.other or change.one)()
    listener = StopAt()
    with pytest.raises(pydarts.CheckpointError) as caught:
        pydarts.search(other, cfg.replace(resume=True), listener, loss=change.loss_then)
    assert f"`{change.fact}`" in str(caught.value) and 'resume="force"' in str(caught.value)
    assert listener.steps == 0
    assert {path: path.read_bytes() for path in checkpoints(tmp_path)} == before


@pytest.mark.parametrize("name", ["permuted labels", "other images, their own mean", "a loss"])
def test_force_continues_and_later_that_search_is_the_known_one(name: str, tmp_path: Path) -> None:
    change = CHANGES[name]
    cfg = config(checkpoint_dir=tmp_path, **change.fields)
    pydarts.search(change.one(), cfg.replace(epochs=1), loss=change.loss)
    other = (change.other or change.one)()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = pydarts.search(other, cfg.replace(epochs=2, resume="force"), loss=change.loss_then)
    assert sum(f"`{change.fact}`" in str(warning.message) for warning in caught) == 1
    assert result.status == "complete" and len(result.history) == 2
    assert result.config.resume == "force"
    with pytest.warns(UserWarning, match="epochs"):
        pydarts.search(other, cfg.replace(epochs=3, resume=True), loss=change.loss_then)
    with pytest.raises(pydarts.CheckpointError):
        pydarts.search(change.one(), cfg.replace(epochs=3, resume=True), loss=change.loss)


@pytest.mark.filterwarnings("error")
def test_force_without_a_difference_is_resume(tmp_path: Path, whole: Any) -> None:
    stopped(tmp_path, step=5)
    result = pydarts.search(pair(), config(checkpoint_dir=tmp_path, resume="force"))
    assert_same(result, whole())


def test_force_does_not_excuse_another_setting(tmp_path: Path) -> None:
    stopped(tmp_path, step=5)
    with pytest.raises(pydarts.CheckpointError, match="arch_lr"):
        pydarts.search(other_valid(), config(checkpoint_dir=tmp_path, resume="force", arch_lr=0.1))


@pytest.mark.parametrize("value", ["yes", "", 1, None, "Force"])
def test_other_values_of_resume_are_refused(value: Any, tmp_path: Path) -> None:
    for kind in (pydarts.SearchConfig, pydarts.TrainConfig):
        with pytest.raises(pydarts.ConfigError, match="resume"):
            kind(resume=value, checkpoint_dir=str(tmp_path))
    with pytest.raises(pydarts.ConfigError, match="checkpoint_dir"):
        pydarts.SearchConfig(resume="force")


# ---- Changes that are accepted


class Plain(nn.Module):
    def forward(self, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, y)


SAME: dict[str, tuple[Any, Any, Any, Any]] = {
    "workers of a loader": (loader, lambda: loader(num_workers=1, prefetch_factor=3), None, None),
    "tensors instead of arrays": (
        pair,
        lambda: tuple(tuple(torch.from_numpy(part) for part in both) for both in pair()),
        None,
        None,
    ),
    "another memory order and width of labels": (
        pair,
        lambda: tuple((np.asfortranarray(X), y.astype(np.int32)) for X, y in pair()),
        None,
        None,
    ),
    "a loss from an equal file": (pair, pair, focal, edited("# => #")),
    "an equal module": (pair, pair, weighted(1, 2, 3), weighted(1, 2, 3)),
    "another module in evaluation mode": (pair, pair, Plain(), Plain().eval()),
}


@pytest.mark.parametrize("name", list(SAME))
@pytest.mark.filterwarnings("ignore:epochs rises")
def test_what_does_not_matter_is_accepted(name: str, tmp_path: Path) -> None:
    one, other, loss, loss_then = SAME[name]
    first = pydarts.search(one(), config(checkpoint_dir=tmp_path, epochs=1), loss=loss)
    cfg = config(checkpoint_dir=tmp_path, epochs=2, resume=True)
    assert pydarts.search(other(), cfg, loss=loss_then).fingerprint == first.fingerprint


def test_a_loss_that_counts_its_calls_can_be_resumed_in_the_same_process(tmp_path: Path) -> None:
    calls = 0

    def loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return F.cross_entropy(logits, y)

    for resume in (False, True):
        pydarts.search(pair(), config(checkpoint_dir=tmp_path, epochs=1, resume=resume), loss=loss)


SCRIPT = """
import sys
import pydarts, torch
from torch.nn import functional as F
from resuming import config, pair

def smooth(logits, y, amount=0.1):
    return F.cross_entropy(logits, y, label_smoothing=amount) + 0 * sum(x for x in (1, 2) if x in {3, 4})

print(sorted(pydarts.search(pair(), config(checkpoint_dir=sys.argv[1], epochs=1, resume=True),
                            loss=smooth).fingerprint.items()))
"""


def test_the_same_script_is_recognised_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(pydarts.__file__).parents[1])])
    said = [
        subprocess.run(
            [sys.executable, tmp_path / "script.py", tmp_path / "run"],
            env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] and "__main__:smooth" in said[0]


def test_a_checkpoint_without_a_fingerprint_is_continued(tmp_path: Path, whole: Any) -> None:
    stopped(tmp_path, step=5)
    newest = checkpoints(tmp_path)[-1]
    with safetensors.safe_open(newest, "pt") as file:
        header = json.loads(file.metadata()["pydarts"])
    assert header.pop("fingerprint")["train.examples"] == "32"
    header["format"] = "pydarts-checkpoint-2"
    saved = safetensors.torch.load_file(newest)
    tensors = {name: tensor for name, tensor in saved.items() if not name.endswith("num_batches_tracked")}
    safetensors.torch.save_file(tensors, newest, {"pydarts": json.dumps(header)})
    result = resumed(tmp_path)
    assert_same(result, whole())
    assert result.fingerprint["train.examples"] == "32"


# ---- the facts


def test_the_result_says_what_it_was_searched_on(tmp_path: Path) -> None:
    result = pydarts.search(arrays(64), config(epochs=1), loss=weighted(1, 1, 1))
    found = result.fingerprint
    assert found["data.examples"] == "64" and found["data.shape"] == "[1, 8, 8]"
    assert found["data.dtype"] == "uint8" and found["loss"].split(" ")[0].endswith(":CrossEntropyLoss")
    result.save(tmp_path)
    assert pydarts.SearchResult.load(tmp_path).fingerprint == found
    about = json.loads((tmp_path / "result.json").read_text())
    del about["fingerprint"], about["checksums"], about["crc32"]
    about["format"] = 1
    (tmp_path / "result.json").write_text(json.dumps(about))
    assert pydarts.SearchResult.load(tmp_path).fingerprint == {}
    card = result._repr_html_()
    assert "64 examples" in card and "CrossEntropyLoss" in card


def test_lists_texts_and_widths_have_the_hash_of_their_values() -> None:
    X, y = floats(9)
    forms: list[Any] = [(X, y), (torch.from_numpy(X), y.tolist()), (X.astype(">f4"), y.astype(np.uint8))]
    facts = [of_arrays(read_arrays(*form, "training", torch.float32, None), "data") for form in forms]
    assert facts[0] == facts[1] == facts[2]


def test_the_hash_of_a_sample_is_the_same_on_every_machine() -> None:
    images = torch.arange(130 * 64, dtype=torch.float32).reshape(130, 1, 8, 8)
    facts = of_arrays(read_arrays(images, torch.arange(130) % 7, "training", torch.float32, None), "data")
    assert (facts["data.sample"], facts["data.labels"]) == ("39cc9fbae6a67030", "1e47643c0a314299")


def test_only_a_sample_of_a_memory_map_is_read(tmp_path: Path) -> None:
    class Watched(np.memmap):  # type: ignore[type-arg]
        read = 0

        def __getitem__(self, index: Any) -> Any:
            found = super().__getitem__(index)
            Watched.read += getattr(found, "size", 1)
            return found

    class Held(Drawn):
        def __init__(self) -> None:
            super().__init__()
            self.data = Watched(tmp_path / "images", np.uint8, "w+", shape=(1000, 3, 8, 8))

    before = torch.get_rng_state()
    facts = of_loader(DataLoader(Held(), batch_size=8, shuffle=True), None, "data")
    assert "data.sample" in facts and Watched.read == 64 * 3 * 8 * 8
    assert torch.equal(before, torch.get_rng_state())


def test_no_example_is_drawn_for_the_facts() -> None:
    class Never(Drawn):
        def __getitem__(self, index: int) -> Any:
            raise AssertionError(index)

    facts = of_loader(DataLoader(Never(), batch_size=8, shuffle=True), None, "data")
    assert facts["data.examples"] == "32" and facts["data.dataset"] == "Never"


def test_texts_are_recognised(tmp_path: Path) -> None:
    text = np.arange(400) % 7
    cfg = pydarts.SearchConfig(
        space="darts-rnn", units=4, batch_size=4, bptt=10, epochs=1, progress=False, device="cpu"
    ).replace(checkpoint_dir=str(tmp_path))
    found = pydarts.search((text, text[:100]), cfg).fingerprint
    assert found["train.tokens"] == "400" and found["valid.vocabulary"] == "7"
    assert pydarts.search((text, text[:100]), cfg.replace(resume=True)).fingerprint == found
    for other, fact in ((text[::-1].copy(), "train.sample"), (text[:300], "train.tokens")):
        with pytest.raises(pydarts.CheckpointError, match=fact):
            pydarts.search((other, text[:100]), cfg.replace(resume=True))


def test_a_class_is_not_a_loss() -> None:
    with pytest.raises(TypeError, match=r"CrossEntropyLoss\(\)"):
        pydarts.search(pair(), config(epochs=EPOCHS), loss=nn.CrossEntropyLoss)
    with pytest.raises(TypeError, match="str"):
        pydarts.search(pair(), config(), loss="mse")  # type: ignore[arg-type]
