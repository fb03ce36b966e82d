"""Errors of networks written as Python functions, and of objects that are not networks."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from functions import A, W, X, Y, buffers, config, data, mixed, mixed_loss, product, regression
from pydarts.nn import FunctionNetwork
from torch import Tensor

Named = dict[str, Tensor]


class Sudden(Exception):
    """An exception of the function."""


def test_an_exception_of_the_function_comes_with_the_partial_result() -> None:
    calls = itertools.count()

    def loss(w: Named, m: Named, batch: Any, kept: Named) -> Any:
        if next(calls) == 5:
            raise Sudden
        return mixed_loss(w, m, batch, kept)

    with pytest.raises(Sudden) as caught:
        pydarts.search(data(), config(), network=mixed(loss=loss))
    result = caught.value.result  # type: ignore[attr-defined]
    assert result.status == "failed"
    assert result.steps == (0, 1, 2)
    assert int(result.state_dict["count"]) == 2


def test_ctrl_c_inside_the_function_interrupts_the_search() -> None:
    calls = itertools.count()

    def loss(w: Named, m: Named, batch: Any, kept: Named) -> Any:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return mixed_loss(w, m, batch, kept)

    result = pydarts.search(data(), config(), network=mixed(loss=loss))
    assert result.status == "interrupted"
    assert result.steps == (0, 1, 2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_rolled_back_with_the_buffers(bad: float) -> None:
    def loss(w: Named, m: Named, batch: Any, kept: Named) -> Any:
        kept["sum"].add_(1.5)
        value = mixed_loss(w, m, batch, kept)[0]
        return value * bad if int(kept["count"]) == 3 else value

    network = mixed(loss=loss, buffers=buffers() | {"sum": torch.zeros(2, dtype=torch.float16)})
    with pytest.raises(pydarts.NumericalError, match="step 2") as caught:
        pydarts.search(data(), config(), network=network)
    result = caught.value.result  # type: ignore[attr-defined]
    assert int(result.state_dict["count"]) == 2
    assert result.state_dict["sum"].tolist() == [3.0, 3.0]


def _good(w: Named) -> Tensor:
    return (w["w"] ** 2).sum()


RETURNS: dict[str, tuple[Callable[[Named, Named], Any], type[Exception], str]] = {
    "number": (lambda w, m: 1.0, TypeError, "float"),
    "nothing": (lambda w, m: None, TypeError, "NoneType"),
    "triple": (lambda w, m: (_good(w), 1, 2), TypeError, "tuple"),
    "vector": (lambda w, m: w["w"] ** 2, pydarts.DataError, r"\[2\]"),
    "detached": (lambda w, m: _good(w).detach(), pydarts.DataError, "graph"),
    "dtype": (lambda w, m: _good(w).float(), pydarts.DataError, "float32"),
    "accuracy": (lambda w, m: (_good(w) * m["a"].sum(), 0.5), pydarts.DataError, "float"),
    "too many": (lambda w, m: (_good(w) * m["a"].sum(), 7), pydarts.DataError, "7"),
    "negative": (lambda w, m: (_good(w) * m["a"].sum(), -1), pydarts.DataError, "-1"),
    "text": (lambda w, m: (_good(w) * m["a"].sum(), "all"), TypeError, "all"),
    "without m": (lambda w, m: _good(w), pydarts.DataError, "mixing weights of a"),
    "detached m": (lambda w, m: _good(w) * m["a"].detach().sum(), pydarts.DataError, "mixing weights of a"),
    "counts": (lambda w, m: (_good(w) * m["a"].sum(), torch.ones(2).long()), pydarts.DataError, r"\[2\]"),
}


@pytest.mark.parametrize("case", RETURNS)
def test_wrong_returns_are_named(case: str) -> None:
    returned, error, said = RETURNS[case]
    network = FunctionNetwork(lambda w, m, batch: returned(w, m), {"w": torch.ones(2)}, {"a": torch.zeros(2)})
    with pytest.raises(error, match=said):
        pydarts.search(data(), config(), network=network)


CHANGES: dict[str, tuple[Callable[[Named, Any, Named], Any], str]] = {
    "first weight": (lambda w, batch, kept: w["w"].add_(1), "changed w"),
    "another weight": (lambda w, batch, kept: w["v"].add_(1), "changed w"),
    "x": (lambda w, batch, kept: batch[0].mul_(0.5), "changed x"),
    "y": (lambda w, batch, kept: batch[1].zero_(), "changed y"),
    "another tensor": (lambda w, batch, kept: kept.update(b=kept["b"] + 1), "'b'"),
    "a new buffer": (lambda w, batch, kept: kept.update(new=torch.ones(2)), "'new'"),
    "one buffer less": (lambda w, batch, kept: kept.pop("b"), "'b'"),
    "another shape": (lambda w, batch, kept: kept["b"].resize_(3), r"\[3\]"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_changes_that_a_search_cannot_keep_are_refused(case: str) -> None:
    change, said = CHANGES[case]

    def loss(w: Named, m: Named, batch: Any, kept: Named) -> Tensor:
        with torch.no_grad():
            change(w, batch, kept)
        return _good(w) * m["a"].sum()

    weights = {"w": torch.ones(2), "v": torch.ones(1)}
    network = FunctionNetwork(loss, weights, {"a": torch.zeros(2)}, buffers={"b": torch.ones(1)})
    with pytest.raises(pydarts.DataError, match=said):
        pydarts.search(data(), config(), network=network)


def test_a_table_that_some_losses_leave_out_is_accepted() -> None:
    calls = itertools.count()

    def loss(w: Named, m: Named, batch: Any) -> Tensor:
        return _good(w) * m["ab"[next(calls) % 2]].sum()

    network = FunctionNetwork(loss, {"w": torch.ones(2)}, {"a": torch.zeros(2), "b": torch.zeros(2)})
    assert pydarts.search(data(), config(), network=network).status == "complete"


NETWORKS: dict[str, tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "class": ((torch.nn.MSELoss, W, A), {}, TypeError, "MSELoss"),
    "not callable": ((3, W, A), {}, TypeError, "int"),
    "weights of another type": ((product, [torch.ones(2)], A), {}, TypeError, "weights"),
    "a weight of another type": ((product, {"w": "text"}, A), {}, TypeError, "'w'"),
    "no weights": ((product, {}, A), {}, pydarts.ConfigError, "weights"),
    "no tables": ((product, W, {}), {}, pydarts.ConfigError, "alphas"),
    "whole weight": ((product, {"w": torch.ones(2).long()}, A), {}, pydarts.ConfigError, "int64"),
    "nan": ((product, {"w": torch.tensor([1.0, float("nan")])}, A), {}, pydarts.ConfigError, "'w'"),
    "infinite logit": ((product, W, {"a": -np.inf}), {}, pydarts.ConfigError, "'a'"),
    "empty": ((product, W, {"a": torch.zeros(0)}), {}, pydarts.ConfigError, "'a'"),
    "three dimensions": ((product, W, {"a": torch.zeros(1, 2, 3)}), {}, pydarts.ConfigError, r"\[1, 2, 3\]"),
    "size": ((product, W, {"a": (2, 0)}), {}, pydarts.ConfigError, r"\(2, 0\)"),
    "slash": ((product, {"a/b": torch.ones(1)}, A), {}, pydarts.ConfigError, "a/b"),
    "both": ((product, W, A), {"buffers": W}, pydarts.ConfigError, "'w'"),
    "unknown table": ((product, W, A), {"candidates": {"b": ["x", "y"]}}, pydarts.ConfigError, "'b'"),
    "too few names": ((product, W, A), {"candidates": {"a": ["x"]}}, pydarts.ConfigError, "2 columns"),
    "equal names": ((product, W, A), {"candidates": {"a": ["x", "x"]}}, pydarts.ConfigError, "'x'"),
    "reserved": ((product, W, {"steps": torch.zeros(2)}), {}, pydarts.ConfigError, "'steps'"),
    "too many rows": (
        (product, W, A),
        {"candidates": {"a": [["x", "y"]] * 2}},
        pydarts.ConfigError,
        "1 rows",
    ),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_what_is_no_network_is_refused(case: str) -> None:
    arguments, options, error, said = NETWORKS[case]
    with pytest.raises(error, match=said):
        FunctionNetwork(*arguments, **options)


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = {
    "loss": ({}, {"loss": torch.nn.functional.cross_entropy}, pydarts.ConfigError, "loss"),
    "augment": ({"augment": "cifar"}, {}, pydarts.ConfigError, "augment"),
    "mean": ({"mean": (0.5,)}, {}, pydarts.ConfigError, "mean"),
    "precision": ({"precision": "bfloat16"}, {}, pydarts.ConfigError, "bfloat16"),
    "batch_size": ({"batch_size": "auto"}, {}, pydarts.ConfigError, "batch_size"),
    "network": ({}, {"network": torch.nn.Linear(2, 2)}, pydarts.ConfigError, "Linear"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_without_a_meaning_are_refused(case: str) -> None:
    changes, arguments, error, said = OPTIONS[case]
    with pytest.raises(error, match=said):
        pydarts.search(data(), config(**changes), **({"network": mixed()} | arguments))


BAD: dict[str, tuple[Any, str]] = {
    "nan": (([(X * np.nan, Y)], [(X, Y)]), "NaN"),
    "lengths": (([(X, Y[:3])], [(X, Y)]), r"\[3\]"),
    "no dimension": (([(X, torch.tensor(1.0))], [(X, Y)]), "y of batch 0"),
    "triple": (([(X, Y, Y)], [(X, Y)]), "pair"),
    "empty list": (([], [(X, Y)]), "empty"),
    "empty batch": (([(X[:0], Y[:0])], [(X, Y)]), r"\[0, 3\]"),
    "rows": ((X, Y[:3]), r"\[3\]"),
    "once": ((iter([(X, Y)]), [(X, Y)]), "once"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_batches_are_refused(case: str) -> None:
    given, said = BAD[case]
    with pytest.raises(pydarts.DataError, match=said):
        pydarts.search(given, config(epochs=1, batch_size=4), network=FunctionNetwork(regression, W, A))
