"""The modules of user-defined operations before they run: shapes, weights and cost."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._core import GenotypeError, SpaceError
from .._values.ambient import kept
from .._values.hints import add_note
from .._values.operation import Operation
from ._layers import Layers
from ._operations import OPERATIONS


@dataclass(frozen=True)
class Place:
    """A module in a search network."""

    name: str
    """The prefix of its weights."""
    operation: str
    cell: int
    table: str
    """The kind of the cell."""
    edge: tuple[int, int]

    def __str__(self) -> str:
        source, target = self.edge
        return (
            f"the operation {self.operation!r} on edge {source}->{target} of cell {self.cell} ({self.table})"
        )


class Shapes(NamedTuple):
    """What the engine knows of a module, as `src/py/bridges/operation.rs` reads it."""

    weights: list[tuple[str, list[int]]]
    """Names within the module, and shapes."""
    multiply_adds: int
    """Of the forward pass of an example."""
    kept: int
    """Elements per example that are kept between forward and backward pass, besides the input."""


class Described:
    """The operations of a space, as far as a plan needs them."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self.operations = dict(operations)
        self.places: dict[str, tuple[Place, int, int]] = {}
        """By prefix: the place of a module, its channels and its stride."""
        self._found: dict[tuple[Any, ...], Shapes] = {}

    def describe(
        self, place: tuple[str, str, int, str, tuple[int, int]], stride: int, shape: Sequence[int]
    ) -> Shapes:
        """Describe a module for inputs [N, *shape].

        Raises:
            SpaceError: its output has another shape than [N, channels, ⌈H/stride⌉, ⌈W/stride⌉].
        """
        where = Place(*place)
        self.places[where.name] = where, shape[0], stride
        key = (where.operation, stride, *shape)
        if key not in self._found:
            with noted(where), kept(), restored(0):
                module = self.operations[where.operation].build(shape[0], stride)
                self._found[key] = _shapes(module, where, stride, shape)
        return self._found[key]


@contextmanager
def noted(where: Place) -> Iterator[None]:
    """Add a note with the place of a module to exceptions of the user's code."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, SpaceError):
            add_note(error, f"raised by {where}")
        raise


@contextmanager
def restored(seed: int) -> Iterator[None]:
    """Seed torch's generator of the CPU, and restore it afterwards."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def own_operation(name: str, operations: Mapping[str, Operation]) -> Operation:
    """Return a user-defined operation.

    Raises:
        GenotypeError: it is not among `operations`.
    """
    if name not in operations:
        raise GenotypeError(
            f"the genotype uses your own operation {name!r}; pass operations=[...] with its pydarts.Operation"
        )
    return operations[name]


def weights_of(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of a module: its parameters that require a gradient, tied ones once."""
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}


def check_output(value: Any, where: Place, given: Sequence[int], stride: int) -> Tensor:
    """Return the output of a module for inputs of the shape `given`.

    Raises:
        SpaceError: it is not a tensor, or has the wrong shape.
    """
    if not isinstance(value, Tensor):
        raise SpaceError(f"{where} returned a {type(value).__name__}; it must return one tensor")
    expected = [*given[:2], *(math.ceil(extent / stride) for extent in given[2:])]
    if list(value.shape) != expected:
        raise SpaceError(
            f"{where} maps shape {list(given)} to {list(value.shape)}; with stride {stride} it must return "
            f"{expected}"
        )
    return value


def _shapes(module: nn.Module, where: Place, stride: int, shape: Sequence[int]) -> Shapes:
    for name, weight in module.named_parameters():
        if isinstance(weight, nn.parameter.UninitializedParameter):
            raise SpaceError(
                f"{where} has the lazy parameter {name!r}, whose shape is unknown before it runs; construct "
                "its module with explicit numbers of channels"
            )
    found = [(name, list(weight.shape)) for name, weight in weights_of(module).items()]
    try:
        output, flops, elements = _run(copy.deepcopy(module).to("meta"), shape, "meta")
    except Exception:  # not every module runs on meta tensors
        output, flops, elements = _run(copy.deepcopy(module), shape, "cpu")
    check_output(output, where, (2, *shape), stride)
    return Shapes(found, flops // 4, elements // 2)  # two operations a multiply-add, two examples


def _run(module: nn.Module, shape: Sequence[int], device: str) -> tuple[Any, int, int]:
    """Run a module on two examples; return output, operations, and elements that autograd keeps."""
    from torch.utils.flop_counter import FlopCounterMode

    # A value that is no leaf, as the input of a module in a cell.
    x = torch.zeros(2, *shape, device=device, requires_grad=True) * 1.0
    weights = {weight.untyped_storage()._cdata for weight in module.parameters()}
    apart = {x.untyped_storage()._cdata, *weights}
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in apart:
            saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with FlopCounterMode(display=False) as counter, hooks:
        output = module(x)
    return output, int(counter.get_total_flops()), sum(tensor.numel() for tensor in saved.values())


def candidate(
    name: str,
    channels: tuple[int, int],
    stride: int,
    pool_norm: bool,
    layers: Layers,
    own: Mapping[str, Operation],
) -> nn.Module:
    """Make an operation of a cell; `channels` are those of its input and output, `own` those of the user.

    Raises:
        GenotypeError: an operation of the user that is not given, or one that keeps the number of channels
            where this changes.
    """
    into, out = channels
    if into != out and (name not in OPERATIONS or name == "noise" or "_pool_" in name):
        raise GenotypeError(f"operation {name!r} has {into} channels and cannot change them to {out}")
    if name in OPERATIONS:
        return OPERATIONS[name](into, out, stride, pool_norm, layers)
    return own_operation(name, own).build(into, stride, affine=True)
