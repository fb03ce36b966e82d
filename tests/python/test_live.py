"""`LiveView`: what it shows in a terminal, a notebook and a log, what it costs; that it breaks nothing."""

import base64
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import Stop, make_arrays, make_config
from matplotlib import image
from pydarts import Callback, EpochInfo, LiveView, StartInfo, StepInfo, search
from pydarts._live import terminal
from pydarts._live.notebook import NotebookView
from pydarts._live.pace import Pace
from pydarts._live.scene import Scene
from pydarts._live.terminal import TerminalView, picture
from pydarts._progress import Progress
from rich.console import Console


def on_screen(width: int = 100, height: int = 40) -> Console:
    """A console that takes itself for a terminal and keeps what it was given."""
    return Console(
        file=io.StringIO(), force_terminal=True, color_system="truecolor", record=True, width=width,
        height=height, _environ={},
    )  # fmt: skip


def text_of(console: Console) -> str:
    """What was printed, without colours and movements of the cursor."""
    return console.export_text(clear=False)


def alphas_of(space: pydarts.Space, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shape = len(space.edges), len(space.operations)
    return {name: rng.normal(size=shape) for name in space.tables}


def scene_of(space: str = "darts", steps: int = 30, per_epoch: int = 10, **sizes: Any) -> Scene:
    """A scene after some made-up steps."""
    config = pydarts.SearchConfig(space=space, epochs=5, **sizes)
    cells = config.resolved_space
    scene = Scene(StartInfo(config, 0, per_epoch))
    for step in range(steps):
        alphas = alphas_of(cells, step)
        loss = 2.0 - step / steps
        epoch, at = divmod(step, per_epoch)
        scene.step(StepInfo(epoch, step, at, per_epoch, loss, loss + 0.5, 0.5, 0.025, alphas))
        if at == per_epoch - 1:
            genotype = pydarts.derive(alphas, cells)
            entropy = dict.fromkeys(cells.tables, 1.0)
            scene.epoch(EpochInfo(epoch, loss, loss, 0.5, 0.4, 0.025, entropy, 1, 1.0, genotype, alphas))
    return scene


# ---- in a terminal


def test_a_terminal_shows_edges_curves_and_the_genotype_of_the_search() -> None:
    console = on_screen()
    result = search(make_arrays(), make_config(), LiveView(console=console, where="terminal"))
    shown = text_of(console)
    last = shown[shown.rindex("complete after 2 epochs") :]
    for word in ("train loss", "valid acc.", "entropy", "skips", "normal", "reduce", "c_{k-2}→0", "0→1"):
        assert word in last, word
    assert str(result.genotype) in " ".join(last.split()).replace("( ", "(")


@pytest.mark.parametrize("space", ["darts", "darts-rnn"])
def test_the_marked_edges_and_their_operations_are_the_genotype(space: str) -> None:
    scene = scene_of(space)
    console = on_screen(120, 60)
    console.print(picture(scene, 120, 60))
    row = re.compile(r"(\S+)→(\d)•[▁-█]+ (\w+)")
    found = sorted((operation, source) for source, _, operation in row.findall(text_of(console)))
    names = (
        {0: "s_0"}
        if space == "darts-rnn"
        else {0: "c_{k-2}", 1: "c_{k-1}"} | {n: str(n - 2) for n in (2, 3, 4)}
    )
    genotype = scene.genotype
    assert genotype is not None
    genes = (*genotype.normal, *genotype.reduce, *genotype.recurrent)
    assert found == sorted((operation, names.get(source, str(source))) for operation, source in genes)


def test_the_bars_are_as_high_as_the_weights() -> None:
    scene = scene_of(steps=1)
    space = scene.space
    alphas = {name: np.zeros((len(space.edges), len(space.operations))) for name in space.tables}
    alphas["normal"][0, 3] = 3.0
    scene.step(StepInfo(0, 1, 1, 10, 1.0, 1.0, 0.5, 0.025, alphas))
    console = on_screen(120, 60)
    console.print(picture(scene, 120, 60))
    line = next(line for line in text_of(console).splitlines() if line.startswith("c_{k-2}→0"))
    bars = re.search(r"•([▁-█]+) skip_connect \.7416", line)
    assert bars is not None and bars.group(1)[6:8] == "██"
    assert max(bars.group(1)[:6] + bars.group(1)[8:]) < "▃"


@pytest.mark.parametrize("space", ["darts", "darts-rnn"])
@pytest.mark.parametrize("size", [(20, 6), (40, 12), (60, 16), (80, 24), (100, 30), (200, 60)])
def test_the_picture_fits_into_the_terminal(space: str, size: tuple[int, int]) -> None:
    width, height = size
    console = on_screen(width, height)
    console.print(picture(scene_of(space), width, height - 1))
    lines = text_of(console).splitlines()
    assert len(lines) < height
    assert max(map(len, lines)) <= width


def test_a_small_terminal_shows_the_edges_that_are_kept() -> None:
    console = on_screen(80, 16)
    console.print(picture(scene_of(), 80, 15))
    edges = [line for line in text_of(console).splitlines() if "→" in line]
    assert len(edges) == 8 and all(line.count("•") == 2 for line in edges)


def test_the_progress_bar_stays_away_and_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config(progress=True)
    search(make_arrays(), config, LiveView(console=on_screen()))
    assert capsys.readouterr().err == ""
    search(make_arrays(), config, Stop(LookupError(), step=99))
    assert "step/s" in capsys.readouterr().err


def test_the_tuning_of_forms_has_its_bar_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(pydarts.Space(), steps=False)
    progress.tuning("a site", 1, 2)
    assert "tuning" in capsys.readouterr().err
    progress.begin(2, 0, 3)
    capsys.readouterr()
    progress.step(StepInfo(0, 0, 0, 3, 1.0, 1.0, 0.5, 0.025, alphas_of(pydarts.Space(), 0)))
    progress.close()
    assert capsys.readouterr().err == ""


def test_what_is_printed_meanwhile_stands_above_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    class Print(Callback):
        def on_epoch(self, info: EpochInfo) -> None:
            print(f"epoch {info.epoch} said")

    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        console = on_screen()
        search(make_arrays(), make_config(), [LiveView(console=console, where="terminal"), Print()])
    shown = text_of(console)
    assert shown.index("epoch 1 said") < shown.rindex("complete after 2 epochs")
    assert sys.stdout is not None and "rich" not in type(sys.stdout).__module__


def test_what_is_printed_into_a_file_goes_there(capsys: pytest.CaptureFixture[str]) -> None:
    class Print(Callback):
        def on_epoch(self, info: EpochInfo) -> None:
            print(f"epoch {info.epoch} said")

    console = on_screen()
    search(make_arrays(), make_config(), [LiveView(console=console, where="terminal"), Print()])
    assert capsys.readouterr().out == "epoch 0 said\nepoch 1 said\n"
    assert "said" not in text_of(console)


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
    pace = Pace(0.01, clock=lambda: now, guess=cost)
    while now < seconds:
        now += seconds / 5000
        if pace.due():
            with pace.drawing():
                now += cost
            spent += cost
            drawn.append(now)
            assert spent <= 0.01 * now + cost
    assert spent + cost <= 0.01 * now, "the last picture is within the share too"
    assert len(drawn) > 0.4 * 0.01 * seconds / cost - 2, "and the share is used"


def test_the_view_says_what_it_took(tiny_result: pydarts.SearchResult) -> None:
    view = LiveView(console=on_screen(), where="terminal")
    search(make_arrays(), make_config(), view)
    assert 0 < view.seconds < 5


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
    assert "interrupted after 1 epoch," in text_of(console)
    assert "\x1b[?25h" in console.file.getvalue(), "the cursor is back"  # type: ignore[attr-defined]


def test_a_failed_search_leaves_a_last_picture() -> None:
    console = on_screen()
    with pytest.raises(LookupError):
        search(
            make_arrays(), make_config(), [LiveView(console=console, where="terminal"), Stop(LookupError())]
        )
    assert "failed after 1 epoch," in text_of(console)
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
    with pytest.warns(RuntimeWarning, match=r"LiveView has stopped .* ZeroDivisionError\('no picture'\)"):
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
    assert "complete after 2 epochs" in shown and "c_{k-2}→0•" in shown


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


# ---- in a notebook


class Shown:
    """Stands in for IPython's `display`: keeps what every place was given."""

    def __init__(self) -> None:
        self.places: dict[str, list[dict[str, Any]]] = {}

    def __call__(self, data: dict[str, Any], /, *, raw: bool, display_id: str, update: bool) -> None:
        assert raw and update == (display_id in self.places)
        self.places.setdefault(display_id, []).append(data)

    def pictures(self) -> list[list[Any]]:
        """Of every place of pictures, the pixels."""
        return [
            [image.imread(io.BytesIO(base64.b64decode(data["image/png"]))) for data in place]
            for place in self.places.values()
            if "image/png" in place[0]
        ]


@pytest.mark.parametrize("space", ["darts", "darts-rnn"])
def test_a_notebook_has_a_line_a_picture_that_moves_and_the_cell(space: str) -> None:
    shown = Shown()
    view = NotebookView(shown, share=0.0)
    for steps in (4, 25):
        view.draw(scene_of(space, steps=steps), last=True)
    line, moving, cells = shown.places.values()
    assert "epoch 1/5" in line[0]["text/plain"] and "<progress" in line[0]["text/html"]
    assert len(moving) == len(cells) == 2
    assert cells[1]["text/plain"].startswith("Genotype(")
    (before, after), _ = shown.pictures()
    assert before.shape == after.shape and np.abs(before - after).max() > 0.5
    for colored in (before, after):
        assert (np.ptp(colored[..., :3], axis=-1) > 0.3).mean() > 0.005, "lines in colour"


def test_the_cell_is_drawn_anew_only_where_it_has_changed() -> None:
    shown = Shown()
    view = NotebookView(shown, share=0.0)
    scene = scene_of(steps=12)
    view.draw(scene, last=True)
    view.draw(scene, last=True)
    assert [len(place) for place in shown.places.values()] == [2, 2, 1]


def test_a_notebook_without_time_for_pictures_has_the_last_ones() -> None:
    shown = Shown()
    view = NotebookView(shown, share=1e-9)
    scene = scene_of(steps=3)
    for _ in range(5):
        view.draw(scene)
    assert not shown.pictures()
    view.draw(scene, last=True)
    assert [len(place) for place in shown.pictures()] == [1, 1]


CELLS = """
import sys; sys.path.insert(0, {here!r})
import pydarts
from conftest import Stop, make_arrays, make_config
from test_live import Stop
result = pydarts.search(make_arrays(), make_config(progress=True), pydarts.LiveView(share=0.5))
""", """
view = pydarts.LiveView()
result = pydarts.search(make_arrays(), make_config(), [view, Stop(KeyboardInterrupt())])
"""  # fmt: skip


def test_a_notebook_keeps_the_last_pictures_in_place() -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    here = str(Path(__file__).parent)
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(code.replace("{here!r}", repr(here))) for code in CELLS]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "JUPYTER_PLATFORM_DIRS": "1"}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute(env=environment)
    for cell, status in zip(notebook.cells, ("complete after 2", "interrupted after 1"), strict=True):
        kinds = [sorted(output.get("data", {output.output_type: ""})) for output in cell.outputs]
        assert kinds == [["text/html", "text/plain"], *[["image/png", "text/plain"]] * 2], kinds
        assert status in cell.outputs[0].data["text/html"]
        for output in cell.outputs[1:]:
            assert image.imread(io.BytesIO(base64.b64decode(output.data["image/png"]))).shape[1] > 400


# ---- what it takes


@pytest.mark.parametrize("share", [-0.1, 1.0, "much", True, float("nan")])
def test_a_share_that_is_none_is_refused(share: Any) -> None:
    with pytest.raises(pydarts.ConfigError, match="share is"):
        LiveView(share=share)


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(pydarts.ConfigError, match="notebook, terminal, lines"):
        LiveView(where="web")  # type: ignore[arg-type]


def test_a_notebook_without_ipython_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(ImportError, match="pip install ipykernel"):
        LiveView(where="notebook")


def test_a_terminal_view_that_never_drew_closes() -> None:
    TerminalView(on_screen(), 0.01).close()
