"""The positions of reduction cells: of a network, of a search whose result is built, and in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from commands import answered
from pydarts import genotypes

X = np.random.default_rng(0).integers(0, 256, (48, 1, 8, 8)).astype(np.uint8)
Y = np.arange(48) % 2
SMALL: dict[str, Any] = {"channels": 2, "layers": 3}


def searched(cells: list[int] | None) -> pydarts.SearchResult:
    space = pydarts.Space(nodes=2, reductions=cells)
    cfg = pydarts.SearchConfig(space=space, epochs=1, batch_size=8, progress=False, **SMALL)
    return pydarts.search((X, Y), cfg)


def halved(net: Any) -> list[int]:
    """The cells that halve height and width, by running them."""
    sizes: list[int] = []
    for cell in net.cells:
        cell.register_forward_hook(lambda _, given, out: sizes.append(given[1].shape[2] // out.shape[2]))
    net(torch.randn(2, net.arguments["in_channels"], 128, 128))
    return [index for index, factor in enumerate(sizes) if factor == 2]


@pytest.mark.parametrize("cells", [[], [0], [1, 3], [3, 1], [0, 1, 2], range(4), np.array([2])])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_cells_reduce_where_the_list_names_them(cells: Any, stem: Any) -> None:
    net = pydarts.build(genotypes.DARTS_V2, channels=2, layers=4, reductions=cells, stem=stem)
    assert halved(net) == sorted(cells) == sorted(net.reductions)
    assert net.arguments["reductions"] == list(cells)


def test_without_a_list_they_stand_where_published() -> None:
    net = pydarts.build(genotypes.DARTS_V2, channels=2, layers=6, reductions=None)
    assert halved(net) == [2, 4] and "reductions" not in net.arguments


@pytest.mark.parametrize("cells", [[4], [-1], [1, 1], [1.5], [True], "12", 2, ["1"]])
def test_other_lists_are_refused(cells: Any) -> None:
    with pytest.raises(pydarts.ConfigError, match=r"^reductions is "):
        pydarts.build(genotypes.DARTS_V2, channels=2, layers=4, reductions=cells)


@pytest.mark.parametrize(
    ("cells", "after"), [([], 4), ([5], 4), ([0], 4), ([5, 1], 5), ([0, 2, 4], 2), (None, 4)]
)
def test_the_auxiliary_head_follows_the_second_reduction(cells: Any, after: int) -> None:
    net = pydarts.build(genotypes.DARTS_V2, channels=2, layers=6, reductions=cells, auxiliary=True)
    assert net.head_cell == after and net.auxiliary is not None
    assert (
        net.auxiliary.conv_1.in_channels
        == len(net.cells[after].concat) * net.cells[after].pre1.conv.out_channels
    )
    logits, auxiliary = net(torch.randn(2, 3, 64, 64))
    assert logits.shape == auxiliary.shape


def test_the_size_that_the_head_needs_counts_the_reductions_before_it() -> None:
    select = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
    for cells, status in (([0, 1], False), ([0], True), ([], True)):
        net = pydarts.build(
            genotypes.DARTS_V2, in_channels=1, num_classes=2, reductions=cells, auxiliary=True, **SMALL
        )
        images = X.repeat(2, 2).repeat(2, 3)  # 16x16
        if status:
            assert pydarts.train(net, (images, Y), select).status == "complete"
        else:
            with pytest.raises(pydarts.DataError, match="29"):
                pydarts.train(net, (images, Y), select)


def test_files_and_graphs_keep_them(tmp_path: Path) -> None:
    net = pydarts.build(genotypes.DARTS_V2, reductions=[1], **SMALL).eval()
    pydarts.export(net, tmp_path / "net.safetensors")
    again = pydarts.load_network(tmp_path / "net.safetensors").eval()
    assert isinstance(again, pydarts.nn.ConvolutionalNetwork)
    assert again.reductions == (1,) and again.arguments == net.arguments
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(net(x), again(x))
    pydarts.export(net, tmp_path / "net.pt2", image_size=16)
    graph = torch.export.load(tmp_path / "net.pt2").module()
    torch.testing.assert_close(graph(x), net(x))


def test_fewer_reductions_cost_more_per_image_and_have_fewer_weights() -> None:
    found = [
        pydarts.cost(pydarts.build(genotypes.DARTS_V2, channels=4, layers=6, reductions=cells))
        for cells in ([], [2], [2, 4])
    ]
    assert [item["weights"] for item in found] == sorted(item["weights"] for item in found)
    assert found[2] == pydarts.cost(pydarts.build(genotypes.DARTS_V2, channels=4, layers=6))


@pytest.mark.parametrize("cells", [None, [], [1]])
def test_the_network_of_a_result_has_those_of_its_search(cells: Any) -> None:
    result = searched(cells)
    net = pydarts.build(result, num_classes=2, in_channels=1, **SMALL)
    assert net.genotype == result.genotype
    assert list(net.reductions) == ([1, 2] if cells is None else cells)
    report = result.inherit(net)
    assert not [reason for reason in report.left.values() if reason != "the search has no such tensor"]
    assert pydarts.build(result, num_classes=2, reductions=[2], **SMALL).reductions == (2,)
    assert pydarts.build(result, num_classes=2, reductions=None, **SMALL).reductions == (1, 2)


def test_positions_of_another_depth_are_asked_for() -> None:
    assert pydarts.build(searched([]), channels=2, layers=7).reductions == ()
    assert pydarts.build(searched(None), channels=2, layers=7).reductions == (2, 4)
    with pytest.raises(pydarts.ConfigError, match=r"reductions=\[1\].* 3 layers.* 7 "):
        pydarts.build(searched([1]), channels=2, layers=7)


def test_weights_of_cells_of_the_other_kind_are_not_inherited() -> None:
    net = pydarts.build(searched([1]).genotype, num_classes=2, in_channels=1, reductions=[2], **SMALL)
    report = searched([1]).inherit(net)
    assert not [name for name in report.copied if name.startswith(("cells.1.", "cells.2."))]


def test_comparisons_train_them(tmp_path: Path) -> None:
    select = pydarts.TrainConfig(epochs=1, batch_size=16, progress=False)
    cells = {"flat": searched([]), "published": searched(None), "given": genotypes.DARTS_V2}
    table = pydarts.compare(cells, (X, Y), select, random=1, workers=0)
    found = [row.training.network.reductions for row in table if row.training is not None]
    assert found == [(), (1, 2), (), ()], "those of the first result where a cell has none of its own"
    kept = select.replace(checkpoint_dir=tmp_path / "many", resume=True)
    for _ in range(2):
        table = pydarts.compare(
            {"given": genotypes.DARTS_V2}, (X, Y), kept, network={**SMALL, "reductions": (2,)}, workers=0
        )
        assert [row.training.network.reductions for row in table if row.training] == [(2,)]


def test_search_many_trains_the_cells_as_they_were_searched() -> None:
    space = pydarts.Space(nodes=2, reductions=[2])
    cfg = pydarts.SearchConfig(space=space, epochs=1, batch_size=8, progress=False, **SMALL)
    select = pydarts.TrainConfig(epochs=1, batch_size=16)
    table = pydarts.search_many((X, Y), cfg, seeds=1, select=select, random=1, workers=0)
    assert [row.training.network.reductions for row in table if row.training] == [(2,), (2,)]


def test_the_report_counts_the_network_that_was_searched(tmp_path: Path) -> None:
    for cells in ([], [1]):
        result = searched(cells)
        weights = pydarts.cost(pydarts.build(result, num_classes=2, in_channels=1, **SMALL))["weights"]
        result.report(tmp_path / "report.html")
        assert f"{weights:,}" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_command_line_takes_positions() -> None:
    for given, cells in (("1", [1]), ("0,2", [0, 2]), ("[]", [])):
        answer = answered(
            "cost", "DARTS_V2", "--layers", "3", "--channels", "2", "--reductions", given, "--json"
        ).json
        assert answer["network"]["reductions"] == cells
