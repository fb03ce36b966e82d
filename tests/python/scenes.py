"""What the tests of `LiveView` share: a console that keeps what it was given, and scenes to be drawn."""

import io
from typing import Any

import numpy as np
import pydarts
from pydarts import EpochInfo, StartInfo, StepInfo
from pydarts._show.live.scene import Scene
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
