"""Facts about the data of a run, by which a resumed run recognises them.

Facts are cheap: sizes, dtypes, and hashes of labels and of a sample of the examples. They neither draw an
example of a loader nor a random number.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Subset, TensorDataset

from .._core import DataError
from .._values.digest import little_endian
from .arrays import ArrayData, as_tensor, is_array, is_labels, name_of
from .passes import IterablePasses, LoaderPasses, Passes
from .planned import PlannedPasses
from .structure import Layout

Facts: TypeAlias = dict[str, str]
_Pick: TypeAlias = Callable[[Any, "Tensor | None"], Tensor]

_HASHES = (".sample", ".labels", ".files")  # src/search/fingerprint.rs has the same list
_EXAMPLES = 64
_TOKENS = 1 << 16
_BYTES = 1 << 22  # of a sample
_SHOWN = {
    "source": "{}",
    "dataset": "{}",
    "examples": "{} examples",
    "batches": "{} batches",
    "tokens": "{} tokens",
    "vocabulary": "{} words",
    "shape": "shape {}",
    "dtype": "{}",
    "batch_size": "batches of {}",
}


def of_arrays(data: ArrayData, part: str) -> Facts:
    """Return the facts about images and targets that are given as arrays; `part` begins their names.

    >>> data = ArrayData(torch.zeros(9, 1, 8, 8), torch.arange(9) % 2)
    >>> sorted(of_arrays(data, "train"))[:3]
    ['train.dtype', 'train.examples', 'train.labels']
    """
    facts = _named(
        part,
        source="arrays",
        examples=len(data.x),
        shape=list(data.shape),
        dtype=name_of(data.given or data.x.dtype),
        sample=_hash(_sampled(data.x)),
        labels=_hash(data.y),
    )
    return facts | _of_targets(data.y, part)


def _of_targets(y: Tensor, part: str) -> Facts:
    """Return the facts about targets that are no labels; those of labels are the facts of version 1."""
    return {} if is_labels(y) else _leaf(y, "targets", part, held=False)


def of_tokens(tokens: Tensor, part: str) -> Facts:
    """Return the facts about a text.

    >>> of_tokens(torch.arange(100) % 7, "valid")["valid.vocabulary"]
    '7'
    """
    picked = tokens[_evenly(len(tokens), _TOKENS)]
    vocabulary = int(tokens.max()) + 1
    return _named(part, source="tokens", tokens=len(tokens), vocabulary=vocabulary, sample=_hash(picked))


def of_loader(loader: Any, passes: Passes | None, part: str) -> Facts:
    """Return the facts about a loader or an iterable of batches, without reading from it.

    `passes` are those over the whole loader; None if it is split, which always shuffles.
    """
    source = type(loader).__name__
    if not isinstance(loader, DataLoader):
        count = passes.length() if isinstance(passes, IterablePasses) else None
        return _named(part, source=source, batches=count)
    facts = _named(
        part,
        source=source,
        order=None if passes is None else _order(loader, passes),
        batch_size=getattr(loader.batch_sampler, "batch_size", loader.batch_size),
        drop_last=loader.drop_last,
    )
    return facts | _of_dataset(loader.dataset, part)


def _order(loader: DataLoader[Any], passes: Passes) -> str | None:
    if isinstance(passes, LoaderPasses):
        return "shuffled" if passes.sampler.shuffle else "in order"
    if isinstance(passes, PlannedPasses) and passes.indices is not None:
        return "shuffled" if passes.shuffle else "in order"
    if isinstance(loader.dataset, IterableDataset):
        return None
    custom = type(loader.batch_sampler) is not BatchSampler
    return type(loader.batch_sampler if custom else loader.sampler).__name__


def of_batch(batch: Any, loader: Any, part: str) -> Facts:
    """Return the facts about the first batch (x, y) that `loader` gave, which has been checked."""
    x, y = (as_tensor(each, "a batch") for each in batch)
    facts = _named(part, shape=list(x.shape[1:]), dtype=name_of(x.dtype)) | _of_targets(y, part)
    if isinstance(loader, (list, tuple)):  # every pass begins with this batch
        facts |= _named(part, sample=_hash(_sampled(x)), labels=_hash(_whole(y)))
    return facts


def of_rows(tensors: Sequence[Tensor], paths: Sequence[str], part: str) -> Facts:
    """Return the facts about arrays of any number, by their paths.

    >>> sorted(of_rows([torch.zeros(9, 2)], ['x["a"]'], "data"))[:3]
    ['data.examples', 'data.source', 'data.x["a"].dtype']
    """
    facts = _named(part, source="arrays", examples=len(tensors[0]))
    for tensor, path in zip(tensors, paths, strict=True):
        facts |= _leaf(tensor, path, part, held=True)
    return facts


def of_structure(tensors: Sequence[Tensor], layout: Layout, part: str, held: bool) -> Facts:
    """Return the facts about the tensors of the first batch, by their paths.

    `held`: whether every pass begins with this batch.
    """
    facts: Facts = {}
    for tensor, path in zip(tensors, layout.paths, strict=True):
        facts |= _leaf(tensor, path, part, held)
    return facts


def _leaf(tensor: Tensor, path: str, part: str, held: bool) -> Facts:
    small = tensor.numel() * tensor.dtype.itemsize <= _BYTES or not tensor.ndim
    return _named(
        f"{part}.{path}",
        shape=list(tensor.shape[1:]),
        dtype=name_of(tensor.dtype),
        sample=(_hash(tensor if small else _sampled(tensor))) if held else None,
    )


def _of_dataset(dataset: Any, part: str) -> Facts:
    """Return the facts about a data set, without its transforms: hashes only of arrays in memory."""
    try:
        count = len(dataset)
    except TypeError:  # an IterableDataset
        count = None
    indices: Tensor | None = None
    more: dict[str, str | None] = {}
    while isinstance(dataset, Subset):
        own = torch.from_numpy(np.asarray(dataset.indices, dtype=np.int64).copy())
        indices, dataset = own if indices is None else own[indices], dataset.dataset
    if isinstance(dataset, TensorDataset):
        tensors = dataset.tensors
        held = dict(zip(("data", "targets"), tensors, strict=False))
        more = {f"tensors[{n}]": _held(tensors[n], indices, _sampled) for n in range(2, len(tensors))}
    else:
        held = getattr(dataset, "__dict__", {})  # an attribute of the class may be a slow property
    return _named(
        part,
        dataset=type(dataset).__name__,
        examples=count,
        indices=None if indices is None else _hash(indices),
        sample=_first(held, ("data", "images", "x", "X"), indices, _sampled),
        labels=_first(held, ("targets", "labels", "y"), indices, _picked),
        files=_files(held, indices),
        **{f"{name}.sample": found for name, found in more.items()},
    )


def _first(held: Mapping[str, Any], names: Iterable[str], indices: Tensor | None, pick: _Pick) -> str | None:
    """Return the hash of the first of some attributes that can be hashed."""
    hashes = (_held(held.get(name), indices, pick) for name in names)
    return next((found for found in hashes if found is not None), None)


def _files(held: Mapping[str, Any], indices: Tensor | None) -> str | None:
    """Return a hash of classes and files, relative to their folder, as torchvision's data sets hold them."""
    samples = held.get("samples", held.get("imgs"))
    if not isinstance(samples, (list, tuple)) or not samples:
        return None
    order = torch.arange(len(samples), device="cpu") if indices is None else indices
    picked = [samples[number] for number in order[_evenly(len(order), _TOKENS)].tolist()]
    try:
        labels = [int(label) for _, label in picked]
        paths = [os.path.normpath(path) for path, _ in picked]
        folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    except (TypeError, ValueError):  # samples of another kind
        return None
    names = [path[len(folder) :].replace(os.sep, "/").lstrip("/") for path in paths]
    classes = list(map(str, held.get("classes") or ()))
    return hashlib.blake2b(json.dumps([classes, names, labels]).encode(), digest_size=8).hexdigest()


def _held(values: Any, indices: Tensor | None, pick: _Pick) -> str | None:
    """Return the hash of values that a data set holds in memory; None if they are of another kind."""
    if not (is_array(values) or isinstance(values, (list, tuple))):
        return None
    try:
        return _hash(pick(values, indices)) if len(values) else None
    except (DataError, ValueError, TypeError, IndexError, AttributeError, RuntimeError):
        return None


def _picked(values: Any, indices: Tensor | None) -> Tensor:
    found = _whole(as_tensor(values, "the labels"))
    return found if indices is None else found[indices]


def _whole(labels: Tensor) -> Tensor:
    """Return integers as int64, so that their width does not matter."""
    return labels if labels.is_floating_point() or labels.is_complex() else labels.long()


def _sampled(rows: Any, indices: Tensor | None = None) -> Tensor:
    """Return evenly spaced rows, as many as fit into the size of a sample and at least one."""
    size = math.prod(rows.shape[1:]) * rows.dtype.itemsize
    order = torch.arange(len(rows), device="cpu") if indices is None else indices
    picked = order[_evenly(len(order), max(1, min(_EXAMPLES, _BYTES // max(1, size))))]
    return as_tensor(rows[picked] if isinstance(rows, Tensor) else rows[picked.numpy()], "the sample")


def _evenly(n: int, most: int) -> Tensor:
    """Return at most `most` evenly spaced indices below `n`, the first and the last among them.

    >>> _evenly(9, 3).tolist(), _evenly(2, 3).tolist()
    ([0, 4, 8], [0, 1])
    """
    count = min(n, most)
    return torch.arange(count, device="cpu") * (n - 1) // max(1, count - 1)


def _hash(tensor: Tensor) -> str:
    held = tensor.detach().cpu()
    # NumPy has no bfloat16; its values are exact in float32.
    array = (held.float() if held.dtype == torch.bfloat16 else held).numpy()
    return hashlib.blake2b(little_endian(array), digest_size=8).hexdigest()


def _named(part: str, **facts: Any) -> Facts:
    return {f"{part}.{name}": str(value) for name, value in facts.items() if value is not None}


def comparable(*facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Leave out hashes that one of two fingerprints lacks: a data set may read its data at the first access.

    >>> comparable({"data.sample": "6f3a", "data.examples": "9"}, {"data.examples": "8"})
    [{'data.examples': '9'}, {'data.examples': '8'}]
    """
    dropped = {name for name in facts[0].keys() ^ facts[1].keys() if name.endswith(_HASHES)}
    return [{name: value for name, value in each.items() if name not in dropped} for each in facts]


def summary(facts: Mapping[str, str]) -> dict[str, str]:
    """Describe each part of the data, for people.

    >>> summary({"data.examples": "9", "data.shape": "[1, 8, 8]", "data.sample": "6f3a", "loss": "mse"})
    {'data': '9 examples, shape [1, 8, 8]'}
    """
    texts: dict[str, list[str]] = {}
    for path in dict.fromkeys(name.rpartition(".")[0] for name in facts):
        part, _, member = path.partition(".")
        prefix = f"{member} " if member else ""
        found = {fact: text for fact, text in _SHOWN.items() if f"{path}.{fact}" in facts}
        if found:
            said = [prefix + text.format(facts[f"{path}.{fact}"]) for fact, text in found.items()]
            texts.setdefault(part, []).extend(said)
    return {part: ", ".join(shown) for part, shown in texts.items()}
