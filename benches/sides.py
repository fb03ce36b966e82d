"""The sides of a comparison: the same search step, from the same weights, on the same batches.

`ours`: `pydarts.Supernet.step`. `unfused`: the same engine on the plan as it was lowered, without rewrites.
`plain`: the plain PyTorch of tests/reference, which differentiates every loss by `backward()` as the
published code does. `needed`: the same, but autograd is asked only for the gradients that are used.
`compiled`: `needed` with the network's forward through `torch.compile`.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from common import alternate, random_batch, reference, twin
from pydarts import SearchConfig, Space, Supernet

SIDES = ("ours", "unfused", "plain", "needed", "compiled")
CHOICES = ("passes", "memory", "partial_channels", "edge_normalization")
DTYPES = {"float32": torch.float32, "float64": torch.float64}
TOLERANCE = {"float32": 1e-4, "float64": 1e-9, "tf32": 1e-2}  # relative, for the losses of the first step

Losses = tuple[float, float]
Step = Callable[[], Losses]


@dataclass(frozen=True)
class Setting:
    """What a step is taken with; None leaves a choice to pydarts. Travels to child processes as JSON."""

    space: str = "darts"
    channels: int = 16
    layers: int = 8
    size: int = 32
    batch: int = 16
    nodes: int | None = None
    operations: tuple[str, ...] | None = None
    method: str = "first_order"
    dtype: str = "float32"
    device: str = "cpu"
    threads: int = 2
    tf32: bool = False
    passes: tuple[str, ...] | None = None
    memory: str | None = None
    partial_channels: int | None = None
    edge_normalization: bool | None = None

    @classmethod
    def of(cls, given: Namespace, **changes: Any) -> Setting:
        """The options of a command line, and `changes`."""
        names = [field.name for field in fields(cls) if hasattr(given, field.name)]
        return cls(**{name: getattr(given, name) for name in names} | changes)

    @classmethod
    def from_json(cls, text: str) -> Setting:
        values: dict[str, Any] = json.loads(text)
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**values | lists)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def numbers(self) -> str:
        """The arithmetic in a word."""
        return "tf32" if self.tf32 else self.dtype

    @property
    def words(self) -> str:
        """For the paragraph above a table."""
        where = f"{self.threads} threads" if self.device == "cpu" else self.device
        size = f"{self.size}×{self.size}, batch {self.batch}"
        stages = Space.preset(self.space).stages
        cells = f"{self.layers} cells" if stages is None else f"{stages} stages of {self.layers} cells"
        return f"{self.channels} channels, {cells}, {size}, {self.numbers}, {where}"


def prepare(setting: Setting) -> None:
    """Set the threads and the precision of this process."""
    torch.set_num_threads(setting.threads)
    if setting.device.startswith("cuda"):  # PyTorch's own default lets cuDNN alone use TensorFloat-32
        precision = "tf32" if setting.tf32 else "ieee"
        torch.backends.cuda.matmul.fp32_precision = precision
        torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]
    elif setting.tf32:
        raise SystemExit("--tf32 needs a CUDA device")


def network(setting: Setting) -> Supernet:
    """Our network of a setting; the same weights every time."""
    choices = {name: getattr(setting, name) for name in CHOICES}
    given = {name: value for name, value in choices.items() if value is not None}
    given |= {"space": setting.space, "hypergradient": setting.method, "batch_size": setting.batch}
    config = SearchConfig.from_dict(given)
    return Supernet(
        setting.space,
        channels=setting.channels,
        layers=setting.layers,
        image_size=setting.size,
        nodes=setting.nodes,
        operations=setting.operations,
        precision=setting.numbers,
        device=setting.device,
        config=config,
    )


def build(side: str, setting: Setting) -> Step:
    """The step of a side."""
    if side == "unfused":
        setting = replace(setting, passes=())
    train, valid = (
        random_batch(
            setting.batch, setting.size, seed=seed, dtype=DTYPES[setting.dtype], device=setting.device
        )
        for seed in (1, 2)
    )
    net = network(setting)
    if side in ("ours", "unfused"):
        return lambda: net.step(train, valid)
    plain, lr = twin(net, DTYPES[setting.dtype], setting.device), net.config.weight_lr
    if side == "compiled":
        compile_forward(plain)
    peer = reference().Search(
        plain,
        method=setting.method,
        published=side == "plain",
        weight_decay=net.config.weight_decay,
        weight_nesterov=net.config.weight_nesterov,
    )

    def step() -> Losses:
        losses: Losses = peer.step(train, valid, lr)
        return losses

    return step


def compile_forward(net: Any) -> None:
    """Compile the forward of a plain network, and of the copies that the unrolled methods make of it.

    A copy keeps the class, where it would lose what `nn.Module.compile` did. What cannot be compiled whole,
    or not once for all steps, is an error: else eager code would run in its place unseen.
    """
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    whole = type(net)
    net.__class__ = type(
        whole.__name__, (whole,), {"forward": torch.compile(whole.forward, fullgraph=True, dynamic=False)}
    )


def timed(
    steps: Mapping[str, Step], against: Mapping[str, str], rounds: int, warm: int, setting: Setting
) -> dict[str, list[float]]:
    """Seconds of the steps, in alternation, once the losses of the first agree with those of their peers.

    `against` names the peer of each. Two methods are no peers: the training loss is that after the α step.
    """
    first = {name: step() for name, step in steps.items()}
    for name, losses in first.items():
        peer = against[name]
        for what, a, b in zip(("training", "validation"), losses, first[peer], strict=True):
            if not abs(a - b) <= TOLERANCE[setting.numbers] * abs(b):
                raise SystemExit(f"the {what} losses of the first step differ: {a!r} {name}, {b!r} {peer}")
    return alternate(steps, rounds, warm, setting.device)
