"""Findings about α: how far it moved, what it selects, and how clearly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..._values.config import SearchConfig
from ..._values.genotype import Genotype
from ..._values.terms import COSTS
from ..._values.words import shown
from ..gathered import choice_margins
from ..trajectory import Margin, Trajectory
from .finding import Finding, count, weight

# α counts as unmoved above this fraction of the maximal entropy. Entropy is below log n by half the variance
# of the logits, so 1 % of log 8 is a standard deviation of 0.2: the largest of 8 weights is about 0.16, not
# 0.125.
FLAT = 0.99
# Weights that are no shares of 1 have no maximal entropy. Logits that differ by 0.2, as above, change the
# weights of a sigmoid by 0.05.
STILL = 0.05
# A cell counts as collapsed from this fraction of skip connections. Good published cells have up to 3 in 8.
COLLAPSED = 0.5
# A genotype that still changes in this last fraction of a search counts as unsettled: 5 of the 50 published
# epochs.
UNSETTLED = 0.1

# From more tables on, one finding says what there is to say about their entropies.
MANY = 7
_RESTS = "The genotype depends on small differences: search longer, or raise arch_lr."

# Operations without weights: they copy or pool their input, or do not read it.
_WEIGHTLESS = ("none", "skip_connect", "max_pool", "avg_pool", "noise")


def _names(margin: Margin, path: Trajectory) -> str:
    return path.tables[margin.table].nodes.edge(margin.edge)


def _unmoved(path: Trajectory, table: str) -> bool:
    """Return whether α counts as unmoved at the end."""
    if path.about["shares"]:
        return float(path.entropy(table)[-1]) > FLAT * path.tables[table].most
    return _moved(path, table) < STILL


def _moved(path: Trajectory, table: str) -> float:
    """Return the largest change of a mixing weight since the start; 0 if all are masked."""
    change = np.abs(path.shown(table, -1) - path.shown(table, 0))
    return float(np.nanmax(change, initial=0.0))


def entropies(path: Trajectory) -> Iterator[Finding]:
    if path.space is None and len(path.tables) > MANY:
        yield from _entropies(path)
        return
    for table, names in path.tables.items():
        most = names.most
        if len(path) < 2 or most == 0:
            continue
        entropy = path.entropy(table)
        first, last = float(entropy[0]), float(entropy[-1])
        values = {"first": first, "last": last, "most": most, "part": last / most}
        sizes = {len(row) for row in names.candidates}
        most_name = f"log {max(sizes)}" if len(sizes) == 1 else "the mean of log(operations)"
        text = (
            f"Entropy of the {table} weights: {last:.4f} nats, {last / most:.2%} of its maximum, "
            f"{most_name} = {most:.4f}; it was {first:.4f} at the start."
        )
        if not path.about["shares"]:
            values["moved"] = _moved(path, table)
            text += f" The weights have changed by up to {weight(values['moved'])}."
        if _unmoved(path, table):
            yield Finding(
                "warning",
                "entropy",
                f"{text} α has hardly moved.",
                _RESTS if path.space is not None else _RESTS.replace("genotype", "architecture"),
                table,
                values,
            )
        else:
            yield Finding("note", "entropy", text, table=table, values=values)


def _entropies(path: Trajectory) -> Iterator[Finding]:
    """One finding about the entropies of very many tables."""
    learned = [table for table, names in path.tables.items() if names.most > 0]
    if len(path) < 2 or not learned:
        return
    found = np.array([path.entropy(table) for table in learned])
    most = float(np.mean([path.tables[table].most for table in learned]))
    first, last = float(found[:, 0].mean()), float(found[:, -1].mean())
    still = [table for table in learned if _unmoved(path, table)]
    values = {"first": first, "last": last, "most": most, "part": last / most}
    values |= {"unmoved": len(still), "of": len(learned)}
    text = (
        f"Entropy of the weights of {len(learned)} tables: {last:.4f} nats in the mean, {last / most:.2%} of "
        f"its maximum, {most:.4f}; it was {first:.4f} at the start."
    )
    if still:
        more = f" and {len(still) - 3} more" if len(still) > 3 else ""
        text += f" α has hardly moved in {len(still)} of them: {', '.join(still[:3])}{more}."
    if 2 * len(still) > len(learned):
        advice = _RESTS.replace("genotype", "architecture")
        yield Finding("warning", "entropy", text, advice, values=values)
    else:
        yield Finding("note", "entropy", text, values=values)


def skips(genotype: Genotype, path: Trajectory, config: SearchConfig) -> Iterator[Finding]:
    """How many operations of each cell are skip connections."""
    name = "identity" if genotype.kind == "recurrent" else "skip_connect"
    for table, names in path.tables.items():
        if name not in names.names:
            continue
        column = names.names.index(name)
        zero = [column for column, operation in enumerate(names.names) if operation == names.unselectable]
        genes, before = genotype.edges(table), path.genotypes[0].edges(table)
        now = sum(operation == name for operation, *_ in genes)
        first = sum(operation == name for operation, *_ in before)
        weights = path.shown(table, -1)
        weights[:, zero] = np.nan  # `none` is never selected
        weights = np.where(np.isnan(weights), -np.inf, weights)
        strongest = int((weights.argmax(-1) == column).sum())
        edges = len(weights)
        values = {"now": now, "first": first, "of": len(genes), "strongest": strongest, "edges": edges}
        text = (
            f"{name} in the {table} cell: {now} of {len(genes)} operations ({first} at the start); it is the "
            f"strongest on {strongest} of {edges} edges."
        )
        if not (path.learns and path.selects):  # α does not tell what was selected
            values = {"now": now, "of": len(genes)}
            text = f"{name} in the {table} cell: {now} of {len(genes)} operations."
            collapsed = bool(genes) and now >= COLLAPSED * len(genes)
            advice = "Another seed, or more samples of the selection, may find a better cell."
            yield Finding(
                "warning" if collapsed else "note", "skips", text, advice if collapsed else "", table, values
            )
        elif genes and now >= COLLAPSED * len(genes) and _unmoved(path, table):
            text += " α has hardly moved, so this mostly reflects the random initial α."
            yield Finding("note", "skips", text, table=table, values=values)
        elif genes and now >= COLLAPSED * len(genes):
            yield Finding(
                "warning",
                "skips",
                f"{text} The cell has collapsed to skip connections.",
                _remedies(config),
                table,
                values,
            )
        else:
            yield Finding("note", "skips", text, table=table, values=values)


def _remedies(config: SearchConfig) -> str:
    """What may prevent a collapse to skip connections."""
    usual = "Usual remedies: a larger weight_decay, fewer epochs, a later arch_start_epoch."
    costs = [shown(term.name) for term in config.arch_terms if isinstance(term, COSTS)]
    if not costs:
        return usual
    return (
        f"arch_terms has {', '.join(costs)}, which favours candidates without cost: lower its weight. {usual}"
    )


def weightless(genotype: Genotype) -> Iterator[Finding]:
    """A cell without weights; a skip connection in a reduction cell has weights."""
    single = genotype.tables == ("cell",)
    table, name = ("cell", "cell") if single else ("normal", "normal cell")
    genes = genotype.edges(table)
    if genes and all(operation.startswith(_WEIGHTLESS) for operation, *_ in genes):
        noisy = any(operation == "noise" for operation, *_ in genes)
        sorts = ["pooling", "skip connections", *["noise"] * noisy, *["none"] * single]
        left = "the stem and the layers between stages" if single else "the 1x1 convolutions at its inputs"
        yield Finding(
            "warning",
            "weightless",
            f"No operation of the {name} has weights: all {len(genes)} are {', '.join(sorts[:-1])} or "
            f"{sorts[-1]}.",
            f"Only {left} have weights; another seed, a larger weight_decay or fewer epochs may give a "
            "better cell.",
            table,
            {"of": len(genes)},
        )


def empty(genotype: Genotype, path: Trajectory) -> Iterator[Finding]:
    """Nodes that a selection left without inputs."""
    for table in path.tables:
        nodes = genotype.nodes(table)
        bare = sum(not genes for genes in nodes)
        values = {"empty": bare, "of": len(nodes)}
        if 0 < bare < len(nodes):
            text = f"{bare} of {count(len(nodes), 'node')} of the {table} cell have no input and are zeros."
            yield Finding("note", "empty", text, table=table, values=values)
        elif bare:
            yield Finding(
                "warning",
                "empty",
                f"The {table} cell keeps no edge at all: its output is zeros.",
                "Use a selection that keeps more, such as a smaller threshold.",
                table,
                values,
            )


def zeros(path: Trajectory) -> Iterator[Finding]:
    for table, names in path.tables.items():
        never = names.unselectable
        if never is None or never not in names.names:
            continue
        weights = path.shown(table, -1)
        weights = np.where(np.isnan(weights), -np.inf, weights)
        heaviest = int((weights.argmax(-1) == names.names.index(never)).sum())
        if heaviest:
            yield Finding(
                "note",
                "zero",
                f"{never} has the largest weight on {heaviest} of {len(weights)} {table} edges; it is never "
                "selected, so these edges keep the best other operation (paper, section 2.4).",
                table=table,
                values={"heaviest": heaviest, "edges": len(weights)},
            )


def change(path: Trajectory) -> Iterator[Finding]:
    if len(path) < 2:
        return
    time, unit = path.time
    at, end = float(time[path.last_change]), float(time[-1])
    values = {"at": at, "end": end}
    cells = path.space is not None
    found = "genotype" if cells else "architecture"
    if path.last_change == 0 and cells and not any(path.genotype().edges(table) for table in path.tables):
        return  # cells without edges are a finding of their own
    if path.last_change == 0 and not cells:  # a few choices may well begin with the best candidates
        text = (
            f"The strongest candidates never changed: after {count(end, unit)} they are still the first ones."
        )
        yield Finding("note", "change", text, values=values)
    elif path.last_change == 0:
        yield Finding(
            "warning",
            "change",
            f"The {found} never changed: after {count(end, unit)} it is that of the random initial α.",
            "Search longer, raise arch_lr, or start to train α earlier (arch_start_epoch).",
            values=values,
        )
    elif end - at <= UNSETTLED * end:
        yield Finding(
            "warning",
            "change",
            f"The {found} was still changing: it last changed at {unit} {at:g} of {end:g}.",
            f"A longer search may end with another {'cell' if cells else found}; search_many shows whether "
            "that matters.",
            values=values,
        )
    else:
        yield Finding(
            "note",
            "change",
            f"The {found} last changed at {unit} {at:g} of {end:g}.",
            values=values,
        )


def margins(path: Trajectory) -> Iterator[Finding]:
    """The narrowest decisions, and the number of decisions narrower than the last movements of α."""
    found = path.margins()
    operations = [margin for margin in found if not math.isnan(margin.operation)]
    edges = [margin for margin in found if not math.isnan(margin.edges)]
    if not operations:
        return
    narrow = min(operations, key=lambda margin: margin.operation)
    text = (
        f"Narrowest choice of an operation: {narrow.table} {_names(narrow, path)} keeps {narrow.chosen} over "
        f"{narrow.next} by {weight(narrow.operation)} of mixing weight."
    )
    values = {"operation": narrow.operation, "kept": len(operations)}
    if edges:
        edge = min(edges, key=lambda margin: margin.edges)
        text += f" Narrowest choice of an edge: {edge.table} {_names(edge, path)} by {weight(edge.edges)}."
        values["edge"] = edge.edges
    yield _of_margins(path, text, values, [margin.operation for margin in operations], "operation")


def choices(path: Trajectory) -> Iterator[Finding]:
    """The narrowest decision of a user-defined network, and the number of those that are narrow."""
    found = choice_margins(path)
    if not found:
        return
    narrow = min(found, key=lambda margin: margin.by)
    text = (
        f"Narrowest choice: {narrow.choice} picks {narrow.chosen} over {narrow.next} by {weight(narrow.by)} "
        "of mixing weight."
    )
    values: dict[str, float] = {"operation": narrow.by, "kept": len(found)}
    yield _of_margins(path, text, values, [margin.by for margin in found], "choice")


def _of_margins(
    path: Trajectory, text: str, values: dict[str, float], leads: Sequence[float], unit: str
) -> Finding:
    """Return the finding about margins: how many are smaller than a weight moved in the last part."""
    if len(path) < 2:
        return Finding("note", "margins", text, values=values)
    begun, drift = _drift(path)
    time, clock = path.time
    undecided = sum(lead < drift for lead in leads)
    values = values | {"drift": drift, "undecided": undecided}
    text += (
        f" {undecided} of {count(len(leads), unit)} lead by less than a weight moved from {clock} "
        f"{time[begun]:g} to the end ({weight(drift)})."
    )
    if 2 * undecided <= len(leads):
        return Finding("note", "margins", text, values=values)
    advice = "Most decisions could still change: search longer, or compare several seeds with search_many."
    return Finding("warning", "margins", text, advice, values=values)


def _drift(path: Trajectory) -> tuple[int, float]:
    """Return the point at which the last part of the search begins (the fraction `UNSETTLED`, at least one
    step), and the largest change of a mixing weight since then."""
    time, _ = path.time
    begun = min(int(np.searchsorted(time, (1 - UNSETTLED) * time[-1], side="right")) - 1, len(path) - 2)
    moved = [np.abs(path.weights(table, -1) - path.weights(table, begun)).max() for table in path.alphas]
    return begun, float(max(moved))
