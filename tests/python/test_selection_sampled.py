"""`selection="sampled"`: of random architectures the one that the trained network evaluates best."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from parity_partial import Partial
from pydarts.algorithms import Linear, Sampled, SkipConnections
from pydarts.nn import Choice, FunctionNetwork
from searches import Listener
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = Sampled(samples=40, batches=2, finalists=3, epoch_samples=4)


def search(selection: Any = FEW, **changes: Any) -> pydarts.SearchResult:
    return pydarts.search(make_arrays(96), make_config(selection=selection, **changes))


def test_names_and_defaults() -> None:
    assert pydarts.SearchConfig(selection="sampled").selection == Sampled(1000, 10, 10, 16)
    for field in ("samples", "batches", "finalists", "epoch_samples"):
        with pytest.raises(pydarts.ConfigError, match=field):
            Sampled(**{field: 0})


def test_derive_needs_alpha_alone() -> None:
    alphas = search().alphas
    last = {name: table[-1] for name, table in alphas.items()}
    with pytest.raises(pydarts.ConfigError, match="sampled"):
        pydarts.derive(last, make_config().resolved_space, selection="sampled")


def test_an_architecture_is_one_of_the_space() -> None:
    found = search()
    space = found.config.resolved_space
    for table in space.tables:
        edges = found.genotype.edges(table)
        assert all(name != "none" for name, _, _ in edges)
        into = [j for _, _, j in edges]
        assert all(into.count(j) == 2 for j in set(into)), "two distinct inputs per node"


def test_it_is_a_function_of_seed_and_state() -> None:
    one, two = search(), search()
    assert one.genotype == two.genotype
    assert all(torch.equal(one.state_dict[name], two.state_dict[name]) for name in one.state_dict)


def test_the_search_is_that_without_it() -> None:
    """Evaluating architectures moves neither weights nor statistics nor streams of batches."""
    one, two = search(), search("strongest")
    assert all(torch.equal(one.state_dict[name], two.state_dict[name]) for name in two.state_dict)
    assert all(np.array_equal(one.alphas[name], two.alphas[name]) for name in two.alphas)
    assert [record.valid_loss for record in one.history] == [record.valid_loss for record in two.history]


def test_the_best_by_hand_is_the_one_that_is_found(tmp_path: Path) -> None:
    """All four architectures of a chain of choices are scored, by accuracy; ties go to the earlier draw."""
    torch.manual_seed(0)

    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: Tensor) -> Tensor:
            return self.factor * x

    X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int64)
    candidates = {"good": Scaled(1.0), "bad": Scaled(-1.0)}
    net = nn.Sequential(
        nn.Linear(4, 2), Choice(dict(candidates), alpha="first"), Choice(dict(candidates), alpha="second")
    )
    with torch.no_grad():
        first: Any = net[0]
        first.weight.copy_(torch.tensor([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]]))
        first.bias.zero_()
    found = pydarts.search(
        (X, y),
        pydarts.SearchConfig(
            relaxation="random",
            selection=Sampled(samples=50),
            epochs=1,
            batch_size=16,
            weight_lr=1e-6,
            weight_lr_min=0.0,
            progress=False,
        ),
        network=net,
    )
    chosen = (found.architecture["1"], found.architecture["2"])
    assert chosen in [("good", "good"), ("bad", "bad")]


def test_only_candidates_of_a_row_are_drawn() -> None:
    """Rows of S1 have two or three candidates, and its tables are padded."""
    found = search(FEW, space="s1", nodes=None, operations=None, epochs=1)
    space = found.config.resolved_space
    for table in space.tables:
        rows = {(i, j): names for (i, j), names in zip(space.edges, space.columns(table), strict=True)}
        assert all(name in rows[i, j] for name, i, j in found.genotype.edges(table))


class Stop(pydarts.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, info: pydarts.StepInfo) -> None:
        if info.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [1, 4])
def test_a_resumed_search_selects_the_same(tmp_path: Path, step: int) -> None:
    changes: dict[str, Any] = {"relaxation": "random", "checkpoint_every": 1}
    whole = search(checkpoint_dir=str(tmp_path / "whole"), **changes)
    config = make_config(selection=FEW, checkpoint_dir=str(tmp_path / "part"), **changes)
    stopped = pydarts.search(make_arrays(96), config, callbacks=[Stop(step)])
    assert stopped.status == "interrupted" and stopped.genotype is not None
    again = search(checkpoint_dir=str(tmp_path / "part"), resume=True, **changes)
    assert again.genotype == whole.genotype
    assert all(torch.equal(again.state_dict[name], whole.state_dict[name]) for name in whole.state_dict)


def test_a_stopped_search_selects_from_all_samples() -> None:
    """A decision that ends the search early does not leave it with the few samples of an epoch."""
    few = Sampled(samples=40, batches=2, finalists=3, epoch_samples=1)
    stopped = search(few, epochs=3, stop={"name": "skip_connections", "most": 1}, arch_start_epoch=0)
    if len(stopped.history) < 3:
        same = search(few, epochs=3, stop={"name": "skip_connections", "most": 1}, arch_start_epoch=0)
        assert same.genotype == stopped.genotype


def test_words_are_selected_from() -> None:
    tokens: Any = tuple(np.random.default_rng(seed).integers(0, 9, 300) for seed in (0, 1))
    config = pydarts.SearchConfig(
        space="darts-rnn",
        nodes=2,
        units=6,
        batch_size=4,
        bptt=7,
        epochs=1,
        eval_batch_size=4,
        selection=FEW,
        relaxation="random",
        progress=False,
    )
    found = pydarts.search(tokens, config)
    assert found.status == "complete" and found.genotype.edges("recurrent")


def test_edges_keep_their_weights_under_edge_normalisation() -> None:
    """Partial channels and weights of edges: architectures are scored with the mean weights of the edges."""
    changes: dict[str, Any] = {"channels": 4, "partial_channels": 2, "edge_normalization": True}
    one, two = search(**changes), search(**changes)
    assert one.status == "complete" and one.genotype == two.genotype
    assert search(relaxation="gdas", **changes).status == "complete"


def chosen_by(values: list[list[float]], sizes: list[int], **options: Any) -> list[str]:
    """The candidates that the epochs select; `values` holds a loss per validation batch and candidate."""
    names = ("first", "second", "third")
    losses = torch.tensor(values, dtype=torch.float64)

    def loss(w: Any, m: Any, batch: Any) -> Tensor:
        return (m["choice"][0] * losses[int(batch[0][0])]).sum() + 0 * w["w"].sum()

    def batch(index: int, size: int) -> tuple[Tensor, Tensor]:
        return torch.full((size,), float(index)), torch.zeros(size)

    valid = [batch(index, size) for index, size in enumerate(sizes)]
    config = pydarts.SearchConfig(
        relaxation="random", selection=Sampled(**options), epochs=4, precision="float64", progress=False
    )
    network = FunctionNetwork(
        loss, {"w": torch.ones(1)}, {"choice": torch.zeros(1, 3)}, candidates={"choice": names}
    )
    heard = Listener()
    result = pydarts.search(([batch(0, 1)], valid), config, heard, network=network)
    assert heard.epochs[-1].architecture == result.architecture
    return [info.architecture["choice"][0][0] for info in heard.epochs]


def test_the_finalists_are_scored_on_all_batches() -> None:
    """The second candidate is the best on the first batch, the third one on both, and the first one never."""
    values = [[3.0, 1.0, 2.0], [9.0, 8.0, 4.0]]
    for finalists, expected in ((1, "second"), (2, "third")):
        options = {"samples": 40, "batches": 1, "finalists": finalists, "epoch_samples": 1}
        *before, last = chosen_by(values, [4, 4], **options)
        assert last == expected
        assert len(set(before)) > 1, "one draw per epoch is not compared with others"
    assert set(chosen_by(values, [4, 4], samples=1, epoch_samples=40)[:-1]) == {"second"}


def test_losses_are_means_over_examples() -> None:
    """The sums over batches would prefer the second candidate."""
    assert chosen_by([[9.0, 4.0, 3.0], [9.0, 2.0, 4.0]], [9, 1], samples=40)[-1] == "third"


def test_the_best_by_plain_pytorch_has_the_weights_of_the_edges() -> None:
    setup = Partial(normalized=True, nodes=1, operations=("skip_connect", "max_pool_3x3"), batch=60)
    train, valid = replace(setup, batch=20).batches(2), setup.batches(1)
    config = pydarts.SearchConfig(
        space=pydarts.Space(operations=setup.operations, nodes=1),
        channels=setup.channels,
        layers=setup.layers,
        edge_normalization=True,
        num_classes=setup.num_classes,
        arch_init=("normal", 3.0),
        selection=Sampled(samples=200),
        epochs=1,
        precision="float64",
        device="cpu",
        progress=False,
    )
    result = pydarts.search((train, valid), config)
    theirs, (x, y) = setup.reference().eval(), valid[0]
    theirs.load_state_dict(result.state_dict)
    theirs.set_alphas({name: torch.from_numpy(values[-1]) for name, values in result.alphas.items()})
    rows = [torch.eye(2, dtype=torch.float64)[list(pair)] for pair in product(range(2), repeat=2)]
    scores: dict[Any, int] = {}
    for normal, reduce in product(rows, rows):
        theirs.perturbed = {"normal": normal, "reduce": reduce}
        with torch.no_grad():
            correct = (theirs(x).argmax(1) == y).sum()
        scores[tuple(normal.argmax(1).tolist()), tuple(reduce.argmax(1).tolist())] = int(correct)
    found = tuple(
        tuple(setup.operations.index(name) for (name,) in result.architecture[table])
        for table in ("normal", "reduce")
    )
    assert scores[found] == max(scores.values())


def test_a_search_that_a_decision_ended_has_the_same_result_when_resumed(tmp_path: Path) -> None:
    """It is scored with the auxiliary weight of its last epoch, not of its first."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(64, 3, 8, 8)), rng.integers(3, size=64)
    for seed in range(2):
        config = make_config(
            operations=("skip_connect", "conv_1x1", "avg_pool_3x3", "sep_conv_3x3"),
            nodes=2,
            epochs=6,
            seed=seed,
            arch_lr=0.1,
            auxiliary_skip=Linear(5, 0.01),
            selection=Sampled(samples=40, batches=2, finalists=5, epoch_samples=2),
            stop=SkipConnections(most=1),
            arch_start_epoch=2,
            checkpoint_dir=str(tmp_path / str(seed)),
        )
        whole = pydarts.search(data, config)
        assert whole.decisions
        assert pydarts.search(data, config.replace(resume=True)).genotype == whole.genotype
