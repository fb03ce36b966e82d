"""Settings of torch around a call: the result is that of a new process or an error, and the settings stay."""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import Stop, make_arrays, make_config
from pydarts._values.ambient import kept, plain
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from trained import CELL, batches, config, network

Run = Callable[[], Any]


# --------------------------------------------------------------------------------------------- the settings


class HalvedFunctions(TorchFunctionMode):
    """Rounds the results of all functions."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        return found.half().to(found.dtype) if _is_float(found) else found


class HalvedOperators(TorchDispatchMode):
    """Rounds the results of all operators."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        return found.half().to(found.dtype) if _is_float(found) else found


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and not value.requires_grad


def rounded_for_backward() -> AbstractContextManager[Any]:
    def pack(x: torch.Tensor) -> torch.Tensor:
        return x.detach().half().to(x.dtype) if x.is_floating_point() else x

    return torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x)


@contextmanager
def switched(read: Run, write: Callable[[Any], Any], value: Any) -> Iterator[None]:
    before = read()
    write(value)
    try:
        yield
    finally:
        assert read() == value
        write(before)


def attribute(owner: Any, name: str, value: Any) -> AbstractContextManager[None]:
    return switched(lambda: getattr(owner, name), lambda new: setattr(owner, name, new), value)


@contextmanager
def products(precision: str) -> Iterator[None]:
    """The switch of float32 products, which changes several newer ones."""
    newer = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [(place, place.fp32_precision) for place in newer]
    torch.set_float32_matmul_precision(precision)
    inside = [place.fp32_precision for place in newer]
    try:
        yield
    finally:
        assert torch.get_float32_matmul_precision() == precision
        assert [place.fp32_precision for place in newer] == inside
        torch.set_float32_matmul_precision("highest")
        for place, value in before:
            place.fp32_precision = value


@contextmanager
def no_cache() -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        yield
        assert not torch.is_autocast_cache_enabled()


@contextmanager
def flushed() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        yield
        assert float(torch.tensor(1e-310, dtype=torch.float64) * 1.0) == 0.0
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
        assert torch.zeros(1).device.type == name
    finally:
        torch.set_default_device(None)


def deterministic(warn_only: bool) -> AbstractContextManager[None]:
    def write(on: bool) -> None:
        torch.use_deterministic_algorithms(on, warn_only=warn_only and on)

    return switched(torch.are_deterministic_algorithms_enabled, write, True)


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast without cache": no_cache,
    "autocast twice": lambda: _all(
        torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=True)
    ),
    "no_grad": torch.no_grad,
    "set_grad_enabled": lambda: torch.set_grad_enabled(False),
    "default dtype": lambda: switched(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "half as default dtype": lambda: switched(
        torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16
    ),
    "default device": lambda: default_device("meta"),
    "device context": lambda: torch.device("meta"),
    "medium products": lambda: products("medium"),
    "high products": lambda: products("high"),
    "bf16 everywhere": lambda: attribute(torch.backends, "fp32_precision", "bf16"),
    "bf16 of mkldnn": lambda: attribute(torch.backends.mkldnn, "fp32_precision", "bf16"),
    "bf16 convolutions": lambda: attribute(torch.backends.mkldnn.conv, "fp32_precision", "bf16"),
    "tf32 of cuda": lambda: attribute(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    "no tf32 of cudnn": lambda: attribute(torch.backends.cudnn.conv, "fp32_precision", "ieee"),
    "no mkldnn": lambda: switched(torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled, False),
    "cudnn benchmark": lambda: attribute(torch.backends.cudnn, "benchmark", True),
    "cudnn deterministic": lambda: attribute(torch.backends.cudnn, "deterministic", True),
    "deterministic": lambda: deterministic(False),
    "deterministic with warnings": lambda: deterministic(True),
    "function mode": HalvedFunctions,
    "dispatch mode": HalvedOperators,
    "saved tensors": rounded_for_backward,
    "saved tensors twice": lambda: _all(rounded_for_backward(), torch.autograd.graph.save_on_cpu()),
    "denormals": flushed,
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
}

REFUSED: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "inference mode": torch.inference_mode,
    "dual level": forward_ad.dual_level,
}


@contextmanager
def _all(*contexts: AbstractContextManager[Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


def visible() -> tuple[Any, ...]:
    """What a caller can see of the settings."""
    return (
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("cuda"),
        torch.is_autocast_cache_enabled(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.get_num_threads(),
        torch.backends.mkldnn.conv.fp32_precision,
        torch._C._len_torch_function_stack(),
        torch._C._len_torch_dispatch_stack(),
        torch._C._autograd._top_saved_tensors_default_hooks(True),
    )


# ------------------------------------------------------------------------------------------- entry points


X, Y = make_arrays(n=32)
IMAGES, LABELS = torch.from_numpy(X).float() / 255, torch.from_numpy(Y)
FLOATS, BATCHES = IMAGES.numpy(), [(IMAGES[:16], LABELS[:16]), (IMAGES[16:], LABELS[16:])]
MANY = batches(2)
# One for each training, because a mode would change a network that is made or copied inside it.
NETWORKS = [network(drop_path=0.3) for _ in range(48)]
MODELS = [pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=20, units=8)]
MODELS += [copy.deepcopy(MODELS[0]) for _ in range(12)]
TOKENS = np.random.default_rng(0).integers(0, 20, 400)
SEARCH = make_config(epochs=1, hypergradient="unrolled")
RECURRENT = pydarts.SearchConfig(
    space="darts-rnn", units=8, nodes=2, batch_size=4, bptt=10, epochs=1, device="cpu", progress=False
)
MODEL = make_config(num_classes=4, in_channels=1, image_size=8)


def _alphas(result: pydarts.SearchResult) -> list[Any]:
    return [result.alphas[name] for name in sorted(result.alphas)]


def search() -> list[Any]:
    return _alphas(pydarts.search((X, Y), SEARCH))


def search_of_floats() -> list[Any]:
    return _alphas(pydarts.search((FLOATS, Y), SEARCH))


def search_of_batches() -> list[Any]:
    return _alphas(pydarts.search((BATCHES, BATCHES), SEARCH, loss=torch.nn.functional.cross_entropy))


def search_of_text() -> list[Any]:
    return _alphas(pydarts.search((TOKENS, TOKENS[:100]), RECURRENT))


def supernet() -> list[Any]:
    net = pydarts.Supernet(config=MODEL)
    batch = (X[:8].astype(np.float32), Y[:8])
    found = [net.logits(batch[0]), net.loss(*batch), *net.evaluate(*batch)]
    for method in ("first_order", "unrolled", "unrolled_exact"):
        found += net.arch_gradient(batch, batch, hypergradient=method).values()
    found += net.step(batch, batch)
    other = pydarts.Supernet(config=MODEL)
    other.load_state_dict(net.state_dict())
    other.set_alphas(net.alphas)
    return [*found, *net.state_dict().values(), *net.alphas.values(), other.logits(batch[0])]


def train() -> list[Any]:
    net = NETWORKS.pop()
    result = pydarts.train(net, (X, Y), config(epochs=2))
    # Not the weights: a mode would change the copies.
    return [value for record in result.history for value in (record.train_loss, record.valid_loss)]


def train_of_a_genotype() -> list[Any]:
    result = pydarts.train(CELL, (MANY, MANY), config(epochs=1))
    return [result.history[0].train_loss]


def train_in_bfloat16() -> list[Any]:
    result = pydarts.train(CELL, (X, Y), config(epochs=2, precision="bfloat16"))
    return [record.train_loss for record in result.history]


def train_of_text() -> list[Any]:
    result = pydarts.train(MODELS.pop(), (TOKENS, TOKENS[:100]), config(epochs=1, batch_size=4, bptt=14))
    return [result.history[0].train_loss]


def search_many() -> list[Any]:
    short = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False, device="cpu")
    table = pydarts.search_many((X, Y), SEARCH, seeds=1, select=short, random=1, workers=0)
    return [*_alphas(table[0].result), *(row.loss for row in table)]


def compare() -> list[Any]:
    short = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False, device="cpu")
    small = {"channels": 2, "layers": 3}
    table = pydarts.compare({"one": CELL}, (X, Y), short, network=small, workers=0)
    return [row.loss for row in table]


ENTRIES: list[Run] = [search, search_of_floats, search_of_batches, search_of_text, supernet]
ENTRIES += [train, train_of_a_genotype, train_in_bfloat16, train_of_text, search_many, compare]


@pytest.fixture(scope="module")
def expected() -> Callable[[Run], list[Any]]:
    """The results in a new process."""
    known: dict[Run, list[Any]] = {}

    def of(entry: Run) -> list[Any]:
        if entry not in known:
            known[entry] = entry()
        return known[entry]

    return of


def assert_equal(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        one, other = (np.asarray(value.cpu() if hasattr(value, "cpu") else value) for value in (one, other))
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


# Every entry with the settings that matter most, and every setting with the entries that use most code.
OFTEN = ("autocast", "no_grad", "default dtype", "default device")
CASES = [(entry, name) for entry in ENTRIES for name in OFTEN]
CASES += [(entry, name) for entry in (search, supernet, train) for name in SETTINGS if name not in OFTEN]
CASES += [(train_in_bfloat16, "autocast twice"), (search_of_text, "medium products")]


@pytest.mark.parametrize(("entry", "setting"), CASES, ids=lambda case: getattr(case, "__name__", case))
def test_a_setting_of_the_caller_changes_nothing(
    entry: Run, setting: str, expected: Callable[[Run], list[Any]]
) -> None:
    right = expected(entry)
    outside = visible()
    with SETTINGS[setting]():
        before = visible()
        found = entry()
        assert visible() == before
    assert visible() == outside
    assert_equal(found, right)


@pytest.mark.parametrize("setting", REFUSED)
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.__name__)
def test_a_setting_that_follows_tensors_is_refused(entry: Run, setting: str) -> None:
    with REFUSED[setting]():
        before = visible()
        with pytest.raises(pydarts.ConfigError):
            entry()
        assert visible() == before


@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.grad], ids=["vmap", "grad"])
def test_a_transform_of_functions_is_refused(transform: Any) -> None:
    def inside(x: torch.Tensor) -> torch.Tensor:
        search()
        return x.sum()

    with pytest.raises(pydarts.ConfigError):
        transform(inside)(torch.ones(3))


def test_the_settings_return_after_an_error() -> None:
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad(), products("medium"), torch.device("meta"):
        before = visible()
        with pytest.raises(LookupError):
            pydarts.search((X, Y), SEARCH, Stop(LookupError(), step=0))
        with pytest.raises(pydarts.DataError):
            pydarts.train(CELL, (X, Y + 100), config(batch_size=1000))
        assert visible() == before


# ------------------------------------------------------------------------------------------ code of the user


class Changes(pydarts.Callback):
    """Changes settings for good."""

    def __init__(self) -> None:
        self.found: list[tuple[Any, ...]] = []

    def _change(self) -> None:
        self.found.append(visible())
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.set_autocast_enabled("cpu", True)
        torch.backends.mkldnn.conv.fp32_precision = "bf16"

    def on_start(self, info: Any) -> None:
        self._change()

    def on_step(self, info: Any) -> None:
        self._change()

    def on_epoch(self, info: Any) -> None:
        self._change()

    def on_end(self, result: Any) -> None:
        self._change()


def test_what_a_callback_changes_for_good_is_undone() -> None:
    outside, right = visible(), search()
    with torch.autocast("cpu"):
        changes = Changes()
        alphas = _alphas(pydarts.search((X, Y), SEARCH, changes))
        assert torch.is_autocast_enabled("cpu")
    assert set(changes.found) == {outside}, "a callback sees torch as it is in a new process"
    assert_equal(alphas, right)
    assert visible() == outside


def test_what_a_callback_of_a_training_changes_for_good_is_undone() -> None:
    class Disturbs(pydarts.TrainCallback):
        def on_step(self, info: pydarts.TrainStep) -> None:
            torch.set_grad_enabled(False)
            torch.set_default_dtype(torch.float64)
            torch.set_autocast_enabled("cpu", True)

    outside, found = visible(), []
    for callbacks in ((), Disturbs()):
        result = pydarts.train(NETWORKS.pop(), (X, Y), config(), callbacks)
        found.append(result.history[-1].train_loss)
    assert found[0] == found[1]
    assert visible() == outside


def test_a_loss_may_use_and_change_settings() -> None:
    def loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.is_autocast_enabled("cpu")
        torch.set_autocast_enabled("cpu", True)
        return torch.nn.functional.cross_entropy(logits, y)

    assert_equal(_alphas(pydarts.search((BATCHES, BATCHES), SEARCH, loss=loss)), search_of_batches())


def test_a_number_of_threads_that_changes_midway_is_warned_of_and_undone() -> None:
    threads = torch.get_num_threads()

    class More(pydarts.Callback):
        def on_step(self, info: Any) -> None:
            torch.set_num_threads(threads + 1)

    class MoreOfTraining(pydarts.TrainCallback):
        def on_step(self, info: Any) -> None:
            torch.set_num_threads(threads + 1)

    with pytest.warns(UserWarning, match=str(threads + 1)):
        result = pydarts.search((X, Y), SEARCH, More())
    assert result.threads == threads == torch.get_num_threads()
    with pytest.warns(UserWarning, match=str(threads + 1)):
        pydarts.train(network(), (X, Y), config(epochs=1), MoreOfTraining())
    assert torch.get_num_threads() == threads


def test_a_run_in_a_callback_is_that_of_a_new_process() -> None:
    right = train_of_a_genotype()
    found: list[Any] = []

    class Trains(pydarts.Callback):
        def on_epoch(self, info: Any) -> None:
            torch.set_default_dtype(torch.float64)
            with torch.autocast("cpu"):
                found.append(train_of_a_genotype())

    assert_equal(_alphas(pydarts.search((X, Y), SEARCH, Trains())), search())
    assert_equal(found[0], right)
    assert torch.get_default_dtype() == torch.float32


def test_runs_in_two_threads_restore_the_settings_together() -> None:
    begun, ended = threading.Event(), threading.Event()
    found: list[Any] = []

    class First(pydarts.Callback):
        def on_start(self, info: Any) -> None:
            begun.wait(60)

    class Second(pydarts.Callback):
        def on_start(self, info: Any) -> None:
            begun.set()
            ended.wait(60)  # the first one restores what it found

        def on_epoch(self, info: Any) -> None:
            found.append((torch.get_default_dtype(), torch.get_float32_matmul_precision()))

    def run(callback: pydarts.Callback, done: threading.Event | None) -> None:
        result = pydarts.search((X, Y), SEARCH, callback)
        found.append(_alphas(result))
        if done is not None:
            done.set()

    right = search()
    with SETTINGS["default dtype"](), products("medium"):
        threads = [threading.Thread(target=run, args=pair) for pair in ((First(), ended), (Second(), None))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torch.get_default_dtype() == torch.float64
    assert (torch.float32, "highest") in found
    for alphas in (each for each in found if isinstance(each, list)):
        assert_equal(alphas, right)


def test_a_run_that_ends_keeps_the_settings_of_another_thread() -> None:
    inside, changed, left = threading.Event(), threading.Event(), threading.Event()

    def other() -> None:
        with plain():
            inside.set()
            assert changed.wait(60)
        left.set()

    def settings() -> Any:
        return torch.get_default_dtype(), torch.get_float32_matmul_precision()

    with SETTINGS["default dtype"](), products("medium"):
        with plain():
            with kept():
                torch.set_float32_matmul_precision("medium")
                torch.set_default_dtype(torch.float64)
                thread = threading.Thread(target=other)
                thread.start()
                assert inside.wait(60)
            changed.set()
            assert left.wait(60)
            assert settings() == (torch.float32, "highest")
        thread.join()
        assert settings() == (torch.float64, "medium")


def test_a_run_in_a_callback_returns_its_settings() -> None:
    with plain(), kept():
        torch.set_default_dtype(torch.float64)
        with plain():
            assert torch.get_default_dtype() == torch.float32
        assert torch.get_default_dtype() == torch.float64
    assert torch.get_default_dtype() == torch.float32


def test_statistics_of_bytes_need_no_default_device() -> None:
    with torch.device("meta"):
        data = pydarts.datasets.digits()
        config = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=16, progress=False)
        assert pydarts.search((data[0][:64], data[1][:64]), config).status == "complete"


def test_a_forked_process_with_threads_is_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydarts._values.ambient._forked", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search()  # one thread cannot hang
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    with pytest.warns(UserWarning, match="forkserver"):
        pydarts.Supernet(config=MODEL)
