"""The operation `noise` in networks of genotypes: torch's generator draws in every pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from pydarts.nn._layers import Layers
from pydarts.nn._operations import OPERATIONS

CELL: Any = [[("noise", 0), ("sep_conv_3x3", 1)]]
GENOTYPE = pydarts.Genotype(normal=CELL, normal_concat=[2], reduce=CELL, reduce_concat=[2])


def built(**changes: Any) -> pydarts.nn.ConvolutionalNetwork:
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"channels": 2, "layers": 2, "num_classes": 4, "in_channels": 1}
    return pydarts.build(GENOTYPE, **(arguments | changes))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("dimensions", "sides"), [(2, (9, 6)), (1, (7,))], ids=["images", "sequences"])
def test_it_draws_standard_normal_numbers_of_the_size_that_the_stride_asks_for(
    stride: int, dimensions: int, sides: tuple[int, ...]
) -> None:
    noise = OPERATIONS["noise"](3, 3, stride, False, Layers(dimensions))
    x = torch.full((400, 3, *sides), 5.0, dtype=torch.float64, requires_grad=True)
    drawn = noise(x)
    assert drawn.shape == (400, 3, *(-(-side // stride) for side in sides))
    assert drawn.dtype == x.dtype and not drawn.requires_grad
    assert abs(drawn.mean()) < 0.05 and abs(drawn.var() - 1) < 0.05 and not list(noise.parameters())


@pytest.mark.parametrize("trains", [True, False])
def test_every_pass_draws_anew_from_the_generator_of_torch(trains: bool) -> None:
    net, x = built().train(trains), torch.randn(4, 1, 8, 8)
    torch.manual_seed(1)
    first, second = net(x), net(x)
    torch.manual_seed(1)
    assert torch.equal(net(x), first) and not torch.equal(first, second)


def test_it_costs_nothing_and_inherits_nothing() -> None:
    config = make_config(nodes=1, operations=("noise", "sep_conv_3x3"), layers=2, epochs=1)
    result = pydarts.search(make_arrays(16), config)
    net = built(pool_norm=True)
    report = result.inherit(net)
    assert not any("noise" in name for name in (*report.copied, *report.left, *net.state_dict()))
    empty: Any = [[("none", 0), ("sep_conv_3x3", 1)]]
    plain = pydarts.Genotype(normal=empty, normal_concat=[2], reduce=empty, reduce_concat=[2])
    sizes: dict[str, Any] = {"channels": 2, "layers": 2, "num_classes": 4, "in_channels": 1}
    assert pydarts.cost(net, image_size=8) == pydarts.cost(pydarts.build(plain, **sizes), image_size=8)


def test_trainings_and_their_evaluations_are_seeded() -> None:
    config = pydarts.TrainConfig(epochs=2, batch_size=8, progress=False, device="cpu", seed=1)
    records = []
    for caller in (1, 2):
        net = built()
        torch.manual_seed(caller)
        before = torch.get_rng_state()
        result = pydarts.train(net, make_arrays(24), config)
        assert torch.equal(before, torch.get_rng_state())
        records.append([(record.train_loss, record.valid_loss) for record in result.history])
    assert records[0] == records[1]


def test_a_graph_draws_too(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    net, x = built(layers=1).eval(), torch.randn(3, 1, 9, 8)
    pydarts.export(net, tmp_path / "net.onnx", image_size=(9, 8))
    session = runtime.InferenceSession((tmp_path / "net.onnx").read_bytes())
    first, second = (torch.from_numpy(session.run(None, {"x": x.numpy()})[0]) for _ in range(2))
    assert first.shape == net(x).shape and not torch.equal(first, second)
