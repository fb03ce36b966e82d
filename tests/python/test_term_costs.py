"""Costs of the network that will be built, and tables of latencies. No test depends on a speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from pydarts import Genotype, SearchConfig, Space
from pydarts.algorithms import Flops, Latency, Parameters, Term
from pydarts.nn import _latency
from pydarts.nn._costs import target_costs
from resuming import Stop, StopAt, pair
from resuming import config as small
from torch import nn

SIZES: dict[str, Any] = {"num_classes": 5, "in_channels": 2, "image_size": 9}
OWN = pydarts.Operation(
    "grouped",
    lambda channels, stride, affine: nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride, 1, groups=2), nn.BatchNorm2d(channels, affine=affine)
    ),
)
RAGGED = {
    "normal": [("skip_connect", "dil_conv_3x3"), ("sep_conv_3x3", "max_pool_3x3", "conv_1x1")],
    "reduce": [("avg_pool_3x3",), ("skip_connect", "conv_3x3", "none")],
}
SPACES: dict[str, Space] = {
    "darts": Space.preset("darts"),
    "s1": Space.preset("s1"),
    "darts-1d": Space.preset("darts-1d"),
    "causal": Space.preset("darts-1d").replace(causal=True),
    "ragged": Space(operations=RAGGED, nodes=1),
    "no reductions": Space(nodes=2, reductions=[]),
    "own": Space(nodes=2, operations=["none", "skip_connect", OWN]),
}


def mixing(genotype: Genotype, space: Space) -> np.ndarray:
    """The mixing weights of a genotype, flat: 1 for its operations, 0 for all others."""
    tables = []
    for table in space.tables:
        columns = space.columns(table)
        m = np.zeros((len(columns), max(map(len, columns))))
        for operation, source, target in genotype.edges(table):
            row = space.edges.index((source, target))
            m[row, columns[row].index(operation)] = 1
        tables.append(m.ravel())
    return np.concatenate(tables)


def costs_of(config: SearchConfig, *terms: Term) -> dict[str, tuple[np.ndarray, float]]:
    found = target_costs(config.replace(arch_terms=terms))
    return {name: (np.array(flat), constant) for name, flat, constant in found}


@pytest.mark.parametrize("name", SPACES)
def test_the_cost_of_20_random_genotypes_is_that_of_the_networks_that_are_built(name: str) -> None:
    """Conformance 6.2 (8): exactly; batch norm is affine, and pooling has none."""
    space, count = SPACES[name], 5 if name == "ragged" else 20
    target: dict[str, Any] = {"channels": 6, "layers": 4}
    found = costs_of(SearchConfig(space=space, **SIZES), Flops(**target), Parameters(**target))
    built: dict[str, Any] = {"dimensions": 1, "causal": space.causal} if space.dimensions == 1 else {}
    built |= {"operations": [OWN]} if name == "own" else {}
    built |= {} if space.reductions is None else {"reductions": space.reductions}
    for genotype in pydarts.random_genotypes(space, count):
        net = pydarts.build(genotype, num_classes=5, in_channels=2, **target, **built)
        expected, m = pydarts.cost(net, image_size=9), mixing(genotype, space)
        for measure, known in (("flops", "multiply_adds"), ("parameters", "weights")):
            flat, constant = found[measure]
            assert np.dot(flat, m) + constant == expected[known], measure


@pytest.mark.parametrize("stem", ["cifar", "imagenet", "small"])
def test_the_published_network_has_its_cost_with_every_stem(stem: Any) -> None:
    config = SearchConfig(num_classes=10, in_channels=3, image_size=32)
    flat, constant = costs_of(config, Flops(stem=stem, image_size=64))["flops"]
    net = pydarts.build(pydarts.genotypes.DARTS_V2, stem=stem)
    m = mixing(pydarts.genotypes.DARTS_V2, Space.preset("darts"))
    assert np.dot(flat, m) + constant == pydarts.cost(net, image_size=64)["multiply_adds"]


def test_trap_1_21_candidates_pay_by_the_channels_of_the_discrete_network() -> None:
    """Trap 1.21: 36 channels and 20 cells, whatever the search network has."""
    config = SearchConfig(**SIZES)
    wide = costs_of(config, Flops())["flops"]
    for changes in ({"channels": 4}, {"layers": 3}):
        found = costs_of(config.replace(**changes), Flops())["flops"]  # type: ignore[arg-type]
        assert np.array_equal(found[0], wide[0]) and found[1] == wide[1]
    assert costs_of(config, Flops(channels=16))["flops"][0].sum() < wide[0].sum()


def test_trap_1_21_none_skip_and_pooling_cost_nothing() -> None:
    """Trap 1.21: such costs feed the collapse to skip connections; with stride 2 a skip connection costs."""
    found = costs_of(SearchConfig(**SIZES), Flops(), Parameters())
    space = Space.preset("darts")
    for flat, _ in found.values():
        normal, reduce = flat.reshape(2, 14, 8)
        for column, name in enumerate(space.columns("normal")[0]):
            free = name in ("none", "skip_connect", "max_pool_3x3", "avg_pool_3x3")
            assert ((normal[:, column] == 0) == free).all(), name
        skips = reduce[:, space.columns("reduce")[0].index("skip_connect")]
        from_input = np.array([source < 2 for source, _ in space.edges])
        assert ((skips > 0) == from_input).all()


def test_reductions_of_another_number_of_layers_are_refused() -> None:
    config = SearchConfig(space=Space(reductions=[1]), layers=4, **SIZES)
    with pytest.raises(pydarts.ConfigError, match=r"flops|Flops"):
        costs_of(config, Flops(layers=20))
    assert costs_of(config, Flops(layers=4))


# ---- Latency


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("latency") / "latency.json"
    config = small(num_classes=3, in_channels=1, image_size=8)
    pydarts.latency_table(config, path, channels=4, layers=3, seconds=0)
    return path


def changed(path: Path, folder: Path, **changes: Any) -> Path:
    """A table with other values and the right checksum."""
    from pydarts._values.files import write_about

    about = {
        key: value for key, value in json.loads(path.read_text()).items() if key not in ("format", "crc32")
    }
    write_about(folder / "changed.json", 2, about | changes)
    return folder / "changed.json"


def options(path: Path, **changes: Any) -> SearchConfig:
    config: dict[str, Any] = {"num_classes": 3, "in_channels": 1, "image_size": 8}
    return small(arch_terms=Latency(file=str(path), **changes), **config)


def test_a_time_is_the_median_of_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call after the first takes 1 ms, but for one that another process interrupts."""
    clock = iter([9.0, 0.001, 0.001, 0.5, *[0.001] * 60])
    now = [0.0]

    def call() -> None:
        now[0] += next(clock)

    monkeypatch.setattr(_latency, "perf_counter", lambda: now[0])
    found = _latency._timed({"a": call, "b": lambda: None}, 0.0, torch.device("cpu"))
    assert found == {"a": pytest.approx(1.0), "b": 0.0}


def test_a_table_has_every_operation_of_the_target_and_where_it_was_measured(measured: Path) -> None:
    table = json.loads(measured.read_text())
    assert table["device"] == pydarts._core.processor() and table["threads"] >= 1
    assert table["target"] == {"channels": 4, "layers": 3, "image_size": [8, 8], "stem": "cifar"}
    keys = [
        (one["operation"], one["channels"], one["stride"], tuple(one["size"])) for one in table["operations"]
    ]
    assert len(set(keys)) == len(keys) and {key[0] for key in keys} == {"none", "skip_connect", "conv_3x3"}
    assert {key[1:] for key in keys} == {(4, 1, (8, 8)), (8, 2, (8, 8)), (16, 2, (4, 4))}
    assert all(one["milliseconds"] >= 0 for one in table["operations"]) and table["rest"] > 0


def test_the_cost_is_the_sum_of_the_times_in_the_file(measured: Path, tmp_path: Path) -> None:
    table = json.loads(measured.read_text())
    times = [one | {"milliseconds": float(index)} for index, one in enumerate(table["operations"])]
    path = changed(measured, tmp_path, operations=times, rest=0.5)
    config = options(path)
    [(name, flat, rest)] = target_costs(config)
    assert (name, rest) == ("latency", 0.5) and target_costs(config) == [(name, flat, rest)]
    by_key = {(one["operation"], one["channels"]): one["milliseconds"] for one in times}
    normal = [by_key[operation, 4] for operation in ("none", "skip_connect", "conv_3x3")]
    reduce = [
        sum(by_key[operation, c] for c in (8, 16)) for operation in ("none", "skip_connect", "conv_3x3")
    ]
    assert flat == normal * 2 + reduce * 2


def test_a_search_with_a_table_records_its_cost_and_refuses_another_table(
    measured: Path, tmp_path: Path
) -> None:
    term = Latency(file=str(measured))
    done = pydarts.search(pair(), small(arch_terms=term))
    assert {"term.latency", "cost.latency"} <= set(done.history[0].diagnostics)
    path = tmp_path / "table.json"
    path.write_bytes(measured.read_bytes())
    fields: dict[str, Any] = {"arch_terms": Latency(file=str(path)), "checkpoint_dir": tmp_path / "run"}
    with pytest.raises(Stop):
        pydarts.search(pair(), small(**fields), [StopAt(epoch=0)])
    changed(path, tmp_path, rest=123.0).replace(path)
    with pytest.raises(pydarts.CheckpointError, match="latency"):
        pydarts.search(pair(), small(resume=True, **fields))


def test_a_table_of_another_processor_is_refused_unless_it_is_accepted(
    measured: Path, tmp_path: Path
) -> None:
    path = changed(measured, tmp_path, device="abacus")
    with pytest.raises(pydarts.ConfigError, match=r"abacus.*other_device"):
        target_costs(options(path))
    assert target_costs(options(path, other_device="accept"))


def test_a_table_without_an_operation_of_the_space_is_refused(measured: Path) -> None:
    config = options(measured).replace(operations=("none", "sep_conv_5x5"))
    with pytest.raises(pydarts.ConfigError, match="sep_conv_5x5"):
        target_costs(config)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "{}",
        lambda text: "[]",
        lambda text: "",
        lambda text: text.replace('"stride": 2', '"stride": 3'),
        lambda text: text.replace('"rest"', '"rust"'),
    ],
)
def test_a_damaged_table_is_refused_by_its_name(damage: Any, measured: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.json"
    path.write_text(damage(measured.read_text()))
    with pytest.raises(pydarts.CheckpointError, match=r"damaged\.json"):
        target_costs(options(path))


@pytest.mark.parametrize("wrong", [-1.0, "fast", True, None])
def test_a_time_that_is_no_time_is_refused(wrong: Any, measured: Path, tmp_path: Path) -> None:
    path = changed(measured, tmp_path, rest=wrong)
    with pytest.raises(pydarts.CheckpointError, match=r"changed\.json"):
        target_costs(options(path))


def test_a_missing_table_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="latency_table"):
        target_costs(options(tmp_path / "absent.json"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"space": "darts-rnn"}, "recurrent"),
        ({"layers": 0}, "layers.*0"),
        ({"batch_size": 0}, "batch_size.*0"),
        ({"stem": "big"}, "stem.*big"),
        ({"device": "abacus"}, "device.*abacus"),
    ],
)
def test_wrong_arguments_of_a_measurement_are_refused(arguments: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(pydarts.ConfigError, match=says):
        pydarts.latency_table(path=tmp_path / "latency.json", **arguments)
    assert not list(tmp_path.iterdir())
