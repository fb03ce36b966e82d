"""What a search needs to know about a network of one's own: a module with choices, or a factory of one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor, nn

from .._core import ConfigError
from .._results.modules import built, fact_of_module
from .._results.tables import AlphaTable
from .._values.callables import check_loss, fact_of, short_name
from .._values.config import SearchConfig
from .._values.hints import hint
from .._values.words import shown
from ..nn._choice import InputChoice
from ..nn._choices import Found, tables_of_choices
from ..nn._fix import choices_in
from ..nn._function import FunctionNetwork
from .module import BoundModule
from .network import OwnNetwork, of_function

NetworkLike: TypeAlias = nn.Module | Callable[[], nn.Module] | FunctionNetwork
"""A module with choices, a function or class without arguments that makes one, or a `FunctionNetwork`."""


def own_network(
    network: NetworkLike, loss: Any, metric: Any, unpack: Any, config: SearchConfig
) -> OwnNetwork:
    """Return what a search needs to know about `network`.

    Raises:
        TypeError: `network` is none, or cannot be copied.
        ConfigError: it has no choices or no weights, or its choices contradict each other.
    """
    if isinstance(network, FunctionNetwork):
        return of_function(network, loss)
    check_selection(config)
    module, factory = built(network, config.seed), not isinstance(network, nn.Module)
    if not module.training:
        hint(
            f"{type(module).__name__} is in evaluation mode, and modules in evaluation mode stay in it in "
            "a search; call network.train() unless that is intended"
        )
    found = choices_in(module)
    function = loss_of(loss)
    name = None if loss is None else "network" if loss == "network" else short_name(loss)
    counts = is_cross_entropy(loss)
    return OwnNetwork(
        tables=shown_tables(found),
        facts={
            "network": fact_of_module(module, found),
            "loss": "network" if loss == "network" else fact_of(loss),
            **({} if unpack is None else {"unpack": fact_of(unpack)}),
        },
        loss=name,
        bound=lambda seed, poll: BoundModule(
            built(network if factory else module, seed), function, _classified if counts else None, seed, poll
        ),
        module=module,
    )


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


def is_cross_entropy(loss: Any) -> bool:
    """Return whether a loss is cross-entropy, with any options."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    return loss is None or loss is nn.functional.cross_entropy or isinstance(loss, nn.CrossEntropyLoss)


def _classified(output: Any, targets: Any) -> Tensor | None:
    if not isinstance(output, Tensor) or not isinstance(targets, Tensor) or output.ndim != 2:
        return None
    labels = targets if targets.ndim == 1 else targets.argmax(1)
    return (output.argmax(1) == labels).sum()


def shown_tables(found: tuple[Found, ...]) -> dict[str, AlphaTable]:
    """Return the names of the rows and candidates of the tables of choices."""
    return {
        table.name: AlphaTable(
            table.name,
            tuple(row.label for row in table.rows),
            tuple(row.choices[0].candidates for row in table.rows),
            choices=tuple(tuple(one.name for one in row.choices) for row in table.rows),
            indices=isinstance(table.rows[0].choices[0].module, InputChoice),
        )
        for table in tables_of_choices(found)
    }


def check_selection(config: SearchConfig) -> None:
    """Raise ConfigError if the selection may leave a choice without a candidate."""
    selection: Any = config.selection
    if selection.name == "threshold" or getattr(selection, "k", None):
        raise ConfigError(
            f"selection is {selection!r}, which may leave a choice of a network of one's own without a "
            'candidate; use "strongest" or "argmax"'
        )
