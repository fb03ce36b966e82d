"""Expected costs at the mixing weights of a genotype, against the cost of the network that `build` makes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._values.config import SearchConfig
from ..._values.genotype import Genotype
from ..._values.random import random_genotypes
from ..._values.space import Space
from ..._values.terms import Flops, Parameters
from ...nn._build import build
from ...nn._cost import cost
from ...nn._costs import target_costs
from .check import Check, Value

GENOTYPES = 3
_NETWORK: dict[str, Any] = {"channels": 6, "layers": 4}
_SIZES: dict[str, Any] = {"num_classes": 5, "in_channels": 2}


def checks() -> list[Check]:
    """Return the check of expected costs."""
    return [
        Check(
            "cost.genotypes",
            f"expected and counted cost of {GENOTYPES} random genotypes",
            "ProxylessNAS (Cai et al., 2019): an expected cost is linear in the mixing weights",
            0.0,
            _difference,
        )
    ]


def _difference() -> Value:
    space, size = Space.preset("darts"), 9
    terms = Flops(**_NETWORK), Parameters(**_NETWORK)
    config = SearchConfig(space=space, arch_terms=terms, image_size=size, **_SIZES)
    expected = {name: (np.array(flat), constant) for name, flat, constant in target_costs(config)}
    differences = []
    for genotype in random_genotypes(space, GENOTYPES):
        counted, m = cost(build(genotype, **_NETWORK, **_SIZES), size), _mixing_weights(genotype, space)
        for measure, known in (("flops", "multiply_adds"), ("parameters", "weights")):
            flat, constant = expected[measure]
            differences.append(float(flat @ m) + constant - counted[known])
    return float(np.abs(differences).max())


def _mixing_weights(genotype: Genotype, space: Space) -> Any:
    """Return 1 for the operations of a genotype and 0 for all others, flat."""
    tables = []
    for table in space.tables:
        columns = space.columns(table)
        m = np.zeros((len(columns), len(columns[0])))
        for operation, source, target in genotype.edges(table):
            row = space.edges.index((source, target))
            m[row, columns[row].index(operation)] = 1.0
        tables.append(m.ravel())
    return np.concatenate(tables)
