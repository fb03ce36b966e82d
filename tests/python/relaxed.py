"""Networks whose relaxation is stated twice, by the engine and by `tests/reference`; the noise of both."""

from __future__ import annotations

import json
from typing import Any

import pydarts
import reference
import torch
from reference.noise import architecture, dirichlet, gumbel
from reference.searched import Searched
from torch import Tensor

RELAXATIONS = {
    "softmax": reference.Relaxation("softmax", 0.5),
    "gumbel": reference.Relaxation("gumbel", 0.7),
    "gdas": reference.Relaxation("gdas", 0.7),
    "dirichlet": reference.Relaxation("dirichlet"),
    "random": reference.Relaxation("random"),
    "sigmoid": reference.Relaxation("sigmoid"),
    "identity": reference.Relaxation("identity"),
}
LEARNING = {name: relaxation for name, relaxation in RELAXATIONS.items() if name != "random"}
"""Those under which α moves."""
ROLES = ("alpha", "weight")


def as_option(relaxation: reference.Relaxation) -> dict[str, Any]:
    """The option of a configuration."""
    option: dict[str, Any] = {"name": relaxation.name}
    if relaxation.name in reference.TEMPERED:
        option["temperature"] = relaxation.temperature
    return option


def share_noise(theirs: Searched, step: int, part: int = 0, seed: int = 0) -> None:
    """Let the reference see the noise of the engine's step, recomputed from its specification."""
    if theirs.relaxation.name in reference.SAMPLED:
        theirs.noise = {
            role: {name: noise_of(theirs, name, role, step, part, seed) for name in theirs.alphas}
            for role in ROLES
        }


def noise_of(theirs: Searched, table: str, role: str, step: int, part: int = 0, seed: int = 0) -> Tensor:
    """What the engine draws for one table."""
    alpha, relaxation = theirs.alphas[table], theirs.relaxation
    rows, columns = alpha.shape
    if relaxation.name == "random":
        mask = relaxation.masks.get(table, torch.ones(rows, columns, dtype=torch.bool))
        assert not relaxation.frozen, "decided rows are tested elsewhere"
        first, kept = (1, 1) if isinstance(theirs, reference.LanguageModel) else (2, 2)
        groups, row = [], 0
        while row < rows:
            groups.append(list(range(row, row + first + len(groups))))
            row = groups[-1][-1] + 1
        return architecture(seed, table, role, step, mask, groups, kept, part)
    draw = dirichlet if relaxation.name == "dirichlet" else gumbel
    return draw(seed, table, role, step, (rows, columns), part)


def decide(ours: pydarts.Supernet, relaxation: reference.Relaxation) -> None:
    """Remove and freeze in the engine's network what the reference's relaxation masks and freezes."""
    alphas = ours.alphas
    for table, mask in relaxation.masks.items():
        for row, left in enumerate(mask):
            columns = (~left).nonzero().flatten().tolist()
            if columns:
                _decide(ours, decision="mask", table=table, row=row, columns=columns)
        alphas[table] = alphas[table].where(mask, torch.tensor(0.0).to(alphas[table]))
    for table, rows in relaxation.frozen.items():
        for row, column in rows.items():
            if column is None:
                _decide(ours, decision="drop", table=table, row=row)
            else:
                _decide(ours, decision="freeze", table=table, row=row, column=column)
    ours.set_alphas(alphas)


def _decide(ours: pydarts.Supernet, **decision: Any) -> None:
    ours._net.decide(json.dumps(decision))
