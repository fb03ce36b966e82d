"""What a pass of a module with choices must leave as it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .._core import DataError
from ..nn._places import Place, places_of


class Kept:
    """The parameters of a module, which only the engine changes, and the names of its buffers.

    A parameter with other memory would no longer learn; one that forward changes would do so in passes that
    are not part of a step, and a resumed search would not know its value.
    """

    def __init__(self, module: nn.Module) -> None:
        named = dict(module.named_parameters())
        places = places_of(module)
        self._places: list[tuple[str, nn.Parameter, Place]] = [
            (name, parameter, place)
            for name, parameter in named.items()
            for place in places[name]
            if not isinstance(place[0], torch.jit.ScriptModule)  # its forward cannot replace them
        ]
        self._buffers = [
            (part, {key for key, buffer in part._buffers.items() if buffer is not None})
            for part in module.modules()
        ]
        self._before: list[tuple[int, int]] = []
        self._sums: Tensor | None = None
        self._seen: set[str] = set()

    def begin(self, mode: str) -> None:
        """Begin a pass. Changes of `.data` have no counter, so the first one in a mode compares sums."""
        self._before = [(one.data_ptr(), one._version) for _, one, _ in self._places]
        self._sums = None if mode in self._seen else self._summed()
        self._seen.add(mode)

    def check(self) -> None:
        """Raise DataError if the pass has changed a parameter, or added a buffer."""
        for (name, one, (part, key)), before in zip(self._places, self._before, strict=True):
            if part._parameters.get(key) is not one or before != (one.data_ptr(), one._version):
                raise _changed(name)
        if self._sums is not None:
            alike = torch.isclose(self._sums, self._summed(), rtol=0, atol=0, equal_nan=True).tolist()
            for (name, *_), same in zip(self._places, alike, strict=True):
                if not same:
                    raise _changed(name)
        for part, keys in self._buffers:
            for key, buffer in part._buffers.items():
                if buffer is not None and key not in keys:
                    raise DataError(
                        f"the forward pass of {type(part).__name__} added the buffer {key!r}; a search "
                        "keeps only the buffers that exist at its start: create this one in __init__, or "
                        "call the network on a batch before the search"
                    )

    @torch.no_grad()
    def _summed(self) -> Tensor:
        return torch.stack([one.detach().sum(dtype=torch.float64) for _, one, _ in self._places])


def _changed(name: str) -> DataError:
    return DataError(
        f"the network or its loss changed the parameter {name}, which only the search may change; use a "
        "changed copy or torch.nn.utils.parametrize, or register a tensor that forward updates as a buffer"
    )
