"""Float64 parity of networks with user-defined operations with plain PyTorch that holds the same modules."""

from __future__ import annotations

import json
from typing import Any

import pydarts
import pytest
import reference
import torch
from own_operations import KINDS, OwnSetup, Separable, own_reference  # noqa: F401
from parity import METHODS, XI, apart, distance, plain_gradient
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

pytestmark = pytest.mark.usefixtures("one_thread", "own_reference")

LOGITS = 1e-11
STEPS = 1e-8
GRADIENT = {"first_order": 1e-9, "unrolled": 1e-6, "unrolled_exact": 1e-8}
MIXED = ("none", "skip_connect", "sep_conv_3x3", "smooth")
SETUPS = {
    "smooth among others": OwnSetup(operations=MIXED),
    "the copy of a built-in one": OwnSetup(operations=("separable", "max_pool_3x3", "none")),
    "attention": OwnSetup(operations=("attention", "dil_conv_3x3"), nodes=1),
    "recurrent": OwnSetup(operations=("recurrent", "skip_connect"), nodes=1),
    "without weights": OwnSetup(operations=("bare", "sep_conv_3x3"), nodes=1),
    "own ones alone": OwnSetup(operations=("smooth", "separable"), layers=2),
    "odd images of 7x5": OwnSetup(operations=MIXED, size=(7, 5), nodes=1, layers=4),
    "by table and edge": OwnSetup(
        operations={
            "normal": [
                ("smooth",),
                ("skip_connect", "separable"),
                ("none", "smooth"),
                ("bare",),
                ("smooth",),
            ],
            "reduce": [("max_pool_3x3", "separable")] * 5,
        }
    ),
}
each = pytest.mark.parametrize("setup", [pytest.param(setup, id=name) for name, setup in SETUPS.items()])


@each
def test_names_and_shapes_are_those_of_the_modules(setup: OwnSetup) -> None:
    ours, theirs = setup.engine().state_dict(), setup.reference().state_dict()
    # PyTorch's state dict holds a tied weight under both names.
    theirs = {name: tensor for name, tensor in theirs.items() if not name.endswith("again.weight")}
    assert {n: tuple(t.shape) for n, t in ours.items()} == {n: tuple(t.shape) for n, t in theirs.items()}


def pair(setup: OwnSetup, **config: Any) -> tuple[pydarts.Supernet, reference.Supernet]:
    """Both networks with the same state; the engine has tied weights once."""
    theirs = setup.filled()
    ours = setup.engine(**config)
    own = ours.state_dict()
    ours.load_state_dict({name: tensor for name, tensor in theirs.state_dict().items() if name in own})
    ours.set_alphas({name: alpha.detach() for name, alpha in theirs.alphas.items()})
    return ours, theirs


@each
def test_logits_and_evaluation_are_those_of_the_reference(setup: OwnSetup) -> None:
    ours, theirs = pair(setup)
    x, y = setup.batches(1)[0]
    with torch.no_grad():
        assert distance(ours.logits(x), theirs(x)) <= LOGITS
        theirs.eval()
        expected, logits = theirs.loss(x, y).item(), theirs(x)
    loss, correct = ours.evaluate(x, y)
    assert loss == pytest.approx(expected, rel=LOGITS, abs=0)
    assert correct == int((logits.argmax(1) == y).sum())


@pytest.mark.parametrize("method", METHODS)
@each
def test_the_gradient_of_alpha_is_that_of_the_reference(setup: OwnSetup, method: str) -> None:
    ours, theirs = pair(setup)
    train, valid = setup.batches(2)
    buffers = setup.buffers(theirs)
    with sdpa_kernel(SDPBackend.MATH):
        expected = plain_gradient(theirs, method, train, valid, xi=XI, momentum_buffers=buffers)
    found = ours.arch_gradient(train, valid, method, XI, momentum=buffers)
    for name, gradient in expected.items():
        assert distance(found[name], gradient) <= GRADIENT[method], name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["smooth among others", "by table and edge"])
def test_five_steps_of_the_search_follow_the_reference(name: str, method: str) -> None:
    setup = SETUPS[name]
    ours, theirs = pair(setup, hypergradient=method, weight_lr=XI)
    search = reference.Search(theirs, method=method, published=False)
    batches = setup.batches(10)
    for train, valid in zip(batches[::2], batches[1::2], strict=True):
        assert ours.step(train, valid) == pytest.approx(search.step(train, valid, XI), rel=1e-9, abs=0)
    state = ours.state_dict()
    assert (
        apart(state, {name: value for name, value in theirs.state_dict().items() if name in state}) <= STEPS
    )
    assert apart(ours.alphas, theirs.alphas) <= STEPS


@pytest.mark.parametrize("method", METHODS)
def test_a_copy_of_a_built_in_operation_gives_its_numbers(method: str) -> None:
    built_in, own = (
        OwnSetup(operations=("none", name, "skip_connect")) for name in ("sep_conv_3x3", "separable")
    )
    (net, _), other = pair(built_in, hypergradient=method), own.engine(hypergradient=method)
    other.load_state_dict(
        {name.replace("sep_conv_3x3", "separable"): t for name, t in net.state_dict().items()}
    )
    other.set_alphas(net.alphas)
    train, valid = built_in.batches(2)
    for _ in range(2):
        assert other.step(train, valid) == pytest.approx(net.step(train, valid), rel=1e-10, abs=0)
    expected = {name.replace("sep_conv_3x3", "separable"): t for name, t in net.state_dict().items()}
    assert apart(other.state_dict(), expected) <= 1e-10
    assert apart(other.alphas, net.alphas) <= GRADIENT[method]
    assert other.evaluate(*valid) == (
        pytest.approx(net.evaluate(*valid)[0], rel=1e-10),
        net.evaluate(*valid)[1],
    )


class InHalves(reference.Supernet):
    """The mean of the losses of both halves of a batch, each normalised by its own statistics."""

    def loss(self, x: Tensor, y: Tensor, criterion: Any = F.cross_entropy) -> Tensor:
        return self.loss_at(self.weights(), x, y, criterion)

    def loss_at(
        self, weights: dict[str, Tensor], x: Tensor, y: Tensor, criterion: Any = F.cross_entropy
    ) -> Tensor:
        pairs = zip(x.chunk(2), y.chunk(2), strict=True)
        losses = [super(InHalves, self).loss_at(weights, *half, criterion) for half in pairs]
        return (losses[0] + losses[1]) / 2


@pytest.mark.parametrize("memory", ["keep", "recompute"])
@pytest.mark.parametrize("method", METHODS)
def test_micro_batches_give_the_gradient_of_their_mean(method: str, memory: Any) -> None:
    setup = OwnSetup(operations=MIXED, nodes=1, batch=6)
    ours, theirs = pair(setup, micro_batch=3, memory=memory)
    theirs.__class__ = InHalves
    train, valid = setup.batches(2)
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    assert apart(ours.arch_gradient(train, valid, method, XI), expected) <= GRADIENT[method]


@pytest.mark.parametrize("method", METHODS)
def test_a_masked_candidate_takes_no_part(method: str) -> None:
    with_mask = OwnSetup(operations=("smooth", "separable", "skip_connect"), nodes=1)
    without = OwnSetup(operations=("smooth", "skip_connect"), nodes=1)
    (ours, _), (other, theirs) = pair(with_mask), pair(without)
    for table in ("normal", "reduce"):
        for row in range(2):
            mask = {"decision": "mask", "table": table, "row": row, "columns": [1]}
            ours._net.decide(json.dumps(mask))
    known = other.state_dict()
    ours.load_state_dict(ours.state_dict() | known)
    ours.set_alphas({n: torch.cat([a[:, :1], a[:, :1] * 0, a[:, 1:]], 1) for n, a in other.alphas.items()})
    train, valid = without.batches(2)
    expected = plain_gradient(theirs, method, train, valid, xi=XI)
    found = ours.arch_gradient(train, valid, method, XI)
    assert all(not gradient[:, 1].any() for gradient in found.values())
    kept = {name: gradient[:, [0, 2]] for name, gradient in found.items()}
    assert apart(kept, expected) <= GRADIENT[method]


class Separable1d(nn.Module):
    """The built-in sep_conv_3 of sequences as a user writes it."""

    def __init__(self, channels: int, stride: int, affine: bool) -> None:
        super().__init__()
        c = channels
        self.dw1 = nn.Conv1d(c, c, 3, stride, padding=1, groups=c, bias=False)
        self.pw1 = nn.Conv1d(c, c, 1, bias=False)
        self.bn1 = nn.BatchNorm1d(c, affine=affine)
        self.dw2 = nn.Conv1d(c, c, 3, padding=1, groups=c, bias=False)
        self.pw2 = nn.Conv1d(c, c, 1, bias=False)
        self.bn2 = nn.BatchNorm1d(c, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        n, c, length = x.shape
        x = self.bn1(self.pw1(self.dw1(F.relu(x.view(n, c, length)))))
        return self.bn2(self.pw2(self.dw2(F.relu(x))))


@pytest.mark.parametrize("method", METHODS)
def test_sequences_have_own_operations_too(method: str) -> None:
    own = pydarts.Operation("separable_1d", Separable1d)
    nets = [
        pydarts.Supernet(
            pydarts.Space(name="darts-1d", operations=["none", candidate, "skip_connect"], nodes=2),
            channels=4,
            layers=3,
            num_classes=3,
            in_channels=2,
            image_size=(1, 13),
            precision="float64",
            config=pydarts.SearchConfig(hypergradient=method),  # type: ignore[arg-type]
        )
        for candidate in ("sep_conv_3", own)
    ]
    net, other = nets

    def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name.replace("sep_conv_3", "separable_1d"): tensor for name, tensor in state.items()}

    other.load_state_dict(renamed(net.state_dict()))
    other.set_alphas(net.alphas)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 2, 13, generator=generator, dtype=torch.float64)
    train, valid = (x, torch.arange(4) % 3), (x.flip(2), torch.arange(4) % 2)
    for _ in range(2):
        assert other.step(train, valid) == pytest.approx(net.step(train, valid), rel=1e-10, abs=0)
    assert apart(other.state_dict(), renamed(net.state_dict())) <= 1e-9
    assert apart(other.alphas, net.alphas) <= GRADIENT[method]
    found = pydarts.Genotype(
        normal=[[(own, 0)], []], normal_concat=[2, 3], reduce=[[(own, 1)], []], reduce_concat=[2]
    )
    built = pydarts.build(
        found, channels=4, layers=3, num_classes=3, in_channels=2, dimensions=1, operations=[own]
    )
    assert built(x.float()).shape == (4, 3)
