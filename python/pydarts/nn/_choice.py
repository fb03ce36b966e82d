"""`Choice` and `InputChoice`: the decisions that a search makes in a network of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .._core import ConfigError, SpaceError
from .._values.hints import add_note
from .._values.words import listed, shown
from ._mixture import mix


class _Marked(nn.Module):
    """A module with logits. `table` and `row` say which ones a search gives it."""

    _mixing: Tensor | None  # the mixing weights of a pass of a search
    _live: tuple[int, ...] | None  # those that are not 0, if only these candidates are computed

    def __init__(self, count: int, alpha: str | None, row: int, init: Any) -> None:
        super().__init__()
        if alpha is not None and (not isinstance(alpha, str) or not alpha or "/" in alpha):
            raise ConfigError(f"alpha is {shown(alpha)}; it must be the name of a table of logits, without /")
        if type(row) is not int or row < 0 or (row and alpha is None):
            raise ConfigError(f"row is {shown(row)}; it must be a row of the table `alpha`, counted from 0")
        self.table, self.row, self.given = alpha, row, init is not None
        self.alpha = nn.Parameter(_initial(init, count))
        self._mixing = self._live = None

    def mixing_weights(self) -> Tensor:
        """Return the weights [n] by which the module mixes: those of the search, or softmax(alpha)."""
        return self.alpha.softmax(0) if self._mixing is None else self._mixing

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the candidates, in the order of the logits."""
        raise NotImplementedError

    def _mixed(self, outputs: Sequence[Any], what: str = "outputs") -> Any:
        """Return the sum of the outputs of the candidates that are computed, each times its weight."""
        weights, names = self.mixing_weights(), self.names
        if self._live is not None:
            weights, names = weights[list(self._live)], tuple(names[index] for index in self._live)
        return mix(outputs, weights, names, what, fused=self._mixing is not None)


class Choice(_Marked):
    """A module that is one of several candidates: `search(..., network=)` finds out which.

    In a search, and before one, its output is the sum of the outputs of all candidates, each times its mixing
    weight (DARTS, eq. 2). Outputs may be tensors, or tuples, lists and dictionaries of tensors, which are
    mixed leaf by leaf; shapes must agree, and leaves that are not floating must be equal. All candidates get
    the same arguments. Choices may be nested, shared, and called several times in a forward pass. Where a
    relaxation samples one candidate, as "gdas" does, only that one is called.

    Args:
        candidates: the modules by name, or a sequence of modules, whose names are "0", "1", …
        alpha: the name of a table of logits. Choices that name the same row of the same table share their
            logits; their candidates must have the same names in the same order. None: a table of its own,
            named after the module, such as "layers.0.block".
        row: the row of that table.
        init: initial logits [n]; None: 0, and in a search 1e-3·N(0, 1), drawn by (seed, table).

    Attributes:
        candidates: the modules by name, an `nn.ModuleDict`.
        alpha: the logits [n], a parameter. Outside a search the mixing weights are softmax(alpha).

    Raises:
        ConfigError: there are no candidates, a name is empty or contains . or /, or `init` does not fit.
        TypeError: a candidate is not a module.
        SpaceError: in a forward pass: outputs cannot be mixed, or a candidate changes its input in place.

    >>> choice = Choice({"linear": nn.Linear(2, 2), "skip": nn.Identity()}, init=[0.0, 0.0])
    >>> x = torch.ones(1, 2)
    >>> torch.allclose(choice(x), 0.5 * choice.candidates["linear"](x) + 0.5 * x)
    True
    """

    def __init__(
        self,
        candidates: Mapping[str, nn.Module] | Sequence[nn.Module],
        alpha: str | None = None,
        row: int = 0,
        init: Sequence[float] | Tensor | None = None,
    ) -> None:
        named = _named(candidates)
        super().__init__(len(named), alpha, row, init)
        self.candidates = nn.ModuleDict()
        # Names such as "double" are methods of modules, which a ModuleDict would refuse.
        self.candidates._modules.update(named)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the candidates, in the order of the logits."""
        return tuple(self.candidates)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        versions, outputs = [value._version for value in given], []
        candidates = tuple(self.candidates.items())
        if self._live is not None:
            candidates = tuple(candidates[index] for index in self._live)
        for name, candidate in candidates:
            try:
                outputs.append(candidate(*args, **kwargs))
            except Exception as error:
                add_note(error, f"in the candidate {name!r} of a choice among {listed(self.names)}")
                raise
            if versions != [value._version for value in given]:
                raise SpaceError(
                    f"the candidate {name!r} changes its input in place, which the other candidates read; "
                    "use operations that do not, such as nn.ReLU(inplace=False)"
                )
        return self._mixed(outputs)

    def extra_repr(self) -> str:
        """Return what `print` shows next to the candidates."""
        return "" if self.table is None else f"alpha={self.table!r}, row={self.row}"


class InputChoice(_Marked):
    """A choice of `keep` out of `n` inputs, for skip connections and for edges between nodes.

    It is called with a sequence of n tensors. In a search, and before one, the output is the sum of all
    inputs, each times its mixing weight. `fix` replaces it by a module that adds or averages the kept inputs.

    Args:
        n: the number of inputs.
        keep: the number of inputs that are kept.
        alpha: the name of a table of logits, as for `Choice`. Rows of one table keep the same number.
        row: the row of that table.
        init: initial logits [n], as for `Choice`.
        reduction: how the fixed network reduces several kept inputs: "sum" or "mean".

    Raises:
        ConfigError: n, keep or reduction is out of range, or `init` does not fit.
        SpaceError: in a forward pass: the number of inputs is not n, or they cannot be mixed.

    >>> skip = InputChoice(2)
    >>> skip([torch.zeros(3), torch.ones(3)])
    tensor([0.5000, 0.5000, 0.5000], grad_fn=<AddBackward0>)
    """

    def __init__(
        self,
        n: int,
        keep: int = 1,
        alpha: str | None = None,
        row: int = 0,
        init: Sequence[float] | Tensor | None = None,
        reduction: str = "sum",
    ) -> None:
        if type(n) is not int or n < 1:
            raise ConfigError(f"n is {shown(n)}; it must be the number of inputs, at least 1")
        if type(keep) is not int or not 1 <= keep <= n:
            raise ConfigError(f"keep is {shown(keep)}; it must be a whole number from 1 to {n}")
        if reduction not in ("sum", "mean"):
            raise ConfigError(f'reduction is {shown(reduction)}; it must be "sum" or "mean"')
        super().__init__(n, alpha, row, init)
        self.n, self.keep, self.reduction = n, keep, reduction

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs: their indices."""
        return tuple(map(str, range(self.n)))

    def forward(self, inputs: Sequence[Any]) -> Any:
        if not isinstance(inputs, (list, tuple)) or len(inputs) != self.n:
            given = f"{len(inputs)}" if isinstance(inputs, (list, tuple)) else f"a {type(inputs).__name__}"
            raise SpaceError(
                f"an InputChoice of {self.n} inputs takes a list of {self.n} tensors, got {given}"
            )
        if self.keep > 1 and not all(isinstance(one, Tensor) for one in inputs):
            kinds = listed(sorted({type(one).__name__ for one in inputs}))
            raise SpaceError(f"an InputChoice that keeps {self.keep} inputs adds tensors, got {kinds}")
        return self._mixed(inputs if self._live is None else [inputs[i] for i in self._live], "inputs")

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        of_table = "" if self.table is None else f", alpha={self.table!r}, row={self.row}"
        return f"{self.n}, keep={self.keep}{of_table}"


def _named(candidates: Any) -> dict[str, nn.Module]:
    if isinstance(candidates, (Mapping, nn.ModuleDict)):
        named = dict(candidates.items())
    elif isinstance(candidates, (Sequence, nn.ModuleList)) and not isinstance(candidates, str):
        named = {str(index): module for index, module in enumerate(candidates)}
    else:
        raise TypeError(
            f"candidates must be a dictionary or a sequence of modules, got a {type(candidates).__name__}"
        )
    if not named:
        raise ConfigError("candidates is empty; a choice needs at least one module")
    for name, module in named.items():
        if not isinstance(module, nn.Module):
            remedy = f"; pass an instance, {module.__name__}()" if isinstance(module, type) else ""
            raise TypeError(f"the candidate {name!r} must be an nn.Module, got {shown(module)}{remedy}")
        if not isinstance(name, str) or not name or "." in name or "/" in name:
            raise ConfigError(f"a candidate has the name {shown(name)}; a name is a string without . and /")
    return named


def _initial(init: Any, count: int) -> Tensor:
    if init is None:
        return torch.zeros(count)
    try:
        given = torch.as_tensor(init).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"init is {shown(init)}; it must be {count} numbers") from error
    given = given if given.is_floating_point() else given.to(torch.get_default_dtype())
    if given.shape != (count,) or not bool(torch.isfinite(given).all()):
        raise ConfigError(f"init is {shown(init)}; it must be {count} finite numbers, one per candidate")
    return given.clone()
