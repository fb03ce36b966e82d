"""The ranks of a search or a training: the processes of an initialised group of `torch.distributed`."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, overload

import torch
import torch.distributed as dist
from torch import Tensor

from .. import _core
from .._core import ConfigError
from .._data.share import WHOLE, Share, sharing
from .._values.config import SearchConfig
from .._values.hints import hint
from .store import NoAnswer, asked

_POLL = timedelta(seconds=0.5)  # between looks at the others, while they are waited for
_BEAT = 1.0  # seconds between signs of life
_SILENT = 6.0  # seconds without one after which a rank counts as dead, once the connection is lost
_HUNG = 60.0  # the same while the connection seems to hold, and of the store without an answer
_JOINING = timedelta(seconds=120)  # for making the group, after all have come
_ENDING = 5.0  # seconds in which a sum fails after the others have closed their groups
_LINGER = 15.0  # seconds that the process with the store waits for the others to read it
_PATIENCE = 10.0  # seconds of waiting for others to come until a hint says for whom
_LIMIT = timedelta(days=1)  # of a sum: signs of life limit it, and rank 0 may have a long callback
_RESUME = "; with a checkpoint_dir, start all ranks again with resume=True"
_OWN = ("device", "progress")  # options in which ranks may differ

_runs = itertools.count()
_inside: ContextVar[bool] = ContextVar("inside", default=False)
_abandoned: list[Any] = []
"""Groups in which a sum waits for a rank that is silent: to destroy one would wait as long as the sum."""


class Ranks:
    """The processes of one run, as one of them sees them; the engine calls `sum` and `leave`.

    They have a group of their own. A rank that fails closes it, whereupon what the others wait for fails at
    once, and so does that of a rank that dies. The group of the user is not touched.
    """

    def __init__(self, device: str, poll: Callable[[], None]) -> None:
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        self._others = [rank for rank in range(self.ranks) if rank != self.rank]
        self.device = device
        """The device of this rank."""
        self._device = torch.device(device)
        store = dist.distributed_c10d._get_default_store()
        self._store: Any = dist.distributed_c10d.PrefixStore(f"pydarts/{next(_runs)}", store)
        self._meet(poll)
        self._group: Any = None
        self._work: Any = None  # the sum that is waited for
        self._exchanges = itertools.count()
        self._lost, self._closed = False, threading.Event()
        self._waits, self._trouble, self._answers = False, False, 0
        threading.Thread(target=self._watch, name="pydarts signs of life", daemon=True).start()
        backend = _backend(self._device)
        self._streams = backend == "nccl"
        try:
            self._group = dist.new_group(backend=backend, timeout=_JOINING)
            dist.distributed_c10d._set_pg_timeout(_LIMIT, self._group)
        except RuntimeError as error:
            lost = self._loss()
            self._closed.set()
            raise lost from error

    def _meet(self, poll: Callable[[], None]) -> None:
        """Wait until all ranks have made this call; creating the group would block silently."""
        self._store.set(f"here/{self.rank}", "")
        begun, hinted = time.monotonic(), False
        while not self._store.check([f"here/{rank}" for rank in self._others]):
            poll()
            time.sleep(0.02)
            if not hinted and time.monotonic() - begun > _PATIENCE:
                hinted = True
                missing = [rank for rank in self._others if not self._store.check([f"here/{rank}"])]
                names = ", ".join(map(str, missing))
                hint(f"waiting for the same call on rank {names}: all ranks of a process group run together")

    @property
    def share(self) -> Share:
        """The share of the data that this rank reads."""
        return Share(self.rank, self.ranks, self)

    def facts(self, computed: int) -> dict[str, str]:
        """Return what a result says of this rank, which computed some examples in its steps."""
        return {"rank": f"{self.rank} of {self.ranks}", "examples computed": str(computed)}

    def sum(self, tensor: Tensor) -> None:
        """Overwrite a tensor with its sum over the ranks.

        Raises:
            RankError: another rank failed or died.
            KeyboardInterrupt: another rank was interrupted.
        """
        if self._group is None:
            raise _core.RankError("this rank has left the others")
        try:
            self._work = dist.all_reduce(tensor, group=self._group, async_op=True)
            self._wait(self._work)
            self._work = None  # it holds the group's connections
        except RuntimeError as error:
            raise error if isinstance(error, _core.RankError) else self._loss() from error

    def _wait(self, work: Any) -> None:
        """Wait for a sum, as long as the others and the store give signs of life."""
        # Only time in which this process ran counts, so that a pause of all is not taken for silence.
        silent, answers, now = 0.0, self._answers, time.monotonic()
        while not self._done(work):
            self._waits, before, now = True, now, time.monotonic()
            silent = silent + min(now - before, _BEAT) if answers == self._answers else 0.0
            answers = self._answers
            if self._trouble or silent > _HUNG:
                error = self._loss(failed=False, answered=silent <= _HUNG)
                if error is not None:
                    raise error
                self._trouble = False  # the silent rank gives signs of life again
        self._waits = False

    def _done(self, work: Any) -> bool:
        if self._streams:  # to wait with a limit would end the group
            if not work.is_completed():
                time.sleep(1e-4)
                return False
        else:
            try:
                work.wait(_POLL)
                return True
            except RuntimeError:
                if not work.is_completed():
                    return False
        work.wait()  # raises what has failed
        return True

    def exchange(self, value: Any) -> list[Any]:
        """Return the value that each rank gives, which JSON can hold."""
        number, store = next(self._exchanges), self._store
        asked(lambda: store.set(f"{number}/{self.rank}", json.dumps(value)))
        self.sum(torch.zeros(1, device=self._device))  # then all values are there
        found = asked(lambda: [json.loads(store.get(f"{number}/{rank}")) for rank in range(self.ranks)])
        if number:  # all have read the values before
            asked(lambda: store.delete_key(f"{number - 1}/{self.rank}"))
        return found

    def leave(self, why: tuple[str, bool]) -> None:
        """Close the group; `why`: the failure of this rank, and whether it is an interrupt of the user."""
        if self._group is None:
            return
        if self._lost:  # the others know another reason
            self.close(abort=True)
            return
        message, interrupted = why
        how = "was interrupted" if interrupted else f"failed: {message[:1000]}"
        end = f"rank {self.rank} of {self.ranks} {how}", interrupted, [self.rank]
        with suppress(RuntimeError):
            asked(lambda: self._tell(*end))
        self.close(abort=True)
        with suppress(RuntimeError):
            asked(lambda: self._let_read(self._others))

    def close(self, abort: bool = False) -> None:
        """Close the group; may be called twice. `abort`: what it still computes is given up."""
        self._closed.set()
        group, self._group = self._group, None
        if group is None:
            return
        if abort and not self._streams and not self._ended():
            _abandoned.append(group)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(group))  # also at the end of the interpreter
            return
        with suppress(RuntimeError, ValueError, AssertionError):
            if abort and self._streams:  # otherwise it would wait for its kernels
                group._get_backend(self._device).abort()
            dist.destroy_process_group(group)

    def _ended(self) -> bool:
        """Wait for a while for the last sum; return whether it has ended."""
        end = time.monotonic() + _ENDING
        while self._work is not None and not self._work.is_completed():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        self._work = None
        return True

    def _watch(self) -> None:
        """Count in the store as long as this process lives; look at the others while they are waited for.

        In a thread, because this rank may compute, and because the store does not answer if its machine is
        gone.
        """
        after, seen, looks = (self.rank + 1) % self.ranks, -1, 0
        with suppress(RuntimeError):  # the process that holds the store has ended
            store = self._store.clone()  # with a connection of its own
            while not self._closed.wait(_BEAT):
                store.add(f"beat/{self.rank}", 1)
                self._answers += 1
                if self._waits:
                    # Each rank looks at the next one: the store has few requests with many ranks too.
                    beat = store.add(f"beat/{after}", 0)
                    seen, looks = beat, looks + 1 if beat == seen else 0
                    self._trouble |= looks * _BEAT > _HUNG or store.check(["end"])

    def _tell(self, message: str, interrupted: bool, gone: Collection[int]) -> None:
        """Tell all ranks how the run has ended, unless another one has: the first one counts."""
        self._store.compare_set("end", "", json.dumps((message, interrupted, [*gone])))

    @overload
    def _loss(self) -> BaseException: ...
    @overload
    def _loss(self, failed: bool, answered: bool) -> BaseException | None: ...
    def _loss(self, failed: bool = True, answered: bool = True) -> BaseException | None:
        """Return the exception that says why another rank is gone.

        Return None if the sum has not `failed` and all ranks give signs of life. `answered`: whether the
        store has answered lately.
        """
        self._lost = True
        try:
            end = asked(lambda: self._end(failed)) if answered else None
            if answered and end is None:
                self._lost = False
                return None
        except NoAnswer:
            end = None
        except RuntimeError:  # the store is in the process of rank 0, unless torchrun keeps it
            end = f"rank 0 of {self.ranks} has ended or died{_RESUME}", False
        if end is None:
            why = "has had no answer from the machine of rank 0"
            return _core.RankError(f"rank {self.rank} of {self.ranks} {why}{_RESUME}")
        message, interrupted = end
        return KeyboardInterrupt(message) if interrupted else _core.RankError(message)

    def _end(self, failed: bool) -> tuple[str, bool] | None:
        """Return how the run has ended, as the first rank told it, and whether by an interrupt."""
        silent = self._silent()
        names, ranks = " and ".join(map(str, silent)), "rank" if len(silent) == 1 else "ranks"
        if silent:
            self._tell(f"{ranks} {names} of {self.ranks} died{_RESUME}", False, silent)
        elif failed:
            self._tell(f"rank {self.rank} of {self.ranks} lost the others{_RESUME}", False, ())
        elif not self._store.check(["end"]):
            return None
        message, interrupted, gone = json.loads(self._store.get("end"))
        self._store.set(f"noticed/{self.rank}", "")
        self._let_read({*self._others} - {*gone})
        return message, interrupted

    def _silent(self) -> list[int]:
        """Return the ranks without a sign of life for a while, or until a rank has told the end."""
        first = {rank: self._store.add(f"beat/{rank}", 0) for rank in self._others}
        begun, silent = time.monotonic(), [*self._others]
        while silent and time.monotonic() - begun < _SILENT and not self._store.check(["end"]):
            time.sleep(0.2)
            silent = [rank for rank in silent if self._store.add(f"beat/{rank}", 0) == first[rank]]
        return silent

    def _let_read(self, ranks: Collection[int]) -> None:
        """If this process holds the store, wait until the others have read the reason."""
        if not ranks or self.rank or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            return
        end = time.monotonic() + _LINGER
        while time.monotonic() < end and not self._store.check([f"noticed/{rank}" for rank in ranks]):
            time.sleep(0.1)


def _backend(device: torch.device) -> str:
    """Return the backend of the initialised group for a device; gloo also sums on a GPU."""
    try:
        found = dist.distributed_c10d._get_default_group()._get_backend(device)
    except RuntimeError:  # it has none
        return "gloo"
    return "nccl" if type(found).__name__ == "ProcessGroupNCCL" else "gloo"


def several() -> bool:
    """Return whether this process is one of several in an initialised group."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@contextmanager
def together(device: str, poll: Callable[[], None]) -> Iterator[Ranks | None]:
    """Join the processes of the initialised group, whose members each read a share of the data.

    Yields None if there is no group, or only this process in it, and inside another run: a callback is called
    on rank 0 alone. An exception ends the run of all. `device` is that of this rank; `poll` is called while
    others are waited for to come.
    """
    if not several() or _inside.get():
        with sharing(WHOLE):
            yield None
        return
    token, ranks = _inside.set(True), None
    try:
        ranks = Ranks(device, poll)
        with sharing(ranks.share):
            yield ranks
    except BaseException as error:
        if ranks is not None:
            ranks.leave((str(error) or type(error).__name__, isinstance(error, KeyboardInterrupt)))
        raise
    finally:
        _inside.reset(token)
        if ranks is not None:
            ranks.close()


def own_device(device: str, gpu: bool) -> str:
    """Return the device of this rank: of GPUs that of LOCAL_RANK, which torchrun sets, if none is given."""
    if not gpu:
        return "cpu"
    if device not in ("auto", "cuda") or not several():
        return device
    local = int(os.environ.get("LOCAL_RANK", dist.get_rank()))
    return f"cuda:{local % torch.cuda.device_count()}"


def of_rank(config: SearchConfig, ranks: Ranks) -> SearchConfig:
    """Return the configuration of this rank: with its GPU, and with progress on rank 0 alone.

    Raises:
        ConfigError: an option does not apply to several ranks.
    """
    if config.batch_size == "auto":
        raise ConfigError(
            "batch_size='auto' does not apply to several ranks; give the number of examples of all ranks"
        )
    return config.replace(device=ranks.device, progress=config.progress and not ranks.rank)


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


def checked_facts(facts: Mapping[str, str], ranks: Ranks) -> dict[str, str]:
    """Return the facts of rank 0 about data and loss.

    Raises:
        DataError: arrays or texts differ, of which each rank takes its share.
    """
    first: dict[str, str] = ranks.exchange(dict(facts))[0]
    for part in whole_parts(facts):
        names = [name for name in facts if name.startswith(f"{part}.")]
        for name in (name for name in names if facts[name] != first.get(name)):
            raise _core.DataError(
                f"{name} is {facts[name]} on rank {ranks.rank} and {first.get(name)} on rank 0; give all "
                "ranks the same arrays: each takes its share of every batch"
            )
    return first


def whole_parts(facts: Mapping[str, str]) -> list[str]:
    """Return the parts of the data that all ranks get as a whole: those of arrays and texts."""
    parts = (name.removesuffix(".source") for name in facts if name.endswith(".source"))
    return [part for part in parts if facts[f"{part}.source"] in ("arrays", "tokens")]
