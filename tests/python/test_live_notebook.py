"""`LiveView` in a notebook: a line, a picture that moves and the cell, each in its place."""

import base64
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image
from pydarts import LiveView
from pydarts._show.live.notebook import NotebookView
from scenes import scene_of


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
    for cell, status in zip(notebook.cells, ("complete after 2", "interrupted after"), strict=True):
        kinds = [sorted(output.get("data", {output.output_type: ""})) for output in cell.outputs]
        assert kinds == [["text/html", "text/plain"], *[["image/png", "text/plain"]] * 2], kinds
        assert status in cell.outputs[0].data["text/html"]
        for output in cell.outputs[1:]:
            assert image.imread(io.BytesIO(base64.b64decode(output.data["image/png"]))).shape[1] > 400


def test_a_notebook_without_ipython_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(ImportError, match="pip install ipykernel"):
        LiveView(where="notebook")
