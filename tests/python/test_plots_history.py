"""Pictures of losses and accuracies, of searches and of trainings."""

import math
from typing import Any

import pydarts
import pytest
from matplotlib.figure import Figure
from pydarts import EpochRecord, History, SearchResult, TrainRecord, plots


def searched(epoch: int, loss: float, accuracy: float, table: str = "normal") -> EpochRecord:
    return EpochRecord(epoch, loss - 0.1, loss, accuracy, accuracy - 0.05, 0.025, {table: 2.0}, 1, 0.5)


def trained(epoch: int, loss: float, accuracy: float, averaged: bool = False, **more: Any) -> TrainRecord:
    return TrainRecord(
        epoch, loss - 0.1, loss, accuracy, accuracy - 0.05, 0.025, averaged=averaged, seconds=0.5, **more
    )


SEARCH = History([searched(0, 2.0, 0.3), searched(1, 1.2, 0.6), searched(2, 1.5, 0.5)])


def labels(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_losses_of_both_parts_are_drawn_over_epochs_and_the_lowest_is_ringed() -> None:
    ax = plots.losses(SEARCH).ax
    train, valid, ring = ax.lines
    assert train.get_ydata().tolist() == [record.train_loss for record in SEARCH]
    assert valid.get_ydata().tolist() == [2.0, 1.2, 1.5] and valid.get_xdata().tolist() == [1, 2, 3]
    assert (ring.get_xdata().tolist(), ring.get_ydata().tolist()) == ([2], [1.2])
    assert labels(ax) == ["training", "validation", "best 1.2 in epoch 2"]
    assert train.get_linestyle() != valid.get_linestyle() and train.get_color() != valid.get_color()


def test_accuracies_are_in_per_cent_and_the_highest_is_ringed() -> None:
    ax = plots.accuracies(SEARCH).ax
    assert ax.lines[0].get_ydata().tolist() == pytest.approx([30, 60, 50])
    assert labels(ax)[-1] == "best 55.00 in epoch 2" and ax.get_ylabel() == "accuracy, %"


def test_words_have_perplexities() -> None:
    history = History([searched(0, 5.0, 0.1, "recurrent"), searched(1, 4.0, 0.2, "recurrent")])
    ax = plots.losses(history).ax
    assert ax.get_ylabel() == "perplexity" and ax.get_yscale() == "linear"
    assert ax.lines[1].get_ydata().tolist() == pytest.approx([math.exp(5), math.exp(4)])
    assert plots.losses(history, words=False).ax.get_ylabel() == "loss, nats"
    assert plots.losses(History([trained(0, 5.0, 0.1)]), words=True).ax.get_ylabel() == "perplexity"


def test_what_spans_decades_has_a_logarithmic_axis() -> None:
    ax = plots.losses(History([trained(0, 8.0, 0.1), trained(1, 5.0, 0.1)]), words=True).ax
    assert ax.get_yscale() == "log"


def test_averaged_epochs_and_top_five_are_shown_where_a_training_has_them() -> None:
    history = History(
        [
            trained(0, 2.0, 0.3, train_top5=0.7, valid_top5=0.6),
            trained(1, 1.0, 0.5, averaged=True, train_top5=0.8, valid_top5=0.7),
        ]
    )
    ax = plots.accuracies(history).ax
    said = labels(ax)
    assert "training, top 5" in said and "validation, top 5" in said and said[-1] == "averaged from here"
    assert list(ax.lines[-1].get_xdata()) == [1.5, 1.5], "before the second epoch"
    top = ax.lines[said.index("validation, top 5")]
    assert top.get_ydata().tolist() == pytest.approx([60, 70])
    assert "averaged from here" not in labels(plots.accuracies(SEARCH).ax)


@pytest.mark.parametrize("draw", [plots.losses, plots.accuracies])
def test_no_epoch_one_epoch_and_a_lost_number_are_drawn(draw: Any) -> None:
    assert [text.get_text() for text in draw(History([])).ax.texts] == ["no epoch"]
    assert draw(History([searched(3, 1.0, 0.5)])).ax.get_xticks().tolist() == [4]
    ax = draw(History([searched(0, 1.0, 0.5), searched(1, math.nan, math.nan)])).ax
    assert labels(ax)[-1].endswith("in epoch 1")
    ax.figure.canvas.draw()


@pytest.mark.parametrize("draw", [plots.losses, plots.accuracies])
def test_given_axes_are_drawn_into(draw: Any) -> None:
    ax = Figure().subplots()
    assert draw(SEARCH, ax=ax).ax is ax


def test_results_draw_their_own_history(tiny_result: SearchResult) -> None:
    valid = tiny_result.plot_losses().ax.lines[1].get_ydata().tolist()
    assert valid == [record.valid_loss for record in tiny_result.history]
    assert tiny_result.plot_accuracies().ax.get_ylabel() == "accuracy, %"


def test_a_training_of_words_draws_perplexities_and_one_of_images_losses() -> None:
    genotypes, history = pydarts.genotypes, History([trained(0, 2.0, 0.3)])
    net = pydarts.build(genotypes.DARTS_RNN_V2, vocabulary=7, units=8)
    result = pydarts.TrainResult(net, history, pydarts.TrainConfig(), "complete")
    assert result.plot_losses().ax.get_ylabel() == "perplexity"
    net = pydarts.build(genotypes.DARTS_V2, channels=2, layers=3, num_classes=2, in_channels=1)
    result = pydarts.TrainResult(net, history, pydarts.TrainConfig(), "complete")
    assert result.plot_losses().ax.get_ylabel() == "loss, nats"
    assert result.plot_accuracies().ax.lines[1].get_ydata().tolist() == pytest.approx([25])
