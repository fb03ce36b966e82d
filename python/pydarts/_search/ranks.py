"""The ranks of a search or a training: the processes of an initialised group of `torch.distributed`."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from .. import _core
from .._core import ConfigError
from .._data.loaders import on_gpu
from .._data.share import WHOLE, Share, current, sharing
from .._values.config import SearchConfig

_POLL = timedelta(seconds=0.5)  # between checks for an interrupt, while others are waited for
_BEAT = 1.0  # seconds between signs of life
_SILENT = 6.0  # seconds without one after which a rank counts as dead, once the connection is lost
_LINGER = 15.0  # seconds that the process with the store waits for the others to read it
_RESUME = "; with a checkpoint_dir, start all ranks again with resume=True"
_OWN = ("device", "progress")  # options in which ranks may differ

_searches = itertools.count()


class Ranks:
    """The processes of one run, as one of them sees them; the engine calls `sum` and `leave`.

    They have a group of their own. A rank that fails closes it, whereupon what the others wait for fails at
    once, and so does that of a rank that dies. The group of the user is not touched.
    """

    def __init__(self, gpu: bool) -> None:
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        self.poll: Callable[[], None] = lambda: None
        """Called while others are waited for; an exception ends the wait."""
        self._group: Any = dist.new_group(backend=None if gpu else "gloo")
        self._streams = dist.get_backend(self._group) == "nccl"
        store = dist.distributed_c10d._get_default_store()
        self._store: Any = dist.distributed_c10d.PrefixStore(f"pydarts/{next(_searches)}", store)
        self._device = torch.device("cuda" if self._streams else "cpu")
        self._exchanges = itertools.count()
        self._lost, self._closed = False, threading.Event()
        threading.Thread(target=self._beat, name="pydarts signs of life", daemon=True).start()

    @property
    def share(self) -> Share:
        """The share of the data that this rank reads."""
        return Share(self.rank, self.ranks, self)

    def sum(self, tensor: Tensor) -> None:
        """Overwrite a tensor with its sum over the ranks.

        Raises:
            RankError: another rank failed or died.
            KeyboardInterrupt: another rank was interrupted, or this one while it waited.
        """
        if self._group is None:
            raise _core.RankError("this rank has left the others")
        try:
            work = dist.all_reduce(tensor, group=self._group, async_op=True)
            while not self._done(work):
                self.poll()
        except RuntimeError as error:
            raise self._loss() from error

    def _done(self, work: Any) -> bool:
        if self._streams:  # to wait with a limit would end the group
            if not work.is_completed():
                time.sleep(1e-4)
                return False
            work.wait()
            return True
        try:
            work.wait(_POLL)
        except RuntimeError:
            if work.is_completed():
                raise
            return False
        return True

    def exchange(self, value: Any) -> list[Any]:
        """Return the value that each rank gives, which JSON can hold."""
        number = next(self._exchanges)
        self._store.set(f"{number}/{self.rank}", json.dumps(value))
        self.sum(torch.zeros(1, device=self._device))  # then all values are there
        found = [json.loads(self._store.get(f"{number}/{rank}")) for rank in range(self.ranks)]
        if number:  # all have read the values before
            self._store.delete_key(f"{number - 1}/{self.rank}")
        return found

    def leave(self, why: tuple[str, bool]) -> None:
        """Close the group; `why`: the failure of this rank, and whether it is an interrupt of the user."""
        if not self._lost and self._group is not None:  # otherwise the others know another reason
            message, interrupted = why
            with suppress(RuntimeError):
                self._store.set(f"why/{self.rank}", json.dumps((message[:1000], interrupted)))
        self.close()

    def close(self) -> None:
        """Close the group; may be called twice."""
        self._closed.set()
        group, self._group = self._group, None
        if group is not None:
            with suppress(RuntimeError, ValueError, AssertionError):
                dist.destroy_process_group(group)

    def _beat(self) -> None:
        """Count in the store as long as this process lives, also while it computes."""
        while not self._closed.wait(_BEAT):
            try:
                self._store.add(f"beat/{self.rank}", 1)
            except RuntimeError:  # the process that holds the store has ended
                return

    def _loss(self) -> BaseException:
        """Return the exception that says why another rank is gone."""
        self._lost = True
        try:
            self._store.set(f"noticed/{self.rank}", "")
            found, alive = self._reason()
            if isinstance(found, _core.RankError):
                self._store.set("lost", str(found))
            if self.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
                self._let_read(alive)
        except RuntimeError:  # the store is in the process of rank 0, unless torchrun keeps it
            found = _core.RankError(f"rank 0 of {self.ranks} has ended or died{_RESUME}")
        return found

    def _reason(self) -> tuple[BaseException, set[int]]:
        """Return why another rank is gone, and the ranks that live."""
        others = [rank for rank in range(self.ranks) if rank != self.rank]

        def beats() -> list[int]:
            return [self._store.add(f"beat/{rank}", 0) for rank in others]

        begun, first, alive = time.monotonic(), beats(), set[int]()
        while True:
            alive |= {rank for rank, was, now in zip(others, first, beats(), strict=True) if now != was}
            failed = [rank for rank in others if self._store.check([f"why/{rank}"])]
            if failed:
                message, interrupted = json.loads(self._store.get(f"why/{failed[0]}"))
                if interrupted:
                    return KeyboardInterrupt(f"rank {failed[0]} was interrupted"), alive
                return _core.RankError(f"rank {failed[0]} of {self.ranks} failed: {message}"), alive
            if self._store.check(["lost"]):
                return _core.RankError(self._store.get("lost").decode()), alive
            silent = [rank for rank in others if rank not in alive]
            if not silent:
                return _core.RankError(f"rank {self.rank} of {self.ranks} lost the others{_RESUME}"), alive
            if time.monotonic() - begun > _SILENT:
                names = " and ".join(map(str, silent))
                ranks = "rank" if len(silent) == 1 else "ranks"
                return _core.RankError(f"{ranks} {names} of {self.ranks} died{_RESUME}"), alive
            time.sleep(0.1)

    def _let_read(self, alive: set[int]) -> None:
        """Keep the store until the living ranks have read why, which they may do after a long step only."""
        end = time.monotonic() + _LINGER
        while time.monotonic() < end and not all(self._store.check([f"noticed/{rank}"]) for rank in alive):
            time.sleep(0.1)
        time.sleep(2 * 0.1)


def several() -> bool:
    """Return whether this process is one of several in an initialised group."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@contextmanager
def together(gpu: bool, poll: Callable[[], None]) -> Iterator[Ranks | None]:
    """Join the processes of the initialised group, whose members each read a share of the data.

    Yields None if there is no group, or only this process in it. An exception ends the run of all. `poll` is
    called while others are waited for.
    """
    if not several():
        yield None
        return
    if current().peers is not None:  # in a callback of rank 0, which the others do not call
        with sharing(WHOLE):
            yield None
        return
    ranks = Ranks(gpu)
    ranks.poll = poll
    try:
        with sharing(ranks.share):
            yield ranks
    except BaseException as error:
        ranks.leave((str(error) or type(error).__name__, isinstance(error, KeyboardInterrupt)))
        raise
    finally:
        ranks.close()


def of_rank(config: SearchConfig, ranks: Ranks) -> SearchConfig:
    """Return the configuration of this rank: with its GPU, and with progress on rank 0 alone.

    Raises:
        ConfigError: an option does not apply to several ranks.
    """
    if config.batch_size == "auto":
        raise ConfigError(
            "batch_size='auto' does not apply to several ranks; give the number of examples of all ranks"
        )
    if on_gpu(config) and config.device in ("auto", "cuda"):
        config = config.replace(device=own_gpu(ranks))
    return config.replace(progress=False) if ranks.rank else config


def own_gpu(ranks: Ranks) -> str:
    """Return the GPU of this rank: that of LOCAL_RANK, which torchrun sets."""
    local = int(os.environ.get("LOCAL_RANK", ranks.rank))
    return f"cuda:{local % torch.cuda.device_count()}"


def check_alike(options: Mapping[str, Any], ranks: Ranks) -> None:
    """Check that all ranks have the same options, which JSON can hold.

    Raises:
        ConfigError: those of this rank differ from those of rank 0.
    """
    own = {name: value for name, value in options.items() if name not in _OWN}
    first = ranks.exchange(own)[0]
    different = [name for name in own if json.loads(json.dumps(own[name])) != first.get(name)]
    if different:
        name = different[0]
        raise ConfigError(
            f"{name} is {own[name]!r} on rank {ranks.rank} and {first.get(name)!r} on rank 0; all ranks of a "
            "process group work on one run: give them one configuration"
        )
