"""Choices of user-defined networks under a relaxation that samples one candidate: only that one runs."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import numpy as np
import pydarts
import pytest
import torch
from pydarts.nn import Choice, InputChoice
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("one_thread")


class Counted(nn.Module):
    """A layer with statistics that counts its passes by mode; copies share the counts."""

    calls: ClassVar[Counter[tuple[str, bool]]] = Counter()

    def __init__(self, name: str, shared: nn.Linear | None = None) -> None:
        super().__init__()
        self.name = name
        self.linear = nn.Linear(4, 4) if shared is None else shared
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        self.calls[self.name, self.training] += 1
        return self.norm(self.linear(x))


class Net(nn.Module):
    """A choice of four candidates, two with a common layer and one with a choice, and a choice of inputs."""

    def __init__(self) -> None:
        super().__init__()
        shared = nn.Linear(4, 4)
        self.outer = Choice(
            {
                "a": Counted("a"),
                "b": Counted("b", shared),
                "c": Counted("c", shared),
                "d": Choice([Counted("d0"), Counted("d1")], alpha="inner"),
            }
        )
        self.skip = InputChoice(2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.skip([x, self.outer(x)]))


def module(**changes: Any) -> pydarts.SearchModule:
    torch.manual_seed(0)
    fields: dict[str, Any] = {"relaxation": "gdas", "weight_lr": 0.1, "arch_lr": 0.0}
    return pydarts.SearchModule(Net(), pydarts.SearchConfig(**(fields | changes)), precision="float64")


def batches(n: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(6, 4, generator=generator, dtype=torch.float64),
            torch.randint(3, (6,), generator=generator),
        )
        for _ in range(n)
    ]


def steps(net: pydarts.SearchModule, n: int) -> list[tuple[Counter[Any], dict[str, Any], dict[str, Any]]]:
    """For each step the passes in training mode by candidate, and the state before and after it."""
    found, all_batches = [], batches(2 * n)
    for train, valid in zip(all_batches[::2], all_batches[1::2], strict=True):
        Counted.calls.clear()
        before = net.state_dict() | {f"momentum/{k}": v for k, v in net.optimizer_state()["momentum"].items()}  # type: ignore[union-attr]
        net.step(train, valid)
        after = net.state_dict() | {f"momentum/{k}": v for k, v in net.optimizer_state()["momentum"].items()}  # type: ignore[union-attr]
        found.append((Counter(Counted.calls), before, after))
    return found


def test_only_the_sampled_candidate_runs() -> None:
    for calls, _, _ in steps(module(), 12):
        assert sum(calls.values()) == 2, "one pass of α and one of the weights, a candidate each"


@pytest.mark.parametrize("relaxation", ["gdas", "random"])
def test_parameters_and_buffers_of_other_candidates_rest(relaxation: str) -> None:
    """A gradient of zeros is not rest: momentum and decay would move them (trap 1.2 c)."""
    seen = set()
    for calls, before, after in steps(module(relaxation=relaxation), 16):
        moved = {
            name.removeprefix("momentum/") for name in before if not torch.equal(before[name], after[name])
        }
        statistics = {name for name in moved if "running" in name or "tracked" in name}
        assert len(statistics) == 3, "those of one batch norm"
        (place,) = {name.rsplit(".", 2)[0] for name in statistics}
        assert {name for name in moved if name.startswith("outer.")} >= {f"{place}.norm.weight"}
        layers = {name.rsplit(".", 1)[0] for name in moved if ".linear." in name}
        shared = "outer.candidates.b.linear"  # the first name of the layer that c has too
        assert layers == {shared if place.endswith((".b", ".c")) else f"{place}.linear"}
        assert "head.weight" in moved
        name = place.removeprefix("outer.candidates.").replace(".candidates.", "")
        assert calls[name, True] >= 1
        seen.add(name)
    assert len(seen) >= 4


def test_a_sampled_candidate_gives_what_the_mixture_gives() -> None:
    """With one-hot weights: a frozen row under softmax computes every candidate, and has the same loss."""
    sampled = module()
    train, valid = batches(2)
    sampled.step(train, valid)
    plain = module(relaxation="softmax")
    for table, row, column in (("outer", 0, 1), ("inner", 0, 0), ("skip", 0, 1)):
        for net in (sampled, plain):
            net._net.decide(f'{{"decision": "freeze", "table": "{table}", "row": {row}, "column": {column}}}')
    plain.load_state_dict(sampled.state_dict())
    Counted.calls.clear()
    ours = sampled.loss(train)
    assert Counted.calls == {("b", True): 1}
    assert plain.loss(train) == pytest.approx(ours, rel=1e-12)
    assert sum(Counted.calls.values()) > 2


def test_evaluations_mix_all_candidates() -> None:
    net = module()
    Counted.calls.clear()
    net.evaluate(batches(1)[0])
    assert {name for name, training in Counted.calls if not training} == {"a", "b", "c", "d0", "d1"}


def test_a_search_of_choices_that_samples_is_resumed_bit_for_bit(tmp_path: Any) -> None:
    X = np.random.default_rng(0).normal(size=(48, 4)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)

    class Stop(pydarts.Callback):
        def on_step(self, info: pydarts.StepInfo) -> None:
            if info.step == 4:
                raise KeyboardInterrupt

    def search(folder: Any, callbacks: Any = (), **changes: Any) -> pydarts.SearchResult:
        torch.manual_seed(0)
        cfg = pydarts.SearchConfig(
            relaxation="gdas",
            hypergradient="unrolled",
            epochs=2,
            batch_size=8,
            arch_lr=0.1,
            checkpoint_dir=str(folder),
            checkpoint_every=1,
            progress=False,
            **changes,
        )
        return pydarts.search((X, y), cfg, network=Net(), callbacks=callbacks)

    whole = search(tmp_path / "whole")
    search(tmp_path / "part", [Stop()])
    again = search(tmp_path / "part", resume=True)
    assert again.status == whole.status == "complete"
    for name, alphas in whole.alphas.items():
        assert np.array_equal(alphas, again.alphas[name])
    assert all(torch.equal(tensor, again.state_dict[name]) for name, tensor in whole.state_dict.items())
