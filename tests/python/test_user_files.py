"""Paths and texts that users give: `~`, empty and impossible paths, byte-order marks, long texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from commands import answered, refused
from conftest import make_arrays, make_config
from pydarts import (
    ConfigError,
    DataError,
    Genotype,
    SearchConfig,
    SearchResult,
    SearchTable,
    TrainConfig,
    loggers,
)
from pydarts._values.files import user_path
from pydarts.datasets import corpus, npz

V2 = pydarts.genotypes.DARTS_V2
MARK = "\ufeff"
LONG = "a" * 1_000_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and another working folder, which must remain empty."""
    folder, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(elsewhere)
    return folder


def table() -> SearchTable:
    return SearchTable([pydarts.SearchRow(name="a", origin="given", status="complete", accuracy=0.5)])


def network() -> Any:
    return pydarts.build(V2, channels=2, layers=3, num_classes=2)


WRITERS: dict[str, Callable[[SearchResult, str], object]] = {
    "save": lambda result, path: result.save(path),
    "report": lambda result, path: result.report(path),
    "animate": lambda result, path: result.animate(path, frames=1),
    "table": lambda result, path: table().save(path),
    "export": lambda result, path: pydarts.export(network(), path),
}
NAMES = {"report": "r.html", "animate": "a.gif", "table": "t.csv", "export": "n.safetensors"}


@pytest.mark.parametrize("what", WRITERS)
def test_a_writer_expands_the_home_folder_and_refuses_an_empty_path(
    what: str, tiny_result: SearchResult, home: Path
) -> None:
    name = NAMES.get(what, "run")
    WRITERS[what](tiny_result, f"~/{name}")
    assert (home / name).exists()
    for path in ("", LONG, "a\0b", "ab/" * 2000):
        with pytest.raises(ConfigError) as caught:
            WRITERS[what](tiny_result, path)
        assert len(str(caught.value)) < 1000
    assert not list(Path.cwd().iterdir())

    for wrong in (b"bytes", 7, None):
        with pytest.raises(TypeError, match=repr(wrong)):
            WRITERS[what](tiny_result, wrong)  # type: ignore[arg-type]


def test_a_path_that_is_bytes_or_too_long_is_refused_by_readers_and_configurations() -> None:
    readers: list[Callable[[Any], object]] = [
        SearchResult.load,
        SearchTable.load,
        pydarts.load_network,
        npz,
        corpus,
        lambda path: TrainConfig(checkpoint_dir=path),
        loggers.CSV,
        lambda path: SearchConfig(checkpoint_dir=path),
    ]
    for read in readers:
        with pytest.raises((TypeError, ConfigError), match=r"bytes|fsdecode"):
            read(b"/tmp/x")
        if read is not corpus:
            with pytest.raises(ConfigError) as caught:
                read("ab/" * 2000)
            assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", ["The/DT dog/NN barks/VBZ " * 400, "a/b " * 1500, "to be " * 100])
def test_a_text_of_one_line_may_have_slashes(text: str) -> None:
    found = corpus(text)
    assert set(found.vocabulary) == {*text.split(), "<eos>"}


def test_readers_and_loggers_expand_the_home_folder(tiny_result: SearchResult, home: Path) -> None:
    tiny_result.save("~/run")
    assert SearchResult.load("~/run").genotype == tiny_result.genotype
    table().save("~/t.csv")
    assert len(SearchTable.load("~/t.csv")) == 1
    pydarts.export(network(), "~/n.safetensors")
    assert pydarts.load_network("~/n.safetensors").genotype == V2
    (home / "text.txt").write_text("to be\nor not\nto be\n")
    assert corpus("~/text.txt").vocabulary[:2] == ("to", "be")
    X, y = make_arrays()
    np.savez(home / "x.npz", x_train=X, y_train=y)
    assert npz("~/x.npz").train[0].shape == X.shape
    config = make_config(checkpoint_dir="~/checkpoints")
    pydarts.search((X, y), config, loggers.CSV("~/log.csv", alphas="~/alphas.csv"))
    assert {"checkpoints", "log.csv", "alphas.csv"} <= {path.name for path in home.iterdir()}
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize("kind", [SearchConfig, TrainConfig])
def test_a_configuration_holds_the_expanded_folder(kind: Any, home: Path) -> None:
    for given in ("~/c", Path("~/c")):
        assert kind(checkpoint_dir=given).checkpoint_dir == str(home / "c")
        assert kind().replace(checkpoint_dir=given).checkpoint_dir == str(home / "c")
    assert kind(checkpoint_dir="c~").checkpoint_dir == "c~"
    with pytest.raises(ConfigError):
        kind(checkpoint_dir="")


def test_the_command_line_expands_the_home_folder(tiny_result: SearchResult, home: Path) -> None:
    tiny_result.save(home / "run")
    answered("plot", "~/run", "losses", "--out=~/pictures")
    assert (home / "pictures" / "losses.png").is_file()
    answered("report", "~/run", "--out=~/r.html")
    assert (home / "r.html").is_file()
    options = 'out = "~/more"\ndata = "digits"\nchannels = 2\nlayers = 3\nepochs = 1\n'
    (home / "options.toml").write_text(MARK + options, encoding="utf-8")
    answered("search", "--config=~/options.toml")
    assert (home / "more" / "result.json").is_file()
    assert answered("derive", "~/run", "--json").json["genotype"] == tiny_result.genotype.to_dict()
    assert not list(Path.cwd().iterdir())


def test_paths_in_suggested_commands_are_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--out 'my run'" in refused(1, "report", "my run")
    done = answered(
        "search",
        "--data",
        "digits",
        "--out",
        "my run",
        *["--channels", "2", "--layers", "3", "--epochs", "1"],
    )
    assert "pydarts report 'my run'" in done.err


@pytest.mark.skipif(pydarts._core.cuda_is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", ["search", "train DARTS_V2", "compare DARTS_V2"])
def test_a_missing_device_leaves_no_folder(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(1, *command.split(), "--data", "digits", "--device", "cuda", "--out", "r5")
    assert not list(tmp_path.iterdir())


# ---- Byte-order marks


def test_text_with_a_byte_order_mark_is_read(tiny_result: SearchResult, tmp_path: Path) -> None:
    assert Genotype.from_json(MARK + V2.to_json()) == V2
    assert Genotype.from_notation(MARK + str(V2)) == V2
    assert SearchConfig.from_json(MARK + '{"epochs": 3}').epochs == 3
    assert corpus(MARK + "to be\nor not\nto be\n").vocabulary[0] == "to"
    for name, text in (("json", V2.to_json()), ("txt", str(V2)), ("nni", json.dumps(V2.to_nni()))):
        (tmp_path / name).write_text(MARK + text, encoding="utf-8")
        assert answered("derive", tmp_path / name).out.strip() == str(V2)
    text = tmp_path / "text.txt"
    text.write_text(MARK + "to be\nor not\nto be\n", encoding="utf-8")
    assert corpus(text).vocabulary[0] == "to"


def test_saved_files_with_a_byte_order_mark_are_read(tiny_result: SearchResult, tmp_path: Path) -> None:
    table().save(tmp_path / "table.csv")
    for path in tmp_path.iterdir():
        path.write_bytes(MARK.encode() + path.read_bytes())
    assert SearchTable.load(tmp_path / "table.csv")[0].name == "a"


# ---- Texts in errors


def errors_of_long_texts() -> list[tuple[str, Callable[[], object]]]:
    words: dict[str, Any] = V2.to_nni()
    return [
        ("no such file", lambda: corpus("/".join(["a" * 200] * 15))),
        ("unknown option", lambda: SearchConfig(**{LONG: 1})),
        ("option", lambda: SearchConfig(augment=LONG)),  # type: ignore[arg-type]
        ("number", lambda: SearchConfig(epochs=10**4000)),
        ("huge number", lambda: SearchConfig(epochs=10**20000)),
        ("space", lambda: pydarts.Space(name=LONG, nodes=0)),
        ("operation", lambda: pydarts.Space(operations=[LONG])),
        ("training option", lambda: TrainConfig(**{LONG: 1})),
        ("training value", lambda: TrainConfig(augment=LONG)),  # type: ignore[arg-type]
        ("training number", lambda: TrainConfig(epochs=-(10**20000))),
        ("json", lambda: SearchConfig.from_json(json.dumps(LONG))),
        ("genotype", lambda: Genotype.from_json(json.dumps({LONG: 1}))),
        ("notation", lambda: Genotype.from_notation(LONG)),
        ("name", lambda: Genotype.from_notation("Genotype(normal=[('" + LONG + "', 0)])")),
        ("nni", lambda: Genotype.from_nni(words | {"normal/op_2_0": LONG})),
        ("nni key", lambda: Genotype.from_nni(words | {"normal/" + LONG: 1})),
        ("nested", lambda: Genotype(normal=[(LONG, 0)], normal_concat=[2])),
        ("object", lambda: SearchConfig(mean=type("Odd", (), {"__repr__": lambda self: LONG})())),  # type: ignore[arg-type]
        ("unicode", lambda: SearchConfig(augment="\ud800" * 100_000)),  # type: ignore[arg-type]
        ("key", lambda: SearchConfig(space={LONG: 3})),  # type: ignore[arg-type]
        ("deep key", lambda: SearchConfig(space={"x": {LONG: object()}})),  # type: ignore[arg-type]
        ("path", lambda: SearchResult.load(LONG)),
        ("word", lambda: corpus("a\nb\nc\n").tokens([LONG])),
    ]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in errors_of_long_texts()])
def test_an_error_cuts_long_texts(make: Callable[[], object]) -> None:
    with pytest.raises((pydarts.Error, FileNotFoundError)) as caught:
        make()
    assert len(str(caught.value)) < 5000


# ---- Texts of one line


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_text_of_one_line_is_divided_by_words(end: str, tmp_path: Path) -> None:
    text = " ".join(f"w{word}" for word in range(100)) + end
    (tmp_path / "text8").write_text(text)
    for source in (text, tmp_path / "text8", str(tmp_path / "text8")):
        read = corpus(source)
        assert [len(part) for part in (read.train, read.valid, read.test)] == [81, 11, 11]
        assert read.words(read.valid[:2]) == "w80 w81" and read.words(read.test[-2:]) == "w99 <eos>"


def test_a_text_of_one_word_is_divided_by_the_function_of_the_user() -> None:
    read = corpus("ACGT" * 100, split=list)
    assert [len(part) for part in (read.train, read.valid, read.test)] == [321, 41, 41]
    assert set(read.vocabulary) == {"A", "C", "G", "T", "<eos>"}


@pytest.mark.parametrize("text", ["", "\n", " \n", "one\n", "x" * 300, MARK + "\n"])
def test_a_text_with_too_few_words_is_a_data_error(text: str) -> None:
    with pytest.raises(DataError) as caught:
        corpus(text)
    assert len(str(caught.value)) < 200


def test_user_paths_may_be_objects(home: Path) -> None:
    assert user_path(Path("~")) == home and user_path("x") == Path("x")
    with pytest.raises(TypeError):
        user_path(3)  # type: ignore[arg-type]
