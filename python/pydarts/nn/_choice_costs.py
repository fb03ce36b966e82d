"""The costs of the candidates of a network of your own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor, nn
from torch.utils import _pytree as trees

from .. import _core
from .._values.terms import COSTS, Flops, Latency, Parameters
from ._choice import Choice
from ._choices import Found, choices_of, paths_of, tables_of_choices
from ._cost import flops_of

if TYPE_CHECKING:
    from .._values.config import SearchConfig

Costs: TypeAlias = tuple[str, list[float], float]
"""What is counted, the cost of each entry of flat α, and that of the rest of the network."""

_OF_TARGETS = ("channels", "layers", "image_size", "stem")
"""Fields of terms that describe the network which `build` makes of a genotype."""


def choice_costs(
    config: SearchConfig, module: nn.Module | None, batch: tuple[Any, int] | None
) -> list[Costs]:
    """Return the costs that the terms of a configuration need.

    Args:
        config: the configuration.
        module: the network; None: a `FunctionNetwork`, which has no candidates to count.
        batch: the inputs of a batch and its number of examples; None: not known.

    Raises:
        ConfigError: a term does not apply to the network.
    """
    found = []
    for term in config.arch_terms:
        if not isinstance(term, COSTS):
            continue
        try:
            if isinstance(term, Latency):
                raise _core.ConfigError("its table holds times of the operations of a space, not of modules")
            default = type(term)()
            given = [
                name for name in _OF_TARGETS if getattr(term, name, None) != getattr(default, name, None)
            ]
            if given:
                raise _core.ConfigError(
                    f"`{given[0]}` applies to a network that pydarts.build makes from a genotype; leave it "
                    "out: the candidates of a network of your own are counted as they are"
                )
            if module is None:
                raise _core.ConfigError("a FunctionNetwork has no modules to count")
            found.append(_ChoiceCosts(module).of(term, batch))
        except _core.ConfigError as error:
            raise _core.ConfigError(f"`arch_terms` has {term.name!r}: {error}") from error
    return found


class _ChoiceCosts:
    """The candidates of a module by their entry of flat α: row by row, rows padded to equal length."""

    def __init__(self, module: nn.Module) -> None:
        self._module, self._choices = module, choices_of(module)
        self._starts: dict[tuple[str, int], int] = {}
        self._entries = 0
        for table in tables_of_choices(self._choices):
            columns = max(len(row.choices[0].candidates) for row in table.rows)
            for row in range(len(table.rows)):
                self._starts[table.name, row] = self._entries
                self._entries += columns

    def of(self, term: Flops | Parameters, batch: tuple[Any, int] | None) -> Costs:
        """Count what a term asks for."""
        for choice, _, name, candidate in self._candidates():
            if any(isinstance(part, Choice) for part in candidate.modules()):
                raise _core.ConfigError(
                    f"the candidate {name!r} of {choice.name!r} contains another choice, so the expected "
                    "cost is not a sum over candidates; cost terms do not apply to nested choices"
                )
        if isinstance(term, Parameters):
            return self._parameters()
        if batch is None:
            raise _core.ConfigError("multiply-adds depend on the size of the inputs; pass example=")
        return self._flops(*batch)

    def _candidates(self) -> Iterator[tuple[Found, int, str, nn.Module]]:
        """Yield every candidate module: its choice, its entry and its name."""
        for found in self._choices:
            if isinstance(found.module, Choice):
                start = self._starts[found.table, found.row]
                for column, (name, candidate) in enumerate(found.module.candidates.items()):
                    yield found, start + column, name, candidate

    def _parameters(self) -> Costs:
        """Count the weights, as `cost` does of the network with its choices made."""
        flat, rest = [0.0] * self._entries, 0.0
        sizes = {name: weight.numel() for name, weight in self._module.named_parameters()}
        for name, paths in paths_of(self._module, self._choices).items():
            if [] in paths:
                rest += sizes[name]
            elif len(paths) == 1:
                flat[paths[0][0]] += sizes[name]
            else:
                raise _core.ConfigError(
                    f"{name!r} belongs to several candidates, so expected costs are not sums over candidates"
                )
        return "parameters", flat, rest

    def _flops(self, inputs: Any, examples: int) -> Costs:
        """Count the multiply-adds per example, as `cost` does of the network with its choices made."""
        entries: dict[nn.Module, int] = {}
        for choice, entry, name, candidate in self._candidates():
            if entries.setdefault(candidate, entry) != entry:
                raise _core.ConfigError(
                    f"the candidate {name!r} of {choice.name!r} is the same module as another one; make a "
                    "module for each"
                )
        names = {name: entries[part] for name, part in self._module.named_modules() if part in entries}
        floating = [weight.dtype for weight in self._module.parameters() if weight.is_floating_point()]

        def cast(value: Tensor) -> Tensor:
            return value.to(floating[0]) if value.is_floating_point() and floating else value

        total, parts = flops_of(self._module, trees.tree_map_only(Tensor, cast, inputs), tuple(names))
        flat = [0.0] * self._entries
        for name, flops in parts.items():
            flat[names[name]] += flops / 2 / examples
        return "flops", flat, (total - sum(parts.values())) / 2 / examples
