"""Draw the pictures of docs/guide/own-networks.md and docs/gallery.md: `python docs/gallery.py [NAME …]`."""

from __future__ import annotations

import ast
import io
import os
import re
import runpy
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pydarts
import torch
from PIL import Image
from pydarts._show.live.notebook import moving
from pydarts._show.live.scene import Scene
from pydarts._show.live.terminal import picture
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
EXAMPLES = ("series", "table", "forecast", "segment", "transformer", "operation")
LOOK: Any = {"savefig.dpi": 80, "savefig.bbox": "tight", "figure.figsize": (8, 3.6), "lines.linewidth": 1}
DPI = 110  # of the pictures of docs/gallery.md
COLUMNS = 100  # of the terminal
# A block of code, or a picture of the page.
PART = re.compile(
    r"^```python\n(.*?)^```$|!\[[^\]]*\]\(pictures/gallery/([\w.-]+)\)", re.MULTILINE | re.DOTALL
)


def main() -> None:
    """Draw the named pictures, or all of them."""
    torch.set_num_threads(1)  # with more, the last bits of gradients differ
    for name in sys.argv[1:] or [*EXAMPLES, "own-network", "gallery"]:
        plt.close("all")
        if name == "gallery":
            gallery()
            continue
        with matplotlib.rc_context(LOOK):
            example(name)
        print_size(PICTURES / f"{name}.png")


def example(name: str) -> None:
    """Run an example, or the code of docs/guide/own-networks.md up to its first plot."""
    if name == "own-network":
        page = (ROOT / "docs" / "guide" / "own-networks.md").read_text(encoding="utf-8")
        code, _, _ = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)).partition(
            "result.plot_alphas()"
        )
        scope: dict[str, Any] = {}
        exec(code, scope)
        scope["result"].plot_alphas()[0].figure.savefig(PICTURES / "own-network.png")
    else:
        with TemporaryDirectory() as folder:
            runpy.run_path(str(ROOT / "examples" / f"{name}.py"))["main"](out=folder)
            shutil.copy(Path(folder, f"{name}.png"), PICTURES)


def gallery() -> None:
    """Run the code of docs/gallery.md. A picture is the plot that the block above it returns, or its file."""
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    pydarts.LiveView = LastViews  # type: ignore[assignment,misc]
    (PICTURES / "gallery").mkdir(exist_ok=True)
    before = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        scope: dict[str, Any] = {}
        last: object = None
        for part in PART.finditer(page):
            code, name = part.groups()
            if code is not None:
                plt.close("all")
                last = value_of(code, scope)
                continue
            if isinstance(last, pydarts.plots.Plot) and not Path(name).exists():
                last.savefig(name, dpi=DPI)
            if name.endswith(".png"):
                shrink(Path(name))
            print_size(Path(shutil.copy(name, PICTURES / "gallery")))
        os.chdir(before)


def value_of(code: str, scope: dict[str, Any]) -> object:
    """Run code, and return the value of its last line if that is an expression or an assignment."""
    tree = ast.parse(code)
    final = tree.body[-1]
    if not isinstance(final, ast.Expr | ast.Assign):
        exec(compile(tree, "gallery.md", "exec"), scope)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), "gallery.md", "exec"), scope)
    value = eval(compile(ast.Expression(final.value), "gallery.md", "eval"), scope)
    if isinstance(final, ast.Assign):
        scope[ast.unparse(final.targets[0])] = value
    return value


def shrink(file: Path) -> None:
    """Write a PNG file with 256 colours, which takes a third of the space."""
    with Image.open(file) as whole:
        whole.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def print_size(file: Path) -> None:
    print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB", flush=True)


class LastViews(pydarts.Callback):
    """Draws what `LiveView` shows near the end of a search, in a terminal and in a notebook."""

    def on_start(self, info: pydarts.StartInfo) -> None:
        self.scene, self.left = Scene(info), info.config.epochs

    def on_step(self, info: pydarts.StepInfo) -> None:
        self.scene.step(info)

    def on_epoch(self, info: pydarts.EpochInfo) -> None:
        self.scene.epoch(info)
        self.left -= 1
        if self.left == 2:
            moving(self.scene).savefig("live-notebook.png", dpi=DPI)
            terminal(self.scene, Path("live-terminal.svg"))


def terminal(scene: Scene, file: Path) -> None:
    """Write what a terminal shows as an SVG file that needs no fonts from the network."""
    console = Console(
        file=io.StringIO(), force_terminal=True, color_system="truecolor", record=True, width=COLUMNS,
        _environ={},
    )  # fmt: skip
    console.print(picture(scene, COLUMNS, 1000))
    svg = console.export_svg(title="pydarts.LiveView", unique_id="live")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    file.write_text(svg.replace("Fira Code, monospace", "monospace"), encoding="utf-8")


if __name__ == "__main__":
    main()
