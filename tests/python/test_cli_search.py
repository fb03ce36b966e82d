"""The command `search`: its result, its output, errors, Ctrl-C and resume."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from commands import PATIENCE, TINY, Outcome, answered, refused, words
from conftest import Stop, make_arrays, make_config
from pydarts_cli.answer import Answer, Problem, perform, waiting
from pydarts_cli.data import Data, read, spec

pytestmark = pytest.mark.usefixtures("somewhere")


def test_a_search_equals_the_search_in_python_and_saves_its_result(places: Path) -> None:
    outcome = answered("search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--json", "--out", "run")
    answer, found = outcome.json, pydarts.SearchResult.load("run")
    assert (answer["status"], answer["epochs"], answer["out"]) == ("complete", 2, "run")
    assert pydarts.Genotype.from_dict(answer["genotype"]) == found.genotype
    assert answer["last"]["valid_accuracy"] == found.history[-1].valid_accuracy
    assert list(Path("run/checkpoints").glob("*.safetensors"))
    data = pydarts.datasets.npz(places / "data.npz")
    same = pydarts.search(data.train, make_config(**data.settings))
    assert all(np.array_equal(found.alphas[name], same.alphas[name]) for name in same.alphas)


def test_a_search_shows_its_genotype_and_the_next_command(places: Path) -> None:
    outcome = answered("search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--epochs", "1")
    assert "complete after 1 epoch" in outcome.out and "validation accuracy" in outcome.out
    assert str(pydarts.SearchResult.load("run").genotype) in outcome.out
    assert "pydarts report run" in outcome.err


def test_a_search_interrupted_in_its_first_epoch_reports_its_steps(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = pydarts.search
    monkeypatch.setattr(
        pydarts, "search", lambda data, config: search(data, config, Stop(KeyboardInterrupt(), 1))
    )
    outcome = Outcome("search", "--data", f"npz:{places / 'data.npz'}", *TINY)
    assert outcome.code == 130 and outcome.out.startswith("interrupted after 2 steps\n")
    assert pydarts.SearchResult.load("run").steps[-1] == 2
    error = LookupError()
    with pytest.raises(LookupError):
        search(make_arrays(), make_config(), Stop(error, 1))
    for note in getattr(error, "__notes__", []):
        assert "2 steps" in note


def test_without_checkpoints_resume_is_not_suggested(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search = pydarts.search
    monkeypatch.setattr(
        pydarts, "search", lambda data, config: search(data, config, Stop(KeyboardInterrupt(), 1))
    )
    data = ("--data", f"npz:{places / 'data.npz'}")
    outcome = Outcome("search", *data, *TINY, "--checkpoint-dir", "none")
    assert outcome.code == 130 and "--resume" not in outcome.err


class Refuse(pydarts.Callback):
    """Raises an error before the first step of a search."""

    def on_start(self, info: pydarts.StartInfo) -> None:
        raise FileExistsError("log.csv is there already")


def test_a_search_without_a_step_saves_nothing_and_can_be_repeated(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, command = pydarts.search, ("search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--json")
    with monkeypatch.context() as patch:
        patch.setattr(pydarts, "search", lambda data, config: search(data, config, Refuse()))
        outcome = Outcome(*command)
    assert outcome.code == 1 and "log.csv" in outcome.err
    assert not list(Path("run").rglob("*.json")) and not list(Path("run").rglob("*.safetensors"))
    assert answered(*command).json["status"] == "complete"
    with pytest.raises(FileExistsError) as caught:
        search(make_arrays(), make_config(checkpoint_dir="other"), Refuse())
    for note in getattr(caught.value, "__notes__", []):
        assert "epoch" in note and "checkpoint" not in note


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("json_alone", [True, False])
def test_progress_messages_are_shown_only_at_a_terminal_and_without_json(
    terminal: bool, json_alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    screen, out = Screen(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", out)

    def work() -> Answer:
        with waiting("loading PyTorch …"):
            return Answer({}, [])

    assert perform(work, as_json=json_alone, debug=False) == 0
    assert ("loading PyTorch …" in screen.getvalue()) == (terminal and not json_alone)
    assert "loading" not in out.getvalue()


def test_a_folder_with_a_run_is_overwritten_only_by_resume(places: Path) -> None:
    command = ("search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--epochs", "1")
    answered(*command)
    before = Path("run/alphas.npz").read_bytes()
    assert "--resume" in refused(1, *command)
    assert Path("run/alphas.npz").read_bytes() == before
    outcome = answered(*command, "--resume", "--epochs", "2")
    assert re.search("warning: .*epochs.*1.*2", outcome.err)
    assert len(pydarts.SearchResult.load("run").history) == 2
    assert "seed" in refused(1, *command, "--resume", "--seed", "5")
    assert len(pydarts.SearchResult.load("run").history) == 2, "an error overwrites nothing"


def test_other_data_continue_a_run_only_by_force(places: Path) -> None:
    command = ("search", *TINY, "--epochs", "2", "--data")
    with np.load(places / "data.npz") as data:
        arrays = dict(data)
    np.savez("other.npz", **(arrays | {"y_train": arrays["y_train"][::-1]}))
    answered(*command, f"npz:{places / 'data.npz'}")
    other = "npz:other.npz"
    assert "labels" in refused(1, *command, other, "--resume")
    assert "labels" in answered(*command, other, "--force").err


def test_a_failed_search_reports_one_line_and_saves_its_partial_result(places: Path) -> None:
    command = ("search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--weight-lr", "1e30")
    said = refused(1, *command, "--grad-clip", "1e30")
    assert re.search(r"\brun error: .*NaN.*step 1", said)
    assert pydarts.SearchResult.load("run").status == "failed"


def test_too_few_data_for_a_batch_have_exit_code_one(places: Path) -> None:
    said = refused(1, "search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--batch-size", "40")
    assert said.startswith("error: ") and "batch_size=40" in said


def test_debug_shows_the_traceback(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--batch-size", "40")
    with pytest.raises(pydarts.DataError):
        Outcome(*command, "--debug")
    monkeypatch.setenv("PYDARTS_DEBUG", "1")
    with pytest.raises(pydarts.DataError):
        Outcome(*command)


def test_a_search_on_text_uses_the_recurrent_space() -> None:
    Path("text.txt").write_text("to be or not to be that is the question\n" * 40)
    sizes = words("--units 4 --nodes 2 --batch-size 2 --bptt 10 --epochs 1 --device cpu")
    answer = answered("search", "--data", "corpus:text.txt", *sizes, "--json").json
    assert "recurrent" in answer["genotype"]
    assert pydarts.SearchResult.load("run").config.space == "darts-rnn"


def test_a_search_on_sequences_and_what_follows_it() -> None:
    x = np.random.default_rng(0).normal(size=(40, 2, 13)).astype("float32")
    np.savez("waves.npz", x_train=x, y_train=np.arange(40) % 3)
    sizes = words("--channels 2 --layers 3 --nodes 1 --batch-size 8 --epochs 1 --device cpu")
    command = ("search", "--data", "npz:waves.npz", "--space", "darts-1d", *sizes, "--json")
    assert answered(*command).json["status"] == "complete"
    result = pydarts.SearchResult.load("run")
    assert (result.config.space, result.config.image_size) == ("darts-1d", (1, 13))
    assert answered("cost", "run", "--json").json["image_size"] == [13]
    trained = (
        "train",
        "run",
        "--data",
        "npz:waves.npz",
        "--preset",
        "quick",
        *words("--channels 2 --layers 3"),
    )
    assert answered(*trained, "--epochs", "1", "--batch-size", "8", "--out", "trained").code == 0
    answered("export", "trained", "net.pt2", "--image-size", "13")
    answered(
        "compare", "run", "--data", "npz:waves.npz", "--epochs", "1", "--batch-size", "8", "--workers", "0"
    )
    (notation := Path("cell.txt")).write_text(str(result.genotype))
    answered("cost", str(notation), "--image-size", "13", "--channels", "4", "--layers", "3")


def opened(text: str, **choices: Any) -> Data:
    fields: dict[str, Any] = {
        "image_size": None,
        "batch_size": 2,
        "download": False,
        "workers": 0,
        "words": None,
    }
    return read(spec(text), **(fields | choices))


def test_words_sets_the_vocabulary_of_the_bundled_english() -> None:
    data = opened("corpus:bundled", words=50)
    train, valid = data.search
    assert data.sizes == {"vocabulary": 50} and len(train) > 5 * len(valid) > 1000


def test_options_for_other_data_are_usage_errors() -> None:
    with pytest.raises(Problem, match=r"--words.*digits"):
        opened("digits", words=50)
    with pytest.raises(Problem, match=r"--download.*cifar10.*cifar100"):
        opened("corpus:bundled", download=True)


def test_image_size_sets_the_size_of_images_in_folders() -> None:
    pytest.importorskip("torchvision")
    from PIL import Image

    for part in ("train", "valid"):
        for kind in ("cat", "dog"):
            Path(f"images/{part}/{kind}").mkdir(parents=True)
            Image.new("RGB", (20, 20)).save(f"images/{part}/{kind}/one.png")
    data = opened("folder:images", image_size=(8, 8))
    images, _ = next(iter(data.search))
    assert images.shape == (2, 3, 8, 8) and data.sizes == {"num_classes": 2, "in_channels": 3}
    images, _ = next(iter(opened("folder:images", image_size=(8, 9)).search))
    assert images.shape == (2, 3, 8, 9)
    grey = opened("folder:images/train", image_size=8, grayscale=True)
    assert next(iter(grey.train))[0].shape == (2, 1, 8, 8) and grey.sizes["in_channels"] == 1
    with pytest.raises(Problem, match=r"^--grayscale .*digits"):
        opened("digits", grayscale=True)
    with pytest.raises(Problem, match=r"^--batch-size auto "):
        opened("folder:images", batch_size="auto")
    with pytest.raises(Problem, match=r"^images/train/cat .*train.*val"):
        opened("folder:images/train/cat")


EPOCHS = 40  # enough that the search is still running when the first checkpoint is found


@pytest.mark.skipif(os.name != "posix", reason="sending SIGINT to another process requires POSIX")
def test_loggers_write_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ("--data", "digits", "--channels", "2", "--layers", "3", "--epochs", "2", "--batch-size", "256")
    answered("search", *small, "--logger", "csv", "--logger", "csv:other.csv")
    for file in ("run/log.csv", "other.csv"):
        assert len((tmp_path / file).read_text().splitlines()) == 3, "names and two epochs"
    said = refused(2, "search", *small, "--logger", "tensorbord", "--out", "again")
    assert "tensorbord" in said and "tensorboard" in said


def test_ctrl_c_saves_the_partial_result_and_resume_continues(places: Path) -> None:
    options = ("--epochs", str(EPOCHS), "--data", f"npz:{places / 'data.npz'}", "--out", "run", "--json")
    command = [sys.executable, "-m", "pydarts", "search", *TINY, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + PATIENCE
    while not list(Path("run").glob("checkpoints/*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    answer = json.loads(out)
    assert answer["status"] == "interrupted" and answer["epochs"] < EPOCHS
    assert "--resume" in err and "Traceback" not in err
    assert pydarts.SearchResult.load("run").status == "interrupted"
    outcome = answered("search", *TINY, *options, "--resume")
    assert outcome.json["status"] == "complete" and outcome.json["epochs"] == EPOCHS
    whole = answered("search", *TINY, *options, "--out", "whole").json
    assert whole["last"] | {"seconds": 0} == outcome.json["last"] | {"seconds": 0}
