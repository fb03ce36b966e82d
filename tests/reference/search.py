"""The order of updates of the search: an α step on validation data and a w step on training data."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .hypergradient import Batch
from .implicit import METHODS
from .sparse import gradients as sparse_gradients
from .sparse import rests
from .supernet import Criterion, Supernet
from .terms import Term, total


class Search:
    """Alternates α steps (Adam) and w steps (SGD) with the published settings.

    With `published` every loss is differentiated by `loss.backward()`, which computes the gradients of
    weights and α alike, needed or not; otherwise only those that are used. The numbers are the same.
    """

    published: bool = True

    def __init__(
        self,
        net: Supernet,
        *,
        method: str = "first_order",
        epsilon: float = 0.01,
        weight_momentum: float = 0.9,
        weight_decay: float = 3e-4,
        grad_clip: float = 5.0,
        virtual_clip: float | None = None,
        arch_lr: float = 3e-4,
        arch_betas: tuple[float, float] = (0.5, 0.999),
        arch_weight_decay: float = 1e-3,
        arch_optimizer: str = "adam",
        arch_grad_clip: float | None = None,
        order: str = "arch_first",
        weight_nesterov: bool = False,
        criterion: Criterion = F.cross_entropy,
        published: bool = True,
        terms: Sequence[Term] = (),
    ) -> None:
        if method not in METHODS and method != "single_level":
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        self.net, self.method, self.epsilon = net, method, epsilon
        self.weight_momentum, self.weight_decay, self.grad_clip = weight_momentum, weight_decay, grad_clip
        self.virtual_clip, self.terms = virtual_clip, terms
        self.criterion, self.published, self.steps = criterion, published, 0
        self.order, self.arch_grad_clip = order, arch_grad_clip
        self.weight_optimizer = torch.optim.SGD(
            net.parameters(),
            lr=0.025,
            momentum=weight_momentum,
            weight_decay=weight_decay,
            nesterov=weight_nesterov,
        )
        alphas, decay = list(net.alphas.values()), arch_weight_decay
        self.arch_optimizer: torch.optim.Optimizer = (
            torch.optim.Adam(alphas, lr=arch_lr, betas=arch_betas, eps=1e-8, weight_decay=decay)
            if arch_optimizer == "adam"
            else torch.optim.SGD(alphas, lr=arch_lr, weight_decay=decay)
        )

    def step(self, train: Batch, valid: Batch, lr: float) -> tuple[float, float]:
        """One α step, then one w step at rate `lr`, which is ξ too.

        Returns the train loss before the w step and the validation loss where α's gradient was taken:
        at w for first order, at w' for the unrolled methods.
        """
        self.net.train()
        if self.method == "single_level":
            valid_loss = train_loss = self._joint_step(train, lr)
        elif self.order == "arch_first":
            valid_loss = self._arch_step(train, valid, lr)
            train_loss = self._weight_step(train, lr)
        else:
            train_loss = self._weight_step(train, lr)
            valid_loss = self._arch_step(train, valid, lr)
        self.steps += 1
        return train_loss, valid_loss

    def optimizer_state(self) -> dict[str, dict[str, Tensor] | int]:
        """`momentum` by weight name, `exp_avg` and `exp_avg_sq` by α's name, and `step`; copies."""
        return {
            "momentum": _read(self.weight_optimizer, self.net.weights(), "momentum_buffer"),
            "exp_avg": _read(self.arch_optimizer, self.net.alphas, "exp_avg"),
            "exp_avg_sq": _read(self.arch_optimizer, self.net.alphas, "exp_avg_sq"),
            "step": self.steps,
        }

    def _arch_step(self, train: Batch, valid: Batch, lr: float) -> float:
        net = self.net
        alphas = list(net.alphas.values())
        if self.method == "first_order" and self.published:
            self._forget_gradients()
            with net.moving_statistics(False), net.of_role("alpha"):
                loss = net.loss(*valid, self.criterion)
            total(loss, self.terms, net.alphas, net.relaxation).backward()
            _fill_gradients(alphas)
            valid_loss = loss.item()
        else:
            grads, valid_loss = self._hypergradient(train, valid, lr)
            for name, alpha in net.alphas.items():
                alpha.grad = grads[name]
            self._add_terms(torch.tensor(valid_loss, dtype=alphas[0].dtype))
        self._move_alphas()
        return valid_loss

    def _joint_step(self, train: Batch, lr: float) -> float:
        """One backward pass of the training loss moves α and the weights (SNAS)."""
        self._forget_gradients()
        with self.net.moving_statistics():
            objective, loss = self.net.training_loss(*train, self.criterion)
        objective.backward()
        _fill_gradients([*self.net.alphas.values(), *self._moving()])
        self._move_alphas()
        self._move_weights(lr)
        return loss.item()

    def _hypergradient(self, train: Batch, valid: Batch, lr: float) -> tuple[dict[str, Tensor], float]:
        if self.method == "first_order":
            return METHODS[self.method](self.net, train, valid, criterion=self.criterion)
        self._forget_gradients()  # else the second network would copy them
        moved = self.steps > 0 or self.order == "weights_first"
        momentum = self.optimizer_state()["momentum"] if moved else None
        return METHODS[self.method](
            self.net,
            train,
            valid,
            xi=lr,
            epsilon=self.epsilon,
            momentum_buffers=momentum,
            momentum=self.weight_momentum,
            weight_decay=self.weight_decay,
            clip=self.virtual_clip,
            criterion=self.criterion,
        )

    def _add_terms(self, loss: Tensor) -> None:
        """Add to a hypergradient what the terms add to the gradient, and multiply it by their factors."""
        if not self.terms:
            return
        alphas, loss = list(self.net.alphas.values()), loss.requires_grad_()
        value = total(loss, self.terms, self.net.alphas, self.net.relaxation)
        factor, *added = torch.autograd.grad(value, [loss, *alphas], allow_unused=True)
        for alpha, gradient in zip(alphas, added, strict=True):
            assert alpha.grad is not None
            alpha.grad = factor * alpha.grad + (0 if gradient is None else gradient)

    def _weight_step(self, train: Batch, lr: float) -> float:
        net = self.net
        weights = list(net.parameters())
        self._forget_gradients()
        with net.moving_statistics():
            objective, loss = net.training_loss(*train, self.criterion)
        if self.published:
            objective.backward()
            _fill_gradients(self._moving())
        else:
            found = sparse_gradients(objective, net.weights(), net.samples)
            for weight, grad in zip(weights, found.values(), strict=True):
                weight.grad = None if grad is None else grad.detach()
        self._move_weights(lr)
        return loss.item()

    def _moving(self) -> list[Tensor]:
        """The weights that a step moves: all that do not rest."""
        named = self.net.weights().items()
        return [weight for name, weight in named if not rests(name, weight.grad, self.net.samples)]

    def _move_weights(self, lr: float) -> None:
        torch.nn.utils.clip_grad_norm_(list(self.net.parameters()), self.grad_clip)
        for group in self.weight_optimizer.param_groups:
            group["lr"] = lr
        self.weight_optimizer.step()

    def _move_alphas(self) -> None:
        """Step α's optimiser; masked and frozen logits and their moments are then as they were."""
        kept = {
            name: [tensor.detach().clone() for tensor in (alpha, *self._moments(alpha))]
            for name, alpha in self.net.alphas.items()
        }
        if self.arch_grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(list(self.net.alphas.values()), self.arch_grad_clip)
        self.arch_optimizer.step()
        for name, alpha in self.net.alphas.items():
            fixed = self.net.relaxation.fixed(name, alpha)
            for now, before in zip((alpha.detach(), *self._moments(alpha)), kept[name], strict=True):
                now[fixed] = before[fixed]

    def _moments(self, alpha: Tensor) -> list[Tensor]:
        """Adam's moments, not copied; zeros before the first step."""
        state = self.arch_optimizer.state.get(alpha, {})
        return [state.get(key, torch.zeros_like(alpha)) for key in ("exp_avg", "exp_avg_sq")]

    def _forget_gradients(self) -> None:
        self.weight_optimizer.zero_grad()
        self.arch_optimizer.zero_grad()


def _fill_gradients(tensors: list[Tensor]) -> None:
    """A tensor that the loss does not reach has gradient zero, so momentum and decay still act on it."""
    for tensor in tensors:
        if tensor.grad is None:
            tensor.grad = torch.zeros_like(tensor)


def _read(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    read = {}
    for name, tensor in tensors.items():
        value = optimizer.state.get(tensor, {}).get(key)
        read[name] = torch.zeros_like(tensor).detach() if value is None else value.detach().clone()
    return read
