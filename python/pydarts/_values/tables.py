"""Tables of numbers that users pass, as float64 tensors."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .. import _core
from .words import shown


def table(name: str, value: Tensor | ArrayLike, like: Tensor | None = None, masks: bool = False) -> Tensor:
    """Return a table [rows, columns] or a row [columns] as a float64 tensor on the CPU.

    Args:
        name: the name of the argument, for errors.
        value: a tensor, an array or nested lists of numbers.
        like: a table that has the same shape.
        masks: whether −∞ is accepted, as long as a row has another number.

    Raises:
        DataError: a wrong shape, or values that are not finite.
        TypeError: something that is not a tensor or an array of numbers.

    >>> table("alpha", [1, 2])
    tensor([1., 2.], dtype=torch.float64)
    """
    try:
        found = torch.as_tensor(value)
        if found.is_floating_point():  # a list would be rounded to the default dtype
            found = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a tensor or an array of numbers, got {shown(value)}") from error
    if found.is_complex() or found.dtype == torch.bool or found.layout != torch.strided:
        raise TypeError(f"{name} must hold real numbers, got a tensor of {found.dtype}, {found.layout}")
    found = found.detach().to("cpu", torch.float64)
    if like is not None and found.shape != like.shape:
        raise _core.DataError(f"{name} has the shape {list(found.shape)}; alpha has {list(like.shape)}")
    if found.ndim not in (1, 2) or not found.numel():
        raise _core.DataError(
            f"{name} must be [rows, columns] or [columns], got the shape {list(found.shape)}"
        )
    wrong = ~found.isfinite() & ~(found.isneginf() if masks else torch.zeros_like(found, dtype=torch.bool))
    if wrong.any():
        index = wrong.nonzero()[0].tolist()
        raise _core.DataError(f"{name} is {found[tuple(index)].item()} at {index}; numbers must be finite")
    if found.isneginf().all(-1).any():
        raise _core.DataError(f"{name} has a row in which every number is -inf; keep at least one candidate")
    return found
