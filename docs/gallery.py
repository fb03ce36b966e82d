"""Draw the pictures of docs/guide/own-networks.md: `python docs/gallery.py [NAME …]`."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import torch

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
EXAMPLES = ("series", "table", "forecast", "segment", "transformer", "operation")


def main() -> None:
    """Run the examples, and the code of the page up to its first plot."""
    torch.set_num_threads(1)  # with more, the last bits of gradients differ
    plt.rcParams.update(
        {"savefig.dpi": 80, "savefig.bbox": "tight", "figure.figsize": (8, 3.6), "lines.linewidth": 1}
    )
    for name in sys.argv[1:] or [*EXAMPLES, "own-network"]:
        plt.close("all")
        if name == "own-network":
            page = (ROOT / "docs" / "guide" / "own-networks.md").read_text(encoding="utf-8")
            code, _, _ = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)).partition(
                "result.plot_alphas()"
            )
            scope: dict[str, object] = {}
            exec(code, scope)
            scope["result"].plot_alphas()[0].figure.savefig(PICTURES / "own-network.png")
        else:
            with TemporaryDirectory() as folder:
                runpy.run_path(str(ROOT / "examples" / f"{name}.py"))["main"](out=folder)
                shutil.copy(Path(folder, f"{name}.png"), PICTURES)
        print(f"{name}.png: {(PICTURES / f'{name}.png').stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
