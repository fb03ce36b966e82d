"""Search networks out of any modules, plainly: choices, and what `Searched` asks of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from .relaxation import Relaxation
from .searched import Searched
from .supernet import Criterion


def mixed(weights: Sequence[Tensor] | Tensor, values: Sequence[Any]) -> Any:
    """The weighted sum of tensors, or of tuples, lists and dictionaries of tensors leaf by leaf."""
    first = values[0]
    if isinstance(first, Tensor):
        return sum(weight * value for weight, value in zip(weights, values, strict=True))
    if isinstance(first, Mapping):
        return {key: mixed(weights, [value[key] for value in values]) for key in first}
    return type(first)(mixed(weights, list(leaves)) for leaves in zip(*values, strict=True))


class PlainChoice(nn.Module):
    """A choice among modules: their outputs weighted by `mix`, or by the softmax of its own `alpha`."""

    def __init__(
        self,
        candidates: Mapping[str, nn.Module] | Sequence[nn.Module],
        alpha: str | None = None,
        row: int = 0,
        init: Tensor | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(candidates, Mapping):
            candidates = {str(key): module for key, module in enumerate(candidates)}
        self.candidates = nn.ModuleDict(dict(candidates))
        self.alpha = nn.Parameter(torch.zeros(len(candidates)) if init is None else torch.as_tensor(init))
        self.table, self.row, self.count = alpha, row, len(candidates)
        self.mix: Tensor | None = None

    def weights(self) -> Tensor:
        return F.softmax(self.alpha, dim=0) if self.mix is None else self.mix

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return mixed(self.weights(), [module(*args, **kwargs) for module in self.candidates.values()])


class PlainInputChoice(nn.Module):
    """A choice among `n` tensors, which are summed with weights."""

    def __init__(
        self, n: int, keep: int = 1, alpha: str | None = None, row: int = 0, init: Tensor | None = None
    ) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(n) if init is None else torch.as_tensor(init))
        self.table, self.row, self.count, self.keep = alpha, row, n, keep
        self.mix: Tensor | None = None

    weights = PlainChoice.weights

    def forward(self, inputs: Sequence[Tensor]) -> Any:
        return mixed(self.weights(), list(inputs))


class OwnNetwork(Searched):
    """A module with plain choices as the search sees it.

    `alphas` maps each table to a leaf tensor [rows, columns]; the columns that a row lacks are masked.
    Weights are the parameters that require a gradient, without logits, tied ones once. In training mode the
    buffers stay as they are except inside `moving_statistics()`. In evaluation mode what is left of the
    initial running statistics of a batch norm is divided out. `criterion` is called as (output, y). Where
    `before` is set, it is called with the role of every pass before it.
    """

    def __init__(self, module: nn.Module, *, relaxation: str = "softmax", temperature: float = 1.0) -> None:
        super().__init__()
        self.module = module
        found = {name: sub for name, sub in module.named_modules() if _is_choice(sub)}
        self.choices = [(sub.table or name, sub) for name, sub in found.items()]
        sizes: dict[str, dict[int, int]] = {}
        for table, choice in self.choices:
            sizes.setdefault(table, {})[choice.row] = choice.count
        dtype = next(module.parameters()).dtype
        self.alphas, masks = {}, {}
        for table, rows in sizes.items():
            columns = max(rows.values())
            self.alphas[table] = torch.zeros(len(rows), columns, dtype=dtype, requires_grad=True)
            if set(rows.values()) != {columns}:
                masks[table] = torch.tensor([[c < rows[r] for c in range(columns)] for r in range(len(rows))])
        self.relaxation = Relaxation(relaxation, temperature, masks)
        # Every place of a weight and the name that `named_parameters` has for it: tied weights have several.
        first = {id(parameter): name for name, parameter in self.named_parameters()}
        self._places = {
            f"{owner}.{name}" if owner else name: first[id(parameter)]
            for owner, sub in module.named_modules()
            for name, parameter in sub._parameters.items()
            if id(parameter) in first
        }
        self.moves = False
        self._norms = [self]
        self.before: Callable[[str], None] | None = None
        self.train()

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:  # type: ignore[override]
        """The weights, under the names that the module has for them."""
        logits = {id(choice.alpha) for _, choice in self.choices}
        for name, parameter in self.module.named_parameters():
            if parameter.requires_grad and id(parameter) not in logits:
                yield name, parameter

    def train(self, mode: bool = True) -> OwnNetwork:
        """Only the flag: the modules inside keep the mode that the user gave them."""
        self.training = mode
        return self

    def forward(self, *inputs: Any) -> Any:
        return self._call(None, inputs)

    def loss(self, x: Any, y: Any, criterion: Criterion = F.cross_entropy) -> Tensor:
        return criterion(self._call(None, x if isinstance(x, tuple) else (x,)), y)

    def loss_at(
        self, weights: dict[str, Tensor], x: Any, y: Any, criterion: Criterion = F.cross_entropy
    ) -> Tensor:
        """The loss with other weights than its own."""
        return criterion(self._call(weights, x if isinstance(x, tuple) else (x,)), y)

    def training_loss(self, x: Any, y: Any, criterion: Criterion = F.cross_entropy) -> tuple[Tensor, Tensor]:
        """What the weight step differentiates, and the loss that it reports: the same."""
        loss = self.loss(x, y, criterion)
        return loss, loss

    def _call(self, weights: dict[str, Tensor] | None, inputs: tuple[Any, ...]) -> Any:
        if self.before is not None:
            self.before(self._role)
        mixing = {table: self.mixing(table) for table in self.alphas}
        for table, choice in self.choices:
            choice.mix = mixing[table][choice.row, : choice.count]
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        used = self.weights() if weights is None else weights
        state = {**{place: used[name] for place, name in self._places.items()}, **buffers}
        if self.training:
            output = functional_call(self.module, state, inputs, tie_weights=False)
        else:
            state |= _settled(self.module)
            with _in_evaluation(self.module):
                output = functional_call(self.module, state, inputs, tie_weights=False)
        for _, choice in self.choices:
            choice.mix = None
        if self.moves and self.training:  # `state` holds what the module assigned, too
            for name in buffers:
                owner, _, last = name.rpartition(".")
                self.module.get_submodule(owner)._buffers[last] = state[name].detach()
        return output


def _is_choice(module: nn.Module) -> bool:
    return isinstance(module, PlainChoice | PlainInputChoice)


@contextmanager
def _in_evaluation(module: nn.Module) -> Iterator[None]:
    modes = {sub: sub.training for sub in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for sub, mode in modes.items():
            sub.training = mode


def _settled(module: nn.Module) -> dict[str, Tensor]:
    """The running statistics of batch norms, without what is left of 0 and 1 after t steps."""
    found = {}
    for name, norm in module.named_modules():
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.momentum is None:
            continue
        if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
            continue
        steps = int(norm.num_batches_tracked)
        left = (1 - norm.momentum) ** steps if steps else 0.0
        prefix = f"{name}." if name else ""
        found[f"{prefix}running_mean"] = norm.running_mean / (1 - left)
        found[f"{prefix}running_var"] = (norm.running_var - left) / (1 - left)
    return found


class HandLSTM(nn.Module):
    """An LSTM [N, T, C] -> (outputs [N, T, H], (h, c)) with the parameters of `nn.LSTM`, gate by gate."""

    def __init__(self, inputs: int, units: int, bias: bool = True) -> None:
        super().__init__()
        given = nn.LSTM(inputs, units, bias=bias, batch_first=True)
        for name, parameter in given.named_parameters():
            self.register_parameter(name, parameter)
        self.bias = bias

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h = x.new_zeros(len(x), self.weight_hh_l0.shape[1])
        c, outputs = torch.zeros_like(h), []
        for token in x.unbind(1):
            gates = token @ self.weight_ih_l0.T + h @ self.weight_hh_l0.T
            if self.bias:
                gates = gates + self.bias_ih_l0 + self.bias_hh_l0
            i, f, g, o = gates.chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1), (h[None], c[None])


class HandAttention(nn.Module):
    """Self-attention [N, T, C] with the parameters of `nn.MultiheadAttention`, as the formula has it."""

    def __init__(self, units: int, heads: int) -> None:
        super().__init__()
        given = nn.MultiheadAttention(units, heads, batch_first=True)
        self.in_proj_weight, self.in_proj_bias = given.in_proj_weight, given.in_proj_bias
        self.out_proj, self.heads = nn.Linear(units, units), heads
        self.out_proj.load_state_dict(given.out_proj.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        return self.out_proj(attended(q, k, v, self.heads))


def attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """softmax(q·kᵀ/√d)·v for every head; all [N, T, C]."""
    batch, length, units = q.shape
    q, k, v = (part.view(batch, length, heads, units // heads).transpose(1, 2) for part in (q, k, v))
    scores = q @ k.transpose(2, 3) / (units // heads) ** 0.5
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, units)
