"""Data, events and results of searches with networks written as Python functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from best import best_epoch
from functions import CANDIDATES, A, W, X, Y, config, data, mixed, product, regression
from pydarts.nn import FunctionNetwork
from searches import Listener
from torch import Tensor

Named = dict[str, Tensor]


DATA: dict[str, Any] = {
    "arrays": (X.numpy(), Y.numpy()),
    "whole numbers": ((X * 48).long(), Y),
    "arrays, pair": ((X, Y), (X[:8], Y[:8])),
    "loader": torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), batch_size=4, shuffle=True),
    "lists": ([(X[:5], Y[:5].tolist()), (X[5:], Y[5:].tolist())], [(X.numpy(), Y.numpy())]),
    "images": (X.reshape(16, 1, 3, 1), Y.reshape(16, 1).bool()),
}


@pytest.mark.parametrize("form", DATA)
def test_batches_are_pairs_of_any_tensors(form: str) -> None:
    network = FunctionNetwork(regression, W, A)
    result = pydarts.search(
        DATA[form], config(epochs=1, batch_size=4, weight_lr=1e-5, weight_lr_min=0.0), network=network
    )
    assert result.status == "complete"
    assert np.isfinite(result.history[0].valid_loss)
    assert result.fingerprint["network"].startswith("FunctionNetwork")


def test_the_loss_of_an_epoch_is_weighted_by_the_first_dimension() -> None:
    def loss(w: Named, m: Named, batch: Any) -> Tensor:
        return batch[1].mean() + 0 * product(w, m, batch)

    train = [(torch.zeros(3, 2, 7), torch.full((3, 5), 1.0)), (torch.zeros(1, 2, 7), torch.full((1, 5), 5.0))]
    result = pydarts.search((train, train), config(epochs=1), network=FunctionNetwork(loss, W, A))
    assert result.history[0].train_loss == pytest.approx(2.0)
    assert result.history[0].valid_loss == pytest.approx(2.0)


def test_batches_of_another_seed_are_others() -> None:
    found = [
        pydarts.search(
            DATA["arrays"],
            config(epochs=1, batch_size=4, seed=seed),
            network=FunctionNetwork(regression, W, A),
        )
        for seed in (0, 0, 1)
    ]
    first, second, third = (result.alphas["a"] for result in found)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_what_there_is_not_is_said(tmp_path: Path) -> None:
    cfg = config(epochs=1, batch_size=4, weight_lr=1e-5, weight_lr_min=0.0)
    result = pydarts.search((X, Y), cfg, network=FunctionNetwork(regression, W, A))
    assert "architecture={'a': (('" in repr(result) and "nan" not in repr(result)
    with pytest.raises(pydarts.GenotypeError, match="no genotype"):
        pydarts.build(result)
    with pytest.raises(AttributeError, match="skip connections"):
        result.plot_skips()
    assert [text.get_text() for text in result.plot_accuracies().ax.texts] == ["no accuracies"]
    panels = pydarts.plots.compare([result, result])
    assert [[text.get_text() for text in panel.texts] for panel in panels] == [[], [], ["no cells"]]
    assert panels[0].get_ylabel() == "validation loss"
    assert [list(line.get_ydata()) for line in panels[0].lines] == [[result.history[0].valid_loss]] * 2


def test_a_result_has_an_architecture_instead_of_a_genotype(tmp_path: Path) -> None:
    result = pydarts.search(data(), config(), network=mixed())
    chosen = np.argmax(result.alphas["choices"][-1], axis=1)
    assert result.architecture["choices"] == tuple((CANDIDATES[column],) for column in chosen)
    assert result.architecture["gain"] == ((str(int(np.argmax(result.alphas["gain"][-1]))),),)
    expected = torch.tensor(result.alphas["choices"]).softmax(-1).numpy()
    assert result.strengths["choices"] == pytest.approx(expected)
    assert result.strengths["gain"].shape == (7, 1, 2)
    with pytest.raises(AttributeError, match="architecture"):
        _ = result.genotype
    assert not hasattr(result, "genotype") and "genotype" not in repr(result)
    assert result.loss == "mixed_loss"
    assert all(0 <= record.valid_accuracy <= 1 for record in result.history)
    assert all(record.skip_connections is None for record in result.history)
    result.save(tmp_path)
    found = pydarts.SearchResult.load(tmp_path)
    assert found.architecture == result.architecture
    assert [record.valid_loss for record in found.history] == [record.valid_loss for record in result.history]
    for name, values in result.alphas.items():
        assert np.array_equal(found.alphas[name], values)
        assert found.strengths[name] == pytest.approx(result.strengths[name])
    for name, tensor in result.state_dict.items():
        assert torch.equal(found.state_dict[name], tensor) and found.state_dict[name].dtype == tensor.dtype
    with pytest.raises(AttributeError, match="architecture"):
        _ = found.genotype


def test_rows_may_have_different_candidates() -> None:
    names = [["conv", "pool", "skip_connect"], ["conv", "pool"]]
    seen: list[Tensor] = []

    def loss(w: Named, m: Named, batch: Any) -> Tensor:
        seen.append(m["a"].detach().clone())
        return ((w["w"] ** 2).sum() * m["a"] * torch.arange(6).view(2, 3)).sum()

    network = FunctionNetwork(loss, W, {"a": torch.ones(2, 3)}, candidates={"a": names})
    result = pydarts.search(data(), config(epochs=1), network=network)
    assert seen[0].numpy() == pytest.approx(np.array([[1 / 3] * 3, [0.5, 0.5, 0.0]]))
    assert np.isnan(result.alphas["a"][:, 1, 2]).all() and np.isfinite(result.alphas["a"][:, 1, :2]).all()
    assert result.architecture["a"] == (("conv",), ("conv",))
    assert result.history[0].skip_connections == 0
    assert result.history[0].entropy["a"] < (np.log(3) + np.log(2)) / 2


def test_events_have_tables_and_no_genotype() -> None:
    listener = Listener()
    result = pydarts.search(data(), config(progress=True), callbacks=listener, network=mixed())
    assert len(listener.steps) == 6 and len(listener.epochs) == 2
    last = listener.epochs[-1]
    assert last.genotype is None
    assert last.architecture == result.architecture
    assert np.array_equal(last.alphas["choices"], result.alphas["choices"][-1])
    assert last.strengths["choices"].sum(1) == pytest.approx([1.0, 1.0])
    assert listener.steps[0].train_accuracy is not None
    assert last.valid_accuracy == result.history[-1].valid_accuracy


def test_there_is_no_accuracy_without_a_number_of_correct_predictions(tmp_path: Path) -> None:
    listener = Listener()
    network = FunctionNetwork(regression, W, A)
    cfg = config(epochs=2, batch_size=4, weight_lr=1e-3, weight_lr_min=0.0, progress=True)
    result = pydarts.search(DATA["arrays"], cfg, callbacks=listener, network=network)
    rates = [rate for one in result.history for rate in (one.train_accuracy, one.valid_accuracy)]
    assert listener.steps
    assert {*rates, *(info.train_accuracy for info in listener.steps)} == {None}
    losses = [record.valid_loss for record in result.history]
    assert best_epoch(result) == losses.index(min(losses))
    assert str(result.history) and result._repr_html_() and str(result.diagnostics())
    result.save(tmp_path)
    assert pydarts.SearchResult.load(tmp_path).history[0].valid_accuracy is None
