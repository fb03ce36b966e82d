"""Float64 parity of `pydarts.Supernet` with the plain PyTorch statement in `tests/reference`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import reference

Batch = tuple[Tensor, Tensor]

LOSS = 1e-12
GRADIENT = {"first_order": 1e-10, "unrolled": 1e-7, "unrolled_exact": 1e-10}
FIVE_STEPS = 1e-9
XI = 0.025
METHODS = tuple(GRADIENT)
SMALL = ("none", "skip_connect", "sep_conv_3x3")
ALL = tuple(reference.OPERATIONS)


@dataclass(frozen=True)
class Setup:
    """A network small enough to state twice."""

    operations: tuple[str, ...] = reference.DARTS_OPERATIONS
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
        if self.concat is None and self.reductions is None and self.stem_multiplier == 3:
            return pydarts.Supernet("darts", operations=self.operations, nodes=self.nodes, **sizes)
        space = pydarts.Space(
            operations=self.operations,
            nodes=self.nodes,
            concat=self.concat,
            reductions=self.reductions,
            stem_multiplier=self.stem_multiplier,
        )
        return pydarts.Supernet(space, **sizes)

    def pair(self, **config: Any) -> tuple[pydarts.Supernet, reference.Supernet]:
        """Both networks with the same weights, running statistics and α, none of them trivial."""
        theirs = self.reference()
        generator = torch.Generator().manual_seed(self.seed + 1)
        with torch.no_grad():
            for alpha in theirs.alphas.values():
                alpha.copy_(torch.randn(alpha.shape, generator=generator, dtype=torch.float64))
            for name, buffer in theirs.named_buffers():
                drawn = torch.rand(buffer.shape, generator=generator, dtype=torch.float64)
                buffer.copy_(drawn + (0.5 if name.endswith("running_var") else -0.5))
            for name in ("weight", "bias"):  # the one affine batch norm
                parameter = getattr(theirs.stem.bn, name)
                parameter.add_(
                    torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=0.1
                )
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
    "a narrow stem": Setup(operations=SMALL, stem_multiplier=1, channels=5, in_channels=1),
}
# where all three methods and five steps are followed: the corners, not the whole table
FOLLOWED = (
    "the published operations",
    "odd images of 7x5",
    "none, skip and one convolution",
    "two nodes of three, turned round",
    "no reduction",
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def each(*names: str) -> Any:
    names = names or tuple(SETUPS)
    return pytest.mark.parametrize("setup", [pytest.param(SETUPS[name], id=name) for name in names])


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Norm of the difference over the norm; 0 only if both are zero where the norm is."""
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == torch.float64
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


# --------------------------------------------------------------------------------------- names and shapes


@each()
def test_the_state_dict_has_the_names_and_shapes_of_the_reference(setup: Setup) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in setup.engine().state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in setup.reference().state_dict().items()}
    assert ours == theirs


@each("the published operations", "one cell", "two nodes of three, turned round")
def test_alpha_has_the_tables_and_shapes_of_the_reference(setup: Setup) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in setup.engine().alphas.items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in setup.reference().alphas.items()}
    assert ours == theirs


def test_the_default_network_has_1930618_weights() -> None:
    state = pydarts.Supernet("darts").state_dict()
    theirs = reference.Supernet().state_dict()
    assert {name: tensor.shape for name, tensor in state.items()} == {
        name: tensor.shape for name, tensor in theirs.items()
    }
    running = (".running_mean", ".running_var")
    assert sum(tensor.numel() for name, tensor in state.items() if not name.endswith(running)) == 1_930_618


def test_state_dict_and_alphas_come_back_as_they_were_set() -> None:
    setup = SETUPS["the published operations"]
    ours, theirs = setup.pair()
    assert_same_bits(
        {"state": dict(theirs.state_dict()), "alphas": {k: v.detach() for k, v in theirs.alphas.items()}},
        {"state": ours.state_dict(), "alphas": ours.alphas},
    )


def test_state_dict_and_alphas_are_copies() -> None:
    net = SETUPS["none, skip and one convolution"].engine()
    before = snapshot(net)
    for tensor in (*net.state_dict().values(), *net.alphas.values()):
        tensor.add_(1.0)
    assert_same_bits(before, snapshot(net))


# ---------------------------------------------------------------------------------------- logits and losses


@each()
def test_logits_and_loss_are_those_of_the_reference(setup: Setup) -> None:
    ours, theirs = setup.pair()
    x, y = setup.batches(1)[0]
    with torch.no_grad():
        logits, loss = theirs(x), theirs.loss(x, y).item()
    assert distance(ours.logits(x), logits) <= LOSS
    assert ours.loss(x, y) == pytest.approx(loss, rel=LOSS, abs=0)


@each()
def test_evaluation_uses_the_running_statistics(setup: Setup) -> None:
    ours, theirs = setup.pair()
    theirs.eval()
    x, y = setup.batches(1)[0]
    with torch.no_grad():
        logits, expected = theirs(x), theirs.loss(x, y).item()
    loss, correct = ours.evaluate(x, y)
    assert loss == pytest.approx(expected, rel=LOSS, abs=0)
    assert correct == int((logits.argmax(1) == y).sum())


def test_evaluation_counts_the_correct_predictions() -> None:
    setup = Setup(operations=SMALL, batch=32, num_classes=3)
    ours, theirs = setup.pair()
    theirs.eval()
    x, _ = setup.batches(1)[0]
    with torch.no_grad():
        predicted = theirs(x).argmax(1)
    y = predicted.clone()
    y[:5] = (y[:5] + 1) % 3
    assert ours.evaluate(x, predicted)[1] == 32
    assert ours.evaluate(x, y)[1] == 27


def test_losses_and_evaluation_change_nothing() -> None:
    setup = SETUPS["the published operations"]
    net, _ = setup.pair()
    x, y = setup.batches(1)[0]
    before = snapshot(net)
    net.logits(x), net.loss(x, y), net.evaluate(x, y)
    assert_same_bits(before, snapshot(net))


def test_the_default_network_agrees_on_images_of_32x32() -> None:
    setup = Setup(nodes=4, channels=16, layers=8, num_classes=10, size=(32, 32), batch=2)
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    gradient, loss = reference.first_order(theirs, train, valid)
    assert ours.loss(*valid) == pytest.approx(loss, rel=LOSS, abs=0)
    assert_gradients_agree(ours.arch_gradient(train, valid, "first_order"), gradient, "first_order")


# ---------------------------------------------------------------------------------------- gradients of α


@pytest.mark.parametrize("method", METHODS)
@each()
def test_the_gradient_of_alpha_is_that_of_the_reference(setup: Setup, method: str) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    assert_gradients_agree(ours.arch_gradient(train, valid, method, XI), expected, method)


@pytest.mark.parametrize("method", ["unrolled", "unrolled_exact"])
@each(*FOLLOWED)
def test_momentum_enters_the_virtual_step(setup: Setup, method: str) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    buffers = setup.buffers(theirs)
    expected = plain_gradient(theirs, method, train, valid, xi=XI, momentum_buffers=buffers)
    assert_gradients_agree(ours.arch_gradient(train, valid, method, XI, momentum=buffers), expected, method)
    without = plain_gradient(theirs, method, train, valid, xi=XI)
    assert any(distance(expected[name], without[name]) > 1e-3 for name in expected), "the test sees nothing"


@pytest.mark.parametrize("method", ["unrolled", "unrolled_exact"])
def test_momentum_and_decay_of_the_virtual_step_come_from_the_config(method: str) -> None:
    setup = SETUPS["none, skip and one convolution"]
    ours, theirs = setup.pair(weight_momentum=0.5, weight_decay=0.1)
    train, valid = setup.batches(2)
    buffers = setup.buffers(theirs)
    expected = plain_gradient(
        theirs, method, train, valid, xi=0.1, momentum_buffers=buffers, momentum=0.5, weight_decay=0.1
    )
    assert_gradients_agree(ours.arch_gradient(train, valid, method, 0.1, momentum=buffers), expected, method)


@pytest.mark.parametrize("epsilon", [0.001, 0.1, 1.0])
def test_the_finite_difference_takes_the_epsilon_that_is_given(epsilon: float) -> None:
    setup = SETUPS["none, skip and one convolution"]
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, "unrolled", train, valid, xi=XI, epsilon=epsilon)
    assert_gradients_agree(
        ours.arch_gradient(train, valid, "unrolled", XI, epsilon=epsilon), expected, "unrolled"
    )


@pytest.mark.parametrize("epsilon", [1e-5, 10.0])
def test_the_exact_method_does_not_look_at_epsilon(epsilon: float) -> None:
    setup = SETUPS["none, skip and one convolution"]
    net, _ = setup.pair()
    train, valid = setup.batches(2)
    one = net.arch_gradient(train, valid, "unrolled_exact", XI)
    other = net.arch_gradient(train, valid, "unrolled_exact", XI, epsilon=epsilon)
    assert_same_bits({"gradient": one}, {"gradient": other})


@pytest.mark.parametrize("method", ["unrolled", "unrolled_exact"])
def test_with_xi_zero_every_method_is_first_order(method: str) -> None:
    setup = SETUPS["the published operations"]
    net, _ = setup.pair()
    train, valid = setup.batches(2)
    first = net.arch_gradient(train, valid, "first_order")
    assert apart(net.arch_gradient(train, valid, method, 0.0), first) <= 1e-12


def test_first_order_does_not_look_at_the_training_batch() -> None:
    setup = SETUPS["the published operations"]
    net, _ = setup.pair()
    train, valid = setup.batches(2)
    one = net.arch_gradient(train=train, valid=valid, method="first_order")
    assert_same_bits({"gradient": one}, {"gradient": net.arch_gradient(valid=valid, method="first_order")})


@pytest.mark.parametrize("method", ["unrolled", "unrolled_exact"])
def test_train_and_valid_may_have_different_sizes(method: str) -> None:
    setup = SETUPS["none, skip and one convolution"]
    ours, theirs = setup.pair()
    train, (x, y) = setup.batches(2)
    valid = (x[:3], y[:3])
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    assert_gradients_agree(ours.arch_gradient(train, valid, method, XI), expected, method)


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_alpha_leaves_everything_as_it_was(method: str) -> None:
    setup = SETUPS["the published operations"]
    net, theirs = setup.pair(hypergradient=method)
    train, valid = setup.batches(2)
    net.step(train, valid)  # so that momentum and moments are not zero
    momentum = setup.buffers(theirs)
    given = [tensor.clone() for tensor in (*train, *valid, *momentum.values())]
    before = snapshot(net)
    random = torch.get_rng_state()
    net.arch_gradient(train, valid, method, XI, momentum=momentum)
    assert torch.equal(random, torch.get_rng_state())
    assert_same_bits(before, snapshot(net))
    kept = (*train, *valid, *momentum.values())
    assert all(torch.equal(one, other) for one, other in zip(given, kept, strict=True))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("method", ["unrolled", "unrolled_exact"])
def test_momentum_none_means_zeros_and_never_the_live_buffer(method: str) -> None:
    setup = SETUPS["none, skip and one convolution"]
    net, theirs = setup.pair(hypergradient=method)
    train, valid = setup.batches(2)
    for _ in range(2):
        net.step(train, valid)
    theirs.load_state_dict(net.state_dict())
    theirs.set_alphas(net.alphas)
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    assert_gradients_agree(net.arch_gradient(train, valid, method, XI), expected, method)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_the_same_under_no_grad(method: str) -> None:
    setup = SETUPS["none, skip and one convolution"]
    net, _ = setup.pair()
    train, valid = setup.batches(2)
    one = net.arch_gradient(train, valid, method, XI)
    with torch.no_grad():
        other = net.arch_gradient(train, valid, method, XI)
        assert not torch.is_grad_enabled()
    assert_same_bits({"gradient": one}, {"gradient": other})


def test_building_a_network_leaves_the_random_state_of_torch_alone() -> None:
    before = torch.get_rng_state()
    SETUPS["none, skip and one convolution"].engine()
    assert torch.equal(before, torch.get_rng_state())


# ------------------------------------------------------------------------------------------ strided inputs


def channels_last(x: Tensor) -> Tensor:
    return x.to(memory_format=torch.channels_last)


def every_second(x: Tensor) -> Tensor:
    wide = torch.full([2 * n for n in x.shape], 7.0, dtype=x.dtype)
    wide[::2, 1::2, ::2, 1::2] = x
    return wide[::2, 1::2, ::2, 1::2]


def turned(x: Tensor) -> Tensor:
    return x.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0)


def asking_for_gradients(x: Tensor) -> Tensor:
    return x.clone().requires_grad_()


@pytest.mark.parametrize("view", [channels_last, every_second, turned, asking_for_gradients])
def test_how_the_images_lie_in_memory_does_not_matter(view: Any) -> None:
    setup = Setup(operations=SMALL, size=(7, 5), channels=2)
    net, _ = setup.pair()
    (x, y), (u, v) = setup.batches(2)
    strided = torch.stack([v, v + 1], dim=1).flatten()[::2]
    assert torch.equal(view(x), x) and torch.equal(strided, v)
    assert distance(net.logits(view(x)), net.logits(x)) <= LOSS
    assert net.loss(view(u), strided) == pytest.approx(net.loss(u, v), rel=LOSS, abs=0)
    for method in METHODS:
        one = net.arch_gradient((x, y), (u, v), method, XI)
        other = net.arch_gradient((view(x), y), (view(u), strided), method, XI)
        assert_gradients_agree(other, one, method)


def test_an_expanded_image_is_read_as_a_batch_of_copies() -> None:
    setup = Setup(operations=SMALL)
    net, _ = setup.pair()
    (x, _), _ = setup.batches(2)
    one = x[:1].expand(4, -1, -1, -1)
    assert distance(net.logits(one), net.logits(one.contiguous())) <= LOSS


def test_a_strided_state_dict_is_read_by_value() -> None:
    setup = SETUPS["the published operations"]
    net, theirs = setup.pair()
    state = {
        name: torch.stack([tensor, tensor + 1], dim=-1)[..., 0] for name, tensor in net.state_dict().items()
    }
    fresh = setup.engine()
    fresh.load_state_dict(state)
    assert_same_bits({"state": dict(theirs.state_dict())}, {"state": fresh.state_dict()})


# ------------------------------------------------------------------------------------------------ full steps


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


@pytest.mark.parametrize("momentum", [0.9, 0.0], ids=["momentum", "no momentum"])
@pytest.mark.parametrize("method", METHODS)
@each("wide images of 5x12", "two nodes of three, turned round", "no reduction", "one cell")
def test_five_steps_of_the_search_follow_the_reference(setup: Setup, method: str, momentum: float) -> None:
    assert_steps_agree(setup, 5, method, weight_momentum=momentum)


@pytest.mark.parametrize("method", METHODS)
@each("odd images of 7x5", "all twelve operations")
def test_five_steps_of_larger_spaces_follow_the_reference(setup: Setup, method: str) -> None:
    assert_steps_agree(setup, 5, method)


@pytest.mark.parametrize("method", METHODS)
def test_every_option_of_the_optimisers_reaches_them(method: str) -> None:
    setup = SETUPS["two nodes of three, turned round"]
    assert_steps_agree(
        setup,
        5,
        method,
        lr=0.1,
        epsilon=0.05,
        weight_momentum=0.7,
        weight_decay=0.02,
        grad_clip=0.05,
        arch_lr=0.01,
        arch_betas=(0.8, 0.9),
        arch_weight_decay=0.1,
    )


@each("the published operations", "odd images of 7x5", "no reduction")
def test_the_running_statistics_move_once_a_step(setup: Setup) -> None:
    ours, theirs = setup.pair(hypergradient="unrolled")
    train, valid = setup.batches(2)
    before = ours.state_dict()
    ours.step(train, valid)
    reference.Search(theirs, method="unrolled").step(train, valid, XI)
    after = ours.state_dict()
    running = [name for name, _ in theirs.named_buffers()]
    assert running
    assert all(not torch.equal(before[name], after[name]) for name in running)
    expected = theirs.state_dict()
    assert apart({n: after[n] for n in running}, {n: expected[n] for n in running}) <= FIVE_STEPS


def test_the_optimisers_start_at_zero() -> None:
    setup = SETUPS["none, skip and one convolution"]
    net, theirs = setup.pair()
    state = net.optimizer_state()
    assert state["step"] == 0
    assert set(state["momentum"]) == set(theirs.weights())
    assert set(state["exp_avg"]) == set(state["exp_avg_sq"]) == set(theirs.alphas)
    for part in ("momentum", "exp_avg", "exp_avg_sq"):
        assert not any(tensor.any() for tensor in state[part].values())


def test_a_table_that_no_cell_uses_still_decays() -> None:
    setup = SETUPS["no reduction"]
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    before = ours.alphas["reduce"]
    assert not ours.arch_gradient(train, valid, "first_order")["reduce"].any()
    ours.step(train, valid)
    assert not torch.equal(ours.alphas["reduce"], before)
    reference.Search(theirs).step(train, valid, XI)
    assert apart(ours.alphas, theirs.alphas) <= FIVE_STEPS


# --------------------------------------------------------------------------------------- random small spaces


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    operations = draw(
        st.lists(st.sampled_from(ALL), min_size=1, max_size=4, unique=True).filter(lambda o: o != ["none"])
    )
    nodes = draw(st.integers(1, 4 if len(operations) < 3 else 2))
    numbers = list(range(2, nodes + 2))
    layers = draw(st.integers(1, 3))
    reductions = draw(st.none() | st.lists(st.integers(0, layers - 1), max_size=2, unique=True))
    return Setup(
        operations=tuple(operations),
        nodes=nodes,
        concat=draw(st.none() | st.lists(st.sampled_from(numbers), min_size=1, unique=True).map(tuple)),
        reductions=None if reductions is None else tuple(reductions),
        stem_multiplier=draw(st.integers(1, 3)),
        channels=draw(st.integers(2, 4)),
        layers=layers,
        num_classes=draw(st.integers(2, 4)),
        in_channels=draw(st.integers(1, 3)),
        size=(draw(st.integers(5, 9)), draw(st.integers(5, 9))),
        batch=draw(st.integers(4, 6)),
        seed=draw(st.integers(0, 1000)),
    )


few = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@few
@given(setups())
def test_any_small_space_has_the_names_and_losses_of_the_reference(setup: Setup) -> None:
    ours, theirs = setup.pair()
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == {
        name: tensor.shape for name, tensor in theirs.state_dict().items()
    }
    x, y = setup.batches(1)[0]
    with torch.no_grad():
        logits, loss = theirs(x), theirs.loss(x, y).item()
    assert distance(ours.logits(x), logits) <= LOSS
    assert ours.loss(x, y) == pytest.approx(loss, rel=LOSS, abs=0)
    theirs.eval()
    with torch.no_grad():
        loss = theirs.loss(x, y).item()
    assert ours.evaluate(x, y)[0] == pytest.approx(loss, rel=LOSS, abs=0)


@few
@given(setups(), st.sampled_from(METHODS), st.booleans())
def test_any_small_space_has_the_gradients_of_the_reference(
    setup: Setup, method: str, with_momentum: bool
) -> None:
    ours, theirs = setup.pair()
    train, valid = setup.batches(2)
    buffers = setup.buffers(theirs) if with_momentum else None
    expected = plain_gradient(theirs, method, train, valid, xi=XI, momentum_buffers=buffers)
    assert_gradients_agree(ours.arch_gradient(train, valid, method, XI, momentum=buffers), expected, method)


@settings(few, max_examples=10)
@given(setups(), st.sampled_from(METHODS), st.sampled_from([0.0, 0.9]))
def test_any_small_space_is_searched_as_by_the_reference(
    setup: Setup, method: str, weight_momentum: float
) -> None:
    assert_steps_agree(setup, 2, method, weight_momentum=weight_momentum)
