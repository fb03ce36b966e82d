"""`Supernet`: the search network, for inspection and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from .. import _core
from .._data.arrays import Array, name_of
from .._values import views
from .._values.ambient import plain
from .._values.arguments import formerly
from .._values.checks import check_state, flag
from .._values.config import SearchConfig
from .._values.fields import ConfigFields
from .._values.operation import Operation
from .._values.space import Space
from .._values.words import shown
from ..nn._costs import target_costs
from .inspected import Inspected, tensor_of
from .operations import bound_operations

Batch: TypeAlias = tuple[Array, Array]

_NAMES = ("float32", "float64", "tf32", "bfloat16")


class Supernet(Inspected):
    """The network of a search (paper, section 2.2): every edge is a softmax-weighted sum of all candidates.

    It is computed by the engine and is not a `torch.nn.Module`; `SearchModule` offers the same methods for a
    PyTorch module with choices. Arguments override `config`; the default in parentheses applies if neither
    sets a value.

    The network of a recurrent space is a language model: x and y are tokens [T, N], N sequences of T tokens,
    with y one token ahead of x. The network of a space of one dimension, such as "darts-1d", reads sequences
    x [N, C, L]. The rest of this page describes images unless stated otherwise.

    Args:
        space: a name or a `Space` ("darts").
        vocabulary: number of words, in a recurrent space (10,000).
        units: size of an embedded word and of a state, in a recurrent space (300).
        channels: channels of the first cells (16).
        layers: number of cells (8).
        num_classes: number of classes (10).
        in_channels: channels of an image (3).
        image_size: side in pixels or (height, width), or the length of a sequence (32).
        operations: candidate operations, in order (those of the space).
        nodes: intermediate nodes of a cell (those of the space).
        seed: seed of the initial weights and α (0).
        precision: "float32", "float64", "tf32" (float32 with products rounded by the GPU), "bfloat16" (for
            activations only), or a torch dtype (the config's precision; "float32" if that is "auto").
        device: "cpu", "cuda", "cuda:1" or a torch.device ("cpu").
        config: a `SearchConfig` for everything else: learning rates, weight decay, momentum, clipping.

    Raises:
        ConfigError: an option is out of range, or precision, space or device is unknown.
        SpaceError: the network cannot be built, for example because a reduction's input is below 2x2.
        DeviceError: CUDA was requested but is not available.

    >>> net = Supernet(channels=4, layers=3, num_classes=5, in_channels=1, image_size=8)
    >>> net.logits(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 5])
    >>> sorted(net.alphas)
    ['normal', 'reduce']
    """

    _net: _core.Supernet

    @formerly(dtype="precision")
    @plain()
    def __init__(
        self,
        space: str | Space | None = None,
        *,
        channels: int | None = None,
        layers: int | None = None,
        num_classes: int | None = None,
        in_channels: int | None = None,
        image_size: int | Sequence[int] | None = None,
        operations: Sequence[str | Operation] | None = None,
        nodes: int | None = None,
        vocabulary: int | None = None,
        units: int | None = None,
        seed: int | None = None,
        precision: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        config: SearchConfig | None = None,
    ) -> None:
        if isinstance(space, SearchConfig):
            raise _core.ConfigError("Supernet takes a configuration by name: Supernet(config=cfg)")
        base = SearchConfig() if config is None else config
        given: dict[str, Any] = {
            "space": space,
            "channels": channels,
            "layers": layers,
            "num_classes": num_classes,
            "in_channels": in_channels,
            "image_size": image_size,
            "operations": operations,
            "nodes": nodes,
            "units": units,
            "seed": seed,
        }
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if space is None and isinstance(base.space, Space):  # a Space holds operations and nodes itself
            inside = {name: changes.pop(name) for name in ("operations", "nodes") if name in changes}
            changes |= {"space": base.space.replace(**inside)} if inside else {}
        recurrent = base.replace(**_fields(changes)).resolved_space.kind == "recurrent"
        if vocabulary is not None:
            if not recurrent or num_classes is not None:
                raise _core.ConfigError(
                    "vocabulary applies to recurrent spaces only; pass num_classes instead"
                )
            changes["num_classes"] = vocabulary
        sizes = (
            {"num_classes": 10_000} if recurrent else {"num_classes": 10, "in_channels": 3, "image_size": 32}
        )
        for name, value in sizes.items():
            if getattr(base, name) is None:
                changes.setdefault(name, value)
        self._config = base.replace(**_fields(changes))
        self._precision = precision_name(precision, self._config)
        self._device = str(device) if device is not None else device_of(self._config)
        own = bound_operations(self._config.resolved_space, self._config.seed)
        costs = target_costs(self._config)
        self._net = _core.Supernet(self._config, self._precision, self._device, own, costs)

    if not TYPE_CHECKING:  # a type checker would accept any name

        def __getattr__(self, name: str) -> Any:
            """Say what to use instead of an attribute that only modules have."""
            if hasattr(nn.Module, name) and not name.startswith("_"):
                raise AttributeError(
                    f"a Supernet is not an nn.Module and has no {name}; it has state_dict, logits, loss, "
                    "arch_gradient and step, and SearchModule has them for a PyTorch module with choices"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def config(self) -> SearchConfig:
        """The configuration of this network, with all sizes filled in."""
        return self._config

    @property
    def space(self) -> Space:
        """The search space."""
        return self._config.resolved_space

    @plain()
    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of all weights and running statistics by name, without α.

        `<batch norm>.running_mean` and `.running_var` start at 0 and 1 and are updated with momentum 0.1 in
        each step; `.num_batches_tracked`, an int64 scalar, counts these steps.
        """
        return self._net.state_dict()

    @plain()
    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Replace weights and running statistics by those of `state`, which must be complete.

        Only `num_batches_tracked` may be absent: the statistics are then used as they are, as if after 2**20
        steps.

        Raises:
            DataError: names or shapes are wrong, a count is not a whole number from 0 to 2**53, or a
                statistic is NaN, infinite or a negative variance; the message names them.
        """
        check_state(state)
        self._net.load_state_dict({name: tensor_of(value) for name, value in state.items()})

    @plain()
    def logits(self, x: Array) -> Tensor:
        """Return the logits [N, classes] of images x [N, C, H, W], with batch statistics, as in the search.

        For tokens x [T, N], they are [T, N, words]: the state starts at zeros, and the `masks` are those of
        the next step.
        """
        return self._net.logits(tensor_of(x))

    @plain()
    def loss(self, x: Array, y: Array) -> float:
        """Return the mean cross-entropy in nats of images x [N, C, H, W] and labels y [N]."""
        return self._net.loss(*_batch((x, y)))

    @plain()
    def evaluate(self, x: Array, y: Array) -> tuple[float, int]:
        """Return the mean cross-entropy and the number of correct predictions, with running statistics.

        The statistics are corrected for their initial values: after t steps, the mean is
        running_mean/(1 - 0.9^t) and the variance (running_var - 0.9^t)/(1 - 0.9^t). Before the first step,
        they are 0 and 1. The network of a recurrent space uses the statistics of the batch.
        """
        return self._net.evaluate(*_batch((x, y)))

    @plain()
    def masks(self) -> dict[str, Tensor]:
        """Return the dropout masks of the next step; all training losses of a step share one draw.

        Returns:
            Tensors with the entries 0 or 1/(1 - p), by name. A recurrent network has "rows" [words, 1],
            "embedded", "input", "hidden" and "output" [batch_size, units]. Other networks have the masks of
            the latest call with a batch, such as `loss` or `arch_gradient`: for training losses,
            "weight.0.cells.0.edges.0_2" [N] (`drop_path`) and "weight.0.cells.0.edges.0_2.skip_connect"
            [N, C, H, W] or [N, C, L] (`skip_dropout`), where the first 0 is the number of the micro-batch;
            for the validation loss, names that start with "alpha". Empty if nothing is dropped, and after
            `step`.

        >>> config = SearchConfig(space="darts-rnn", batch_size=2)
        >>> net = Supernet(vocabulary=20, units=4, config=config)
        >>> net.masks()["hidden"].shape
        torch.Size([2, 4])
        """
        return self._net.masks()

    @plain()
    def explain(self, *, full: bool = False) -> str:
        """Return a description of the plan that the engine executes, as text.

        Args:
            full: list every instruction; False: only the space, the sizes of the parts of the network, and
                its cost, in at most 40 lines.

        >>> net = Supernet(channels=4, layers=3)
        >>> len(net.explain().splitlines()) < 40 < len(net.explain(full=True).splitlines())
        True
        """
        return self._net.explain(flag("full", full))

    @plain()
    def cost(self) -> dict[str, int]:
        """Return the cost of the network, computed from the plan alone.

        Returns:
            `weights` and `alphas`: how many there are. `multiply_adds` and `flops`: the forward pass of one
            image. `bytes_per_image_arch` and `bytes_per_image_weight`: the memory that the loss of α and that
            of the weights keep between forward and backward pass. `bytes_per_image`: the share of one image
            in the peak memory of a step with the config's `hypergradient` and `memory`. `bytes`: that peak
            with the config's `batch_size`. Both peaks exclude the memory that network, data and libraries
            hold between steps.

        >>> cost = Supernet(channels=8, layers=5, config=SearchConfig(batch_size=2)).cost()
        >>> cost["weights"], cost["bytes"] > 2 * cost["bytes_per_image"]
        (394210, True)
        """
        return self._net.cost()

    def _read(self, batch: Any) -> tuple[Tensor, Tensor]:
        return _batch(batch)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            "a Supernet cannot be pickled or copied, as it holds the engine's memory; make another one with "
            "Supernet(config=net.config), load_state_dict(net.state_dict()) and set_alphas(net.alphas)"
        )

    def __repr__(self) -> str:
        weights = self.cost().get("weights")
        size = f", {weights:,} weights" if weights is not None else ""
        return f"<Supernet {self.space.name}, {self._precision} on {self._device}{size}>"

    def _repr_html_(self) -> str:
        return views.cards.of_supernet(self, self._precision, self._device)


def _fields(changes: dict[str, Any]) -> ConfigFields:
    return changes  # type: ignore[return-value]


def precision_name(precision: str | torch.dtype | None, config: SearchConfig) -> str:
    """Return the name of a precision, or of the config's."""
    if precision is None:
        return "float32" if config.precision == "auto" else config.precision
    name = name_of(precision) if isinstance(precision, torch.dtype) else precision
    if name not in _NAMES:
        raise _core.ConfigError(f"precision must be one of {', '.join(_NAMES)}, got {shown(name)}")
    return name


def device_of(config: SearchConfig) -> str:
    """Return the config's device; "auto" means the CPU here."""
    return "cpu" if config.device == "auto" else config.device


def _batch(batch: Batch) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise _core.DataError("a batch must be a pair (x, y) of images [N, C, H, W] and labels [N]")
    x, y = (tensor_of(part) for part in batch)
    return x, y if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool else y.long()
