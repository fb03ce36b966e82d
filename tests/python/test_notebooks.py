"""The notebooks run from a clean kernel, and are kept with the outputs of such a run."""

from __future__ import annotations

import doctest
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks_execute", FOLDER / "execute.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


execute = load()


def kinds(cell: Any) -> set[str]:
    """What a cell's outputs are: streams by name, else by their form."""
    return {
        kind
        for output in cell.outputs
        for kind in ([output["name"]] if "name" in output else output.get("data", ["error"]))
    }


SHORT = ("02",)  # the others take longer, and run in `make test-long`


@pytest.mark.first
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[] if path.stem.startswith(SHORT) else [pytest.mark.long])
        for path in execute.notebooks()
    ],
)
def test_a_notebook_runs_from_a_clean_kernel(path: Path, tmp_path: Path) -> None:
    kept = path.read_bytes()
    notebook = execute.execute(path, tmp_path)
    assert execute.complaints(notebook) == []
    committed = nbformat.read(path, as_version=4)
    for there, here in zip(committed.cells, notebook.cells, strict=True):
        if here.cell_type == "code":
            assert kinds(there) == kinds(here), f"{here.id}: run `make notebooks` and commit the outputs"
    assert path.read_bytes() == kept


@pytest.mark.parametrize("path", execute.notebooks(), ids=lambda path: path.stem)
def test_a_notebook_is_kept_as_it_was_executed(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert execute.complaints(notebook) == []
    assert nbformat.writes(execute.normalized(notebook)) + "\n" == path.read_text(encoding="utf-8")


def write(path: Path, *cells: Any) -> Path:
    nbformat.write(new_notebook(cells=list(cells), metadata={"author": "somebody"}), path)
    return path


def test_a_run_starts_clean_in_its_own_folder_and_leaves_no_trace_of_the_machine(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "Path('left.txt').write_text('here')\n"
        "print(os.environ['OMP_NUM_THREADS'], sys.flags.interactive)\n"
        "print('to be joined')"
    )
    made = new_code_cell(code, metadata={"execution": {"shell.execute_reply": "2020-01-01T00:00:00Z"}})
    path = write(tmp_path / "00_x.ipynb", new_markdown_cell("# Title\n\n**Why?**"), made)
    path.parent.joinpath("elsewhere").mkdir()
    notebook = execute.execute(path, tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "left.txt").read_text() == "here"
    assert notebook.cells[1].outputs[0].text == "1 0\nto be joined\n"
    assert sorted(notebook.metadata) == ["kernelspec", "language_info"]
    assert [cell.id for cell in notebook.cells] == ["cell-00", "cell-01"]
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert execute.complaints(notebook) == ["there is no picture"]


def test_a_cell_that_raises_stops_the_run(tmp_path: Path) -> None:
    path = write(tmp_path / "00_x.ipynb", new_code_cell("1 / 0"))
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute.execute(path, tmp_path)


def finished(*outputs: Any, title: str = "# Title\n\n**Why?**", count: int = 1) -> Any:
    picture = new_output("display_data", data={"image/png": "aGVsbG8="})
    code = new_code_cell("pass", outputs=[picture, *outputs], execution_count=count)
    return execute.normalized(new_notebook(cells=[new_markdown_cell(title), code]))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (lambda: finished(title="Title\n\n**Why?**"), "title"),
        (lambda: finished(title="# Title"), "0"),
        (lambda: finished(title="# Title\n\n**Why?** **And how?**"), "2"),
        (lambda: finished(count=3), "executed"),
        (lambda: finished(new_output("stream", name="stderr", text="UserWarning: no")), "stderr"),
        (lambda: finished(new_output("error", ename="KeyError", evalue="'x'")), "KeyError"),
        (lambda: finished(new_output("stream", name="stdout", text="in /home/me/x")), "'/home/me/x'"),
        pytest.param(
            lambda: finished(new_output("display_data", data={"text/html": f"<p>{FOLDER}</p>"})),
            str(FOLDER),
            id="the folder of the notebooks",
        ),
        (lambda: finished(new_output("display_data", data={"image/png": "A" * 700_000})), "bytes"),
    ],
)
def test_what_is_wrong_with_a_notebook_is_said(wrong: Any, complaint: str) -> None:
    (said,) = execute.complaints(wrong())
    assert complaint in said


def test_the_example_of_what_is_a_place_of_the_machine_holds() -> None:
    assert doctest.testmod(execute).failed == 0


def test_a_notebook_with_nothing_wrong_has_no_complaint() -> None:
    ordinary = "2/3 of it; see https://example.org/home/x, a/tmp/b, c_{k-2}/c_{k-1}"
    assert execute.complaints(finished(new_output("stream", name="stdout", text=ordinary))) == []


def test_the_command_executes_in_place_and_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(
        tmp_path / "00_x.ipynb", new_markdown_cell("# T\n\n**Why?**"), new_code_cell("print('done')")
    )
    bad = write(tmp_path / "01_y.ipynb", new_code_cell("1 / 0"))
    before = bad.read_bytes()
    monkeypatch.setattr(execute, "HERE", tmp_path)
    assert execute.main([]) == 1
    assert nbformat.read(good, as_version=4).cells[1].outputs[0].text == "done\n"
    assert bad.read_bytes() == before
    printed = capsys.readouterr()
    assert "00_x.ipynb" in printed.err and "01_y.ipynb" in printed.err
    assert "00_x.ipynb:" in printed.out and "bytes" in printed.out
    with pytest.raises(SystemExit):
        execute.main(["07"])
