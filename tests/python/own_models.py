"""Small networks written twice: with the modules that a user takes, and with plain statements of them.

Each is made of `Parts`: choices of `pydarts.nn`, LSTM and attention of PyTorch; if `plain`, those of
`tests/reference`. Parameters have the same names in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pydarts
import torch
from reference import HandAttention, HandLSTM, OwnNetwork, PlainChoice, PlainInputChoice, attended
from torch import Tensor, nn
from torch.nn import functional as F

EXAMPLES, FEATURES, UNITS, CLASSES, LENGTH, WORDS = 8, 5, 6, 4, 3, 7
Batch = tuple[Any, Tensor]


class Recorder:
    """The dropout masks of every pass; a copy of a network shares the recorder."""

    def __init__(self) -> None:
        self.passes: list[list[Tensor]] = []
        self._now: list[Tensor] = []
        self._played: dict[str, list[Tensor]] | None = None
        self._queue: Iterator[Tensor] = iter(())

    def __deepcopy__(self, memo: Any) -> Recorder:
        return self

    def mask(self, x: Tensor, p: float) -> Tensor:
        if self._played is not None:
            return next(self._queue)
        self._now.append(F.dropout(torch.ones_like(x), p).detach())
        return self._now[-1]

    def end_pass(self) -> None:
        if self._played is None:
            self.passes.append(self._now)
            self._now = []

    def play(self, by_role: dict[str, list[Tensor]] | None) -> None:
        self._played = by_role

    def begin(self, role: str) -> None:
        """Begin a pass that sees the masks of a role."""
        if self._played is not None:
            self._queue = iter(self._played[role])

    def forget(self) -> None:
        self.passes, self._now = [], []


class Dropout(nn.Module):
    """Dropout whose masks are kept."""

    def __init__(self, recorder: Recorder, p: float = 0.4) -> None:
        super().__init__()
        self.recorder, self.p = recorder, p

    def forward(self, x: Tensor) -> Tensor:
        return x * self.recorder.mask(x, self.p) if self.training else x


@dataclass(frozen=True)
class Parts:
    """What networks are made of."""

    plain: bool
    recorder: Recorder

    def choice(self, *args: Any, **kwargs: Any) -> nn.Module:
        return PlainChoice(*args, **kwargs) if self.plain else pydarts.nn.Choice(*args, **kwargs)

    def inputs(self, *args: Any, **kwargs: Any) -> nn.Module:
        return PlainInputChoice(*args, **kwargs) if self.plain else pydarts.nn.InputChoice(*args, **kwargs)

    def lstm(self, bias: bool = True) -> nn.Module:
        if self.plain:
            return HandLSTM(FEATURES, UNITS, bias)
        return nn.LSTM(FEATURES, UNITS, bias=bias, batch_first=True)

    def dropout(self, p: float = 0.4) -> nn.Module:
        return Dropout(self.recorder, p)


class SelfAttention(nn.Module):
    """`nn.MultiheadAttention` of x with itself."""

    def __init__(self, plain: bool, heads: int = 2) -> None:
        super().__init__()
        self.attention: nn.Module = (
            HandAttention(UNITS, heads) if plain else nn.MultiheadAttention(UNITS, heads, batch_first=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.attention, nn.MultiheadAttention):
            return self.attention(x, x, x, need_weights=False)[0]
        return self.attention(x)


class Scaled(nn.Module):
    """`scaled_dot_product_attention` of one product."""

    def __init__(self, plain: bool) -> None:
        super().__init__()
        self.plain, self.qkv = plain, nn.Linear(UNITS, 3 * UNITS)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if self.plain:
            return attended(q, k, v, 1)
        return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]


class BatchNorms(nn.Module):
    """Batch norms before, inside and after a choice."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.first, self.bn = nn.Linear(FEATURES, UNITS), nn.BatchNorm1d(UNITS)
        self.mix = parts.choice(
            {
                "tanh": nn.Tanh(),
                "softplus": nn.Softplus(),
                "block": nn.Sequential(nn.Linear(UNITS, UNITS), nn.BatchNorm1d(UNITS), nn.Tanh()),
            }
        )
        self.last_bn, self.last = nn.BatchNorm1d(UNITS, affine=False), nn.Linear(UNITS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.last_bn(self.mix(self.bn(self.first(x)))))


class Dropouts(nn.Module):
    """Dropout before a choice, and in a choice inside that choice."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.first, self.before = nn.Linear(FEATURES, UNITS), parts.dropout()
        inner = parts.choice([nn.Sequential(nn.Linear(UNITS, UNITS), parts.dropout(0.2)), nn.Identity()])
        self.mix = parts.choice({"inner": inner, "drop": nn.Sequential(nn.Tanh(), parts.dropout())})
        self.last = nn.Linear(UNITS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.mix(self.before(torch.tanh(self.first(x))))))


class Tied(nn.Module):
    """A language model whose decoder has the weights of the embedding; two candidates share theirs, too."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, UNITS)
        shared = nn.Linear(UNITS, UNITS)
        self.mix = parts.choice(
            {
                "tanh": nn.Sequential(shared, nn.Tanh()),
                "sigmoid": nn.Sequential(shared, nn.Sigmoid()),
                "none": nn.Identity(),
            }
        )
        self.decoder = nn.Linear(UNITS, WORDS)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(self.mix(self.embedding(tokens))).flatten(0, 1)


class Recurrent(nn.Module):
    """A choice of two LSTMs, mixed in outputs and states."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.mix = parts.choice({"biased": parts.lstm(), "plain": parts.lstm(bias=False)})
        self.last = nn.Linear(2 * UNITS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        outputs, (h, c) = self.mix(x)
        return self.last(torch.cat([outputs.mean(1) + c[-1], h[-1]], dim=1))


class Attention(nn.Module):
    """A choice of attentions, twice."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, UNITS)
        self.blocks = nn.ModuleList(
            parts.choice(
                {
                    "heads": SelfAttention(parts.plain),
                    "scaled": Scaled(parts.plain),
                    "none": nn.Identity(),
                },
                alpha="blocks",
                row=row,
            )
            for row in range(2)
        )
        self.norm, self.last = nn.LayerNorm(UNITS), nn.Linear(UNITS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = x + block(self.norm(x))
        return self.last(x.mean(1))


class Frozen(nn.Module):
    """A layer without gradients, a batch norm in evaluation mode, and one whose scale is frozen."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.first, self.fixed = nn.Linear(FEATURES, UNITS), nn.BatchNorm1d(UNITS)
        self.mix = parts.choice([nn.Linear(UNITS, UNITS), nn.Tanh()])
        self.bn, self.last = nn.BatchNorm1d(UNITS), nn.Linear(UNITS, CLASSES)
        self.first.requires_grad_(False)
        self.bn.weight.requires_grad_(False)
        self.fixed.eval()
        with torch.no_grad():
            self.fixed.running_mean.copy_(torch.linspace(-0.5, 0.5, UNITS))  # type: ignore[union-attr]
            self.fixed.running_var.copy_(torch.linspace(0.5, 2, UNITS))  # type: ignore[union-attr]
            self.fixed.num_batches_tracked.fill_(10**6)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.bn(self.mix(self.fixed(self.first(x)))))


class Shared(nn.Module):
    """Images; a ragged table shared by two choices, and a choice of inputs."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, UNITS, 3, padding=1)

        def block(row: int) -> nn.Module:
            candidates: dict[str, nn.Module] = {
                "conv": nn.Conv2d(UNITS, UNITS, 3, padding=1),
                "pool": nn.AvgPool2d(3, 1, 1),
                "skip": nn.Identity(),
            }
            return parts.choice(
                candidates if row else {key: candidates[key] for key in ("conv", "skip")},
                alpha="rows",
                row=row,
            )

        self.cells = nn.ModuleList(
            nn.ModuleDict({"a": block(0), "b": block(1), "norm": nn.GroupNorm(2, UNITS)}) for _ in range(2)
        )
        self.which = parts.inputs(3)
        self.last = nn.Linear(UNITS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        states = [self.stem(x)]
        for cell in self.cells:
            x = states[-1]
            states.append(cell["norm"](torch.tanh(cell["b"](cell["a"](x)) + x)))  # type: ignore[index]
        return self.last(self.which(states).mean((2, 3)))


class Repeated(nn.Module):
    """One choice that is called several times, with two arguments, and registered under two names."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, UNITS)
        self.mix = parts.choice({"bilinear": nn.Bilinear(UNITS, UNITS, UNITS), "sum": Sum()})
        self.again = self.mix
        self.last = nn.Linear(UNITS, CLASSES)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        for _ in range(2):
            h = torch.tanh(self.again(self.mix(h, scale * h), h))
        return self.last(h)


class Sum(nn.Module):
    """The sum of two tensors."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return one + other


MODELS: dict[str, Callable[[Parts], nn.Module]] = {
    "batch norm": BatchNorms,
    "dropout": Dropouts,
    "tied weights": Tied,
    "LSTM": Recurrent,
    "attention": Attention,
    "frozen": Frozen,
    "shared and ragged tables": Shared,
    "called several times": Repeated,
}


def batches(name: str, count: int, dtype: torch.dtype = torch.float64) -> list[Batch]:
    """Batches of a model: inputs and classes."""
    generator = torch.Generator().manual_seed(3)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    made: list[Batch] = []
    for _ in range(count):
        y = torch.randint(CLASSES, (EXAMPLES,), generator=generator)
        if name == "tied weights":
            tokens = torch.randint(WORDS, (EXAMPLES, LENGTH + 1), generator=generator)
            made.append((tokens[:, :-1], tokens[:, 1:]))
        elif name in ("LSTM", "attention"):
            made.append((drawn(EXAMPLES, LENGTH, FEATURES), y))
        elif name == "shared and ragged tables":
            made.append((drawn(EXAMPLES, 1, 5, 4), y))
        elif name == "called several times":
            made.append(((drawn(EXAMPLES, FEATURES), drawn(EXAMPLES, 1)), y))
        else:
            made.append((drawn(EXAMPLES, FEATURES), y))
    return made


class Twins:
    """A model as the engine searches it and as `tests/reference` states it, with the same numbers."""

    def __init__(self, name: str, **config: Any) -> None:
        self.recorder = Recorder()
        torch.manual_seed(1)
        plain = MODELS[name](Parts(True, self.recorder)).double()
        with torch.no_grad():
            for parameter in plain.parameters():  # no bias and no scale is 0 or 1
                parameter.add_(0.1 * torch.randn_like(parameter))
        self.model = MODELS[name](Parts(False, self.recorder)).double()
        self.model.load_state_dict(plain.state_dict())
        self.theirs = OwnNetwork(plain)
        self.theirs.before = self.recorder.begin
        generator = torch.Generator().manual_seed(2)
        self.theirs.set_alphas(
            {
                table: torch.randn(alpha.shape, generator=generator, dtype=alpha.dtype)
                * ~self.theirs.relaxation.fixed(table, alpha)
                for table, alpha in self.theirs.alphas.items()
            }
        )
        options: dict[str, Any] = {"precision": "float64", "weight_lr": 0.1, **config}
        self.config = pydarts.SearchConfig(**options)
        self.ours = pydarts.SearchModule(self.model, self.config, loss=self.criterion)
        self.ours.set_alphas({table: alpha.detach() for table, alpha in self.theirs.alphas.items()})

    def criterion(self, output: Tensor, y: Tensor) -> Tensor:
        self.recorder.end_pass()
        return F.cross_entropy(output, y.flatten())

    def momentum(self) -> dict[str, Tensor]:
        """Momentum buffers of the size of weights."""
        generator = torch.Generator().manual_seed(4)
        return {
            name: 0.1 * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            for name, weight in self.theirs.weights().items()
        }

    def share_masks(self, training: int) -> None:
        """Let the plain network see the masks of the last passes; pass `training` saw the training batch.

        All passes on the training batch saw the same masks, and the one on the validation batch others.
        """
        passes = self.recorder.passes
        masks = {"weight": passes[training]}
        others = [seen for seen in passes if not _same(seen, masks["weight"])]
        if masks["weight"]:
            assert len(others) == 1, "masks differ within a step"
            masks["alpha"] = others[0]
        else:
            masks["alpha"] = []
        self.recorder.forget()
        self.recorder.play(masks)


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
