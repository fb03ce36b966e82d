"""The values of `pydarts.algorithms`: names and fields of the core, relaxations, schedules, JSON."""

from __future__ import annotations

import copy
import inspect
import json
import math
import pickle
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import SearchConfig, _core, algorithms
from pydarts._values.fields import FIELDS
from pydarts._values.variants import AXES, Variant
from pydarts.algorithms import (
    Cosine,
    Dirichlet,
    Exponential,
    Gumbel,
    GumbelHard,
    Identity,
    Linear,
    Random,
    Relaxation,
    Schedule,
    Softmax,
)
from torch import Tensor

ROW = [0.2, -0.1, 0.5]  # softmax: 0.323554, 0.239694, 0.436752
NOISE = [1.030930, -0.185627, 0.366513]
CLASSES = [kind for base in AXES.values() for kind in base._classes.values()]
RELAXATIONS = [kind() for kind in Relaxation._classes.values()]
EXAMPLES = [Linear(10, 0.1), Cosine(1, 0), Exponential(4, 1), *(k() for k in CLASSES if k.axis != "schedule")]


NEEDY = ("latency", "kl_anchor")  # terms that need a file, or a relaxation


def draws(relaxation: Relaxation) -> bool:
    try:
        relaxation.sample([0.0])
    except pydarts.ConfigError:
        return False
    return True


# ---- Names and fields


@pytest.mark.parametrize("axis", _core.variant_axes())
def test_every_variant_of_the_core_is_a_class_with_its_name_and_defaults(axis: str) -> None:
    kinds = AXES[axis]._classes
    assert list(kinds) == [known["name"] for known in _core.variants(axis)]
    assert [kinds[known["name"]]().to_dict() for known in _core.variants(axis)] == _core.variants(axis)


@pytest.mark.parametrize("axis", _core.variant_axes())
def test_every_kind_of_variant_is_an_option_that_shows_its_class(axis: str) -> None:
    [row] = [row for row in FIELDS if row.name == axis]
    name = AXES[axis].__name__
    assert name in row.type.split(" | ") or row.type == f"tuple[{name}, ...]"
    default = inspect.signature(SearchConfig).parameters[axis].default
    # A hypergradient without parameters is shown as its name.
    named = axis == "hypergradient" and default in AXES[axis]._classes
    assert named or default in (None, ()) or isinstance(default, AXES[axis])


def test_every_class_is_public_and_documents_its_fields() -> None:
    assert {kind.__name__ for kind in CLASSES} <= set(algorithms.__all__)
    for name in algorithms.__all__:
        kind = getattr(algorithms, name)
        if name in ("Preset", "presets", "table"):
            continue
        assert issubclass(kind, Variant)
        doc = inspect.getdoc(kind) or ""
        assert len(doc.splitlines()[0]) > 20, name
        fields = getattr(kind, "__dataclass_fields__", {})
        assert kind.axis == "schedule" or all(f"{field}:" in doc for field in fields), name


# ---- Relaxations


@pytest.mark.parametrize(
    ("relaxation", "state", "noise", "expected"),
    [
        (Softmax(), None, None, (0.323554, 0.239694, 0.436752)),
        (Softmax(temperature=1.6), None, None, (0.329461, 0.273133, 0.397406)),
        (Softmax(), {"temperature": 0.5}, None, (0.296654, 0.162807, 0.540539)),
        (Softmax(temperature=Linear(10, 0.1)), {"temperature": 0.1}, None, (0.047314, 0.002356, 0.950330)),
        (Gumbel(), None, NOISE, (0.522448, 0.114660, 0.362893)),
        (Gumbel(), {"temperature": 10}, NOISE, (0.354171, 0.304333, 0.341496)),
        (Gumbel(temperature=0.1), None, NOISE, (0.974523, 0.0, 0.025477)),
        (Gumbel(temperature=0.1), None, None, (0.323554, 0.239694, 0.436752)),
        (Identity(), None, None, tuple(ROW)),
        (GumbelHard(), None, NOISE, (1, 0, 0)),
        (GumbelHard(temperature=10), None, NOISE, (1, 0, 0)),
        (GumbelHard(), None, None, (0.323554, 0.239694, 0.436752)),
        (Dirichlet(), None, None, (0.332886, 0.251006, 0.416108)),
        (Dirichlet(), None, (0.5, 0.2, 0.3), (0.5, 0.2, 0.3)),
        (Random(), None, None, (1 / 3, 1 / 3, 1 / 3)),
        (Random(), None, (0, 1, 0), (0, 1, 0)),
    ],
)
def test_mixing_weights_are_the_published_numbers(
    relaxation: Relaxation, state: Any, noise: Any, expected: tuple[float, ...]
) -> None:
    found = relaxation.weights(ROW, state=state, noise=noise)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("relaxation", "m", "noise", "expected"),
    [
        (GumbelHard(), (1, 0, 0), NOISE, (0.249496, -0.059904, -0.189592)),
        (Gumbel(), None, NOISE, (-0.439089, 0.018295, 0.420794)),
        (Dirichlet(), (0.5, 0.2, 0.3), (0.5, 0.2, 0.3), (-0.343369, 0.063925 * math.exp(-0.1), 0.341055)),
        (Random(), (1, 0, 0), (1, 0, 0), (0, 0, 0)),
    ],
)
def test_derivatives_are_the_published_numbers(
    relaxation: Relaxation, m: Any, noise: Any, expected: tuple[float, ...]
) -> None:
    """ALGORITHMS 1.2.10 and 1.4.10, with g = (1, 2, 3)."""
    weights = relaxation.weights(ROW, noise=noise)
    assert m is None or weights.tolist() == pytest.approx(m)
    found = relaxation.backward(ROW, weights, [1.0, 2.0, 3.0], noise=noise)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)


def test_trap_1_2_a_candidates_that_did_not_run_count_as_0() -> None:
    """Else the derivative would be that of the soft Gumbel; added as scalars, it would be 0 here."""
    weights = GumbelHard().weights(ROW, noise=NOISE)
    found = GumbelHard().backward(ROW, weights, [1.0, 2.0, 3.0], noise=NOISE)
    only = GumbelHard().backward(ROW, weights, [1.0, 0.0, 0.0], noise=NOISE)
    assert torch.equal(found, only) and bool((found != 0).all())


logit = st.floats(-4, 4)


@pytest.mark.parametrize("relaxation", RELAXATIONS, ids=lambda relaxation: relaxation.name)
@settings(max_examples=30)
@given(data=st.data(), rows=st.integers(1, 3), columns=st.integers(1, 4), scale=st.floats(0.3, 3))
def test_every_derivative_equals_central_differences(
    relaxation: Relaxation, data: st.DataObject, rows: int, columns: int, scale: float
) -> None:
    def numbers() -> Tensor:
        drawn = data.draw(st.lists(logit, min_size=rows * columns, max_size=rows * columns))
        return torch.tensor(drawn, dtype=torch.float64).view(rows, columns)

    alpha, gradient = numbers(), numbers()
    # With noise the others are constants for central differences: one-hot, or a sample.
    noise = numbers() if relaxation.name == "gumbel" and data.draw(st.booleans()) else None
    defaults = relaxation.to_dict()
    state = {name: value * scale for name, value in defaults.items() if name != "name"}
    m = relaxation.weights(alpha, state, noise)
    found = relaxation.backward(alpha, m, gradient, state, noise)
    step = 1e-5
    for row in range(rows):
        for column in range(columns):
            moved = torch.zeros_like(alpha)
            moved[row, column] = step
            up, down = (relaxation.weights(alpha + sign * moved, state, noise) for sign in (1, -1))
            difference = ((up - down) * gradient).sum() / (2 * step)
            # The second derivative of elu jumps at 0.
            tolerance = 1e-4 if relaxation.name == "dirichlet" else 1e-6
            assert abs(found[row, column] - difference) < tolerance


@pytest.mark.parametrize("relaxation", RELAXATIONS, ids=lambda relaxation: relaxation.name)
def test_rows_do_not_depend_on_each_other_and_a_removed_candidate_is_0(relaxation: Relaxation) -> None:
    removed = [0.2, -math.inf, 0.5]
    noise = relaxation.sample([ROW, removed]) if draws(relaxation) else None
    m = relaxation.weights([ROW, removed], noise=noise)
    gradient = relaxation.backward([ROW, removed], m, [[1.0, 2.0, 3.0]] * 2, noise=noise)
    assert m.isfinite().all() and gradient.isfinite().all()
    assert m[1, 1] == gradient[1, 1] == 0
    row = None if noise is None else noise[0]
    assert torch.equal(m[0], relaxation.weights(ROW, noise=row))
    assert torch.equal(gradient[0], relaxation.backward(ROW, m[0], [1.0, 2.0, 3.0], noise=row))
    short = relaxation.weights([0.2, 0.5], noise=None if noise is None else noise[1, [0, 2]])
    torch.testing.assert_close(m[1, [0, 2]], short, rtol=0, atol=1e-15)


def test_tensors_arrays_and_lists_of_any_dtype_are_accepted() -> None:
    expected = Softmax().weights([1.0, 2.0])
    for given_as in (
        torch.tensor([1, 2]),
        np.array([1.0, 2.0], "float32"),
        (1, 2),
        torch.tensor([2.0, 1]).flip(0),
    ):
        assert torch.equal(Softmax().weights(given_as), expected)
    alpha = torch.tensor([1.0, 2.0], requires_grad=True)
    with torch.no_grad():
        assert not Softmax().weights(alpha).requires_grad
    assert not Identity().weights(alpha).requires_grad
    m = Identity().weights(alpha)
    m += 1
    assert alpha.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: Gumbel().weights(ROW, {"tau": 1}), pydarts.ConfigError, "tau.*temperature"),
        (lambda: Gumbel().weights(ROW, {"name": "softmax"}), pydarts.ConfigError, "name.*temperature"),
        (lambda: Gumbel().weights(ROW, {"temperature": -1}), pydarts.ConfigError, "temperature.*-1"),
        (lambda: Gumbel().weights(ROW, {"temperature": math.nan}), pydarts.ConfigError, "temperature.*nan"),
        (lambda: Gumbel(Linear(2, 1)).weights(ROW), pydarts.ConfigError, "temperature.*state"),
        (lambda: Gumbel().weights(ROW, 0.5), TypeError, "state.*0.5"),
        (lambda: Softmax().weights(ROW, noise=NOISE), pydarts.ConfigError, "softmax.*noise"),
        (lambda: Softmax().sample(ROW), pydarts.ConfigError, "softmax"),
        (lambda: Gumbel().sample(ROW, seed=-1), pydarts.ConfigError, "seed.*-1"),
        (lambda: Gumbel().sample(ROW, step=0.5), pydarts.ConfigError, "step.*0.5"),  # type: ignore[arg-type]
        (lambda: Dirichlet().weights(ROW, noise=[0.5, 0.5, 0.5]), pydarts.DataError, "noise"),
        (lambda: Dirichlet().weights(ROW, noise=[1.5, -0.5, 0.0]), pydarts.DataError, "noise"),
        (lambda: Random().weights(ROW, noise=[0.5, 0.5, 0.0]), pydarts.DataError, "noise"),
        (lambda: Random().weights(ROW, noise=[1.0, 1.0, 0.0]), pydarts.DataError, "noise"),
        (lambda: Gumbel().weights(ROW, noise=NOISE[:2]), pydarts.DataError, r"noise.*\[2\].*\[3\]"),
        (lambda: Gumbel().weights(ROW, noise=[math.inf] * 3), pydarts.DataError, "noise.*inf"),
        (lambda: Softmax().weights([0.1, math.nan]), pydarts.DataError, r"alpha.*nan.*\[1\]"),
        (lambda: Softmax().weights([-math.inf] * 2), pydarts.DataError, "alpha.*row"),
        (lambda: Softmax().weights([[[0.1]]]), pydarts.DataError, r"alpha.*\[1, 1, 1\]"),
        (lambda: Softmax().weights([]), pydarts.DataError, r"alpha.*\[0\]"),
        (lambda: Softmax().weights("abc"), TypeError, "alpha.*abc"),  # type: ignore[arg-type]
        (lambda: Softmax().weights([True]), TypeError, "alpha.*bool"),
        (lambda: Softmax().weights(torch.zeros(2, dtype=torch.complex64)), TypeError, "alpha.*complex"),
        (lambda: Softmax().backward(ROW, ROW[:1], ROW), pydarts.DataError, r"m .*\[1\].*\[3\]"),
        (lambda: Softmax().backward(ROW, ROW, [[1.0] * 3]), pydarts.DataError, r"grad .*\[1, 3\].*\[3\]"),
        (lambda: Softmax().backward(ROW, ROW, [1, 2, math.inf]), pydarts.DataError, "grad .*inf"),
    ],
)
def test_wrong_arguments_are_refused_by_name(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


# ---- Schedules


def test_a_schedule_is_a_function_of_the_epoch() -> None:
    gdas = [Linear(10, 0.1).at(epoch, 250) for epoch in range(250)]
    assert gdas[:2] == pytest.approx([10, 9.960241], abs=1e-6) and gdas[-1] == 0.1
    assert np.diff(gdas) == pytest.approx(-9.9 / 249)
    cosine = [Cosine(1, 0).at(epoch, 5) for epoch in range(5)]
    assert cosine == pytest.approx([1, 0.853553, 0.5, 0.146447, 0], abs=1e-6)
    assert [Exponential(8, 1).at(epoch, 4) for epoch in range(4)] == pytest.approx([8, 4, 2, 1])


@given(start=st.floats(1e-3, 1e3), end=st.floats(1e-3, 1e3), epochs=st.integers(1, 300))
def test_a_schedule_has_its_ends_exactly(start: float, end: float, epochs: int) -> None:
    for kind in Schedule._classes.values():
        schedule = kind(start, end)  # type: ignore[call-arg]
        assert isinstance(schedule, Schedule)
        assert schedule.at(0, epochs) == start
        assert schedule.at(epochs - 1, epochs) == (end if epochs > 1 else start)


# ---- Values


@pytest.mark.parametrize("value", EXAMPLES, ids=repr)
def test_a_value_comes_back_from_everything_that_it_is_written_as(value: Variant) -> None:
    kind = type(value)
    for back in (
        kind.from_dict(value.to_dict()),
        AXES[kind.axis].from_dict(json.loads(json.dumps(value.to_dict()))),
        eval(repr(value), vars(algorithms)),
        copy.deepcopy(value),
        pickle.loads(pickle.dumps(value)),
    ):
        assert back == value and hash(back) == hash(value) and type(back) is kind
    assert next(iter(value.to_dict())) == "name"
    with pytest.raises(AttributeError):
        value.temperature = 3.0  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        del value.name


def test_values_differ_by_class_and_by_field() -> None:
    assert Softmax() != Gumbel() and Softmax(0.5) != Softmax()
    assert Softmax(temperature=Linear(1, 2)) != Softmax(temperature=Cosine(1, 2))
    assert len({Softmax(), Softmax(1), Softmax(np.float32(1)), Softmax(temperature=1.0)}) == 1  # type: ignore[arg-type]
    assert isinstance(Softmax(2).temperature, float)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Gumbel(0), pydarts.ConfigError, "temperature.*0"),
        (lambda: Gumbel("warm"), pydarts.ConfigError, "temperature.*warm"),
        (lambda: Gumbel(True), pydarts.ConfigError, "temperature.*true"),
        (lambda: Gumbel(math.inf), pydarts.ConfigError, "temperature.*inf"),
        (lambda: Gumbel(Linear(1, -2)), pydarts.ConfigError, "temperature.*-2"),
        (lambda: Gumbel(Linear), pydarts.ConfigError, r"Linear\(\)"),
        (lambda: Gumbel(Softmax()), pydarts.ConfigError, "softmax.*linear"),
        (lambda: Linear(1, "end"), pydarts.ConfigError, "end"),
        (lambda: Exponential(-1, 2), pydarts.ConfigError, "-1"),
        (lambda: Gumbel(tau=1), TypeError, "tau"),
        (lambda: Gumbel.from_dict({"name": "softmax"}), pydarts.ConfigError, "softmax.*gumbel"),
        (lambda: Relaxation.from_dict({"name": "gumble"}), pydarts.ConfigError, "gumble.*gumbel"),
        (lambda: Relaxation.from_dict({"temperature": 1}), pydarts.ConfigError, "name"),
        (lambda: Schedule.from_dict({"name": "linear", "start": 1}), pydarts.ConfigError, "end"),
    ],
)
def test_wrong_fields_are_refused_by_name(make: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make()


# ---- As options


@pytest.mark.parametrize(
    "value",
    [
        Gumbel(temperature=Linear(10, 0.1)),
        {"name": "gumbel", "temperature": {"name": "linear", "start": 10, "end": 0.1}},
        {"name": "gumbel", "temperature": Linear(10, 0.1)},
    ],
)
def test_an_option_takes_an_instance_or_a_dictionary(value: Any) -> None:
    expected = Gumbel(temperature=Linear(10, 0.1))
    for config in (
        SearchConfig(relaxation=value),
        SearchConfig.from_dict({"relaxation": value}),
        SearchConfig().replace(relaxation=value),
    ):
        assert config.relaxation == expected
        assert config.to_dict()["relaxation"] == expected.to_dict()
        assert config == SearchConfig(relaxation=expected) != SearchConfig()
        assert hash(config) == hash(SearchConfig(relaxation=expected))
        assert eval(repr(config), {"SearchConfig": SearchConfig} | vars(algorithms)) == config
        assert SearchConfig.from_json(config.to_json()) == config
        assert pickle.loads(pickle.dumps(config)) == config
        assert config.replace(seed=3).relaxation == expected
        assert config.replace(space="darts-rnn").relaxation == expected


@pytest.mark.parametrize("axis", _core.variant_axes())
def test_an_option_takes_every_name_none_and_nothing_else(axis: str) -> None:
    several = isinstance(getattr(SearchConfig(), axis), tuple)
    for name, kind in AXES[axis]._classes.items():
        if name in NEEDY:
            continue
        options: dict[str, Any] = {axis: name} | ({"curvature_every": 1} if name == "curvature" else {})
        shown = getattr(SearchConfig(**options), axis)
        named = axis == "hypergradient" and not kind._fields()
        assert shown == (name if named else (kind(),) if several else kind())
        options[axis] = kind
        with pytest.raises(pydarts.ConfigError, match=kind.__name__):
            SearchConfig(**options)
    options = {axis: None}
    assert SearchConfig(**options) == SearchConfig()
    assert axis not in repr(SearchConfig(**options))
    for wrong in (3, "misspelt", {"temperature": 1}, {"name": 3}, ["softmax"], Linear(1, 2), object()):
        options[axis] = wrong
        with pytest.raises(pydarts.ConfigError, match=f"{axis}|schedule"):
            SearchConfig(**options)


@pytest.mark.parametrize(("epoch", "epochs"), [(-1, 3), (3, 3), (1.5, 3), (0, 0), (True, 3)])
def test_schedules_have_no_number_outside_of_the_search(epoch: Any, epochs: int) -> None:
    with pytest.raises(pydarts.ConfigError, match="epoch"):
        Linear(10, 1).at(epoch, epochs)


def test_zero_edges_are_refused_although_files_write_the_default_so() -> None:
    with pytest.raises(pydarts.ConfigError, match=r"selection\.k"):
        algorithms.Strongest(k=0)
    written = algorithms.Strongest().to_dict()
    assert written["k"] == 0
    assert algorithms.Strongest.from_dict(written) == algorithms.Strongest(k=None)


def test_values_are_read_from_mappings() -> None:
    with pytest.raises(TypeError, match="gumbel"):
        Gumbel.from_dict("gumbel")  # type: ignore[arg-type]
