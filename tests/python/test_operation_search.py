"""Searches with user-defined operations, and what is done with their results."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from resuming import Stop, StopAt, arrays, checkpoints, pair
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("one_thread")


class Noisy(nn.Module):
    """Batch norm, dropout, a counter: all that a checkpoint must hold."""

    def __init__(self, channels: int, stride: int, affine: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels, affine=affine, momentum=0.2)
        self.dropout = nn.Dropout(0.3)
        self.register_buffer("passes", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        y: Tensor = self.dropout(self.bn(self.conv(torch.relu(x))))
        return y


class Other(Noisy):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


noisy = pydarts.Operation("noisy", Noisy)


def config(*operations: Any, **changes: Any) -> pydarts.SearchConfig:
    fields: dict[str, Any] = {
        "space": pydarts.Space(name="mine", operations=list(operations or ("none", noisy)), nodes=1),
        "channels": 2,
        "layers": 3,
        "epochs": 2,
        "batch_size": 8,
        "device": "cpu",
        "progress": False,
    }
    return pydarts.SearchConfig(**(fields | changes))


def numbers(result: pydarts.SearchResult) -> Any:
    history = [
        {name: value for name, value in record.items() if name != "seconds"}
        for record in result.history.to_dicts()
    ]
    return history, {name: values.tolist() for name, values in result.alphas.items()}


def same_bits(one: pydarts.SearchResult, other: pydarts.SearchResult) -> None:
    assert numbers(one) == numbers(other)
    assert one.state_dict.keys() == other.state_dict.keys()
    for name, tensor in one.state_dict.items():
        assert torch.equal(tensor, other.state_dict[name]), name


# ---- searches


@pytest.mark.parametrize("method", ["first_order", "unrolled", "unrolled_exact"])
def test_a_search_is_a_function_of_its_seed(method: Any) -> None:
    runs = []
    for torch_seed in (0, 1):
        torch.manual_seed(torch_seed)
        runs.append(pydarts.search(pair(), config(hypergradient=method)))
    same_bits(*runs)
    other = pydarts.search(pair(), config(hypergradient=method, seed=1))
    assert numbers(other) != numbers(runs[0])
    steps = runs[0].steps[-1]
    assert {t.item() for name, t in runs[0].state_dict.items() if name.endswith("noisy.passes")} == {steps}


def test_the_order_of_other_operations_changes_nothing_about_its_weights() -> None:
    nets = [
        pydarts.Supernet(config=config(*names), num_classes=3, in_channels=1, image_size=8)
        for names in (("none", noisy), (noisy, "skip_connect", "max_pool_3x3"))
    ]
    states = [net.state_dict() for net in nets]
    for name in states[0]:
        assert torch.equal(states[0][name], states[1][name])


def test_the_batch_size_can_be_found() -> None:
    result = pydarts.search(arrays(64), config(batch_size="auto", epochs=1))
    assert isinstance(result.config.batch_size, int)


def test_random_numbers_of_the_loader_and_of_the_module_do_not_mix() -> None:
    """A loader that draws in this process is prefetched by a thread, while modules draw."""

    class Jittered(torch.utils.data.Dataset[Any]):
        def __getitem__(self, index: int) -> Any:
            return torch.rand(1, 8, 8), index % 3

        def __len__(self) -> int:
            return 32

    def run(workers: int) -> pydarts.SearchResult:
        loader = torch.utils.data.DataLoader(Jittered(), batch_size=8, shuffle=True, num_workers=workers)
        cfg = config(num_classes=3, in_channels=1, image_size=8, epochs=1)
        return pydarts.search(loader, cfg)

    same_bits(run(0), run(0))


# ---- resuming


@pytest.mark.parametrize("method", ["first_order", "unrolled_exact"])
@pytest.mark.parametrize("stop", [{"step": 2}, {"epoch": 0}], ids=["in an epoch", "between epochs"])
def test_a_resumed_search_is_the_uninterrupted_one_bit_for_bit(
    method: Any, stop: dict[str, int], tmp_path: Path
) -> None:
    cfg = config(hypergradient=method)
    whole = pydarts.search(pair(), cfg)
    kept = cfg.replace(checkpoint_dir=tmp_path, checkpoint_every=1)
    with pytest.raises(Stop):
        pydarts.search(pair(), kept, StopAt(**stop))
    assert checkpoints(tmp_path)
    same_bits(pydarts.search(pair(), kept.replace(resume=True)), whole)


@pytest.mark.filterwarnings("ignore:steps from here on")
def test_other_code_is_refused_unless_forced(tmp_path: Path) -> None:
    cfg = config(checkpoint_dir=tmp_path, epochs=1)
    first = pydarts.search(pair(), cfg)
    assert "operation noisy" in first.fingerprint
    other = pydarts.Operation("noisy", Other)
    changed = config("none", other, checkpoint_dir=tmp_path, epochs=2, resume=True)
    with pytest.raises(pydarts.CheckpointError, match="operation noisy"):
        pydarts.search(pair(), changed)
    forced = pydarts.search(pair(), changed.replace(resume="force"))
    assert forced.fingerprint["operation noisy"] != first.fingerprint["operation noisy"]
    assert forced.steps[-1] == 2 * first.steps[-1]


def test_other_candidates_are_another_search(tmp_path: Path) -> None:
    cfg = config(checkpoint_dir=tmp_path, epochs=1)
    pydarts.search(pair(), cfg)
    more = config("none", noisy, "skip_connect", checkpoint_dir=tmp_path, epochs=2, resume="force")
    with pytest.raises(pydarts.CheckpointError, match="space"):
        pydarts.search(pair(), more)


# ---- results


@pytest.fixture(scope="module")
def result() -> pydarts.SearchResult:
    return pydarts.search(pair(), config(noisy, epochs=1))


def test_the_network_of_a_result_inherits_the_weights(result: pydarts.SearchResult) -> None:
    assert {name for name, _ in result.genotype.normal} == {"noisy"}
    sizes: dict[str, Any] = {"channels": 2, "layers": 3, "num_classes": 3, "in_channels": 1}
    net = pydarts.build(result, **sizes)
    explicit = pydarts.build(result.genotype, operations=[noisy], **sizes)
    assert net.state_dict().keys() == explicit.state_dict().keys()
    report = result.inherit(net)
    name = "cells.0.edges.0_2.noisy"
    assert {f"{name}.conv.weight", f"{name}.bn.running_mean", f"{name}.passes"} <= set(report.copied)
    assert {f"{name}.bn.weight", f"{name}.bn.bias"} <= set(report.left)  # affine in a built network alone
    count = result.steps[-1]
    left = 0.8**count
    found = net.state_dict()[f"{name}.bn.running_var"].double()
    raw = result.state_dict[f"{name}.bn.running_var"].double()
    assert torch.allclose(found, (raw - left) / (1 - left), rtol=1e-5)
    assert pydarts.cost(net, image_size=8)["weights"] == sum(w.numel() for w in net.parameters())


def test_a_result_is_loaded_without_the_operation(result: pydarts.SearchResult, tmp_path: Path) -> None:
    result.save(tmp_path / "result")
    net = pydarts.build(result, channels=2, layers=3, num_classes=3, in_channels=1)
    pydarts.export(net, tmp_path / "net.safetensors")
    script = """
        import sys, pydarts
        result = pydarts.SearchResult.load(sys.argv[1] + "/result")
        assert result.genotype.normal[0][0] == "noisy", result.genotype
        assert result.config.space.own_operations["noisy"].startswith("test_operation_search:Noisy ")
        result.plot_cells(), result.plot_alphas(), result.plot_supernet(), print(result.trajectory)
        for call in (
            lambda: pydarts.Supernet(config=result.config),
            lambda: pydarts.build(result),
            lambda: pydarts.load_network(sys.argv[1] + "/net.safetensors"),
        ):
            try:
                call()
            except pydarts.Error as error:
                assert "noisy" in str(error), error
            else:
                raise AssertionError("the operation is not known here")
    """
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    again = pydarts.load_network(tmp_path / "net.safetensors")
    assert again.own_operations == {"noisy": noisy.fact}
    x = torch.zeros(2, 1, 8, 8)
    assert torch.equal(again.eval()(x), net.eval()(x))
    same = pydarts.SearchResult.load(tmp_path / "result")
    assert same.genotype == result.genotype and same.config == result.config


def test_it_is_shown_by_name(result: pydarts.SearchResult, tmp_path: Path) -> None:
    result.plot_cells(), result.plot_alphas(), result.plot_weights(), result.plot_supernet()
    path = result.report(tmp_path / "report.html")
    assert "noisy" in path.read_text(encoding="utf-8")
    assert "noisy" in result.config._repr_html_()
    assert json.loads(result.genotype.to_json())["own_operations"] == ["noisy"]


def test_networks_with_it_are_trained_and_exported(result: pydarts.SearchResult, tmp_path: Path) -> None:
    net = pydarts.build(result, channels=2, layers=3, num_classes=3, in_channels=1)
    training = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False, device="cpu")
    trained = pydarts.train(net, pair(), training)
    trained.save(tmp_path / "training")
    assert pydarts.TrainResult.load(tmp_path / "training").network.own_operations == {"noisy": noisy.fact}
    pydarts.export(net, tmp_path / "net.pt2", image_size=8, normalize=False)
    graph = torch.export.load(tmp_path / "net.pt2").module()
    x = torch.from_numpy(np.random.default_rng(0).random((3, 1, 8, 8), np.float32))
    assert torch.allclose(graph(x), net.eval()(x), atol=1e-5)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
def test_many_searches_and_random_cells_have_it(workers: int, tmp_path: Path) -> None:
    select = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
    cfg = config(noisy, "skip_connect", epochs=1, checkpoint_dir=tmp_path / "many")
    table = pydarts.search_many(arrays(40), cfg, seeds=1, select=select, random=3, workers=workers)
    assert [row.status for row in table] == ["complete"] * 4, [row.error for row in table]
    assert any("noisy" in str(row.genotype) for row in table if row.origin == "random")
    cells = {"found": table[0].result}
    compared = pydarts.compare(cells, arrays(40), select, random=1, workers=workers)
    assert [row.status for row in compared] == ["complete"] * 2


def test_a_lambda_cannot_go_to_another_process() -> None:
    mine = pydarts.Operation("by_lambda", lambda channels, stride: nn.MaxPool2d(1, stride))
    select = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
    with pytest.raises(pydarts.DataError, match="operations"):
        pydarts.search_many(arrays(40), config(mine), seeds=1, select=select, workers=1)
    with pytest.warns(UserWarning, match="operations"):
        table = pydarts.search_many(arrays(40), config(mine, epochs=1), seeds=1, select=select)
    assert [row.status for row in table] == ["complete"]
