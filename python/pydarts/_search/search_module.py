"""`SearchModule`: a user-defined network under search, for inspection and tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import _core
from .._data.arrays import Array
from .._data.pairs import BatchReader, Unpack
from .._results.tables import AlphaTable
from .._values.ambient import plain
from .._values.arguments import formerly
from .._values.callables import Loss
from .._values.config import SearchConfig
from ..nn._choice_costs import choice_costs
from .inspected import Inspected, tensor_of
from .module import BoundModule
from .network import check_options, dtype_of
from .own import NetworkLike, own_network
from .supernet import device_of, precision_name


class SearchModule(Inspected):
    """A module with choices as a search sees it, with its logits, losses, gradients and steps.

    The module is copied. A batch is whatever the loader of a search would yield: a pair (x, y), a dictionary,
    or with `unpack` anything.

    Args:
        network: as in `search`: a module with choices, a function that makes one, or a `FunctionNetwork`.
        config: a `SearchConfig` for the relaxation, learning rates and the seed; None: the published one.
        loss: as in `search`.
        unpack: as in `search`.
        example: the inputs of one example, for the term `Flops`; a search uses its first batch.
        precision: "float32" or "float64", or a torch dtype (the config's precision; "float32" if that is
            "auto").
        device: "cpu", "cuda", "cuda:1" or a torch.device ("cpu").

    Raises:
        ConfigError: the network has no choices or no weights, or an option does not apply to it.
        TypeError: `network` is none of these, or cannot be copied.
        DeviceError: CUDA was requested but is not available.

    >>> from torch import nn
    >>> from pydarts.nn import Choice
    >>> net = nn.Sequential(nn.Linear(4, 3), Choice({"tanh": nn.Tanh(), "relu": nn.ReLU()}))
    >>> module = SearchModule(net)
    >>> batch = torch.ones(2, 4), torch.tensor([0, 2])
    >>> module.alphas["1"].shape, module.arch_gradient(valid=batch)["1"].shape
    (torch.Size([1, 2]), torch.Size([1, 2]))
    """

    _net: _core.SearchModule

    @formerly(dtype="precision")
    @plain()
    def __init__(
        self,
        network: NetworkLike,
        config: SearchConfig | None = None,
        *,
        loss: Loss | str | None = None,
        unpack: Unpack | None = None,
        example: Any = None,
        precision: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self._config = SearchConfig() if config is None else config
        check_options(self._config)
        own = own_network(network, loss, None, unpack, self._config)
        self._precision = precision_name(precision, self._config)
        if self._precision == "bfloat16":
            raise _core.ConfigError('precision="bfloat16" applies to compiled spaces; use "float32"')
        self._device = str(device) if device is not None else device_of(self._config)
        self._tables, self._reader = own.tables, BatchReader("given", unpack)
        self._bound = own.bound(dtype_of(self._precision), lambda: None)
        costs = choice_costs(self._config, own.module, None if example is None else (example, 1))
        self._net = _core.SearchModule(self._config, self._bound, self._precision, self._device, costs)

    @property
    def config(self) -> SearchConfig:
        """The configuration."""
        return self._config

    @property
    def tables(self) -> Mapping[str, AlphaTable]:
        """The names of the rows and candidates by table."""
        return self._tables

    @plain()
    def state_dict(self) -> dict[str, Tensor]:
        """Return copies of all weights and buffers by name, without α."""
        return self._net.state_dict()

    @plain()
    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Replace weights and buffers by those of `state`, which must be complete.

        Raises:
            DataError: names, shapes or the dtypes of buffers are wrong; the message names them.
        """
        self._net.load_state_dict({name: tensor_of(value) for name, value in state.items()})

    @plain()
    def output(self, inputs: Any) -> Any:
        """Return the output of the module for inputs, in training mode; buffers do not change.

        Raises:
            ConfigError: the network is a `FunctionNetwork`.
        """
        if not isinstance(self._bound, BoundModule):
            raise _core.ConfigError("a FunctionNetwork has no output, only a loss")
        found: list[Any] = []
        with self._bound.captured(found):
            self._net.loss(BatchReader("given", None)(0, (inputs, None)))
        return found[0]

    @plain()
    def loss(self, batch: Any) -> float:
        """Return the loss of a batch in training mode; buffers do not change."""
        return self._net.loss(self._read(batch))

    @plain()
    def evaluate(self, batch: Any) -> tuple[float, float | None]:
        """Return the loss of a batch in evaluation mode, and the number of correct predictions if counted.

        An example with several targets, such as pixels, counts as the fraction that is correct. Running
        statistics are corrected for their initial values.
        """
        return self._net.evaluate(self._read(batch))

    def _read(self, batch: Any) -> tuple[list[Tensor], Any]:
        return self._reader(0, batch)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a SearchModule cannot be pickled or copied, as it holds the engine's memory")

    def __repr__(self) -> str:
        tables = ", ".join(f"{name} {list(logits.shape)}" for name, logits in self.alphas.items())
        return f"<SearchModule {self._precision} on {self._device}: {tables}>"
