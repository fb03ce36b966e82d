"""Two rows of tokens: checked, and turned into the three sources of a recurrent search."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _core
from .._values.config import SearchConfig
from .arrays import as_tensor, is_array
from .memory import batch_size

_FORM = "text is (train_tokens, valid_tokens), two rows of whole numbers"


def open_texts(loader: Any, config: SearchConfig) -> tuple[list[_core.Tokens], SearchConfig]:
    """Sources of training, validation and evaluation segments; the configuration with the number of words."""
    train, valid = tokens_of(loader)
    for field, off in (
        ("augment", "none"),
        ("cutout", 0),
        ("mean", None),
        ("std", None),
    ):
        if getattr(config, field) != off:
            raise _core.ConfigError(f"{field} is for images; leave it out with a recurrent space")
    if config.batch_size == "auto":
        raise _core.ConfigError('batch_size="auto" is for images; give a number of sequences')
    if config.num_classes is None:
        config = config.replace(num_classes=int(max(train.max(), valid.max())) + 1)
    size = batch_size(config)
    evaluated = config.eval_batch_size or size
    sources = [_core.Tokens(train, "train", size), _core.Tokens(valid, "valid", size)]
    return [*sources, _core.Tokens(valid, "eval", evaluated)], config


def tokens_of(texts: Any) -> tuple[Tensor, Tensor]:
    """Training and validation tokens, int64 [N] each.

    Raises:
        DataError: not two rows of whole numbers, or an empty one.
    """
    if not isinstance(texts, tuple) or len(texts) != 2 or not all(is_array(part) for part in texts):
        raise _core.DataError(f"{_FORM}; got a {type(texts).__name__}")
    train, valid = texts
    return _tokens(train, "training"), _tokens(valid, "validation")


def columns(tokens: Tensor, batch: int, least: int, name: str) -> Tensor:
    """A text divided among `batch` sequences that are read side by side, [length, batch].

    The last few tokens that do not fill all of them are left out.

    Raises:
        DataError: fewer than `least` tokens for each.
    """
    length = len(tokens) // batch
    if length < least:
        raise _core.DataError(
            f"the {name} text has {len(tokens)} tokens, {length} for each of {batch} sequences; {least} are "
            "needed: give more text, or lower batch_size or bptt"
        )
    return tokens[: length * batch].view(batch, length).T.contiguous()


def _tokens(part: Any, name: str) -> Tensor:
    tokens = as_tensor(part, f"the {name} tokens")
    whole = not (tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool)
    if tokens.ndim != 1 or not whole:
        raise _core.DataError(f"the {name} tokens are {tokens.dtype} of shape {list(tokens.shape)}; {_FORM}")
    if tokens.numel() == 0:
        raise _core.DataError(f"the {name} tokens are empty; give more text")
    return tokens.long()
