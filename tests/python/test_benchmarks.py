"""NAS-Bench-201: files, strings and queries, on an invented table and, where available, the published one."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydarts
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydarts import ConfigError, DataError, Genotype
from pydarts._values.nas_bench_201 import COUNT, EDGES, OPERATIONS, string_of
from pydarts.benchmarks import NASBench201
from tabulated import (
    ALL,
    ARRAYS,
    BEST,
    CONV1,
    CONV3,
    DATASETS,
    EDGE_INDICES,
    HEADER,
    NONE,
    POOL,
    ROWS,
    SET,
    SKIP,
    STRINGS,
    TEST,
    VALID,
    column,
    published_table,
    write_csv,
    write_npz,
)


@pytest.fixture(scope="module", params=["npz", "csv"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NASBench201:
    folder = tmp_path_factory.mktemp("benchmark")
    if request.param == "npz":
        return NASBench201(write_npz(folder / "table.npz", ARRAYS))
    return NASBench201(str(write_csv(folder / "table.CSV", HEADER, ROWS)))


# ---- Strings


def operations_of(string: str) -> tuple[str, ...]:
    return tuple(name for name, _ in Genotype.from_nasbench201(string).cell)


def test_all_strings_round_trip_and_differ() -> None:
    assert len({string_of(operations) for operations in ALL}) == COUNT == 15_625
    assert all(operations_of(string_of(operations)) == operations for operations in ALL)
    assert all(string_of(string_of(operations)) == string_of(operations) for operations in ALL[::50])


@given(operations=st.lists(st.sampled_from(OPERATIONS), min_size=6, max_size=6))
def test_an_entry_of_a_string_is_an_operation_with_its_source(operations: list[str]) -> None:
    parts = string_of(operations).split("+")
    edges = {
        (int(entry.rpartition("~")[2]), node): entry.rpartition("~")[0]
        for node, part in enumerate(parts, 1)
        for entry in part.strip("|").split("|")
    }
    assert edges == dict(zip(EDGES, operations, strict=True))


@given(place=st.integers(0, len(BEST) - 1), text=st.text(max_size=3), taken=st.integers(0, 3))
def test_a_changed_string_is_an_error_or_another_architecture(place: int, text: str, taken: int) -> None:
    """White space and quotes around the string, which no other architecture has, are allowed."""
    changed = BEST[:place] + text + BEST[place + taken :]
    try:
        found = string_of(changed)
    except pydarts.GenotypeError:
        assert changed not in SET
    else:
        assert found in SET and found == "".join(mark for mark in changed if not mark.isspace()).strip("'\"`")


@pytest.mark.parametrize(
    ("architecture", "fact"),
    [
        ("", "character 1"),
        (BEST.replace("+", ""), rf"character {BEST.index('+') + 1}\b"),
        (BEST + "+|none~0|", rf"character {len(BEST) + 10}\b"),
        (BEST.replace("~1|nor_conv_1x1~2", "~2|nor_conv_1x1~2"), "node 1 into node 3"),
        (BEST.replace("connect~0", "connect"), "~"),
        (BEST.replace("nor_conv_1x1", "conv_1x1"), "2->3.*nor_conv_1x1"),
        (BEST.replace("skip_connect", "Skip-Connect"), "Skip"),
        (BEST.replace("skip_connect", "skip_conect"), "skip_connect"),
        (BEST[: BEST.rindex("+")], "2 nodes"),
        ([SKIP] * 5, "got 5"),
        ((SKIP,) * 7, "got 7"),
        ([SKIP, SKIP, "skip", SKIP, SKIP, SKIP], "skip_connect"),
        ([SKIP, SKIP, SKIP, SKIP, SKIP, 3], "3"),
        (pydarts.genotypes.DARTS_V2, "normal"),
    ],
)
def test_an_unknown_architecture_is_named(bench: NASBench201, architecture: Any, fact: str) -> None:
    for query in (bench.index, lambda one: bench.accuracy(one, "cifar10")):
        with pytest.raises(ConfigError, match=f"(?s){fact}"):
            query(architecture)
    assert architecture not in bench


@pytest.mark.parametrize("architecture", [None, 3, {SKIP}, BEST.encode()])
def test_something_else_is_not_an_architecture(bench: NASBench201, architecture: Any) -> None:
    for query in (bench.rank, bench.percentile, bench.regret, bench.accuracy):
        with pytest.raises(TypeError, match="list or tuple"):
            query(architecture, "cifar10")
    assert architecture not in bench


# ---- Queries


def test_all_architectures_are_found(bench: NASBench201) -> None:
    assert len(bench) == COUNT and list(bench.strings) == STRINGS
    assert all(bench.index(string) == place for place, string in enumerate(STRINGS))
    assert all(string in bench for string in STRINGS[::100])
    operations = operations_of(STRINGS[7])
    assert bench.index(operations) == bench.index(list(operations)) == bench.index(np.str_(STRINGS[7])) == 7
    assert operations in bench
    assert bench.index(Genotype.from_nasbench201(STRINGS[7])) == 7
    assert all(genotype in bench for genotype in pydarts.random_genotypes("nas-bench-201", n=50))


def test_repr_and_splits_say_what_the_file_holds(bench: NASBench201) -> None:
    assert dict(bench.splits) == {name: ("test", "valid")[: 1 + (name == "cifar10")] for name in DATASETS}
    assert "15,625" in repr(bench) and "cifar10 (test, valid)" in repr(bench)


@pytest.mark.parametrize(("dataset", "split"), [*((name, "test") for name in DATASETS), ("cifar10", "valid")])
def test_accuracies_ranks_percentiles_and_regret(bench: NASBench201, dataset: str, split: str) -> None:
    expected = column(dataset, split)
    values = bench.accuracies(dataset, split)
    assert values.dtype == np.float64 and np.array_equal(values, expected)
    if split == "test":
        assert np.array_equal(bench.accuracies(dataset), expected)
    extremes = [int(expected.argmax()), int(expected.argmin())]
    for place in [*range(0, COUNT, 1000), *extremes]:
        asked = STRINGS[place], dataset, split
        assert type(bench.accuracy(*asked)) is float and bench.accuracy(*asked) == expected[place]
        rank = bench.rank(*asked)
        assert type(rank) is int and rank == 1 + (expected > expected[place]).sum()
        percentile = bench.percentile(*asked)
        assert type(percentile) is float
        assert percentile == pytest.approx(100 * (expected < expected[place]).mean(), abs=1e-12)
        assert bench.regret(*asked) == expected.max() - expected[place]
    best, worst = (STRINGS[place] for place in extremes)
    assert bench.rank(best, dataset, split) == 1 and bench.percentile(best, dataset, split) < 100
    assert bench.regret(best, dataset, split) == bench.percentile(worst, dataset, split) == 0


def test_equal_accuracies_share_a_rank(bench: NASBench201) -> None:
    values = column("cifar10")
    tied = np.flatnonzero(values == np.sort(values)[-200])
    assert len(tied) > 1
    ranks = {bench.rank(STRINGS[place], "cifar10") for place in tied}
    assert ranks == {1 + int((values > values[tied[0]]).sum())}


def test_best_is_sorted_with_ties_in_the_order_of_the_file(bench: NASBench201) -> None:
    values = column("cifar100")
    order = sorted(range(COUNT), key=lambda place: (-values[place], place))
    for n in (1, 50, COUNT):
        expected = [(STRINGS[place], values[place]) for place in order[:n]]
        assert bench.best("cifar100", n=n) == expected
    assert bench.best("cifar100") == bench.best("cifar100", "test", 1)
    assert bench.best("cifar10", "valid")[0][1] == VALID.max()
    with pytest.raises(ConfigError, match=r"n.*15625"):
        bench.best("cifar10", n=COUNT + 1)


def test_random_architectures_are_distinct_seeded_and_extended(bench: NASBench201) -> None:
    drawn = bench.random(200, seed=3)
    assert len(set(drawn)) == 200 and set(drawn) <= set(STRINGS)
    assert bench.random(50, seed=3) == drawn[:50] != bench.random(50, seed=4)
    assert bench.random() == bench.random(1, 0)
    assert sorted(bench.random(COUNT)) == sorted(STRINGS)
    mean = float(np.mean([bench.accuracy(string, "cifar10") for string in bench.random(4000)]))
    assert abs(mean - column("cifar10").mean()) < 2, "drawn from the whole table"
    for arguments in ({"n": 0}, {"n": COUNT + 1}, {"n": 1.5}, {"seed": -1}):
        with pytest.raises(ConfigError, match=next(iter(arguments))):
            bench.random(**arguments)


@pytest.mark.parametrize(
    ("dataset", "split", "fact"),
    [
        ("CIFAR-10", "test", "did you mean `cifar10`"),
        ("ImageNet16-120", "test", "did you mean `imagenet16-120`"),
        ("svhn", "test", "svhn.*cifar10, cifar100, imagenet16-120"),
        ("cifar10", "Test", "did you mean `test`"),
        ("cifar100", "valid", "valid.*known: test"),
        (10, "test", "10"),
        ("cifar10", None, "None"),
        (["cifar10"], "test", "cifar10"),
    ],
)
def test_an_unknown_data_set_or_split_is_named(
    bench: NASBench201, dataset: Any, split: Any, fact: str
) -> None:
    queries: list[Callable[[], object]] = [
        lambda: bench.accuracies(dataset, split),
        lambda: bench.best(dataset, split),
        *(
            lambda query=query: query(BEST, dataset, split)
            for query in (bench.accuracy, bench.rank, bench.percentile, bench.regret)
        ),
    ]
    for query in queries:
        with pytest.raises(ConfigError, match=fact):
            query()


def test_the_table_cannot_be_changed_and_can_be_pickled(bench: NASBench201) -> None:
    with pytest.raises(ValueError):
        bench.accuracies("cifar10")[0] = 100
    with pytest.raises(TypeError):
        bench.splits["cifar10"] = ()  # type: ignore[index]
    copy = pickle.loads(pickle.dumps(bench))
    assert copy.strings == bench.strings and copy.best("cifar10", n=9) == bench.best("cifar10", n=9)


# ---- Files


def test_a_table_of_one_data_set_says_which_are_absent(tmp_path: Path) -> None:
    rows = [[string, "50"] for string in STRINGS]
    bench = NASBench201(write_csv(tmp_path / "a.csv", ["architecture", "cifar100_test"], rows))
    with pytest.raises(ConfigError, match=r"cifar10\b.*cifar100 \(test\)"):
        bench.accuracy(BEST, "cifar10")
    arrays = {name: ARRAYS[name] for name in ("ops", "edges", "cifar10_valid")}
    bench = NASBench201(write_npz(tmp_path / "a.npz", arrays))
    assert dict(bench.splits) == {"cifar10": ("valid",)}


def test_operations_may_be_in_another_order(tmp_path: Path) -> None:
    arrays = ARRAYS | {"ops": ARRAYS["ops"][::-1], "edges": 4 - ARRAYS["edges"].astype(np.int64)}
    assert list(NASBench201(write_npz(tmp_path / "a.npz", arrays)).strings) == STRINGS


def test_a_csv_file_may_have_a_byte_order_mark_and_empty_lines(tmp_path: Path) -> None:
    rows = [row[1:] for row in ROWS]  # without the index: the mark comes before "architecture"
    text = write_csv(tmp_path / "a.csv", HEADER[1:], rows).read_text(encoding="utf-8")
    (tmp_path / "a.csv").write_text("\ufeff" + text.replace("\r\n", "\n") + "\n\n", encoding="utf-8")
    assert list(NASBench201(tmp_path / "a.csv").strings) == STRINGS


def with_row(name: str, values: Any, row: int) -> npt.NDArray[Any]:
    """An array of the invented table with another row."""
    changed = ARRAYS[name].copy()
    changed[row] = values
    return changed


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"ops": None}, "ops.*acc12, acc200"),
        ({"edges": None}, "edges.*acc12, acc200"),
        ({"acc200": None, "cifar10_valid": None}, "no accuracies"),
        ({"ops": np.array(OPERATIONS[:4])}, "ops.*nor_conv_3x3'].*avg_pool_3x3"),
        ({"ops": np.array([*OPERATIONS[:4], "max_pool_3x3"])}, "max_pool_3x3"),
        ({"edges": EDGE_INDICES[1:]}, r"edges.*\[15624, 6\].*\[15625, 6\]"),
        ({"edges": EDGE_INDICES.astype(float)}, "edges.*float64.*integers"),
        ({"edges": with_row("edges", 5, 40)}, "edges.*0 to 5"),
        ({"edges": with_row("edges", EDGE_INDICES[2], 40)}, rf"rows 2 and 40.*{re.escape(STRINGS[2])}"),
        ({"acc200": TEST[:, :2]}, r"acc200.*\[15625, 2\].*\[15625, 3\]"),
        ({"acc200": TEST.astype(str)}, "acc200.*U"),
        ({"acc200": with_row("acc200", np.nan, 40)}, rf"cifar10_test.*nan.*{re.escape(STRINGS[40])}"),
        ({"acc200": with_row("acc200", -1, 40)}, r"cifar10_test.*-1\.0"),
        ({"acc200": with_row("acc200", [1, 2, np.inf], 40)}, "imagenet16-120_test.*inf"),
        ({"acc200": with_row("acc200", 100.5, 40)}, r"cifar10_test.*100\.5"),
        ({"acc200": TEST / np.float32(100)}, r"cifar10_test.*1\.0"),
        ({"cifar10_valid": VALID[:-1]}, r"cifar10_valid.*\[15624\]"),
        ({"cifar10_test": VALID}, "cifar10_test twice"),
        ({"edges": EDGE_INDICES.astype(object)}, "edges.*objects"),
        ({"acc12": np.array([{"a": 1}], object)}, "acc12.*objects"),
    ],
)
def test_an_archive_of_another_table_is_named(changes: dict[str, Any], fact: str, tmp_path: Path) -> None:
    arrays = {name: array for name, array in (ARRAYS | changes).items() if array is not None}
    path = write_npz(tmp_path / "table.npz", arrays)
    with pytest.raises(DataError, match=fact) as caught:
        NASBench201(path)
    assert "table.npz" in str(caught.value)


def changed_rows(row: int, place: int, value: Any) -> list[list[Any]]:
    rows = [list(values) for values in ROWS]
    rows[row][place] = value
    return rows


@pytest.mark.parametrize(
    ("header", "rows", "fact"),
    [
        ([], [], "architecture.*nothing"),
        (["arch", *HEADER[2:]], [], "architecture.*arch, cifar10_test"),
        ([*HEADER[:2], "cifar10", "cifar100", "imagenet", "x"], ROWS, "no accuracies"),
        ([*HEADER[:3], "cifar10_test", *HEADER[4:]], ROWS, "cifar10_test twice"),
        (HEADER, [], "0 rows.*15625"),
        (HEADER, ROWS[:-1], "15624 rows.*15625"),
        (HEADER, [*ROWS, ROWS[3]], "15626 rows.*15625"),
        (HEADER, [*ROWS[:-1], ROWS[3]], rf"rows 3 and 15624.*{re.escape(STRINGS[3])}"),
        (HEADER, [ROWS[0], ROWS[1][:-1], *ROWS[2:]], "line 3.*5 values.*6"),
        (HEADER, changed_rows(8, 1, "|none~0|"), "line 10.*1 nodes"),
        (HEADER, changed_rows(8, 1, f"x{STRINGS[8]}"), "line 10"),
        (HEADER, changed_rows(8, 2, "94,3"), "line 10.*cifar10_test.*'94,3'"),
        (HEADER, changed_rows(8, 5, ""), "line 10.*cifar10_valid.*''"),
        (HEADER, changed_rows(8, 3, "nan"), rf"cifar100_test.*nan.*{re.escape(STRINGS[8])}"),
    ],
)
def test_a_csv_file_of_another_table_is_named(
    header: list[str], rows: list[list[Any]], fact: str, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "table.csv", header, rows)
    with pytest.raises(DataError, match=fact) as caught:
        NASBench201(path)
    assert "table.csv" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'architecture,"x\n' + b"y" * 200_000])
def test_a_file_that_is_not_csv_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"table\.csv"):
        NASBench201(tmp_path / "table.csv")


class Harmful:
    """A pickle of this creates a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    objects = np.empty(1, object)
    objects[0] = Harmful(trace)
    write_npz(tmp_path / "objects.npz", ARRAYS | {"acc200": objects})
    for name in ("plain.npz", "plain.csv", "plain.pth", "plain.pickle"):
        (tmp_path / name).write_bytes(pickle.dumps(Harmful(trace)))
    for path in [*tmp_path.iterdir()]:
        with pytest.raises(DataError, match=re.escape(path.name)):
            NASBench201(path)
    assert not trace.exists()
    pickle.loads((tmp_path / "plain.pth").read_bytes())
    assert trace.exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.npz", tmp_path):
        with pytest.raises(FileNotFoundError, match=re.escape(path.name)):
            NASBench201(path)
    with pytest.raises(TypeError):
        NASBench201(3)  # type: ignore[arg-type]


# ---- The published table


@pytest.fixture(scope="module")
def published() -> NASBench201:
    return published_table()


def cell(text: str) -> list[str]:
    """The operations of a cell, abbreviated, in the order of its edges."""
    names = {"none": NONE, "skip": SKIP, "conv1": CONV1, "conv3": CONV3, "avg": POOL}
    return [names[word] for word in text.split()]


# Operations; accuracies on the three data sets; rank on CIFAR-10; index in the published table.
YARDSTICKS = [
    ("conv3 conv3 conv3 skip conv3 conv1", (94.373, 73.220, 46.711), 1, 6111),
    ("conv3 conv3 conv3 skip conv3 conv3", (94.363, 73.513, 46.344), 3, 9930),
    ("conv1 conv1 conv3 skip conv3 conv3", (93.987, 72.880, 47.311), None, 857),
    ("conv3 conv3 avg skip conv3 skip", (93.660, 70.293, 44.033), 258, None),
    ("conv3 none conv3 skip none skip", (93.910, 70.890, 44.233), 68, None),
    ("conv3 conv3 conv3 conv3 conv3 conv3", (93.760, 71.107, 41.444), 167, None),
    ("conv3 none none conv3 conv3 conv3", (93.175, 70.180, 39.883), 1020, None),
    ("conv1 conv1 conv1 conv1 conv1 conv1", (89.370, 65.707, 35.478), 9601, None),
    ("skip skip skip skip skip skip", (54.297, 15.607, 16.322), 15231, 1835),
    ("avg avg avg avg avg avg", (49.020, 10.200, 9.350), 15278, None),
    ("none none none none none none", (10.000, 1.000, 0.833), 15285, None),
]


@pytest.mark.parametrize(("text", "accuracies", "rank", "index"), YARDSTICKS, ids=lambda value: str(value))
def test_published_cells(
    published: NASBench201, text: str, accuracies: tuple[float, ...], rank: int | None, index: int | None
) -> None:
    operations = cell(text)
    found = [published.accuracy(string_of(operations), dataset) for dataset in DATASETS]
    assert found == pytest.approx(accuracies, abs=1e-3)
    assert rank is None or published.rank(operations, "cifar10") == rank
    assert index is None or published.index(operations) == index


@pytest.mark.parametrize(
    ("dataset", "mean", "median", "high"),
    [
        ("cifar10", 87.06, 90.75, 93.77),
        ("cifar100", 61.41, 65.29, 71.13),
        ("imagenet16-120", 33.59, 36.39, 45.39),
    ],
)
def test_the_scale_of_the_published_table(
    published: NASBench201, dataset: str, mean: float, median: float, high: float
) -> None:
    values = published.accuracies(dataset)
    assert values.mean() == pytest.approx(mean, abs=0.006)
    assert np.median(values) == pytest.approx(median, abs=0.006)
    assert np.percentile(values, 99) == pytest.approx(high, abs=0.006)


def test_the_published_table_has_every_string_and_a_best_cell(published: NASBench201) -> None:
    assert sorted(published.strings) == sorted(STRINGS)
    assert dict(published.splits) == dict.fromkeys(DATASETS, ("test",))
    assert published.strings[6111] == BEST
    assert published.best("cifar10")[0] == (BEST, 94.3733)
    assert [published.best(dataset)[0][1] for dataset in DATASETS] == [94.3733, 73.5133, 47.3111]
    assert published.percentile(BEST, "cifar10") == pytest.approx(100 * (1 - 2 / COUNT))  # two share it
