"""What the data of a user-defined network are: arrays, batches, or a pair (train, valid) of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .._core import DataError
from .arrays import as_tensor, is_array, stacked
from .planned import Rows
from .structure import describe, flatten


class Pair(NamedTuple):
    """The parts of the data, both arrays or both batches."""

    train: Source
    valid: Source


Source: TypeAlias = Rows | Iterable[Any]

_READINGS = (
    "either (train, valid), two members of the same kind: two DataLoaders or other repeatable iterables of "
    "batches, or two pairs (X, y), where X is an array or a dict of arrays; or (X, y), one row per example"
)


def arranged(data: Any) -> Source | Pair:
    """Return what `data` are; arrays become `Rows`.

    Raises:
        DataError: `data` can be read in two ways, or in none.

    >>> arranged(({"a": np.zeros((4, 2)), "b": np.zeros(4)}, [0, 1, 0, 1])).layout.paths
    ('x["a"]', 'x["b"]', 'y')
    >>> type(arranged(([(1, 2)], [(3, 4)]))).__name__
    'Pair'
    """
    if isinstance(data, tuple) and len(data) == 2:
        if all(isinstance(part, Mapping) for part in data):
            return _of_mappings(*data)
        if not _are_arrays(data):
            kinds = [_are_arrays(part) for part in data]
            alone = [part for part in data if _is_column(part) or part is None]
            if kinds[0] != kinds[1] or alone:
                raise DataError(
                    f"cannot tell what {describe(data)} is. A tuple of two is {_READINGS}. {_several(data)}"
                )
            return Pair(_single(data[0], "training"), _single(data[1], "validation"))
    return _single(data, "training")


def _of_mappings(train: Any, valid: Any) -> Pair:
    if not (_are_arrays(train) and _are_arrays(valid)):
        raise DataError(f"cannot tell what {describe((train, valid))} is; a tuple of two is {_READINGS}")
    if train.keys() != valid.keys():
        keys = [", ".join(map(repr, part)) for part in (train, valid)]
        raise DataError(
            f"cannot tell what two dicts with the keys {keys[0]} and {keys[1]} are. As (train, valid) they "
            "need the same keys; for inputs and targets, pass one dict with all keys, and "
            "unpack=lambda batch: (inputs, targets)"
        )
    return Pair(_single(train, "training"), _single(valid, "validation"))


def _single(source: Any, role: str) -> Source:
    """Return arrays as `Rows` and batches as they are."""
    if _are_arrays(source):
        return _rows(source, role)
    what = f"the {role} data are {describe(source)}"
    if _is_column(source):
        raise DataError(f"{what}; give (X, y), or (X, None) for a network that needs no targets")
    if isinstance(source, tuple) and len(source) != 2 and source and all(map(_is_column, source)):
        raise DataError(f"{what}; give (X, y). {_several(source)}")
    if isinstance(source, Mapping):
        parts = [key for key in source if key in ("train", "training", "valid", "val", "validation", "test")]
        names = ", ".join(f"data[{key!r}]" for key in parts[:2])
        hint = (
            f"give the pair ({names})"
            if len(parts) > 1
            else "its values must be arrays with a row per example"
        )
        raise DataError(f"{what}; {hint}")
    if isinstance(source, Dataset):
        raise DataError(
            f"{what}, which yields examples, not batches; wrap it: DataLoader(dataset, batch_size=64, "
            "shuffle=True)"
        )
    if isinstance(source, Iterator):
        raise DataError(
            f"{what}, which can be iterated only once; give a list of batches, a DataLoader, or an object "
            "whose __iter__ returns a new iterator"
        )
    if isinstance(source, (str, bytes)) or not isinstance(source, Iterable):
        raise DataError(f"{what}; give a DataLoader, arrays (X, y), or a pair (train, valid) of one kind")
    if isinstance(source, Sized) and not isinstance(source, DataLoader) and len(source) == 0:
        raise DataError(f"{what}, which is empty; give at least one batch")
    return source


def _rows(source: Any, role: str) -> Rows:
    def column(value: Any, what: str) -> Any:
        if isinstance(value, Mapping):
            return {key: column(part, f"{what}[{key!r}]") for key, part in value.items()}
        return None if value is None else as_tensor(stacked(value, what), f"{what} of the {role} data")

    if isinstance(source, Mapping):
        tensors, layout = flatten(column(source, "batch"))
    else:
        tensors, layout = flatten((column(source[0], "X"), column(source[1], "y")), ("x", "y"))
    shapes = [list(tensor.shape) for tensor in tensors]
    if not all(shapes) or len({shape[0] for shape in shapes}) != 1 or not shapes[0][0]:
        texts = ", ".join(f"{path} {shape}" for path, shape in zip(layout.paths, shapes, strict=True))
        raise DataError(
            f"the {role} arrays have the shapes {texts}; all must have the same number of rows, one per "
            "example. A pair of parts is ((X, y), (X, y))"
        )
    return Rows(tensors, layout)


def _are_arrays(source: Any) -> bool:
    """Return whether `source` is a dict of arrays, or (X, y) with X and y arrays or dicts of arrays."""
    if isinstance(source, Mapping):
        return bool(source) and all(map(_is_column, source.values()))
    if not isinstance(source, (tuple, list)) or len(source) != 2:
        return False
    x, y = source
    if isinstance(source, list) and not (_is_column(x) and _is_column(y)):
        return _is_example_list(x) and _is_column(y) and len(x) == len(y)
    inputs = _is_column(x) or (isinstance(x, Mapping) and _are_arrays(x))
    if _is_example_list(x) and isinstance(y, Sized) and len(y) == len(x):
        inputs = True
    targets = y is None or _is_column(y) or (isinstance(y, Mapping) and _are_arrays(y))
    return inputs and targets and not (isinstance(x, Mapping) and isinstance(y, Mapping))


def _is_column(value: Any) -> bool:
    """Return whether `value` has one row per example: an array, or a list of numbers or of lists of them."""
    if is_array(value) or (hasattr(value, "__array__") and not isinstance(value, type)):
        return True
    if hasattr(value, "tocsr"):
        raise DataError(
            f"expected dense arrays, got a sparse {type(value).__name__}; convert with .toarray()"
        )
    some = value
    while isinstance(some, list) and some:
        some = some[0]
    return some is not value and (
        isinstance(some, (int, float, complex, str, np.generic)) or _is_scalar(some)
    )


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0


def _is_example_list(value: Any) -> bool:
    """Return whether `value` is a list of arrays of one shape, such as images."""
    if not isinstance(value, list) or not value or not all(map(is_array, value)):
        return False
    return len({tuple(each.shape) for each in value}) == 1


def _several(data: Any) -> str:
    """Say how several inputs are given, if `data` may hold them."""
    flat = [part for each in data for part in (each if isinstance(each, tuple) else (each,))]
    if len(flat) > 2 and all(map(_is_column, flat)):
        return 'Several inputs are a dict of arrays: ({"a": A, "b": B}, y)'
    return "Give ((X, y), (X, y)) or two loaders for the first, (X, y) for the second"
