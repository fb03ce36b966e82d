"""Sizes of the data, read once for several searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._data.loaders import Loader, open_sources
from .._data.memory import batch_size
from .._data.unpacking import Contents
from .._values.callables import fact_of
from .._values.config import SearchConfig
from .._values.fields import ConfigFields


@dataclass(frozen=True)
class Sizes:
    """Sizes read from the data, once for all searches and trainings."""

    fields: ConfigFields
    """Sizes as fields of a `SearchConfig`."""
    arguments: dict[str, Any]
    """Sizes as arguments of `build`."""
    image_size: tuple[int, int] | None
    """Height and width of the images; None for text."""
    batch_size: int
    """Batch size of a search that uses the memory alone."""
    facts: dict[str, str]
    """The facts that a resumed table compares."""

    def facts_with(self, loss: Any) -> dict[str, str]:
        """The facts about the data and a loss; those of user-defined networks are complete."""
        if "network" in self.facts:
            return self.facts
        return {**self.facts, "loss": fact_of(loss)}

    @classmethod
    def of(cls, loader: Loader, config: SearchConfig, loss: Any) -> Sizes:
        sources = open_sources(loader, config, contents=Contents(free=loss is not None))
        sources.close()
        found = sources.config
        if config.resolved_space.kind == "recurrent":
            count = found.num_classes
            return cls({"num_classes": count}, {"vocabulary": count}, None, batch_size(found), sources.facts)
        counts = {"num_classes": found.num_classes, "in_channels": found.in_channels}
        fields: Any = counts | {"image_size": found.image_size}
        return cls(fields, counts, found.image_size, batch_size(found), sources.facts)
