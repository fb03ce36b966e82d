"""Atomic writes, and reads whose errors name the broken file."""

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

_PATIENCE = 10.0  # seconds: the loader processes of a killed run hold its lock for a few more seconds


@contextmanager
def held(folder: str | os.PathLike[str] | None) -> Iterator[None]:
    """Lock a folder, created if necessary, so that only one run uses it; None locks nothing.

    The operating system releases the lock when the process ends. A read-only folder is not locked.

    Raises:
        CheckpointError: another search or training is using the folder.
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
            f"another search or training is writing to {os.fspath(folder)}; wait until it ends, or use "
            "another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a temporary file and rename it to `path`, so that a reader never sees a partial file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_checked(path: Path, parse: Callable[[bytes], T]) -> T:
    """Parse a file; if parsing fails, raise a CheckpointError that names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: this is not a complete result of pydarts")
    data = path.read_bytes()
    try:
        return parse(data)
    except MemoryError:
        raise
    except Exception as error:
        raise _core.CheckpointError(f"{path} is truncated or malformed: {error}") from error


def write_about(path: Path, version: int, values: Mapping[str, Any]) -> None:
    """Write plain data as JSON, together with the version of the file format and of pydarts."""
    about = {"format": version, "pydarts": _core.__version__, **values}
    write_atomically(path, json.dumps(about, indent=1))


def about_in(data: bytes, newest: int) -> dict[str, Any]:
    """Return the data that `write_about` wrote, in a format version up to `newest`.

    Raises:
        ValueError: the data are something else, or were written by a later pydarts.
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
    """Write named arrays to an .npz file."""
    data, named = io.BytesIO(), dict[str, Any](arrays)
    np.savez(data, **named)
    write_atomically(path, data.getvalue())


def arrays_in(file: Path | BinaryIO) -> dict[str, npt.NDArray[Any]]:
    """Return the named arrays of an .npz file without unpickling anything."""
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the named arrays of a user's .npz file.

    Raises:
        DataError: the file is not an .npz archive.
    """
    try:
        return arrays_in(path)
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise _core.DataError(
            f"{path} is not an archive of arrays as numpy.savez writes them: {error}"
        ) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any] | None = None) -> None:
    """Write named tensors as safetensors, with plain data in the metadata."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = None if about is None else {"pydarts": json.dumps(about)}
    write_atomically(path, safetensors.torch.save(plain, metadata))


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and metadata that `write_tensors` wrote, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is truncated or malformed, or its format is not `kind`.
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
        raise _core.CheckpointError(f"{path} is no valid file of format {kind!r}: {error}") from error
    return tensors, about
