"""`search`: loaders in, result out, and nothing lost on the way."""

import math
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from pydarts import Callback, EpochInfo, SearchResult, StartInfo, StepInfo, search
from pydarts._callbacks import Observers
from pydarts._interrupt import InterruptWatch
from torch.utils.data import DataLoader, TensorDataset

Batches = list[tuple[torch.Tensor, torch.Tensor]]


class Listener(Callback):
    """Keeps all that it hears."""

    def __init__(self) -> None:
        self.starts: list[StartInfo] = []
        self.steps: list[StepInfo] = []
        self.epochs: list[EpochInfo] = []
        self.ends: list[SearchResult] = []

    def on_start(self, info: StartInfo) -> None:
        self.starts.append(info)

    def on_step(self, info: StepInfo) -> None:
        self.steps.append(info)

    def on_epoch(self, info: EpochInfo) -> None:
        self.epochs.append(info)

    def on_end(self, result: SearchResult) -> None:
        self.ends.append(result)


def batches(n: int = 3) -> Batches:
    X, y = make_arrays(8 * n)
    x = torch.from_numpy(X).float() / 255
    return [(x[i : i + 8], torch.from_numpy(y[i : i + 8])) for i in range(0, 8 * n, 8)]


def dataset(n: int = 48) -> TensorDataset:
    X, y = make_arrays(n)
    return TensorDataset(torch.from_numpy(X).float() / 255, torch.from_numpy(y))


def floats() -> tuple[torch.Tensor, torch.Tensor]:
    """Arrays as `dataset` has them."""
    images, labels = dataset().tensors
    return images, labels


# ---- the result


def test_a_search_gives_genotype_trajectory_and_history(tiny_result: SearchResult) -> None:
    result = tiny_result
    assert result.status == "complete"
    assert set(result.alphas) == {"normal", "reduce"}
    for alpha in result.alphas.values():
        assert alpha.shape == (3, 5, 3) and alpha.dtype == np.float32 and np.isfinite(alpha).all()
        assert not np.array_equal(alpha[0], alpha[-1]), "α moved"
    assert result.steps == (0, 3, 6)
    result.genotype.validate(result.config.resolved_space)
    assert [record.epoch for record in result.history] == [0, 1]
    for record in result.history:
        assert record.train_loss > 0 and record.valid_loss > 0 and record.seconds > 0
        assert 0 <= record.train_accuracy <= 1 and 0 <= record.valid_accuracy <= 1
        assert record.entropy.keys() == {"normal", "reduce"}
        assert 0 < record.entropy["normal"] <= math.log(3) + 1e-9
        assert 0 <= record.skip_connections <= 8
    assert result.history[0].learning_rate == pytest.approx(0.025)
    assert result.history[1].learning_rate < 0.025
    assert (result.config.num_classes, result.config.in_channels, result.config.image_size) == (4, 1, (8, 8))
    assert result.best in (0, 1)
    assert "classifier.weight" in result.state_dict and "stem.bn.running_mean" in result.state_dict


def test_the_genotype_is_the_one_derived_from_the_last_alpha(tiny_result: SearchResult) -> None:
    last = {name: alpha[-1] for name, alpha in tiny_result.alphas.items()}
    assert pydarts.derive(last, tiny_result.config.resolved_space) == tiny_result.genotype


def test_the_weights_fit_the_supernet_of_the_config(tiny_result: SearchResult) -> None:
    net = pydarts.Supernet(config=tiny_result.config)
    net.load_state_dict(tiny_result.state_dict)
    assert all(torch.equal(value, tiny_result.state_dict[name]) for name, value in net.state_dict().items())


def test_a_search_learns() -> None:
    arrays = make_arrays(192)
    result = search(arrays, make_config(epochs=8, channels=4, weight_lr=0.1))
    assert result.history[-1].train_loss < 0.7 * result.history[0].train_loss
    assert result.history[-1].train_accuracy > 0.6


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    runs = [search(make_arrays(), make_config(seed=seed)).alphas["normal"] for seed in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_the_global_generators_are_left_alone() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(2), np.random.rand(2)
    torch.manual_seed(5)
    np.random.seed(5)
    search(make_arrays(), make_config(epochs=1))
    assert torch.equal(torch.rand(2), expected[0]) and np.array_equal(np.random.rand(2), expected[1])


@pytest.mark.parametrize("method", ["first_order", "unrolled", "unrolled_exact"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_method_runs_in_both_precisions(method: Any, precision: Any) -> None:
    result = search(make_arrays(32), make_config(hypergradient=method, precision=precision, epochs=1))
    assert result.alphas["reduce"].dtype == precision


@pytest.mark.parametrize(
    ("record", "steps"), [("epoch", (0, 3, 6)), ("step", (0, 1, 2, 3, 4, 5, 6)), (2, (0, 2, 3, 4, 6))]
)
def test_alpha_is_recorded_as_often_as_asked_and_at_every_epochs_end(
    record: Any, steps: tuple[int, ...]
) -> None:
    result = search(make_arrays(), make_config(record=record))
    assert result.steps == steps
    assert len(result.alphas["normal"]) == len(steps)


def test_alpha_rests_during_warm_up() -> None:
    listener = Listener()
    result = search(make_arrays(), make_config(arch_start_epoch=1), callbacks=listener)
    assert np.array_equal(result.alphas["normal"][0], result.alphas["normal"][1])
    assert not np.array_equal(result.alphas["normal"][1], result.alphas["normal"][2])
    assert [info.valid_loss is None for info in listener.steps] == [True] * 3 + [False] * 3


def test_augmentation_of_arrays_runs() -> None:
    X, y = make_arrays(channels=3)
    assert search((X, y), make_config(augment="cifar", cutout=3, epochs=1)).status == "complete"


# ---- loaders


@pytest.mark.parametrize(
    "loader",
    [
        make_arrays(),
        floats(),
        DataLoader(dataset(), batch_size=8, shuffle=True),
        (make_arrays(), make_arrays(seed=1)),
        (DataLoader(dataset(), batch_size=8), DataLoader(dataset(24), batch_size=8)),
        (floats(), DataLoader(dataset(24), batch_size=12)),
        (DataLoader(dataset(), batch_size=8), floats()),
        (batches(3), batches(2)),
        ([(x.numpy(), y.tolist()) for x, y in batches()], tuple(batches(3))),
    ],
    ids=[
        "numpy",
        "torch",
        "loader",
        "arrays x2",
        "loaders",
        "arrays+loader",
        "loader+arrays",
        "lists",
        "numpy lists",
    ],
)
def test_every_form_of_loader_searches(loader: Any) -> None:
    result = search(loader, make_config(epochs=1))
    assert result.status == "complete" and len(result.history) == 1


def test_a_loader_with_two_workers_searches_and_repeats() -> None:
    def run() -> Any:
        loader = DataLoader(dataset(), batch_size=8, shuffle=True, num_workers=2)
        return search(loader, make_config()).alphas["normal"]

    assert np.array_equal(run(), run())


def test_partial_last_batches_of_a_loader_are_used() -> None:
    listener = Listener()
    search(DataLoader(dataset(40), batch_size=8), make_config(epochs=1), callbacks=listener)
    assert [info.steps_per_epoch for info in listener.steps] == [3, 3, 3]


def test_a_validation_part_smaller_than_the_training_part_is_passed_over_again() -> None:
    assert len(search((batches(5), batches(1)), make_config(epochs=1)).history) == 1


def test_a_custom_loss_is_used() -> None:
    seen: list[tuple[torch.Size, torch.dtype]] = []

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append((logits.shape, targets.dtype))
        return torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.3)

    custom = search(make_arrays(), make_config(epochs=1), loss=loss)
    plain = search(make_arrays(), make_config(epochs=1))
    assert seen[0] == (torch.Size([8, 4]), torch.int64)
    assert not np.array_equal(custom.alphas["normal"][-1], plain.alphas["normal"][-1])


def test_cross_entropy_as_a_custom_loss_equals_the_default() -> None:
    custom = search(make_arrays(), make_config(precision="float64"), loss=torch.nn.functional.cross_entropy)
    plain = search(make_arrays(), make_config(precision="float64"))
    np.testing.assert_allclose(custom.alphas["normal"], plain.alphas["normal"], rtol=0, atol=1e-12)


# ---- callbacks


def test_callbacks_hear_every_step_every_epoch_and_the_end() -> None:
    listener = Listener()
    result = search(make_arrays(), make_config(record="step"), callbacks=[listener])
    assert [(info.epoch, info.step, info.step_in_epoch) for info in listener.steps] == [
        (0, 0, 0), (0, 1, 1), (0, 2, 2), (1, 3, 0), (1, 4, 1), (1, 5, 2),
    ]  # fmt: skip
    for info, alpha in zip(listener.steps, result.alphas["normal"][1:], strict=True):
        assert np.array_equal(info.alphas["normal"], alpha)
    assert [
        pydarts.EpochRecord(**{k: getattr(e, k) for k in vars(r)})
        for e, r in zip(listener.epochs, result.history, strict=True)
    ] == list(result.history)
    assert listener.epochs[-1].genotype == result.genotype
    assert listener.ends == [result]
    assert listener.starts == [StartInfo(result.config, first_epoch=0, steps_per_epoch=3)]


def test_a_search_that_goes_on_starts_where_it_stopped(tmp_path: Path) -> None:
    config = make_config(checkpoint_dir=str(tmp_path))
    search(make_arrays(), config)
    listener = Listener()
    with pytest.warns(UserWarning, match="epochs rises"):
        search(make_arrays(), config.replace(epochs=3, resume=True), callbacks=listener)
    search(make_arrays(), config.replace(epochs=3, resume=True), callbacks=listener)
    assert [info.first_epoch for info in listener.starts] == [2, 3]
    assert [info.epoch for info in listener.epochs] == [2]


def test_an_exception_at_the_start_comes_back_before_the_first_step() -> None:
    class Refuses(Callback):
        def on_start(self, info: StartInfo) -> None:
            raise LookupError("not here")

    listener = Listener()
    with pytest.raises(LookupError, match="not here") as caught:
        search(make_arrays(), make_config(), callbacks=[Refuses(), listener])
    result = caught.value.result  # type: ignore[attr-defined]
    assert result.status == "failed" and result.steps == (0,)
    assert not listener.steps and listener.ends == [result]


def test_the_alphas_of_a_callback_are_copies() -> None:
    class Vandal(Callback):
        def on_step(self, info: StepInfo) -> None:
            info.alphas["normal"][:] = 99

    assert np.abs(search(make_arrays(), make_config(), callbacks=Vandal()).alphas["normal"]).max() < 1


class Broken(Callback):
    def __init__(self, where: str, error: BaseException) -> None:
        self.where, self.error = where, error

    def on_step(self, info: StepInfo) -> None:
        if self.where == "step" and info.step == 4:
            raise self.error

    def on_epoch(self, info: EpochInfo) -> None:
        if self.where == "epoch":
            raise self.error

    def on_end(self, result: SearchResult) -> None:
        if self.where == "end":
            raise self.error


@pytest.mark.parametrize("where", ["step", "epoch", "end"])
def test_an_exception_of_a_callback_comes_back_as_it_is_with_the_partial_result(where: str) -> None:
    error, listener = LookupError("mine"), Listener()
    with pytest.raises(LookupError) as caught:
        search(make_arrays(), make_config(), callbacks=[Broken(where, error), listener])
    assert caught.value is error
    assert any(entry.name == f"on_{where}" for entry in caught.traceback)
    result = error.result  # type: ignore[attr-defined]
    assert result.status == ("complete" if where == "end" else "failed")
    assert len(result.history) == {"step": 1, "epoch": 1, "end": 2}[where]
    assert listener.ends == [result]
    if hasattr(error, "__notes__"):
        assert any("result" in note for note in error.__notes__)


def test_ctrl_c_in_a_callback_returns_the_partial_result() -> None:
    listener = Listener()
    result = search(make_arrays(), make_config(), callbacks=[Broken("step", KeyboardInterrupt()), listener])
    assert result.status == "interrupted"
    assert len(result.history) == 1
    assert result.steps[-1] == 5
    assert listener.ends == [result]


def test_what_is_no_callback_is_refused() -> None:
    for wrong, says in (
        ([print], "must be a pydarts.Callback, got a builtin_function"),
        (None, "got a NoneType"),
        (pydarts.LiveView, "call it: it is a class"),
    ):
        with pytest.raises(TypeError, match=says):
            search(make_arrays(), make_config(), callbacks=wrong)  # type: ignore[arg-type]


def test_what_is_no_loss_or_no_config_is_refused() -> None:
    with pytest.raises(TypeError, match="loss"):
        search(make_arrays(), make_config(), loss=3)  # type: ignore[arg-type]
    with pytest.raises(pydarts.ConfigError, match="SearchConfig"):
        search(make_arrays(), {"epochs": 3})  # type: ignore[arg-type]


def test_warnings_of_the_engine_are_python_warnings() -> None:
    with pytest.warns(UserWarning, match="threads"):
        Observers([], None, InterruptWatch(), make_config()).observe(
            "warning", '{"message": "another number of threads"}', None
        )


# ---- loaders that fail


class Failing:
    """Raises in the second pass, after one batch."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.passes = error, 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.passes += 1
        return self.read(self.passes)

    def read(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for position, batch in enumerate(batches()):
            if number == 3 and position == 1:  # pass 1 counts the classes
                raise self.error
            yield batch


def test_an_exception_of_the_loader_comes_back_as_it_is_with_the_partial_result() -> None:
    error = LookupError("disk on fire")
    with pytest.raises(LookupError) as caught:
        search((Failing(error), batches()), make_config())
    assert caught.value is error
    assert any(entry.name == "read" for entry in caught.traceback)
    result = error.result  # type: ignore[attr-defined]
    assert (result.status, len(result.history)) == ("failed", 1)
    assert result.steps[-1] == 4
    assert {name: alpha.shape[0] for name, alpha in result.alphas.items()} == {
        name: len(result.steps) for name in result.alphas
    }


def test_ctrl_c_in_the_loader_returns_the_partial_result() -> None:
    result = search((Failing(KeyboardInterrupt()), batches()), make_config())
    assert result.status == "interrupted"
    assert len(result.history) == 1
    result.genotype.validate(result.config.resolved_space)


class Slots(Exception):
    """An exception on which nothing can be hung."""

    @property
    def result(self) -> None:
        return None


def test_an_exception_that_takes_no_attribute_still_comes_back() -> None:
    with pytest.raises(Slots):
        search((Failing(Slots("x")), batches()), make_config())


def test_an_exception_of_the_loss_comes_back_as_it_is() -> None:
    calls: list[int] = []

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 5:
            raise LookupError("my loss")
        return torch.nn.functional.cross_entropy(logits, targets)

    with pytest.raises(LookupError, match="my loss") as caught:
        search(make_arrays(), make_config(), loss=loss)
    assert caught.value.result.status == "failed"  # type: ignore[attr-defined]


def test_a_worker_process_that_dies_is_an_exception_and_no_hang() -> None:
    loader = DataLoader(_Dying(), batch_size=8, num_workers=1)
    with pytest.raises(RuntimeError):
        search((loader, floats()), make_config(num_classes=4))


class _Dying(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        import os

        if index >= 24:
            os._exit(1)
        return torch.zeros(1, 8, 8), 0


def test_a_search_runs_from_another_thread() -> None:
    found: list[SearchResult] = []
    thread = threading.Thread(target=lambda: found.append(search(make_arrays(), make_config(epochs=1))))
    thread.start()
    thread.join(60)
    assert found[0].status == "complete"


# ---- progress


def test_the_progress_bar_shows_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    search(make_arrays(), make_config(progress=True))
    shown = capsys.readouterr().err
    for word in ("epoch 2/2", "6/6", "train ", "valid ", "acc ", "entropy ", "skips ", "<00:00"):
        assert word in shown, word


def test_the_progress_bar_copes_with_a_loader_of_unknown_length(capsys: pytest.CaptureFixture[str]) -> None:
    class Reiterable:
        def __iter__(self) -> Iterator[Any]:
            return iter(batches())

    search((Reiterable(), Reiterable()), make_config(progress=True))
    assert "6/6" in capsys.readouterr().err


def test_without_progress_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(make_arrays(), make_config())
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


# ---- the passes


def test_five_epochs_on_digits_are_the_same_with_passes_on_and_off() -> None:
    X, y = pydarts.datasets.digits()
    config = make_config(
        operations=None, epochs=5, batch_size=64, precision="float64", record="step", tune="off"
    )
    on, off = (search((X, y), config.replace(passes=passes)) for passes in (None, ()))
    assert on.genotype == off.genotype
    assert on.alphas.keys() == off.alphas.keys() == {"normal", "reduce"}
    for name, alpha in on.alphas.items():
        assert alpha.dtype == np.float64 and len(alpha) == 5 * (len(X) // 2 // 64) + 1
        assert np.abs(alpha - off.alphas[name]).max() < 1e-8
        assert np.abs(alpha[-1] - alpha[0]).max() > 1e-3, "α moved"
