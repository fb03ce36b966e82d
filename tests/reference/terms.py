"""Terms that are added to the loss of the α step, plainly: values, which autograd differentiates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence
from torch.nn import functional as F

from .relaxation import Relaxation

Tables = Mapping[str, Tensor]


@dataclass(frozen=True)
class Term:
    """A term with its weight; `costs`, `constant`, `reference` and `exponent` are those of a cost."""

    name: str
    weight: float = 1.0
    form: str = ""
    reference: float = 1.0
    exponent: float = 1.0
    costs: Tables = field(default_factory=dict)
    constant: float = 0.0


def total(loss: Tensor, terms: Iterable[Term], alphas: Tables, relaxation: Relaxation) -> Tensor:
    """L·Πf + Σ λt as a function of α; the mean mixing weights are those of the relaxation without noise."""
    added = torch.zeros((), dtype=torch.float64)
    for term in terms:
        if term.form.startswith("multiply"):
            loss = loss * term.weight * factor(term, expected(term, alphas, relaxation))
        else:
            added = added + term.weight * value(term, alphas, relaxation)
    return loss + added


def value(term: Term, alphas: Tables, relaxation: Relaxation) -> Tensor:
    """The value of a term that is added, for weight 1."""
    if term.costs:
        cost = expected(term, alphas, relaxation)
        return cost.log() if term.form == "log" else (cost - term.reference) / term.reference
    rows = {name: rows_of(name, alpha, relaxation) for name, alpha in alphas.items()}
    if term.name == "beta_decay":
        per_table = [[logits.logsumexp(0) for logits, _ in table] for table in rows.values()]
        return sum_of_means(per_table)
    if term.name == "entropy":
        per_table = [[-(m * m.log()).sum() for _, m in table] for table in rows.values()]
        return sum_of_means(per_table)
    flat = [row for table in rows.values() for row in table]
    if term.name == "zero_one":
        m = torch.cat([m for _, m in flat])
        return -((m - 0.5) ** 2).mean() if term.form == "l2" else -(m - 0.5).abs().mean()
    assert term.name == "kl_anchor"
    kappas = [F.elu(logits) + 1 for logits, _ in flat if len(logits) > 1]
    divergences = [kl_divergence(Dirichlet(kappa), Dirichlet(torch.ones_like(kappa))) for kappa in kappas]
    return sum(divergences, torch.zeros((), dtype=torch.float64))


def rows_of(name: str, alpha: Tensor, relaxation: Relaxation) -> list[tuple[Tensor, Tensor]]:
    """Logits and mean mixing weights of the candidates that are left, row by row; no frozen rows."""
    m, fixed = relaxation.weights(name, alpha), relaxation.fixed(name, alpha)
    rows = zip(alpha, m, ~fixed, strict=True)
    return [(logits[left], weights[left]) for logits, weights, left in rows if left.any()]


def sum_of_means(tables: Iterable[list[Tensor]]) -> Tensor:
    """The mean over the rows of each table, added over the tables."""
    means = [torch.stack(rows).mean() for rows in tables if rows]
    return torch.stack(means).sum() if means else torch.zeros((), dtype=torch.float64)


def expected(term: Term, alphas: Tables, relaxation: Relaxation) -> Tensor:
    """E = Σ c·m + constant."""
    parts = [(term.costs[name] * relaxation.weights(name, alpha)).sum() for name, alpha in alphas.items()]
    return torch.stack(parts).sum() + term.constant


def factor(term: Term, cost: Tensor) -> Tensor:
    """What a multiplying form multiplies the loss by, for weight 1."""
    if term.form == "multiply":
        return (cost / term.reference) ** term.exponent
    return (cost.log() / torch.tensor(term.reference, dtype=torch.float64).log()) ** term.exponent
