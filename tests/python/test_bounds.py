"""Bounds on what is read from outside: sizes that would take memory or time without end are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydarts
import pytest
import safetensors
import safetensors.torch
from conftest import without_checksums
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import (
    CheckpointError,
    ConfigError,
    Genotype,
    GenotypeError,
    SearchConfig,
    Space,
    SpaceError,
    TrainConfig,
)
from pydarts_cli.sources import read_genotype

V2 = pydarts.genotypes.DARTS_V2
EDGES = [["skip_connect", 0], ["sep_conv_3x3", 1]]


def genotype(normal: Any = EDGES, concat: Any = (2,)) -> str:
    return json.dumps(
        {"normal": normal, "normal_concat": list(concat), "reduce": EDGES, "reduce_concat": [2]}
    )


HUGE: dict[str, Callable[[], str]] = {
    "concat": lambda: genotype(concat=[10**9]),
    "beyond 64 bits": lambda: genotype(concat=[10**30]),
    "negative": lambda: genotype(concat=[-1]),
    "source": lambda: genotype(normal=[["skip_connect", 10**9], ["skip_connect", 0]]),
    "many edges": lambda: genotype(normal=EDGES * 50_000),
    "many nodes": lambda: genotype(normal=[EDGES] * 50_000),
    "many edges of a node": lambda: genotype(normal=[EDGES * 50_000]),
    "long concat": lambda: genotype(concat=range(2, 100_000)),
    "deep list": lambda: '{"normal": ' + "[" * 100_000,
    "deep object": lambda: '{"normal": ' * 100_000,
    "NaN": lambda: genotype(concat=[float("nan")]),
    "infinity": lambda: genotype(concat=[float("inf")]),
    "twice": lambda: genotype()[:-1] + ', "normal_concat": [2]}',
    "digits": lambda: genotype().replace("[2]", "[" + "9" * 10_000 + "]"),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_genotype_out_of_bounds_is_refused(name: str) -> None:
    text = HUGE[name]()
    with pytest.raises(GenotypeError) as caught:
        Genotype.from_json(text)
    assert len(str(caught.value)) < 1000
    with pytest.raises(GenotypeError):
        read_genotype(text)


@pytest.mark.parametrize("deep", ["[", "(", "[[('", "Genotype(", "range("])
def test_a_deep_notation_is_refused(deep: str) -> None:
    with pytest.raises(GenotypeError):
        Genotype.from_notation("Genotype(normal=" + deep * 50_000)


def test_the_largest_genotype_is_shown() -> None:
    nodes = [[["skip_connect", source] for source in range(2 + node)] for node in range(32)]
    largest = Genotype.from_json(genotype(nodes, range(2, 34)))
    assert len(largest.edges("normal")) == 560 and "normal_33" in largest.to_dot()
    assert Genotype.from_notation(str(largest)) == largest
    with pytest.raises(GenotypeError):
        Genotype.from_json(genotype([*nodes, nodes[-1]], range(2, 35)))


NUMBERS = (10**9 + 1, 10**18, 2**63, 2**64, 10**30, 10**5000, -1, float("nan"), float("inf"))
COUNTS = ("epochs", "batch_size", "bptt", "cutout", "eval_batch_size", "micro_batch", "checkpoint_every")
SIZES = ("record", "log_every", "arch_start_epoch", "nodes", "layers", "channels", "num_classes", "units")


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{number:.2g}" if number < 10**31 else "long")
def test_a_count_out_of_bounds_is_refused(number: Any) -> None:
    for name in (*COUNTS, *SIZES, "in_channels", "image_size"):
        with pytest.raises((ConfigError, SpaceError), match=name):
            SearchConfig(**{"checkpoint_dir": "x", name: number})
        if name in TrainConfig.__dataclass_fields__:
            with pytest.raises(ConfigError, match=name):
                TrainConfig(**{name: number})
    for name in ("channels", "layers", "num_classes", "in_channels"):
        with pytest.raises(ConfigError, match=name):
            pydarts.build(V2, **{name: number})
    for name in ("vocabulary", "units"):
        with pytest.raises(ConfigError, match=name):
            pydarts.build(pydarts.genotypes.DARTS_RNN_V2, **{"vocabulary": 3, name: number})
    with pytest.raises(SpaceError, match="nodes"):
        Space(nodes=number)


@pytest.mark.parametrize(
    "fields",
    [
        {"nodes": 10**9},
        {"name": "a" * 1000},
        {"operations": ["conv_3x3"] * 100_000},
        {"concat": list(range(100_000))},
        {"concat": [10**9]},
        {"reductions": [1] * 100_000},
        {"stem_multiplier": 10**9},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_space_out_of_bounds_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(SpaceError):
        Space.from_dict(fields)
    with pytest.raises((SpaceError, ConfigError)):
        SearchConfig.from_json(json.dumps({"space": fields}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([10**9, 10**18]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["normal", "nodes", "concat"]), inner),
)
FIELDS = st.dictionaries(
    st.sampled_from(
        ["normal", "normal_concat", "reduce", "reduce_concat", "recurrent", "concat", "nodes", "space"]
    ),
    JSON | st.just(EDGES) | st.lists(st.integers(0, 40)),
)


@settings(deadline=None)
@given(FIELDS)
def test_any_object_is_read_or_refused(fields: dict[str, Any]) -> None:
    for read in (Genotype.from_json, SearchConfig.from_json):
        try:
            found = read(json.dumps(fields))
        except pydarts.Error:
            continue
        assert read(found.to_json()) == found


def test_a_network_file_that_declares_more_than_it_holds_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    pydarts.export(pydarts.build(V2, channels=2, layers=3), path)
    with safetensors.safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["pydarts"]) | {"format": "pydarts-network-1"}
    tensors = safetensors.torch.load(path.read_bytes())
    for name, size in (("num_classes", 10**7), ("channels", 4096), ("layers", 10**12)):
        about["arguments"][name], before = size, about["arguments"][name]
        safetensors.torch.save_file(tensors, path, {"pydarts": json.dumps(about)})
        with pytest.raises(CheckpointError, match=path.name):
            pydarts.load_network(path)
        about["arguments"][name] = before


@pytest.mark.parametrize("name", ["config.json", "genotype.json", "history.json", "result.json"])
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, "[NaN]"], ids=["list", "object", "digits", "NaN"]
)
def test_json_of_a_result_out_of_bounds_is_refused(
    tiny_result: pydarts.SearchResult, tmp_path: Path, name: str, text: str
) -> None:
    tiny_result.save(tmp_path)
    (without_checksums(tmp_path) / name).write_text(text)
    with pytest.raises(CheckpointError, match=name):
        pydarts.SearchResult.load(tmp_path)
