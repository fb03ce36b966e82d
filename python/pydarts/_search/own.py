"""What a search needs to know about a network of your own: a module with choices, or a factory of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import nn

from .._core import ConfigError
from .._results.modules import built, copied, fact_of_module
from .._results.tables import AlphaTable
from .._values.callables import check_loss, fact_of, short_name
from .._values.config import SearchConfig
from .._values.hints import hint
from .._values.words import shown
from ..nn._choice import InputChoice
from ..nn._choices import Found, choices_of, tables_of_choices
from ..nn._fix import choices_in
from ..nn._function import FunctionNetwork
from ..nn._module import check_shapes
from ..nn._places import moved, share
from .metrics import Metric, MetricFunction, counter_of, fact_of_metric
from .module import BoundModule
from .network import OwnNetwork, of_function

NetworkLike: TypeAlias = nn.Module | Callable[[], nn.Module] | FunctionNetwork
"""A module with choices, a function or class without arguments that makes one, or a `FunctionNetwork`."""


def own_network(
    network: NetworkLike, loss: Any, metric: MetricFunction | None, unpack: Any, config: SearchConfig
) -> OwnNetwork:
    """Return what a search needs to know about `network`.

    Raises:
        TypeError: `network` is none, or cannot be copied.
        ConfigError: it has no choices or no weights, or its choices contradict each other; or it is a
            `FunctionNetwork`, and there is a metric; or `config` has options of the edges of cells.
    """
    check_edges(config)
    if isinstance(network, FunctionNetwork):
        return of_function(network, loss, metric, config)
    check_selection(config)
    module = built(network, config.seed)
    if not module.training:
        hint(
            f"{type(module).__name__} is in evaluation mode and stays in it during the search; call "
            "network.train() unless that is intended"
        )
    found = choices_in(module)
    check_shapes(module)
    function = loss_of(loss)
    name = None if loss is None else "network" if loss == "network" else short_name(loss)
    counter = None if function is None else counter_of(loss)
    return OwnNetwork(
        tables=shown_tables(found),
        facts={
            "network": fact_of_module(module, found),
            "loss": "network" if loss == "network" else fact_of(loss),
            **({} if metric is None else {"metric": fact_of_metric(metric)}),
            **({} if unpack is None else {"unpack": fact_of(unpack)}),
        },
        loss=name,
        bound=lambda dtype, poll: BoundModule(
            moved(_apart(network, module, config.seed), dtype=dtype),
            function,
            counter,
            None if metric is None else Metric(metric, config.seed, poll),
            config.seed,
            poll,
            config.sync_batch_norm,
        ),
        module=module,
    )


def _apart(network: Any, module: nn.Module, seed: int) -> nn.Module:
    """Return a module that a search may change: not `module`, which the result has, nor a part of it."""
    if isinstance(network, nn.Module):
        return copied(module)
    made = built(network, seed)
    if fact_of_module(made, choices_of(made)) != fact_of_module(module, choices_of(module)):
        raise ConfigError(
            f"network() returned two different modules, {type(module).__name__} first; a search calls it "
            "several times, so it must always return the same module"
        )
    return copied(made) if share(made, module) else made  # a factory may return the same module every time


def loss_of(loss: Any) -> Callable[[Any, Any], Any] | None:
    """Return the function of (output, targets); None if the network returns its loss.

    Raises:
        TypeError: neither a function nor "network".
    """
    if isinstance(loss, str):
        if loss != "network":
            raise ConfigError(f'loss is {shown(loss)}; it must be a function, "network", or None')
        return None
    check_loss(loss)
    return nn.functional.cross_entropy if loss is None else loss


def shown_tables(found: tuple[Found, ...]) -> dict[str, AlphaTable]:
    """Return the names of the rows and candidates of the tables of choices."""
    return {
        table.name: AlphaTable(
            table.name,
            tuple(row.label for row in table.rows),
            tuple(row.choices[0].candidates for row in table.rows),
            choices=tuple(tuple(one.name for one in row.choices) for row in table.rows),
            indices=isinstance(table.rows[0].choices[0].module, InputChoice),
            keeps=(table.keep,) * len(table.rows) if table.keep > 1 else (),
        )
        for table in tables_of_choices(found)
    }


def check_edges(config: SearchConfig) -> None:
    """Raise ConfigError for options of the edges of cells."""
    for name in ("partial_channels", "edge_normalization", "auxiliary_skip"):
        value, default = getattr(config, name), getattr(SearchConfig(), name)
        if value != default:
            raise ConfigError(
                f"{name} is {value!r} and applies to the edges of cells; pass {name}={default!r} with a "
                "network of your own"
            )


def check_selection(config: SearchConfig) -> None:
    """Raise ConfigError if the selection may leave a choice without a candidate."""
    selection: Any = config.selection
    if selection.name == "threshold" or getattr(selection, "k", None):
        raise ConfigError(
            f"selection is {selection!r}, which may leave a choice of a network of your own without a "
            'candidate; use "strongest" without k, or "argmax"'
        )
