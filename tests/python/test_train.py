"""Training of language models."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from best import best_epoch
from pydarts._train.settings import TextSettings
from pydarts._train.text import TextTask, segments
from test_texts import text
from trained import holds, judged

WORDS = 12
TEXTS = (text(900, 0), text(300, 1))
CELL = pydarts.Genotype(recurrent=[("tanh", 0), ("identity", 1)], concat=[1, 2])


def network(units: int = 10, seed: int = 0, **changes: Any) -> pydarts.nn.LanguageModel:
    torch.manual_seed(seed)
    dropout = {"dropout_rows": 0.1, "dropout_input": 0.1, "dropout_hidden": 0.1, "dropout_output": 0.1}
    return pydarts.build(CELL, vocabulary=WORDS, units=units, **(dropout | changes)).double()


def config(**changes: Any) -> pydarts.TrainConfig:
    fields: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 4,
        "eval_batch_size": 2,
        "bptt": 10,
        "weight_lr": 3.0,
        "device": "cpu",
        "progress": False,
    }
    return pydarts.TrainConfig(**(fields | changes))


def same(one: pydarts.nn.LanguageModel, other: pydarts.nn.LanguageModel) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def test_it_learns_what_follows_a_word() -> None:
    texts = (text(6000, 0), text(800, 1))
    result = pydarts.train(network(24), texts, config(epochs=6))
    counts = np.bincount(texts[1], minlength=WORDS) / len(texts[1])
    unigram = math.exp(-float(sum(share * math.log(share) for share in counts if share)))
    last = result.history[-1]
    assert last.valid_perplexity < 0.7 * unigram, (last.valid_perplexity, unigram)
    assert last.valid_perplexity == math.exp(last.valid_loss) and last.valid_accuracy > 0.5
    assert not result.network.training and result.status == "complete"
    assert last.valid_top5 is None is last.train_top5, "of words they are not counted"


def test_a_step_is_the_plain_one() -> None:
    """Slowness, clip, SGD with decay, its rate in proportion to the length, the state carried on."""
    off = {f"dropout_{place}": 0.0 for place in ("rows", "embedded", "input", "hidden", "output")}
    net, plain = network(**off), network(**off)
    settings = TextSettings(
        batch_size=4, eval_batch_size=2, bptt=10, weight_lr=3.0, weight_decay=0.01, slowness=0.5
    )
    task = TextTask(net, TEXTS, settings, torch.device("cpu"))
    columns = torch.as_tensor(TEXTS[0])[:900].view(4, 225).T
    hidden = torch.zeros(4, 10, dtype=torch.float64)
    for (begin, end), step in zip(segments(225, settings, 0), task.steps(0), strict=True):
        logits, states = plain(columns[begin:end], hidden)
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, WORDS), columns[begin + 1 : end + 1].reshape(-1)
        )
        assert float(loss.detach()) == pytest.approx(float(step.loss), rel=1e-10)
        slow = sum(((states[t + 1] - states[t]) ** 2).mean() for t in range(len(states) - 1))
        objective = loss + (0.5 * slow / (len(states) - 1) if len(states) > 1 else 0.0)
        gradients = torch.autograd.grad(objective, list(plain.parameters()))
        norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
        factor = min(1.0, 0.25 / (norm + 1e-6))
        with torch.no_grad():
            for weight, gradient in zip(plain.parameters(), gradients, strict=True):
                weight -= 3.0 * (end - begin) / 10 * (factor * gradient + 0.01 * weight)
        hidden = states[-1].detach()
    for mine, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_averaging_begins_by_the_non_monotone_trigger_and_is_the_mean_of_what_follows() -> None:
    net = network()
    task = TextTask(
        net, TEXTS, TextSettings(batch_size=4, eval_batch_size=2, patience=2), torch.device("cpu")
    )
    losses = [3.0, 2.0, 2.5, 2.4]
    for count in range(1, len(losses) + 1):  # 2.4 is above 2.0, of the last two; only those before count
        task.after(losses[:count])
        assert not task.weights.averaged, losses[:count]
    task.after([*losses, 2.1])
    assert task.weights.averaged
    seen = []
    for _ in task.steps(0):
        seen.append([weight.detach().clone() for weight in net.parameters()])
    averaged = task.weights.copy()
    for (name, _), *values in zip(net.named_parameters(), *seen, strict=True):
        torch.testing.assert_close(averaged[name], torch.stack(values).mean(0), rtol=1e-10, atol=1e-12)
    assert not torch.equal(averaged["cell.w0"], net.cell.w0)


@pytest.mark.parametrize("epoch", range(5))
def test_segments_cover_the_text_and_vary_in_length(epoch: int) -> None:
    found = segments(5000, TextSettings(), epoch)
    assert found[0][0] == 0 and found[-1][1] == 4999
    assert all(one[1] == other[0] for one, other in pairwise(found))
    lengths = [end - begin for begin, end in found]
    assert max(lengths) <= 55 and min(lengths[:-1]) >= 5 and len(set(lengths)) > 8
    assert 30 < np.mean(lengths) < 37
    assert found != segments(5000, TextSettings(), epoch + 1) and found == segments(
        5000, TextSettings(), epoch
    )


@pytest.mark.parametrize(("keep", "epoch"), [("best", 1), ("last", 3)])
def test_the_epoch_with_the_lowest_loss_or_the_last_one_is_kept(
    keep: Any, epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies, losses = [0.1, 0.2, 0.3, 0.4], [3.0, 1.0, 1.0, 2.0]
    evaluated = judged(monkeypatch, TextTask, accuracies, losses)
    result = pydarts.train(network(), TEXTS, config(epochs=4, patience=50, keep=keep))
    assert [record.valid_loss for record in result.history] == losses
    assert best_epoch(result) == 1, "the first of equal losses, whatever the accuracies"
    assert [holds(result.network, weights) for weights in evaluated] == [at == epoch for at in range(4)]


def test_the_weights_of_a_result_are_those_that_its_history_evaluated() -> None:
    result = pydarts.train(network(), TEXTS, config(keep="last"))
    task = TextTask(result.network, TEXTS, TextSettings.of(result.config), torch.device("cpu"))
    assert task.evaluate().loss == result.history[-1].valid_loss


class StopAt(pydarts.TrainCallback):
    """Raises after a step."""

    def __init__(self, epoch: int, step: int, error: BaseException) -> None:
        self.at, self.error, self.ended = (epoch, step), error, None

    def on_step(self, info: pydarts.TrainStep) -> None:
        if (info.epoch, info.step_in_epoch) == self.at:
            raise self.error

    def on_end(self, result: pydarts.TrainResult) -> None:
        self.ended = result.status


def test_resumed_after_an_interrupt_it_is_bit_for_bit_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = TextTask.after

    def rising(self: TextTask, losses: list[float]) -> None:
        """Averaging begins when losses rise: from the third epoch on, whatever the training comes to."""
        after(self, [float(epoch) for epoch in range(len(losses))])

    monkeypatch.setattr(TextTask, "after", rising)
    changes = {"epochs": 5, "patience": 1}
    whole = pydarts.train(network(), TEXTS, config(**changes))
    assert whole.history[-1].averaged and not whole.history[0].averaged
    stop = StopAt(3, 2, KeyboardInterrupt())
    kept = {"checkpoint_dir": tmp_path, "resume": True}
    part = pydarts.train(network(), TEXTS, config(**changes, **kept), stop)
    assert part.status == "interrupted" == stop.ended and len(part.history) == 3
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    again = pydarts.train(network(seed=9), TEXTS, config(**changes, **kept))
    assert same(again.network, whole.network)
    assert [r.valid_loss for r in again.history] == [r.valid_loss for r in whole.history]
    finished = pydarts.train(network(seed=9), TEXTS, config(**changes, **kept))
    assert same(finished.network, whole.network) and len(finished.history) == 5
    more = pydarts.train(network(seed=9), TEXTS, config(**(changes | {"epochs": 6}), **kept))
    assert len(more.history) == 6


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    kept = {"checkpoint_dir": tmp_path, "resume": True}
    pydarts.train(network(), TEXTS, config(epochs=1, **kept))
    with pytest.raises(pydarts.CheckpointError, match=r"weight_lr.*3.0.*4.0"):
        pydarts.train(network(), TEXTS, config(epochs=1, weight_lr=4.0, **kept))
    with pytest.raises(pydarts.CheckpointError, match=r"units.*10.*11"):
        pydarts.train(network(11), TEXTS, config(epochs=1, **kept))
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(pydarts.CheckpointError, match=path.name):
        pydarts.train(network(), TEXTS, config(epochs=1, **kept))


def test_what_stops_a_training_carries_what_was_reached(tmp_path: Path) -> None:
    stop = StopAt(1, 0, RuntimeError("mine"))
    with pytest.raises(RuntimeError, match="mine") as caught:
        pydarts.train(network(), TEXTS, config(), stop)
    result: pydarts.TrainResult = caught.value.result  # type: ignore[attr-defined]
    assert result.status == "failed" == stop.ended and len(result.history) == 1
    with pytest.raises(pydarts.NumericalError, match=r"step \d+.*epoch 1.*weight_lr"):
        pydarts.train(network(), TEXTS, config(weight_lr=1e300))


def test_a_language_model_that_breaks_in_the_last_step_is_that_of_the_epoch_before() -> None:
    net = network()
    last = len(segments(225, TextSettings(bptt=10), 1)) - 1

    class Break(StopAt):
        def on_step(self, info: pydarts.TrainStep) -> None:
            if (info.epoch, info.step_in_epoch) == self.at:
                net.cell.w0.data.fill_(math.nan)

    first = pydarts.train(network(), TEXTS, config(epochs=1, keep="last"))
    with pytest.raises(pydarts.NumericalError, match=r"validation loss.*nan.*epoch 2"):
        pydarts.train(net, TEXTS, config(keep="last"), Break(1, last, RuntimeError()))
    assert same(net, first.network)


def test_a_result_comes_back_from_its_folder(tmp_path: Path) -> None:
    result = pydarts.train(network(), TEXTS, config(epochs=2))
    result.save(tmp_path / "run")
    again = pydarts.TrainResult.load(tmp_path / "run")
    assert again.history == result.history and again.config == result.config
    assert again.status == "complete" and again.best == result.best
    assert again.environment == result.environment and result.environment["device"] == "cpu"
    assert same(again.network, result.network) and again.network.genotype == CELL
    (tmp_path / "run" / "training.json").write_text("{")
    with pytest.raises(pydarts.CheckpointError, match=r"training\.json"):
        pydarts.TrainResult.load(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match=r"training\.json"):
        pydarts.TrainResult.load(tmp_path)


def test_the_random_numbers_of_the_caller_stay_as_they_were() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    pydarts.train(network_without_seed(), TEXTS, config(epochs=1))
    assert torch.equal(torch.rand(3), expected)


def network_without_seed() -> pydarts.nn.LanguageModel:
    with torch.random.fork_rng(devices=[]):
        return network()


def test_a_genotype_is_built_from_the_seed() -> None:
    small = config(epochs=1, batch_size=2, bptt=3)
    texts = (TEXTS[0][:60], TEXTS[1][:40])
    one, other = (pydarts.train(CELL, texts, small) for _ in range(2))
    assert one.network.arguments["vocabulary"] == WORDS and one.network.arguments["units"] == 850
    assert same(one.network, other.network)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs.*0"),
        ({"weight_lr": math.nan}, "weight_lr.*nan"),
        ({"bptt": 2.5}, r"bptt.*2\.5"),
        ({"batch_size": True}, "batch_size.*True"),
        ({"keep": "first"}, "keep.*'first'"),
        ({"resume": True}, "resume.*checkpoint_dir"),
    ],
)
def test_a_choice_that_cannot_be_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(pydarts.ConfigError, match=words):
        config(**changes)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (TEXTS[0], "train_tokens, valid_tokens"),
        ((TEXTS[0], TEXTS[1][:0]), "validation.*empty"),
        (
            (TEXTS[0][:20], TEXTS[1]),
            "20.*5.*4.*11",
        ),
        ((TEXTS[0] + 1, TEXTS[1]), "training.*1.*12.*12"),
        ((TEXTS[0] * 0.5, TEXTS[1]), r"training.*torch\.float64"),
    ],
)
def test_texts_that_cannot_be_are_named(texts: Any, words: str) -> None:
    with pytest.raises(pydarts.DataError, match=words):
        pydarts.train(network(), texts, config())
