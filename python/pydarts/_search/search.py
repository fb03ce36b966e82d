"""`search`: run a search and bring home whatever comes of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from .. import _core
from .._data.interrupt import InterruptWatch
from .._data.loaders import Loader, open_sources
from .._results.ending import end
from .._results.environment import environment
from .._results.history import EpochRecord, History, record_from
from .._results.result import SearchResult
from .._values.config import SearchConfig
from .._values.files import held
from .._values.genotype import Genotype
from ..nn._convolutional import reductions
from .callbacks import Callback, listeners
from .observers import Observers
from .progress import Progress


def search(
    loader: Loader,
    cfg: SearchConfig | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> SearchResult:
    """Search for a cell: learn α on the validation loss while the weights learn on the training loss.

    This is algorithm 1 of the paper. Every step takes a validation batch for α, then a training batch for the
    weights.

    Args:
        loader: the data. One of

            - `(X, y)`: images [N, C, H, W], uint8 (scaled to [0, 1], then by `mean` and `std`, computed if
              not given) or floating (taken as they are), and integer labels [N], as numpy arrays or tensors;
              split by `train_portion`, batches of `batch_size`;
            - a map-style `DataLoader` with sequential or shuffled order: its examples are split by
              `train_portion`;
            - a pair `(train, valid)`, each `(X, y)`, a `DataLoader`, or any re-iterable of batches `(x, y)`.

            A recurrent space reads `(train_tokens, valid_tokens)`, whole numbers [N] as `datasets.corpus`
            gives them. Otherwise a 2-tuple of arrays is `(X, y)`; any other 2-tuple is a pair. Sizes that
            `cfg` leaves open are read from the data; where only the labels can tell the number of classes,
            one pass over the loader is spent on it. Batches of a loader are fetched ahead on a thread; random
            transforms are repeatable with worker processes only, whose seeds are a function of (seed, pass).
        cfg: the choices of the search; None: the published ones.
        callbacks: told of the start, every step, every epoch and the end.
        loss: (logits [N, classes], labels [N]) -> scalar tensor; None: cross-entropy.

    Returns:
        The result. After Ctrl-C that of the steps done so far, with status "interrupted".

    Raises:
        ConfigError, SpaceError: choices that cannot be.
        DataError: what is wrong with the data, and what to do about it.
        DeviceError: CUDA asked for where there is none.
        CheckpointError: a checkpoint that is broken, or of another search.
        NumericalError: a loss became NaN or infinite.
        OutOfMemoryError: with the plan's estimate and a batch size to try.

    An exception of the loader, a callback or `loss` comes out as it is. Whatever stops a search that has
    begun carries what was reached as its attribute `result`, with status "failed".

    >>> import numpy as np, pydarts
    >>> X, y = np.zeros((16, 1, 8, 8), np.uint8), np.arange(16) % 2
    >>> cfg = pydarts.SearchConfig(channels=2, layers=3, epochs=1, batch_size=8, progress=False)
    >>> result = pydarts.search((X, y), cfg)
    >>> result.status, result.alphas["normal"].shape
    ('complete', (2, 14, 8))
    """
    config = SearchConfig() if cfg is None else cfg
    if not isinstance(config, SearchConfig):
        raise _core.ConfigError(f"cfg must be a SearchConfig, got a {type(cfg).__name__}")
    told = listeners(callbacks, Callback)
    if loss is not None and not callable(loss):
        raise TypeError(f"loss must be callable on (logits, targets), got a {type(loss).__name__}")
    sources = open_sources(loader, config)
    _warn_of_absent_cells(sources.config)
    shown = any(callback.shows_progress for callback in told)
    progress = Progress(sources.config.resolved_space, steps=not shown) if config.progress else None
    watch = InterruptWatch()
    sources.poll_with(watch.check)
    try:
        with watch, held(sources.config.checkpoint_dir):
            outcome = _core.search(
                sources.config.to_json(),
                sources.train,
                sources.valid,
                sources.evaluation,
                Observers(told, progress, watch, sources.config),
                loss,
            )
    finally:
        if progress is not None:
            progress.close()
        sources.close()
    if watch.seen and outcome["status"] != "complete":  # whatever it was, it came of the interrupt
        outcome["status"], outcome["error"] = "interrupted", None
    result = _result(outcome, loss)
    error = outcome["error"]
    if result.status == "interrupted" or isinstance(error, KeyboardInterrupt):
        error = None
    return end(result, error, told, "search")


def _warn_of_absent_cells(config: SearchConfig) -> None:
    """Tell where a network is so shallow that one α is not in it."""
    space, layers = config.resolved_space, config.layers
    if space.kind == "recurrent":
        return
    # Without positions of its own a space has the published ones.
    positions = reductions(layers) if space.reductions is None else space.reductions
    reduced = {position for position in positions if position < layers}
    for name, count in (("normal", layers - len(reduced)), ("reduce", len(reduced))):
        if not count:
            warnings.warn(
                f"no {name} cell stands in a network of {layers} cells: its α learns nothing, and what is "
                "derived from it means nothing",
                UserWarning,
                stacklevel=3,
            )


def _result(outcome: dict[str, Any], loss: Callable[..., Tensor] | None) -> SearchResult:
    return SearchResult(
        genotype=Genotype.from_json(outcome["genotype"]),
        alphas={name: np.asarray(values) for name, values in outcome["alphas"].items()},
        steps=tuple(outcome["steps"]),
        history=History([record_from(record, EpochRecord) for record in json.loads(outcome["history"])]),
        config=SearchConfig.from_json(outcome["config"]),
        status=outcome["status"],
        state_dict=outcome["state_dict"],
        threads=outcome["threads"],
        forms=outcome["forms"],
        environment=environment(outcome["device"], precision=outcome["precision"]),
        loss=None if loss is None else getattr(loss, "__name__", type(loss).__name__),
    )
