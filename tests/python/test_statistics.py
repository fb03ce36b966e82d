"""Running statistics of batch norm: counted, evaluated without initial values, rolled back and saved."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pydarts
import pytest
import reference
import safetensors.torch
import torch
from conftest import make_arrays, make_config
from parity import LOSS, SETUPS, XI, Setup, apart, each
from resuming import STEPS, assert_same, checkpoints, resumed, stopped, uninterrupted

pytestmark = pytest.mark.usefixtures("one_thread")

whole = pytest.fixture(scope="module")(uninterrupted)
COUNT = ".num_batches_tracked"
PLAIN = SETUPS["none, skip and one convolution"]


def counts(state: dict[str, torch.Tensor]) -> set[int]:
    """The different counts of a state dict, which has one per batch norm."""
    found = [value for name, value in state.items() if name.endswith(COUNT)]
    assert len(found) == sum(name.endswith(".running_var") for name in state) > 0
    assert all(value.dtype == torch.int64 and value.shape == () for value in found)
    return {int(value) for value in found}


def without_counts(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if not name.endswith(COUNT)}


def fresh(setup: Setup, **config: Any) -> tuple[pydarts.Supernet, reference.Supernet]:
    """Both networks before the first step, with the same weights and α."""
    ours, theirs = setup.engine(**config), setup.reference()
    theirs.load_state_dict(ours.state_dict())
    theirs.set_alphas(ours.alphas)
    return ours, theirs


# ---- evaluation


@each("the published operations", "no reduction", "odd images of 7x5")
def test_evaluation_after_any_number_of_steps_is_that_of_the_reference(setup: Setup) -> None:
    ours, theirs = fresh(setup)
    search, batches = reference.Search(theirs), setup.batches(4)
    for steps in range(4):
        x, y = batches[steps]
        assert counts(ours.state_dict()) == {steps}
        with torch.no_grad():
            expected = theirs.eval().loss(x, y).item()
        assert ours.evaluate(x, y)[0] == pytest.approx(expected, rel=100 * LOSS, abs=0)
        ours.step(batches[steps - 1], (x, y))
        search.step(batches[steps - 1], (x, y), XI)


def test_after_one_step_it_is_an_evaluation_by_the_statistics_of_that_batch() -> None:
    """With rates of zero the weights stay, so that the batch of the step gets the logits of the step."""
    setup = Setup(operations=("none", "skip_connect", "conv_3x3"), batch=16)
    ours, _ = fresh(setup, weight_lr=0.0, weight_lr_min=0.0)
    (x, y), valid = setup.batches(2)
    before = ours.evaluate(x, y)[0]
    ours.step((x, y), valid)
    # The variance of the batch is biased where it normalises and unbiased where it is kept.
    loss, by_batch = ours.evaluate(x, y)[0], ours.loss(x, y)
    assert loss == pytest.approx(by_batch, rel=0.05)
    assert abs(before - by_batch) > 3 * abs(loss - by_batch)


def test_before_the_first_step_statistics_are_used_as_they_are() -> None:
    ours, theirs = fresh(PLAIN)
    x, y = PLAIN.batches(1)[0]
    with torch.no_grad():
        expected = theirs.eval().loss(x, y).item()
    assert ours.evaluate(x, y)[0] == pytest.approx(expected, rel=LOSS, abs=0)
    state = {name: value + 0.5 if ".running_" in name else value for name, value in ours.state_dict().items()}
    ours.load_state_dict(state)
    theirs.load_state_dict(state)
    with torch.no_grad():
        moved = theirs.loss(x, y).item()
    assert moved != expected and ours.evaluate(x, y)[0] == pytest.approx(moved, rel=LOSS, abs=0)


def test_a_constant_channel_has_no_negative_variance() -> None:
    """In float32 the variance 0.9^t of a channel without variance rounds to less than 0.9^t."""
    net = pydarts.Supernet(channels=2, layers=1, nodes=2, num_classes=3, in_channels=1, image_size=8)
    x, y = torch.zeros(4, 1, 8, 8), torch.arange(4) % 3
    for _ in range(12):
        net.step((x, y), (x, y))
        assert math.isfinite(net.evaluate(x, y)[0])


def test_the_history_of_a_search_is_evaluated_so() -> None:
    X, y = make_arrays()
    result = pydarts.search((X, y), make_config(epochs=1, train_portion=0.5, precision="float64"))
    assert counts(result.state_dict) == {result.steps[-1]}
    twice = pydarts.search(
        ((X, y), (X, y)), make_config(epochs=1, precision="float64", mean=[0.0], std=[1.0])
    )
    net = pydarts.Supernet(config=twice.config, precision="float64")
    net.load_state_dict(twice.state_dict)
    net.set_alphas({name: table[-1] for name, table in twice.alphas.items()})
    loss, correct = net.evaluate(torch.from_numpy(X).double() / 255, torch.from_numpy(y))
    assert twice.history[-1].valid_loss == pytest.approx(loss, rel=1e-9)
    assert twice.history[-1].valid_accuracy == correct / len(y)


# ---- counts


@pytest.mark.parametrize("method", ["first_order", "unrolled", "unrolled_exact"])
@pytest.mark.parametrize("micro_batch", [None, 2])
@each("the published operations", "no reduction")
def test_a_step_counts_once(setup: Setup, micro_batch: int | None, method: str) -> None:
    net = setup.engine(hypergradient=method, micro_batch=micro_batch)
    train, valid = setup.batches(2)
    for steps in (1, 2):
        net.step(train, valid)
        net.logits(train[0]), net.loss(*train), net.evaluate(*train), net.arch_gradient(train, valid)
        assert counts(net.state_dict()) == {steps}


@pytest.mark.parametrize("passes", [None, ()])
def test_a_batch_norm_that_moves_through_another_counts_too(passes: Any) -> None:
    net = SETUPS["the published operations"].engine(passes=passes)
    train, valid = SETUPS["the published operations"].batches(2)
    net.step(train, valid)
    assert counts(net.state_dict()) == {1}


def test_a_step_that_is_rolled_back_does_not_count() -> None:
    # A weight step that overflows: the loss and its gradients are finite.
    net = PLAIN.engine(weight_decay=1e308, weight_lr=1e4)
    train, valid = PLAIN.batches(2)
    before = net.state_dict()
    with pytest.raises(pydarts.NumericalError, match="w"):
        net.step(train, valid)
    after = net.state_dict()
    assert counts(after) == {0}
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_recurrent_networks_count_and_evaluate_by_the_batch() -> None:
    config = pydarts.SearchConfig(space="darts-rnn", batch_size=3)
    net = pydarts.Supernet(vocabulary=11, units=4, nodes=2, precision="float64", config=config)
    tokens = torch.arange(15).reshape(5, 3) % 11
    net.step((tokens, tokens), (tokens, tokens))
    state = net.state_dict()
    assert counts(state) == {1}
    loss = net.evaluate(tokens, tokens)
    net.load_state_dict(without_counts(state))
    assert counts(net.state_dict()) == {2**20} and net.evaluate(tokens, tokens) == loss


# ---- state dicts and files


def test_statistics_without_counts_are_settled() -> None:
    ours, theirs = PLAIN.pair()
    state = without_counts(ours.state_dict())
    ours.load_state_dict(state)
    for norm in theirs._norms:
        norm.num_batches_tracked.fill_(10**6)
    x, y = PLAIN.batches(1)[0]
    with torch.no_grad():
        expected = theirs.eval().loss(x, y).item()
    assert ours.evaluate(x, y)[0] == pytest.approx(expected, rel=LOSS, abs=0)
    assert apart(without_counts(ours.state_dict()), state) == 0
    assert counts(ours.state_dict()) == {2**20}
    ours.step(*PLAIN.batches(2))
    assert counts(ours.state_dict()) == {2**20 + 1}, "settled statistics stay settled"


def test_some_counts_may_be_absent_and_some_arrays() -> None:
    ours, _ = PLAIN.pair()
    state = ours.state_dict()
    state["stem.bn" + COUNT] = torch.tensor(3)
    del state["cells.0.pre0.bn" + COUNT]
    ours.load_state_dict({name: value.numpy() for name, value in state.items()})
    found = ours.state_dict()
    assert int(found["stem.bn" + COUNT]) == 3 and int(found["cells.0.pre0.bn" + COUNT]) == 2**20
    ours.load_state_dict({name: value.double() for name, value in found.items()})
    assert apart(ours.state_dict(), found) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32])
def test_a_count_may_have_any_real_dtype(dtype: torch.dtype) -> None:
    net = PLAIN.engine()
    net.load_state_dict(net.state_dict() | {"stem.bn" + COUNT: torch.tensor(8, dtype=dtype)})
    assert net.state_dict()["stem.bn" + COUNT] == 8


@pytest.mark.parametrize("name", ["running_mean", "running_var"])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, -0.5])
def test_statistics_that_no_batch_has_are_refused_by_name_and_value(name: str, wrong: float) -> None:
    net = PLAIN.engine()
    before = net.state_dict()
    changed = {key: value.clone() for key, value in before.items()}
    changed["stem.bn." + name][1] = wrong
    if name == "running_mean" and wrong == -0.5:
        net.load_state_dict(changed)
        return
    with pytest.raises(pydarts.DataError, match=rf"stem\.bn\.{name}.*{str(wrong).replace('nan', 'NaN')}"):
        net.load_state_dict(changed)
    assert apart(net.state_dict(), before) == 0


@pytest.mark.parametrize(
    "wrong",
    [torch.tensor(-1), torch.tensor([1]), torch.tensor(1.5), torch.tensor(math.nan), torch.tensor(True),
     torch.tensor(2**62), torch.tensor(1j)],
    ids=str,
)  # fmt: skip
def test_what_is_no_count_is_refused_by_its_name(wrong: torch.Tensor) -> None:
    net = PLAIN.engine()
    before = net.state_dict()
    changed = {name: value + 1 for name, value in before.items()}
    with pytest.raises(pydarts.DataError, match=r"cells\.0\.pre0\.bn\.num_batches_tracked"):
        net.load_state_dict(changed | {"cells.0.pre0.bn" + COUNT: wrong})
    assert apart(net.state_dict(), before) == 0


def test_a_count_of_another_network_is_refused() -> None:
    net = PLAIN.engine()
    with pytest.raises(pydarts.DataError, match=r"cells\.7\.bn\.num_batches_tracked"):
        net.load_state_dict(net.state_dict() | {"cells.7.bn" + COUNT: torch.tensor(1)})


def test_a_result_keeps_its_counts(tmp_path: Path, tiny_result: pydarts.SearchResult) -> None:
    tiny_result.save(tmp_path)
    found = pydarts.SearchResult.load(tmp_path)
    assert counts(found.state_dict) == {found.steps[-1]} != {0}
    net = pydarts.Supernet(config=found.config)
    net.load_state_dict(found.state_dict)
    assert counts(net.state_dict()) == {found.steps[-1]}


def test_a_result_of_an_earlier_version_is_settled() -> None:
    found = pydarts.SearchResult.load(Path(__file__).parents[1] / "fixtures" / "version1" / "early_output")
    assert not any(name.endswith(COUNT) for name in found.state_dict)
    net = pydarts.Supernet(config=found.config)
    net.load_state_dict(found.state_dict)
    assert counts(net.state_dict()) == {2**20}


def test_a_resumed_search_counts_on(tmp_path: Path, whole: Any) -> None:
    stopped(tmp_path, step=5)
    (newest,) = checkpoints(tmp_path)[-1:]
    stored = safetensors.torch.load_file(newest)
    steps = {int(value) for name, value in stored.items() if name.endswith(COUNT)}
    assert steps == {6}
    found = resumed(tmp_path)
    assert_same(found, whole())
    assert counts(found.state_dict) == {found.steps[-1]} == {3 * STEPS}


def as_format_2(path: Path, **changes: torch.Tensor) -> None:
    """Rewrite a checkpoint as earlier versions wrote it: without counts."""
    with safetensors.safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["pydarts"])
    assert header["format"] == "pydarts-checkpoint-3"
    header["format"] = "pydarts-checkpoint-2"
    tensors = without_counts(safetensors.torch.load_file(path)) | changes
    safetensors.torch.save_file(tensors, path, {"pydarts": json.dumps(header)})


def test_a_checkpoint_of_format_2_is_resumed_with_its_step_as_the_count(tmp_path: Path, whole: Any) -> None:
    stopped(tmp_path, step=5)
    for path in checkpoints(tmp_path):
        as_format_2(path)
    assert_same(resumed(tmp_path), whole())


def test_a_checkpoint_with_logits_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    stopped(tmp_path, step=5)
    (newest,) = checkpoints(tmp_path)[-1:]
    alpha = safetensors.torch.load_file(newest)["alpha/normal"]
    alpha[1, 2] = -math.inf
    as_format_2(newest, **{"alpha/normal": alpha})
    with pytest.raises(pydarts.CheckpointError, match=rf"{newest.name}.*`normal`, row 1, column 2"):
        resumed(tmp_path)
