"""The turn of code that may draw: callbacks, losses, loaders that wait, interrupts at any point."""

from __future__ import annotations

import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import pydarts
import pytest
import torch
from conftest import Stop, make_arrays, make_config
from pydarts._data import draws
from pydarts._data.draws import Masks, Section, SeededLoss, Turn, stream
from pydarts._data.interrupt import InterruptWatch
from test_draws import DATA, TOKENS, disturb, equal, states
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from trained import config, network

X, Y = make_arrays(n=48)
SEARCH = make_config(epochs=2)


def noisy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A loss that draws from every generator."""
    noise = 1 + random.random() + np.random.rand() + torch.rand_like(logits)
    return F.cross_entropy(logits * noise, targets)


class Slow(Dataset[Any]):
    """Examples that take a while and draw nothing."""

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.001)
        return DATA[index]


@pytest.mark.parametrize("data", ["arrays", "loader", "text"])
def test_a_loss_that_draws_repeats_itself(data: str) -> None:
    made: dict[str, Callable[[], Any]] = {
        "arrays": lambda: (X, Y),
        "loader": lambda: DataLoader(DATA, 8, shuffle=True),
        "text": lambda: (TOKENS, TOKENS[:200]),
    }
    words: Any = {"space": "darts-rnn", "channels": 8, "batch_size": 4, "bptt": 14}
    cfg = pydarts.SearchConfig(epochs=1, progress=False, **words) if data == "text" else SEARCH
    found = []
    for seed in range(2):
        disturb(seed)
        before = states()
        found.append(pydarts.search(made[data](), cfg, loss=noisy))
        assert states() == before
    one, other = found
    assert equal(one.alphas, other.alphas)
    assert [record.valid_loss for record in one.history] == [record.valid_loss for record in other.history]


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_a_resumed_search_has_the_loss_draw_what_it_would_have_drawn(steps: int, tmp_path: Any) -> None:
    cfg = SEARCH.replace(checkpoint_dir=tmp_path, checkpoint_every=1)
    with pytest.raises(LookupError):
        pydarts.search((X, Y), cfg, Stop(LookupError(), steps), loss=noisy)
    resumed = pydarts.search((X, Y), cfg.replace(resume=True), loss=noisy)
    whole = pydarts.search((X, Y), SEARCH, loss=noisy)
    assert all(np.array_equal(whole.alphas[name][-1], resumed.alphas[name][-1]) for name in whole.alphas)
    assert whole.history[-1].valid_loss == resumed.history[-1].valid_loss


def test_a_loss_of_a_training_that_draws_repeats_itself() -> None:
    model = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=20, units=8)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    runs: list[Callable[[], Any]] = [
        lambda: pydarts.train(network(), (X, Y), config(epochs=2), loss=noisy),
        lambda: pydarts.train(
            model, (TOKENS, TOKENS[:100]), config(epochs=2, batch_size=4, bptt=14), loss=noisy
        ),
    ]
    for run in runs:
        found = []
        for seed in range(2):
            model.load_state_dict(start)
            disturb(0)
            torch.manual_seed(0)  # of the weights of `network`
            with torch.random.fork_rng(devices=[]):
                disturb_numpy(seed)
                found.append([(r.train_loss, r.valid_loss) for r in run().history])
        assert found[0] == found[1]


def disturb_numpy(seed: int) -> None:
    np.random.seed(seed), random.seed(seed)


def test_a_generator_of_a_loss_is_seeded_and_returns() -> None:
    class Own:
        def __init__(self) -> None:
            self.rng = np.random.default_rng(3)

        def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(logits * (1 + self.rng.random()), targets)

    loss = Own()
    before = loss.rng.bit_generator.state
    first = pydarts.search((X, Y), SEARCH, loss=loss).alphas
    assert loss.rng.bit_generator.state == before
    loss.rng.random()
    assert equal(first, pydarts.search((X, Y), SEARCH, loss=loss).alphas)


def test_calls_of_a_loss_draw_different_numbers() -> None:
    seen: list[float] = []

    def noting(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(float(torch.rand(())))
        return logits.sum()

    loss = SeededLoss(noting, 0)
    for step in (0, 1, 0):
        loss.begin(step)
        for _ in range(2):
            loss(torch.zeros(1), torch.zeros(1))
    assert len(set(seen)) == 4
    assert seen[:2] == seen[4:]


def test_no_loader_seeds_the_generators_while_a_callback_draws() -> None:
    class Drawing(pydarts.Callback):
        def __init__(self) -> None:
            self.seen: set[tuple[float, ...]] = set()

        def on_step(self, info: Any) -> None:
            torch.manual_seed(0), np.random.seed(0), random.seed(0)
            drawn = []
            for _ in range(20):
                drawn += [float(torch.rand(())), float(np.random.rand()), random.random()]
                time.sleep(0.001)
            self.seen.add(tuple(drawn))

    drawing = Drawing()
    pydarts.search(DataLoader(Slow(), 4, shuffle=True), SEARCH.replace(num_classes=4), drawing)
    assert len(drawing.seen) == 1


class Fed:
    """Batches that a callback provides; `next` waits for them."""

    def __init__(self) -> None:
        self.batches: queue.Queue[int] = queue.Queue()

    def __iter__(self) -> Iterator[Any]:
        yield DATA.tensors[0][:8], DATA.tensors[1][:8]
        for _ in range(2):
            self.batches.get(timeout=100)
            yield DATA.tensors[0][:8], DATA.tensors[1][:8]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "PATIENCE", 0.2)
    monkeypatch.setattr(draws, "GIVE_UP", 0.4)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_callback_may_feed_a_loader_and_train(impatient: None) -> None:
    fed, valid = Fed(), [(DATA.tensors[0][:8], DATA.tensors[1][:8])] * 3
    trained = []

    class Feed(pydarts.Callback):
        def on_step(self, info: Any) -> None:
            result = pydarts.train(network(), DataLoader(DATA, 8), config(epochs=1))
            trained.append(result.status)
            fed.batches.put(1)

    cfg = SEARCH.replace(epochs=1, num_classes=4, in_channels=1, image_size=8)
    assert pydarts.search((fed, valid), cfg, Feed()).status == "complete"
    assert trained == ["complete"] * 3


def test_a_run_does_not_wait_for_ever_for_a_loader_of_another(impatient: None) -> None:
    entered, release = threading.Event(), threading.Event()

    def hold() -> None:
        with Section(stream(0, "train", 0), name="the train loader"):
            entered.set()
            release.wait(60)

    before = states()
    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(60)
    with pytest.warns(UserWarning, match="the train loader"):
        assert pydarts.train(network(), (X, Y), config(epochs=1)).status == "complete"
    release.set()
    thread.join()
    torch.set_rng_state(torch.tensor(before[0], dtype=torch.uint8))  # `network` has drawn its weights
    assert states() == before


def test_a_section_that_has_drawn_does_not_give_way() -> None:
    with Section(stream(0, "train", 0)) as section:
        torch.rand(1)
        assert not section.end_if_unused()
    with Section(stream(0, "train", 0)) as section:
        assert section.end_if_unused()
        assert section.gave_way


def test_the_turn_of_a_thread_that_has_ended_is_free() -> None:
    turn = Turn()
    section: list[Section] = []

    def lose() -> None:
        section.append(Section(stream(0, "a", 0)))
        turn.acquire(section[0], None)

    thread = threading.Thread(target=lose)
    thread.start()
    thread.join()
    assert not turn.free
    mine = Section(stream(0, "a", 0))
    turn.acquire(mine, None)
    turn.release(mine)
    assert turn.free


@pytest.mark.parametrize("kind", [lambda poll: Masks(0, poll), lambda poll: SeededLoss(noisy, 0, poll)])
def test_waiting_for_the_turn_hears_an_interrupt(kind: Any) -> None:
    entered, release = threading.Event(), threading.Event()

    def hold() -> None:
        with Section(stream(0, "train", 0)):
            entered.set()
            release.wait(60)

    def interrupted() -> None:
        raise KeyboardInterrupt

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(60)
    made = kind(interrupted)
    with pytest.raises(KeyboardInterrupt):
        if isinstance(made, SeededLoss):
            made(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
        else:
            with made:
                pass
    release.set()
    thread.join()
    assert draws._turn.free


class _Interrupts:
    """Raises KeyboardInterrupt at one line of the code of `draws`, as a signal can."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_globals.get("__name__") != "pydarts._data.draws":
            return None
        if event == "line" and frame.f_code.co_name in ("__enter__", "acquire", "_seed", "_all"):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


def test_an_interrupt_at_any_line_of_the_beginning_leaves_nothing_open() -> None:
    before, at, done = states(), 0, False
    while not done:
        at += 1
        tracer, kept = _Interrupts(at), sys.gettrace()
        sys.settrace(tracer)
        try:
            with Section(stream(0, "train", 0)):
                done = True
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(kept)
        assert draws._turn.free, at
        assert states() == before, at
    assert at > 10


def test_a_lost_section_does_not_outlive_the_next_run() -> None:
    lost = Section(stream(0, "train", 0))
    draws._turn.acquire(lost, None)
    assert pydarts.search(DataLoader(DATA, 8), SEARCH.replace(num_classes=4)).status == "complete"
    assert draws._turn.free


def test_a_second_interrupt_waits_until_the_generators_are_restored() -> None:
    class Signals(Section):
        def _restore(self) -> None:
            for _ in range(2):
                watch._note(signal.SIGINT, sys._getframe(1))
            super()._restore()

    before = states()
    handler = signal.getsignal(signal.SIGINT)
    with InterruptWatch() as watch:
        with Signals(stream(0, "train", 0)):
            torch.rand(1)
        assert watch.seen
        with pytest.raises(KeyboardInterrupt):
            watch._note(signal.SIGINT, sys._getframe())
    assert signal.getsignal(signal.SIGINT) is handler
    assert draws._turn.free
    assert states() == before


@pytest.mark.parametrize("run", ["search", "train"])
def test_an_interrupt_while_labels_are_counted_ends_the_call(run: str) -> None:
    class Interrupting(Slow):
        def __getitem__(self, index: int) -> Any:
            if index == 9:
                signal.raise_signal(signal.SIGINT)
            return super().__getitem__(index)

    pair = tuple(DataLoader(Interrupting(), 8) for _ in range(2))
    before = states()
    with pytest.raises(KeyboardInterrupt):
        if run == "search":
            pydarts.search(pair, SEARCH)
        else:
            pydarts.train(pydarts.genotypes.DARTS_V2, pair, config(epochs=1))
    assert states() == before
    assert draws._turn.free
