"""`search_many` and `compare` with user-defined networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
from own_many import Bare, Mean, Net, Other, config, data, distance, made, short, square, turned
from pydarts import SearchTable
from pydarts.nn import FunctionNetwork, fix
from torch import nn

NAMES = ["act", "deep.0", "deep.1", "skip"]


def many(**changes: Any) -> SearchTable:
    fields: dict[str, Any] = {"seeds": 2, "select": short(), "random": 2, "network": Net, "workers": 0}
    return pydarts.search_many(data(), config(), **(fields | changes))


@pytest.fixture(scope="module")
def table() -> SearchTable:
    return many()


def test_rows_have_architectures_instead_of_genotypes(table: SearchTable) -> None:
    assert [(row.name, row.origin, row.status) for row in table] == [
        ("seed 0", "searched", "complete"),
        ("seed 1", "searched", "complete"),
        ("random 0", "random", "complete"),
        ("random 1", "random", "complete"),
    ]
    for row in table:
        assert row.genotype is None and row.architecture is not None
        assert sorted(row.architecture) == NAMES
        assert row.weights == sum(weight.numel() for weight in fix(Net(), row.architecture).parameters())
        assert row.score is not None and 0 <= row.score <= 1
    assert table[0].architecture == table[0].result.architecture
    drawn = pydarts.random_architectures(Net(), 2, seed=0)
    assert [row.architecture for row in table[2:]] == drawn


def test_a_row_is_what_search_and_train_compute(table: SearchTable) -> None:
    result = pydarts.search(data(), config(seed=1), network=Net)
    row = table[1]
    assert row.result is not None and row.training is not None
    assert result.architecture == row.architecture
    assert [record.valid_loss for record in result.history] == [
        record.valid_loss for record in row.result.history
    ]
    # The same initial weights for every architecture: those of the seed of the training.
    trainings = [one.training for one in table]
    assert all(one is not None and one.network is not None for one in trainings)
    again = many(seeds=[1], random=0)[0]
    assert again.score == row.score and again.loss == row.loss


def test_searches_of_other_seeds_begin_with_other_weights(table: SearchTable) -> None:
    first, second = (row.result.state_dict["first.weight"] for row in table[:2])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("network", [made, Net()], ids=["function", "module"])
def test_a_function_and_a_module_are_the_same_as_a_class(table: SearchTable, network: Any) -> None:
    found = many(network=network)
    for row, other in zip(found, table, strict=True):
        assert (row.architecture, row.score, row.loss) == (other.architecture, other.score, other.loss)


@pytest.mark.long
def test_processes_compute_the_same(table: SearchTable) -> None:
    found = many(workers=2)
    assert [row.architecture for row in found] == [row.architecture for row in table]
    assert [row.status for row in found] == ["complete"] * 4


def test_a_module_needs_layers_that_draw_their_weights() -> None:
    with pytest.raises(pydarts.ConfigError, match="scale") as caught:
        many(network=Bare())
    assert "reset_parameters" in str(caught.value)
    assert many(network=Bare, seeds=1, random=0)[0].status == "complete"


def test_frozen_layers_of_a_module_keep_their_weights() -> None:
    net = Bare()
    net.first.requires_grad_(False)
    net.scale.requires_grad_(False)
    found = many(network=net, seeds=2, random=0)
    for row in found:
        assert row.training is not None
        assert torch.equal(dict(row.training.network.named_parameters())["first.weight"], net.first.weight)


def test_what_cannot_be_searched_several_times_is_refused() -> None:
    with pytest.raises(pydarts.ConfigError, match="FunctionNetwork"):
        many(network=FunctionNetwork(lambda w, m, batch: w["w"].sum(), {"w": 1.0}, {"a": (1, 2)}))
    with pytest.raises(TypeError, match="Tensor"):
        many(network=torch.ones(2))
    with pytest.raises(pydarts.ConfigError, match="Choice"):
        many(network=nn.Linear(3, 2))
    with pytest.raises(pydarts.ConfigError, match="augment"):
        many(select=short(augment="flip"))
    with pytest.raises(pydarts.ConfigError, match="random"):
        many(random=-1)
    for name, value in {"metric": distance, "unpack": turned, "loss": "network"}.items():
        with pytest.raises(pydarts.ConfigError, match=name):
            many(network=None, **{name: value})


@pytest.mark.parametrize("what", ["network", "loss", "metric", "unpack"])
def test_what_cannot_be_pickled_names_workers_0(what: str) -> None:
    values: dict[str, Any] = {
        "network": lambda: Net(),
        "loss": lambda output, targets: square(output, targets),
        "metric": lambda output, targets: distance(output, targets),
        "unpack": lambda batch: batch,
    }
    with pytest.raises(pydarts.ConfigError, match="workers=0") as caught:
        many(workers=2, **{what: values[what]})
    assert what in str(caught.value)
    assert many(seeds=1, random=0, **{what: values[what]}, workers=0)[0].status == "complete"


@pytest.mark.parametrize("metric", [distance, Mean()], ids=["function", "object"])
def test_rows_are_compared_by_the_metric(metric: Any) -> None:
    cfg = config(metric_mode="min")
    X, _ = data()
    table = pydarts.search_many(
        (X, X[:, 0]), cfg, 2, short(), random=2, network=Net, loss=square, metric=metric, workers=0
    )
    name = "distance" if metric is distance else "Mean"
    assert table.measure.name == name and not table.measure.highest
    scores = {row.name: row.score for row in table}
    for row in table:
        assert row.accuracy is None and row.training is not None
        assert row.score == row.training.history[-1].metrics[name]
    best = min(scores[row.name] for row in table[:2])
    assert table.best is not None and table.best.score == best
    mean, deviation, n = table.summary("random")
    assert n == 2 and mean == pytest.approx(sum(row.score for row in table[2:]) / 2)
    assert deviation == pytest.approx(abs(table[2].score - table[3].score) / 2**0.5)


def test_unpack_serves_searches_and_trainings(table: SearchTable) -> None:
    X, y = data(80)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(y, X), batch_size=8)
    found = pydarts.search_many(
        batches, config(), 1, short(), random=1, network=Net, unpack=turned, workers=0
    )
    assert [row.status for row in found] == ["complete", "complete"], [row.error for row in found]


def test_a_table_is_saved_read_and_shown(table: SearchTable, tmp_path: Path) -> None:
    table.save(tmp_path / "table.csv")
    found = SearchTable.load(tmp_path / "table.csv")
    assert found == table
    assert isinstance(found[0].architecture["skip"], tuple)
    frame = table.to_pandas()
    assert json.loads(frame["architecture"][0])["act"] == table[0].architecture["act"]
    card = table._repr_html_()
    assert all(f">{name}<" in card for name in NAMES)
    assert "seed 0" in str(table)
    broken = (tmp_path / "table.csv").read_text(encoding="utf-8").replace("tanh", "relu")
    (tmp_path / "table.csv").write_text(broken, encoding="utf-8")
    with pytest.raises(pydarts.CheckpointError):
        SearchTable.load(tmp_path / "table.csv")


def test_finished_rows_are_not_repeated(table: SearchTable, tmp_path: Path) -> None:
    saved = many_in(tmp_path, resume=False, seeds=1, random=1)
    assert (tmp_path / "seed-0" / "result.json").is_file()
    assert (tmp_path / "random-0" / "training" / "training.json").is_file()
    with pytest.raises(pydarts.CheckpointError, match="resume"):
        many_in(tmp_path, resume=False)
    times = (tmp_path / "seed-0" / "training" / "training.json").stat().st_mtime_ns
    found = many_in(tmp_path, resume=True)
    assert (tmp_path / "seed-0" / "training" / "training.json").stat().st_mtime_ns == times
    assert [row.status for row in found] == ["complete"] * 4
    assert found[0].score == saved[0].score == table[0].score
    assert [row.architecture for row in found] == [row.architecture for row in table]
    with pytest.raises(pydarts.CheckpointError, match="network"):
        many_in(tmp_path, resume=True, network=Other)
    with pytest.raises(pydarts.CheckpointError, match="loss"):
        many_in(tmp_path, resume=True, loss=nn.functional.multi_margin_loss)


def many_in(folder: Path, resume: bool, **changes: Any) -> SearchTable:
    fields: dict[str, Any] = {"seeds": 2, "select": short(), "random": 2, "network": Net, "workers": 0}
    return pydarts.search_many(data(), config(checkpoint_dir=folder, resume=resume), **(fields | changes))


def test_results_and_architectures_are_compared(table: SearchTable, tmp_path: Path) -> None:
    result = table[0].result
    assert result is not None
    cells = {"found": result, "drawn": table[2].architecture}
    found = pydarts.compare(cells, data(), short(), random=1, network=Net, workers=0)
    assert [(row.name, row.origin, row.status) for row in found] == [
        ("found", "searched", "complete"),
        ("drawn", "given", "complete"),
        ("random 0", "random", "complete"),
    ]
    assert found[0].score == table[0].score and found[1].score == table[2].score
    # A result of this process holds its module.
    assert pydarts.compare({"found": result}, data(), short(), workers=0)[0].status == "complete"
    result.save(tmp_path)
    loaded = pydarts.SearchResult.load(tmp_path)
    assert (
        pydarts.compare({"a": loaded}, data(), short(), network=Net(), workers=0)[0].score == table[0].score
    )
    with pytest.raises(pydarts.ConfigError, match="network"):
        pydarts.compare({"a": loaded}, data(), short(), workers=0)
    with pytest.raises(pydarts.CheckpointError, match="Other"):
        pydarts.compare({"a": loaded}, data(), short(), network=Other, workers=0)
    with pytest.raises(pydarts.ConfigError, match="act"):
        pydarts.compare({"a": {"act": "nothing"}}, data(), short(), network=Net, workers=0)
    with pytest.raises(pydarts.ConfigError, match="genotypes"):
        pydarts.compare({"a": loaded, "b": pydarts.genotypes.DARTS_V2}, data(), network=Net, workers=0)


def test_the_report_marks_the_architecture_of_the_search(table: SearchTable, tmp_path: Path) -> None:
    result = table[0].result
    assert result is not None
    page = result.report(tmp_path / "report.html", table).read_text(encoding="utf-8")
    section = page[page.index('<section id="chance"') :].partition("</section>")[0]
    marked = section[section.index('class="mine"') :]
    assert marked.index("seed 0") < marked.index("</tr>")
    assert "cell" not in section.lower()


def test_a_failed_row_does_not_stop_the_others() -> None:
    table = many(network=Other, loss=fails_for_three, seeds=1, random=1)
    assert [row.status for row in table] == ["failed", "failed"]
    assert all("three outputs" in (row.error or "") for row in table)


def fails_for_three(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    if output.shape[1] == 3:
        raise RuntimeError("three outputs")
    return nn.functional.cross_entropy(output, targets)
