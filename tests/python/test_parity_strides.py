"""How images, labels and weights lie in memory makes no difference to `pydarts.Supernet`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from parity import LOSS, METHODS, SETUPS, SMALL, XI, Setup, assert_gradients_agree, assert_same_bits, distance
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")


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
