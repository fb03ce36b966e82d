"""A network stated twice, by the engine and by `tests/reference`, and how the two are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydarts
import pytest
import reference
import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]
LOSS = 1e-12
GRADIENT = {"first_order": 1e-10, "unrolled": 1e-7, "unrolled_exact": 1e-10}
FIVE_STEPS = 1e-9
XI = 0.025
METHODS = tuple(GRADIENT)
# Over many steps, finite differences repeat what their gradients and the exact products show.
over_steps = pytest.mark.parametrize(
    "method", [pytest.param(m, marks=[pytest.mark.long] * (m == "unrolled")) for m in METHODS]
)
SMALL = ("none", "skip_connect", "sep_conv_3x3")
ALL = tuple(name for name in reference.OPERATIONS if not name.startswith("no") or name == "none")
"""All operations but `noise`, which draws; `nor_conv_*` are the same as `conv_*`."""


@dataclass(frozen=True)
class Setup:
    """A network small enough to state twice."""

    operations: tuple[str, ...] | Mapping[str, Sequence[Sequence[str]]] = reference.DARTS_OPERATIONS
    nodes: int = 2
    concat: tuple[int, ...] | None = None
    reductions: tuple[int, ...] | None = None
    stem_multiplier: int = 3
    channels: int = 4
    layers: int = 3
    num_classes: int = 5
    in_channels: int = 3
    size: tuple[int, int] = (8, 8)
    batch: int = 4
    seed: int = 0

    def reference(self) -> reference.Supernet:
        return reference.Supernet(
            channels=self.channels,
            layers=self.layers,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
            nodes=self.nodes,
            operations=self.operations,
            concat=self.concat,
            reductions=self.reductions,
            stem_multiplier=self.stem_multiplier,
            seed=self.seed,
        )

    def engine(self, **config: Any) -> pydarts.Supernet:
        """The engine's network, through the plain arguments where they can say it, else through a `Space`."""
        sizes: dict[str, Any] = {
            "channels": self.channels,
            "layers": self.layers,
            "num_classes": self.num_classes,
            "in_channels": self.in_channels,
            "image_size": self.size,
            "dtype": "float64",
            "seed": self.seed,
            "config": pydarts.SearchConfig(**config) if config else None,
        }
        operations: Any = self.operations
        if (
            not isinstance(operations, Mapping)
            and self.concat is None
            and self.reductions is None
            and self.stem_multiplier == 3
        ):
            return pydarts.Supernet("darts", operations=operations, nodes=self.nodes, **sizes)
        space = pydarts.Space(
            operations=self.operations,
            nodes=self.nodes,
            concat=self.concat,
            reductions=self.reductions,
            stem_multiplier=self.stem_multiplier,
        )
        return pydarts.Supernet(space, **sizes)

    def filled(self) -> reference.Supernet:
        """The plain network with weights, running statistics and α of which none is trivial."""
        theirs = self.reference()
        generator = torch.Generator().manual_seed(self.seed + 1)
        with torch.no_grad():
            for name, alpha in theirs.alphas.items():
                drawn = torch.randn(alpha.shape, generator=generator, dtype=torch.float64)
                alpha.copy_(theirs.mask(name) * drawn)
            for norm in theirs._norms:
                steps = int(torch.randint(30, (), generator=generator))
                norm.num_batches_tracked.fill_(steps)
                for buffer, initial in ((norm.running_mean, 0.0), (norm.running_var, 1.0)):
                    drawn = torch.rand(buffer.shape, generator=generator, dtype=torch.float64)
                    left = 0.9**steps if steps else 0.0
                    buffer.copy_((1 - left) * (drawn + initial - 0.5) + left * initial)
            for name in ("weight", "bias"):  # the one affine batch norm
                parameter = getattr(theirs.stem.bn, name)
                parameter.add_(
                    torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=0.1
                )
        return theirs

    def pair(self, **config: Any) -> tuple[pydarts.Supernet, reference.Supernet]:
        """Both networks with the same weights, running statistics and α, none of them trivial."""
        theirs = self.filled()
        ours = self.engine(**config)
        ours.load_state_dict(theirs.state_dict())
        ours.set_alphas({name: alpha.detach() for name, alpha in theirs.alphas.items()})
        return ours, theirs

    def batches(self, n: int) -> list[Batch]:
        generator = torch.Generator().manual_seed(self.seed + 2)
        shape = (self.batch, self.in_channels, *self.size)
        return [
            (
                torch.randn(shape, generator=generator, dtype=torch.float64),
                torch.randint(self.num_classes, (self.batch,), generator=generator),
            )
            for _ in range(n)
        ]

    def buffers(self, net: reference.Supernet) -> dict[str, Tensor]:
        """Momentum buffers of the size of weights."""
        generator = torch.Generator().manual_seed(self.seed + 3)
        return {
            name: 0.1 * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            for name, weight in net.weights().items()
        }


RAGGED: dict[str, Any] = {
    "s1": {name: pydarts.Space.preset("s1").columns(name) for name in ("normal", "reduce")},
    "one to four": {
        "normal": [
            ("skip_connect", "dil_conv_3x3"),
            ("none", "max_pool_3x3", "sep_conv_3x3", "conv_1x1"),
            ("dil_conv_3x3",),
            ("avg_pool_3x3", "max_pool_3x3", "none"),
            ("sep_conv_3x3", "skip_connect"),
        ],
        "reduce": [
            ("max_pool_3x3",),
            ("skip_connect", "none"),
            ("max_pool_3x3", "dil_conv_5x5", "skip_connect"),
            ("skip_connect", "max_pool_3x3"),
            ("none", "sep_conv_3x3"),
        ],
    },
    "by cell": {
        "normal": [("sep_conv_3x3", "dil_conv_3x3", "skip_connect")] * 5,
        "reduce": [("max_pool_3x3", "avg_pool_3x3")] * 5,
    },
}

SETUPS = {
    "the published operations": Setup(),
    "published cells of four nodes": Setup(nodes=4, layers=2, channels=2, reductions=(1,)),
    "odd images of 7x5": Setup(size=(7, 5), layers=5, nodes=1),
    "odd images of 9x9 in grey": Setup(size=(9, 9), layers=4, in_channels=1, nodes=1),
    "wide images of 5x12": Setup(size=(5, 12), operations=SMALL, nodes=1, in_channels=2),
    "all twelve operations": Setup(operations=ALL, size=(9, 8), nodes=1),
    "all twelve operations backwards": Setup(operations=ALL[::-1], size=(6, 7), nodes=1, layers=2),
    "none, skip and one convolution": Setup(operations=SMALL, nodes=4, layers=2),
    "no none": Setup(operations=("conv_7x1_1x7", "skip_connect", "sep_conv_7x7"), nodes=3, channels=3),
    "pooling only": Setup(operations=("avg_pool_3x3", "max_pool_3x3"), nodes=2, size=(7, 7)),
    "a single operation": Setup(operations=("dil_conv_5x5",), nodes=2),
    "the last node only": Setup(operations=SMALL, nodes=3, concat=(4,)),
    "two nodes of three, turned round": Setup(operations=("none", "conv_3x3"), nodes=3, concat=(4, 2)),
    "no reduction": Setup(operations=SMALL, reductions=()),
    "reductions alone": Setup(operations=("skip_connect", "conv_1x1"), reductions=(0, 1, 2), size=(9, 7)),
    "a reduction at the end": Setup(operations=("none", "dil_conv_3x3"), reductions=(3,), layers=4),
    "one cell": Setup(operations=SMALL, layers=1, num_classes=2),
    "the space S1": Setup(operations=RAGGED["s1"], nodes=4, channels=2, layers=3),
    "one to four operations per edge": Setup(operations=RAGGED["one to four"], nodes=2),
    "operations by cell": Setup(operations=RAGGED["by cell"], nodes=2),
    "a narrow stem": Setup(operations=SMALL, stem_multiplier=1, channels=5, in_channels=1),
}


def each(*names: str) -> Any:
    names = names or tuple(SETUPS)
    return pytest.mark.parametrize("setup", [pytest.param(SETUPS[name], id=name) for name in names])


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Norm of the difference over the norm; 0 only if both are zero where the norm is."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    if ours.dtype == torch.int64:
        return 0.0 if torch.equal(ours, theirs) else float("inf")
    assert ours.dtype == torch.float64
    difference, norm = (ours - theirs).norm().item(), theirs.norm().item()
    return difference / norm if norm else difference


def apart(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    """The largest distance among tensors of the same name."""
    assert set(ours) == set(theirs)
    return max(distance(ours[name], theirs[name].detach()) for name in theirs)


def plain_gradient(
    net: reference.Supernet, method: str, train: Batch, valid: Batch, **options: Any
) -> dict[str, Tensor]:
    if method == "first_order":
        options = {}
    gradient, _ = reference.METHODS[method](net, train, valid, **options)
    return gradient


def assert_gradients_agree(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], method: str) -> None:
    assert set(ours) == set(theirs)
    for name in theirs:  # α that the loss does not reach has gradient zero
        assert ours[name].shape == theirs[name].shape
        assert bool((theirs[name] == 0).all()) == bool((ours[name] == 0).all()), name
    order = sorted(theirs)
    flat = [torch.cat([tables[name].flatten() for name in order]) for tables in (ours, theirs)]
    assert distance(*flat) <= GRADIENT[method]


def snapshot(net: pydarts.Supernet) -> dict[str, Any]:
    state = net.optimizer_state()
    return {
        "state": net.state_dict(),
        "alphas": net.alphas,
        "momentum": state["momentum"],
        "exp_avg": state["exp_avg"],
        "exp_avg_sq": state["exp_avg_sq"],
        "step": state["step"],
    }


def assert_same_bits(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    for part, tensors in one.items():
        if isinstance(tensors, dict):
            assert set(tensors) == set(other[part])
            changed = [name for name in tensors if not torch.equal(tensors[name], other[part][name])]
            assert not changed, f"{part}: {changed[:5]}"
        else:
            assert tensors == other[part]


def assert_steps_agree(
    setup: Setup, steps: int, method: str, lr: float = XI, epsilon: float = 0.01, **options: Any
) -> None:
    """Follow both searches; compare losses, weights, α, statistics and the optimisers' state."""
    ours, theirs = setup.pair(hypergradient=method, weight_lr=lr, epsilon=epsilon, **options)
    search = reference.Search(theirs, method=method, epsilon=epsilon, published=False, **options)
    batches = setup.batches(2 * steps)
    for train, valid in zip(batches[::2], batches[1::2], strict=True):
        losses = ours.step(train, valid)
        assert losses == pytest.approx(search.step(train, valid, lr), rel=FIVE_STEPS, abs=0)
    assert apart(ours.state_dict(), theirs.state_dict()) <= FIVE_STEPS
    assert apart(ours.alphas, theirs.alphas) <= FIVE_STEPS
    state, expected = ours.optimizer_state(), search.optimizer_state()
    assert state["step"] == expected["step"] == steps
    assert apart(state["exp_avg"], expected["exp_avg"]) <= FIVE_STEPS
    assert apart(state["exp_avg_sq"], expected["exp_avg_sq"]) <= FIVE_STEPS
    if options.get("weight_momentum", 0.9) != 0.0:  # without momentum PyTorch keeps no buffer
        assert apart(state["momentum"], expected["momentum"]) <= FIVE_STEPS
