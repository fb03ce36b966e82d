"""`SearchConfig`: the options of a search. Defaults and checks are in the core."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

import torch

from .. import _core
from . import algorithms, fields, perturbations, relaxations, terms, views
from .algorithms import Decider, Hypergradient, Schedule, Selection
from .columns import table
from .fields import FIELDS, ConfigAttributes, Method, rows
from .files import user_path
from .hints import hint
from .operation import Operation, named
from .perturbations import Perturbation
from .record import Record, differences
from .relaxations import Relaxation
from .resolved import Resolved
from .space import Space, as_space
from .terms import Term
from .variants import AXES, plain

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .fields import ConfigFields


_SCHEDULED = ("weight_decay", "drop_path", "skip_dropout")
"""Fields that are numbers or schedules."""


class SearchConfig(ConfigAttributes, Record, _core.SearchConfig):
    """The options of a search. Keyword-only and immutable; the defaults are the published ones.

    The sections named are those of the DARTS paper (ICLR 2019); "code" means that the value is that of the
    published implementation, and "ours" that the choice is this library's.

    A recurrent space has its own defaults (code): `batch_size` 256 sequences, `weight_lr` 20, the same in
    all epochs but scaled by the length of each segment, no momentum, `weight_decay` 5e-7, `grad_clip` 0.25,
    in the virtual step too, `arch_lr` 3e-3, `arch_betas` (0.9, 0.999). It does not use the fields about
    images; only recurrent spaces use the fields from `units` to `slowness`. Recurrent cells are normalised
    over the sequences of a batch, in the evaluation too: `eval_batch_size` None means `batch_size`
    (published: 10, with running statistics, under which states grow without bound).

    A space with `stages` has the defaults of NAS-Bench-201 (code): `layers` 5 (cells per stage),
    `weight_decay` 5e-4, `weight_nesterov` True and `weight_lr_schedule` "step". If `stages` is a list, it
    also has `channels` 64 and `layers` 2, as in TransNAS-Bench-101.

    {fields}

    Raises:
        ConfigError: an unknown field (the message names the nearest known one), or a value out of range or of
            a wrong type (the message names field, value and range).
        SpaceError: an impossible space or list of operations.

    >>> SearchConfig(hypergradient="unrolled", seed=3)
    SearchConfig(hypergradient='unrolled', seed=3)
    >>> SearchConfig(layers=5).replace(epochs=10).layers
    5
    """

    __slots__ = ()
    _error = _core.ConfigError
    __signature__: ClassVar[inspect.Signature]

    def __new__(cls, **fields: Unpack[ConfigFields]) -> Self:
        return cls._of(_current(fields))

    @classmethod
    def _of(cls, value: object) -> Self:
        if isinstance(value, Mapping):
            folder = value.get("checkpoint_dir")
            if isinstance(folder, (str, os.PathLike)) and folder != "":
                value = {**value, "checkpoint_dir": os.fspath(user_path(folder))}
            value = _with_own(value)
            given = {
                name: plain(field) if name in AXES or isinstance(field, Schedule) else field
                for name, field in value.items()
            }
            value = {name: field for name, field in given.items() if field is not None or name not in AXES}
        return super()._of(value)

    @property
    def space(self) -> str | Space:
        """The search space: its name, or a `Space` that differs from the preset of its name."""
        value = self.to_dict()["space"]
        return value if isinstance(value, str) else Space.from_dict(value)

    @property
    def relaxation(self) -> Relaxation:
        """The function from the logits α to the mixing weights, one of `pydarts.algorithms`."""
        return Relaxation._of(self.to_dict()["relaxation"])

    @property
    def hypergradient(self) -> Method | Hypergradient:
        """The estimator of the gradient by α: a name, or one with parameters of `pydarts.algorithms`."""
        value: Any = self.to_dict()["hypergradient"]
        return Hypergradient._of(value) if isinstance(value, dict) else value

    @property
    def selection(self) -> Selection:
        """The rule that picks operations and edges, one of `pydarts.algorithms`."""
        return Selection._of(self.to_dict()["selection"])

    @property
    def stop(self) -> Decider | None:
        """The rule that ends the search early, one of `pydarts.algorithms`."""
        value = self.to_dict()["stop"]
        return None if value is None else Decider._of(value)

    @property
    def weight_decay(self) -> float | Schedule:
        """The weight decay of the weights: a number, or a schedule of the epochs."""
        return self._scheduled("weight_decay")

    @property
    def drop_path(self) -> float | Schedule:
        """The probability that a mixed edge is dropped: a number, or a schedule of the epochs."""
        return self._scheduled("drop_path")

    @property
    def skip_dropout(self) -> float | Schedule:
        """The dropout rate after skip connections: a number, or a schedule of the epochs."""
        return self._scheduled("skip_dropout")

    def _scheduled(self, name: str) -> float | Schedule:
        value = self.to_dict()[name]
        return Schedule._of(value) if isinstance(value, dict) else float(value)

    @property
    def auxiliary_skip(self) -> float | Schedule | None:
        """The weight of a skip connection that is added to every edge; None: no such connection."""
        value = self.to_dict()["auxiliary_skip"]
        return Schedule._of(value) if isinstance(value, dict) else value

    @property
    def perturbation(self) -> Perturbation | None:
        """The perturbation of the mixing weights in the weight step, one of `pydarts.algorithms`."""
        value = self.to_dict()["perturbation"]
        return None if value is None else Perturbation._of(value)

    @property
    def arch_terms(self) -> tuple[Term, ...]:
        """The terms added to the validation loss of the α step, each one of `pydarts.algorithms`."""
        return tuple(Term._of(term) for term in self.to_dict()["arch_terms"])

    @classmethod
    def preset(cls, name: str, *, like: str | None = None, **changes: Unpack[ConfigFields]) -> SearchConfig:
        """Return the published settings of an algorithm for a space.

        Settings that count epochs, such as a warm-up, scale with `epochs`. Values in `changes` are taken as
        they are.

        Args:
            name: the algorithm; `pydarts.algorithms.presets()` lists all, with their sources.
            like: the space whose settings to use, for a space without published settings.
            changes: fields of the configuration, such as `space` and `epochs`.

        Raises:
            ConfigError: the name is unknown; the algorithm has no published settings for the space; or a
                value is out of range.

        >>> config = SearchConfig.preset("pc_darts", epochs=10)
        >>> config.partial_channels, config.arch_start_epoch, config.algorithm
        (4, 3, 'pc_darts')
        """
        from .presets import configuration

        return configuration(name, like, _current(changes))

    @classmethod
    def quick(cls, **changes: Unpack[ConfigFields]) -> SearchConfig:
        """A short search with a small network, for trying things out on small images (ours).

        It takes half a minute on scikit-learn's 1,797 digits on two CPU cores. The defaults of
        `SearchConfig()` are the published ones, for which a CPU is too slow.

        Raises:
            ConfigError: the space is a recurrent one, or a value is out of range.

        >>> SearchConfig.quick(seed=1)
        SearchConfig(channels=4, layers=3, epochs=8, arch_lr=0.02, seed=1)
        """
        small: ConfigFields = {"channels": 4, "layers": 3, "epochs": 8, "arch_lr": 0.02}
        config = cls(**(small | changes))
        if config.resolved_space.kind == "recurrent":
            raise _core.ConfigError(
                "SearchConfig.quick has settings for images; for text set epochs, units and bptt of "
                "SearchConfig(space=...)"
            )
        return config

    def resolved(self) -> Resolved:
        """All options with their values, which print as a table; defaults are those of the space.

        Sizes that are None are read from the data.

        >>> resolved = SearchConfig(epochs=3).resolved()
        >>> resolved["epochs"], resolved["weight_lr"]
        (3, 0.025)
        >>> print(str(resolved).splitlines()[8])
        epochs              3  (default: 50)
        """
        defaults = _default(_preset(self.to_dict()["space"]))
        names = [field.name for field in FIELDS]
        return Resolved(*({name: getattr(config, name) for name in names} for config in (self, defaults)))

    def replace(self, **changes: Unpack[ConfigFields]) -> SearchConfig:
        """Return a copy with `changes`. If `space` changes, the defaults change with it.

        >>> SearchConfig(epochs=3).replace(space="darts-rnn").epochs
        3
        """
        return SearchConfig.from_dict(self._not_default() | _current(changes))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchConfig:
        """Create a configuration from a dictionary such as `to_dict` returns; missing fields take defaults.

        >>> SearchConfig.from_dict({"epochs": 3}).epochs
        3
        """
        return cls._of(values)

    @classmethod
    def from_json(cls, text: str) -> SearchConfig:
        """Create a configuration from a JSON object such as `to_json` returns.

        >>> SearchConfig.from_json('{"seed": 5}').seed
        5
        """
        return cls._of_json(text)

    def to_json(self, indent: int | None = None) -> str:
        """Return all fields as a JSON object."""
        return self._json(indent)

    @property
    def resolved_space(self) -> Space:
        """The space with `nodes` and `operations` of this configuration applied."""
        return Space._of(self._whole_space())

    def _not_default(self) -> dict[str, Any]:
        values = self.to_dict()
        space = values["space"]
        shown = differences(values, _default(_preset(space)).to_dict())
        if isinstance(space, dict):  # it holds nodes and operations
            shown = {name: value for name, value in shown.items() if name not in ("nodes", "operations")}
        return shown if space == "darts" else {"space": space} | shown

    def _changed(self) -> dict[str, Any]:
        """The defaults of the fields that have another value."""
        defaults = _default(_preset(self.to_dict()["space"]))
        return {name: getattr(defaults, name) for name in self._not_default()}

    def _repr_html_(self) -> str:
        return views.cards.of_config(self)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._not_default())
        return f"SearchConfig({fields})"


def _current(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as the core takes them: without `tune`, an option of earlier versions; 0 for no clipping."""
    if "tune" in fields:
        hint("`tune` has no effect; leave it out", DeprecationWarning)
    given = {name: value for name, value in fields.items() if name != "tune"}
    limit = given.get("grad_clip", 0.0)
    if limit is None or (isinstance(limit, float) and limit == math.inf):
        given["grad_clip"] = 0.0
    return given


def _with_own(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields with user-defined operations in the space, which holds what they are."""
    own: dict[str, str] = {}
    if not isinstance(fields.get("operations"), (list, tuple)):
        return fields
    named(fields["operations"], own)
    if not own:
        return fields
    space = fields.get("space") or "darts"
    space = Space.from_dict(space) if isinstance(space, Mapping) else as_space(space)
    moved = {name: fields[name] for name in ("operations", "nodes") if fields.get(name) is not None}
    rest = {name: value for name, value in fields.items() if name not in ("operations", "nodes")}
    return {**rest, "space": space.replace(**moved)}


def _preset(space: str | dict[str, Any]) -> str:
    """The published space whose defaults apply."""
    if isinstance(space, str):
        return space
    if (stages := space.get("stages")) is not None:
        return "nas-bench-201" if isinstance(stages, int) else "transnas-bench-101"
    return "darts-rnn" if space["kind"] == "recurrent" else "darts"


@lru_cache(maxsize=8)
def _default(preset: str) -> SearchConfig:
    return SearchConfig._of({"space": preset})


def _types(texts: Mapping[str, str]) -> dict[str, Any]:
    """The types of fields; their table holds text, in which `help()` could not resolve the aliases."""
    own = {
        "os": os,
        "torch": torch,
        "Mapping": Mapping,
        "Sequence": Sequence,
        "Space": Space,
        "Operation": Operation,
    }
    names = vars(algorithms) | vars(relaxations) | vars(perturbations) | vars(terms) | vars(fields) | own
    return get_type_hints(type("Fields", (), {"__annotations__": texts}), names)


def _signature() -> inspect.Signature:
    """The signature with its defaults, as `help()` and completion show it."""
    types = _types({field.name: field.accepts or field.type for field in FIELDS})
    return inspect.Signature(
        [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=getattr(_default("darts"), field.name),
                annotation=types[field.name],
            )
            for field in FIELDS
        ]
    )


SearchConfig.__signature__ = _signature()
SearchConfig.__annotations__.update(_types({field.name: field.type for field in FIELDS}))
SearchConfig.__doc__ = (SearchConfig.__doc__ or "").replace("    {fields}", table(rows()))
