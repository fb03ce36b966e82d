"""What the figures of a search say: every finding, and where a note becomes a warning."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import make_arrays, make_config
from pydarts import EpochRecord, Finding, History, SearchResult
from pydarts._results.diagnostics import alphas

OPERATIONS = ("none", "skip_connect", "sep_conv_3x3")
EDGES = 5


def record(epoch: int, train: float = 0.5, valid: float = 0.6, accuracy: float = 0.8) -> EpochRecord:
    return EpochRecord(epoch, train, valid, 0.85, accuracy, 0.025, {"normal": 1.0, "reduce": 1.0}, 2, 0.1)


def favour(points: int, operation: str, by: float = 1.0) -> np.ndarray:
    """Logits of a table in which one operation is ahead on every edge, on the first edges most."""
    alpha = np.zeros((points, EDGES, len(OPERATIONS)))
    alpha[:, :, OPERATIONS.index(operation)] = by * np.linspace(1.2, 1.0, EDGES)
    return alpha


def made(
    base: SearchResult, normal: np.ndarray, reduce: np.ndarray | None = None, **changes: Any
) -> SearchResult:
    """A result with these logits, an epoch between two of its points."""
    alphas = {"normal": normal, "reduce": favour(len(normal), "sep_conv_3x3") if reduce is None else reduce}
    epochs = len(normal) - 1
    fields: dict[str, Any] = {
        "alphas": alphas,
        "steps": tuple(range(0, 100 * len(normal), 100)),
        "history": History([record(epoch) for epoch in range(epochs)]),
        "genotype": pydarts.derive(
            {name: values[-1] for name, values in alphas.items()}, base.config.resolved_space
        ),
        "config": base.config.replace(epochs=max(epochs, 1)),
    }
    return replace(base, **(fields | changes))


def found(result: SearchResult, topic: str, table: str = "") -> Finding:
    return next(
        finding for finding in result.diagnostics() if (finding.topic, finding.table) == (topic, table)
    )


def topics(result: SearchResult) -> set[str]:
    return {finding.topic for finding in result.diagnostics()}


def test_a_complete_search_says_how_long_it_was(tiny_result: SearchResult) -> None:
    ending = found(tiny_result, "ending")
    assert ending.level == "note" and "complete" in ending.text
    assert ending.values == {"epochs": 2, "planned": 2, "steps": 6}


def test_a_search_that_a_rule_ended_says_why(tiny_result: SearchResult) -> None:
    stop = {"decision": "stop", "reason": "3 of a kind"}
    result = made(
        tiny_result, favour(2, "sep_conv_3x3"), decisions=((1, stop),), config=make_config(epochs=9)
    )
    ending = found(result, "ending")
    assert ending.level == "note" and "3 of a kind" in ending.text
    assert (ending.values["epochs"], ending.values["planned"]) == (1, 9)


@pytest.mark.parametrize(
    "status, text",
    [("interrupted", "interrupted"), ("failed", "xception")],
)
def test_a_search_that_did_not_end_is_a_warning(tiny_result: SearchResult, status: Any, text: str) -> None:
    result = made(tiny_result, favour(2, "sep_conv_3x3"), status=status, config=make_config(epochs=3))
    ending = found(result, "ending")
    assert ending.level == "warning" and text in ending.text and "resume=True" in ending.advice


def test_a_loss_of_guessing_is_a_warning(tiny_result: SearchResult) -> None:
    level = math.log(4)
    for loss, kind in ((level + 0.001, "warning"), (math.nan, "warning"), (level - 0.001, "note")):
        result = made(
            tiny_result,
            favour(2, "sep_conv_3x3"),
            history=History([record(0, valid=loss, train=loss)]),
            config=make_config(num_classes=4),
        )
        learning = found(result, "learning")
        assert learning.level == kind, loss
        assert learning.values["guessing"] == pytest.approx(level)


def test_a_loss_of_ones_own_is_judged_by_the_accuracy(tiny_result: SearchResult) -> None:
    for accuracy, loss, kind in ((0.25, 0.1, "warning"), (0.26, 50.0, "note")):
        history = History([record(0, valid=loss, train=loss, accuracy=accuracy)])
        result = made(
            tiny_result,
            favour(2, "sep_conv_3x3"),
            history=history,
            config=make_config(num_classes=4),
            loss="mine",
            class_counts=None,
        )
        assert found(result, "learning").level == kind, accuracy


def test_a_result_knows_whose_loss_it_was(tmp_path: Path) -> None:
    def doubled(logits: Any, targets: Any) -> Any:
        return 2 * torch.nn.functional.cross_entropy(logits, targets)

    config = make_config(epochs=1)
    result = pydarts.search(make_arrays(), config, loss=doubled)
    result.save(tmp_path)
    assert result.loss == SearchResult.load(tmp_path).loss == "doubled"
    assert pydarts.search(make_arrays(), config).loss is None


def test_the_best_epoch_is_counted_from_one(tiny_result: SearchResult) -> None:
    history = History([record(0, accuracy=0.7), record(1, accuracy=0.9), record(2, accuracy=0.8)])
    text = found(made(tiny_result, favour(4, "sep_conv_3x3"), history=history), "learning").text
    assert all(fact in text for fact in ("80.0%", "90.0%", "epoch 2"))


def test_a_validation_loss_that_turned_is_a_warning(tiny_result: SearchResult) -> None:
    def gap(*records: EpochRecord) -> Finding:
        return found(
            made(tiny_result, favour(len(records) + 1, "sep_conv_3x3"), history=History(records)), "gap"
        )

    assert gap(record(0, 0.9, 0.50), record(1, 0.3, 0.56)).level == "warning"
    assert gap(record(0, 0.9, 0.50), record(1, 0.3, 0.54)).level == "note", "within what epochs differ by"
    assert gap(record(0, 0.3, 0.50), record(1, 0.9, 0.56)).level == "note", "the weights do not overfit"
    assert gap(record(0, 0.4, 0.55)).values["gap"] == pytest.approx(0.15)


def test_a_short_search_is_judged_by_its_numbers(tiny_result: SearchResult) -> None:
    def said(topic: str, *records: EpochRecord) -> Finding:
        result = made(
            tiny_result,
            favour(3, "sep_conv_3x3"),
            history=History(records),
            steps=(0, 1, 60),
            config=make_config(num_classes=4),
        )
        return found(result, topic)

    learned = [record(0, 0.9, 0.5), record(1, 0.3, 0.2, 0.966)]
    assert [said(topic, *learned).level for topic in ("learning", "gap")] == ["note", "note"]
    assert [said(topic, *learned).advice for topic in ("learning", "gap")] == ["", ""]
    not_learned = [record(0, 0.9, 0.5), record(1, 0.3, 2.0, 0.1)]
    assert [said(topic, *not_learned).level for topic in ("learning", "gap")] == ["warning", "warning"]


def test_skips_that_were_drawn_are_no_collapse(tiny_result: SearchResult) -> None:
    for by, level in ((1e-3, "note"), (2.0, "warning")):
        assert found(made(tiny_result, favour(2, "skip_connect", by)), "skips", "normal").level == level


def test_entropy_is_held_against_its_maximum(tiny_result: SearchResult) -> None:
    flat = np.random.default_rng(0).normal(size=(3, EDGES, 3)) * 1e-3
    entropy = found(made(tiny_result, flat), "entropy", "normal")
    assert entropy.level == "warning" and "100.00%" in entropy.text
    moved = favour(3, "sep_conv_3x3", 2.0)
    moved[0] = 0
    entropy = found(made(tiny_result, moved), "entropy", "normal")
    assert entropy.level == "note" and entropy.values["last"] < 0.8 < entropy.values["first"]


def test_a_cell_of_skip_connections_has_collapsed(tiny_result: SearchResult) -> None:
    result = made(tiny_result, favour(3, "skip_connect"))
    skips = found(result, "skips", "normal")
    assert skips.level == "warning" and skips.values["now"] == 4 and skips.values["strongest"] == EDGES
    assert found(result, "skips", "reduce").level == "note"
    mixed = favour(3, "sep_conv_3x3")
    mixed[:, [0, 1], 1] = 3.0  # both edges of the first node: two of four
    assert found(made(tiny_result, mixed), "skips", "normal").level == "warning"
    mixed[:, 1, 1] = 0.0
    assert found(made(tiny_result, mixed), "skips", "normal").level == "note"


def test_a_collapse_under_a_cost_names_the_cost(tiny_result: SearchResult) -> None:
    config = make_config(epochs=2, arch_terms=[pydarts.algorithms.Flops(weight=10, channels=4, layers=3)])
    with_cost = made(tiny_result, favour(3, "skip_connect"), config=config)
    without = made(tiny_result, favour(3, "skip_connect"))
    named = ["arch_terms" in found(result, "skips", "normal").advice for result in (with_cost, without)]
    assert named == [True, False]


def test_a_normal_cell_in_which_nothing_learns_is_a_warning(tiny_result: SearchResult) -> None:
    assert found(made(tiny_result, favour(3, "skip_connect")), "weightless", "normal").level == "warning"
    only_reduce = made(tiny_result, favour(3, "sep_conv_3x3"), favour(3, "skip_connect"))
    assert "weightless" not in topics(only_reduce), "skip connections of a reduction cell have weights"


def test_edges_that_the_zero_operation_leads_are_counted(tiny_result: SearchResult) -> None:
    alpha = favour(3, "sep_conv_3x3")
    assert "zero" not in topics(made(tiny_result, alpha))
    alpha[:, :2, 0] = 5.0
    assert found(made(tiny_result, alpha), "zero", "normal").values == {"heaviest": 2, "edges": EDGES}


def changing(at: int, points: int = 21) -> np.ndarray:
    """The first node's first edge turns to a skip connection at a point."""
    alpha = favour(points, "sep_conv_3x3")
    alpha[at:, 0, 1] = 3.0
    return alpha


def test_when_the_genotype_last_changed_decides_whether_it_is_settled(tiny_result: SearchResult) -> None:
    never = found(made(tiny_result, favour(21, "sep_conv_3x3")), "change")
    assert never.level == "warning"
    late = found(made(tiny_result, changing(18)), "change")
    assert late.level == "warning" and late.values == {"at": 18, "end": 20}
    early = found(made(tiny_result, changing(17)), "change")
    assert early.level == "note" and early.values == {"at": 17, "end": 20}


def test_margins_are_held_against_the_last_movements(tiny_result: SearchResult) -> None:
    still = made(tiny_result, favour(21, "sep_conv_3x3"))
    margins = found(still, "margins")
    assert margins.level == "note" and margins.values["undecided"] == 0 and margins.values["kept"] == 8
    expected = min(margin.operation for margin in still.trajectory.margins())
    assert margins.values["operation"] == pytest.approx(expected)
    narrow = min(still.trajectory.margins(), key=lambda margin: margin.operation)
    assert (narrow.table, narrow.edge) == ("normal", (1, 3))
    assert "normal cₖ₋₁ → 3" in margins.text, "as in pictures, and as in space.edges"
    restless = favour(21, "sep_conv_3x3", 0.01)
    restless[18, 0, 1] = 3.0  # where the last tenth begins
    assert found(made(tiny_result, restless, restless), "margins").level == "warning"


def test_a_search_without_an_epoch_has_diagnostics_too(tiny_result: SearchResult) -> None:
    result = made(tiny_result, favour(1, "sep_conv_3x3"), status="failed")
    assert topics(result) == {"ending", "skips", "margins"}
    assert found(result, "ending").values["epochs"] == 0


def test_words_have_perplexities_and_recurrent_cells_identities() -> None:
    config = pydarts.SearchConfig(space="darts-rnn", nodes=2, num_classes=50, epochs=1)
    alpha = np.zeros((2, 3, 5))
    alpha[1, :, 4] = 2.0
    result = SearchResult(
        genotype=pydarts.derive({"recurrent": alpha[-1]}, config.resolved_space),
        alphas={"recurrent": alpha},
        steps=(0, 7),
        history=History([EpochRecord(0, 3.0, 2.5, 0.1, 0.1, 20.0, {"recurrent": 1.0}, 2, 0.1)]),
        config=config,
        status="complete",
        state_dict={},
    )
    assert "12.18" in found(result, "learning").text
    skips = found(result, "skips", "recurrent")
    assert skips.level == "warning" and "identity" in skips.text
    assert "weightless" not in topics(result)


def test_findings_print_warnings_first_and_go_into_json(tiny_result: SearchResult) -> None:
    result = made(
        tiny_result, favour(3, "skip_connect"), history=History([record(0, valid=math.nan), record(1)])
    )
    diagnostics = result.diagnostics()
    levels = [finding.level for finding in diagnostics]
    assert levels == sorted(levels, reverse=True) and len(diagnostics.warnings) == levels.count("warning") > 0
    lines = str(diagnostics).split("\n")
    assert len(lines) == len(diagnostics) and lines[0].startswith("warning  ")
    back = json.loads(json.dumps(diagnostics.to_dicts(), allow_nan=False))
    assert [entry["text"] for entry in back] == [finding.text for finding in diagnostics]
    assert len(diagnostics[:2]) == 2 and "warnings" in repr(diagnostics)


def test_nodes_without_inputs_are_counted(tiny_result: SearchResult) -> None:
    values = json.loads(tiny_result.genotype.to_json())
    for nodes, level in (([[["sep_conv_3x3", 0]], []], "note"), ([[], []], "warning")):
        genotype = pydarts.Genotype.from_json(json.dumps(values | {"normal": nodes}))
        result = made(tiny_result, favour(2, "sep_conv_3x3"), genotype=genotype)
        bare = found(result, "empty", "normal")
        assert (bare.level, bare.values) == (level, {"empty": nodes.count([]), "of": 2})
        assert [finding.table for finding in result.diagnostics() if finding.topic == "empty"] == ["normal"]


def test_cells_without_edges_are_not_called_unchanged(tiny_result: SearchResult) -> None:
    config = make_config(relaxation="sigmoid", selection=pydarts.algorithms.Threshold(value=1.0))
    result = made(tiny_result, favour(2, "sep_conv_3x3"), config=config)
    assert result.trajectory.genotype().edges("normal") == ()
    assert "change" not in topics(result)


def test_recurrent_nodes_without_inputs_are_counted() -> None:
    rule = pydarts.algorithms.Threshold(value=1.0)
    space = pydarts.Space(kind="recurrent", nodes=2)
    path = pydarts.Trajectory({"recurrent": np.zeros((2, 3, 5))}, (0, 1), space, 1, selection=rule)
    genotype = path.genotype()
    assert genotype.nodes("recurrent") == ((), ())
    [bare] = alphas.empty(genotype, path)
    assert (bare.level, bare.values) == ("warning", {"empty": 2, "of": 2})
    [skips] = alphas.skips(genotype, path, pydarts.SearchConfig(space=space))
    assert skips.values["of"] == 0
