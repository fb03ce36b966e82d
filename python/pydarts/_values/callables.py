"""Names and fingerprints of loss functions, by which a resumed run recognises its loss."""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import hashlib
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, type(...))
_COMPILED = "_torchdynamo_orig_callable"  # the function that `torch.compile` has wrapped
_MOST = 1 << 16  # elements of an array that are hashed; of a larger one, evenly spaced ones


def check_loss(loss: Any) -> None:
    """Raise TypeError unless `loss` is None or callable on (logits, targets)."""
    if isinstance(loss, type):
        raise TypeError(f"loss is the class {loss.__name__}; pass an instance: loss={loss.__name__}()")
    if loss is not None and not callable(loss):
        raise TypeError(f"loss must be callable on (logits, targets), got a {type(loss).__name__}")


def fact_of(loss: Any) -> str:
    """Return the fact about a loss in a fingerprint: its name, and a hash of its code and settings.

    The hash covers the bytecode, default arguments, the values of enclosing and global variables of plain
    types, functions of the same module that are called, and the settings and buffers of modules and objects.
    It does not depend on files and line numbers, nor on the code of PyTorch.

    >>> fact_of(None), fact_of(torch.nn.functional.mse_loss)
    ('cross-entropy', 'torch.nn.functional:mse_loss')
    >>> fact_of(lambda a, b: (a - b).sum()) == fact_of(lambda a, b: (a + b).sum())
    False
    """
    if loss is None:
        return "cross-entropy"
    name = _name(loss)
    return name if _is_foreign(loss) else f"{name} {_digest(loss)}"


def short_name(loss: Loss) -> str:
    """Return the name of a function, or of the class of an object, without its module.

    >>> short_name(functools.partial(nn.functional.cross_entropy, label_smoothing=0.1))
    'cross_entropy'
    """
    return _name(loss).partition(":")[2].rpartition(".")[2]


def _name(value: Any) -> str:
    """Return "module:qualname" of a function, or of the class of an object."""
    while isinstance(value, functools.partial):
        value = value.func
    value = getattr(value, _COMPILED, value)
    named = value if hasattr(value, "__qualname__") else type(value)
    module = getattr(named, "__module__", None) or "builtins"
    # The main script has another name in a process that was spawned.
    return f"{'__main__' if module == '__mp_main__' else module}:{named.__qualname__}"


def _is_foreign(value: Any) -> bool:
    """Return whether a function is compiled, or PyTorch's own: its name identifies it."""
    module = str(getattr(value, "__module__", None))
    compiled = isinstance(value, (types.BuiltinFunctionType, type))
    return compiled or (isinstance(value, types.FunctionType) and module.split(".")[0] == "torch")


def _digest(value: Any) -> str:
    found = hashlib.blake2b(digest_size=8)
    for part in _parts(value, set()):
        found.update(len(part).to_bytes(8, "little") + part)
    return found.hexdigest()


def _parts(value: Any, seen: set[int]) -> Iterator[bytes]:
    """Yield what identifies a value, as bytes; what refers back to a value above it only once."""
    value = getattr(value, _COMPILED, value) if callable(value) else value
    if isinstance(value, _PLAIN):
        yield f"{type(value).__name__} {value!r}".encode()
        return
    if isinstance(value, (np.ndarray, np.generic, Tensor)):
        yield from _of_array(value)
        return
    if id(value) in seen:
        yield b"again"
        return
    seen = seen | {id(value)}
    if isinstance(value, (set, frozenset)):
        yield from sorted(b"".join(_parts(item, seen)) for item in value)
    elif isinstance(value, (list, tuple)):
        yield f"{type(value).__name__} {len(value)}".encode()
        for item in value:
            yield from _parts(item, seen)
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}".encode()
        for key, item in sorted(value.items(), key=lambda pair: repr(pair[0])):
            yield from _parts((key, item), seen)
    elif isinstance(value, types.CodeType):
        yield from _of_code(value, seen)
    elif isinstance(value, functools.partial):
        yield from _parts((value.func, value.args, value.keywords), seen)
    elif isinstance(value, types.MethodType):
        yield from _parts(value.__func__, seen)
        yield from _of_object(value.__self__, seen)
    elif isinstance(value, types.FunctionType) and not _is_foreign(value):
        yield from _of_function(value, seen)
    elif isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type)):
        yield _name(value).encode()
    elif isinstance(value, types.ModuleType):
        yield value.__name__.encode()
    elif isinstance(value, enum.Enum):
        yield f"{_name(type(value))}.{value.name}".encode()
    elif callable(value) or dataclasses.is_dataclass(value) or isinstance(value, types.SimpleNamespace):
        yield from _of_object(value, seen)
    else:  # whatever it holds is not known to be a setting
        yield _name(type(value)).encode()


def _of_array(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        value = value.detach().to_dense() if value.is_sparse else value.detach()
        value = value.cpu().double().numpy() if value.dtype == torch.bfloat16 else value.cpu().numpy()
    array = np.asarray(value)
    yield f"{array.dtype.newbyteorder('<').str} {array.shape}".encode()
    if array.size > _MOST:
        array = array.reshape(-1)[:: -(-array.size // _MOST)]
    yield repr(array.tolist()).encode() if array.dtype.hasobject else little_endian(array)


def little_endian(array: np.ndarray[Any, Any]) -> bytes:
    """Return the bytes of an array in C order, the same on every machine.

    >>> little_endian(np.array([1], ">i2"))
    b'\\x01\\x00'
    """
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _of_function(function: types.FunctionType, seen: set[int]) -> Iterator[bytes]:
    code = function.__code__
    yield from _of_code(code, seen)
    yield from _parts((function.__defaults__, function.__kwdefaults__), seen)
    read, written = _variables(code)
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            held = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if name not in written:  # a counter is no setting
            yield from _parts((name, held), seen)
    for name in sorted(read - written):
        if name not in function.__globals__:
            continue
        held = function.__globals__[name]
        ours = getattr(held, "__module__", None) == function.__module__
        if not callable(held) or (ours and isinstance(held, types.FunctionType)):
            yield from _parts((name, held), seen)


def _of_code(code: types.CodeType, seen: set[int]) -> Iterator[bytes]:
    yield code.co_code
    yield from _parts((code.co_names, code.co_freevars, code.co_argcount), seen)
    yield from _parts(code.co_consts, seen)


def _variables(code: types.CodeType) -> tuple[set[str], set[str]]:
    """Return the global variables that code reads, and the outer variables that it assigns."""
    read, written = set(), set()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            read.add(step.argval)
        elif step.opname in ("STORE_GLOBAL", "STORE_DEREF"):
            written.add(step.argval)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more = _variables(inner)
            read, written = read | more[0], written | more[1]
    return read, written


def _of_object(value: Any, seen: set[int]) -> Iterator[bytes]:
    """Yield class, code and settings of an object; the weights of a module by shape only."""
    kind = type(value)
    yield _name(kind).encode()
    method = inspect.getattr_static(kind, "forward" if isinstance(value, nn.Module) else "__call__", None)
    if isinstance(method, types.FunctionType) and not _is_foreign(method):
        yield from _parts(method, seen)
    settings = {
        name: held
        for name, held in getattr(value, "__dict__", {}).items()
        if not (isinstance(value, nn.Module) and (name.startswith("_") or name == "training"))
    }
    yield from _parts(settings, seen)
    if isinstance(value, nn.Module):
        yield from _parts(dict(value._buffers), seen)
        yield from _parts(
            {name: None if w is None else tuple(w.shape) for name, w in value._parameters.items()}, seen
        )
        yield from _parts(dict(value._modules), seen)
