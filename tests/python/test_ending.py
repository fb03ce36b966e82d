"""The end of a search and of a training: everybody is told, and what was reached comes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from trained import batches, config, network


class Last(pydarts.Callback):
    """Raises when everything is over, and counts how often it was told so."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error, self.told = error, 0

    def on_end(self, result: pydarts.SearchResult) -> None:
        self.told += 1
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), LookupError("no space left")], ids=["Ctrl-C", "error"]
)
def test_what_stops_a_callback_at_the_end_loses_nothing(error: BaseException) -> None:
    others = Last(), Last()
    with pytest.raises(type(error)) as caught:
        pydarts.search(make_arrays(), make_config(), [others[0], Last(error), others[1]])
    assert [other.told for other in others] == [1, 1]
    assert caught.value is error
    result: pydarts.SearchResult = caught.value.result  # type: ignore[attr-defined]
    assert result.status == "complete" and len(result.history) == 2


def test_a_perplexity_without_end_has_no_deviation() -> None:
    cell = pydarts.genotypes.DARTS_RNN_V2
    rows = [
        pydarts.SearchRow(
            name=f"seed {i}", origin="searched", status="complete", accuracy=0.1, loss=loss, genotype=cell
        )
        for i, loss in enumerate((5.0, 800.0))
    ]
    table = pydarts.SearchTable(rows)
    mean, deviation, n = table.summary("searched")
    assert mean == np.inf and np.isnan(deviation) and n == 2
    assert "inf" in str(table) and table._repr_html_() and table.plot() is not None


def test_the_bar_of_a_training_ends_with_the_last_validation(capsys: pytest.CaptureFixture[str]) -> None:
    trained = pydarts.train(network(), (batches(), batches()), config(progress=True))
    last = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert "epoch 3/3" in last and f"acc {trained.history[-1].valid_accuracy:.1%}" in last


def test_the_bar_of_a_language_model_tells_the_perplexity(capsys: pytest.CaptureFixture[str]) -> None:
    text = torch.arange(600) % 7
    net = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=7, units=8)
    choices: Any = {"epochs": 1, "batch_size": 4, "bptt": 14}
    trained = pydarts.train(net, (text, text[:200]), pydarts.TrainConfig(**choices))
    shown = capsys.readouterr().err
    assert f"perplexity {trained.history[-1].valid_perplexity:.0f}" in shown and "acc" not in shown
