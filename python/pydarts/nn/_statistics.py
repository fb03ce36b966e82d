"""Running statistics of batch norm without what is left of their initial values."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

COUNT = "num_batches_tracked"
SETTLED = 1 << 20
"""The count of statistics that hold no initial value, however few batches they are of; as in the engine."""


def corrected(
    state: Mapping[str, Tensor], momenta: Mapping[str, float | None] | None = None
) -> dict[str, Tensor]:
    """Return the state of a search network, its running statistics without their initial values 0 and 1.

    After t steps 0.9^t of the initial value is left. `momenta`: prefix of a batch norm -> momentum, if it is
    not 0.1; None for a mean over all steps. Statistics of no step and those without a count do not change.

    >>> state = {"bn.running_mean": torch.tensor([0.2]), "bn.running_var": torch.tensor([1.1])}
    >>> found = corrected(state | {"bn.num_batches_tracked": torch.tensor(1)})
    >>> found["bn.running_mean"], found["bn.running_var"], found["bn.num_batches_tracked"]
    (tensor([2.]), tensor([2.0000]), tensor(1048576))
    """
    found = dict(state)
    for bn in [name.removesuffix("running_var") for name in state if name.endswith(".running_var")]:
        mean, var = state[f"{bn}running_mean"], state[f"{bn}running_var"]
        count = state.get(bn + COUNT, torch.tensor(SETTLED))
        momentum = (momenta or {}).get(bn, 0.1)
        if momentum is None:
            continue
        found[f"{bn}running_mean"], found[f"{bn}running_var"] = settled(mean, var, count, momentum)
        found[bn + COUNT] = torch.where(count > 0, SETTLED, count)
    return found


def settled(mean: Tensor, var: Tensor, count: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
    """Return running statistics without what is left of their initial values 0 and 1.

    After t steps of momentum m this is (1 - m)^t. Before the first step nothing changes.
    """
    left = torch.where(count > 0, (1 - momentum) ** count.double(), 0.0)
    # A variance near 0 can round to less than what is left of the initial one.
    corrected_var = ((var.double() - left) / (1 - left)).clamp(min=0)
    return (mean.double() / (1 - left)).to(mean), corrected_var.to(var)
