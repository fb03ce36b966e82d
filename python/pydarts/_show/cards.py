"""HTML cards that notebooks show for configurations, genotypes, results, findings, tables and networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from .._data.fingerprint import summary
from .._results.algorithm import axes
from .._results.decisions import picked
from .._results.history import known
from .._results.measured import in_words, latest
from .._results.score import score_of
from .._results.tables import decision_in_words, tables_of
from .._values.words import count, duration
from ..nn import LanguageModel
from .render import render

if TYPE_CHECKING:
    from .._results.diagnostics import Diagnostics
    from .._results.history import History
    from .._results.result import SearchResult
    from .._search.supernet import Supernet
    from .._train.result import TrainResult
    from .._values.config import SearchConfig
    from .._values.genotype import Genotype

_PARTS = {"data": "data", "train": "training data", "valid": "validation data"}
_TABLES = 7  # tables that are named
_EPOCHS = 5  # number of last epochs shown
_LEAST = 0.75  # smallest scale at which the text of a plot is easy to read
_WHOLE = 740  # pixels of a card in a window of 900 pixels, in which every plot is visible completely


def of_genotype(genotype: Genotype) -> str:
    """Show the cells as a plot and in the paper's notation."""
    names = [name for name in genotype.tables if genotype.nodes(name)]
    about = f"{' and '.join(names)}, {count(genotype.skip_connections, 'skip connection')}"
    return render("notebook/genotype.html", kind="Genotype", about=about, **_cells(genotype))


def of_config(config: SearchConfig) -> str:
    """Show the fields that differ from their defaults and, collapsed, the others."""
    changed = _changed(config)
    named = {"space", *(name for name, _, _ in changed)}
    rest = [(name, repr(getattr(config, name))) for name in config.to_dict() if name not in named]
    about = f"space {_space(config)}" + (f", algorithm {config.algorithm}" if config.algorithm else "")
    return render("notebook/config.html", kind="SearchConfig", about=about, changed=changed, rest=rest)


def of_result(result: SearchResult) -> str:
    """Show how a search ended, its cells, its last epochs and its configuration."""
    config, history = result.config, result.history
    path = result.trajectory
    words = path.space is not None and path.space.kind == "recurrent"
    made_of = ("space", _space(config)) if path.space is not None else ("choices", _some(list(path.alphas)))
    facts = [made_of, *_algorithm(config), *_given(result)]
    if history:
        last, score = history[-1], score_of(history, config.metric_mode)
        if score.name == "loss" and not score.metric:
            facts.append(("validation loss", f"{last.valid_loss:.4f}"))
        else:
            best = score.best(history)
            said, most = (score.text(score.valid(record), percent=".2%") for record in (last, best))
            facts.append((f"validation {score.name}", f"{said}, best {most} in epoch {best.epoch + 1}"))
        if score.metric and not math.isnan(known(last.valid_accuracy)):
            facts.append(("validation accuracy", _percent(last.valid_accuracy)))
        if words:
            facts.append(("validation perplexity", f"{last.valid_perplexity:.2f}"))
        facts.append(("mean entropy of the mixing weights, nats", _entropies(last.entropy)))
        facts += [(name.replace("_", " "), text) for name, text in in_words(latest(history)).items()]
        facts.append(("duration", duration(sum(record.seconds for record in history))))
    if "processor" in result.environment:
        facts.append(("ran on", f"{result.environment['processor']}, {result.environment['precision']}"))
    if path.counts_skips:
        facts.append(("skip connections", str(result.genotype.skip_connections)))
    for epoch, decision in result.decisions[-_EPOCHS:]:
        facts.append((f"decision of epoch {epoch + 1}", decision_in_words(decision, path.tables)))
    about = f"{result.status}, {len(history)} of {config.epochs} epochs"
    return render(
        "notebook/result.html",
        kind="SearchResult",
        about=about,
        facts=facts,
        **_last(history, "skips", lambda record: _or_dash(record.skip_connections)),
        changed=_changed(config),
        **({"picture": None} if path.space is None else _cells(result.genotype)),
        picked=picked(result.architecture) if path.space is None else [],
    )


def _algorithm(config: SearchConfig) -> list[tuple[str, str]]:
    """Return the name of a preset, the estimator of α's gradient, and what else differs from DARTS."""
    found = axes(config)
    gradient = found.pop("hypergradient", "first_order")
    name = [("algorithm", config.algorithm)] if config.algorithm else []
    rest = [(option.replace("_", " "), text) for option, text in found.items()]
    return [*name, ("α's gradient", gradient), *rest]


def _some(names: Sequence[str]) -> str:
    """Name the first tables and count the others."""
    more = len(names) - _TABLES
    if more <= 0:
        return ", ".join(names)
    return f"{len(names)}: {', '.join(names[:_TABLES])} and {more} more"


def _entropies(found: Mapping[str, float]) -> str:
    """Return the entropies by table; of very many the mean, the lowest and the highest."""
    if len(found) <= _TABLES:
        return ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    low, high = (which(found, key=lambda name: found[name]) for which in (min, max))
    mean = sum(found.values()) / len(found)
    return f"{mean:.3f}, from {found[low]:.3f} ({low}) to {found[high]:.3f} ({high})"


def _percent(value: float | None) -> str:
    return "–" if math.isnan(known(value)) else f"{value:.2%}"


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)


def of_training(result: TrainResult, weights: int, changed: Sequence[tuple[str, Any, Any]]) -> str:
    """Show how a training ended, its last epochs and its configuration.

    `weights` is the number of weights; `changed` holds name, value and published value of the fields that
    differ from the published ones.
    """
    config, history, network = result.config, result.history, result.network
    facts = [("network", f"{type(network).__name__}, {weights:,} weights"), *_given(result)]
    best = result.best
    if best is not None:
        last = history[-1]
        if isinstance(network, LanguageModel):
            name, said = "perplexity", f"{last.valid_perplexity:.2f}, lowest {best.valid_perplexity:.2f}"
        else:
            score = score_of(history, config.metric_mode or "max")
            now, most = (score.text(score.valid(one), percent=".2%") for one in (last, best))
            name, said = score.name, f"{now}, best {most}"
        facts.append((f"validation {name}", f"{said} in epoch {best.epoch + 1}"))
        if last.valid_top5 is not None:
            facts.append(("validation accuracy, top 5", f"{last.valid_top5:.2%}"))
        averaged = next((record.epoch + 1 for record in history if record.averaged), None)
        if averaged is not None:
            facts.append(("weights averaged", f"from epoch {averaged} on"))
        facts.append(("duration", duration(sum(record.seconds for record in history))))
    if config.keep is not None:
        facts.append(("weights kept", f"of the {config.keep} epoch"))
    planned = f" of {config.epochs}" if config.epochs is not None else ""
    return render(
        "notebook/training.html",
        kind="TrainResult",
        about=f"{result.status}, {len(history)}{planned} epochs",
        facts=facts,
        **_last(history, "learning rate", lambda record: f"{record.learning_rate:.4g}"),
        changed=[(name, repr(value), repr(default)) for name, value, default in changed],
    )


def _given(result: SearchResult | TrainResult) -> list[tuple[str, str]]:
    """Return what the run was given: data, loss and metric. Results of earlier versions do not say."""
    found = result.fingerprint
    given = [(_PARTS[part], text) for part, text in summary(found).items()]
    named = [(name, found[name].partition(" ")[0]) for name in ("loss", "metric") if name in found]
    return [*given, *named]


def of_diagnostics(found: Diagnostics) -> str:
    """Show the findings, warnings first."""
    warnings = len(found.warnings)
    about = f"{count(warnings, 'warning')}, {count(len(found) - warnings, 'note')}"
    return render("notebook/diagnostics.html", kind="Diagnostics", about=about, findings=found)


def of_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[int],
    foot: Sequence[str],
    best: tuple[int, str, Genotype] | None,
    own: tuple[int, str, Mapping[str, Any]] | None = None,
) -> str:
    """Show rows of cells, their summary and, collapsed, the best cell.

    `numbers` are the columns with numbers; `best` is index, name and genotype of the best row, `own` index,
    name and architecture.
    """
    index, name, genotype = best or (None, "", None)
    architecture: list[tuple[str, str]] = []
    if own is not None:
        index, name, architecture = own[0], own[1], picked(own[2])
    cells = {"picture": None, "notation": ""} if genotype is None else _cells(genotype)
    about = count(len(rows), "row")
    return render(
        "notebook/table.html",
        kind="SearchTable",
        about=about,
        head=head,
        rows=rows,
        columns=numbers,
        foot=foot,
        best=index,
        name=name,
        picked=architecture,
        **cells,
    )


def of_supernet(net: Supernet, dtype: str, device: str) -> str:
    """Show the sizes and the cost of a search network."""
    config, space, cost = net.config, net.space, net.cost()
    recurrent = space.kind == "recurrent"
    example = "token" if recurrent else "sequence" if space.dimensions == 1 else "image"
    if recurrent:
        size = f"{config.units} units, {config.num_classes:,} words"
    else:
        sides = "×".join(map(str, (config.image_size or (0, 0))[-(space.dimensions or 2) :]))
        size = (
            f"{count(config.layers, 'cell')}, {config.channels} initial channels, "
            f"{config.num_classes} classes, "
            f"{example}s {config.in_channels}×{sides}"
        )
    tables = ", ".join(
        f"{name} [{len(table.rows)}, {table.columns}]" for name, table in tables_of(space).items()
    )
    facts = [
        ("network", size),
        ("operations", ", ".join(space.all_operations)),
        ("edges", f"{len(space.edges)} per cell, {space.nodes} intermediate nodes"),
        ("weights", f"{cost['weights']:,}"),
        ("α", f"{cost['alphas']:,} numbers: {tables}"),
        ("forward", f"{cost['multiply_adds']:,} multiply-adds per {example}"),
        ("peak of a step", f"{cost['bytes'] / 2**20:,.0f} MiB at batch {config.batch_size}"),
        *_algorithm(config),
    ]
    about = f"{space.name}, {dtype} on {device}"
    return render("notebook/supernet.html", kind="Supernet", about=about, facts=facts)


def _last(history: History[Any], extra: str, of: Callable[[Any], str]) -> dict[str, Any]:
    """Return the last epochs as a table, with the metrics and the column `extra`.

    Accuracies are left out if there are metrics instead.
    """
    metrics = list(dict.fromkeys(name for record in history for name in record.metrics))
    rates = not metrics or any(record.valid_accuracy is not None for record in history)
    accuracies = ["train accuracy", "valid accuracy"] if rates else []
    head = ["epoch", "train loss", "valid loss", *accuracies, *metrics, extra, "seconds"]
    epochs = [
        (
            record.epoch + 1,
            f"{record.train_loss:.4f}",
            f"{record.valid_loss:.4f}",
            *(_percent(getattr(record, name.replace(" ", "_"))) for name in accuracies),
            *(f"{record.metrics.get(name, math.nan):.4g}".replace("nan", "–") for name in metrics),
            of(record),
            f"{record.seconds:.1f}",
        )
        for record in history[-_EPOCHS:]
    ]
    return {"head": head, "epochs": epochs, "of": len(history)}


def _cells(genotype: Genotype) -> dict[str, Any]:
    """Return the plot of the cells, to embed in a page, and their notation."""
    from .plots.cells import size_of
    from .plots.export import to_svg

    text = to_svg(genotype)
    narrowest = min(_WHOLE, round(_LEAST * 96 * size_of(genotype)[0]))  # a narrower card scrolls
    opening = '<svg role="img" aria-label="cells of the genotype" '
    drawn = f'<div style="min-width: {narrowest}px">{opening}{text[text.index("<svg") + 5 :]}</div>'
    return {"picture": Markup(drawn), "notation": str(genotype)}


def _changed(config: SearchConfig) -> list[tuple[str, str, str]]:
    """Return name, value and default of the fields that differ from their defaults, except `space`."""
    return [
        (name, repr(getattr(config, name)), repr(default))
        for name, default in config._changed().items()
        if name != "space"
    ]


def _space(config: SearchConfig) -> str:
    return config.space if isinstance(config.space, str) else repr(config.space)
