"""Validate token arrays and build the three sources of a recurrent search."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _core
from .._values.config import SearchConfig
from .arrays import as_tensor, is_array, stacked
from .fingerprint import Facts, of_tokens
from .memory import batch_size

_FORM = "give (train_tokens, valid_tokens), two 1-D arrays of integers"


def open_texts(loader: Any, config: SearchConfig) -> tuple[list[_core.Tokens], SearchConfig, Facts]:
    """Build the training, validation and evaluation sources, set `num_classes`, and identify the texts."""
    train, valid = tokens_of(loader)
    for field, off in (
        ("augment", "none"),
        ("cutout", 0),
        ("mean", None),
        ("std", None),
    ):
        if getattr(config, field) != off:
            raise _core.ConfigError(f"{field} applies to images only; omit it for a recurrent space")
    if config.batch_size == "auto":
        raise _core.ConfigError('batch_size="auto" applies to images only; give a number of sequences')
    if config.num_classes is None:
        config = config.replace(num_classes=int(max(train.max(), valid.max())) + 1)
    size = batch_size(config)
    evaluated = config.eval_batch_size or size
    sources = [_core.Tokens(train, "train", size), _core.Tokens(valid, "valid", size)]
    facts = of_tokens(train, "train") | of_tokens(valid, "valid")
    return [*sources, _core.Tokens(valid, "eval", evaluated)], config, facts


def tokens_of(texts: Any) -> tuple[Tensor, Tensor]:
    """Return the training and the validation tokens, each int64 [N].

    Raises:
        DataError: `texts` is not a tuple of two non-empty 1-D arrays of integers.
    """
    words = isinstance(texts, str)
    if isinstance(texts, (tuple, list)) and len(texts) == 2:
        words = any(_is_words(part) for part in texts)
        texts = tuple(
            part if is_array(part) or not _is_tokens(part) else stacked(part, "a text") for part in texts
        )
    if hasattr(texts, "vocabulary") and hasattr(texts, "train"):
        raise _core.DataError(f"got a {type(texts).__name__}; give its tokens: (text.train, text.valid)")
    if words:
        raise _core.DataError("expected token numbers, got text; tokenize it with datasets.corpus(text)")
    if not isinstance(texts, tuple) or len(texts) != 2 or not all(is_array(part) for part in texts):
        parts = texts if isinstance(texts, tuple) else [texts]
        got = " and ".join(f"a {type(part).__name__}" for part in parts)
        raise _core.DataError(f"expected two token arrays, got {got}; {_FORM}")
    train, valid = texts
    return _tokens(train, "training"), _tokens(valid, "validation")


def columns(tokens: Tensor, batch: int, least: int, name: str) -> Tensor:
    """Divide a text into `batch` parallel sequences, [length, batch].

    The remainder at the end of the text is dropped.

    Raises:
        DataError: a sequence has fewer than `least` tokens.
    """
    length = len(tokens) // batch
    if length < least:
        raise _core.DataError(
            f"the {name} text has {len(tokens)} tokens, {length} for each of {batch} sequences, fewer than "
            f"{least}; give more text, or reduce batch_size or bptt"
        )
    return tokens[: length * batch].view(batch, length).T.contiguous()


def _is_tokens(part: object) -> bool:
    return hasattr(part, "__array__") or (isinstance(part, (list, tuple, range)) and not _is_words(part))


def _is_words(part: object) -> bool:
    return isinstance(part, str) or (
        isinstance(part, (list, tuple)) and any(isinstance(w, str) for w in part[:1])
    )


def _tokens(part: Any, name: str) -> Tensor:
    tokens = as_tensor(part, f"the {name} tokens")
    whole = not (tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool)
    if tokens.ndim != 1 or not whole:
        raise _core.DataError(f"the {name} tokens are {tokens.dtype} of shape {list(tokens.shape)}; {_FORM}")
    if tokens.numel() == 0:
        raise _core.DataError(f"the {name} tokens are empty; give more text")
    return tokens.long()
