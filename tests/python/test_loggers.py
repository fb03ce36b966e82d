"""`pydarts.loggers`: what they write is what the search said, every epoch once, also where it went on."""

import csv
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from conftest import Stop, make_arrays, make_config
from pydarts import Callback, SearchResult, loggers, search
from pydarts._loggers.base import Logger, names, numbers
from pydarts._results.tables import tables_of

pytestmark = pytest.mark.filterwarnings("ignore:epochs rises")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def changes(result: SearchResult) -> list[int]:
    """The epochs after which the cell was another than before, the first among them."""
    cells = [genotype.edge_set for genotype in result.trajectory.genotypes[1:]]
    return [epoch for epoch, cell in enumerate(cells) if epoch == 0 or cell != cells[epoch - 1]]


# ---- what they share


def test_the_numbers_of_an_epoch_are_those_of_the_history_as_a_table(tiny_result: SearchResult) -> None:
    table = tiny_result.history.to_pandas()
    row = numbers(tiny_result.history[1])
    assert list(row) == names(tiny_result.tables)
    assert row == {name: float(value) for name, value in table.iloc[1].items() if name != "epoch"}


def test_of_words_there_are_perplexities() -> None:
    config = pydarts.SearchConfig(space="darts-rnn")
    known = names(tables_of(config.resolved_space))
    assert {"train_perplexity", "valid_perplexity", "entropy_recurrent"} <= set(known)
    record = pydarts.EpochRecord(0, 1.0, 2.0, 0.5, 0.5, 20.0, {"recurrent": 1.5}, 0, 1.0)
    assert numbers(record)["valid_perplexity"] == pytest.approx(np.exp(2.0))


@pytest.mark.parametrize("error", [None, KeyboardInterrupt(), LookupError()], ids=["end", "Ctrl-C", "error"])
def test_a_log_is_closed_once_whatever_ends_the_search(error: BaseException | None) -> None:
    told: list[str] = []

    class Log(Logger):
        def _begin(self, info: Any) -> None:
            told.append("open")

        def _write(self, epoch: int, info: Any, row: Any) -> None:
            told.append(f"epoch {epoch}")

        def _finish(self, result: SearchResult) -> None:
            told.append(result.status)

    callbacks: list[Callback] = [Log()] if error is None else [Stop(error), Log()]
    try:
        search(make_arrays(), make_config(), callbacks)
    except LookupError as caught:
        assert caught is error
    ends = {None: ["epoch 1", "complete"], KeyboardInterrupt: ["interrupted"], LookupError: ["failed"]}
    assert told == ["open", "epoch 0", *ends[None if error is None else type(error)]]


@pytest.mark.parametrize(
    ("logger", "module", "package"),
    [
        ("TensorBoard", "torch.utils.tensorboard", "tensorboard"),
        ("MLflow", "mlflow", "mlflow"),
        ("WeightsAndBiases", "wandb", "wandb"),
    ],
)
def test_the_error_for_a_missing_package_names_it(
    logger: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{logger}.*pip install {package}$"):
        getattr(loggers, logger)("anything")


# ---- CSV


def test_a_table_has_a_row_an_epoch(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.csv"
    result = search(make_arrays(), make_config(), loggers.CSV(path))
    rows = rows_of(path)
    assert [int(row["epoch"]) for row in rows] == [0, 1]
    for row, record, genotype in zip(rows, result.history, result.trajectory.genotypes[1:], strict=True):
        assert float(row["valid_loss"]) == record.valid_loss
        assert float(row["entropy_reduce"]) == record.entropy["reduce"]
        assert float(row["skip_connections"]) == record.skip_connections
        assert pydarts.Genotype.from_notation(row["genotype"]) == genotype


def test_the_file_of_alpha_has_the_strengths(tmp_path: Path) -> None:
    path = tmp_path / "alphas.csv"
    result = search(make_arrays(), make_config(), loggers.CSV(tmp_path / "log.csv", alphas=path))
    rows = rows_of(path)
    space = result.config.resolved_space
    assert len(rows) == 2 * 2 * len(space.edges) * len(space.operations)
    for row in rows:
        edge = space.edges.index((int(row["source"]), int(row["target"])))
        weights = result.trajectory.weights(row["table"], int(row["epoch"]) + 1)
        assert float(row["weight"]) == weights[edge, space.operations.index(row["operation"])]


def test_a_row_can_be_read_as_soon_as_its_epoch_is_over(tmp_path: Path) -> None:
    seen: list[int] = []

    class Read(Callback):
        def on_epoch(self, info: pydarts.EpochInfo) -> None:
            seen.append(len(rows_of(tmp_path / "log.csv")))

    search(make_arrays(), make_config(), [loggers.CSV(tmp_path / "log.csv"), Read()])
    assert seen == [1, 2]


def test_a_search_that_goes_on_has_every_epoch_once(tmp_path: Path) -> None:
    path, weights = tmp_path / "log.csv", tmp_path / "alphas.csv"
    config = make_config(epochs=2, checkpoint_dir=str(tmp_path / "run"))
    search(make_arrays(), config, loggers.CSV(path, weights))
    lines = path.read_text().splitlines(keepends=True)
    # It was killed after the row of an epoch that no checkpoint has, at the first digit of another row.
    path.write_text("".join([*lines, lines[-1].replace("1,", "2,", 1), "1"]))
    result = search(make_arrays(), config.replace(epochs=4, resume=True), loggers.CSV(path, weights))
    rows = rows_of(path)
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3]
    assert [float(row["valid_loss"]) for row in rows] == [record.valid_loss for record in result.history]
    epochs = [int(row["epoch"]) for row in rows_of(weights)]
    assert epochs == sorted(epochs) and len(epochs) == 4 * epochs.count(0)


def test_the_first_run_may_already_ask_to_go_on(tmp_path: Path) -> None:
    config = make_config(epochs=1, checkpoint_dir=str(tmp_path / "run"), resume=True)
    search(make_arrays(), config, loggers.CSV(tmp_path / "log.csv"))
    search(make_arrays(), config, loggers.CSV(tmp_path / "log.csv"))  # nothing left to do
    assert [row["epoch"] for row in rows_of(tmp_path / "log.csv")] == ["0"]


def test_a_table_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("dear,diary\n")
    with pytest.raises(FileExistsError, match=r"log\.csv.*resume=True") as caught:
        search(make_arrays(), make_config(), loggers.CSV(path))
    assert path.read_text() == "dear,diary\n"
    assert caught.value.result.steps == (0,)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="dear,diary"):
        search(
            make_arrays(), make_config(resume=True, checkpoint_dir=str(tmp_path / "run")), loggers.CSV(path)
        )
    assert path.read_text() == "dear,diary\n"


def test_of_two_files_none_is_begun_where_one_is_refused(tmp_path: Path) -> None:
    table, alphas = tmp_path / "log.csv", tmp_path / "alphas.csv"
    alphas.write_text("dear,diary\n")
    with pytest.raises(FileExistsError, match=r"alphas\.csv"):
        search(make_arrays(), make_config(), loggers.CSV(table, alphas))
    assert not table.exists() and alphas.read_text() == "dear,diary\n"
    alphas.unlink()
    search(make_arrays(), make_config(epochs=1), loggers.CSV(table, alphas))
    assert len(rows_of(table)) == 1


def test_a_failed_search_leaves_the_rows_of_its_epochs(tmp_path: Path) -> None:
    log = loggers.CSV(tmp_path / "log.csv")
    with pytest.raises(LookupError):
        search(make_arrays(), make_config(), [log, Stop(LookupError())])
    assert [row["epoch"] for row in rows_of(tmp_path / "log.csv")] == ["0"]
    assert log._table._file is None


# ---- TensorBoard


def events_in(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = accumulator.EventAccumulator(
            str(folder), size_guidance={"images": 0, "tensors": 0, "scalars": 0}
        )
        return found.Reload()


def test_tensorboard_has_numbers_alpha_cells_and_the_configuration(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    result = search(make_arrays(), make_config(epochs=3), loggers.TensorBoard(tmp_path))
    events = events_in(tmp_path)
    losses = events.Scalars("search/valid_loss")
    assert [event.step for event in losses] == [0, 1, 2]
    assert [event.value for event in losses] == pytest.approx(
        [r.valid_loss for r in result.history], rel=1e-6
    )
    assert len(events.Scalars("search/learning_rate")) == 3
    weights = result.trajectory.weights("reduce", slice(1, None))[:, 4, 1]
    found = [event.value for event in events.Scalars("alpha/reduce/2_3/skip_connect")]
    assert found == pytest.approx(weights.tolist(), rel=1e-6)
    assert len([tag for tag in events.Tags()["scalars"] if tag.startswith("alpha/")]) == 2 * 5 * 3

    pictures = events.Images("cells")
    assert [event.step for event in pictures] == changes(result)
    assert pictures[0].encoded_image_string.startswith(b"\x89PNG") and pictures[0].width > 400
    texts = events.Tensors("genotype/text_summary")
    assert str(result.trajectory.genotypes[1]) in texts[0].tensor_proto.string_val[0].decode()
    config = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert json.loads(config.removeprefix("```json").removesuffix("```")) == result.config.to_dict()


def test_tensorboard_has_a_chart_an_edge_and_hyperparameters(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.plugins.custom_scalar import layout_pb2

    result = search(make_arrays(), make_config(), loggers.TensorBoard(tmp_path))
    events = events_in(tmp_path)
    proto = layout_pb2.Layout()
    proto.ParseFromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {category.title: list(category.chart) for category in proto.category}
    assert [len(charts[name]) for name in ("search", "normal", "reduce")] == [2, 5, 5]
    scalars = events.Tags()["scalars"]
    for chart in (chart for part in charts.values() for chart in part):
        assert set(chart.multiline.tag) <= set(scalars), "a chart of curves that are there"
    best = max(record.valid_accuracy for record in result.history)
    assert events.Scalars("best/valid_accuracy")[0].value == pytest.approx(best, rel=1e-6)


def test_tensorboard_goes_on_and_shows_every_epoch_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    folder = tmp_path / "board"
    config = make_config(epochs=2, checkpoint_dir=str(tmp_path / "run"))
    search(make_arrays(), config, loggers.TensorBoard(folder))
    newest = max((tmp_path / "run").iterdir())
    newest.unlink()  # as if it had been killed before the last checkpoint
    # TensorBoard reads files in the order of their names: a second, then a count without leading zeros.
    time.sleep(1)
    result = search(make_arrays(), config.replace(epochs=3, resume=True), loggers.TensorBoard(folder))
    losses = events_in(folder).Scalars("search/train_loss")
    assert [event.step for event in losses] == [0, 1, 2]
    assert [event.value for event in losses] == pytest.approx(
        [r.train_loss for r in result.history], rel=1e-6
    )


def test_tensorboard_mixes_no_two_searches(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    config = make_config(epochs=1)
    with pytest.raises(LookupError):
        search(make_arrays(), config, [loggers.TensorBoard(tmp_path), Stop(LookupError(), step=2)])
    with pytest.raises(FileExistsError, match="folder"):
        search(make_arrays(), config, loggers.TensorBoard(tmp_path))


# ---- MLflow


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, str]:
    """A client of a store of files, and its address."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow")
    address = (tmp_path / "mlruns").as_uri()
    return mlflow.MlflowClient(tracking_uri=address), address


def runs_of(client: Any, experiment: str = "pydarts") -> list[Any]:
    return list(client.search_runs([client.get_experiment_by_name(experiment).experiment_id]))


def test_mlflow_has_parameters_metrics_and_artifacts(tracked: tuple[Any, str]) -> None:
    client, address = tracked
    log = loggers.MLflow("digits", run_name="first", tracking_uri=address, alphas=True)
    result = search(make_arrays(), make_config(epochs=3), log)
    (run,) = runs_of(client, "digits")
    assert run.info.status == "FINISHED" and run.info.run_name == "first"
    assert run.data.params["channels"] == "2" and run.data.params["space"] == "darts"
    history = client.get_metric_history(run.info.run_id, "valid_loss")
    assert [(m.step, m.value) for m in history] == [(r.epoch, r.valid_loss) for r in result.history]
    weights = client.get_metric_history(run.info.run_id, "alpha/normal/0_2/sep_conv_3x3")
    assert [m.value for m in weights] == result.trajectory.weights("normal", slice(1, None))[:, 0, 2].tolist()
    import mlflow.artifacts

    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, tracking_uri=address))
    pictures = sorted((folder / "cells").iterdir())
    assert [path.name for path in pictures] == [f"epoch_{epoch}.png" for epoch in changes(result)]
    assert pictures[0].read_bytes().startswith(b"\x89PNG")
    last = result.trajectory.genotypes[1 + changes(result)[-1]]
    assert pydarts.Genotype.from_json((folder / "genotype.json").read_text()) == last
    assert (folder / "genotype.txt").read_text() == str(last)


def test_mlflow_goes_on_in_the_same_run(tracked: tuple[Any, str], tmp_path: Path) -> None:
    client, address = tracked
    config = make_config(epochs=3, checkpoint_dir=str(tmp_path / "it's a run"))
    with pytest.raises(LookupError):
        search(make_arrays(), config, [loggers.MLflow(tracking_uri=address), Stop(LookupError(), step=7)])
    for checkpoint in Path(str(config.checkpoint_dir)).iterdir():  # so that both epochs are done again
        checkpoint.unlink()
    result = search(make_arrays(), config.replace(resume=True), loggers.MLflow(tracking_uri=address))
    (run,) = runs_of(client)
    history = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(m.step, m.value) for m in history] == [(r.epoch, r.train_loss) for r in result.history]
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "KILLED"), (LookupError(), "FAILED")], ids=["Ctrl-C", "error"]
)
def test_mlflow_says_how_a_search_ended(tracked: tuple[Any, str], error: BaseException, status: str) -> None:
    client, address = tracked
    try:
        search(make_arrays(), make_config(), [Stop(error), loggers.MLflow(tracking_uri=address)])
    except LookupError as caught:
        assert caught is error
    (run,) = runs_of(client)
    assert run.info.status == status and run.data.metrics["train_loss"] > 0


# ---- Weights & Biases


def test_weights_and_biases_keeps_a_run_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    wandb = pytest.importorskip("wandb")
    settings = wandb.Settings(console="off", x_disable_stats=True, disable_git=True)
    log = loggers.WeightsAndBiases("digits", mode="offline", dir=str(tmp_path), settings=settings)
    try:
        result = search(make_arrays(), make_config(), log)
    except wandb.errors.CommError as error:  # its own service did not start
        pytest.skip(f"Weights & Biases does not run here: {error}")
    wandb.teardown()
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (run,) = folder.glob("run-*.wandb")
    written = run.read_bytes()
    for word in ("digits", "arch_weight_decay", "valid_loss", "entropy_reduce", "learning_rate"):
        assert word.encode() in written, word
    assert str(result.trajectory.genotypes[1 + changes(result)[-1]]).encode() in written
    pictures = list((folder / "files" / "media" / "images").glob("cells_*.png"))
    assert len(pictures) == len(changes(result))
