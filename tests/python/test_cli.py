"""The command line in general: help, usage errors, completion, config files, pipes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pydarts
import pytest
from commands import COMMANDS, NARROW, PATIENCE, V2, Outcome, answered, refused
from pydarts_cli.answer import Problem
from pydarts_cli.compare import _names

pytestmark = pytest.mark.usefixtures("somewhere")


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
    assert re.search(r"--preset\s", shown) and not re.search(r"--algorithm\s", shown)
    for name, value in pydarts.SearchConfig().to_dict().items():
        if name == "algorithm":  # --preset sets it
            continue
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
        (["search", "--data", "digits", "--epoch", "3"], "--epoch .*--epochs"),
        (["search", "--data", "digits", "--epochs", "x"], "'--epochs': .*'x'"),
        (["search", "--data", "digit"], "'--data': .*'digit'.*digits"),
        (["search", "--data", "npz:nowhere.npz"], r"'--data': .*'nowhere\.npz'"),
        (["search", "--data", "npz"], "'--data': .*npz:FILE"),
        (["search", "--data", "digits:x"], "'--data': .*':x'"),
        (["search", "--data", "folder:nowhere"], "'--data': .*folder 'nowhere'"),
        (["search", "--data", "corpus:nowhere"], "'--data': .*'nowhere'.*corpus:bundled"),
        (["search", "--data", "digits", "--epochs", "0"], "`epochs` is 0;"),
        (["search", "--data", "digits", "--hypergradient", "third"], "gradient` `third`.*first_order"),
        (["train", "DARTS_V9", "--data", "digits"], "'DARTS_V9'.*DARTS_V[12]"),
        (["train", "DARTS_V2", "--data", "digits", "--inherit"], "--inherit .*'DARTS_V2'"),
        (["derive", "DARTS_V2", "--notation", "yaml"], "'--notation': 'yaml'"),
        (["nonsense"], "command 'nonsense'"),
        (["cost", "DARTS_V2", "--hypergradient", "unrolled"], "--hypergradient: .*'DARTS_V2'"),
        (["cost", "--stem", "imagenet"], "error: --stem: "),
        (["derive", "DARTS_V2", "--at", "1"], "--at.* α.*'DARTS_V2'"),
        (["compare", "a", "--random", "2"], "--random: .*--data"),
    ],
)
def test_a_usage_error_has_exit_code_two_and_names_the_option_or_value(
    arguments: list[str], says: str
) -> None:
    assert re.search(says, refused(2, *arguments))


def test_help_and_usage_errors_do_not_import_pytorch() -> None:
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


def test_shell_completion_offers_commands_and_values() -> None:
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


def test_runs_with_equal_names_get_unique_names_from_their_paths() -> None:
    assert list(_names(["../a/run", "../b/run", "c"])) == ["a run", "b run", "c"]
    with pytest.raises(Problem, match="run"):
        _names(["run", "./run"])


def test_version() -> None:
    assert answered("--version").out == f"pydarts {pydarts.__version__}\n"


def toml(text: str) -> Path:
    Path("file.toml").write_text(text)
    return Path("file.toml")


def test_the_command_line_takes_precedence_over_a_config_file(places: Path) -> None:
    file = toml(
        f"data = 'npz:{places / 'data.npz'}'\nout = 'filed'\nchannels = 2\nlayers = 3\nnodes = 2\n"
        "operations = ['none', 'skip_connect', 'sep_conv_3x3']\nepochs = 9\nbatch-size = 8\n"
        "arch_betas = [0.9, 0.99]\ndevice = 'cpu'\n"
    )
    answered("search", "--config", file, "--epochs", "1")
    config = pydarts.SearchResult.load("filed").config
    assert (config.epochs, config.batch_size, config.arch_betas, config.channels) == (1, 8, (0.9, 0.99), 2)


def test_a_config_file_can_have_tables_for_several_commands() -> None:
    file = toml("[explain]\nlayers = 3\n[search]\nnonsense = 1\n")
    assert answered("explain", "--config", file, "--json").json["config"]["layers"] == 3


def test_a_config_file_can_set_the_json_option() -> None:
    answer = answered("explain", "--config", toml("layers = 3\njson = true\n")).json
    assert answer["config"]["layers"] == 3
    assert "'as_json'" in refused(2, "explain", "--config", toml("as_json = true\n"))


def test_a_config_file_can_define_a_space() -> None:
    file = toml("layers = 3\n[space]\noperations = ['none', 'conv_1x1']\nnodes = 1\n")
    answer = answered("explain", "--config", file, "--json").json
    assert answer["config"]["space"]["operations"] == ["none", "conv_1x1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch = 3\n", "'epochs'"),
        ("epochs = \n", "TOML"),
        ("epochs = 'many'\n", "'many'"),
        ("epochs = 1\n[search]\nlayers = 3\n", "epochs"),
    ],
)
def test_an_invalid_config_file_is_a_usage_error(text: str, says: str) -> None:
    assert says in refused(2, "search", "--data", "digits", "--config", toml(text))


def test_a_missing_config_file_is_a_usage_error() -> None:
    assert "no.toml" in refused(2, "search", "--data", "digits", "--config", "no.toml")


def test_a_closed_pipe_causes_no_traceback() -> None:
    done = subprocess.run(
        f"{sys.executable} -m pydarts explain --layers 3 | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout.strip() and "Traceback" not in done.stderr


LONG = "x" * 300
PATHS = [
    "search --data digits --out",
    "train DARTS_V2 --data digits --out",
    "compare DARTS_V2 --data digits --out",
    "compare run --plot",
    "report run --out",
    "report run --table",
    "plot run --out",
    "plot",
    "report",
    "explain",
    "export",
    "cost",
    "derive",
    "compare",
    "search --data",
    "search --data digits --config",
]


@pytest.mark.parametrize("command", PATHS)
def test_an_empty_path_is_refused_and_nothing_is_written(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["x.onnx"] if command == "export" else []
    refused(2, *command.split(), "", *more)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", [LONG, "ab/" * 2000, f"Genotype({LONG}", f"Genotype(normal=[({LONG!r}, 0)])"]
)
@pytest.mark.parametrize("command", ["plot", "report", "explain", "cost", "derive", "compare", "train"])
def test_a_long_argument_is_never_repeated(command: str, name: str, tmp_path: Path) -> None:
    more = ["--data", "digits", "--out", tmp_path / "out"] if command == "train" else []
    outcome = Outcome(command, name, *more)
    assert outcome.code in (1, 2) and outcome.out == ""
    assert "Traceback" not in outcome.err and "error" in outcome.err.casefold()
    assert name not in " ".join(outcome.err.split())
    for kind in ("npz", "folder", "corpus", LONG):
        assert LONG not in refused(2, "search", "--data", f"{kind}:{LONG}")


def test_the_text_of_a_genotype_is_a_genotype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in (str(V2), V2.to_json(), json.dumps(V2.to_nni())):
        assert answered("derive", text, "--json").json["genotype"] == V2.to_dict()
    assert (
        answered("cost", str(V2), *NARROW, "--json").json
        == answered("cost", "DARTS_V2", *NARROW, "--json").json
    )
    training = ["--data", "digits", "--epochs", "1", "--batch-size", "512", "--out", "trained", *NARROW]
    assert answered("train", str(V2), *training, "--json").json["genotype"] == V2.to_dict()
    refused(2, "compare", str(V2), "--data", "digits")
    (tmp_path / "a (1)").write_text(str(V2))
    assert answered("derive", "a (1)", "--json").json["genotype"] == V2.to_dict()


def test_a_warning_that_is_an_error_ends_a_command_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = (
        "--data digits --epochs 1 --channels 2 --layers 3 --batch-size 512 --arch-start-epoch 5 --out out"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert "error" in refused(1, "search", *options.split())
    assert answered("search", *options.split(), "--resume").code == 0


def test_an_unknown_option_is_answered_with_the_options_it_may_mean() -> None:
    said = refused(2, "search", "--data", "digits", "--lr", 0.1)
    assert "--weight-lr" in said and "--arch-lr" in said and "--layers" not in said
    assert "--channels" in refused(2, "train", "DARTS_V2", "--chanels", 3)
    assert "--zzz" in refused(2, "train", "DARTS_V2", "--zzz", 3)
    said = refused(2, "export", "a", "b", "--no-normalise")
    assert "--no-normalize" in said
    assert "--tune" not in refused(2, "search", "--data", "digits", "--tun", 3)


def test_an_unknown_option_is_a_usage_error_even_if_the_library_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pydarts._core", None)
    assert "--jsn" in refused(2, "doctor", "--jsn")
