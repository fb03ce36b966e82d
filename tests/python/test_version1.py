"""Folders that version 1 wrote are continued and loaded."""

import shutil
from pathlib import Path
from typing import Any

import pydarts
import pytest
import trained
from conftest import make_arrays
from many import plain, recorded

# Version 1 wrote genotypes as flat lists of edges and the field `tune`.
EARLIER = Path(__file__).parents[1] / "fixtures" / "version1"


def training(folder: Path, loader: Any, **changes: Any) -> pydarts.TrainResult:
    """The second epoch of a training of version 1."""
    network = trained.network(channels=2, layers=1)
    fields = {"epochs": 2, "checkpoint_dir": folder, "resume": True}
    return pydarts.train(network, loader, trained.config(**(fields | changes)))


@pytest.fixture
def copied(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a folder of version 1 that a test may write to."""
    shutil.copytree(EARLIER / request.param, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("copied", ["training/loader"], indirect=True)
def test_a_training_on_a_loader_continues_as_version_1_would(copied: Path) -> None:
    found = training(copied, (trained.batches(), trained.batches(1)))
    expected = pydarts.TrainResult.load(EARLIER / "training" / "loader_result")
    assert found.status == "complete" and len(found.history) == 2
    assert trained.same(found.network, expected.network)


@pytest.mark.parametrize("copied", ["training/arrays"], indirect=True)
def test_a_training_on_arrays_continues_with_a_warning_about_the_order(copied: Path) -> None:
    with pytest.warns(UserWarning, match="order"):
        found = training(copied, make_arrays())
    assert found.status == "complete" and len(found.history) == 2
    with pytest.warns(UserWarning) as caught:  # about the epochs only: the new checkpoint has the new order
        training(copied, make_arrays(), epochs=3)
    assert ["epochs" in str(warning.message) for warning in caught] == [True]


@pytest.mark.parametrize("copied", ["training/loader"], indirect=True)
def test_a_training_of_another_cell_is_still_refused(copied: Path) -> None:
    loader = (trained.batches(), trained.batches(1))
    with pytest.raises(pydarts.CheckpointError, match="weight_lr"):
        training(copied, loader, weight_lr=0.1)
    cell = trained.CELL.to_dict() | {"normal": [[["skip_connect", 0], ["skip_connect", 1]]]}
    network = pydarts.build(
        pydarts.Genotype.from_dict(cell), channels=2, layers=1, num_classes=4, in_channels=1, stem="small"
    )
    config = trained.config(epochs=2, checkpoint_dir=copied, resume=True)
    with pytest.raises(pydarts.CheckpointError, match="normal"):
        pydarts.train(network, loader, config)


def many(folder: Path, **changes: Any) -> pydarts.SearchTable:
    """The searches that version 1 did in its folder, continued."""
    fields: dict[str, Any] = {
        "nodes": 1,
        "operations": ["none", "skip_connect", "max_pool_3x3"],
        "channels": 2,
    }
    fields |= {"layers": 1, "epochs": 1, "batch_size": 16, "device": "cpu", "progress": False}
    config = pydarts.SearchConfig(**(fields | {"checkpoint_dir": folder, "resume": True} | changes))
    select = pydarts.TrainConfig(epochs=1, batch_size=16, device="cpu")
    return pydarts.search_many(make_arrays(), config, seeds=1, select=select, random=1, workers=0)


@pytest.mark.filterwarnings("error", "ignore:.*contains no normal cell")
@pytest.mark.parametrize("copied", ["many"], indirect=True)
def test_searches_that_version_1_finished_are_not_repeated(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pydarts.SearchTable.load(copied / "table.csv")
    done = recorded(monkeypatch)
    assert plain(many(copied)) == plain(expected) and not done
    with pytest.raises(pydarts.CheckpointError, match="weight_lr"):
        many(copied, weight_lr=0.1)


@pytest.mark.parametrize("copied", ["compared"], indirect=True)
def test_a_comparison_of_version_1_continues_with_equal_cells_only(copied: Path) -> None:
    select = pydarts.TrainConfig(
        epochs=1, batch_size=16, device="cpu", progress=False, checkpoint_dir=copied, resume=True
    )
    narrow = {"channels": 2, "layers": 1}
    table = pydarts.compare({"mine": trained.CELL}, make_arrays(), select, network=narrow, workers=0)
    assert [row.status for row in table] == ["complete"]
    cells = {"mine": pydarts.random_genotypes()[0]}
    with pytest.raises(pydarts.CheckpointError, match="normal"):
        pydarts.compare(cells, make_arrays(), select, network=narrow, workers=0)


@pytest.mark.filterwarnings("error")
def test_a_result_whose_output_omits_later_nodes_is_loaded() -> None:
    result = pydarts.SearchResult.load(EARLIER / "early_output")
    assert result.config.resolved_space.concat == result.genotype.normal_concat == (2, 3, 4)
    assert [target for *_, target in result.genotype.edges("reduce")] == [2, 2, 3, 3, 4, 4, 5, 5]
    assert result.genotype == result.trajectory.genotypes[-1]
