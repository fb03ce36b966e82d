"""A module with choices in one search: its parameters and buffers are the engine's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .._core import ConfigError, DataError
from .._data.draws import SeededLoss
from .._data.share import current
from .._data.structure import Layout
from .._values.hints import add_note, hint
from .._values.words import listed
from ..nn._choices import Found, paths_of, tables_of_choices
from ..nn._fix import choices_in
from ..nn._function import Named
from ..nn._module import called, check_shapes
from ..nn._places import moved, places_of
from ..nn._settled import is_fresh, settle
from .batch_norm import Synchronised
from .kept import Kept
from .metrics import Counter, Metric, check_classes
from .network import GivenTable, Watched, check_mixing, check_twice, checked_loss


class BoundModule:
    """A module with choices in one search. It is changed: its parameters share the memory of the engine.

    Args:
        module: the module, a copy of the user's in the dtype of the search.
        loss: (output, targets) -> scalar tensor; None: the output is the loss.
        correct: (output, targets) -> number of correct predictions, or None; None: not counted.
        metric: what evaluations measure; None: only the loss and the correct predictions.
        seed: of what is drawn.
        poll: called while another section of code that draws runs.
        sync_batch_norm: batch norms use the statistics of all ranks.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Any, Any], Any] | None,
        correct: Counter | None,
        metric: Metric | None,
        seed: int,
        poll: Callable[[], None],
        sync_batch_norm: bool = False,
    ) -> None:
        self.module, self._loss, self._correct, self._metric = module, loss, correct, metric
        self.choices = choices_in(module)
        logits = {id(found.module.alpha) for found in self.choices}
        self._parameters: dict[str, nn.Parameter] = {
            name: value
            for name, value in module.named_parameters()
            if value.requires_grad and id(value) not in logits
        }
        check_parameters(module, self._parameters)
        # The engine copies weights and buffers.
        current().copy_first([value for value in module.parameters() if not value.requires_grad])
        self.weights: Named = {name: value.detach() for name, value in self._parameters.items()}
        self.buffers: Named = dict(module.named_buffers())
        self.tables = given_tables(self.choices)
        self.paths: Mapping[str, list[list[int]]] = paths_of(module, self.choices)
        self._rows = [(found.module, found.table, found.row, len(found.candidates)) for found in self.choices]
        self._live: list[tuple[nn.Module, str, Tensor]] = []
        self._frozen = [part for part in module.modules() if not part.training]
        self._norms = [part for part in module.modules() if part.training and is_fresh(part)]
        self._synchronised = Synchronised(module, current()) if sync_batch_norm else None
        self._recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
        self._training: bool | None = None
        self._seeded = SeededLoss(self._compute, seed, poll)
        self._step, self._fits, self._mixes, self._twice = 0, False, False, False
        self._m: Named = {}
        self._samples = False
        self._place = ""
        self._outputs: list[Any] | None = None

    def bind(self, w: Named, m: Named, buffers: Named, samples: bool) -> tuple[list[Tensor], list[Tensor]]:
        """See `BoundNetwork`."""
        self._samples = samples
        if samples and self._synchronised is not None:
            raise ConfigError(
                "sync_batch_norm is True, but the relaxation samples different candidates on each rank, so "
                "ranks would call different layers; use another relaxation or leave out sync_batch_norm"
            )
        moved(self.module, device=next(iter(w.values())).device)
        for name, places in places_of(self.module).items():
            if name in buffers:
                for part, key in places:
                    self._live.append((part, key, buffers[name]))
        self._let_in(self._live)
        for name, memory in w.items():
            self._parameters[name].data = memory
        self._kept = Kept(self.module)
        self._m = dict(m)
        return list(self._parameters.values()), list(m.values())

    def begin(self, step: int) -> None:
        """See `BoundNetwork`."""
        self._step = step
        self._seeded.begin(step)

    def begin_loss(self, role: str, part: int) -> None:
        """See `BoundNetwork`."""
        self._seeded.begin(self._step, role, part)

    def begin_evaluation(self) -> None:
        """See `BoundNetwork`."""
        if self._metric is not None:
            self._metric.begin(self._step)

    def measured(self) -> dict[str, float]:
        """See `BoundNetwork`."""
        return {} if self._metric is None else self._metric.measured()

    @contextmanager
    def captured(self, outputs: list[Any]) -> Iterator[None]:
        """Append the output of each pass to a list instead of computing its loss."""
        self._outputs = outputs
        try:
            yield
        finally:
            self._outputs = None

    def __call__(
        self, mode: str, tensors: Sequence[Tensor], layout: Layout, twice: bool
    ) -> tuple[Tensor, Tensor | None]:
        """See `BoundNetwork`."""
        watched = Watched(dict(zip(layout.paths, tensors, strict=True)))
        if self._synchronised is not None:
            self._synchronised.examples = len(tensors[0])
        self._kept.begin(mode)
        inputs, targets = layout.rebuild(tensors)
        some = next(iter(self._parameters.values()))
        self._set_mode(mode != "evaluation")
        # The gradient by a weight of 0 needs its candidate: that of the attack of a perturbation.
        differentiated = any(table.requires_grad for table in self._m.values())
        self._set_mixing(self._samples or (mode == "evaluation" and not differentiated))
        self._set_buffers(mode)
        with ExitStack() as stack:
            if twice:
                stack.enter_context(differentiable_twice(self._recurrent))
            try:
                value, correct, output = self._seeded(inputs, targets)
            except Exception as error:
                self._explain(error, tensors)
                raise
        watched.check("the network or its loss")
        self._kept.check()
        if mode == "weights":
            self._take_over()
        learns = some.requires_grad and torch.is_grad_enabled()
        value = checked_loss(value, some, learns, "the network" if self._loss is None else "the loss")
        if not self._mixes and torch.is_grad_enabled() and any(one.requires_grad for one in self._m.values()):
            unused = check_mixing(value, self._m)
            if unused and not self._samples:  # else it may be in a candidate that was not sampled
                hint(
                    f"the loss of the first batch does not depend on the choices {listed(unused)}, so their "
                    "logits have no gradient; are they called in forward?"
                )
            self._mixes = True
        if twice and not self._twice:
            check_twice(value)
            self._twice = True
        if mode == "evaluation" and self._metric is not None:
            self._metric.add(output, targets, len(tensors[0]))
        return value, correct

    def _compute(self, inputs: Any, targets: Any) -> tuple[Any, Tensor | None, Any]:
        self._place = f"in the network {type(self.module).__name__}"
        output = called(self.module, inputs)
        self._place = "in the loss"
        if self._outputs is not None:
            self._outputs.append(output)
            return next(iter(self._parameters.values())).new_zeros(()), None, output
        if not self._fits and self._loss is nn.functional.cross_entropy:
            check_classes(output, targets)
        self._fits = True
        value = output if self._loss is None else self._loss(output, targets)
        return value, None if self._correct is None else self._correct(output, targets), output

    def _explain(self, error: Exception, tensors: Sequence[Tensor]) -> None:
        """Add notes to an exception of the user's code: where it was raised, and what may help."""
        shapes = ", ".join(f"{str(one.dtype).removeprefix('torch.')} {list(one.shape)}" for one in tensors)
        add_note(error, f"{self._place}, on a batch of {shapes}")
        if self._place == "in the loss" and self._loss is nn.functional.cross_entropy:
            add_note(
                error,
                "cross-entropy, the default loss, compares outputs [N, classes] with class indices [N] or "
                "probabilities [N, classes]; pass loss= for other targets",
            )
        elif self._place != "in the loss" and not tensors[0].is_floating_point():
            add_note(
                error,
                "integer tensors are passed to the network unchanged; convert images, for example, to "
                "floating point first: x.float() / 255",
            )

    def _set_mode(self, training: bool) -> None:
        """Enter the training or the evaluation mode; what the user put into evaluation mode stays there."""
        if self._training != training:
            self.module.train(training)
            for part in self._frozen:
                part.training = False
            self._training = training

    def _set_mixing(self, sparse: bool) -> None:
        """Set the mixing weights; they stay, as `torch.utils.checkpoint` runs parts in the backward pass.

        `sparse`: candidates whose weight is 0 are not computed, unless that is all of them, since the shape
        of what they return is not known.
        """
        rows = {name: table.unbind(0) for name, table in self._m.items()}
        numbers = {name: table.tolist() for name, table in self._m.items()} if sparse else {}
        for choice, table, row, count in self._rows:
            weights = rows[table][row]
            choice._mixing = weights if len(weights) == count else weights[:count]
            live = [i for i, weight in enumerate(numbers[table][row][:count]) if weight] if sparse else []
            choice._live = tuple(live) if 0 < len(live) < count else None

    def _set_buffers(self, mode: str) -> None:
        """Let the weight step move the buffers; any other pass, and its backward pass, gets copies."""
        if mode == "weights":
            self._let_in(self._live)
            return
        copies: dict[int, Tensor] = {}
        for _, _, live in self._live:
            copies.setdefault(id(live), live.clone())
        self._let_in([(part, key, copies[id(live)]) for part, key, live in self._live])
        if mode == "evaluation":
            for norm in self._norms:
                settle(norm)

    @staticmethod
    def _let_in(buffers: Sequence[tuple[nn.Module, str, Tensor]]) -> None:
        for part, key, buffer in buffers:
            part._buffers[key] = buffer

    @torch.no_grad()
    def _take_over(self) -> None:
        """Copy buffers that the module replaced instead of changing them in place."""
        for part, key, live in self._live:
            new = part._buffers.get(key)
            if new is live:
                continue
            if new is None or new.shape != live.shape:
                given = (
                    "removed" if new is None else f"of shape {list(new.shape)} instead of {list(live.shape)}"
                )
                raise DataError(
                    f"the buffer {key!r} of {type(part).__name__} is {given} after a forward pass; a buffer "
                    "keeps its shape"
                )
            live.copy_(new)
        self._let_in(self._live)


def given_tables(choices: Sequence[Found]) -> list[GivenTable]:
    """Return the tables of choices for the engine."""
    return [
        (
            table.name,
            [(row.label, list(row.choices[0].candidates), row.initial) for row in table.rows],
            table.keep,
        )
        for table in tables_of_choices(choices)
    ]


def check_parameters(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise ConfigError if a search cannot train a module."""
    check_shapes(module)
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_meta:
            raise ConfigError(f"{name} is on the meta device, without values; use to_empty() and set them")
        if value.is_complex() or value.layout != torch.strided:
            raise ConfigError(f"{name} is {value.dtype}, {value.layout}; it must be dense and real")
    if not weights:
        raise ConfigError("the network has no parameters that require gradients; there is nothing to train")
    for name, value in weights.items():
        if not value.is_floating_point() or not bool(torch.isfinite(value).all()):
            raise ConfigError(f"{name} must be floating and finite, got {value.dtype} with NaN or infinity")


@contextmanager
def differentiable_twice(recurrent: bool) -> Iterator[None]:
    """Use kernels that have second derivatives, for attention and for recurrent layers."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if recurrent:
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            stack.enter_context(_without_mkldnn())
        yield


@contextmanager
def _without_mkldnn() -> Iterator[None]:
    """As `torch.backends.mkldnn.flags`, which warns of settings that it sets as well."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before
