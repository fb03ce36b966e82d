"""Networks whose relaxation is stated twice, by the engine and by `tests/reference`; the noise of both."""

from __future__ import annotations

import json
from typing import Any

import pydarts
import reference
import torch
from reference.noise import gumbel
from reference.searched import Searched

RELAXATIONS = {
    "softmax": reference.Relaxation("softmax", 0.5),
    "gumbel": reference.Relaxation("gumbel", 0.7),
    "sigmoid": reference.Relaxation("sigmoid"),
    "identity": reference.Relaxation("identity"),
}
ROLES = ("alpha", "weight")


def as_option(relaxation: reference.Relaxation) -> dict[str, Any]:
    """The option of a configuration."""
    option: dict[str, Any] = {"name": relaxation.name}
    if relaxation.name in ("softmax", "gumbel"):
        option["temperature"] = relaxation.temperature
    return option


def share_noise(theirs: Searched, step: int, part: int = 0, seed: int = 0) -> None:
    """Let the reference see the noise of the engine's step, recomputed from its specification."""
    if theirs.relaxation.name in reference.SAMPLED:
        theirs.noise = {
            role: {
                name: gumbel(seed, name, role, step, (alpha.shape[0], alpha.shape[1]), part)
                for name, alpha in theirs.alphas.items()
            }
            for role in ROLES
        }


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
