"""Several searches and the short training after them, and cells at hand: a row for each."""

from __future__ import annotations

import math
import multiprocessing
import re
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_config
from many import X, plain, recorded, short, y
from pydarts import SearchTable, TrainConfig
from pydarts._protocol import job as jobs
from torch.nn.functional import cross_entropy
from trained import ImageTask, holds, judged

TEXT = np.arange(1200) % 7


def break_seed(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the search of one seed meets NaN."""
    search = jobs.search

    def failing(loader: Any, config: pydarts.SearchConfig, teller: Any, _: Any) -> pydarts.SearchResult:
        def loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return cross_entropy(logits, y) * math.nan

        return search(loader, config, teller, loss if config.seed == seed else None)

    monkeypatch.setattr(jobs, "search", failing)


@pytest.fixture(scope="module")
def table() -> SearchTable:
    """Two searches and two cells by chance, for tests that only read it."""
    return pydarts.search_many((X, y), make_config(), 2, short(), random=2, workers=0)


# ---- what is done


def test_each_row_is_the_search_and_the_training_that_one_would_do_by_hand(table: SearchTable) -> None:
    result = pydarts.search((X, y), make_config(seed=1))
    row = table[1]
    assert [each.name for each in table] == ["seed 0", "seed 1", "random 0", "random 1"]
    assert row.genotype == result.genotype
    assert row.search_accuracy == result.history[-1].valid_accuracy
    torch.manual_seed(0)
    net = pydarts.build(result.genotype, channels=2, layers=3, num_classes=4, in_channels=1)
    trained = pydarts.train(net, (X, y), short())
    assert (row.accuracy, row.loss) == (trained.history[-1].valid_accuracy, trained.history[-1].valid_loss)
    assert row.weights == pydarts.cost(net, 8)["weights"]
    assert row.multiply_adds == pydarts.cost(net, 8)["multiply_adds"]
    assert row.training is not None and row.result is not None
    for name, value in net.state_dict().items():
        assert torch.equal(row.training.network.state_dict()[name], value)
    space = make_config().resolved_space
    assert [each.genotype for each in table[2:]] == pydarts.random_genotypes(space, 2, 0)


def test_processes_give_what_this_one_gives_and_the_same_again(table: SearchTable) -> None:
    config = make_config()
    again = pydarts.search_many((X, y), config, [1, 0], short(), random=2, workers=2)
    assert plain(again)[0] == plain(table)[1] and plain(again)[1] == plain(table)[0]
    assert plain(again)[2:] == plain(table)[2:]
    assert again[0].result is not None and table[1].result is not None
    assert np.array_equal(again[0].result.alphas["normal"], table[1].result.alphas["normal"])
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("keep", "epoch"), [("best", 1), ("last", 2)])
def test_a_row_counts_the_epoch_whose_weights_are_kept(
    keep: Any, epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies, losses = [0.25, 0.75, 0.5], [0.3, 0.2, 0.1]
    evaluated = judged(monkeypatch, ImageTask, accuracies, losses)
    cells = dict(zip("ab", pydarts.random_genotypes(make_config().resolved_space, 2, 0), strict=True))
    narrow = {"channels": 2, "layers": 3}
    found = pydarts.compare(cells, (X, y), short(epochs=3, keep=keep), network=narrow, workers=0)
    for number, row in enumerate(found):
        assert row.training is not None
        assert (row.accuracy, row.loss) == (accuracies[epoch], losses[epoch])
        assert holds(row.training.network, evaluated[3 * number + epoch])


def test_recurrent_cells_are_compared_by_perplexity() -> None:
    config = make_config(
        space="darts-rnn", operations=None, units=8, batch_size=4, bptt=14, eval_batch_size=2, epochs=1
    )
    select = TrainConfig(epochs=2, batch_size=4, bptt=14, weight_lr=5.0, progress=False)
    with pytest.raises(pydarts.ConfigError, match=r"select.*TrainConfig"):
        pydarts.search_many((TEXT, TEXT[:300]), config, 1)
    table = pydarts.search_many((TEXT, TEXT[:300]), config, 1, select, random=2, workers=0)
    row = table[0]
    assert row.training is not None and row.training.best is not None
    assert row.score == row.training.best.valid_perplexity
    assert table.status == "complete" and table.best is row
    assert "%" not in str(table) and f"{row.score:.2f}" in str(table)
    assert row.training.network.arguments["vocabulary"] == 7
    assert table.plot().ax.get_ylabel() == "validation perplexity"


def test_cells_at_hand_are_compared(
    table: SearchTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert table[1].result is not None and table[0].genotype is not None
    cells = {"seed 1": table[1].result, "mine": table[0].genotype}
    select = short(checkpoint_dir=tmp_path)
    found = pydarts.compare(cells, (X, y), select, random=2, workers=0)
    assert [row.origin for row in found] == ["searched", "given", "random", "random"]
    assert plain(found)[0] == plain(table)[1], "width and depth are those of the search"
    assert found[1].accuracy == table[0].accuracy and plain(found)[2:] == plain(table)[2:]
    done = recorded(monkeypatch)
    again = pydarts.compare(cells, (X, y), select.replace(resume=True), random=3, workers=0)
    assert again[:4] == found and {name for name, _, _ in done} == {"random 2"}
    with pytest.raises(pydarts.CheckpointError, match=re.escape(str(tmp_path))):
        pydarts.compare({"mine": table[1].genotype}, (X, y), select.replace(resume=True), workers=0)
    for wrong, error, message in (
        ({}, TypeError, "^cells .*dictionary"),
        ({"a": 3}, TypeError, r"^cells\['a'\] .*int"),
        ({"../a": table[0].genotype}, pydarts.ConfigError, r"^'\.\./a' .*folder"),
        ({"random 0": table[0].genotype}, pydarts.ConfigError, "same name"),
        (dict.fromkeys(("A b", "a-b"), table[0].genotype), pydarts.ConfigError, "same name"),
        ({"Table.csv": table[0].genotype}, pydarts.ConfigError, r"^'Table\.csv' .*folder"),
        (
            {"a": table[0].genotype, "b": pydarts.genotypes.DARTS_RNN_V1},
            pydarts.ConfigError,
            "convolutional.*recurrent",
        ),
    ):
        with pytest.raises(error, match=message):
            pydarts.compare(wrong, (X, y), short(), random=1, workers=0)  # type: ignore[arg-type]
    with pytest.raises(pydarts.ConfigError, match=r"^space 'darts-rnn' "):
        pydarts.compare({"a": pydarts.genotypes.DARTS_V2}, (X, y), short(), space="darts-rnn")


# ---- what is not


def test_a_seed_that_fails_loses_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, table: SearchTable
) -> None:
    config = make_config(checkpoint_dir=tmp_path / "many")
    with monkeypatch.context() as patch:
        break_seed(1, patch)
        found = pydarts.search_many((X, y), config, [0, 1, 2], short(), random=1, workers=0)
    assert [row.status for row in found] == ["complete", "failed", "complete", "complete"]
    assert found.status == "failed"
    assert found[1].error is not None and found[1].error.startswith("NumericalError: ")
    assert found[1].genotype is not None and found[1].accuracy is None, "what it reached is kept"
    assert found.summary("searched").n == 2 and found.best in (found[0], found[2])
    assert re.search(r"^seed 1 +failed .*NumericalError", str(found), re.MULTILINE)
    assert re.search(r"^searched .* n = 2 of 3$", str(found), re.MULTILINE)
    assert plain(found)[0] == plain(table)[0]
    assert SearchTable.load(tmp_path / "many" / "table.csv") == found
    assert pydarts.SearchResult.load(tmp_path / "many" / "seed-1").status == "failed"
    # With what made it fail put right it is tried again, and the others are not.
    done = recorded(monkeypatch)
    again = pydarts.search_many((X, y), config.replace(resume=True), [0, 1, 2], short(), random=1, workers=0)
    assert again.status == "complete" and {name for name, _, _ in done} == {"seed 1"}
    assert plain(again)[1] == plain(table)[1]


def test_an_interrupt_in_this_process_ends_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    search = jobs.search

    def interrupted(loader: Any, config: pydarts.SearchConfig, teller: Any, _: Any) -> pydarts.SearchResult:
        class Now(pydarts.Callback):
            def on_step(self, info: pydarts.StepInfo) -> None:
                raise KeyboardInterrupt

        return search(loader, config, Now() if config.seed == 1 else teller)

    monkeypatch.setattr(jobs, "search", interrupted)
    found = pydarts.search_many((X, y), make_config(), 3, short(), random=1, workers=0)
    assert [row.status for row in found] == ["complete", "interrupted", "waiting", "waiting"]
    assert found.status == "interrupted" and found.best is found[0]


def test_what_cannot_be_is_refused_before_anything_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "search", None)
    config = make_config()
    for changes, message in (
        ({"seeds": 0}, "^seeds is 0;"),
        ({"seeds": [1, 1]}, r"^seeds is \[1, 1\];"),
        ({"seeds": True}, "^seeds is True;"),
        ({"random": -1}, "^random is -1;"),
        ({"workers": -1}, "^workers is -1;"),
        ({"select": short(bptt=3)}, "^bptt: "),
        ({"network": {"width": 3}}, "^ConvolutionalNetwork.*width"),
        ({"select": short(checkpoint_dir="there")}, "^select .*checkpoint_dir"),
    ):
        given = {"seeds": 2, "select": short(), "workers": 0} | changes
        with pytest.raises(pydarts.ConfigError, match=message):
            pydarts.search_many((X, y), config, **given)  # type: ignore[arg-type]
    with pytest.raises(pydarts.DataError, match=r"8x8.*auxiliary head"):
        pydarts.search_many((X, y), config, 2, short(), network={"auxiliary": True}, workers=0)
    with pytest.raises(pydarts.DataError, match="batch_size=90"):
        pydarts.search_many((X, y), config, 2, short(batch_size=90), workers=0)
    with pytest.raises(pydarts.ConfigError, match=r"^cfg .*SearchConfig.*TrainConfig"):
        pydarts.search_many((X, y), short())  # type: ignore[arg-type]
