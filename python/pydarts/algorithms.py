"""The algorithms that a search can use, as values of the options of `SearchConfig`.

Each option accepts a name, for the default fields, or an instance of one of these classes:

>>> import pydarts
>>> from pydarts.algorithms import Gumbel, Linear
>>> pydarts.SearchConfig(relaxation=Gumbel(temperature=Linear(10, 0.1)))
SearchConfig(relaxation=Gumbel(temperature=Linear(start=10.0, end=0.1)))
"""

from __future__ import annotations

from ._values import algorithms as _classes
from ._values import perturbations as _perturbations
from ._values import relaxations as _relaxations
from ._values import terms as _terms
from ._values.algorithms import *  # noqa: F403
from ._values.perturbations import *  # noqa: F403
from ._values.presets import Preset, presets, table
from ._values.relaxations import *  # noqa: F403
from ._values.terms import *  # noqa: F403

__all__ = [
    "Preset",
    "presets",
    "table",
    *(
        name
        for module in (_classes, _relaxations, _perturbations, _terms)
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    ),
]


def __dir__() -> list[str]:
    return [*__all__]
