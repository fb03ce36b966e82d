"""Searches, data and configurations of sequences [N, C, L]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydarts import Genotype, SearchConfig, SearchResult, Space, Supernet, search
from torch.utils.data import DataLoader, TensorDataset

TINY: dict[str, Any] = {
    "space": "darts-1d",
    "nodes": 2,
    "channels": 2,
    "layers": 3,
    "epochs": 2,
    "batch_size": 8,
    "device": "cpu",
    "progress": False,
}


def arrays(n: int = 48, channels: int = 2, length: int = 11, classes: int = 3) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, channels, length)).astype("float32"), np.arange(n) % classes


def loader(n: int = 48, **sizes: int) -> DataLoader[Any]:
    x, y = (torch.as_tensor(part) for part in arrays(n, **sizes))
    return DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "data",
    [arrays, loader, lambda: (arrays(), loader()), lambda: (loader(), arrays(16))],
    ids=["arrays", "loader", "arrays and loader", "loader and arrays"],
)
def test_a_search_on_sequences(data: Any, causal: bool) -> None:
    space = Space(name="darts-1d", nodes=2, causal=causal)
    result = search(data(), SearchConfig(**(TINY | {"space": space, "nodes": None})))
    assert result.status == "complete"
    assert (result.config.in_channels, result.config.image_size, result.config.num_classes) == (2, (1, 11), 3)
    assert result.alphas["normal"].shape == (3, 5, 8)
    assert isinstance(result.genotype, Genotype) and result.genotype.dimensions == 1
    assert result.state_dict["stem.conv.weight"].shape == (6, 2, 3)


def test_arrays_and_a_loader_of_the_same_order_are_searched_alike() -> None:
    x, y = arrays(16)
    batches = [(torch.as_tensor(x[i : i + 8]), torch.as_tensor(y[i : i + 8])) for i in (0, 8)]
    twice = [search((batches, batches), SearchConfig(**TINY)) for _ in range(2)]
    assert np.array_equal(twice[0].alphas["normal"], twice[1].alphas["normal"])
    assert np.isfinite(twice[0].alphas["reduce"]).all()


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_resumed_search_has_the_bits_of_a_whole_one(tmp_path: Path, precision: str) -> None:
    config = SearchConfig(**TINY, precision=precision)
    whole = search(arrays(), config.replace(epochs=3, weight_lr_min=0.025))
    half = config.replace(epochs=1, weight_lr_min=0.025, checkpoint_dir=str(tmp_path))
    search(arrays(), half)
    resumed = search(arrays(), half.replace(epochs=3, resume=True))
    assert np.array_equal(whole.alphas["normal"][-1], resumed.alphas["normal"][-1])
    for name, tensor in whole.state_dict.items():
        assert torch.equal(tensor, resumed.state_dict[name]), name


def test_a_result_is_saved_and_loaded(tmp_path: Path) -> None:
    space = Space(name="darts-1d", nodes=1, causal=True)
    result = search(arrays(), SearchConfig(**(TINY | {"space": space, "nodes": None})))
    result.save(tmp_path / "run")
    loaded = SearchResult.load(tmp_path / "run")
    assert loaded.config == result.config and loaded.config.resolved_space.causal
    assert loaded.genotype == result.genotype


@pytest.mark.parametrize(
    ("space", "shape"),
    [
        ("darts-1d", (16, 2, 4, 4)),
        ("darts-1d", (16, 9)),
        ("darts-1d", (16, 2, 0)),
        ("darts-1d", (16, 50, 3)),  # [N, L, C]
        ("darts", (16, 2, 9)),
    ],
)
@pytest.mark.parametrize("form", ["arrays", "loader"])
def test_data_of_another_shape_are_refused(space: str, shape: tuple[int, ...], form: str) -> None:
    x, y = torch.zeros(shape), torch.arange(16) % 2
    data: Any = (x, y) if form == "arrays" else DataLoader(TensorDataset(x, y), batch_size=8)
    with pytest.raises(pydarts.DataError) as raised:
        search(data, SearchConfig(**(TINY | {"space": space})))
    assert str(list(shape)) in str(raised.value) or str([8, *shape[1:]]) in str(raised.value)


def test_the_error_for_the_other_kind_of_data_names_the_space() -> None:
    for space, shape, other in (("darts", (16, 2, 9), "darts-1d"), ("darts-1d", (16, 2, 4, 4), "darts")):
        with pytest.raises(pydarts.DataError, match=f'"{other}"'):
            search((torch.zeros(shape), torch.arange(16) % 2), SearchConfig(**(TINY | {"space": space})))


def test_lengths_must_agree_within_the_data_and_with_the_configuration() -> None:
    with pytest.raises(pydarts.DataError, match="9"):
        search((arrays(), arrays(16, length=9)), SearchConfig(**TINY))
    batches = [(torch.zeros(8, 2, 11), torch.arange(8) % 2), (torch.zeros(8, 2, 12), torch.arange(8) % 2)]
    with pytest.raises(pydarts.DataError, match="12"):
        search((batches, batches), SearchConfig(**TINY))
    with pytest.raises(pydarts.DataError, match="11"):
        search(arrays(), SearchConfig(**TINY, image_size=10))
    assert search(arrays(), SearchConfig(**(TINY | {"epochs": 1}), image_size=11)).status == "complete"


def test_bytes_are_scaled_and_wide_ranges_are_no_cause_for_a_hint(recwarn: pytest.WarningsRecorder) -> None:
    x, y = arrays()
    numbers = np.abs(1000 * x)
    search((numbers, y), SearchConfig(**(TINY | {"epochs": 1})))
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]
    result = search(((numbers % 255).astype(np.uint8), y), SearchConfig(**(TINY | {"epochs": 1})))
    assert result.config.mean is not None and len(result.config.mean) == 2


@pytest.mark.parametrize(
    "changes", [{"augment": "cifar"}, {"cutout": 4}, {"image_size": (4, 8)}, {"operations": ["conv_1x1"]}]
)
def test_options_of_images_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((pydarts.ConfigError, pydarts.SpaceError)):
        SearchConfig(**(TINY | changes))


def test_image_size_is_the_length() -> None:
    for given_size in (128, (1, 128)):
        assert SearchConfig(space="darts-1d", image_size=given_size).image_size == (1, 128)
    net = Supernet("darts-1d", channels=2, layers=3, nodes=1, image_size=128)
    assert net.logits(torch.zeros(2, 3, 128)).shape == (2, 10)
    for wrong in (torch.zeros(2, 3, 127), torch.zeros(2, 3, 1, 128), torch.zeros(2, 2, 128)):
        with pytest.raises(pydarts.DataError):
            net.logits(wrong)
        with pytest.raises(pydarts.DataError):
            net.loss(wrong, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(pydarts.DataError):
        Supernet(channels=2, layers=3, nodes=1, image_size=8).logits(torch.zeros(2, 3, 8))


def test_spaces_say_their_dimensions() -> None:
    assert (Space().dimensions, Space.preset("darts-1d").dimensions) == (2, 1)
    assert Space.preset("darts-rnn").dimensions is None
    assert not Space.preset("darts-1d").causal
    for space in (
        Space(operations=["none", "conv_3"]),
        Space(name="darts-1d", causal=True),
        Space(dimensions=1, operations=["none", "skip_connect"], causal=True),
        Space.preset("darts-1d").replace(nodes=2, causal=True),
    ):
        assert space.dimensions == 1
        assert Space.from_dict(space.to_dict()) == space
        assert eval(repr(space), {"Space": Space}) == space
    for wrong in ({"causal": True}, {"dimensions": 3}, {"operations": ["conv_3", "conv_3x3"]}):
        with pytest.raises(pydarts.SpaceError):
            Space(**wrong)  # type: ignore[arg-type]
    with pytest.raises(pydarts.SpaceError, match="conv_3x3"):
        Space.preset("darts-1d").replace(operations=["conv_3x3"])
    assert SearchConfig(space="darts-1d").to_dict()["space"] == "darts-1d"


def test_a_genotype_has_one_number_of_dimensions() -> None:
    def genotype(first: str, second: str) -> Genotype:
        genes = [(first, 0), (second, 1)]
        return Genotype(normal=genes, normal_concat=[2], reduce=genes, reduce_concat=[2])

    assert genotype("sep_conv_3", "skip_connect").dimensions == 1
    assert genotype("none", "skip_connect").dimensions is None
    found = genotype("sep_conv_3", "max_pool_7")
    assert Genotype.from_notation(str(found)) == found == Genotype.from_json(found.to_json())
    with pytest.raises(pydarts.GenotypeError, match="sep_conv_3x3"):
        genotype("sep_conv_3", "sep_conv_3x3")
    with pytest.raises(pydarts.GenotypeError, match="sep_conv_3"):
        found.to_nni()
    with pytest.raises(pydarts.GenotypeError):
        pydarts.random_genotypes("darts-1d", 1)[0].to_nasbench301()
    with pytest.raises(pydarts.GenotypeError):
        found.validate("darts")
    for drawn in pydarts.random_genotypes("darts-1d", 5):
        drawn.validate("darts-1d")
        assert drawn.dimensions in (1, None)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    length=st.integers(4, 40),
    channels=st.integers(2, 4),
    layers=st.integers(1, 4),
    in_channels=st.integers(1, 4),
    causal=st.booleans(),
    memory=st.sampled_from(["keep", "recompute"]),
)
def test_any_sizes_are_searched(
    length: int, channels: int, layers: int, in_channels: int, causal: bool, memory: Any
) -> None:
    space = Space(operations=["max_pool_3", "skip_connect", "dil_conv_3"], nodes=1, causal=causal)
    config = SearchConfig(memory=memory)
    net = Supernet(
        space,
        channels=channels,
        layers=layers,
        in_channels=in_channels,
        image_size=length,
        num_classes=3,
        config=config,
    )
    x, y = torch.randn(4, in_channels, length), torch.tensor([0, 1, 2, 0])
    assert np.isfinite(net.step((x, y), (x, y))).all()
    cost = net.cost()
    assert cost["bytes_per_image"] > 4 * channels * length and cost["weights"] == sum(
        weight.numel()
        for name, weight in net.state_dict().items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )


def test_a_sequence_that_is_too_short_for_the_reductions_is_refused() -> None:
    with pytest.raises(pydarts.SpaceError, match="length"):
        Supernet("darts-1d", channels=2, layers=3, image_size=2)
    assert Supernet("darts-1d", channels=2, layers=3, image_size=3).space.name == "darts-1d"


def test_the_search_is_shown_with_its_names(tmp_path: Path) -> None:
    net = Supernet("darts-1d", channels=2, layers=3, nodes=1, image_size=9)
    assert "sequences 3x9" in net.explain() and "3×9" in net._repr_html_()
    result = search(arrays(), SearchConfig(**TINY))
    assert "sep_conv_3" in result.genotype.to_svg() or "_3" in str(result.genotype)
    result.report(tmp_path / "report.html")
    assert "dil_conv_5" in (tmp_path / "report.html").read_text(encoding="utf-8")
