"""What a search has trained, handed down to networks of `build`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config


@pytest.fixture(scope="module")
def found() -> pydarts.SearchResult:
    """A search of five cells: reductions are cells 1 and 3."""
    return pydarts.search(make_arrays(), make_config(layers=5, channels=4))


def built(result: pydarts.SearchResult, **changes: Any) -> pydarts.nn.ConvolutionalNetwork:
    arguments = {"channels": 4, "layers": 5, "num_classes": 4, "in_channels": 1, "pool_norm": True}
    return pydarts.build(result.genotype, **(arguments | changes))


def test_all_but_what_batch_norm_learns_is_copied_and_the_report_says_so(found: pydarts.SearchResult) -> None:
    net = built(found)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    report = found.inherit(net)
    after = net.state_dict()
    steps = found.steps[-1]
    for name in report.copied:
        expected = found.state_dict[name].double()
        if ".running_" in name:  # without what is left of the initial 0 or 1
            left = 0.9**steps
            expected = (expected - left * name.endswith("_var")) / (1 - left)
            assert int(after[name.rsplit(".", 1)[0] + ".num_batches_tracked"]) == 2**20
        torch.testing.assert_close(after[name].double(), expected, rtol=1e-6, atol=1e-9, msg=name)
    for name in report.left:
        assert torch.equal(after[name], before[name]) and name.rsplit(".", 2)[1].startswith("bn"), name
    assert {*report.copied, *report.left} == {name for name in after if "num_batches" not in name}
    assert set(report.left.values()) == {"the search has no such tensor"}
    weights = dict(net.named_parameters())
    assert report.of_weights == sum(weight.numel() for weight in weights.values())
    copied = sum(weights[name].numel() for name in report.copied if not name.endswith(("_mean", "_var")))
    assert report.weights == copied > 0.8 * report.of_weights
    assert f"{copied:,} of {report.of_weights:,}" in str(report)
    assert str(len(report.left)) in str(report) and "cells.0.pre0.bn.weight" in str(report)


def test_a_network_that_inherits_computes_what_the_search_network_does(found: pydarts.SearchResult) -> None:
    space = found.config.resolved_space
    search_network = pydarts.Supernet(config=found.config, precision="float64")
    search_network.load_state_dict({name: value.double() for name, value in found.state_dict.items()})
    alphas = {}
    for table, genes in (("normal", found.genotype.normal), ("reduce", found.genotype.reduce)):
        logits = torch.zeros(len(space.edges), len(space.operations), dtype=torch.float64)
        logits[:, space.operations.index("none")] = 1000.0
        for position, (operation, source) in enumerate(genes):
            row = space.edges.index((source, 2 + position // 2))
            logits[row] = 0.0
            logits[row, space.operations.index(operation)] = 1000.0
        alphas[table] = logits
    search_network.set_alphas(alphas)
    net = built(found).double()
    found.inherit(net)
    x = torch.randn(8, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(net.train()(x), search_network.logits(x), rtol=1e-9, atol=1e-9)
    found.inherit(net)  # the pass in training mode moved the statistics
    y = torch.arange(8) % 4
    with torch.no_grad():
        logits = net.eval()(x)
    loss, correct = search_network.evaluate(x, y)
    # The statistics were copied in float32.
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, y)), rel=1e-5)
    assert correct == int((logits.argmax(1) == y).sum())


def test_a_search_of_no_step_leaves_the_statistics_as_they_begin(found: pydarts.SearchResult) -> None:
    state = pydarts.Supernet(config=found.config).state_dict()
    net = built(found)
    before = {name: value.clone() for name, value in net.state_dict().items() if "bn" in name}
    dataclasses.replace(found, state_dict=state).inherit(net)
    assert all(
        torch.equal(net.state_dict()[name], value) for name, value in before.items() if "weight" not in name
    )


def test_a_result_without_counts_hands_down_its_statistics_as_they_are(found: pydarts.SearchResult) -> None:
    state = {name: value for name, value in found.state_dict.items() if "num_batches" not in name}
    net = built(found)
    report = dataclasses.replace(found, state_dict=state).inherit(net)
    names = [name for name in report.copied if ".running_" in name]
    assert names and all(torch.equal(net.state_dict()[name], state[name]) for name in names)


def test_cells_of_the_other_kind_and_tensors_of_another_shape_are_left(found: pydarts.SearchResult) -> None:
    deeper = found.inherit(built(found, layers=6))  # reductions are cells 2 and 4
    assert {name.split(".")[1] for name in deeper.copied if name.startswith("cells.")} == {"0"}
    reasons = {name.split(".")[1]: why for name, why in deeper.left.items() if name.startswith("cells.")}
    assert set(reasons) >= {"1", "2", "3", "4", "5"}
    assert deeper.left["cells.1.pre1.conv.weight"] == "the search's cell there is of the other kind"
    assert deeper.left["cells.5.pre1.conv.weight"] == "the search has no such tensor"
    wider = found.inherit(built(found, channels=6, num_classes=4))
    assert wider.left["cells.0.pre1.conv.weight"] == "of another shape in the search"
    assert wider.copied == ("classifier.bias",)


def test_a_result_that_was_saved_hands_down_the_same(found: pydarts.SearchResult, tmp_path: Path) -> None:
    found.save(tmp_path)
    one, other = built(found), built(found)
    report = pydarts.SearchResult.load(tmp_path).inherit(one)
    assert report == found.inherit(other)
    assert all(torch.equal(one.state_dict()[name], other.state_dict()[name]) for name in report.copied)


def test_a_warm_start_is_ahead_of_a_cold_one() -> None:
    X, y = make_arrays(n=160)
    result = pydarts.search((X, y), make_config(channels=4, epochs=6, weight_lr=0.1))
    cfg = pydarts.TrainConfig(epochs=1, batch_size=16, weight_lr=0.01, progress=False)
    losses = []
    for warm in (True, False):
        torch.manual_seed(0)
        net = built(result, layers=3)
        if warm:
            result.inherit(net)
        losses.append(pydarts.train(net, (X, y), cfg).history[0].train_loss)
    assert losses[0] < 0.7 * losses[1], losses


def test_a_language_model_inherits_too() -> None:
    tokens = np.arange(400) % 7
    cfg = pydarts.SearchConfig(
        space="darts-rnn", units=6, nodes=3, batch_size=4, bptt=10, epochs=1, device="cpu", progress=False
    )
    result = pydarts.search((tokens, tokens[:100]), cfg)
    net = pydarts.build(result.genotype, vocabulary=7, units=6)
    report = result.inherit(net)
    assert not report.left and report.weights == report.of_weights
    assert torch.equal(net.state_dict()["cell.w2"], result.state_dict["cell.w2"])


def test_only_networks_inherit(found: pydarts.SearchResult) -> None:
    with pytest.raises(TypeError, match=r"pydarts\.build.*Linear"):
        found.inherit(torch.nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"torch\.compile"):
        found.inherit(torch.compile(built(found)))  # type: ignore[arg-type]


def test_where_a_space_puts_its_reductions_says_which_cells_fit() -> None:
    space = pydarts.Space(nodes=2, operations=("none", "skip_connect", "conv_1x1"), reductions=(2,))
    cfg = make_config(space=space, operations=space.operations, channels=4, epochs=1)
    result = pydarts.search(make_arrays(), cfg)
    report = result.inherit(
        pydarts.build(result.genotype, channels=4, layers=3, num_classes=4, in_channels=1)
    )
    other = {
        name for name, why in report.left.items() if why == "the search's cell there is of the other kind"
    }
    assert {name.split(".")[1] for name in other} == {"1"}, "here cells 1 and 2 reduce, there cell 2 alone"
