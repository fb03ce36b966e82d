"""The command line: every command, its answers for people and machines, its errors and exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from conftest import make_arrays, make_config
from pydarts_cli.answer import Answer, Problem, perform, waiting
from pydarts_cli.app import app
from pydarts_cli.data import Data, read, spec
from pydarts_cli.sources import read_genotype
from typer.testing import CliRunner

PATIENCE = 120.0  # seconds for a process on a busy machine
COMMANDS = ("search", "train", "compare", "plot", "report", "derive", "cost", "explain", "export", "doctor")
V2 = pydarts.genotypes.DARTS_V2


def words(text: str) -> list[str]:
    return text.split()


# What `make_config` says, as options.
TINY = words(
    "--channels 2 --layers 3 --nodes 2 --operations none,skip_connect,sep_conv_3x3 --epochs 2 --batch-size 8 "
    "--device cpu"
)
NARROW = words("--channels 2 --layers 3")


class Outcome:
    """Exit code and the two outputs of a command."""

    def __init__(self, *arguments: object) -> None:
        given = [str(argument) for argument in arguments]
        done = CliRunner().invoke(app, given, env={"COLUMNS": "200"}, prog_name="pydarts")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        self.code, self.out, self.err = done.exit_code, done.stdout, done.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def answered(*arguments: object) -> Outcome:
    """A command that goes well."""
    outcome = Outcome(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def refused(code: int, *arguments: object) -> str:
    """A command that fails; what it says, on one line."""
    outcome = Outcome(*arguments)
    assert outcome.code == code, outcome.out + outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    return " ".join(outcome.err.replace("│", " ").split())


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, tiny_result: pydarts.SearchResult) -> Path:
    """A folder with data, a run, and a training."""
    folder = tmp_path_factory.mktemp("cli")
    X, y = make_arrays()
    np.savez(folder / "data.npz", x_train=X, y_train=y, x_test=X[:16], y_test=y[:16])
    tiny_result.save(folder / "run")
    X, y = make_arrays()
    net = pydarts.build(tiny_result.genotype, channels=2, layers=3, num_classes=4, in_channels=1)
    training = pydarts.TrainConfig.quick(epochs=1, batch_size=8, progress=False)
    pydarts.train(net, (X, y), training).save(folder / "trained")
    return folder


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYDARTS_DEBUG", raising=False)


# --------------------------------------------------------------------------------------------- help and usage


def test_help_names_every_command() -> None:
    shown = answered("--help").out
    assert all(re.search(rf"^│ {name} ", shown, re.MULTILINE) for name in COMMANDS)
    assert "130 interrupted" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_takes_json(command: str) -> None:
    shown = answered(command, "--help").out
    assert f"$ pydarts {command}" in shown
    assert "--json" in shown and "--debug" in shown


def test_help_of_search_lists_every_field_with_its_default() -> None:
    shown = answered("search", "--help").out
    for name, value in pydarts.SearchConfig().to_dict().items():
        option = f"--{name.replace('_', '-')}"
        assert re.search(rf"{option}\s", shown), name
        if isinstance(value, (int, float)) and not isinstance(value, bool) and name in ("epochs", "layers"):
            assert re.search(rf"{option} .*\[default: {value}\]", shown), name


def test_help_of_train_lists_every_field_and_argument() -> None:
    shown = answered("train", "--help").out
    names = [*pydarts.TrainConfig().to_dict(), *pydarts.build(V2, channels=2, layers=1).arguments, "units"]
    for name in names:
        assert re.search(rf"--{name.replace('_', '-')}\s", shown), name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["search"], "Missing option '--data'"),
        (["search", "--data", "digits", "--epoch", "3"], "No such option: --epoch"),
        (["search", "--data", "digits", "--epochs", "x"], "'--epochs': 'x' is not a whole number"),
        (["search", "--data", "digit"], "did you mean digits?"),
        (["search", "--data", "npz:nowhere.npz"], "no file 'nowhere.npz'"),
        (["search", "--data", "npz"], "npz needs its place: npz:FILE"),
        (["search", "--data", "digits:x"], "stands alone"),
        (["search", "--data", "folder:nowhere"], "no folder 'nowhere'"),
        (["search", "--data", "corpus:nowhere"], "corpus:bundled is English"),
        (["search", "--data", "digits", "--epochs", "0"], "epochs"),
        (["search", "--data", "digits", "--hypergradient", "third"], "'third' is not first_order or"),
        (["train", "DARTS_V9", "--data", "digits"], "did you mean DARTS_V2?"),
        (["train", "DARTS_V2", "--data", "digits", "--inherit"], "--inherit takes the weights of a search"),
        (["derive", "DARTS_V2", "--notation", "yaml"], "'--notation': 'yaml' is not one of 'paper', 'json'"),
        (["nonsense"], "No such command 'nonsense'"),
        (["cost", "DARTS_V2", "--hypergradient", "unrolled"], "--hypergradient: of a search network"),
        (["cost", "--stem", "imagenet"], "--stem: of the network of a genotype"),
        (["derive", "DARTS_V2", "--at", "1"], "--at, -k and --space are for α"),
        (["compare", "a", "--random", "2"], "say on what with --data"),
    ],
)
def test_wrong_usage_is_exit_code_two_and_says_what_is_wrong(arguments: list[str], says: str) -> None:
    assert says in refused(2, *arguments)


def test_neither_help_nor_usage_errors_wait_for_pytorch() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom pydarts_cli.app import app\n"
        "codes = [CliRunner().invoke(app, line.split()).exit_code for line in ("
        "'--help', 'search --help', 'train --help', 'search --data digits --epochs x', 'search', "
        "'plot nowhere')]\n"
        "assert codes == [0, 0, 0, 2, 2, 1], codes\n"
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


def test_a_shell_completes_options_and_values() -> None:
    for words, wanted in (("pydarts se", "search"), ("pydarts search --hypergradient un", "unrolled_exact")):
        environment = os.environ | {
            "_PYDARTS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        done = subprocess.run(
            [sys.executable, "-c", "from pydarts_cli import main; main()"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert wanted in done.stdout.split(), done.stderr


def test_version() -> None:
    assert answered("--version").out == f"pydarts {pydarts.__version__}\n"


# ----------------------------------------------------------------------------------------------------- search


def test_a_search_is_the_one_of_python_and_leaves_its_folder(places: Path) -> None:
    outcome = answered("search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--json", "--out", "run")
    told, found = outcome.json, pydarts.SearchResult.load("run")
    assert (told["status"], told["epochs"], told["out"]) == ("complete", 2, "run")
    assert pydarts.Genotype.from_dict(told["genotype"]) == found.genotype
    assert told["last"]["valid_accuracy"] == found.history[-1].valid_accuracy
    assert list(Path("run/checkpoints").glob("*.safetensors"))
    data = pydarts.datasets.npz(places / "data.npz")
    same = pydarts.search(data.train, make_config(**data.settings))
    assert all(np.array_equal(found.alphas[name], same.alphas[name]) for name in same.alphas)


def test_a_search_shows_its_genotype_and_what_to_do_next(places: Path) -> None:
    outcome = answered("search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--epochs", "1")
    assert "complete after 1 epoch" in outcome.out and "validation accuracy" in outcome.out
    assert str(pydarts.SearchResult.load("run").genotype) in outcome.out
    assert "pydarts report run" in outcome.err


class Stop(pydarts.Callback):
    """Raises after the second step."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_step(self, info: pydarts.StepInfo) -> None:
        if info.step == 1:
            raise self.error


def test_a_search_that_stops_in_its_first_epoch_says_its_steps(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = pydarts.search
    monkeypatch.setattr(
        pydarts, "search", lambda data, config: search(data, config, Stop(KeyboardInterrupt()))
    )
    outcome = Outcome("search", "--data", f"npz:{places / 'data.npz'}", *TINY)
    assert outcome.code == 130 and outcome.out.startswith("interrupted after 2 steps\n")
    assert pydarts.SearchResult.load("run").steps[-1] == 2
    error = LookupError()
    with pytest.raises(LookupError):
        search(make_arrays(), make_config(), Stop(error))
    for note in getattr(error, "__notes__", []):
        assert "the search stopped after 2 steps; what it reached" in note


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("json_alone", [True, False])
def test_a_terminal_is_told_at_once_what_takes_a_while(
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


def test_a_folder_with_a_run_is_kept_unless_it_goes_on(places: Path) -> None:
    command = ("search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--epochs", "1")
    answered(*command)
    before = Path("run/alphas.npz").read_bytes()
    assert "run already holds a run; go on with it (--resume)" in refused(1, *command)
    assert Path("run/alphas.npz").read_bytes() == before
    outcome = answered(*command, "--resume", "--epochs", "2")
    assert "warning: epochs rises from 1 to 2" in outcome.err
    assert len(pydarts.SearchResult.load("run").history) == 2
    assert "belongs to another search" in refused(1, *command, "--resume", "--seed", "5")
    assert len(pydarts.SearchResult.load("run").history) == 2, "a refusal writes over nothing"


def test_a_search_that_fails_says_why_in_a_line_and_keeps_what_it_reached(places: Path) -> None:
    command = ("search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--weight-lr", "1e30")
    said = refused(1, *command, "--grad-clip", "1e30")
    assert "kept in run error: " in said
    assert pydarts.SearchResult.load("run").status == "failed"


def test_data_that_do_not_fit_are_exit_code_one(places: Path) -> None:
    said = refused(1, "search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--batch-size", "40")
    assert said.startswith("error: ") and "batch_size" in said


def test_debug_brings_the_traceback(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("search", "--data", f"npz:{places / 'data.npz'}", *TINY, "--batch-size", "40")
    with pytest.raises(pydarts.DataError):
        Outcome(*command, "--debug")
    monkeypatch.setenv("PYDARTS_DEBUG", "1")
    with pytest.raises(pydarts.DataError):
        Outcome(*command)


def test_text_is_searched_with_the_recurrent_space() -> None:
    Path("text.txt").write_text("to be or not to be that is the question\n" * 40)
    sizes = words("--units 4 --nodes 2 --batch-size 2 --bptt 10 --epochs 1 --device cpu")
    told = answered("search", "--data", "corpus:text.txt", *sizes, "--json").json
    assert "recurrent" in told["genotype"]
    assert pydarts.SearchResult.load("run").config.space == "darts-rnn"


def opened(text: str, **choices: Any) -> Data:
    fields: dict[str, Any] = {
        "image_size": None,
        "batch_size": 2,
        "download": False,
        "workers": 0,
        "words": None,
    }
    return read(spec(text), **(fields | choices))


def test_the_bundled_english_has_the_words_asked_for() -> None:
    data = opened("corpus:bundled", words=50)
    train, valid = data.search
    assert data.sizes == {"vocabulary": 50} and len(train) > 5 * len(valid) > 1000


def test_a_folder_of_images_is_read_in_the_size_asked_for() -> None:
    pytest.importorskip("torchvision")
    from PIL import Image

    for part in ("train", "valid"):
        for kind in ("cat", "dog"):
            Path(f"images/{part}/{kind}").mkdir(parents=True)
            Image.new("RGB", (20, 20)).save(f"images/{part}/{kind}/one.png")
    data = opened("folder:images", image_size=(8, 8))
    images, _ = next(iter(data.search))
    assert images.shape == (2, 3, 8, 8) and data.sizes == {"num_classes": 2, "in_channels": 3}
    with pytest.raises(Problem, match="cropped to squares"):
        opened("folder:images", image_size=(8, 9))
    with pytest.raises(Problem, match="need a number"):
        opened("folder:images", batch_size="auto")
    with pytest.raises(Problem, match="train and val"):
        opened("folder:images/train")


# -------------------------------------------------------------------------------------------------- file.toml


def toml(text: str) -> Path:
    Path("file.toml").write_text(text)
    return Path("file.toml")


def test_a_file_gives_options_and_the_command_line_wins(places: Path) -> None:
    file = toml(
        f"data = 'npz:{places / 'data.npz'}'\nout = 'filed'\nchannels = 2\nlayers = 3\nnodes = 2\n"
        "operations = ['none', 'skip_connect', 'sep_conv_3x3']\nepochs = 9\nbatch-size = 8\n"
        "arch_betas = [0.9, 0.99]\ndevice = 'cpu'\n"
    )
    answered("search", "--config", file, "--epochs", "1")
    config = pydarts.SearchResult.load("filed").config
    assert (config.epochs, config.batch_size, config.arch_betas, config.channels) == (1, 8, (0.9, 0.99), 2)


def test_a_file_with_tables_serves_several_commands() -> None:
    file = toml("[explain]\nlayers = 3\n[search]\nnonsense = 1\n")
    assert answered("explain", "--config", file, "--json").json["config"]["layers"] == 3


def test_a_file_may_describe_a_space_of_its_own() -> None:
    file = toml("layers = 3\n[space]\noperations = ['none', 'conv_1x1']\nnodes = 1\n")
    told = answered("explain", "--config", file, "--json").json
    assert told["config"]["space"]["operations"] == ["none", "conv_1x1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch = 3\n", "search has no option 'epoch'; did you mean 'epochs'?"),
        ("epochs = \n", "is not TOML"),
        ("epochs = 'many'\n", "'many' is not a whole number"),
        ("epochs = 1\n[search]\nlayers = 3\n", "beside the tables of commands"),
    ],
)
def test_a_file_that_is_wrong_is_refused(text: str, says: str) -> None:
    assert says in refused(2, "search", "--data", "digits", "--config", toml(text))


def test_a_file_that_is_not_there_is_refused() -> None:
    assert "no.toml: No such file" in refused(2, "search", "--data", "digits", "--config", "no.toml")


# ---------------------------------------------------------------------------------------- train, export, cost


def test_a_run_is_trained_and_exported(places: Path) -> None:
    command = ("train", places / "run", "--data", f"npz:{places / 'data.npz'}", "--preset", "quick", *NARROW)
    options = (
        "--epochs",
        "1",
        "--warmup",
        "0",
        "--batch-size",
        "8",
        "--inherit",
        "--drop-path",
        "0.1",
        "--out",
        "net",
    )
    told = answered(*command, *options, "--json").json
    found = pydarts.TrainResult.load("net")
    assert (told["status"], told["epochs"]) == ("complete", 1)
    assert found.config.learning_rate == 0.1, "of the preset"
    assert found.network.arguments["drop_path"] == 0.1 and found.network.arguments["num_classes"] == 4
    assert told["network"] == found.network.arguments
    assert "already holds a run" in refused(1, *command, "--out", "net")
    answered(*command, *options, "--resume", "--epochs", "2")
    assert len(pydarts.TrainResult.load("net").history) == 2
    before = Path("net/network.safetensors").read_bytes()
    assert "of another training" in refused(1, *command, *options, "--resume", "--momentum", "0.5")
    assert Path("net/network.safetensors").read_bytes() == before, "a refusal writes over nothing"
    told = answered("export", "net", "net.pt2", "--image-size", "8", "--json").json
    assert told["bytes"] == Path("net.pt2").stat().st_size > 10_000
    answered("export", "net", "net.safetensors")
    assert pydarts.load_network("net.safetensors").genotype == found.network.genotype


def test_an_export_of_something_else_is_refused(places: Path) -> None:
    assert "neither the folder of a training" in refused(1, "export", places / "run", "x.pt2")
    assert "the name must end in" in refused(2, "export", places / "trained", "x.zip")


def test_cost_is_that_of_python(places: Path) -> None:
    told = answered("cost", "DARTS_V2", "--json").json
    assert (told["weights"], told["multiply_adds"]) == (3349342, 528359040)
    told = answered(
        "cost", "DARTS_V2", "--channels", "4", "--layers", "3", "--image-size", "16", "--json"
    ).json
    built = pydarts.build(V2, channels=4, layers=3)
    assert told["multiply_adds"] == pydarts.cost(built, image_size=16)["multiply_adds"]
    told = answered("cost", places / "trained", "--image-size", "8", "--json").json
    assert told["network"]["channels"] == 2
    told = answered("cost", *NARROW, "--batch-size", "2", "--json").json
    config = pydarts.SearchConfig(channels=2, layers=3, batch_size=2)
    assert told == pydarts.Supernet(config=config).cost() | {"image_size": [32, 32]}
    assert (
        f"{pydarts.cost(built)['weights']:,}"
        in answered("cost", "DARTS_V2", *words("--channels 4 --layers 3")).out
    )


def test_cost_of_a_run_is_that_of_a_network_for_its_data(
    places: Path, tiny_result: pydarts.SearchResult
) -> None:
    sizes = tiny_result.config
    built = pydarts.build(
        tiny_result.genotype, channels=4, layers=3, num_classes=sizes.num_classes, in_channels=1
    )
    command = ("cost", places / "run", *words("--channels 4 --layers 3"))
    told = answered(*command, "--json").json
    assert sizes.image_size == (8, 8) and told["image_size"] == [8, 8]
    assert told["network"] == built.arguments
    assert told["multiply_adds"] == pydarts.cost(built, image_size=8)["multiply_adds"]
    assert re.search(r"image size +8x8", answered(*command).out)
    other = answered(*command, *words("--num-classes 7 --in-channels 2 --image-size 12,16"), "--json").json
    assert (other["network"]["num_classes"], other["network"]["in_channels"]) == (7, 2)
    assert other["image_size"] == [12, 16]
    large = answered("cost", "DARTS_V2", *NARROW, "--stem", "imagenet", "--json").json
    assert large["image_size"] == [224, 224]


def test_cost_of_a_run_on_text_counts_its_words() -> None:
    config = pydarts.SearchConfig(
        space="darts-rnn", units=4, nodes=2, batch_size=2, bptt=5, epochs=1, device="cpu", progress=False
    )
    text = np.arange(80) % 30
    pydarts.search((text, text), config).save("run")
    told = answered("cost", "run", "--units", "8", "--json").json
    assert told["network"]["vocabulary"] == 30 and "image_size" not in told


def test_explain_shows_the_plan_of_choices_and_of_runs(places: Path) -> None:
    shown = answered("explain", *NARROW).out
    assert shown == pydarts.Supernet(channels=2, layers=3).explain() + "\n"
    told = answered("explain", places / "run", "--json").json
    assert told["config"]["nodes"] == 2 and told["cost"]["weights"] > 0


def test_what_a_library_prints_keeps_out_of_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    def chatter(*_: Any, **__: Any) -> dict[str, int]:
        print("by the way")
        return {"weights": 1}

    monkeypatch.setattr(pydarts, "cost", chatter)
    outcome = answered("cost", "DARTS_V2", *NARROW, "--json")
    assert outcome.json["weights"] == 1 and outcome.err == "by the way\n"


# ---------------------------------------------------------------------------------------------- derive, looks


@pytest.mark.parametrize("notation", ["paper", "json", "nni", "nasbench301"])
def test_a_genotype_goes_out_and_comes_back_in_every_notation(notation: str) -> None:
    Path("cell.txt").write_text(answered("derive", "DARTS_V2", "--notation", notation).out)
    back = answered("derive", "cell.txt", "--json").json
    again = read_genotype(Path("cell.txt").read_text())
    assert back["notation"] == str(again)
    assert again == V2 or again.to_nasbench301() == V2.to_nasbench301()


def test_a_cell_goes_out_as_dot() -> None:
    assert answered("derive", "DARTS_V2", "--notation", "dot").out.startswith("digraph")


def test_derive_reads_runs_and_archives_at_any_point(places: Path, tiny_result: pydarts.SearchResult) -> None:
    assert answered("derive", places / "run").out == f"{tiny_result.genotype}\n"
    first = answered("derive", places / "run", "--at", "0").out
    assert first == f"{tiny_result.trajectory.genotypes[0]}\n"
    rng = np.random.default_rng(0)
    alphas = {"normal": rng.normal(size=(3, 14, 8)), "reduce": rng.normal(size=(3, 14, 8))}
    np.savez("alphas.npz", **alphas)
    for at in (0, -1):
        wanted = pydarts.derive({name: values[at] for name, values in alphas.items()})
        assert answered("derive", "alphas.npz", "--at", at).out == f"{wanted}\n"
    assert "has 3 points, 0 to 2" in refused(2, "derive", "alphas.npz", "--at", "3")


def test_what_is_no_run_is_refused_with_what_would_make_one(places: Path) -> None:
    said = refused(1, "plot", "nowhere")
    assert "`pydarts search --data digits --out nowhere` makes one" in said
    remedy = re.search(r"`pydarts (.*)`", said)
    assert remedy
    answered(*words(remedy[1]), *TINY, "--epochs", "1")
    assert "complete" in answered("compare", "nowhere").out, "the remedy works as it is said"
    Path("begun/checkpoints").mkdir(parents=True)
    assert "of that search again, with --resume" in refused(1, "report", "begun")
    Path("begun/checkpoints/training-000001.safetensors").touch()
    assert "of that training again, with --resume" in refused(1, "report", "begun")
    assert "holds no result of a search" in refused(1, "compare", places)
    Path("broken.json").write_text('{"normal": 3}')
    assert "broken.json: " in refused(1, "derive", "broken.json")


@pytest.mark.parametrize("command", ["report", "compare", "explain"])
def test_a_training_is_not_taken_for_a_search(places: Path, command: str) -> None:
    shutil.copytree(places / "trained", "trained")
    Path("trained/checkpoints").mkdir()
    said = refused(1, command, "trained")
    assert said == "error: trained holds a training, and no search; `pydarts plot trained` draws it"


def test_the_cell_of_a_training_is_read_where_a_genotype_is_taken(places: Path) -> None:
    assert answered("derive", places / "trained").out == answered("derive", places / "run").out


def test_a_broken_run_is_refused_by_the_name_of_the_file(places: Path) -> None:
    shutil.copytree(places / "run", "run")
    Path("run/history.json").write_text("[")
    assert re.search(r"error: \S*history.json is truncated or malformed", refused(1, "plot", "run"))


def test_a_search_is_drawn_a_file_a_picture(places: Path) -> None:
    told = answered("plot", places / "run", "--out", "pictures", "--dpi", "40", "--json").json
    names = [Path(file).name for file in told["files"]]
    kinds = ("alphas", "weights", "cells", "supernet", "entropy", "skips", "losses", "accuracies")
    assert names == [f"{kind}.png" for kind in kinds]
    assert all(Path(file).read_bytes().startswith(b"\x89PNG") for file in told["files"])


def test_chosen_pictures_are_drawn_in_the_format_and_at_the_point_asked_for(places: Path) -> None:
    answered(
        "plot", places / "run", "weights", "animation", "--at", "0", "--format", "svg", "--out", "pictures"
    )
    assert sorted(path.name for path in Path("pictures").iterdir()) == ["animation.gif", "weights.svg"]
    assert Path("pictures/animation.gif").read_bytes().startswith(b"GIF")
    assert "there is alphas" in refused(2, "plot", places / "run", "nonsense")
    assert "no table" in refused(2, "plot", places / "run", "alphas", "--cell", "recurrent")
    assert "has 3 points" in refused(2, "plot", places / "run", "--at", "3")


def test_a_training_is_drawn_too(places: Path) -> None:
    told = answered("plot", places / "trained", "--out", "pictures", "--dpi", "40", "--json").json
    assert [Path(file).name for file in told["files"]] == ["losses.png", "accuracies.png", "cells.png"]


def test_a_report_is_a_page(places: Path) -> None:
    told = answered("report", places / "run", "--out", "page.html", "--json").json
    assert told["file"] == "page.html" and "<html" in Path("page.html").read_text()
    assert "no.csv" in refused(1, "report", places / "run", "--table", "no.csv")


# ---------------------------------------------------------------------------------------------------- compare


def test_runs_are_compared_side_by_side(places: Path, tiny_result: pydarts.SearchResult) -> None:
    tiny_result.save("other")
    outcome = answered("compare", places / "run", "other", "--plot", "both.png")
    assert re.search(r"^\s*run\s+complete\s+darts\s+first_order\s+0\s+2\s", outcome.out, re.MULTILINE)
    assert "1 different cell" in outcome.out and Path("both.png").stat().st_size > 5_000
    told = answered("compare", places / "run", "other", "--json").json
    first, second = told["runs"]
    assert first | {"run": ""} == second | {"run": ""}
    assert first["validation"] == tiny_result.history[-1].valid_accuracy
    assert "named twice" in refused(2, "compare", "other", "other")


def test_cells_are_trained_alike_beside_chance(places: Path) -> None:
    short = ("--epochs", "1", "--batch-size", "8", "--workers", "0", "--random", "1", *NARROW)
    data = f"npz:{places / 'data.npz'}"
    told = answered("compare", places / "run", "DARTS_V2", "--data", data, *short, "--json").json
    assert [(row["name"], row["origin"]) for row in told["rows"]] == [
        ("run", "searched"), ("DARTS_V2", "given"), ("random 0", "random"),
    ]  # fmt: skip
    assert told["status"] == "complete" and told["best"] in ("run", "DARTS_V2")
    assert len(pydarts.SearchTable.load("compared/table.csv")) == 3


# ----------------------------------------------------------------------------------------------------- doctor


def test_the_doctor_finds_this_installation_well() -> None:
    told = answered("doctor", "--json").json
    states = {check["name"]: check["state"] for check in told["checks"]}
    assert told["healthy"] and "broken" not in states.values()
    assert {"Python", "PyTorch", "pydarts", "libtorch", "numpy", "devices", "cache", "search"} <= set(states)
    assert "all is well" in answered("doctor").out


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("sys.modules['torch'] = None", "pip install 'torch>=2.11,<2.12'"),
        ("sys.modules['pydarts._core'] = None", "--force-reinstall"),
    ],
    ids=["torch", "extension"],
)
def test_the_doctor_says_what_is_broken_and_how_to_mend_it(before: str, says: str) -> None:
    code = f"import os, sys\n{before}\nsys.argv = ['pydarts', 'doctor']\nfrom pydarts_cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1, done.stderr
    assert says in done.stdout and "broken: " in done.stdout and "Traceback" not in done.stderr


def test_the_doctor_names_a_cache_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("")
    monkeypatch.setenv("PYDARTS_CACHE_DIR", str(Path("file/cache").resolve()))
    outcome = Outcome("doctor")
    assert outcome.code == 1
    assert "set PYDARTS_CACHE_DIR" in outcome.out and "broken: cache" in outcome.out


# -------------------------------------------------------------------------------------------- real processes


@pytest.mark.skipif(os.name != "posix", reason="SIGINT to another process is POSIX's")
def test_ctrl_c_keeps_the_partial_result_and_the_same_command_goes_on(places: Path) -> None:
    options = ("--epochs", "16", "--data", f"npz:{places / 'data.npz'}", "--out", "run", "--json")
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
    told = json.loads(out)
    assert told["status"] == "interrupted" and told["epochs"] < 16
    assert "--resume goes on" in err and "Traceback" not in err
    assert pydarts.SearchResult.load("run").status == "interrupted"
    outcome = answered("search", *TINY, *options, "--resume")
    assert outcome.json["status"] == "complete" and outcome.json["epochs"] == 16
    whole = answered("search", *TINY, *options, "--out", "whole").json
    assert whole["last"] | {"seconds": 0} == outcome.json["last"] | {"seconds": 0}


def test_the_reader_of_a_pipe_may_go_early() -> None:
    done = subprocess.run(
        f"{sys.executable} -m pydarts explain --layers 3 | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout.strip() and "Traceback" not in done.stderr
