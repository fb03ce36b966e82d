"""Deciders from Python: `stop`, what results, events and files hold of decisions, and resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from pydarts._results.decisions import architecture_of, decisions_from, epochs_of
from resuming import EPOCHS, STEPS, StopAt, assert_same, config, pair, resumed
from searches import Listener

pytestmark = pytest.mark.usefixtures("one_thread")

ONLY_SKIPS: dict[str, Any] = {"operations": ("none", "skip_connect")}


def softmax(alpha: np.ndarray) -> np.ndarray:
    shifted = np.exp(alpha - alpha.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


@pytest.mark.parametrize(("most", "epochs"), [(1, 1), (2, 1), (3, EPOCHS)])
def test_skip_connections_end_the_search_as_complete(most: int, epochs: int) -> None:
    """With one node every normal cell has two skip connections."""
    listener = Listener()
    stop = {"name": "skip_connections", "most": most}
    result = pydarts.search(pair(), config(**ONLY_SKIPS, stop=stop), listener)
    assert (result.status, len(result.history), result.steps[-1]) == ("complete", epochs, epochs * STEPS)
    stopped = epochs < EPOCHS
    assert [epoch for epoch, _ in result.decisions] == ([0] if stopped else [])
    heard = [info.decisions for info in listener.epochs]
    assert heard[-1] == tuple(decision for _, decision in result.decisions)
    assert not any(heard[:-1])
    for _, decision in result.decisions:
        assert decision["decision"] == "stop"
        assert "2" in decision["reason"]


def test_a_stopped_search_has_the_epochs_of_the_whole_one() -> None:
    whole = pydarts.search(pair(), config(**ONLY_SKIPS, record="step"))
    stopped = pydarts.search(pair(), config(**ONLY_SKIPS, record="step", stop="skip_connections"))
    for name, alphas in stopped.alphas.items():
        assert np.array_equal(alphas, whole.alphas[name][: STEPS + 1])
    assert stopped.epochs == whole.epochs[: STEPS + 1]


def test_without_stop_nothing_is_decided() -> None:
    listener = Listener()
    result = pydarts.search(pair(), config(), listener)
    assert result.decisions == ()
    assert all(info.decisions == () for info in listener.epochs)
    assert result.config.stop is None


def test_resuming_a_stopped_search_returns_its_result(tmp_path: Path) -> None:
    stop = "skip_connections"
    first = pydarts.search(pair(), config(checkpoint_dir=tmp_path, **ONLY_SKIPS, stop=stop))
    listener = StopAt()
    assert_same(resumed(tmp_path, callbacks=listener, **ONLY_SKIPS, stop=stop), first)
    with pytest.warns(UserWarning, match="epochs"):
        longer = resumed(tmp_path, callbacks=listener, **ONLY_SKIPS, stop=stop, epochs=9)
    assert_same(longer, first)
    assert longer.decisions == first.decisions
    assert longer.config.epochs == EPOCHS
    assert (listener.steps, listener.epochs) == (0, 0)


def test_another_decider_is_another_search(tmp_path: Path) -> None:
    pydarts.search(pair(), config(checkpoint_dir=tmp_path))
    with pytest.raises(pydarts.CheckpointError, match="stop"):
        resumed(tmp_path, stop="skip_connections")


@pytest.mark.parametrize("record", ["epoch", "step", 3])
def test_every_point_has_its_epoch(record: Any) -> None:
    result = pydarts.search(pair(), config(record=record))
    assert result.epochs == tuple(max(0, step - 1) // STEPS for step in result.steps)
    assert result.epochs == epochs_of(result.steps, EPOCHS)


def test_events_hold_strengths_and_architecture() -> None:
    listener = Listener()
    relaxation = {"name": "softmax", "temperature": {"name": "linear", "start": 2.0, "end": 0.5}}
    result = pydarts.search(pair(), config(relaxation=relaxation), listener)
    assert (len(listener.steps), len(listener.epochs)) == (EPOCHS * STEPS, EPOCHS)
    for info in [*listener.steps, *listener.epochs]:
        temperature = (2.0, 1.25, 0.5)[info.epoch]
        for name, alpha in info.alphas.items():
            expected = softmax(alpha.astype(np.float64) / temperature)
            assert info.strengths[name].dtype == np.float64
            np.testing.assert_allclose(info.strengths[name], expected, rtol=1e-12)
    last = listener.epochs[-1]
    assert (
        last.architecture
        == result.architecture
        == architecture_of(result.genotype, result.config.resolved_space)
    )
    entropy = [-(w * np.log(w)).sum(-1).mean() for w in last.strengths.values()]
    assert list(last.entropy.values()) == pytest.approx(entropy, rel=1e-12)


def test_decisions_are_saved_with_the_result(tmp_path: Path) -> None:
    result = pydarts.search(pair(), config(**ONLY_SKIPS, stop="skip_connections"))
    result.save(tmp_path)
    loaded = pydarts.SearchResult.load(tmp_path)
    assert loaded.decisions == result.decisions != ()
    assert loaded.architecture == result.architecture
    assert loaded.epochs == result.epochs
    assert loaded.config == result.config


def test_results_of_earlier_versions_have_epochs_and_an_architecture(tmp_path: Path) -> None:
    result = pydarts.search(pair(), config(record="step"))
    result.save(tmp_path)
    about = json.loads((tmp_path / "result.json").read_text())
    kept = {name: about[name] for name in ("status", "threads", "environment")}
    (tmp_path / "result.json").write_text(json.dumps(kept | {"format": 1}))
    with np.load(tmp_path / "alphas.npz") as arrays:
        older = {name: arrays[name] for name in arrays.files if name != "epochs"}
    np.savez(tmp_path / "alphas.npz", **older)  # type: ignore[arg-type]
    loaded = pydarts.SearchResult.load(tmp_path)
    assert loaded.epochs == result.epochs
    assert loaded.architecture == result.architecture
    assert loaded.decisions == ()


@pytest.mark.parametrize(
    "damage",
    [
        {"decisions": [[0]]},
        {"decisions": [[-1, {"decision": "stop", "reason": ""}]]},
        {"decisions": [[0, "stop"]]},
        {"decisions": 7},
        {"architecture": {"normal": []}},
        {"architecture": {"normal": [["skip_connect"]], "reduce": []}},
        {"architecture": {"normal": [[1], []], "reduce": [[], []]}},
    ],
)
def test_damaged_decisions_and_architectures_are_refused(tmp_path: Path, damage: dict[str, Any]) -> None:
    pydarts.search(pair(), config(epochs=1)).save(tmp_path)
    about = json.loads((tmp_path / "result.json").read_text())
    kept = {name: about[name] for name in ("status", "threads", "environment")}
    (tmp_path / "result.json").write_text(json.dumps(kept | {"format": 1} | damage))
    with pytest.raises(pydarts.CheckpointError, match=next(iter(damage))):
        pydarts.SearchResult.load(tmp_path)


def test_decisions_are_read_as_pairs() -> None:
    stop = {"decision": "stop", "reason": "why"}
    assert decisions_from([[2, stop]]) == ((2, stop),)
    assert decisions_from([]) == ()


@pytest.mark.parametrize(
    "stop",
    [
        "skip_connection",
        {"name": "skip_connections", "most": 0},
        {"most": 2},
        {"name": "skip_connections", "k": 2},
        3,
    ],
)
def test_bad_deciders_are_refused(stop: Any) -> None:
    with pytest.raises(pydarts.ConfigError, match=r"stop|skip_connections"):
        config(stop=stop)


def test_skip_connections_of_the_only_cell_count_in_spaces_of_one() -> None:
    cfg = config(space="nas-bench-201", layers=1, operations=("skip_connect", "avg_pool_3x3"), epochs=3)
    counts = [record.skip_connections or 0 for record in pydarts.search(pair(), cfg).history]
    most = max(counts)
    stopped = pydarts.search(pair(), cfg.replace(stop={"name": "skip_connections", "most": most}))
    assert most and len(stopped.history) == counts.index(most) + 1
    ((_, decision),) = stopped.decisions
    assert str(most) in decision["reason"]


def test_skip_connections_need_a_normal_cell() -> None:
    text = np.arange(400) % 7
    cfg = pydarts.SearchConfig(
        space="darts-rnn",
        stop="skip_connections",
        epochs=1,
        batch_size=4,
        units=8,
        progress=False,
        device="cpu",
    )
    with pytest.raises(pydarts.ConfigError, match="normal"):
        pydarts.search((text, text), cfg)
