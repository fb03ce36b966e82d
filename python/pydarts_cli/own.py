"""Objects from Python files: `FILE.py:NAME` for networks, losses, metrics and user data."""

from __future__ import annotations

import importlib.util
import linecache
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Annotated, Any

import typer

from .answer import USAGE, Problem, cut, nearest

_PANEL = "Network of your own"
_FORM = "FILE.py:NAME"


@dataclass(frozen=True)
class Place:
    """The value of an option that names an object in a Python file."""

    file: str
    name: str

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"


def place(text: Any) -> Place:
    """Parse `FILE.py:NAME`.

    Raises:
        typer.BadParameter: the file or the name is missing, or there is no such file.

    >>> place("net.txt:Net")
    Traceback (most recent call last):
    ...
    typer...BadParameter: expected FILE.py:NAME, got 'net.txt:Net'
    """
    if isinstance(text, Place):
        return text
    file, _, name = str(text).rpartition(":")
    if not file.endswith(".py") or not all(map(str.isidentifier, name.split("."))):
        given = str(text)
        hint = f"; add the name of the object: {cut(given)}:Net" if given.endswith(".py") else ""
        raise typer.BadParameter(f"expected {_FORM}, got {cut(given)!r}{hint}")
    path = os.path.expanduser(file)
    if not os.path.isfile(path):
        raise typer.BadParameter(f"no file {cut(file)!r}")
    return Place(path, name)


def _loss(text: Any) -> Place | str:
    return "network" if text == "network" else place(text)


def is_place(text: str) -> bool:
    """Return whether a value has the form of `FILE.py:NAME`.

    >>> is_place("data.py:load"), is_place("npz:data.py")
    (True, False)
    """
    return re.fullmatch(r".*\.py(:.*)?", text) is not None and not re.match(r"\w+:.*\.py$", text)


def _option(name: str, help_text: str, parser: Callable[[Any], Any] = place) -> Any:
    return typer.Option(f"--{name}", metavar=_FORM, parser=parser, help=help_text, rich_help_panel=_PANEL)


NetworkOption = Annotated[
    Any,
    _option(
        "network",
        "search this network instead of a space: a module with pydarts.nn.Choice, a class or function "
        "without arguments that makes one, or a pydarts.nn.FunctionNetwork, as NAME in the file",
    ),
]
LossOption = Annotated[
    Any,
    _option(
        "loss",
        '(output, targets) -> loss; or "network": the network returns the loss; default: cross-entropy',
        _loss,
    ),
]
MetricOption = Annotated[
    Any,
    _option("metric", "(output, targets) -> mean of a batch, or an object with update, compute and reset"),
]
UnpackOption = Annotated[Any, _option("unpack", "batch -> (inputs, targets)")]


def imported(where: Place, option: str) -> Any:
    """Return the object of a file, which is run once, as a module in its own folder.

    Raises:
        Problem: the file raises an exception, or has no such name. The message says where.
    """
    module = _module(where.file)
    found: Any = module
    for part in where.name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            known = [name for name in vars(found) if not name.startswith("_")] if found is module else []
            near = nearest(part, known)
            meant = f"; did you mean {near}?" if near else f"; it has {', '.join(known[:8])}" if known else ""
            raise Problem(f"--{option}: {where.file} has no {where.name!r}{meant}", USAGE) from None
    return found


def network_from(where: Place) -> Any:
    """Return a user-defined network from a file, without calling a factory.

    Raises:
        Problem: as for `imported`, or the object is not a network and does not make one.
    """
    from pydarts.nn import FunctionNetwork
    from torch import nn

    found = imported(where, "network")
    if isinstance(found, (nn.Module, FunctionNetwork)) or callable(found):
        return found
    raise Problem(
        f"--network: {where} is a {type(found).__name__}; it must be an nn.Module with choices, a class or "
        "function that makes one, or a FunctionNetwork",
        USAGE,
    )


def given(metric: Place | None, loss: Place | str | None, unpack: Place | None) -> dict[str, Any]:
    """Return the arguments of `search` that options name; a class of a metric gives an object."""
    found: dict[str, Any] = {}
    if loss is not None:
        found["loss"] = loss if isinstance(loss, str) else imported(loss, "loss")
    if unpack is not None:
        found["unpack"] = imported(unpack, "unpack")
    if metric is not None:
        made = imported(metric, "metric")
        if isinstance(made, type):
            with placed({metric.file}):
                made = made()
        found["metric"] = made
    return found


def data_from(where: Place) -> Any:
    """Return data from a file: an object, or what a function without arguments returns."""
    found = imported(where, "data")
    if callable(found) and not hasattr(found, "__iter__"):
        with placed({where.file}):
            return found()
    return found


@contextmanager
def placed(files: set[str]) -> Iterator[None]:
    """Turn an exception of the user's code into a `Problem` that says in which line of these files it arose.

    Errors of pydarts that say what to do are left as they are, unless the user's code raised them.
    """
    try:
        yield
    except (KeyboardInterrupt, Problem):
        raise
    except BaseException as error:
        found = _where(error.__traceback__, files)
        if found is None and isinstance(error, TypeError) and _from_pydarts(error.__traceback__):
            raise Problem(str(error), USAGE) from error  # an object of the wrong kind
        notes = [note for note in getattr(error, "__notes__", ()) if not note.startswith("pydarts:")]
        ours = getattr(sys.modules.get("pydarts"), "Error", ())
        if isinstance(error, GeneratorExit) or (found is None and (not notes or isinstance(error, ours))):
            raise
        # PyTorch raises some errors of the user's code, such as a wrong call of `forward`; notes say where.
        said = "; ".join([_said(error), *notes])
        raise Problem(said if found is None else f"{found}: {said}") from error


def _module(file: str) -> ModuleType:
    """Return the module of a file; its folder is searched for what it imports."""
    path = Path(file).resolve()
    for known in list(sys.modules.values()):
        if getattr(known, "__pydarts_file__", None) == str(path):
            return known
    # Worker processes and saved fingerprints import it by this name.
    name = path.stem if path.stem not in sys.modules else f"_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Problem(f"{file} is not a Python file", USAGE)
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__pydarts_file__"] = str(path)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a script may end itself
        del sys.modules[name]
        found = _where(error.__traceback__, {file}) or file
        raise Problem(f"{found}: {_said(error)}") from error
    return module


def _where(trace: TracebackType | None, files: set[str]) -> str | None:
    """Return the innermost place in these files or next to them, unless pydarts raised the error itself."""
    folders = {os.path.dirname(os.path.realpath(file)) for file in files}
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if os.path.dirname(os.path.realpath(frame.filename)) in folders]
    if not own:
        return None
    line = (linecache.getline(own[-1].filename, own[-1].lineno or 0)).strip()
    return f"{own[-1].filename}:{own[-1].lineno}" + (f" ({cut(line, 80)})" if line else "")


def _from_pydarts(trace: TracebackType | None) -> bool:
    """Return whether pydarts raised an error."""
    frames = traceback.extract_tb(trace)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(__file__).parents[1] / "pydarts")


def _said(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} (line {error.lineno})"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def refuse_alone(values: Mapping[str, Any], what: str) -> None:
    """Refuse options that apply to a user-defined network only.

    Raises:
        Problem: an option is given.
    """
    names = [f"--{name}" for name, value in values.items() if value is not None]
    if names:
        raise Problem(f"{', '.join(names)}: applies to {what} only; add --network {_FORM}", USAGE)
