"""The variants that the options of a search take. Each class is public in `pydarts.algorithms`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor

from .. import _core
from .checks import whole
from .tables import table
from .variants import Variant
from .words import shown


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


class Relaxation(Variant, axis="relaxation"):
    """The function R from the logits α of a table to the mixing weights m of its candidates.

    `weights` and `backward` run the engine's code on one table, in float64 and on the CPU.
    """

    def weights(
        self,
        alpha: Tensor | ArrayLike,
        state: Mapping[str, float] | None = None,
        noise: Tensor | ArrayLike | None = None,
    ) -> Tensor:
        """Return the mixing weights m = R(α).

        Args:
            alpha: logits, [rows, columns] or one row [columns]; −∞ removes a candidate.
            state: values of parameters that differ from the fields, such as `{"temperature": 0.5}`. A field
                that is a schedule needs one.
            noise: what a search would draw, in the shape of `alpha`; None: the mean, which evaluation,
                selection and plots use.

        Returns:
            A float64 tensor in the shape of `alpha`, without a graph; 0 for removed candidates.

        Raises:
            ConfigError: an unknown entry of `state` or a value out of range; noise for a relaxation without.
            DataError: a wrong shape, or values that are not finite.
            TypeError: something that is not a tensor or an array of numbers.

        >>> from pydarts.algorithms import Softmax
        >>> Softmax().weights([0.2, -0.1, 0.5], state={"temperature": 0.5})
        tensor([0.2967, 0.1628, 0.5405], dtype=torch.float64)
        """
        logits = table("alpha", alpha, masks=True)
        drawn = None if noise is None else table("noise", noise, logits)
        return _core.relaxation_weights(self._at(state), logits, drawn)

    def backward(
        self,
        alpha: Tensor | ArrayLike,
        m: Tensor | ArrayLike,
        grad: Tensor | ArrayLike,
        state: Mapping[str, float] | None = None,
        noise: Tensor | ArrayLike | None = None,
    ) -> Tensor:
        """Return the gradient by α, Jᵀ·grad, where J is the Jacobian of R at `alpha`.

        Args:
            alpha: logits, [rows, columns] or one row [columns].
            m: the mixing weights that `weights` gives for the same `alpha`, `state` and `noise`.
            grad: the gradient by m. All are in the shape of `alpha`.
            state: as for `weights`.
            noise: as for `weights`.

        Returns:
            A float64 tensor in the shape of `alpha`, without a graph; 0 for removed candidates.

        Raises:
            ConfigError, DataError, TypeError: as for `weights`.

        >>> from pydarts.algorithms import Softmax
        >>> alpha = [0.2, -0.1, 0.5]
        >>> Softmax().backward(alpha, Softmax().weights(alpha), [1.0, 0.0, 0.0])
        tensor([ 0.2189, -0.0776, -0.1413], dtype=torch.float64)
        """
        logits = table("alpha", alpha, masks=True)
        weights, gradient = table("m", m, logits), table("grad", grad, logits)
        drawn = None if noise is None else table("noise", noise, logits)
        return _core.relaxation_backward(self._at(state), logits, weights, gradient, drawn)

    def _at(self, state: Mapping[str, float] | None) -> dict[str, Any]:
        """Return the plain data with the values of `state`."""
        if not isinstance(state, Mapping | None):
            raise TypeError(f"state must be a mapping from parameters to numbers, got {shown(state)}")
        known = list(self._fields())
        for name in state or {}:
            if name not in known:
                raise _core.ConfigError(_core.unknown_name(f"parameter of `{self.name}`", str(name), known))
        return self.to_dict() | dict(state or {})


class Softmax(Relaxation):
    """The softmax of a row with a temperature, m = softmax(α/τ). DARTS (Liu et al., 2019), eq. 2, with τ = 1.

    Attributes:
        temperature: τ, a number from 1e-6 to 1e6 or a schedule.

    >>> Softmax().weights([0.2, -0.1, 0.5])
    tensor([0.3236, 0.2397, 0.4368], dtype=torch.float64)
    """

    temperature: float | Schedule = 1.0


class Gumbel(Relaxation):
    """The Gumbel-softmax, m = softmax((log softmax(α) + G)/τ). SNAS (Xie et al., 2019).

    G holds independent numbers of the standard Gumbel distribution, drawn in every step. The mean, which
    evaluation and selection use, is softmax(α): the probabilities of having the largest perturbed logit.

    Attributes:
        temperature: τ, a number from 1e-6 to 1e6 or a schedule, such as `Linear(10, 0.1)`.

    >>> noise = [1.030930, -0.185627, 0.366513]
    >>> Gumbel().weights([0.2, -0.1, 0.5], noise=noise)
    tensor([0.5224, 0.1147, 0.3629], dtype=torch.float64)
    >>> Gumbel().weights([0.2, -0.1, 0.5], state={"temperature": 10}, noise=noise)
    tensor([0.3542, 0.3043, 0.3415], dtype=torch.float64)
    """

    temperature: float | Schedule = 1.0


class Identity(Relaxation):
    """The logits themselves, m = α, for networks that use α directly (ours).

    The weights of a row are not shares of 1.

    >>> Identity().weights([0.2, -0.1, 0.5])
    tensor([ 0.2000, -0.1000,  0.5000], dtype=torch.float64)
    """


class Sigmoid(Relaxation):
    """The sigmoid of each logit, m = σ(α): candidates do not compete. FairDARTS (Chu et al., 2020).

    The weights of a row are not shares of 1.

    >>> Sigmoid().weights([0.2, -0.1, 0.5])
    tensor([0.5498, 0.4750, 0.6225], dtype=torch.float64)
    """


class Hypergradient(Variant, axis="hypergradient"):
    """The estimator of the gradient of the validation loss by α, with parameters.

    Estimators without parameters are names: "first_order", "unrolled", "unrolled_exact", "single_level".
    """


class Selection(Variant, axis="selection"):
    """The rule that picks candidates of a table by their mixing weights."""


class Strongest(Selection):
    """Into each node the k edges whose best candidate is strongest. DARTS (Liu et al., 2019), section 2.4.

    Attributes:
        k: the number of edges; None: that of the space, 2 or, in recurrent cells, 1.

    >>> Strongest(k=3).to_dict()
    {'name': 'strongest', 'k': 3}
    """

    k: int | None = None


class Argmax(Selection):
    """On every edge the strongest candidate (ours).

    >>> Argmax()
    Argmax()
    """


class Threshold(Selection):
    """Into each node the k strongest edges, except those below a value. FairDARTS (Chu et al., 2020), code.

    A node may have fewer than k inputs, and none.

    Attributes:
        value: the smallest mixing weight, from 0 to 1.
        k: the largest number of edges into a node.

    >>> Threshold(value=0.8)
    Threshold(value=0.8, k=2)
    """

    value: float = 0.85
    k: int = 2


class Decider(Variant, axis="stop"):
    """The rule that decides at the end of every epoch whether a search ends."""


class SkipConnections(Decider):
    """End the search when the normal cell has this many skip connections. DARTS+ (Liang et al., 2019).

    It is criterion 1 of the paper. The cell is the one that the selection picks at the end of an epoch;
    epochs before `arch_start_epoch`, which do not move α, are not counted.

    Attributes:
        most: the number of skip connections at which the search ends.

    >>> SkipConnections(most=3)
    SkipConnections(most=3)
    """

    most: int = 2
