"""User-defined networks: what a resumed search continues, refuses and returns."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from own_resume import STEPS, Drawing, Fewer, Renamed, Wider, config, data
from pydarts import Callback, SearchResult
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("one_thread")


class Stop(Exception):
    """What the tests stop a search with."""


class StopAt(Callback):
    """Raises after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, info: pydarts.StepInfo) -> None:
        if info.step == self.step:
            raise Stop


def smoothed(output: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output, targets, label_smoothing=0.1)


def margin(output: Tensor, targets: Tensor) -> Tensor:
    return (output.argmax(1) == targets).double().mean()


def distance(output: Tensor, targets: Tensor) -> Tensor:
    return output.abs().mean()


def straight(batch: Any) -> Any:
    return batch[0], batch[1]


def other_way(batch: Any) -> Any:
    return batch[0] * 1.0, batch[1]


def search(
    folder: Path | None = None, callbacks: Any = (), network: Any = Drawing, **changes: Any
) -> SearchResult:
    arguments = {name: changes.pop(name) for name in ("loss", "metric", "unpack") if name in changes}
    where = {} if folder is None else {"checkpoint_dir": folder, "checkpoint_every": 1}
    return pydarts.search(data(), config(**where, **changes), callbacks, network=network, **arguments)


def same(one: SearchResult, other: SearchResult) -> None:
    assert one.steps == other.steps
    for name, values in one.alphas.items():
        assert np.array_equal(values, other.alphas[name]), name
    assert one.state_dict.keys() == other.state_dict.keys()
    for name, value in one.state_dict.items():
        assert torch.equal(value, other.state_dict[name]), name
    assert one.architecture == other.architecture
    for first, second in zip(one.history, other.history, strict=True):
        assert {**vars(first), "seconds": 0} == {**vars(second), "seconds": 0}


@pytest.fixture(scope="module", params=["first_order", "unrolled_exact"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(method: str) -> SearchResult:
    return search(hypergradient=method, metric=margin)


@pytest.mark.parametrize("at", [0, 2, STEPS - 1, STEPS, 2 * STEPS + 1])
def test_a_stopped_search_continues_bit_for_bit(
    whole: SearchResult, method: str, tmp_path: Path, at: int
) -> None:
    more: dict[str, Any] = {"hypergradient": method, "metric": margin}
    with pytest.raises(Stop):
        search(tmp_path, StopAt(at), **more)
    found = search(tmp_path, resume=True, **more)
    same(found, whole)
    assert found.fingerprint == whole.fingerprint


def test_the_module_that_is_given_does_not_matter_for_what_is_continued(tmp_path: Path) -> None:
    """Weights and buffers come from the checkpoint, whatever those of the module are."""
    torch.manual_seed(1)
    net = Drawing()
    expected = search(network=net)
    with pytest.raises(Stop):
        search(tmp_path, StopAt(5), network=net)
    other = Drawing()
    with torch.no_grad():
        other.calls.fill_(100)
        for weight in other.parameters():
            weight.add_(1.0)
    same(search(tmp_path, network=other, resume=True), expected)


@pytest.mark.parametrize("network", [Drawing, Drawing()], ids=["class", "module"])
def test_a_finished_search_returns_its_result(tmp_path: Path, network: Any) -> None:
    torch.manual_seed(2)
    first = search(tmp_path, network=network)
    again = search(tmp_path, network=network, resume=True)
    same(again, first)
    x = data()[0]
    for result in (first, again):
        fixed = result.fixed_network().eval()
        assert not any(isinstance(part, pydarts.nn.Choice) for part in fixed.modules())
        assert torch.equal(fixed(x), first.fixed_network(network).eval()(x))
    again.save(tmp_path / "saved")
    loaded = SearchResult.load(tmp_path / "saved")
    with pytest.raises(pydarts.ConfigError, match="fixed_network"):
        loaded.fixed_network()
    assert torch.equal(loaded.fixed_network(network).eval()(x), first.fixed_network().eval()(x))
    with pytest.raises(pydarts.CheckpointError, match="Wider"):
        loaded.fixed_network(Wider)


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "class": ({"network": Renamed}, ("Drawing", "Renamed")),
    "weights": ({"network": Wider}, ("Drawing", "Wider")),
    "candidates": ({"network": Fewer}, ("Drawing", "Fewer")),
    "loss": ({"loss": smoothed}, ("cross-entropy", "smoothed")),
    "metric": ({"metric": distance}, ("margin", "distance")),
    "unpack": ({"unpack": other_way}, ("straight", "other_way")),
}


@pytest.mark.parametrize("what", REFUSED)
def test_another_network_loss_metric_or_unpack_is_refused_by_name(tmp_path: Path, what: str) -> None:
    changes, names = REFUSED[what]
    before: dict[str, Any] = {"metric": margin, "unpack": straight}
    with pytest.raises(Stop):
        search(tmp_path, StopAt(5), **before)
    with pytest.raises(pydarts.CheckpointError) as caught:
        search(tmp_path, resume=True, **(before | changes))
    assert all(name in str(caught.value) for name in names)
    assert "force" in str(caught.value)


@pytest.mark.parametrize("what", ["class", "loss", "metric", "unpack"])
def test_force_continues_with_what_is_given(tmp_path: Path, what: str) -> None:
    changes, names = REFUSED[what]
    before: dict[str, Any] = {"metric": margin, "unpack": straight}
    with pytest.raises(Stop):
        search(tmp_path, StopAt(5), **before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = search(tmp_path, resume="force", **(before | changes))
    assert found.status == "complete" and len(found.history) == 3
    assert any(names[1] in fact for fact in found.fingerprint.values())


@pytest.mark.parametrize("what", ["weights", "candidates"])
def test_force_does_not_continue_another_structure(tmp_path: Path, what: str) -> None:
    with pytest.raises(Stop):
        search(tmp_path, StopAt(5))
    with pytest.raises(pydarts.CheckpointError):
        search(tmp_path, resume="force", **REFUSED[what][0])


def test_more_epochs_continue(tmp_path: Path) -> None:
    search(tmp_path, epochs=2, relaxation="gumbel")
    with pytest.warns(UserWarning, match="epochs"):
        found = search(tmp_path, epochs=3, relaxation="gumbel", resume=True)
    assert found.status == "complete" and len(found.history) == 3
