"""Executes the notebooks from a clean kernel and keeps them fit for git.

`python notebooks/execute.py [NAME ...]`: those whose file names begin so, in place; without a name all.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
SECONDS = 600  # that a cell may take
LARGEST = 600_000  # bytes of a notebook with its outputs


def notebooks() -> list[Path]:
    """All notebooks, in the order of their numbers."""
    return sorted(HERE.glob("[0-9][0-9]_*.ipynb"))


def execute(path: Path, folder: Path) -> NotebookNode:
    """The notebook with the outputs of a kernel of its own, started in `folder`, as it is kept in git.

    The kernel computes on one thread, for the same numbers whatever the machine has, and knows nothing of the
    user's settings of IPython or of what earlier searches measured.

    Raises:
        CellExecutionError: a cell raised an exception.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # else it warns that it is reached over TCP
    )
    own = {
        "OMP_NUM_THREADS": "1",
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    client.execute(env=os.environ | own)
    return normalized(notebook)


def normalized(notebook: NotebookNode) -> NotebookNode:
    """The notebook without what differs from one execution or editor to the next; changed in place."""
    notebook.nbformat_minor = 5
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata = nbformat.from_dict({})
    nbformat.validate(notebook)
    return notebook


def complaints(notebook: NotebookNode) -> list[str]:
    """What is wrong with an executed notebook; empty where nothing is."""
    found = []
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not re.match(r"# \S", first.source):
        found.append("the first cell must be a title, `# ...`")
    questions = re.findall(r"\*\*[^*]+\?\*\*", first.source)
    if len(questions) != 1:
        found.append(f"the first cell must ask one question, `**...?**`; it asks {len(questions)}")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("the cells were not executed once each, from the first to the last")
    outputs = [(cell.id, output) for cell in code for output in cell.outputs]
    for where, output in outputs:
        if output.output_type == "error":
            found.append(f"{where} ended with {output.ename}: {output.evalue}")
        if output.get("name") == "stderr":
            found.append(f"{where} wrote to stderr: {output.text[:300]!r}")
        for text in texts_of(output):
            for place in machine_places(text):
                found.append(f"{where} shows a place of this machine: {place!r}")
    if not any("image/png" in output.get("data", {}) for _, output in outputs):
        found.append("there is no picture")
    size = len(nbformat.writes(notebook).encode())
    if size > LARGEST:
        found.append(
            f"with its outputs it has {size:,} bytes; at most {LARGEST:,}: fewer or smaller pictures"
        )
    return found


def texts_of(output: NotebookNode) -> list[str]:
    """What an output says in words; bitmaps say nothing."""
    data: dict[str, Any] = output.get("data", {})
    texts = [value for kind, value in data.items() if kind not in ("image/png", "image/jpeg", "image/gif")]
    return [text if isinstance(text, str) else str(text) for text in (*texts, output.get("text", ""))]


def machine_places(text: str) -> list[str]:
    """Paths that only the machine has on which a text was made.

    >>> machine_places("kept in /tmp/tmpk3/run, seen in a/b and at https://a.b/home/c")
    ['/tmp/tmpk3/run']
    """
    known = {str(Path.home()), str(HERE.parent), sys.prefix, tempfile.gettempdir()} - {"/"}
    roots = "|".join(re.escape(root) for root in sorted(known, key=len, reverse=True))
    absolute = r"/(?:home|root|tmp|usr|opt|var|mnt|work|Users)/|[A-Z]:\\"
    place = rf"(?<![\w.<-])(?:{roots}|{absolute})[^\s'\"<>,;)]*"
    return [found.group() for found in re.finditer(place, text)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute in place; 1 where one of them could not be, or has something wrong with it."""
    parser = argparse.ArgumentParser(prog="python notebooks/execute.py", description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of file names, as 00; none: all notebooks")
    given = parser.parse_args(arguments)
    chosen = [path for path in notebooks() if not given.names or path.name.startswith(tuple(given.names))]
    if not chosen:
        parser.error(f"no notebook begins with {', '.join(given.names)}")
    failed = False
    for path in chosen:
        begun = time.perf_counter()
        try:
            with tempfile.TemporaryDirectory() as folder:
                notebook = execute(path, Path(folder))
        except CellExecutionError as error:
            print(f"{path.name}: {error}\n{path.name} is left as it was", file=sys.stderr)
            failed = True
            continue
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - begun:.1f} s, {path.stat().st_size:,} bytes", flush=True)
        for complaint in complaints(notebook):
            print(f"{path.name}: {complaint}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
