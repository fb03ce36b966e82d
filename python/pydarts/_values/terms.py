"""Terms that are added to the validation loss of the α step. Each class is public in `pydarts.algorithms`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .. import _core
from .algorithms import Linear, Schedule
from .relaxations import Relaxation
from .tables import table as checked
from .variants import Variant, plain

Form: TypeAlias = Literal["add", "log", "multiply", "multiply_log"]
Stem: TypeAlias = Literal["cifar", "imagenet", "small"]


class Term(Variant, axis="arch_terms"):
    """A function of α that is added to the validation loss of the α step, after the hypergradient.

    A term on the mixing weights uses the mean m of the relaxation at the current α, without noise; for a
    Gumbel relaxation, that is softmax(α). Removed candidates and decided rows are ignored.
    """

    def apply(
        self,
        alpha: Tensor | ArrayLike,
        loss: float = 0.0,
        grad: Tensor | ArrayLike | None = None,
        relaxation: str | Relaxation = "softmax",
        state: Mapping[str, float] | None = None,
        costs: Tensor | ArrayLike | None = None,
        constant: float = 0.0,
    ) -> tuple[float, Tensor]:
        """Return a loss and its gradient by the logits of one table with this term added.

        It runs the engine's code on one table, in float64 and on the CPU.

        Args:
            alpha: logits, [rows, columns] or one row [columns]; −∞ removes a candidate.
            loss: the loss without the term.
            grad: its gradient by α, in the shape of `alpha`; None: zeros.
            relaxation: the relaxation, whose parameters are numbers.
            state: values of parameters that differ from the fields, such as `{"weight": 0.5}`. A weight that
                is a schedule needs one.
            costs: for cost terms, the cost of each candidate, in the shape of `alpha`.
            constant: for cost terms, the cost of the rest of the network.

        Raises:
            ConfigError: an unknown entry of `state`, a value out of range, `costs` missing or superfluous, or
                a term that does not apply to the relaxation.
            DataError: a wrong shape, or values that are not finite.
            TypeError: something that is not a tensor or an array of numbers.

        >>> from pydarts.algorithms import BetaDecay
        >>> loss, gradient = BetaDecay(weight=1).apply([0.2, -0.1, 0.5])
        >>> round(loss, 6), gradient
        (1.32839, tensor([0.3236, 0.2397, 0.4368], dtype=torch.float64))
        """
        logits = checked("alpha", alpha, masks=True)
        before = torch.zeros_like(logits) if grad is None else checked("grad", grad, logits)
        given = self._at(state)
        if isinstance(given["weight"], Mapping):
            raise _core.ConfigError(
                '`weight` changes with the epoch; pass a number, such as state={"weight": 1.0}'
            )
        counts = hasattr(self, "exponent")
        if counts != (costs is not None):
            raise _core.ConfigError(f"{self.name!r} {'requires' if counts else 'has no'} `costs`")
        of_loss, of_rest = checked("loss", [loss]).item(), checked("constant", [constant]).item()
        flat = [] if costs is None else checked("costs", costs, logits).flatten().tolist()
        all_costs = [(self.name, flat, of_rest)] if flat else []
        shape = (1, -1) if logits.ndim == 1 else logits.shape
        value, [gradient] = _core.terms_apply(
            given, plain(relaxation), [logits.view(shape)], of_loss, [before.view(shape)], all_costs
        )
        return value, gradient.view(logits.shape)


class Entropy(Term):
    """The entropy −Σ m ln m of a row of mixing weights, in nats; it commits rows to one candidate (ours).

    It is the mean over the rows of each table, as in the history, summed over the tables; its gradient goes
    through the relaxation. The mixing weights of a row must add up to 1, which excludes "sigmoid".

    Attributes:
        weight: a number or a schedule; below 0 it rewards entropy.

    >>> round(Entropy(weight=1).apply([0.0, 0.0])[0], 6)
    0.693147
    """

    weight: float | Schedule = 0.1


class BetaDecay(Term):
    """The logsumexp of the logits of a row, which keeps them from growing apart. β-DARTS (Ye et al., 2022).

    It is the mean over the rows of each table, summed over the tables. The published code has one table and
    uses 50·e/100 in epoch e of 100, which is `Linear(0, 49.5)` there; its unrolled step leaves the term out,
    while here every hypergradient has it. A gradient equal for a whole row would leave a softmax as it is:
    the effect comes from the spread of the logits and from Adam, which scales each gradient separately.

    Attributes:
        weight: a number of at least 0 or a schedule; default `Linear(0, 50)`.

    >>> BetaDecay()
    BetaDecay(weight=Linear(start=0.0, end=50.0))
    """

    weight: float | Schedule = Linear(0, 50)


class ZeroOne(Term):
    """Minus the distance of each mixing weight from ½. FairDARTS (Chu et al., 2020).

    It pushes mixing weights to 0 or 1: the mean over all entries of all tables of −(m − ½)², or −|m − ½|. The
    decay of α (`arch_weight_decay`) pulls sigmoids to ½, against this term. The published code uses it
    with "sigmoid", and in the training loss too, where it has no effect on the weights.

    Attributes:
        weight: a number of at least 0 or a schedule.
        form: "l2", the square, or "l1".

    >>> round(ZeroOne(weight=1).apply([0.2, -0.1, 0.5], relaxation="sigmoid")[0], 6)
    -0.006035
    """

    weight: float | Schedule = 10.0
    form: Literal["l2", "l1"] = "l2"


class KlAnchor(Term):
    """KL(Dir(κ) ‖ Dir(1)) with κ = elu(α) + 1, summed over the rows. DrNAS (Chen et al., 2021).

    It needs the relaxation "dirichlet", and replaces weight decay of α: set `arch_weight_decay=0`.

    Attributes:
        weight: a number of at least 0 or a schedule.

    >>> KlAnchor()
    KlAnchor(weight=0.001)
    """

    weight: float | Schedule = 1e-3


class Flops(Term):
    """The expected multiply-adds of the network that `build` will make, which papers call FLOPs.

    E = Σ c·m + constant, where c has the multiply-adds of each candidate in all cells of its kind: E at the
    mixing weights of a genotype is `pydarts.cost(build(genotype, ...))["multiply_adds"]`. With the weight λ,
    the reference R and the exponent b, the α step descends

    - "add": L + λ(E − R)/R (ProxylessNAS, `add#linear`, λ = 0.1);
    - "log": L + λ ln E (SNAS);
    - "multiply": L·λ(E/R)^b (NNI, λ = 1);
    - "multiply_log": L·λ(ln E/ln R)^b (ProxylessNAS, `mul#log`; with reference=math.e FBNet, λ = 0.2).

    `none`, `skip_connect` and pooling cost nothing, so the term may lead to cells of skip connections.

    In a network of your own, each candidate of a `Choice` is counted as it is, per example of the first
    batch. E at the mixing weights of an architecture is the cost of `pydarts.nn.fix(network, architecture)`.
    Choices must not be nested or share modules, and the fields from `channels` on do not apply.

    Attributes:
        weight: a number of at least 0 or a schedule.
        form: how the cost changes the loss.
        reference: R, in multiply-adds; None: E where all logits are 0.
        exponent: b, for the forms that multiply.
        channels: channels of the first cells of the network that will be built.
        layers: number of cells of that network.
        image_size: side of the images in pixels, or the length of the sequences; None: that of the search.
        stem: stem of that network.

    >>> Flops(reference=5e8).to_dict()["reference"]
    500000000.0
    """

    weight: float | Schedule = 0.1
    form: Form = "add"
    reference: float | None = None
    exponent: float = 0.6
    channels: int = 36
    layers: int = 20
    image_size: int | None = None
    stem: Stem = "cifar"


class Parameters(Term):
    """The expected number of weights of the network that `build` will make.

    Like `Flops`, for `pydarts.cost(build(genotype, ...))["weights"]`: batch norms have two weights per
    channel there, and pooling has none. The candidates of a network of your own must not share weights.

    Attributes:
        weight: a number of at least 0 or a schedule.
        form: how the cost changes the loss, as in `Flops`.
        reference: R, in weights; None: E where all logits are 0.
        exponent: b, for the forms that multiply.
        channels: channels of the first cells of the network that will be built.
        layers: number of cells of that network.
        stem: stem of that network.

    >>> Parameters(reference=3.3e6).channels
    36
    """

    weight: float | Schedule = 0.1
    form: Form = "add"
    reference: float | None = None
    exponent: float = 0.6
    channels: int = 36
    layers: int = 20
    stem: Stem = "cifar"


class Latency(Term):
    """The expected time in milliseconds of one pass of the network that `build` will make.

    Like `Flops`, with a table that `pydarts.latency_table` measured: channels, layers and size are those of
    the table. Times of candidates are added, as if no two ran at the same time. It does not apply to networks
    of your own.

    Attributes:
        weight: a number of at least 0 or a schedule.
        form: how the time changes the loss, as in `Flops`.
        reference: R, in milliseconds; None: E where all logits are 0.
        exponent: b, for the forms that multiply.
        file: the path of the table.
        other_device: "refuse" a table of another device than the one that runs the search, or "accept" it.

    >>> Latency(file="latency.json").form
    'add'
    """

    weight: float | Schedule = 0.1
    form: Form = "add"
    reference: float | None = None
    exponent: float = 0.6
    file: str | None = None
    other_device: Literal["refuse", "accept"] = "refuse"


COSTS = (Flops, Parameters, Latency)
"""The terms whose value is a cost of the network that `build` will make."""
