"""`search`: a result that is whole and the same again, by every method and whatever the passes."""

import math
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from best import best_epoch
from conftest import make_arrays, make_config
from pydarts import SearchResult, search
from searches import Listener


def test_a_search_gives_genotype_trajectory_and_history(tiny_result: SearchResult) -> None:
    result = tiny_result
    assert result.status == "complete"
    assert set(result.alphas) == {"normal", "reduce"}
    for alpha in result.alphas.values():
        assert alpha.shape == (3, 5, 3) and alpha.dtype == np.float32 and np.isfinite(alpha).all()
        assert not np.array_equal(alpha[0], alpha[-1]), "α moved"
    assert result.steps == (0, 3, 6)
    result.genotype.validate(result.config.resolved_space)
    assert [record.epoch for record in result.history] == [0, 1]
    for record in result.history:
        assert record.train_loss > 0 and record.valid_loss > 0 and record.seconds > 0
        assert 0 <= record.train_accuracy <= 1 and 0 <= record.valid_accuracy <= 1
        assert record.entropy.keys() == {"normal", "reduce"}
        assert 0 < record.entropy["normal"] <= math.log(3) + 1e-9
        assert 0 <= record.skip_connections <= 8
    assert result.history[0].learning_rate == pytest.approx(0.025)
    assert result.history[1].learning_rate < 0.025
    assert (result.config.num_classes, result.config.in_channels, result.config.image_size) == (4, 1, (8, 8))
    assert best_epoch(result) in (0, 1)
    assert "classifier.weight" in result.state_dict and "stem.bn.running_mean" in result.state_dict


def test_the_genotype_is_the_one_derived_from_the_last_alpha(tiny_result: SearchResult) -> None:
    last = {name: alpha[-1] for name, alpha in tiny_result.alphas.items()}
    assert pydarts.derive(last, tiny_result.config.resolved_space) == tiny_result.genotype


def test_the_weights_fit_the_supernet_of_the_config(tiny_result: SearchResult) -> None:
    net = pydarts.Supernet(config=tiny_result.config)
    net.load_state_dict(tiny_result.state_dict)
    assert all(torch.equal(value, tiny_result.state_dict[name]) for name, value in net.state_dict().items())


def test_a_search_learns() -> None:
    arrays = make_arrays(192)
    result = search(arrays, make_config(epochs=8, channels=4, weight_lr=0.1))
    assert result.history[-1].train_loss < 0.7 * result.history[0].train_loss
    assert result.history[-1].train_accuracy > 0.6


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    runs = [search(make_arrays(), make_config(seed=seed)).alphas["normal"] for seed in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_the_global_generators_are_left_alone() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(2), np.random.rand(2)
    torch.manual_seed(5)
    np.random.seed(5)
    search(make_arrays(), make_config(epochs=1))
    assert torch.equal(torch.rand(2), expected[0]) and np.array_equal(np.random.rand(2), expected[1])


@pytest.mark.parametrize("method", ["first_order", "unrolled", "unrolled_exact"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_method_runs_in_both_precisions(method: Any, precision: Any) -> None:
    result = search(make_arrays(32), make_config(hypergradient=method, precision=precision, epochs=1))
    assert result.alphas["reduce"].dtype == precision


@pytest.mark.parametrize(
    ("record", "steps"), [("epoch", (0, 3, 6)), ("step", (0, 1, 2, 3, 4, 5, 6)), (2, (0, 2, 3, 4, 6))]
)
def test_alpha_is_recorded_as_often_as_asked_and_at_every_epochs_end(
    record: Any, steps: tuple[int, ...]
) -> None:
    result = search(make_arrays(), make_config(record=record))
    assert result.steps == steps
    assert len(result.alphas["normal"]) == len(steps)


def test_alpha_rests_during_warm_up() -> None:
    listener = Listener()
    result = search(make_arrays(), make_config(arch_start_epoch=1), callbacks=listener)
    assert np.array_equal(result.alphas["normal"][0], result.alphas["normal"][1])
    assert not np.array_equal(result.alphas["normal"][1], result.alphas["normal"][2])
    assert [info.valid_loss is None for info in listener.steps] == [True] * 3 + [False] * 3


def test_augmentation_of_arrays_runs() -> None:
    X, y = make_arrays(channels=3)
    assert search((X, y), make_config(augment="cifar", cutout=3, epochs=1)).status == "complete"


@pytest.mark.parametrize(("images", "epochs"), [(256, 2), pytest.param(1797, 5, marks=pytest.mark.long)])
def test_digits_are_searched_the_same_with_passes_on_and_off(images: int, epochs: int) -> None:
    X, y = (part[:images] for part in pydarts.datasets.digits())
    config = make_config(operations=None, epochs=epochs, batch_size=64, precision="float64", record="step")
    on, off = (search((X, y), config.replace(passes=passes)) for passes in (None, ()))
    assert on.genotype == off.genotype
    assert on.alphas.keys() == off.alphas.keys() == {"normal", "reduce"}
    for name, alpha in on.alphas.items():
        assert alpha.dtype == np.float64 and len(alpha) == epochs * (len(X) // 2 // 64) + 1
        # Training multiplies the rounding in which the two differ; a wrong pass moves α by more than 1e-4.
        assert np.abs(alpha - off.alphas[name]).max() < 1e-6
        assert np.abs(alpha[-1] - alpha[0]).max() > 5e-4, "α moved"


def test_a_search_runs_from_another_thread() -> None:
    found: list[SearchResult] = []
    thread = threading.Thread(target=lambda: found.append(search(make_arrays(), make_config(epochs=1))))
    thread.start()
    thread.join(60)
    assert found[0].status == "complete"


# ---- the loss


def test_a_custom_loss_is_used() -> None:
    seen: list[tuple[torch.Size, torch.dtype]] = []

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append((logits.shape, targets.dtype))
        return torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.3)

    custom = search(make_arrays(), make_config(epochs=1), loss=loss)
    plain = search(make_arrays(), make_config(epochs=1))
    assert seen[0] == (torch.Size([8, 4]), torch.int64)
    assert not np.array_equal(custom.alphas["normal"][-1], plain.alphas["normal"][-1])


def test_cross_entropy_as_a_custom_loss_equals_the_default() -> None:
    custom = search(make_arrays(), make_config(precision="float64"), loss=torch.nn.functional.cross_entropy)
    plain = search(make_arrays(), make_config(precision="float64"))
    # Adam divides rounding by gradients near zero; another loss moves α by 1e-3.
    np.testing.assert_allclose(custom.alphas["normal"], plain.alphas["normal"], rtol=0, atol=1e-8)


def test_an_exception_of_the_loss_comes_back_as_it_is() -> None:
    calls: list[int] = []

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 5:
            raise LookupError("my loss")
        return torch.nn.functional.cross_entropy(logits, targets)

    with pytest.raises(LookupError, match="my loss") as caught:
        search(make_arrays(), make_config(), loss=loss)
    assert caught.value.result.status == "failed"  # type: ignore[attr-defined]


def test_what_is_no_loss_or_no_config_is_refused() -> None:
    with pytest.raises(TypeError, match="loss"):
        search(make_arrays(), make_config(), loss=3)  # type: ignore[arg-type]
    with pytest.raises(pydarts.ConfigError, match="SearchConfig"):
        search(make_arrays(), {"epochs": 3})  # type: ignore[arg-type]


@pytest.mark.parametrize(("layers", "absent"), [(1, "normal"), (2, "normal"), (3, None)])
def test_a_network_without_a_kind_of_cell_warns(layers: int, absent: str | None) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pydarts.search(make_arrays(), make_config(epochs=1, layers=layers))
    names = {"normal", "reduce", "reduction"}
    said = [names & set(str(one.message).split()) for one in told if one.category is UserWarning]
    assert [found for found in said if found] == ([] if absent is None else [{absent}])


def test_labels_that_do_not_begin_at_zero_are_told() -> None:
    X, y = make_arrays()
    with pytest.warns(UserWarning, match="1.*4.*5"):
        pydarts.search((X, y + 1), make_config(epochs=1))


def test_data_with_their_settings_are_not_the_images(tmp_path: Path) -> None:
    X, y = make_arrays()
    np.savez(tmp_path / "x.npz", x_train=X, y_train=y)
    with pytest.raises(pydarts.DataError, match=r"ImageData.*train"):
        pydarts.search(pydarts.datasets.npz(tmp_path / "x.npz"), make_config())  # type: ignore[arg-type]
