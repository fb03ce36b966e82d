"""What `Supernet` and `SearchModule` share: the logits, gradients and steps of one network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from .. import _core
from .._data.arrays import Array
from .._values.algorithms import Hypergradient
from .._values.ambient import plain
from .._values.arguments import formerly
from .._values.config import SearchConfig
from .._values.fields import Method
from .._values.variants import plain as plain_value


class Probe(NamedTuple):
    """The difference between a gradient g with respect to α and the exact one g*, "unrolled_exact".

    Both are NaN if g* is zero.
    """

    cosine: float
    """The cosine of the angle between g and g*, ⟨g, g*⟩ / (‖g‖·‖g*‖)."""
    error: float
    """The relative error, ‖g − g*‖ / ‖g*‖."""


class Inspected:
    """A network with its state, for inspection."""

    _net: _core.Supernet | _core.SearchModule
    _config: SearchConfig

    @abstractmethod
    def _read(self, batch: Any) -> Any:
        """Return a batch as `_net` takes it."""

    @property
    @plain()
    def alphas(self) -> dict[str, Tensor]:
        """Copies of the logits α: table name -> [rows, columns]; 0 where a row has fewer candidates.

        In a space, rows are edges and columns are operations.
        """
        return self._net.alphas()

    @plain()
    def set_alphas(self, alphas: Mapping[str, Array]) -> None:
        """Replace α; accepts the dictionary that `alphas` returns.

        Raises:
            DataError: a table name or shape is wrong, or a logit is NaN or infinite.
        """
        self._net.set_alphas({name: tensor_of(value) for name, value in alphas.items()})

    @overload
    def arch_gradient(
        self,
        train: Any = None,
        valid: Any = None,
        hypergradient: Method | Hypergradient | None = None,
        xi: float | None = None,
        epsilon: float | None = None,
        momentum: Mapping[str, Array] | None = None,
        *,
        probe: Literal[False] = False,
    ) -> dict[str, Tensor]: ...

    @overload
    def arch_gradient(
        self,
        train: Any = None,
        valid: Any = None,
        hypergradient: Method | Hypergradient | None = None,
        xi: float | None = None,
        epsilon: float | None = None,
        momentum: Mapping[str, Array] | None = None,
        *,
        probe: Literal[True],
    ) -> tuple[dict[str, Tensor], Probe]: ...

    @formerly(method="hypergradient")
    @plain()
    def arch_gradient(
        self,
        train: Any = None,
        valid: Any = None,
        hypergradient: Method | Hypergradient | None = None,
        xi: float | None = None,
        epsilon: float | None = None,
        momentum: Mapping[str, Array] | None = None,
        *,
        probe: bool = False,
    ) -> dict[str, Tensor] | tuple[dict[str, Tensor], Probe]:
        """Compute the gradient of the validation loss with respect to α, without `arch_terms`.

        Args:
            train: training batch of the virtual step, a pair (x, y) or what a loader of the search yields;
                may be None for "first_order".
            valid: validation batch; required.
            hypergradient: "first_order" (ξ = 0), "unrolled" (eq. 7 and 8), "unrolled_exact" (eq. 7, with an
                exact Hessian-vector product), "single_level" (the gradient of the training loss), "t1_t2",
                "neumann", "conjugate_gradient", "mixed_level", or an instance of a class of
                `pydarts.algorithms`; None: the config's.
            xi: learning rate ξ of the virtual step, and η of "t1_t2" and "neumann"; None: the config's
                `weight_lr`.
            epsilon: scale of the finite difference of eq. 8; None: the config's.
            momentum: momentum buffer of the virtual step by weight name; None: zeros.
            probe: whether to compare the gradient with that of "unrolled_exact" for the same arguments.

        Returns:
            The gradient, table name -> [rows, columns]; with `probe`, a pair (gradient, `Probe`).

        Raises:
            ConfigError: the hypergradient is unknown, or it needs second derivatives that an operation lacks.
            DataError: a batch is missing, or has a wrong shape or dtype.
        """
        if valid is None:
            raise _core.DataError("the gradient by α requires a validation batch: pass valid=batch")
        gradient, probed = self._net.arch_gradient(
            None if train is None else self._read(train),
            self._read(valid),
            plain_value(self._config.hypergradient if hypergradient is None else hypergradient),
            self._config.weight_lr if xi is None else float(xi),
            self._config.epsilon if epsilon is None else float(epsilon),
            None if momentum is None else {name: tensor_of(value) for name, value in momentum.items()},
            bool(probe),
        )
        return gradient if probed is None else (gradient, Probe(*probed))

    @plain()
    def step(self, train: Any, valid: Any) -> tuple[float, float]:
        """Do one search step: update α, then the weights, with the config's options and rates of epoch 0.

        Every call updates both: `arch_start_epoch` and `arch_every` apply to searches only. With `arch_lr=0`
        and `arch_weight_decay=0`, α stays as it is.

        Returns:
            The training loss before the weight step, and the validation loss at which α's gradient was taken.
        """
        return self._net.step(self._read(train), self._read(valid))

    @plain()
    def optimizer_state(self) -> dict[str, Any]:
        """`momentum` of SGD by weight name; `exp_avg` and `exp_avg_sq` of Adam by table; and `step`."""
        return self._net.optimizer_state()


def tensor_of(value: Array) -> Tensor:
    """Return a tensor without a graph, or raise DataError."""
    if isinstance(value, Tensor):
        return value.detach()
    try:
        return torch.as_tensor(np.asarray(value, order="C"))
    except (TypeError, ValueError) as error:
        raise _core.DataError(
            f"expected a tensor or an array, got a {type(value).__name__}: {error}"
        ) from error
