"""What a search tells: its callbacks, whatever they raise, its warnings and its progress."""

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from conftest import make_arrays, make_config
from pydarts import Callback, EpochInfo, SearchResult, StartInfo, StepInfo, search
from pydarts._data.interrupt import InterruptWatch
from pydarts._search.observers import Observers
from searches import Listener, batches


class OnlyEpochs(Callback):
    def on_epoch(self, info: EpochInfo) -> None:
        pass


class OnlySteps(Callback):
    def on_step(self, info: StepInfo) -> None:
        pass


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
    with pytest.warns(UserWarning, match="epochs"):
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
        ([print], r"pydarts\.Callback.*builtin_function"),
        (None, "NoneType"),
        (pydarts.LiveView, "class"),
    ):
        with pytest.raises(TypeError, match=says):
            search(make_arrays(), make_config(), callbacks=wrong)  # type: ignore[arg-type]


def test_warnings_of_the_engine_are_python_warnings() -> None:
    with pytest.warns(UserWarning, match="threads"):
        Observers([], None, InterruptWatch(), make_config()).observe(
            "warning", {"message": "another number of threads"}, None
        )


@pytest.mark.parametrize(
    ("callbacks", "expected"),
    [
        ([], {}),
        ([Callback()], {}),
        ([OnlyEpochs()], {"epoch": 2}),
        ([OnlySteps(), OnlyEpochs()], {"step": 6, "epoch": 2}),
    ],
)
def test_the_engine_serialises_only_events_that_a_callback_overrides(
    callbacks: list[Callback], expected: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    received: Counter[str] = Counter()
    observe = Observers.observe

    def counting(self: Observers, kind: str, payload: Any, alphas: Any, strengths: Any) -> None:
        received[kind] += 1
        observe(self, kind, payload, alphas, strengths)

    monkeypatch.setattr(Observers, "observe", counting)
    search(make_arrays(), make_config(progress=False), callbacks=callbacks)
    assert received == expected


def test_a_method_assigned_to_a_callback_is_called() -> None:
    callback, steps = Callback(), list[int]()
    callback.on_step = lambda info: steps.append(info.step)  # type: ignore[method-assign]
    search(make_arrays(), make_config(progress=False), callbacks=callback)
    assert steps == list(range(6))


def test_hooks_that_are_assigned_during_a_search_are_called() -> None:
    class Late(Callback):
        def __init__(self) -> None:
            self.called: list[tuple[str, int]] = []

        def on_start(self, info: StartInfo) -> None:
            self.on_step = self.first_step  # type: ignore[method-assign]

        def first_step(self, info: StepInfo) -> None:
            self.called.append(("step", info.step))
            self.on_epoch = lambda info: self.called.append(("epoch", info.epoch))  # type: ignore[method-assign]

    late = Late()
    search(make_arrays(), make_config(), callbacks=late)
    assert Counter(kind for kind, _ in late.called) == {"step": 6, "epoch": 2}
    assert late.called[3] == ("epoch", 0)


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


def test_a_hook_that_nobody_calls_is_told() -> None:
    class Misspelt(pydarts.Callback):
        def on_epoch_end(self, info: pydarts.EpochInfo) -> None: ...
        def on_begin(self, info: pydarts.StartInfo) -> None: ...

    with (
        pytest.warns(UserWarning, match=r"(?=.*Misspelt)(?=.*on_epoch_end).*on_epoch\b"),
        pytest.warns(UserWarning, match=r"Misspelt.on_begin"),
    ):
        pydarts.search(make_arrays(), make_config(epochs=1), Misspelt())


def test_a_view_of_searches_is_none_of_trainings() -> None:
    net = pydarts.build(pydarts.genotypes.DARTS_V2, channels=2, layers=3, num_classes=4, in_channels=1)
    with pytest.raises(TypeError, match=r"pydarts\.TrainCallback"):
        pydarts.train(net, make_arrays(), callbacks=pydarts.LiveView())  # type: ignore[arg-type]
