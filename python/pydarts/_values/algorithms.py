"""The variants that the options of a search take. Each class is public in `pydarts.algorithms`."""

from __future__ import annotations

from typing import Any

from .. import _core
from .checks import whole
from .variants import Variant


class Schedule(Variant, axis="schedule"):
    """A number that changes from epoch to epoch. `start` holds in the first epoch and `end` in the last."""

    def at(self, epoch: int, epochs: int) -> float:
        """Return the number in an epoch, counted from 0, of a search of `epochs` epochs.

        Raises:
            ConfigError: `epoch` is not between 0 and epochs - 1.

        >>> from pydarts.algorithms import Linear
        >>> Linear(10, 0.1).at(0, 250), round(Linear(10, 0.1).at(1, 250), 6), Linear(10, 0.1).at(249, 250)
        (10.0, 9.960241, 0.1)
        """
        epochs = whole("epochs", epochs, least=1)
        return _core.schedule_at(self.to_dict(), whole("epoch", epoch, least=0, most=epochs - 1), epochs)

    @classmethod
    def _checked(cls, value: Any) -> dict[str, Any]:
        return _core.schedule(value)


class Linear(Schedule):
    """Equal differences between epochs: start + (end − start)·e/(E − 1) in epoch e of E.

    >>> Linear(10, 0.1)
    Linear(start=10.0, end=0.1)
    """

    start: float
    end: float


class Cosine(Schedule):
    """Half a period of a cosine: end + (start − end)·(1 + cos(π·e/(E − 1)))/2 in epoch e of E.

    >>> Cosine(1, 0).at(1, 3)
    0.5
    """

    start: float
    end: float


class Exponential(Schedule):
    """Equal ratios between epochs: start·(end/start)^(e/(E − 1)) in epoch e of E; both numbers are above 0.

    >>> Exponential(4, 1).at(1, 3)
    2.0
    """

    start: float
    end: float


class Hypergradient(Variant, axis="hypergradient"):
    """The estimator of the gradient of the validation loss by α, with parameters.

    A configuration shows an estimator without parameters as its name.
    """


class FirstOrder(Hypergradient):
    """The gradient at the current weights, as if they did not depend on α. DARTS (Liu et al., 2019), ξ = 0.

    >>> import pydarts
    >>> pydarts.SearchConfig(hypergradient=FirstOrder()).hypergradient
    'first_order'
    """


class Unrolled(Hypergradient):
    """One virtual step of the weights; its second term uses finite differences. DARTS, eq. 7 and 8.

    >>> Unrolled().to_dict()
    {'name': 'unrolled'}
    """


class UnrolledExact(Hypergradient):
    """One virtual step of the weights; its second term is exact. DARTS, eq. 7.

    >>> UnrolledExact().name
    'unrolled_exact'
    """


class SingleLevel(Hypergradient):
    """The gradient of the training loss, by the backward pass of the weight step. SNAS (Xie et al., 2019).

    α and the weights have one objective: no example is held back for α, and validation examples are used for
    evaluation only.

    >>> SingleLevel().name
    'single_level'
    """


class T1T2(Hypergradient):
    """One step of gradient descent instead of the inverse Hessian. T1–T2 (Luketina et al., 2016).

    ∂α L_val − η·∂²αw L_train · ∂w L_val at the current weights, where η is their learning rate.

    >>> T1T2().name
    't1_t2'
    """


class Neumann(Hypergradient):
    """The implicit gradient with the inverse Hessian as a Neumann series (Lorraine et al., 2020).

    ∂α L_val − ∂²αw L_train · q with q = η·Σ_{k=0..terms} (I − ηH)^k v, v = ∂w L_val, and H the Hessian of the
    training loss by the weights plus `weight_decay` on its diagonal. The step η is the learning rate of the
    weights (published implementations take 1, with which the series diverges on a network). The terms grow
    if an eigenvalue of H is above 2/η or below 0. A step whose gradient of α is not finite is undone with an
    error: take fewer terms, or a smaller `weight_lr`.

    Attributes:
        terms: the number of products with H; with 0 it is "t1_t2".

    >>> Neumann(terms=5)
    Neumann(terms=5)
    """

    terms: int = 3


class ConjugateGradient(Hypergradient):
    """The implicit gradient with q from conjugate gradients on (H + damping·I)·q = v; see `Neumann`.

    The iteration ends at a direction of negative curvature. If that is the first one, the gradient is that of
    "first_order": without damping this is often so at the beginning of a search.

    Attributes:
        terms: the largest number of products with H.
        damping: the number that is added to the diagonal of H, at least 0 (1 is ours).

    >>> ConjugateGradient(terms=2)
    ConjugateGradient(terms=2, damping=1.0)
    """

    terms: int = 3
    damping: float = 1.0


class MixedLevel(Hypergradient):
    """The gradients of both losses at the current weights, added. MiLeNAS (He et al., 2020).

    ∂α L_val + weight·∂α L_train; the training batch is that of the weight step.

    Attributes:
        weight: the factor of the training loss.

    >>> MixedLevel()
    MixedLevel(weight=1.0)
    """

    weight: float = 1.0


class Selection(Variant, axis="selection"):
    """The rule that picks candidates of a table by their mixing weights."""


class Strongest(Selection):
    """Keep, per node, the k edges whose best candidate is strongest. DARTS (Liu et al., 2019), section 2.4.

    Attributes:
        k: the number of edges; None: the value of the space (2; 1 in recurrent cells).

    >>> Strongest(k=3).to_dict()
    {'name': 'strongest', 'k': 3}
    """

    k: int | None = None


class Argmax(Selection):
    """Keep, on every edge, the strongest candidate (ours).

    >>> Argmax()
    Argmax()
    """


class Threshold(Selection):
    """Keep, per node, the k strongest edges that reach a value. FairDARTS (Chu et al., 2020), code.

    A node may have fewer than k inputs, or none.

    Attributes:
        value: the smallest mixing weight, from 0 to 1.
        k: the largest number of edges into a node.

    >>> Threshold(value=0.8)
    Threshold(value=0.8, k=2)
    """

    value: float = 0.85
    k: int = 2


class Sampled(Selection):
    """The best of random architectures. Random search with weight sharing (Li & Talwalkar, 2019).

    At the end of a search random architectures, which do not depend on α, are evaluated with the trained
    weights: each on the first validation batches, the best of them on all. Ties go to the earlier one. The
    score is the accuracy, or the loss if there is no accuracy. At the ends of earlier epochs, a few
    architectures are drawn and scored on one batch. A trajectory holds only α, so it shows the strongest
    candidates instead; `derive` does not accept this rule.

    Attributes:
        samples: the number of architectures that are drawn at the end; equal ones are scored once.
        batches: the number of validation batches that score all of them.
        finalists: the number of architectures that all validation batches score.
        epoch_samples: the number of architectures that are drawn at the ends of earlier epochs.

    >>> Sampled(samples=200)
    Sampled(samples=200, batches=10, finalists=10, epoch_samples=16)
    """

    samples: int = 1000
    batches: int = 10
    finalists: int = 10
    epoch_samples: int = 16


class Decider(Variant, axis="stop"):
    """The rule that decides at the end of every epoch whether a search ends."""


class SkipConnections(Decider):
    """End the search when the normal cell has this many skip connections. DARTS+ (Liang et al., 2019).

    It is criterion 1 of the paper. In a space of one cell, such as "nas-bench-201", that cell counts. It is
    the one that the selection picks at the end of an epoch; epochs before `arch_start_epoch`, which do not
    move α, are not counted.

    Attributes:
        most: the number of skip connections at which the search ends.

    >>> SkipConnections(most=3)
    SkipConnections(most=3)
    """

    most: int = 2


class Curvature(Decider):
    """End the search when the curvature of the validation loss by α grows. RobustDARTS (Zela et al., 2020).

    The curvature is measured every `curvature_every` epochs; this option is required (published: 2). A local
    average is the mean of the latest `window` measurements, or fewer at the beginning, but more
    than half of `window`. When it is more than `ratio` times the local average as it was `back`
    measurements earlier, the search returns to the epoch in the middle of that earlier window and ends.

    Attributes:
        window: the number of measurements in a local average.
        back: how many measurements earlier the other average is.
        ratio: the largest growth, at least 1. The published code has 1.3, the paper 1/0.75.
        start: the first epoch to which the search may return, counted from 0.

    >>> Curvature(ratio=1.5)
    Curvature(window=5, back=4, ratio=1.5, start=10)
    """

    window: int = 5
    back: int = 4
    ratio: float = 1.3
    start: int = 10
