"""Presets: the published settings of an algorithm, per space.

A setting that counts epochs is stored with the published number of epochs and scales with `epochs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import _core
from .algorithms import Curvature, Linear, MixedLevel, Threshold
from .config import SearchConfig
from .perturbations import Adversarial, Uniform
from .relaxations import Dirichlet, Gumbel, GumbelHard
from .space import Space
from .terms import BetaDecay, ZeroOne
from .words import shown

_SEVEN = (
    "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3",
    "dil_conv_5x5",
)  # fmt: skip
_ROBUST = ("darts", "s1", "s2", "s3", "s4")
_BENCHMARK = "nas-bench-201"
# The optimiser of searches of NAS-Bench-201 whose code comes from DARTS; the space has that of the benchmark.
_AS_DARTS = {"weight_decay": 3e-4, "weight_nesterov": False, "weight_lr_schedule": "epoch"}

Settings = Callable[["Epochs"], dict[str, Any]]


@dataclass(frozen=True)
class Epochs:
    """The number of epochs of a search, and the published one."""

    n: int
    published: int

    def scaled(self, count: int) -> int:
        """Return a published number of first epochs, scaled; leaving at least one epoch."""
        return min(round(count * self.n / self.published), self.n - 1)

    def last(self, start: float, end: float) -> float:
        """Return the number in the last epoch of a schedule that reaches `end` one epoch later."""
        return end + (start - end) / self.n


@dataclass(frozen=True)
class Preset:
    """An algorithm with its published settings.

    Attributes:
        name: the name for `SearchConfig.preset`.
        title: name and publication.
        source: the source of the settings.
        epochs: the published number of epochs, on the first of the spaces.
        spaces: the spaces with published settings.
    """

    name: str
    title: str
    source: str
    epochs: int
    spaces: tuple[str, ...]
    _settings: Settings
    _by_space: Mapping[str, Settings]
    _epochs: Mapping[str, int]

    def settings(self, space: str, epochs: int | None) -> dict[str, Any]:
        """Return the fields that differ from the defaults of the space."""
        published = self._epochs.get(space, self.epochs)
        count = Epochs(published if epochs is None else epochs, published)
        own = self._by_space[space](count) if space in self._by_space else {}
        return self._settings(count) | own | {"epochs": count.n}


_PRESETS: dict[str, Preset] = {}


def _add(
    name: str,
    title: str,
    source: str,
    settings: Settings,
    epochs: int = 50,
    spaces: tuple[str, ...] = ("darts",),
    by_space: Mapping[str, Settings] | None = None,
    epochs_of: Mapping[str, int] | None = None,
) -> None:
    """Add a preset; `by_space` and `epochs_of` hold what differs from the first space."""
    _PRESETS[name] = Preset(name, title, source, epochs, spaces, settings, by_space or {}, epochs_of or {})


_DARTS = "quark0/darts, cnn/train_search.py and rnn/train_search.py"
_add(
    "darts_first_order",
    "DARTS, first order (Liu et al., ICLR 2019)",
    _DARTS,
    lambda e: {"hypergradient": "first_order"},
    spaces=(*_ROBUST, "darts-rnn", _BENCHMARK),
    by_space={_BENCHMARK: lambda e: {"order": "weights_first"}},
)
_add(
    "darts_second_order",
    "DARTS, second order by finite differences (Liu et al., ICLR 2019)",
    _DARTS,
    lambda e: {"hypergradient": "unrolled"},
    spaces=(*_ROBUST, "darts-rnn", _BENCHMARK),
)
_add(
    "darts_exact",
    "DARTS, second order without finite differences (Liu et al., ICLR 2019, eq. 7)",
    _DARTS,
    lambda e: {"hypergradient": "unrolled_exact"},
    spaces=(*_ROBUST, "darts-rnn", _BENCHMARK),
)
_add(
    "pc_darts",
    "PC-DARTS (Xu et al., ICLR 2020)",
    "yuhuixu1993/PC-DARTS@b74702f, train_search.py",
    lambda e: {
        "partial_channels": 4,
        "edge_normalization": True,
        "batch_size": 256,
        "weight_lr": 0.1,
        "weight_lr_min": 0.0,
        "arch_lr": 6e-4,
        "arch_start_epoch": e.scaled(15),
    },
)
_add(
    "gdas",
    "GDAS (Dong and Yang, CVPR 2019)",
    "D-X-Y/AutoDL-Projects@f46486e, xautodl/models/cell_searchs and configs",
    lambda e: {
        "relaxation": GumbelHard(temperature=Linear(10, 0.1)),
        "order": "weights_first",
        "batch_size": 256,
        "weight_nesterov": True,
        "weight_decay": 5e-4,
        "weight_lr_schedule": "step",
    },
    epochs=250,
    spaces=("darts", _BENCHMARK),
    by_space={_BENCHMARK: lambda e: {"batch_size": 64}},
)
_add(
    "snas",
    "SNAS without a resource term (Xie et al., ICLR 2019)",
    "SNAS-Series/SNAS-Series@6b08bf9, SNAS/train_search.py",
    lambda e: {
        "relaxation": Gumbel(temperature=Linear(1, e.last(1, 0.03))),
        "hypergradient": "single_level",
        "train_portion": 0.9,
        "drop_path": 0.3,
        "arch_init": ("normal", 0.01, 1.0),
        "arch_optimizer": "sgd",
        "arch_weight_decay": 0.0,
        "arch_grad_clip": 10.0,
        "selection": "argmax",
    },
    epochs=150,
)
_add(
    "drnas",
    "DrNAS, its first stage (Chen et al., ICLR 2021)",
    "xiangning-chen/DrNAS@68bbcbf, DARTS-space/train_search.py",
    lambda e: {
        "relaxation": Dirichlet(),
        "operations": _SEVEN,
        "partial_channels": 6,
        "channels": 36,
        "layers": 20,
        "weight_lr": 0.1,
        "weight_lr_min": 0.0,
        "arch_lr": 6e-4,
        "arch_start_epoch": e.scaled(10),
    },
    epochs=25,
    spaces=("darts", _BENCHMARK),
    by_space={
        _BENCHMARK: lambda e: (
            _AS_DARTS
            | {
                "operations": None,
                "partial_channels": 1,
                "channels": 16,
                "layers": 5,
                "weight_lr": 0.025,
                "weight_lr_min": 0.001,
                "arch_lr": 3e-4,
                "arch_start_epoch": 0,
            }
        )
    },
    epochs_of={_BENCHMARK: 100},
)
_add(
    "fair_darts",
    "FairDARTS (Chu et al., ECCV 2020)",
    "xiaomi-automl/FairDARTS@270cfc9, fairdarts",
    lambda e: {
        "relaxation": "sigmoid",
        "operations": _SEVEN,
        "arch_init": ("normal", 0.0),
        "arch_terms": [ZeroOne(weight=10.0, form="l2")],
        "selection": Threshold(value=0.85, k=2),
        "batch_size": 128,
        "weight_lr": 0.005,
        "arch_lr": 3e-3,
        "arch_betas": (0.9, 0.999),
    },
)
_add(
    "darts_minus",
    "DARTS− (Chu et al., ICLR 2021)",
    "Meituan-AutoML/DARTS-@adb81a8, src/search",
    lambda e: {"auxiliary_skip": Linear(1, e.last(1, 0))},
    spaces=_ROBUST,
)
_add(
    "sdarts_rs",
    "SmoothDARTS, random (Chen and Hsieh, ICML 2020)",
    "xiangning-chen/SmoothDARTS@d3dbfed, attacker/perturb.py and sota/cnn/train_search.py",
    lambda e: {"perturbation": Uniform(epsilon=Linear(0.03, e.last(0.03, 0.3)))},
    spaces=_ROBUST,
)
_add(
    "sdarts_adv",
    "SmoothDARTS, adversarial (Chen and Hsieh, ICML 2020)",
    "xiangning-chen/SmoothDARTS@d3dbfed, attacker/perturb.py and sota/cnn/train_search.py",
    lambda e: {"perturbation": Adversarial(epsilon=Linear(0.03, e.last(0.03, 0.3)), steps=7)},
    spaces=_ROBUST,
)
_add(
    "robust_darts",
    "RobustDARTS with weight decay and early stopping (Zela et al., ICLR 2020)",
    "automl/RobustDARTS@3dec3fe, src/search",
    lambda e: {
        "hypergradient": "unrolled",
        "weight_decay": 81e-4,
        "curvature_every": 2,
        "stop": Curvature(),
    },
    spaces=_ROBUST,
)
_add(
    "beta_darts",
    "β-DARTS (Ye et al., CVPR 2022)",
    "Sunshine-Ye/Beta-DARTS@874d00f, optimizers/darts/architect.py",
    lambda e: {"arch_terms": [BetaDecay(weight=Linear(0, e.last(0, 25)))]},
    spaces=("darts", _BENCHMARK),
    by_space={_BENCHMARK: lambda e: _AS_DARTS | {"arch_terms": [BetaDecay(weight=Linear(0, e.last(0, 50)))]}},
    epochs_of={_BENCHMARK: 100},
)
_add(
    "milenas",
    "MiLeNAS (He et al., CVPR 2020)",
    "chaoyanghe/MiLeNAS@ce91b6b, search_algorithm/architect.py",
    lambda e: {"hypergradient": MixedLevel(weight=1.0)},
)
_add(
    "random_ws",
    "Random search with weight sharing (Li and Talwalkar, UAI 2019)",
    "liamcli/randomNAS_release@6513a0a, searchers/random_weight_share.py",
    lambda e: {"relaxation": "random", "selection": "sampled"},
    epochs=100,
    spaces=("darts", _BENCHMARK),
    epochs_of={_BENCHMARK: 250},
)


def presets() -> tuple[Preset, ...]:
    """Return all presets of `SearchConfig.preset`, each with its title, source and spaces.

    >>> from pydarts.algorithms import presets
    >>> [preset.name for preset in presets()][:4]
    ['darts_first_order', 'darts_second_order', 'darts_exact', 'pc_darts']
    """
    return tuple(_PRESETS.values())


def configuration(name: str, like: str | None, changes: Mapping[str, Any]) -> SearchConfig:
    """Return the configuration of `SearchConfig.preset`."""
    if not isinstance(name, str):
        raise TypeError(f"name must be the name of a preset, got {shown(name)}")
    if name not in _PRESETS:
        raise _core.ConfigError(_core.unknown_name("preset", name, list(_PRESETS)))
    preset = _PRESETS[name]
    given = {key: value for key, value in changes.items() if value is not None}
    space = given.get("space", "darts")
    known = like if like is not None else space.name if isinstance(space, Space) else str(space)
    if known not in preset.spaces:
        spaces = ", ".join(f'"{space}"' for space in preset.spaces)
        what = f"like={like!r}" if like is not None else f"the space {known!r}"
        raise _core.ConfigError(
            f"preset {name!r} has no published settings for {what}; it has settings for {spaces}. Pass "
            f'like="{preset.spaces[0]}" to use those of that space'
        )
    epochs = given.get("epochs")
    settings = preset.settings(known, epochs if isinstance(epochs, int) and epochs > 0 else None)
    if like is not None or isinstance(space, Space):
        settings.pop("operations", None)  # the space has its own
    return SearchConfig.from_dict({"algorithm": name} | settings | dict(changes) | {"space": space})


def table() -> str:
    """Return a Markdown table of all presets with the options that differ from those of DARTS, first order.

    >>> from pydarts.algorithms import table
    >>> print(table().splitlines()[3])
    | `darts_second_order` | `hypergradient='unrolled'` |
    """
    rows = ["| preset | options that differ from `darts_first_order` |", "|---|---|"]
    for preset in presets():
        config = SearchConfig.preset(preset.name)
        changed = [name for name in config._not_default() if name != "algorithm"]
        options = ", ".join(f"`{name}={getattr(config, name)!r}`" for name in changed)
        rows.append(f"| `{preset.name}` | {options or 'none'} |")
    return "\n".join(rows)
