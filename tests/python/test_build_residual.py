"""`ResidualNetwork`: shapes and counts, parity with the search network, training, files, costs, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import reference
import torch
from conftest import make_arrays
from parity_stages import Stages
from pydarts import Genotype, plots
from pydarts.algorithms import Flops, Parameters
from pydarts.nn import ResidualNetwork, StageCell
from pydarts.nn._costs import target_costs
from torch import nn

RESNET = Genotype.from_nasbench201(
    "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
)
NONE = Genotype.from_nasbench201("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")


def small(genotype: Genotype = RESNET, **arguments: Any) -> ResidualNetwork:
    sizes: dict[str, Any] = {"channels": 4, "layers": 1, "num_classes": 5}
    net = pydarts.build(genotype, **(sizes | arguments))
    assert isinstance(net, ResidualNetwork)
    return net


@pytest.mark.parametrize(("classes", "size"), [(10, 32), (100, 32), (120, 16)], ids=["C10", "C100", "IN16"])
def test_the_published_sizes_give_logits(classes: int, size: int) -> None:
    net = pydarts.build(RESNET, num_classes=classes)
    assert isinstance(net, ResidualNetwork)
    with torch.no_grad():
        assert net(torch.randn(2, 3, size, size)).shape == (2, classes)
    assert sum(isinstance(cell, StageCell) for cell in net.cells) == 15 and len(net.cells) == 17


def test_the_weights_are_those_of_the_formula() -> None:
    """A conv 3x3 has 9C² weights and 2C of its norm; stem, blocks, last norm and classifier as published."""
    count = sum(weight.numel() for weight in pydarts.build(RESNET).parameters())
    rest = 464 + 14_464 + 57_600 + 128 + 650
    cells = sum(5 * 2 * (9 * c * c + 2 * c) for c in (16, 32, 64))
    assert count == rest + cells
    zero = sum(weight.numel() for weight in pydarts.build(NONE).parameters())
    assert zero == rest


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 3)])
def test_a_built_network_is_the_search_network_of_one_hot_weights(size: tuple[int, int]) -> None:
    """With affine norms the search network and the built one have the same tensors."""
    setup = Stages(affine=True, size=size, layers=2)
    theirs = setup.filled()
    [genotype] = pydarts.random_genotypes("nas-bench-201", seed=4)
    columns = [reference.NAS_BENCH_201_OPERATIONS.index(name) for name, _ in genotype.cell]
    net = small(genotype, layers=2).double()
    names = set(net.state_dict())
    kept = {name: value for name, value in theirs.state_dict().items() if name in names}
    assert names == set(kept)
    for norm in theirs._norms:  # settled, as the built network reads its statistics without correction
        norm.num_batches_tracked.fill_(1000)
    net.load_state_dict(kept)
    theirs.perturbed = {"cell": nn.functional.one_hot(torch.tensor(columns), 5).double()}
    x = setup.batches(1)[0][0]
    for mode in (False, True):  # training moves the statistics of one of them
        net.train(mode)
        theirs.train(mode)
        with torch.no_grad():
            assert torch.allclose(net(x), theirs(x), rtol=1e-11, atol=1e-12)


def test_a_search_is_built_trained_and_inherited(tmp_path: Path) -> None:
    data = make_arrays(32, channels=3, size=8)
    config = pydarts.SearchConfig(
        space="nas-bench-201", channels=4, layers=1, epochs=1, batch_size=8, progress=False
    )
    result = pydarts.search(data, config)
    net = pydarts.build(result, channels=4, layers=1, num_classes=4)
    assert isinstance(net, ResidualNetwork) and net.arguments["stages"] == 3
    inherited = result.inherit(net)
    assert "stem.conv.weight" in inherited.copied and inherited.weights > 0
    trained = pydarts.train(net, data, pydarts.TrainConfig(epochs=1, batch_size=8, progress=False))
    assert trained.status == "complete"
    from_genotype = pydarts.train(
        result.genotype, data, pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
    )
    assert isinstance(from_genotype.network, ResidualNetwork)
    path = tmp_path / "net.safetensors"
    pydarts.export(trained.network, path)
    again = pydarts.load_network(path)
    x = torch.randn(3, 3, 8, 8)
    assert torch.equal(again.eval()(x), trained.network.eval()(x))
    assert again.genotype == result.genotype and again.arguments == trained.network.arguments


def test_drop_path_drops_whole_images_in_training_only() -> None:
    torch.manual_seed(0)
    net = small(drop_path=0.9)
    x = torch.randn(64, 3, 8, 8)
    cell = net.cells[0]
    assert isinstance(cell, StageCell)
    value = torch.randn(64, 4, 8, 8)
    out = cell(value, torch.tensor(0.9))
    assert (out == value).flatten(1).all(1).float().mean() > 0.5  # the skip connection alone is left
    net.eval()
    assert torch.equal(net(x), net(x))


def test_nodes_without_edges_are_zeros() -> None:
    net = small(NONE).eval()
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(net(x)[0], net(x)[1])  # no image reaches the classifier
    assert bool(net(x).isfinite().all())


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"stages": 0}, pydarts.ConfigError, "stages.*0"),
        ({"stages": 9}, pydarts.ConfigError, "stages.*9"),
        ({"channels": 0}, pydarts.ConfigError, "channels.*0"),
        ({"drop_path": 1.0}, pydarts.ConfigError, r"drop_path.*1\.0"),
        ({"pool_norm": "yes"}, pydarts.ConfigError, "pool_norm"),
        ({"auxiliary": True}, pydarts.ConfigError, "auxiliary"),
        ({"reductions": [1]}, pydarts.ConfigError, "reductions"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        pydarts.build(RESNET, **arguments)


def test_a_result_of_other_stages_is_built_before_it_is_trained() -> None:
    data = make_arrays(32, channels=3, size=8)
    options: dict[str, Any] = {"channels": 4, "layers": 1, "epochs": 1, "batch_size": 8, "progress": False}
    result = pydarts.search(data, pydarts.SearchConfig(space=pydarts.Space(stages=2), **options))
    with pytest.raises(pydarts.ConfigError, match="build"):
        pydarts.train(result, data, pydarts.TrainConfig(epochs=1, batch_size=8, progress=False))
    net = pydarts.build(result, channels=4, layers=1, num_classes=4)
    assert net.arguments["stages"] == 2


def test_genotypes_of_other_networks_are_refused() -> None:
    with pytest.raises(pydarts.GenotypeError):
        ResidualNetwork(pydarts.genotypes.DARTS_V2)
    with pytest.raises(pydarts.GenotypeError):
        pydarts.nn.ConvolutionalNetwork(RESNET)
    with pytest.raises(pydarts.GenotypeError, match=r"\[1, 2\]"):
        pydarts.build(Genotype(cell=[[("skip_connect", 0)], [("skip_connect", 1)]], cell_concat=[1, 2]))
    with pytest.raises(pydarts.ConfigError, match="stages"):
        pydarts.build(pydarts.genotypes.DARTS_V2, stages=2)


def test_the_cost_of_random_cells_is_that_of_the_networks_that_are_built() -> None:
    """E of a one-hot table: what the cost term counts is what `cost` counts of the built network."""
    for term, key in (
        (Flops(channels=4, layers=2, image_size=16), "multiply_adds"),
        (Parameters(channels=4, layers=2), "weights"),
    ):
        config = pydarts.SearchConfig(
            space="nas-bench-201", arch_terms=term, num_classes=5, in_channels=3, image_size=16
        )
        [(_, flat, constant)] = target_costs(config)
        for genotype in pydarts.random_genotypes("nas-bench-201", n=10, seed=2):
            columns = [reference.NAS_BENCH_201_OPERATIONS.index(name) for name, _ in genotype.cell]
            expected = constant + sum(
                np.reshape(flat, (6, 5))[row, column] for row, column in enumerate(columns)
            )
            net = pydarts.build(genotype, channels=4, layers=2, num_classes=5)
            assert pydarts.cost(net, image_size=16)[key] == expected


def test_cells_are_drawn() -> None:
    assert len(plots.cells(RESNET)) == 1
    assert RESNET.to_svg().count("nor_conv_3x3") == 2
    assert 'cell_0 -> cell_1 [label="nor_conv_3x3"' in RESNET.to_dot()
    assert "nor_conv_3x3" in RESNET._repr_html_()


def test_cells_are_compared_with_random_ones() -> None:
    table = pydarts.compare(
        {"resnet": RESNET},
        make_arrays(32, channels=3, size=8),
        random=2,
        select=pydarts.TrainConfig(epochs=1, batch_size=8, progress=False),
        network={"channels": 4, "layers": 1},
        workers=0,
    )
    assert {row.origin for row in table} == {"searched", "given", "random"} - {"searched"} | {"random"}
    with pytest.raises(pydarts.ConfigError, match="cell"):
        pydarts.compare({"a": RESNET, "b": pydarts.genotypes.DARTS_V2}, make_arrays(32))
    with pytest.raises(pydarts.ConfigError, match="darts"):
        pydarts.compare({"a": RESNET}, make_arrays(32), space="darts")
