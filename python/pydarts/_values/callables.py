"""Names and fingerprints of loss functions, by which a resumed run recognises its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from .digest import digest, is_foreign, name_of

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Known:
    """A loss with the fact about it, for several runs: the first one may change what the loss refers to."""

    loss: Loss
    fact: str

    @classmethod
    def of(cls, loss: Loss | None) -> Known | None:
        return None if loss is None else cls(loss, fact_of(loss))

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.loss(logits, targets)


def check_loss(loss: Any) -> None:
    """Raise TypeError unless `loss` is None or callable on (logits, targets)."""
    if isinstance(loss, type):
        raise TypeError(f"loss is the class {loss.__name__}; pass an instance: loss={loss.__name__}()")
    if loss is not None and not callable(loss):
        raise TypeError(f"loss must be callable on (logits, targets), got a {type(loss).__name__}")


def fact_of(loss: Any) -> str:
    """Return the fact about a loss in a fingerprint: its name, and a hash of its code and settings.

    The hash covers the code that the loss runs, apart from that of libraries, and the variables, attributes
    and string keys that this code reads and does not change: numbers, strings, tensors, and collections and
    objects that hold these. It does not depend on files and line numbers.

    >>> from torch import nn
    >>> fact_of(None), fact_of(nn.functional.mse_loss)
    ('cross-entropy', 'torch.nn.functional:mse_loss')
    >>> fact_of(nn.CrossEntropyLoss()) == fact_of(nn.CrossEntropyLoss(label_smoothing=0.1))
    False
    """
    if loss is None:
        return "cross-entropy"
    if isinstance(loss, Known):
        return loss.fact
    name = name_of(loss)
    return name if is_foreign(loss) else f"{name} {digest(loss).hex()}"


def short_name(loss: Callable[..., Any]) -> str:
    """Return the name of a function, or of the class of an object, without its module.

    >>> import functools, torch
    >>> short_name(functools.partial(torch.nn.functional.cross_entropy, label_smoothing=0.1))
    'cross_entropy'
    """
    return _shortened(name_of(loss.loss if isinstance(loss, Known) else loss))


def name_in(fact: str) -> str | None:
    """Return the short name of the loss in a fact of `fact_of`; None: cross-entropy, which is no function.

    >>> name_in("cross-entropy"), name_in("torch.nn.functional:mse_loss")
    (None, 'mse_loss')
    """
    if fact in ("cross-entropy", "network"):  # the second one is computed by the network itself
        return None if fact == "cross-entropy" else fact
    return _shortened(fact.split(" ")[0])


def _shortened(name: str) -> str:
    return name.partition(":")[2].rpartition(".")[2]
