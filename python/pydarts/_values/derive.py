"""`derive`: the genotype that α selects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from .. import _core
from .algorithms import Selection
from .checks import whole
from .genotype import Genotype
from .relaxations import Relaxation
from .space import Space, as_space
from .words import shown


def derive(
    alphas: Mapping[str, npt.ArrayLike | Tensor],
    space: str | Space = "darts",
    k: int | None = None,
    relaxation: str | Relaxation | Mapping[str, Any] = "softmax",
    selection: str | Selection | Mapping[str, Any] = "strongest",
) -> Genotype:
    """Derive the genotype of α: per node the `k` strongest edges, each with its strongest operation (2.4).

    The strength of an operation is its mixing weight under `relaxation`, in float64: by default its softmax
    weight among all operations of the edge. `none` is selected only if the space allows it, as
    "nas-bench-201" does. Ties go to the lower node and the earlier operation.

    Args:
        alphas: table name -> logits [edges, operations]; `"normal"` and `"reduce"`, or `"recurrent"`. With
            `"normal.beta"` and `"reduce.beta"`, logits of the edges [edges, 1], the weight of an operation is
            multiplied by that of its edge, the softmax over the edges into its node.
        space: the space that α belongs to.
        k: edges kept per node; None: 2 for a convolutional space, 1 for a recurrent one. The published
            notation and recurrent networks require these numbers. The same as `selection=Strongest(k)`.
        relaxation: the function from logits to mixing weights: a name or an instance of a class of
            `pydarts.algorithms`. A parameter that changes during a search has its last value.
        selection: the rule: a name or an instance of a class of `pydarts.algorithms`.

    Raises:
        DataError: a table is missing, has a wrong shape or holds NaN.
        ConfigError: an unknown space or name, a parameter out of range, or `k` with another selection.

    >>> import numpy as np
    >>> alphas = {"normal": np.zeros((14, 8)), "reduce": np.zeros((14, 8))}
    >>> derive(alphas).normal[:2]
    (('max_pool_3x3', 0), ('max_pool_3x3', 1))
    >>> alphas["normal"][2, 4] = 9.0
    >>> derive(alphas, selection="threshold").nodes("normal")
    ((), (('sep_conv_3x3', 0),), (), ())
    """
    if not isinstance(alphas, Mapping):
        raise _core.DataError(f"alphas must map table names to arrays, got a {type(alphas).__name__}")
    rule = Selection._of(selection).to_dict()
    if k is not None:
        if rule["name"] != "strongest" or rule["k"]:
            raise _core.ConfigError(f"k is {shown(k)} and selection is {shown(selection)}; give one of them")
        rule["k"] = whole("k", k)
    tables = {str(name): table(name, values) for name, values in alphas.items()}
    return Genotype._of(_core.derive(as_space(space), tables, Relaxation._of(relaxation).to_dict(), rule))


def table(name: str, values: Any) -> npt.NDArray[np.float64]:
    """Return an α table as a float64 array [edges, operations]."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    try:
        array = np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _core.DataError(f"alphas[{shown(name)}] is not an array of numbers: {error}") from error
    if array.ndim == 3:
        raise _core.DataError(
            f"alphas[{shown(name)}] must be [edges, operations], got {list(array.shape)}; "
            f"for a trajectory, pass the last point: alphas[{shown(name)}][-1]"
        )
    if array.ndim != 2:
        raise _core.DataError(
            f"alphas[{shown(name)}] must be [edges, operations], got shape {list(array.shape)}"
        )
    return array
