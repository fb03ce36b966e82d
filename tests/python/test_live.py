"""`LiveView`: what it shows in a log, what it costs and takes; that it breaks nothing."""

import io
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import Stop, make_arrays, make_config
from pydarts import Callback, LiveView, StepInfo, search
from pydarts._show.live import terminal
from pydarts._show.live.budget import TimeBudget
from rich.console import Console
from scenes import alphas_of, on_screen, scene_of, text_of

# ---- in a log


@pytest.mark.parametrize("environment", [{}, {"TERM": "dumb", "FORCE_COLOR": "1"}], ids=["file", "dumb"])
def test_without_a_terminal_an_epoch_is_a_line(environment: dict[str, str]) -> None:
    text = io.StringIO()
    console = Console(file=text, width=40, _environ=environment)
    result = search(make_arrays(), make_config(epochs=3), LiveView(console=console))
    lines = text.getvalue().splitlines()
    assert len(lines) == 4
    for number, (line, record) in enumerate(zip(lines, result.history, strict=False), 1):
        assert line.startswith(f"epoch {number}/3, ")
        assert f"train {record.train_loss:.3f}, valid {record.valid_loss:.3f}, acc " in line
        assert f"skips {record.skip_connections}" in line
    assert lines[-1].startswith("complete after 3 epochs") and str(result.genotype) in lines[-1]


def test_of_words_a_line_tells_the_perplexity() -> None:
    text = io.StringIO()
    tokens = np.arange(400) % 7
    config = pydarts.SearchConfig(
        space="darts-rnn", nodes=3, units=8, batch_size=4, bptt=10, epochs=1, device="cpu", progress=False
    )
    result = search((tokens, tokens[:200]), config, LiveView(console=Console(file=text)))
    assert f"perplexity {result.history[0].train_perplexity:.0f}/" in text.getvalue()


# ---- what it costs


@pytest.mark.parametrize(("cost", "seconds"), [(0.001, 5.0), (0.05, 60.0), (0.4, 300.0), (2.0, 4000.0)])
def test_pictures_take_no_more_than_their_share(cost: float, seconds: float) -> None:
    now, spent, drawn = 0.0, 0.0, []
    budget = TimeBudget(0.01, clock=lambda: now, guess=cost)
    while now < seconds:
        now += seconds / 5000
        if budget.due():
            with budget.drawing():
                now += cost
            spent += cost
            drawn.append(now)
            assert spent <= 0.01 * now + cost
    assert spent + cost <= 0.01 * now, "the last picture is within the share too"
    assert len(drawn) > 0.4 * 0.01 * seconds / cost - 2, "and the share is used"


def test_the_view_says_what_it_took(tiny_result: pydarts.SearchResult) -> None:
    view = LiveView(console=on_screen(), where="terminal")
    begun = time.perf_counter()
    search(make_arrays(), make_config(), view)
    assert 0 < view.seconds < time.perf_counter() - begun


def test_alpha_is_kept_at_so_many_points_and_at_the_last_step() -> None:
    scene = scene_of(steps=1000, per_epoch=100)
    path = scene.trajectory
    assert path is not None
    assert 40 <= len(path) <= 97
    assert path.steps[-1] == 1000
    assert len(set(np.diff(path.steps[:-1]))) == 1
    assert np.array_equal(path.alphas["reduce"][-1], alphas_of(scene.space, 999)["reduce"])
    assert path.time[1] == "step"
    steps, train, valid = scene.losses
    length = np.diff([0, *steps])
    assert np.average(train, weights=length) == pytest.approx(np.mean([2.0 - k / 1000 for k in range(1000)]))
    assert np.allclose(np.array(valid) - train, 0.5)


# ---- it breaks nothing


def test_the_search_is_the_same_with_it(tiny_result: pydarts.SearchResult) -> None:
    seen = search(make_arrays(), make_config(), LiveView(console=on_screen(), where="terminal"))
    for name, alpha in tiny_result.alphas.items():
        assert np.array_equal(alpha, seen.alphas[name])


def test_an_interrupted_search_leaves_a_last_picture() -> None:
    console = on_screen()
    view = LiveView(console=console, where="terminal")
    result = search(make_arrays(), make_config(), [Stop(KeyboardInterrupt()), view])
    assert result.status == "interrupted"
    assert re.search(r"interrupted after \d+ steps \(1 epoch\),", text_of(console))
    assert "\x1b[?25h" in console.file.getvalue(), "the cursor is back"  # type: ignore[attr-defined]


def test_a_failed_search_leaves_a_last_picture() -> None:
    console = on_screen()
    with pytest.raises(LookupError):
        search(
            make_arrays(), make_config(), [LiveView(console=console, where="terminal"), Stop(LookupError())]
        )
    assert re.search(r"failed after \d+ steps \(1 epoch\),", text_of(console))
    assert "\x1b[?25h" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_end_within_the_first_epoch_is_told_by_its_step() -> None:
    console = on_screen()
    search(
        make_arrays(),
        make_config(),
        [LiveView(console=console, where="terminal"), Stop(KeyboardInterrupt(), 0)],
    )
    assert "interrupted after 1 step," in text_of(console)


def test_a_picture_that_cannot_be_drawn_is_a_warning_and_the_search_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[int] = []

    def broken(*_: Any) -> Any:
        drawn.append(1)
        raise ZeroDivisionError("no picture")

    monkeypatch.setattr(terminal, "picture", broken)
    console = on_screen()
    with pytest.warns(RuntimeWarning, match="LiveView.*ZeroDivisionError.*no picture"):
        result = search(make_arrays(), make_config(), LiveView(console=console, where="terminal"))
    assert result.status == "complete" and len(drawn) == 1
    assert "\x1b[?25h" in console.file.getvalue()  # type: ignore[attr-defined]


def test_one_view_serves_one_search_after_the_other() -> None:
    text = io.StringIO()
    view = LiveView(console=Console(file=text))
    for _ in range(2):
        search(make_arrays(), make_config(epochs=1), view)
    assert text.getvalue().count("epoch 1/1") == 2 and text.getvalue().count("complete after 1 epoch,") == 2


def test_a_search_that_goes_on_shows_at_the_end_what_came_before(tmp_path: Path) -> None:
    config = make_config(epochs=2, checkpoint_dir=str(tmp_path))
    search(make_arrays(), config)
    text, view = io.StringIO(), LiveView(console=on_screen(), where="terminal")
    lines = LiveView(console=Console(file=text))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # epochs rises
        result = search(make_arrays(), config.replace(epochs=3, resume=True), [view, lines])
    assert text.getvalue().startswith("epoch 3/3")
    scene = view._scene
    assert scene is not None and scene.history == result.history and len(scene.history) == 3
    path = scene.trajectory
    assert path is not None and list(path.steps) == [0, 3, 6, 7, 8, 9]
    assert np.array_equal(path.alphas["normal"][[0, 1, 2, -1]], result.alphas["normal"])


def test_a_search_that_was_finished_shows_its_result(tmp_path: Path) -> None:
    config = make_config(epochs=2, checkpoint_dir=str(tmp_path))
    search(make_arrays(), config)
    console = on_screen()
    search(make_arrays(), config.replace(resume=True), LiveView(console=console, where="terminal"))
    shown = text_of(console)
    assert "complete after 2 epochs" in shown and "cₖ₋₂→2•" in shown


def test_a_loader_of_unknown_length_has_a_bar_from_the_second_epoch() -> None:
    class Reiterable:
        def __iter__(self) -> Iterator[Any]:
            X, y = make_arrays(24)
            x, labels = torch.from_numpy(X).float() / 255, torch.from_numpy(y)
            return iter([(x[i : i + 8], labels[i : i + 8]) for i in (0, 8, 16)])

    totals: list[int | None] = []
    view = LiveView(console=on_screen(), where="terminal")

    class Look(Callback):
        def on_step(self, info: StepInfo) -> None:
            totals.append(None if view._scene is None else view._scene.total)

    search((Reiterable(), Reiterable()), make_config(), [view, Look()])
    assert totals == [None] * 3 + [6] * 3


# ---- what it takes


@pytest.mark.parametrize("share", [-0.1, 1.0, "much", True, float("nan")])
def test_a_share_that_is_none_is_refused(share: Any) -> None:
    with pytest.raises(pydarts.ConfigError, match="share"):
        LiveView(share=share)


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(pydarts.ConfigError, match=r"notebook.*terminal.*lines"):
        LiveView(where="web")  # type: ignore[arg-type]
