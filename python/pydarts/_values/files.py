"""Files that are whole or not there, and errors that name the one that is broken."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
from filelock import FileLock, Timeout
from torch import Tensor

from .. import _core

T = TypeVar("T")

_PATIENCE = 10.0  # seconds: worker processes of a loader hold the lock of a run that was killed for some more


@contextmanager
def held(folder: str | os.PathLike[str] | None) -> Iterator[None]:
    """Keep a folder, made if need be, to one run at a time; None is no folder.

    The lock goes with the process, however it ends. A folder that may only be read needs none.

    Raises:
        CheckpointError: another search or training writes there.
    """
    if folder is None:
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        yield
        return
    lock = FileLock(Path(folder) / ".lock")
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        raise _core.CheckpointError(
            f"another search or training is writing to {os.fspath(folder)}; wait for its end, or name "
            "another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write beside `path`, then move there: a reader never sees half a file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_checked(path: Path, parse: Callable[[bytes], T]) -> T:
    """Parse a file; whatever does not parse is a CheckpointError that names it."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: this is not a complete result of pydarts")
    data = path.read_bytes()
    try:
        return parse(data)
    except MemoryError:
        raise
    except Exception as error:
        raise _core.CheckpointError(f"{path} is truncated or malformed: {error}") from error


def write_about(path: Path, form: int, values: Mapping[str, Any]) -> None:
    """Write plain data as JSON, with who wrote it, in which version of the file's form."""
    about = {"format": form, "pydarts": _core.__version__, **values}
    write_atomically(path, json.dumps(about, indent=1))


def about_in(data: bytes, newest: int) -> dict[str, Any]:
    """What `write_about` wrote, in a form up to `newest`.

    Raises:
        ValueError: something else, or of a later pydarts.
    """
    about = json.loads(data)
    if not isinstance(about, dict) or not isinstance(about.get("format"), int):
        raise ValueError("not a result of pydarts")
    if about["format"] > newest:
        raise ValueError(
            f"written by pydarts {about.get('pydarts')} in format {about['format']}, newer than this one"
        )
    return about


def write_npz(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays by name."""
    data, named = io.BytesIO(), dict[str, Any](arrays)
    np.savez(data, **named)
    write_atomically(path, data.getvalue())


def arrays_in(file: Path | BinaryIO) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz by name; nothing is unpickled."""
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz of a user's by name.

    Raises:
        DataError: the file is no such archive.
    """
    try:
        return arrays_in(path)
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise _core.DataError(
            f"{path} is no archive of arrays, as numpy.savez writes them: {error}"
        ) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any] | None = None) -> None:
    """Write tensors by name as safetensors, plain data in the metadata."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = None if about is None else {"pydarts": json.dumps(about)}
    write_atomically(path, safetensors.torch.save(plain, metadata))


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote, on the CPU; `kind` is what the plain data have as their format.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: truncated, malformed, or of another format; the message names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {os.fspath(path)!r}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["pydarts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about["format"] != kind:
            raise ValueError(f"its format is {about['format']!r}, expected {kind!r}")
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise _core.CheckpointError(f"{path} is truncated, malformed or no file for this: {error}") from error
    return tensors, about
