"""The derivation of genotypes from α: published genotypes, `none`, ties, weighted edges, thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from ... import _core
from ..._results.trajectory import Trajectory
from ..._values.algorithms import Threshold
from ..._values.derive import derive
from ..._values.genotype import Genotype
from ..._values.space import Space
from .check import Check, Value

Tables = dict[str, npt.NDArray[np.float64]]

_CNN = "DARTS, section 2.4; quark0/darts, cnn/model_search.py, genotype()"
_RNN = "DARTS, section 2.4; quark0/darts, rnn/model_search.py, genotype()"
_PC = "PC-DARTS (Xu et al., 2020), edge normalization; yuhuixu1993/PC-DARTS, model_search.py"

_ONE = Space(nodes=1, operations=["max_pool_3x3", "avg_pool_3x3", "skip_connect"])
# Two edges into a node: logits of operations and of edges, and the products of their softmaxes by hand.
_ROWS = [[0.2, -0.1, 0.5], [0.9, 0.0, -0.3]]
_BETA = [[0.1], [-0.2]]
_PRODUCTS = (0.185863, 0.137691, 0.250889), (0.249190, 0.101313, 0.075055)


def checks() -> list[Check]:
    """Return the checks of derivations."""
    return [
        *(
            Check(
                f"derive.{name}",
                "cell of logits for its edges, with `none` largest",
                _RNN if "RNN" in name else _CNN,
                name,
                partial(_derived, name),
            )
            for name in _core.published_genotypes()
        ),
        Check(
            "derive.none",
            "strongest edge if `none` is in the softmax",
            _CNN,
            "skip_connect 1",
            _none_counts,
        ),
        Check(
            "derive.ties",
            "edges into every node of equal logits",
            _CNN,
            "max_pool_3x3 0, max_pool_3x3 1",
            _ties,
        ),
        *(
            Check(
                f"derive.edge_weights.{edge}",
                f"strengths of edge {edge}: a product of two softmaxes",
                _PC,
                product,
                partial(_edge_weights, edge),
                1e-6,
            )
            for edge, product in enumerate(_PRODUCTS)
        ),
        Check(
            "derive.edge_order",
            "order of these edges, which are 0.0017 apart",
            _PC,
            "skip_connect 0, max_pool_3x3 1",
            lambda: _text(derive(_weighted(), _ONE)),
        ),
        Check(
            "derive.threshold",
            "edges kept of sigmoids 0.86 and 0.84",
            "xiaomi-automl/FairDARTS, threshold_sparse with 0.85",
            "max_pool_3x3 0",
            _threshold,
        ),
    ]


def _derived(name: str) -> Value:
    genotype = Genotype._of(_core.published_genotypes()[name])
    space = Space.preset("darts" if genotype.kind == "convolutional" else "darts-rnn")
    found = derive({table: _logits(genotype, table, space) for table in space.tables}, space)
    return name if found == genotype else str(found)


def _logits(genotype: Genotype, table: str, space: Space) -> npt.NDArray[np.float64]:
    """Return logits whose strongest edges into a node are those of the genotype, the first one strongest."""
    columns = space.columns(table)
    found = np.zeros((len(columns), len(columns[0])))
    ranks: dict[int, int] = {}
    for operation, source, target in genotype.edges(table):
        row, rank = space.edges.index((source, target)), ranks.setdefault(target, 0)
        found[row, columns[row].index(operation)] = 2.0 - 0.5 * rank
        ranks[target] += 1
    found[:, columns[0].index("none")] = 3.0
    return found


def _none_counts() -> Value:
    # Among the operations other than `none`, edge 0 has the larger share; among all, edge 1 has it.
    space = Space(nodes=1, operations=["none", "skip_connect", "sep_conv_3x3"])
    table = np.array([[5.0, 2.0, 0.0], [0.0, 1.0, 0.0]])
    operation, source = derive({"normal": table, "reduce": table}, space).normal[0]
    return f"{operation} {source}"


def _ties() -> Value:
    genotype = derive({name: np.zeros((14, 8)) for name in ("normal", "reduce")})
    nodes = {
        ", ".join(f"{operation} {source}" for operation, source in node) for node in genotype.nodes("normal")
    }
    return "; ".join(sorted(nodes))


def _weighted() -> Tables:
    tables: Mapping[str, list[list[float]]] = {
        "normal": _ROWS, "reduce": _ROWS, "normal.beta": _BETA, "reduce.beta": _BETA,
    }  # fmt: skip
    return {name: np.array(values) for name, values in tables.items()}


def _edge_weights(edge: int) -> Value:
    path = Trajectory({name: values[None] for name, values in _weighted().items()}, (0,), _ONE, 0)
    return tuple(float(value) for value in path.strengths["normal"][0, edge])


def _threshold() -> Value:
    table = np.full((2, 3), -1.0)
    table[:, 0] = [np.log(0.86 / 0.14), np.log(0.84 / 0.16)]
    alphas = {"normal": table, "reduce": table}
    return _text(derive(alphas, _ONE, relaxation="sigmoid", selection=Threshold(value=0.85)))


def _text(genotype: Genotype) -> str:
    """Return the edges of the normal cell."""
    return ", ".join(f"{operation} {source}" for operation, source, _ in genotype.edges("normal"))
