"""Relaxations that draw one candidate per row, or shares. Each class is public in `pydarts.algorithms`."""

from __future__ import annotations

from .algorithms import Relaxation, Schedule


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

    Into each node as many random edges as the space keeps, each with one random candidate: 1 in m, and 0
    elsewhere. The mean, which evaluation uses, gives all candidates of a row the same share.

    >>> Random().weights([0.2, -0.1, 0.5])
    tensor([0.3333, 0.3333, 0.3333], dtype=torch.float64)
    """
