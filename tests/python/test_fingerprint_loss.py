"""The fact about a loss: what changes it, and what a loss may do without changing it."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import functools
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydarts
import pytest
import torch
from pydarts._values.callables import fact_of, name_in, short_name
from resuming import config, pair
from torch import Tensor, nn
from torch.nn import functional as F

LOGITS, LABELS = torch.zeros(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0])

seen: list[float] = []
stats: dict[str, Any] = {"n": 0, "last": {}}
kinds: set[int] = set()
recent: collections.deque[float] = collections.deque(maxlen=3)
running = torch.zeros(())
average = torch.zeros(3)
calls = 0


def to_list(a: Tensor, b: Tensor) -> Tensor:
    value = F.cross_entropy(a, b)
    seen.append(float(value.detach()))
    return value


def to_alias(a: Tensor, b: Tensor) -> Tensor:
    held = seen
    held.append(1.0)
    return F.cross_entropy(a, b)


def to_dict(a: Tensor, b: Tensor) -> Tensor:
    stats["n"] += 1
    stats["last"]["n"] = stats["n"] if a.ndim == 2 else 0
    return F.cross_entropy(a, b)


def to_key(a: Tensor, b: Tensor) -> Tensor:
    stats.setdefault("values", []).append(1)
    stats["mean", calls] = 0
    return F.cross_entropy(a, b)


def to_others(a: Tensor, b: Tensor) -> Tensor:
    kinds.add(len(kinds))
    recent.append(len(recent))
    return F.cross_entropy(a, b)


def to_global(a: Tensor, b: Tensor) -> Tensor:
    global calls
    calls += 1
    return F.cross_entropy(a, b) * 2


def to_tensors(a: Tensor, b: Tensor) -> Tensor:
    running.add_(1)
    average[0] += 1
    return F.cross_entropy(a, b)


def to_default(a: Tensor, b: Tensor, log: list[int] = []) -> Tensor:  # noqa: B006
    log.append(1)
    return F.cross_entropy(a, b)


def to_cell() -> Callable[..., Tensor]:
    n, log = [0], []

    def loss(a: Tensor, b: Tensor) -> Tensor:
        n[0] += 1
        log.append(n[0])
        return F.cross_entropy(a, b)

    return loss


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n, self.last, self.log = 0, None, [0.0]
        self.register_buffer("t", torch.zeros(()))
        self.register_buffer("moments", torch.zeros(2))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.n += 1
        self.t += 1
        self.moments[0] = self.n
        value = F.cross_entropy(a, b)
        return self.note(value)

    def note(self, value: Tensor) -> Tensor:
        self.last = float(value.detach())
        self.log.append(self.last)
        return value


class Weighted(nn.CrossEntropyLoss):
    """A class of PyTorch with a counter."""

    calls = 0

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(a, b)


class Meter:
    def __init__(self) -> None:
        self.sum = 0.0

    def update(self, value: float) -> None:
        self.sum += value


class Trainer:
    def __init__(self, weight: float = 2.0) -> None:
        self.log: list[float] = []
        self.epoch = 0  # the loss does not read it
        self.meter = Meter()
        self.weight = torch.tensor([1.0, weight, 1.0])

    def loss(self, a: Tensor, b: Tensor) -> Tensor:
        value = F.cross_entropy(a, b, self.weight)
        self.log.append(float(value.detach()))
        self.meter.update(value.item())
        return value


def of_trainer() -> Callable[..., Tensor]:
    trainer = Trainer()

    def step(a: Tensor, b: Tensor) -> Tensor:
        trainer.epoch += 0
        return trainer.loss(a, b)

    return step


LOGGING = {
    "a global list": to_list,
    "a global list by another name": to_alias,
    "a global dictionary": to_dict,
    "new keys": to_key,
    "a set and a deque": to_others,
    "a global number": to_global,
    "global tensors": to_tensors,
    "a default argument": to_default,
    "enclosing lists": to_cell(),
    "attributes and buffers of a module": Counting(),
    "an attribute of a class of PyTorch": Weighted(),
    "a bound method": Trainer().loss,
    "an object of an enclosing function": of_trainer(),
    "a partial function": functools.partial(to_list),
}


@pytest.mark.parametrize("name", list(LOGGING))
def test_what_a_loss_changes_is_no_setting(name: str) -> None:
    loss = LOGGING[name]
    before = fact_of(loss)
    for _ in range(3):
        loss(LOGITS, LABELS).backward()
        assert fact_of(loss) == before


def test_an_attribute_that_the_loss_does_not_read_is_no_setting() -> None:
    trainer = Trainer()
    before = fact_of(trainer.loss)
    trainer.epoch = 5
    assert fact_of(trainer.loss) == before != fact_of(Trainer(3.0).loss)


@pytest.mark.parametrize("name", ["a global list", "attributes and buffers of a module", "a bound method"])
def test_a_loss_that_keeps_values_can_be_resumed_in_the_same_process(name: str, tmp_path: Path) -> None:
    cfg = config(checkpoint_dir=tmp_path, epochs=1)
    first = pydarts.search(pair(), cfg, loss=LOGGING[name])
    again = pydarts.search(pair(), cfg.replace(resume=True), loss=LOGGING[name])
    assert again.fingerprint == first.fingerprint


# ---- settings


@dataclasses.dataclass
class Settings:
    gamma: float = 1.0
    epochs: int = 1


class Constants:
    gamma = 1.0
    epochs = 1


class Inherited(Constants):
    pass


WEIGHTS = [1.0, 2.0, 1.0]
BY_CLASS = {0: 1.0, 1: 2.0, 2: 1.0}
conf: dict[str, Any] = {"gamma": 1.0, "epochs": 1, "model": {"gamma": 1.0}}
namespace = argparse.Namespace(gamma=1.0, epochs=1)
simple = types.SimpleNamespace(gamma=1.0, epochs=1)
settings = Settings()
criterion = nn.CrossEntropyLoss(torch.ones(3))


def by_list(a: Tensor, b: Tensor) -> Tensor:
    seen.append(0.0)
    return F.cross_entropy(a, b, torch.tensor(WEIGHTS))


def by_class(a: Tensor, b: Tensor) -> Tensor:
    return F.cross_entropy(a, b, torch.tensor([BY_CLASS[int(i)] for i in range(3)]))


def by_key(a: Tensor, b: Tensor) -> Tensor:
    return F.cross_entropy(a, b) * conf["gamma"]


def by_namespace(a: Tensor, b: Tensor) -> Tensor:
    return F.cross_entropy(a, b) * namespace.gamma


def by_simple(a: Tensor, b: Tensor) -> Tensor:
    return F.cross_entropy(a, b) * simple.gamma


def by_dataclass(a: Tensor, b: Tensor) -> Tensor:
    return F.cross_entropy(a, b) * settings.gamma


def by_constant(a: Tensor, b: Tensor) -> Tensor:
    return F.cross_entropy(a, b) * Constants.gamma


def by_inherited(a: Tensor, b: Tensor) -> Tensor:
    return F.cross_entropy(a, b) * Inherited.gamma


def by_module(a: Tensor, b: Tensor) -> Tensor:
    result: Tensor = criterion(a, b)
    return result


SETTINGS: dict[str, tuple[Any, Callable[[float], Any], Callable[[], Any] | None]] = {
    "a list": (by_list, lambda v: WEIGHTS.__setitem__(1, v), lambda: seen.append(1)),
    "a dictionary of classes": (by_class, lambda v: BY_CLASS.__setitem__(1, v), None),
    "a key": (by_key, lambda v: conf.update(gamma=v), lambda: conf.update(epochs=9, new=1)),
    "a namespace": (
        by_namespace,
        lambda v: setattr(namespace, "gamma", v),
        lambda: setattr(namespace, "epochs", 9),
    ),
    "a simple namespace": (
        by_simple,
        lambda v: setattr(simple, "gamma", v),
        lambda: setattr(simple, "epochs", 9),
    ),
    "a dataclass": (
        by_dataclass,
        lambda v: setattr(settings, "gamma", v),
        lambda: setattr(settings, "epochs", 9),
    ),
    "a constant of a class": (
        by_constant,
        lambda v: setattr(Constants, "gamma", v),
        lambda: setattr(Constants, "epochs", 9),
    ),
    "a constant of a base class": (by_inherited, lambda v: setattr(Constants, "gamma", v + 1), None),
    "a module of PyTorch": (by_module, lambda v: criterion.weight.fill_(v), criterion.eval),
}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_setting_that_the_loss_reads_is_seen_and_its_neighbours_are_not(name: str) -> None:
    loss, change, neighbour = SETTINGS[name]
    before = fact_of(loss)
    if neighbour is not None:
        neighbour()
        assert fact_of(loss) == before
    change(7.0)
    assert fact_of(loss) != before


def helped(factor: float, method: str) -> nn.Module:
    """A loss whose method, base class, static method or property has a body of its own."""

    class Base(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return F.cross_entropy(a, b)

        def compute(self, a: Tensor, b: Tensor) -> Tensor:
            return self.scaled(F.cross_entropy(a, b))

        @staticmethod
        def scaled(value: Tensor) -> Tensor:
            return value

        @property
        def factor(self) -> float:
            return 1.0

    def forward(self: Any, a: Tensor, b: Tensor) -> Tensor:
        return factor * F.cross_entropy(a, b)

    body: Any = {
        "compute": forward,
        "forward": forward,
        "scaled": staticmethod(lambda value: value * factor),
        "factor": property(lambda self: factor),
    }[method]
    if factor != 1:
        setattr(Base, method, body)

    class Loss(Base):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            value = super().forward(a, b)
            return value + self.compute(a, b) * self.factor

    return Loss()


@pytest.mark.parametrize("method", ["compute", "forward", "scaled", "factor"])
def test_other_methods_of_the_class_and_its_bases_are_seen(method: str) -> None:
    one, again, other = (fact_of(helped(factor, method)) for factor in (1, 1, 3))
    assert one == again != other


def test_a_function_of_another_module_of_the_user_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "losses_of_a_user.py").write_text(
        "def focal(a, b): return scaled(a)\ndef scaled(a): return a\n"
    )
    import losses_of_a_user as losses

    def loss(a: Tensor, b: Tensor) -> Any:
        return losses.focal(a, b)

    before = fact_of(loss)
    losses.unused = 3
    assert fact_of(loss) == before
    losses.scaled = lambda a: 2 * a
    assert fact_of(loss) != before
    del sys.modules["losses_of_a_user"]


def test_a_pickled_loss_has_the_same_fact() -> None:
    for loss in (Counting(), Weighted(torch.ones(3)), Trainer().loss, functools.partial(to_list)):
        assert fact_of(pickle.loads(pickle.dumps(loss))) == fact_of(loss)


def test_functions_that_share_helpers_and_large_collections_are_bounded() -> None:
    space: dict[str, Any] = {"big": list(range(1_000_000)), "__name__": "__main__"}
    source = "def f0(a, b):\n  return a.sum() + big[0]\n"
    for n in range(1, 40):
        source += f"def f{n}(a, b):\n  return f{n - 1}(a, b) + f{n - 1}(b, a) + f{max(0, n - 2)}(a, b)\n"
    exec(source, space)
    before = fact_of(space["f39"])
    space["f0"] = lambda a, b: 0
    assert fact_of(space["f39"]) != before
    space["loop"] = [space["f1"]]
    space["loop"].append(space["loop"])
    exec("def g(a, b):\n  return loop[0](a, b)\n", space)
    assert fact_of(space["g"]) == fact_of(space["g"])


def test_the_name_in_a_fact_is_that_of_the_loss() -> None:
    for loss in (to_list, Counting(), F.mse_loss, lambda a, b: a, Trainer().loss):
        assert name_in(fact_of(loss)) == short_name(loss)
    assert name_in(fact_of(None)) is None


@pytest.mark.filterwarnings("ignore:.*jit.script:DeprecationWarning")
def test_scripted_losses_and_objects_with_attributes_of_their_own_are_hashed() -> None:
    class Odd:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self, a: Tensor, b: Tensor) -> Tensor:
            return F.cross_entropy(a, b)

    assert fact_of(Odd()) == fact_of(Odd())
    scripted = [torch.jit.script(nn.CrossEntropyLoss(label_smoothing=each)) for each in (0.0, 0.0, 0.1)]
    facts = [fact_of(each) for each in scripted]
    assert facts[0] == facts[1] != facts[2]
