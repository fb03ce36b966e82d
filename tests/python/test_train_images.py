"""Training of networks of images: what a step is, and how it is computed."""

from __future__ import annotations

import copy
import functools
import json
import math
import subprocess
import sys
from typing import Any

import pydarts
import pytest
import torch
from conftest import make_arrays
from pydarts._train.task import step_seed
from trained import batches, config, network, same, task


def negative_log_likelihood(logits: torch.Tensor, y: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy with a target of (1 - s) at the class and s / classes everywhere, plainly."""
    classes = logits.shape[1]
    target = torch.full_like(logits, smoothing / classes)
    target[torch.arange(len(y)), y] += 1 - smoothing
    shifted = logits - logits.max(1, keepdim=True).values
    return -(target * (shifted - shifted.exp().sum(1, keepdim=True).log())).sum(1).mean()


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_the_steps_of_a_training_are_the_plain_ones(schedule: Any) -> None:
    """Warm-up, schedule, smoothing, auxiliary loss, drop path, clip, momentum, decay, and the average."""
    epochs, rate, warmup, momentum, decay, clip, smoothing, aside, ema = (
        4,
        0.3,
        2,
        0.8,
        0.01,
        0.7,
        0.1,
        0.3,
        0.6,
    )
    net = network(auxiliary=True, drop_path=0.4).double()
    plain = copy.deepcopy(net)
    data = batches(side=32, size=4, dtype=torch.float64)
    ours = task(
        net,
        (data, data),
        epochs=epochs,
        weight_lr=rate,
        weight_lr_schedule=schedule,
        warmup=warmup,
        weight_momentum=momentum,
        weight_decay=decay,
        grad_clip=clip,
        label_smoothing=smoothing,
        auxiliary_weight=aside,
        ema=ema,
        seed=7,
    )
    buffers = [torch.zeros_like(weight) for weight in plain.parameters()]
    average: dict[str, torch.Tensor] = {}
    clipped = count = 0
    for epoch in range(epochs):
        if epoch < warmup:
            lr = rate * (epoch + 1) / warmup
        elif schedule == "cosine":
            lr = rate * math.cos(math.pi * epoch / epochs / 2) ** 2
        else:
            lr = rate * math.exp(epoch * math.log(0.97))
        plain.train()
        plain.drop_path = 0.4 * epoch / epochs
        for index, ((x, y), step) in enumerate(zip(data, ours.steps(epoch), strict=True)):
            torch.manual_seed(step_seed(7, epoch, index))
            logits, auxiliary = plain(x)
            loss = negative_log_likelihood(logits, y, 0.0)
            assert float(step.loss) == pytest.approx(float(loss.detach()), rel=1e-9)
            assert int(step.correct) == int((logits.argmax(1) == y).sum()) and step.count == 4
            objective = negative_log_likelihood(logits, y, smoothing)
            objective = objective + aside * negative_log_likelihood(auxiliary, y, smoothing)
            gradients = torch.autograd.grad(objective, list(plain.parameters()))
            norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
            clipped += norm > clip
            with torch.no_grad():
                for position, (weight, gradient) in enumerate(
                    zip(plain.parameters(), gradients, strict=True)
                ):
                    slope = min(1.0, clip / (norm + 1e-6)) * gradient + decay * weight
                    buffers[position] = momentum * buffers[position] + slope if count else slope
                    weight -= lr * buffers[position]
            now = {name: value.clone() for name, value in plain.state_dict().items()}
            kept = min(ema, (1 + count) / (10 + count)) if count else 0.0
            average = {
                name: kept * average.get(name, value) + (1 - kept) * value for name, value in now.items()
            }
            count += 1
    assert clipped and count == 12
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-8, atol=1e-9, msg=name)
    for name, value in ours.weights.copy().items():
        if value.is_floating_point():
            torch.testing.assert_close(value, average[name], rtol=1e-8, atol=1e-9, msg=name)
    assert not torch.equal(ours.weights.copy()["classifier.weight"], net.classifier.weight)


@pytest.mark.parametrize("again", [False, True])
def test_the_average_is_of_what_a_network_keeps_and_is_made_once(again: bool) -> None:
    """The share of drop path rises by epochs and is no weight; a resumed average is not a second one."""
    net = network(drop_path=0.4)
    ours = task(net, make_arrays(), ema=0.9)
    averaged = ours.weights.evaluated
    if again:
        ours.load_state({name: value.clone() for name, value in ours.state().items()})
    net.drop_path = 0.1
    list(ours.steps(2))
    assert ours.weights.evaluated is averaged and averaged is not net
    assert float(averaged._dropped) == pytest.approx(0.4), "as it was"
    kept = ours.weights.copy()
    assert {int(value) for name, value in kept.items() if name.endswith("num_batches_tracked")} == {5}
    assert int(ours.state()["averaged"]) == 5


def test_the_evaluation_is_the_plain_one_and_counts_the_five_likeliest() -> None:
    X, y = make_arrays(n=90, classes=9)
    net = network(num_classes=9).double()  # near-ties of float32 would be ranked in two ways
    found = pydarts.train(net, ((X, y), (X[:70], y[:70])), config(epochs=1, mean=(0.25,), std=(0.5,)))
    with torch.no_grad():
        logits = net((torch.from_numpy(X[:70]).double() / 255 - 0.25) / 0.5)
    (record,) = found.history
    labels = torch.from_numpy(y[:70])
    order = logits.argsort(1, descending=True)
    ranks = [row.tolist().index(int(label)) for row, label in zip(order, labels, strict=True)]
    assert record.valid_accuracy == sum(rank < 1 for rank in ranks) / 70
    assert record.valid_top5 == sum(rank < 5 for rank in ranks) / 70
    assert record.valid_accuracy <= record.valid_top5 and record.train_accuracy <= record.train_top5 <= 1
    expected = float(negative_log_likelihood(logits, labels, 0.0))
    assert record.valid_loss == pytest.approx(expected, rel=1e-5)


def test_of_five_classes_the_five_likeliest_are_not_counted() -> None:
    for classes, counted in ((5, False), (6, True)):
        result = pydarts.train(network(num_classes=classes), make_arrays(classes=classes), config(epochs=1))
        assert (result.history[0].valid_top5 is not None) is counted
        (plain,) = result.history.to_dicts()
        again = pydarts._results.history.record_from(json.loads(json.dumps(plain)), pydarts.TrainRecord)
        assert again == result.history[0]


def test_it_learns() -> None:
    result = pydarts.train(network(), make_arrays(n=400), config(epochs=4, label_smoothing=0.1))
    assert result.status == "complete" and not result.network.training
    assert result.history[-1].valid_accuracy > 0.9, result.history
    assert [record.learning_rate for record in result.history] == pytest.approx(
        [0.05 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    )


def test_bfloat16_is_of_the_passes_and_not_of_the_weights() -> None:
    net = network()
    seen = []
    hook = net.classifier.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    result = pydarts.train(net, make_arrays(n=100), config(precision="bfloat16", ema=0.5))
    hook.remove()
    assert set(seen) == {torch.bfloat16} and math.isfinite(result.history[-1].valid_loss)
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}
    assert not same(net, pydarts.train(network(), make_arrays(n=100), config(ema=0.5)).network)
    with pytest.raises(pydarts.ConfigError, match=r"float64.*bfloat16.*float32"):
        pydarts.train(network().double(), make_arrays(), config(precision="bfloat16"))
    with pytest.raises(pydarts.ConfigError, match=r"float16.*float32.*float64"):
        pydarts.train(network().half(), make_arrays(), config())


def test_channels_last_is_a_layout_and_nothing_else() -> None:
    data = ((torch.rand(16, 3, 9, 9, dtype=torch.float64), torch.arange(16) % 4),) * 2
    plain, laid = network(in_channels=3).double(), network(in_channels=3).double()
    seen = []
    hook = laid.register_forward_pre_hook(
        lambda module, given: seen.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    pydarts.train(plain, data, config())
    pydarts.train(laid, data, config(channels_last=True))
    hook.remove()
    assert seen and all(seen)
    assert laid.stem.conv.weight.is_contiguous(memory_format=torch.channels_last)
    for name, value in laid.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-9, atol=1e-9)


@pytest.mark.long
def test_channels_last_stays_within_its_memory() -> None:
    """oneDNN's strided 1x1 kernels did not: a process of its own, which ends there by an abort."""
    code = """if True:
        import pydarts, torch
        torch.set_num_threads(1)
        cells = [("conv_1x1", 0), ("skip_connect", 1)]
        cell = pydarts.Genotype(normal=cells, normal_concat=[2], reduce=cells, reduce_concat=[2])
        data = ((torch.randn(64, 3, 16, 16), torch.arange(64) % 4),) * 2
        for channels in (2, 4):
            net = pydarts.build(cell, channels=channels, layers=3, num_classes=4)
            cfg = pydarts.TrainConfig(epochs=5, batch_size=16, channels_last=True, progress=False)
            pydarts.train(net, data, cfg)
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("partial", [False, True])
def test_compiled_it_is_the_same_and_is_compiled_once(partial: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop path rises every epoch: that must not compile anew, nor fall back after eight times."""
    graphs = []

    def backend(graph: Any, example: Any) -> Any:
        assert not any(isinstance(given, torch.SymInt) for given in example), "a graph for any size"
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    data = ((torch.rand(8, 1, 8, 8, dtype=torch.float64), torch.arange(8) % 4),) * 2
    plain, compiled = network(drop_path=0.3).double(), network(drop_path=0.3).double()
    size = {"eval_batch_size": 5} if partial else {}
    pydarts.train(plain, data, config(epochs=10, **size))
    pydarts.train(compiled, data, config(epochs=10, compile=True, **size))
    assert len(graphs) == 3 + partial, "evaluation, training without drop path, training with it"
    for name, value in compiled.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=1e-9, atol=1e-9)
