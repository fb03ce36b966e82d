"""Steps that the host does not look into: none of them reads a number, and torch has what captures them."""

import inspect
import warnings
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from pydarts import Callback, StepInfo, search
from torch.profiler import ProfilerActivity, profile

METHODS = ["first_order", "unrolled", "unrolled_exact"]
READS = {"aten::item", "aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::equal"}


@pytest.mark.parametrize("memory", ["keep", "recompute"])
@pytest.mark.parametrize("method", METHODS)
def test_a_step_reads_nothing_on_the_host(method: Any, memory: str) -> None:
    config = make_config(hypergradient=method, memory=memory, in_channels=1, image_size=8, num_classes=4)
    net = pydarts.Supernet(config=config)
    x, y = torch.randn(4, 1, 8, 8), torch.arange(4)
    net.step((x, y), (x, y))
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        net.step((x, y), (x, y))
    events = seen.events()
    assert events is not None
    begin = min(event.time_range.start for event in events if event.name == "aten::convolution")
    reads = [event for event in events if event.name in READS]
    assert reads, "the batches are checked before the step, so some are seen"
    assert [event.name for event in reads if event.time_range.start > begin] == []


def test_torch_has_what_the_binding_asks_of_it() -> None:
    for name in ("Stream", "current_device", "current_stream", "set_device", "set_stream", "synchronize"):
        assert callable(getattr(torch.cuda, name)), name
    assert callable(torch.cuda.empty_cache) and callable(torch.cuda.graph_pool_handle)
    assert callable(torch.cuda.Stream.wait_stream)
    text = inspect.getdoc(torch.cuda.CUDAGraph.capture_begin) or ""
    parameters = inspect.signature(torch.cuda.CUDAGraph.capture_begin).parameters
    assert {"pool", "capture_error_mode"} <= parameters.keys() and "thread_local" in text
    assert callable(torch.cuda.CUDAGraph.capture_end) and callable(torch.cuda.CUDAGraph.replay)


class Steps(Callback):
    """Keeps what it hears, and how many steps had been taken by the loader then."""

    def __init__(self) -> None:
        self.heard: list[StepInfo] = []

    def on_step(self, info: StepInfo) -> None:
        self.heard.append(info)


@pytest.mark.parametrize("log_every", [2, 100])
def test_looking_less_often_tells_the_same(log_every: int) -> None:
    runs = []
    for every in (1, log_every):
        steps = Steps()
        runs.append((search(make_arrays(), make_config(log_every=every), callbacks=steps), steps.heard))
    (one, heard), (other, heard_late) = runs
    assert heard == heard_late
    for info, late in zip(heard, heard_late, strict=True):
        assert all(np.array_equal(info.alphas[name], late.alphas[name]) for name in info.alphas)
    assert all(np.array_equal(one.alphas[name], other.alphas[name]) for name in one.alphas)
    assert all(torch.equal(one.state_dict[name], other.state_dict[name]) for name in one.state_dict)


def test_the_first_failure_is_told_however_late_the_look() -> None:
    calls = []

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        value = torch.nn.functional.cross_entropy(logits, targets)
        return value * float("nan") if len(calls) == 4 else value  # the weight step of step 1

    steps = Steps()
    with pytest.raises(pydarts.NumericalError, match=r"training loss.*NaN.*step 1") as caught:
        search(make_arrays(), make_config(log_every=3), callbacks=steps, loss=loss)
    result = caught.value.result  # type: ignore[attr-defined]
    whole = search(make_arrays(), make_config(record="step"))
    assert result.steps[-1] == 1 and [info.step for info in steps.heard] == [0]
    assert len(calls) == 6, "the step after it was under way"
    for name in whole.alphas:
        assert np.array_equal(result.alphas[name][-1], whole.alphas[name][1])
    assert all(torch.isfinite(value).all() for value in result.state_dict.values())


def test_an_interrupt_keeps_the_steps_that_were_not_looked_at_yet() -> None:
    X, y = make_arrays(24)
    x, taken = torch.from_numpy(X).float() / 255, []

    class Stopping:
        def __iter__(self) -> Any:
            taken.append(1)
            for position in range(3):
                if len(taken) == 2 and position == 2:  # the first pass counts the classes
                    raise KeyboardInterrupt
                part = slice(8 * position, 8 * position + 8)
                yield x[part], torch.from_numpy(y[part])

    steps = Steps()
    train: Any = Stopping()
    result = search((train, (x, y)), make_config(log_every=50, batch_size=8), callbacks=steps)
    assert result.status == "interrupted" and result.steps[-1] == 2
    assert [info.step for info in steps.heard] == [0, 1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_a_captured_search_is_the_eager_one(method: Any) -> None:
    def run(**changes: Any) -> pydarts.SearchResult:
        config = make_config(device="cuda", hypergradient=method, precision="float64", epochs=4, **changes)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return search(make_arrays(96), config)

    eager = run(graph="off")
    for captured in (run(), run(log_every=5)):
        for name, alpha in eager.alphas.items():
            np.testing.assert_allclose(captured.alphas[name], alpha, rtol=0, atol=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_loss_in_python_is_not_captured() -> None:
    with pytest.warns(UserWarning, match="captured"):
        search(make_arrays(), make_config(device="cuda"), loss=torch.nn.functional.cross_entropy)
