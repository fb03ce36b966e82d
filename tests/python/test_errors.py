"""Bad input ends in an exception of the documented type that names cause and remedy, never in a hang."""

import inspect
import json
from pathlib import Path

import bad_choices
import bad_data
import bad_runs
import numpy as np
import pydarts
import pytest
import torch
from bad_runs import Exploding
from conftest import make_arrays, make_config
from pydarts import search

ROWS = {**bad_data.ROWS, **bad_choices.ROWS, **bad_runs.ROWS}


@pytest.mark.parametrize("name", ROWS)
def test_bad_input_raises_the_documented_exception(name: str, tmp_path: Path) -> None:
    kind, message, function = ROWS[name]
    with pytest.raises(kind, match=f"(?s){message}") as caught:
        function(tmp_path / "run")
    assert type(caught.value) is kind or kind is OSError


@pytest.mark.parametrize(
    "name", ["a loss that becomes nan", "infinity in a batch", "labels of a batch out of range"]
)
def test_a_search_that_fails_midway_keeps_the_last_good_state(name: str, tmp_path: Path) -> None:
    kind, _, function = ROWS[name]
    with pytest.raises(kind) as caught:
        function(tmp_path)
    result = caught.value.result  # type: ignore[attr-defined]
    assert result.status == "failed" and result.steps[-1] == 2
    assert all(np.isfinite(alpha).all() for alpha in result.alphas.values())
    assert all(torch.isfinite(value).all() for value in result.state_dict.values())


def test_a_failed_weight_step_takes_the_step_of_alpha_back() -> None:
    with pytest.raises(pydarts.NumericalError, match=r"training loss.*NaN.*step 2") as caught:
        search(make_arrays(), make_config(), loss=Exploding(float("nan"), since=6))
    failed = caught.value.result
    whole = search(make_arrays(), make_config(record="step"))
    assert failed is not None and failed.steps[-1] == 2
    for name, alpha in failed.alphas.items():  # recorded by epoch, so the last point is what was left
        assert np.array_equal(alpha[-1], whole.alphas[name][2])


def public_exceptions() -> set[type[BaseException]]:
    found = {name: getattr(pydarts, name) for name in pydarts.__all__}
    return {value for value in found.values() if inspect.isclass(value) and issubclass(value, BaseException)}


def test_every_public_exception_has_a_row() -> None:
    elsewhere = {pydarts.RankError} | ({pydarts.DeviceError} if torch.cuda.is_available() else set())
    assert public_exceptions() - {kind for kind, _, _ in ROWS.values()} - elsewhere == {pydarts.Error}


def test_every_public_exception_is_an_error_of_pydarts_and_a_builtin_one() -> None:
    builtin = {
        pydarts.ConfigError: ValueError,
        pydarts.SpaceError: ValueError,
        pydarts.GenotypeError: ValueError,
        pydarts.DataError: ValueError,
        pydarts.NumericalError: ArithmeticError,
        pydarts.CheckpointError: ValueError,
        pydarts.DeviceError: RuntimeError,
        pydarts.OutOfMemoryError: MemoryError,
        pydarts.RankError: RuntimeError,
        pydarts.EngineError: RuntimeError,
    }
    assert public_exceptions() == {pydarts.Error, *builtin}
    for kind, base in builtin.items():
        assert issubclass(kind, pydarts.Error) and issubclass(kind, base)
        assert kind.__module__ == "pydarts" and kind.__doc__


def test_messages_hold_no_trace_of_the_machinery(tmp_path: Path) -> None:
    with pytest.raises(pydarts.ConfigError) as caught:
        pydarts.SearchConfig(epochs=0)
    assert json.dumps(str(caught.value)).isascii()
    assert "Traceback" not in str(caught.value) and "ErrorKind" not in str(caught.value)
