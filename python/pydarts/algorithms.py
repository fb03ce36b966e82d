"""The algorithms that a search can use, as values of the options of `SearchConfig`.

Each option takes a name, which stands for the defaults, or an instance of one of these classes:

>>> import pydarts
>>> from pydarts.algorithms import Gumbel, Linear
>>> pydarts.SearchConfig(relaxation=Gumbel(temperature=Linear(10, 0.1)))
SearchConfig(relaxation=Gumbel(temperature=Linear(start=10.0, end=0.1)))
"""

from __future__ import annotations

from ._values import algorithms as _classes
from ._values.algorithms import *  # noqa: F403

__all__ = [
    name for name, value in vars(_classes).items() if getattr(value, "__module__", "") == _classes.__name__
]
