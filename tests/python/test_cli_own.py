"""`pydarts search --network FILE.py:NAME`, and the other commands on its results."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pydarts
import pytest
import torch
from commands import answered, refused

FILE = """
import torch
from torch import nn
from neighbour import width
from pydarts.nn import Choice, FunctionNetwork, InputChoice

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.act = Choice({"tanh": nn.Tanh(), "relu": nn.ReLU()})
        self.deep = nn.ModuleList(Choice([nn.Linear(width, width), nn.Identity()]) for _ in range(2))
        self.skip = InputChoice(3, keep=2)
        self.last = nn.Linear(width, 2)

    def forward(self, x):
        h = [self.act(self.first(x))]
        for part in self.deep:
            h.append(part(h[-1]))
        return self.last(self.skip(h))

class Returns(Net):
    def forward(self, batch):
        x, y = batch["x"], batch["y"]
        return ((super().forward(x)[:, 0] - y) ** 2).mean()

def made():
    return Net()

built = Net()

def function(w, m, batch):
    x, y = batch
    return ((x @ w["w"] * m["a"][0] - y) ** 2).mean()

functional = FunctionNetwork(function, {"w": torch.ones(3)}, {"a": torch.zeros(2)})

def error(output, targets):
    return nn.functional.cross_entropy(output, targets, label_smoothing=0.1)

def swapped(batch):
    return batch[1], batch[0]

def loader():
    g = torch.Generator().manual_seed(0)
    X = torch.randn(32, 3, generator=g)
    return X, (X[:, 0] > 0).long()

X, y = loader()
pair = ([(X[:16], y[:16])], [(X[16:], y[16:])])
turned = ([(y[:16], X[:16])], [(y[16:], X[16:])])
dicts = torch.utils.data.DataLoader([{"x": x, "y": x[0]} for x in X], batch_size=8)
floats = X, X[:, 0]
plain = {"no": "network"}

class Breaks(Net):
    def forward(self, x):
        raise RuntimeError("broken on purpose")

class Masked(Net):
    def forward(self, x, mask):
        return super().forward(x * mask)

class Needs(Net):
    def __init__(self, size):
        super().__init__()

class Differs(Net):
    def __init__(self):
        super().__init__()
        self.act = Choice({"tanh": nn.Tanh(), "wide": nn.Linear(width, width + 1)})
"""
QUICK = ("--epochs", "2", "--batch-size", "8", "--arch-lr", "0.1", "--device", "cpu")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a file of networks, which imports its neighbour."""
    (tmp_path / "net.py").write_text(FILE)
    (tmp_path / "neighbour.py").write_text("width = 4\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr("sys.path", [*sys.path])
    for name in ("net", "neighbour", "_net"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield tmp_path
    for name in ("net", "neighbour", "_net"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["Net", "made", "built"])
def test_a_network_is_searched_and_its_architecture_is_printed(folder: Path, name: str) -> None:
    data = f"{folder}/net.py:loader"
    answer = answered("search", "--network", f"{folder}/net.py:{name}", "--data", data, *QUICK, "--json").json
    assert answer["status"] == "complete" and sorted(answer["architecture"]) == [
        "act",
        "deep.0",
        "deep.1",
        "skip",
    ]
    assert answer["architecture"]["act"] in ("tanh", "relu") and len(answer["architecture"]["skip"]) == 2
    result = pydarts.SearchResult.load("run")
    assert json.loads(json.dumps(result.architecture)) == answer["architecture"]
    import net  # the file is imported under its own name

    fixed = result.fixed_network(net.Net)
    assert fixed(torch.zeros(2, 3)).shape == (2, 2)


def test_text_output_names_every_choice(folder: Path) -> None:
    done = answered("search", "--network", f"{folder}/net.py:Net", "--data", f"{folder}/net.py:pair", *QUICK)
    result = pydarts.SearchResult.load("run")
    lines = done.out.splitlines()
    assert f"act: {result.architecture['act']}" in lines
    assert any(line.startswith("skip: inputs ") for line in lines)
    assert "None" not in done.out and "nan" not in done.out


def test_a_function_network_and_data_from_its_file(folder: Path) -> None:
    own = ("--network", f"{folder}/net.py:functional", "--data", f"{folder}/net.py:floats")
    done = answered("search", *own, *QUICK, "--json")
    assert done.json["architecture"].keys() == {"a"}


def test_loss_and_unpack_come_from_the_file(folder: Path) -> None:
    own = ("--network", f"{folder}/net.py:Net", "--loss", f"{folder}/net.py:error")
    more = ("--unpack", f"{folder}/net.py:swapped", "--data", f"{folder}/net.py:turned")
    answered("search", *own, *more, *QUICK)
    result = pydarts.SearchResult.load("run")
    assert result.loss == "error"
    assert result.fingerprint["unpack"].startswith("net:swapped")


def test_the_network_may_return_its_loss(folder: Path) -> None:
    answered(
        "search", "--network", f"{folder}/net.py:Returns", "--loss", "network",
        "--data", f"{folder}/net.py:dicts", *QUICK,
    )  # fmt: skip
    assert pydarts.SearchResult.load("run").loss == "network"


def test_a_resumed_command_continues(folder: Path) -> None:
    own = ("--network", f"{folder}/net.py:Net", "--data", f"{folder}/net.py:loader", *QUICK)
    first = answered("search", *own, "--json").json
    assert "--resume" in refused(1, "search", *own)
    again = answered("search", *own, "--resume", "--json").json
    assert again["architecture"] == first["architecture"]
    said = refused(1, "search", *own, "--resume", "--loss", f"{folder}/net.py:error")
    assert "net:error" in said and "--force" in said


def test_other_commands_show_its_results(folder: Path) -> None:
    answered("search", "--network", f"{folder}/net.py:Net", "--data", f"{folder}/net.py:loader", *QUICK)
    result = pydarts.SearchResult.load("run")
    assert (
        json.loads(answered("derive", "run", "--notation", "json").out)["act"] == result.architecture["act"]
    )
    assert f"act: {result.architecture['act']}" in answered("derive", "run").out
    assert "--notation nni" in refused(2, "derive", "run", "--notation", "nni")
    assert "-k" in refused(2, "derive", "run", "-k", "1")
    assert 'id="architecture"' in Path(answered("report", "run").out.strip()).read_text(encoding="utf-8")
    files = answered("plot", "run", "--json").json["files"]
    assert {"alphas.png", "weights.png", "entropy.png"} <= {Path(file).name for file in files}
    assert answered("compare", "run", "--json").json["runs"][0]["skips"] is None
    for command in (("explain", "run"), ("cost", "run")):
        assert "deep.0" in refused(1, *command)


@pytest.mark.parametrize(
    ("code", "value", "said"),
    [
        (2, "missing.py:Net", "missing.py"),
        (2, "net.py", "net.py:Net"),
        (2, "net.py:", "net.py"),
        (2, "net.txt:Net", "net.txt:Net"),
        (2, "net.py:Nett", "Net"),
        (2, "net.py:Net.nothing", "Net.nothing"),
        (2, "net.py:plain", "dict"),
        (2, "net.py:X", "Tensor"),
        (2, "net.py:Needs", "size"),
        (1, "net.py:Breaks", "broken on purpose"),
        (1, "net.py:Masked", "mask"),
        (1, "net.py:Masked", "[8, 3]"),
        (1, "net.py:Differs", "wide"),
    ],
)
def test_objects_that_are_no_networks_are_named(folder: Path, code: int, value: str, said: str) -> None:
    found = refused(
        code, "search", "--network", f"{folder}/{value}", "--data", f"{folder}/net.py:loader", *QUICK
    )
    assert said in found


def test_an_error_of_the_users_code_has_its_line(folder: Path) -> None:
    line = next(n for n, text in enumerate(FILE.splitlines(), 1) if "broken on purpose" in text)
    own = ("search", "--network", f"{folder}/net.py:Breaks", "--data", f"{folder}/net.py:loader", *QUICK)
    assert f"net.py:{line}" in refused(1, *own)
    with pytest.raises(Exception, match="broken on purpose"):
        answered(*own, "--debug")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import torch\n\nundefined_name\n", "bad.py:3"),
        ("import no_such_module_anywhere\n", "bad.py:1"),
        ("def broken(:\n", "line 1"),
        ("import sys\nsys.exit(3)\n", "bad.py:2"),
    ],
)
def test_a_file_that_cannot_be_imported_says_where(folder: Path, text: str, said: str) -> None:
    (folder / "bad.py").write_text(text)
    found = refused(1, "search", "--network", f"{folder}/bad.py:Net", "--data", f"{folder}/net.py:loader")
    assert said in found and "bad.py" in found
    assert not Path("run").exists()


def test_options_of_spaces_and_of_networks_do_not_mix(folder: Path) -> None:
    own = ("--network", f"{folder}/net.py:Net")
    assert "--channels" in refused(2, "search", *own, "--data", "digits", "--channels", "4")
    assert "--units" in refused(2, "search", *own, "--data", "digits", "--units", "4")
    assert "corpus" in refused(2, "search", *own, "--data", "corpus:bundled")
    loss = ("--loss", f"{folder}/net.py:error")
    assert "--network" in refused(2, "search", "--data", "digits", *loss)
    assert "net.py:loader" in refused(2, "train", "DARTS_V2", "--data", f"{folder}/net.py:loader")


def test_a_name_that_is_taken_does_not_replace_a_module(folder: Path) -> None:
    import statistics

    (folder / "statistics.py").write_text(FILE)
    answered(
        "search", "--network", f"{folder}/statistics.py:Net", "--data", f"{folder}/net.py:loader", *QUICK
    )
    assert sys.modules["statistics"] is statistics
