"""Atomic writes, and reads whose errors name the broken file."""

from __future__ import annotations

import glob
import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
from filelock import FileLock, Timeout
from torch import Tensor

from .. import _core
from .words import shown

T = TypeVar("T")

_LONGEST_NAME, _LONGEST_PATH = 255, 4095  # bytes; those of the common file systems, and of Linux
_PART = ".part"
_PATIENCE = 10.0  # seconds: the loader processes of a killed run hold its lock for a few more seconds


def could_be_path(text: str) -> bool:
    """Return whether Linux accepts such a path: no NUL, no name over 255 bytes, at most 4,095 bytes in all.

    >>> could_be_path("a" * 255), could_be_path("a" * 256), could_be_path("a/" * 3000)
    (True, False, False)
    """
    data = text.encode(errors="surrogatepass")
    names = max(map(len, data.split(b"/")))
    return b"\0" not in data and names <= _LONGEST_NAME and len(data) <= _LONGEST_PATH


def user_path(given: str | os.PathLike[str]) -> Path:
    """Return a path that a user gave, with `~` and `~user` expanded.

    Raises:
        ConfigError: the path is empty, or one that no file system accepts.
        TypeError: neither a string nor a path object.

    >>> user_path("~/run") == Path.home() / "run"
    True
    """
    text = given if isinstance(given, str) else os.fspath(given) if hasattr(given, "__fspath__") else None
    if not isinstance(text, str):
        decode = "; decode it with os.fsdecode" if isinstance(text or given, bytes) else ""
        raise TypeError(f"a path must be a string or a pathlib.Path, got {shown(given)}{decode}")
    if not text:
        raise _core.ConfigError("the path is empty; give the name of a file or folder")
    if not could_be_path(text):
        raise _core.ConfigError(f"{shown(text)} cannot be a path: it is too long or contains a NUL")
    return Path(os.path.expanduser(text))


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
    write_together(path.parent, {path.name: data})


def write_together(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write files of which the last marks the others as complete; a failed write leaves all old files.

    All are written to temporary files first. Then the old last file is removed and all are renamed in order,
    so that a process that is killed never leaves old and new files under that mark.
    """
    names, last = list(contents), list(contents)[-1]
    parts = {name: folder / f".{name}.{os.getpid()}{_PART}" for name in names}
    for name in names:
        remove_leftovers(folder, f".{glob.escape(name)}.*{_PART}")
    try:
        for name, data in contents.items():
            parts[name].write_bytes(data.encode() if isinstance(data, str) else data)
        if len(names) > 1:
            (folder / last).unlink(missing_ok=True)
        for name, part in parts.items():
            os.replace(part, folder / name)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def remove_leftovers(folder: Path, pattern: str, *, locked: bool = False) -> None:
    """Remove temporary files of processes that were killed; with `locked`, no other process writes here."""
    for part in folder.glob(pattern):
        if locked or not _is_alive(part.name.removesuffix(_PART).rpartition(".")[2]):
            with suppress(OSError):  # it does not prevent the write
                part.unlink()


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):  # of another user, or not a file of ours
        return True
    return True


def read_checked(path: Path, parse: Callable[[bytes], T], checksum: str | None = None) -> T:
    """Parse a file; if this fails or its checksum differs, raise a CheckpointError that names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: this is not a complete result of pydarts")
    data = path.read_bytes()
    try:
        if checksum is not None and checksum != checksum_of(path.name, data):
            raise ValueError(_CHANGED)
        return parse(data)
    except MemoryError:
        raise
    except Exception as error:
        raise _core.CheckpointError(f"{path} is truncated or malformed: {error!s:.500}") from error


# ---- Checksums: CRC-32, which finds accidental damage; in Rust and in Python it runs at some GB per second.

_CHANGED = "its checksum differs, so it was damaged or changed after it was written"


def checksum_of(name: str, data: bytes) -> str:
    """Return the checksum of a file as 8 hexadecimal digits; that of JSON does not depend on white space.

    >>> checksum_of("a.json", b'{"epochs": 3}') == checksum_of("a.json", b'{"epochs":3}')
    True
    """
    return _crc(_canonical(json.loads(data)) if name.endswith(".json") else data)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _crc(*parts: bytes | memoryview) -> str:
    found = 0
    for part in parts:
        found = zlib.crc32(part, found)
    return f"{found:08x}"


_SEAL, _BLANK = b'"crc32":"', b"00000000"  # as src/checkpoint.rs writes it


def _seal(data: bytes) -> tuple[slice, str] | None:
    """Return where a safetensors file holds its checksum, and the checksum of the file without it."""
    end = 8 + int.from_bytes(data[:8], "little")
    at = data.find(_SEAL, 8, end) + len(_SEAL)
    if at < len(_SEAL):
        return None
    place, view = slice(at, at + 8), memoryview(data)
    return place, _crc(view[:at], _BLANK, view[at + 8 :])


# ---- Formats


def write_about(path: Path, version: int, values: Mapping[str, Any]) -> None:
    """Write plain data as `about_of` formats them."""
    write_atomically(path, about_of(version, values))


def about_of(version: int, values: Mapping[str, Any]) -> str:
    """Format plain data as JSON, with the version of the file format and of pydarts, and a checksum."""
    about = json.loads(json.dumps({"format": version, "pydarts": _core.__version__, **values}))
    return json.dumps({**about, "crc32": _crc(_canonical(about))}, indent=1)


def about_in(data: bytes, newest: int) -> dict[str, Any]:
    """Return the data that `about_of` formatted, in a format up to `newest`; format 1 has no checksum.

    Raises:
        ValueError: the data are something else, are damaged, or were written by a later pydarts.
    """
    about = json.loads(data)
    if not isinstance(about, dict) or type(about.get("format")) is not int:
        raise ValueError("not a result of pydarts")
    if about["format"] > newest:
        version = f"{about.get('pydarts')!s:.40}"
        raise ValueError(f"written by pydarts {version} in format {about['format']}, newer than this one")
    crc = about.pop("crc32", None)
    if (crc is not None or about["format"] > 1) and crc != _crc(_canonical(about)):
        raise ValueError(_CHANGED)
    return about


def npz_of(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return named arrays as the content of an .npz file."""
    data, named = io.BytesIO(), dict[str, Any](arrays)
    np.savez(data, **named)
    return data.getvalue()


def arrays_in(file: Path | BinaryIO) -> dict[str, npt.NDArray[Any]]:
    """Return the named arrays of an .npz file without unpickling anything.

    Raises:
        ValueError: an array is longer than its file, for which NumPy would reserve memory.
    """
    with np.load(file, allow_pickle=False) as archive:
        for member in archive.zip.infolist():
            with archive.zip.open(member) as content:
                _check_length(member.filename, content, member.file_size)
        return {name: archive[name] for name in archive.files}


def _check_length(name: str, content: IO[bytes], size: int) -> None:
    version = np.lib.format.read_magic(content)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(content)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are never loaded (allow_pickle=False)")
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{name} declares {list(shape)} values of {dtype}, more than it holds")


def read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the named arrays of a user's .npz file.

    Raises:
        DataError: the file is not an .npz archive.
    """
    try:
        return arrays_in(path)
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise _core.DataError(
            f"{path} is not an archive of arrays as numpy.savez writes them: {error!s:.500}"
        ) from error


def tensors_of(tensors: Mapping[str, Tensor], about: Mapping[str, Any] | None = None) -> bytes:
    """Return named tensors as safetensors, with plain data and a checksum in the metadata."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"crc32": _BLANK.decode()} | ({} if about is None else {"pydarts": json.dumps(about)})
    data = safetensors.torch.save(plain, metadata)
    found = _seal(data)
    assert found is not None
    place, crc = found
    return b"".join((data[: place.start], crc.encode(), data[place.stop :]))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write named tensors as safetensors, with plain data in the metadata."""
    write_atomically(path, tensors_of(tensors, about))


def read_tensors(path: Path, kind: str, older: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and metadata that `write_tensors` wrote, on the CPU.

    Args:
        path: the file.
        kind: the format, an entry of the metadata.
        older: the format of earlier versions, without a checksum.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is truncated, malformed or damaged, or its format is another.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {shown(os.fspath(path))}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["pydarts"])
        if about["format"] not in (kind, older):
            raise ValueError(f"its format is {shown(about['format'])}, expected {kind!r}")
        data = path.read_bytes()
        seal = _seal(data)
        if (seal is not None or about["format"] == kind) and (
            seal is None or data[seal[0]] != seal[1].encode()
        ):
            raise ValueError(_CHANGED)
        return safetensors.torch.load(data), about
    except MemoryError:
        raise
    except Exception as error:
        message = f"{path} is truncated, malformed or not of format {kind!r}: {error!s:.500}"
        raise _core.CheckpointError(message) from error
