"""Relaxations: functions from logits to mixing weights. Each class is public in `pydarts.algorithms`."""

from __future__ import annotations

from collections.abc import Mapping

from numpy.typing import ArrayLike
from torch import Tensor

from .. import _core
from .algorithms import Schedule
from .checks import whole
from .tables import table as checked
from .variants import Variant


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
            noise: the random numbers that a search would draw, in the shape of `alpha`, such as the result of
                `sample`. None: the mean, which evaluation, selection and plots use.

        Returns:
            A float64 tensor in the shape of `alpha`, without a graph; 0 for removed candidates.

        Raises:
            ConfigError: an unknown entry of `state`, a value out of range, or `noise` for a
                relaxation that draws none.
            DataError: a wrong shape, or values that are not finite.
            TypeError: something that is not a tensor or an array of numbers.

        >>> from pydarts.algorithms import Softmax
        >>> Softmax().weights([0.2, -0.1, 0.5], state={"temperature": 0.5})
        tensor([0.2967, 0.1628, 0.5405], dtype=torch.float64)
        """
        logits = checked("alpha", alpha, masks=True)
        drawn = None if noise is None else checked("noise", noise, logits)
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
        logits = checked("alpha", alpha, masks=True)
        weights, gradient = checked("m", m, logits), checked("grad", grad, logits)
        drawn = None if noise is None else checked("noise", noise, logits)
        return _core.relaxation_backward(self._at(state), logits, weights, gradient, drawn)

    def sample(self, alpha: Tensor | ArrayLike, seed: int = 0, step: int = 0) -> Tensor:
        """Return the random numbers of a relaxation for one table and step; `weights` takes them as `noise`.

        It uses the code of a search. The numbers of a search differ: they also depend on the table and the
        loss.

        Args:
            alpha: logits, [rows, columns] or one row [columns]; −∞ removes a candidate.
            seed: a whole number of at least 0.
            step: a whole number of at least 0; the draws of different steps are independent.

        Returns:
            A float64 tensor in the shape of `alpha`: Gumbel numbers, a Dirichlet sample, or one-hot rows.

        Raises:
            ConfigError: a relaxation that draws nothing, or a seed or step out of range.
            DataError, TypeError: as for `weights`.

        >>> from pydarts.algorithms import Dirichlet
        >>> Dirichlet().sample([0.2, -0.1, 0.5], step=1)
        tensor([0.4234, 0.3623, 0.2143], dtype=torch.float64)
        """
        logits = checked("alpha", alpha, masks=True)
        return _core.relaxation_sample(
            self.to_dict(), logits, whole("seed", seed, least=0), whole("step", step, least=0)
        )


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

    The weights of a row do not add up to 1.

    >>> Identity().weights([0.2, -0.1, 0.5])
    tensor([ 0.2000, -0.1000,  0.5000], dtype=torch.float64)
    """


class Sigmoid(Relaxation):
    """The sigmoid of each logit, m = σ(α): candidates do not compete. FairDARTS (Chu et al., 2020).

    The weights of a row do not add up to 1.

    >>> Sigmoid().weights([0.2, -0.1, 0.5])
    tensor([0.5498, 0.4750, 0.6225], dtype=torch.float64)
    """


class GumbelHard(Relaxation, called="gdas"):
    """One candidate per row, drawn by Gumbel noise, with a straight-through gradient.

    GDAS (Dong & Yang, 2019). m is the one-hot vector of argmax(log softmax(α) + G), so a candidate is drawn
    with probability softmax(α) at every temperature. The gradient is that of
    p̃ = softmax((log softmax(α) + G)/τ). Candidates that were not drawn do not run, so their entries of the
    gradient by m count as 0. The mean is softmax(α).

    Attributes:
        temperature: τ, a number from 1e-6 to 1e6 or a schedule; the published one is `Linear(10, 0.1)`.

    >>> alpha, noise = [0.2, -0.1, 0.5], [1.030930, -0.185627, 0.366513]
    >>> m = GumbelHard().weights(alpha, noise=noise)
    >>> m
    tensor([1., 0., 0.], dtype=torch.float64)
    >>> GumbelHard().backward(alpha, m, [1.0, 2.0, 3.0], noise=noise)
    tensor([ 0.2495, -0.0599, -0.1896], dtype=torch.float64)
    """

    temperature: float | Schedule = 1.0


class Dirichlet(Relaxation):
    """Mixing weights drawn from a Dirichlet distribution, m ~ Dir(elu(α) + 1). DrNAS (Chen et al., 2021).

    The parameters κ = elu(α) + 1 are at least 1e-3. The gradient is the pathwise one of libtorch, which
    treats m as drawn. The mean, which evaluation and selection use, is κ/Σκ.

    >>> Dirichlet().weights([0.2, -0.1, 0.5])
    tensor([0.3329, 0.2510, 0.4161], dtype=torch.float64)
    >>> m = [0.5, 0.2, 0.3]
    >>> Dirichlet().backward([0.2, -0.1, 0.5], m, [1.0, 2.0, 3.0], noise=m)
    tensor([-0.3434,  0.0578,  0.3411], dtype=torch.float64)
    """


class Random(Relaxation):
    """A uniform random architecture in every step; α never moves. Li & Talwalkar (2019): weight sharing.

    Each node gets as many random edges as the space keeps, and each of these edges one random candidate, with
    mixing weight 1; all others are 0. The mean, which evaluation uses, gives all candidates of a row the same
    weight.

    >>> Random().weights([0.2, -0.1, 0.5])
    tensor([0.3333, 0.3333, 0.3333], dtype=torch.float64)
    """
