"""Terms of α on single tables: the vectors of the fact sheet, derivatives, masks, options, errors."""

from __future__ import annotations

import math
from typing import Any

import pydarts
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydarts import SearchConfig, _core
from pydarts.algorithms import (
    BetaDecay,
    Entropy,
    Flops,
    KlAnchor,
    Latency,
    Linear,
    Parameters,
    Relaxation,
    Sigmoid,
    Term,
    ZeroOne,
)
from torch import Tensor

ROW = [0.2, -0.1, 0.5]
COSTS = [[100.0, 20.0, 30.0], [7.0, 0.0, 5.0]]
RELAXATIONS = [kind() for kind in Relaxation._classes.values()]
COST_FORMS = ["add", "log", "multiply", "multiply_log"]


def close(found: Tensor, expected: Any, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=0, atol=tolerance)


# ---- Vectors of ALGORITHMS.md


def test_beta_decay_is_the_vector_of_section_1_15() -> None:
    value, gradient = BetaDecay(weight=1).apply(ROW)
    assert value == pytest.approx(1.328390, abs=1e-6)
    close(gradient, (0.323554, 0.239694, 0.436752))


def test_zero_one_is_the_vector_of_section_1_6_in_both_forms() -> None:
    value, gradient = ZeroOne(weight=1).apply(ROW, relaxation=Sigmoid())
    assert value == pytest.approx(-0.006035, abs=1e-6)
    close(gradient, (-0.008223, 0.004153, -0.019186))
    assert ZeroOne(weight=1, form="l1").apply(ROW, relaxation="sigmoid")[0] == pytest.approx(
        -0.065758, abs=1e-6
    )


def test_the_anchor_is_the_vector_of_section_1_4() -> None:
    value, gradient = KlAnchor(weight=1).apply(ROW, relaxation="dirichlet")
    assert value == pytest.approx(0.112253, abs=1e-6)
    close(gradient, (0.060298, -0.339014, 0.274223))
    value, gradient = KlAnchor(weight=1).apply([0.0] * 3, relaxation="dirichlet")
    assert value == pytest.approx(0, abs=1e-12) and not gradient.any()


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        (Flops(weight=0.2, reference=100), 2.04),
        (Flops(weight=0.2, form="multiply_log", reference=100, exponent=0.3), 0.404686),
        (Flops(weight=0.2, form="multiply_log", reference=math.e, exponent=0.6), 1.023587),
        (Flops(weight=1, form="multiply", reference=100, exponent=0.07), 2.025689),
        (Flops(weight=0.5, form="log"), 2 + 0.5 * math.log(120)),
    ],
)
def test_the_forms_of_a_cost_are_the_vectors_of_section_1_21(term: Flops, expected: float) -> None:
    value, _ = term.apply([0.0, 0.0], loss=2, costs=[60.0, 80.0], constant=50)  # E = 120
    assert value == pytest.approx(expected, abs=1e-6)


def test_entropy_is_that_of_the_mixing_weights() -> None:
    m = torch.softmax(torch.tensor(ROW, dtype=torch.float64), 0)
    value, gradient = Entropy(weight=2).apply(ROW)
    entropy = -(m * m.log()).sum()
    assert value == pytest.approx(2 * entropy.item())
    close(gradient, -2 * m * (m.log() + entropy), 1e-7)


# ---- Any table: against autograd, with masks


def terms_of(name: str) -> list[tuple[Term, reference.Term]]:
    """Terms that a relaxation allows, and the same ones in plain PyTorch."""
    pairs: list[tuple[Term, reference.Term]] = [
        (BetaDecay(weight=3), reference.Term("beta_decay", 3)),
        (ZeroOne(weight=2), reference.Term("zero_one", 2, form="l2")),
        (ZeroOne(weight=2, form="l1"), reference.Term("zero_one", 2, form="l1")),
    ]
    if name not in ("sigmoid", "identity"):
        pairs.append((Entropy(weight=-0.7), reference.Term("entropy", -0.7)))
    if name == "dirichlet":
        pairs.append((KlAnchor(weight=0.3), reference.Term("kl_anchor", 0.3)))
    return pairs


KNOWN = [name for name in reference.RELAXATIONS if name != "random"]  # which does not move α


@st.composite
def tables(draw: st.DrawFn) -> list[Tensor]:
    """Several tables with masked entries as −∞, none of whose rows is empty."""
    shapes = draw(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4)), min_size=1, max_size=3))
    found = []
    for rows, columns in shapes:
        values = draw(st.lists(st.floats(-4, 4), min_size=rows * columns, max_size=rows * columns))
        alpha = torch.tensor(values, dtype=torch.float64).view(rows, columns)
        left = draw(st.lists(st.integers(1, 2**columns - 1), min_size=rows, max_size=rows))
        mask = torch.tensor([[bool(bits >> column & 1) for column in range(columns)] for bits in left])
        found.append(alpha.masked_fill(~mask, -math.inf))
    return found


def plainly(
    terms: list[reference.Term], relaxation: str, alphas: list[Tensor], loss: float, gradients: list[Tensor]
) -> tuple[float, list[Tensor]]:
    """The loss with terms and its gradients by autograd; the loss itself has these gradients."""
    named = {str(index): alpha for index, alpha in enumerate(alphas)}
    masks = {name: alpha.isfinite() for name, alpha in named.items()}
    leaves = {name: alpha.masked_fill(~masks[name], 0.0).requires_grad_() for name, alpha in named.items()}
    slope = sum((leaf * g).sum() for leaf, g in zip(leaves.values(), gradients, strict=True))
    assert isinstance(slope, Tensor)
    state = reference.Relaxation(relaxation, masks=masks)
    value = reference.total(loss + slope - slope.detach(), terms, leaves, state)
    value.backward()
    found = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves.values()]
    return value.item(), [
        grad.masked_fill(~mask, 0.0) for grad, mask in zip(found, masks.values(), strict=True)
    ]


@pytest.mark.parametrize("relaxation", KNOWN)
@settings(max_examples=40)
@given(data=st.data(), alphas=tables(), loss=st.floats(0.1, 4))
def test_values_and_gradients_are_those_of_plain_pytorch(
    relaxation: str, data: st.DataObject, alphas: list[Tensor], loss: float
) -> None:
    """The means count only what is left, over tables of any shape; trap 1.15 d: a mean per table, added."""
    masks = [alpha.isfinite() for alpha in alphas]
    gradients = [
        torch.linspace(-1, 1, alpha.numel(), dtype=torch.float64).view_as(alpha) * mask
        for alpha, mask in zip(alphas, masks, strict=True)
    ]
    chosen = data.draw(
        st.lists(st.sampled_from(terms_of(relaxation)), min_size=1, unique_by=lambda p: p[0].name)
    )
    costs = [mask * torch.arange(mask.numel(), dtype=torch.float64).view_as(mask) * 10 for mask in masks]
    form = data.draw(st.sampled_from(COST_FORMS))
    named = {str(index): cost for index, cost in enumerate(costs)}
    cost = Flops(weight=0.3, form=form, reference=20.0, exponent=0.4)
    flat = torch.cat([table.flatten() for table in costs]).tolist()
    if relaxation != "identity":  # whose costs may be negative
        chosen.append((cost, reference.Term("flops", 0.3, form, 20.0, 0.4, named, 50.0)))
    ours, theirs = [term.to_dict() for term, _ in chosen], [plain for _, plain in chosen]
    value, found = _core.terms_apply(ours, relaxation, alphas, loss, gradients, [("flops", flat, 50.0)])
    expected, by_autograd = plainly(theirs, relaxation, alphas, loss, gradients)
    assert value == pytest.approx(expected, rel=1e-10, abs=1e-10)
    for one, other in zip(found, by_autograd, strict=True):
        close(one, other, 1e-9)


@pytest.mark.parametrize("form", COST_FORMS)
def test_the_gradient_of_a_cost_is_that_of_central_differences(form: Any) -> None:
    term = Flops(weight=0.3, form=form, reference=40, exponent=0.7)
    alpha = torch.tensor([ROW, [1.0, -1.0, 0.3]], dtype=torch.float64)

    def value(moved: Tensor) -> float:
        return term.apply(moved, loss=1.7, costs=COSTS, constant=11)[0]

    _, gradient = term.apply(alpha, loss=1.7, costs=COSTS, constant=11)
    for index in range(6):
        step = torch.zeros(6, dtype=torch.float64)
        step[index] = 1e-5
        step = step.view(2, 3)
        assert gradient.flatten()[index] == pytest.approx(
            (value(alpha + step) - value(alpha - step)) / 2e-5, abs=1e-7
        )


# ---- Traps and reductions


def test_trap_1_6_b_decay_of_alpha_pulls_sigmoids_to_one_half_and_the_term_pushes_them_away() -> None:
    """Trap 1.6 b: Adam's decay has the gradient λα, of the opposite sign."""
    alpha = torch.tensor([0.7, -0.4], dtype=torch.float64)
    _, gradient = ZeroOne(weight=1).apply(alpha, relaxation="sigmoid")
    assert (gradient * alpha < 0).all()


def test_trap_1_6_a_zero_one_does_not_see_the_noise() -> None:
    """Trap 1.6 a: others apply it to sampled weights; here m is the mean."""
    mean, _ = ZeroOne(weight=1).apply(ROW, relaxation="gumbel")
    assert mean == ZeroOne(weight=1).apply(ROW, relaxation="softmax")[0]


def test_trap_1_15_d_two_tables_have_a_mean_each() -> None:
    """Trap 1.15 d: the gradient of a table does not depend on the number of tables."""
    one, two = torch.tensor([ROW, ROW]).double(), torch.tensor([ROW] * 3).double()
    zeros = [torch.zeros_like(one), torch.zeros_like(two)]
    value, gradients = _core.terms_apply(BetaDecay(weight=1).to_dict(), "softmax", [one, two], 0.0, zeros, [])
    assert value == pytest.approx(2 * 1.328390, abs=1e-6)
    for table, gradient in zip((one, two), gradients, strict=True):
        assert torch.equal(gradient, BetaDecay(weight=1).apply(table)[1])


def test_trap_1_15_e_a_shift_of_a_row_leaves_softmax_but_not_the_term() -> None:
    """Trap 1.15 e: Σe^α can shrink without any change of the mixing weights."""
    value, gradient = BetaDecay(weight=1).apply(ROW)
    shifted, same = BetaDecay(weight=1).apply([logit - 1 for logit in ROW])
    assert value - shifted == pytest.approx(1)
    close(gradient, same, 1e-12)


def test_trap_1_21_the_cost_is_expected_under_the_configured_relaxation() -> None:
    """Trap 1.21: others take softmax(α) whatever the sampler is."""
    term = Flops(weight=1, reference=1.0)
    value, gradient = term.apply(ROW, relaxation="sigmoid", costs=COSTS[0])
    m = torch.sigmoid(torch.tensor(ROW, dtype=torch.float64))
    costs = torch.tensor(COSTS[0], dtype=torch.float64)
    assert value == pytest.approx((costs * m).sum().item() - 1)
    close(gradient, costs * m * (1 - m), 1e-9)


@pytest.mark.parametrize("relaxation", RELAXATIONS, ids=lambda relaxation: relaxation.name)
def test_weight_0_leaves_loss_and_gradient_as_they_are(relaxation: Relaxation) -> None:
    """λ = 0 is no term, bit for bit; a factor is none with λ = 1 and exponent 0."""
    gradient = [0.1, -0.3, 7.0]
    terms: list[Term] = [BetaDecay(weight=0), ZeroOne(weight=0)]
    terms += [Entropy(weight=0)] if relaxation.name in ("softmax", "gumbel") else []
    for term in terms:
        value, found = term.apply(ROW, 1.3, gradient, relaxation)
        assert value == 1.3 and found.tolist() == gradient
    for form in COST_FORMS:
        multiplies = form.startswith("multiply")
        cost = Flops(weight=float(multiplies), form=form, reference=50, exponent=0.0)  # type: ignore[arg-type]
        value, found = cost.apply(ROW, 1.3, gradient, relaxation, costs=COSTS[0], constant=90)
        assert value == 1.3 and found.tolist() == gradient


def test_the_reference_is_the_cost_of_the_uniform_mixture_unless_it_is_given() -> None:
    for relaxation, uniform in (("softmax", 50.0), ("sigmoid", 75.0)):
        value, _ = Flops(weight=1).apply(ROW, relaxation=relaxation, costs=COSTS[0])
        given, _ = Flops(weight=1, reference=uniform).apply(ROW, relaxation=relaxation, costs=COSTS[0])
        assert value == pytest.approx(given, abs=1e-12)


# ---- Options


@pytest.mark.parametrize(
    "value",
    [
        ["entropy", BetaDecay(weight=2)],
        (Entropy(), {"name": "beta_decay", "weight": 2}),
        [{"name": "entropy"}, {"name": "beta_decay", "weight": 2.0}],
    ],
)
def test_an_option_takes_several_terms_in_any_form(value: Any) -> None:
    config = SearchConfig(arch_terms=value)
    assert config.arch_terms == (Entropy(), BetaDecay(weight=2))
    assert SearchConfig.from_json(config.to_json()) == config
    assert eval(repr(config), {"SearchConfig": SearchConfig} | vars(pydarts.algorithms)) == config
    assert hash(config) == hash(SearchConfig(arch_terms=["entropy", BetaDecay(2.0)]))
    assert config.replace(seed=1).arch_terms == config.arch_terms


@pytest.mark.parametrize("value", [None, [], ()])
def test_no_terms_are_the_default(value: Any) -> None:
    assert SearchConfig(arch_terms=value) == SearchConfig() and SearchConfig().arch_terms == ()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"arch_terms": ["entropy", "entropy"]}, "entropy.*twice"),
        ({"arch_terms": "entropie"}, "entropie.*entropy"),
        ({"arch_terms": {"name": "flops", "form": "adding"}}, "form.*adding.*add"),
        ({"arch_terms": {"name": "flops", "weight": -1}}, "weight.*-1"),
        ({"arch_terms": {"name": "flops", "layers": 0}}, "layers.*0"),
        ({"arch_terms": {"name": "zero_one", "form": 3}}, "form.*3"),
        ({"arch_terms": {"name": "latency", "file": 3}}, "file.*3"),
        ({"arch_terms": "latency"}, "file"),
        ({"arch_terms": "kl_anchor"}, "kl_anchor.*dirichlet"),
        ({"arch_terms": "entropy", "relaxation": "sigmoid"}, "entropy.*sigmoid"),
        ({"arch_terms": "entropy", "relaxation": "identity"}, "entropy.*identity"),
        ({"arch_terms": "flops", "space": "darts-rnn"}, "flops.*recurrent"),
        ({"arch_terms": "beta_decay", "relaxation": "random"}, "beta_decay.*random"),
        ({"arch_terms": "entropy", "edge_normalization": True}, "entropy.*edge_normalization"),
        ({"arch_terms": "zero_one", "edge_normalization": True}, "zero_one.*edge_normalization"),
    ],
)
def test_terms_that_have_no_meaning_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(pydarts.ConfigError, match=says):
        SearchConfig(**options)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: BetaDecay().apply(ROW), pydarts.ConfigError, "weight.*state"),
        (lambda: BetaDecay().apply(ROW, state={"weight": -1}), pydarts.ConfigError, "weight.*-1"),
        (lambda: BetaDecay().apply(ROW, state={"wait": 1}), pydarts.ConfigError, "wait.*weight"),
        (lambda: Flops().apply(ROW), pydarts.ConfigError, "costs"),
        (lambda: Entropy().apply(ROW, costs=ROW), pydarts.ConfigError, "costs"),
        (lambda: Entropy().apply(ROW, relaxation="sigmoid"), pydarts.ConfigError, "sigmoid"),
        (lambda: Flops().apply(ROW, costs=[1.0]), pydarts.DataError, r"costs.*\[1\]"),
        (lambda: Flops().apply(ROW, costs=[0.0] * 3), pydarts.ConfigError, "reference.*0"),
        (
            lambda: Flops(form="multiply_log", reference=1.0).apply(ROW, costs=ROW),
            pydarts.ConfigError,
            "reference.*1",
        ),
        (lambda: Entropy().apply(ROW, loss=math.nan), pydarts.DataError, "loss.*nan"),
        (lambda: Entropy().apply([-math.inf] * 2), pydarts.DataError, "alpha"),
        (lambda: Flops(reference=0), pydarts.ConfigError, "reference.*0"),
        (lambda: Flops(image_size=0), pydarts.ConfigError, "image_size.*0"),
        (lambda: Latency(file=""), pydarts.ConfigError, "file"),
        (lambda: Parameters(stem="big"), pydarts.ConfigError, "stem.*big.*small"),  # type: ignore[arg-type]
        (lambda: BetaDecay(Linear(-1, 2)), pydarts.ConfigError, "weight.*-1"),
    ],
)
def test_wrong_arguments_are_refused_by_name(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


def test_a_scheduled_weight_takes_a_number_for_one_table() -> None:
    assert BetaDecay().weight == Linear(0, 50)
    assert BetaDecay().apply(ROW, state={"weight": 2})[0] == pytest.approx(2 * 1.328390, abs=1e-5)
