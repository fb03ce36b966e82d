"""Files of networks that know how their data were normalised."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

RNG = np.random.default_rng(0)


def trained(data: Any, dimensions: int = 2) -> pydarts.TrainResult:
    genotype = pydarts.genotypes.DARTS_V2
    if dimensions == 1:
        space = pydarts.Space.preset("darts-1d")
        genotype = pydarts.random_genotypes(space, 1, seed=0)[0]
    net = pydarts.build(genotype, channels=2, layers=2, num_classes=2, in_channels=3)
    return pydarts.train(net, data, pydarts.TrainConfig(epochs=1, batch_size=8, progress=False))


@pytest.fixture(scope="module")
def bytes_of() -> tuple[Any, Any]:
    return RNG.integers(0, 256, (32, 3, 8, 8), dtype=np.uint8), np.arange(32) % 2


@pytest.fixture(scope="module")
def of_bytes(bytes_of: Any) -> pydarts.TrainResult:
    return trained(bytes_of)


def graph_of(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.load(path).module()


def test_a_graph_takes_what_the_arrays_hold(
    of_bytes: pydarts.TrainResult, bytes_of: Any, tmp_path: Path
) -> None:
    assert of_bytes.network.normalization.mean == pytest.approx(of_bytes.config.mean)
    raw = torch.from_numpy(bytes_of[0][:5]) / 255
    expected = of_bytes.predict(bytes_of[0][:5])
    pydarts.export(of_bytes.network, tmp_path / "a.pt2")  # 8x8, as in the training
    assert torch.allclose(graph_of(tmp_path / "a.pt2")(raw), expected, atol=1e-4)
    pydarts.export(of_bytes.network, tmp_path / "b.pt2", image_size=8, normalize=False)
    plain = graph_of(tmp_path / "b.pt2")(raw)
    assert torch.allclose(plain, of_bytes.network(raw), atol=1e-4)
    assert not torch.allclose(plain, expected, atol=1e-2)
    found: dict[str, Any] = {"mean": "", "normalized": ""}
    torch.export.load(tmp_path / "a.pt2", extra_files=found)
    assert json.loads(found["mean"]) == pytest.approx(of_bytes.config.mean)
    assert json.loads(found["normalized"]) is True


def test_onnx_takes_what_the_arrays_hold(
    of_bytes: pydarts.TrainResult, bytes_of: Any, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pydarts.export(of_bytes.network, tmp_path / "a.onnx", image_size=8)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    raw = bytes_of[0][:5].astype(np.float32) / 255
    (logits,) = session.run(None, {"x": raw})
    assert np.allclose(logits, of_bytes.predict(bytes_of[0][:5]).numpy(), atol=1e-3)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["std"]) == pytest.approx(of_bytes.config.std)


def test_files_of_networks_and_results_record_it(of_bytes: pydarts.TrainResult, tmp_path: Path) -> None:
    pydarts.export(of_bytes.network, tmp_path / "a.safetensors")
    of_bytes.save(tmp_path / "run")
    for network in (
        pydarts.load_network(tmp_path / "a.safetensors"),
        pydarts.TrainResult.load(tmp_path / "run").network,
    ):
        assert network.normalization == of_bytes.network.normalization
        assert network.image_size == of_bytes.network.image_size == (8, 8)


def test_costs_are_those_of_the_images_of_the_training(of_bytes: pydarts.TrainResult) -> None:
    assert pydarts.cost(of_bytes.network) == pydarts.cost(of_bytes.network, 8)
    assert pydarts.cost(of_bytes.network) != pydarts.cost(of_bytes.network, 32)


def test_sequences_are_normalised_along_their_channels(tmp_path: Path) -> None:
    X, y = RNG.normal(3, 2, (32, 3, 16)).astype(np.float32), np.arange(32) % 2
    result = trained((X, y), 1)
    pydarts.export(result.network, tmp_path / "a.pt2")
    ours = graph_of(tmp_path / "a.pt2")(torch.from_numpy(X[:4]))
    assert torch.allclose(ours, result.predict(X[:4]), atol=1e-4)


def test_a_later_training_on_a_loader_replaces_it(bytes_of: Any) -> None:
    first = trained(bytes_of)
    x, y = torch.from_numpy(bytes_of[0]) / 255, torch.from_numpy(bytes_of[1])
    config = pydarts.TrainConfig(epochs=1, batch_size=8, progress=False)
    again = pydarts.train(first.network, DataLoader(TensorDataset(x, y), 8), config)
    assert again.network.normalization is None


def test_data_of_a_loader_are_prepared_by_the_loader(bytes_of: Any, tmp_path: Path) -> None:
    x, y = torch.from_numpy(bytes_of[0]) / 255, torch.from_numpy(bytes_of[1])
    result = trained(DataLoader(TensorDataset(x, y), 8))
    assert result.network.normalization is None
    pydarts.export(result.network, tmp_path / "a.pt2", image_size=8)
    assert torch.allclose(graph_of(tmp_path / "a.pt2")(x[:4]), result.network(x[:4]), atol=1e-4)
