"""Several searches and the short training after them: one table, whatever becomes of each row."""

from __future__ import annotations

import math
import multiprocessing
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from matplotlib.figure import Figure
from pydarts import SearchRow, SearchTable, TrainConfig
from pydarts._selection import job as jobs
from torch.nn.functional import cross_entropy

X, y = make_arrays(n=96)
TEXT = np.arange(1200) % 7


def short(**changes: Any) -> TrainConfig:
    fields: dict[str, Any] = {"epochs": 2, "batch_size": 8, "learning_rate": 0.05, "device": "cpu"}
    return TrainConfig(**(fields | {"progress": False} | changes))


def plain(table: SearchTable) -> list[SearchRow]:
    """The rows without what a clock says."""
    return [replace(row, seconds=0.0) for row in table]


def break_seed(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the search of one seed meets NaN."""
    search = jobs.search

    def failing(loader: Any, config: pydarts.SearchConfig, teller: Any) -> pydarts.SearchResult:
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


def test_the_weights_kept_are_those_that_count() -> None:
    cells = dict(zip("ab", pydarts.random_genotypes(make_config().resolved_space, 2, 0), strict=True))
    select = short(epochs=4, learning_rate=1.0, schedule="exponential", train_portion=0.5)
    narrow = {"channels": 2, "layers": 3}
    lasted = 0
    for keep in ("best", "last"):
        found = pydarts.compare(cells, (X, y), select.replace(keep=keep), network=narrow, workers=0)
        for row in found:
            assert row.training is not None
            accuracies = [record.valid_accuracy for record in row.training.history]
            assert row.accuracy == (max(accuracies) if keep == "best" else accuracies[-1])
            lasted += max(accuracies) == accuracies[-1]
    assert not lasted, "the last epoch is nowhere the best, or this would prove nothing"


def test_recurrent_cells_are_compared_by_perplexity() -> None:
    config = make_config(
        space="darts-rnn", operations=None, units=8, batch_size=4, bptt=14, eval_batch_size=2, epochs=1
    )
    select = TrainConfig(epochs=2, batch_size=4, bptt=14, learning_rate=5.0, progress=False)
    with pytest.raises(pydarts.ConfigError, match=r"select is None; say how to train on text"):
        pydarts.search_many((TEXT, TEXT[:300]), config, 1)
    table = pydarts.search_many((TEXT, TEXT[:300]), config, 1, select, random=2, workers=0)
    row = table[0]
    assert row.training is not None and row.training.best is not None
    assert row.score == row.training.history[row.training.best].valid_perplexity
    assert table.status == "complete" and table.best is row
    assert "%" not in str(table) and f"{row.score:.2f}" in str(table)
    assert row.training.network.arguments["vocabulary"] == 7
    assert table.plot().get_ylabel() == "validation perplexity"


# ---- one that fails


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


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """The epochs that are done from now on: row, search or training, number from 1."""
    found: list[tuple[str, str, int]] = []
    run = jobs.run

    def telling(job: jobs.Job, loader: Any, tell: Any) -> SearchRow:
        def heard(name: str, phase: str, epochs: int, how: str) -> None:
            found.append((name, phase, epochs))
            tell(name, phase, epochs, how)

        return run(job, loader, heard)

    monkeypatch.setattr("pydarts._selection.staff.run", telling)
    return found


class Fatal:
    """Batches; the first pass over them in a process of the search's kills that."""

    def __init__(self, batches: list[Any], marker: Path) -> None:
        self.batches, self.marker = batches, marker

    def __iter__(self) -> Iterator[Any]:
        if multiprocessing.parent_process() is not None and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return iter(self.batches)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is that of POSIX")
def test_a_process_that_is_killed_takes_its_own_row_along_only(tmp_path: Path) -> None:
    batches = [(X[start : start + 8], y[start : start + 8]) for start in range(0, 48, 8)]
    loader = (Fatal(batches, tmp_path / "marker"), batches)
    config = make_config(epochs=1, mean=(0.2,), std=(0.2,))
    found = pydarts.search_many(loader, config, 2, short(epochs=1, mean=(0.2,), std=(0.2,)), workers=1)
    assert [row.status for row in found] == ["failed", "complete"]
    assert found[0].error == "its process ended with signal 9 (Killed)"


# ---- stopped and started again


# Without `if __name__ == "__main__"`: arrays need none.
SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_search_many import X, y, make_config, pydarts, short

config = make_config(epochs={epochs}, checkpoint_dir={folder!r})
print(pydarts.search_many((X, y), config, {seeds}, short(epochs=2), random=1, workers={workers}))
"""


def started(folder: Path, epochs: int, seeds: int, workers: int) -> subprocess.Popen[str]:
    """The searches that are stopped."""
    script = folder.with_name("script.py")
    tests = str(Path(__file__).parent)
    fields = {"tests": tests, "epochs": epochs, "folder": str(folder), "seeds": seeds, "workers": workers}
    script.write_text(SCRIPT.format(**fields))
    return subprocess.Popen(
        [sys.executable, str(script)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180.0
    while not there():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for_the_end_of(workers: list[int]) -> None:
    deadline = time.monotonic() + 20.0
    while not all(gone(pid) for pid in workers):
        assert workers and time.monotonic() < deadline, "a search goes on that nobody waits for"
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes as Linux shows them")
def test_killed_halfway_it_goes_on_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "many"
    process = started(folder, 5, 2, 1)
    try:
        wait_for(lambda: any((folder / "seed-1" / "checkpoints").glob("*.safetensors")), process)
        workers = children(process.pid)
    finally:
        process.kill()
        process.communicate()
    wait_for_the_end_of(workers)
    assert not (folder / "seed-1" / "result.json").exists(), "it wrote on when nobody waited for it"
    assert [row.status for row in SearchTable.load(folder / "table.csv")] == ["complete"] + 2 * ["waiting"]
    config = make_config(epochs=5, checkpoint_dir=folder)
    with pytest.raises(pydarts.CheckpointError, match=r"already holds searches .*resume=True"):
        pydarts.search_many((X, y), config, 2, short(), random=1, workers=0)
    for changes in ({"config": config.replace(channels=4)}, {"select": short(epochs=4)}):
        chosen = {"config": config, "select": short()} | changes
        with pytest.raises(pydarts.CheckpointError, match=r"of other choices: its (channels|epochs) is"):
            pydarts.search_many(
                (X, y), chosen["config"].replace(resume=True), 2, chosen["select"], random=1, workers=0
            )
    done = recorded(monkeypatch)
    found = pydarts.search_many((X, y), config.replace(resume=True), 2, short(), random=1, workers=0)
    assert {name for name, _, _ in done} == {"seed 1", "random 0"}
    assert ("seed 1", "search", 1) not in done and ("seed 1", "training", 2) in done
    whole = pydarts.search_many((X, y), make_config(epochs=5), [1], short(), random=1, workers=0)
    assert plain(found)[1:] == plain(whole)
    assert SearchTable.load(folder / "table.csv") == found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes as Linux shows them")
def test_ctrl_c_leaves_what_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    process = started(folder, 100_000, 3, 2)
    try:
        for seed in (0, 1):
            path = folder / f"seed-{seed}" / "checkpoints"
            wait_for(lambda path=path: any(path.glob("*.safetensors")), process)  # type: ignore[misc]
        workers = children(process.pid)
        process.send_signal(signal.SIGINT)
        shown, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0 and "Traceback" not in errors, errors
    wait_for_the_end_of(workers)
    assert len(re.findall(r"^seed [01] +interrupted", shown, re.MULTILINE)) == 2
    assert len(re.findall(r"^(seed 2|random 0) +waiting", shown, re.MULTILINE)) == 2
    assert SearchTable.load(folder / "table.csv").status == "interrupted"
    for seed in (0, 1):
        assert pydarts.SearchResult.load(folder / f"seed-{seed}").status == "interrupted"


def test_an_interrupt_in_this_process_ends_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    search = jobs.search

    def interrupted(loader: Any, config: pydarts.SearchConfig, teller: Any) -> pydarts.SearchResult:
        class Now(pydarts.Callback):
            def on_step(self, info: pydarts.StepInfo) -> None:
                raise KeyboardInterrupt

        return search(loader, config, Now() if config.seed == 1 else teller)

    monkeypatch.setattr(jobs, "search", interrupted)
    found = pydarts.search_many((X, y), make_config(), 3, short(), random=1, workers=0)
    assert [row.status for row in found] == ["complete", "interrupted", "waiting", "waiting"]
    assert found.status == "interrupted" and found.best is found[0]


# ---- what it is given


def test_what_cannot_be_is_refused_before_anything_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "search", None)
    config = make_config()
    for changes, message in (
        ({"seeds": 0}, "seeds is 0; it must be how many"),
        ({"seeds": [1, 1]}, "distinct"),
        ({"seeds": True}, "seeds is True"),
        ({"random": -1}, "random is -1"),
        ({"workers": -1}, "workers is -1"),
        ({"select": short(bptt=3)}, "bptt: not for a network of images"),
        ({"network": {"width": 3}}, "has no width"),
        ({"select": short(checkpoint_dir="there")}, "give it to cfg"),
    ):
        given = {"seeds": 2, "select": short(), "workers": 0} | changes
        with pytest.raises(pydarts.ConfigError, match=message):
            pydarts.search_many((X, y), config, **given)  # type: ignore[arg-type]
    with pytest.raises(pydarts.DataError, match="auxiliary head"):
        pydarts.search_many((X, y), config, 2, short(), network={"auxiliary": True}, workers=0)
    with pytest.raises(pydarts.DataError, match="too few"):
        pydarts.search_many((X, y), config, 2, short(batch_size=90), workers=0)
    with pytest.raises(pydarts.ConfigError, match="must be a SearchConfig"):
        pydarts.search_many((X, y), short())  # type: ignore[arg-type]


class Here(list[Any]):
    """Batches that cannot be given to another process."""

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


class Elsewhere(list[Any]):
    """Batches that can be given to another process, and not be taken there."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise AttributeError("no such class here")


def test_a_loader_that_cannot_be_pickled_is_read_in_this_process_or_refused() -> None:
    batches = Here((X[start : start + 8], y[start : start + 8]) for start in range(0, 48, 8))
    config, select = make_config(epochs=1), short(epochs=1)
    found = pydarts.search_many((batches, batches), config, 1, select)
    assert found.status == "complete"
    with pytest.raises(pydarts.DataError, match=r"not to be pickled.*workers=0"):
        pydarts.search_many((batches, batches), config, 1, select, workers=1)
    with pytest.raises(pydarts.DataError, match=r"no such class here.*workers=0"):
        pydarts.search_many((Elsewhere(batches), list(batches)), config, 1, select, workers=1)


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
    with pytest.raises(pydarts.CheckpointError, match="of other choices"):
        pydarts.compare({"mine": table[1].genotype}, (X, y), select.replace(resume=True), workers=0)
    for wrong, error, message in (
        ({}, TypeError, "cells must be a dictionary"),
        ({"a": 3}, TypeError, "'a' of cells is a int"),
        ({"../a": table[0].genotype}, pydarts.ConfigError, "names a cell and a folder"),
        ({"random 0": table[0].genotype}, pydarts.ConfigError, "two cells have one name"),
        (dict.fromkeys(("A b", "a-b"), table[0].genotype), pydarts.ConfigError, "two cells have one name"),
        ({"Table.csv": table[0].genotype}, pydarts.ConfigError, "are the table's own"),
        (
            {"a": table[0].genotype, "b": pydarts.genotypes.DARTS_RNN_V1},
            pydarts.ConfigError,
            "each kind apart",
        ),
    ):
        with pytest.raises(error, match=message):
            pydarts.compare(wrong, (X, y), short(), random=1, workers=0)  # type: ignore[arg-type]
    with pytest.raises(pydarts.ConfigError, match=r"'darts-rnn' is recurrent, and the cells are not"):
        pydarts.compare({"a": pydarts.genotypes.DARTS_V2}, (X, y), short(), space="darts-rnn")


# ---- the table


def row(name: str, accuracy: float | None, **changes: Any) -> SearchRow:
    fields: dict[str, Any] = {
        "name": name,
        "origin": "random" if name.startswith("random") else "searched",
        "status": "failed" if accuracy is None else "complete",
        "accuracy": accuracy,
        "loss": None if accuracy is None else 1 - accuracy,
        "genotype": pydarts.genotypes.DARTS_V2,
        "weights": 12_345,
        "seconds": 1.25,
    }
    return SearchRow(**(fields | changes))


MIXED = SearchTable(
    [
        row("seed 0", 0.97, search_accuracy=0.91, search_loss=0.3),
        row("seed 1", None, error='NumericalError: "NaN", at once\nand more', genotype=None, weights=None),
        row("seed 2", 0.99),
        row("random 0", 0.99),
        row("random 1", 0.95),
        row("random 2", 0.96),
    ]
)


def test_mean_and_deviation_are_those_of_a_sample() -> None:
    assert MIXED.summary("searched")[:] == (
        pytest.approx(0.98), pytest.approx(statistics.stdev([0.97, 0.99])), 2
    )  # fmt: skip
    assert MIXED.summary("random").deviation == pytest.approx(statistics.stdev([0.99, 0.95, 0.96]))
    one, none = MIXED[:1].summary("searched"), MIXED.summary("given")
    assert one.mean == 0.97 and math.isnan(one.deviation)
    assert math.isnan(none.mean) and none.n == 0
    assert MIXED.best is MIXED[2]
    assert MIXED[:4:3].best is MIXED[0], "the random one is better and does not count"
    assert SearchTable([]).best is None and SearchTable([MIXED[1]]).best is None


def test_the_printed_table_is_aligned_and_says_what_a_difference_means() -> None:
    lines = str(MIXED).splitlines()
    assert lines[0].split() == ["name", "status", "search", "trained", "weights", "seconds", "error"]
    assert lines[1].split() == ["seed", "0", "complete", "91.00%", "97.00%", "12,345", "1.2"]
    assert lines[2].endswith('NumericalError: "NaN", at once')
    ends = {line.index("97.00%") + 6 for line in lines[1:2]} | {
        line.index("95.00%") + 6 for line in lines[5:6]
    }
    assert ends == {lines[0].index("trained") + 7}, "figures end where their column does"
    assert lines[7:] == [
        "",
        "searched  98.00% ± 1.41%  n = 2 of 3",
        "random    96.67% ± 2.08%  n = 3",
        "searched - random = +1.33 points: smaller than the deviation (2.08); such a difference means "
        "nothing",
    ]
    far = SearchTable([row("seed 0", 0.9), row("seed 1", 0.91), row("random 0", 0.5)])
    assert str(far).endswith("searched - random = +40.50 points: larger than the deviation (0.71)")
    assert "random -" not in str(MIXED[:3])
    assert repr(MIXED) == "<SearchTable: 98.00% ± 1.41%  n = 2 searched; 96.67% ± 2.08%  n = 3 random>"


def test_a_file_gives_the_rows_back(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    MIXED.save(path)
    assert SearchTable.load(path) == MIXED
    assert [found.name for found in tmp_path.iterdir()] == ["table.csv"]
    whole = path.read_text()
    frame = MIXED.to_pandas()
    assert list(frame.columns) == whole.splitlines()[0].split(",")
    assert frame["accuracy"].isna().tolist() == [False, True, False, False, False, False]
    assert pydarts.Genotype.from_notation(frame["genotype"][0]) == pydarts.genotypes.DARTS_V2
    with pytest.raises(FileNotFoundError, match=r"other\.csv"):
        SearchTable.load(tmp_path / "other.csv")
    for broken in (
        whole[:-9],
        whole.replace("accuracy", "accurracy"),
        whole.replace("failed", "fallen"),
        whole.replace("0.97", "much"),
        whole.replace("sep_conv_3x3", "sep_conv_3x4"),
        "",
    ):
        path.write_text(broken)
        with pytest.raises(pydarts.CheckpointError, match=r"table\.csv"):
            SearchTable.load(path)


def test_the_plot_has_a_point_a_cell_and_needs_no_display(tmp_path: Path) -> None:
    ax = Figure().subplots()
    assert MIXED.plot(ax=ax) is ax
    points = [sorted(np.asarray(line.get_ydata()).tolist()) for line in ax.lines if line.get_marker() == "o"]
    assert points == [pytest.approx([97.0, 99.0]), pytest.approx([95.0, 96.0, 99.0])]
    bars = [container.lines[2][0].get_segments()[0] for container in ax.containers]
    assert [bar[1, 1] - bar[0, 1] for bar in bars] == pytest.approx([2 * 1.4142, 2 * 2.0817], abs=1e-3)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["searched\nn = 2", "random\nn = 3"]
    for table in (MIXED, MIXED[1:3], MIXED[1:2], SearchTable([])):
        table.plot().figure.savefig(tmp_path / "picture.png")  # type: ignore[union-attr]
    assert (tmp_path / "picture.png").stat().st_size > 2000
