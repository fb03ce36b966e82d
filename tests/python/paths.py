"""Trajectories of α for tests: drawn by hypothesis, or by a seed."""

from typing import Any

import numpy as np
import pydarts
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SMALL = pydarts.Space(operations=("none", "skip_connect", "sep_conv_3x3"), nodes=2)
RECURRENT = pydarts.Space(kind="recurrent", nodes=3)


def make_path(space: pydarts.Space = SMALL, points: int = 4, seed: int = 0) -> pydarts.Trajectory:
    """α that drifts away from the start, recorded by epoch, ten steps each."""
    rng = np.random.default_rng(seed)
    shape = len(space.edges), len(space.operations)
    time = np.arange(points)[:, None, None]
    alphas = {name: 1e-3 + 0.5 * time * rng.normal(size=shape) for name in space.tables}
    return pydarts.Trajectory(alphas, range(0, 10 * points, 10), space, points - 1)


@st.composite
def drawn_paths(draw: st.DrawFn) -> pydarts.Trajectory:
    """Of either kind of cell, with ties, extremes and float32 among them."""
    kind = draw(st.sampled_from(["convolutional", "recurrent"]))
    space = pydarts.Space(kind=kind, nodes=draw(st.integers(1, 4)))
    points = draw(st.integers(1, 4))
    dtype: Any = draw(st.sampled_from([np.float64, np.float32]))
    shape = points, len(space.edges), len(space.operations)
    values = st.sampled_from([-30.0, -1.0, 0.0, 0.001, 0.5, 1.0, 30.0])
    alphas = {name: draw(hnp.arrays(dtype, shape, elements=values)) for name in space.tables}
    return pydarts.Trajectory(alphas, range(points), space, points - 1)
