"""Two parts of gpu.py: the same numbers on CPU and GPU, and a captured step with the bits of an eager one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydarts
import torch
from common import Batch, random_batch
from gpu_record import Part
from pydarts import SearchConfig, Supernet
from torch import Tensor

SPACES = ("darts", "darts-rnn")
PRECISIONS = ("float64", "float32", "tf32", "bfloat16")
STEPS = 3
WORDS, UNITS, TOKENS = 50, 16, 6
RECURRENT = {"bptt": TOKENS, "dropout_rows": 0.1, "weight_lr": 0.1, "weight_lr_min": 0.1}
# The largest relative error ‖found − expected‖ / ‖expected‖ against float64 on the CPU: of the loss, of α's
# first gradient, of the losses of STEPS steps, of what these change, of α and its moments; None: not checked.
LIMITS: dict[str, tuple[float | None, ...]] = {
    "float64": (1e-10, 1e-6, 1e-8, 1e-6, 1e-4),
    "float32": (1e-4, 0.2, 5e-3, 0.2, 1.0),
    "tf32": (5e-3, 0.5, 2e-2, None, None),
    "bfloat16": (3e-2, 0.9, 5e-2, None, None),
}
CHANGES = ("weights", "statistics", "momentum")
KINKS = "and a ReLU or maximum near its kink may flip, which moves a gradient by a whole activation"
WHY = {
    "float64": "rounding of 1e-16, which a finite difference divides by ε, and Adam by small gradients",
    "float32": f"rounding of 6e-8 in about 50 layers, {KINKS}",
    "tf32": f"products round to 11 bits, 5e-4, in about 50 layers, {KINKS}; after steps paths part",
    "bfloat16": f"activations round to 8 bits, 4e-3, in about 50 layers, {KINKS}; after steps paths part",
}


@dataclass(frozen=True)
class Size:
    """A network of images that is small and has all kinds of cells."""

    channels: int = 8
    layers: int = 4
    size: int = 16
    batch: int = 8
    nodes: int = 4


def network(space: str, precision: str, device: str, size: Size, method: str) -> Supernet:
    """A network of a space."""
    options: dict[str, Any] = {"space": space, "hypergradient": method, "batch_size": size.batch}
    if space == "darts-rnn":
        config = SearchConfig.from_dict(options | RECURRENT)
        return Supernet(vocabulary=WORDS, units=UNITS, precision=precision, device=device, config=config)
    sizes = {"channels": size.channels, "layers": size.layers, "image_size": size.size, "nodes": size.nodes}
    return Supernet(precision=precision, device=device, config=SearchConfig.from_dict(options), **sizes)


def batches(space: str, size: Size, device: str, dtype: torch.dtype) -> tuple[Batch, Batch]:
    """A training and a validation batch."""
    if space == "darts":
        one, other = (random_batch(size.batch, size.size, seed=n, device=device) for n in (1, 2))
        return (one[0].to(dtype), one[1]), (other[0].to(dtype), other[1])
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(WORDS, (2, TOKENS + 1, size.batch), generator=generator).to(device)
    return (text[0, :-1], text[0, 1:]), (text[1, :-1], text[1, 1:])


def begin(net: Supernet, like: Supernet | None) -> None:
    """Give a network the weights and α of another one, or such as make it far from linear."""
    if like is not None:
        net.load_state_dict(like.state_dict())
        return net.set_alphas(like.alphas)
    generator = torch.Generator().manual_seed(3)
    net.set_alphas({name: torch.randn(a.shape, generator=generator) for name, a in net.alphas.items()})
    if net.space.kind == "recurrent":  # the published weights, within ±0.04, make it nearly linear
        drawn = {
            name: value if of_statistics(name) else torch.randn(value.shape, generator=generator) / 4
            for name, value in net.state_dict().items()
        }
        net.load_state_dict(drawn)


def flat(tensors: Mapping[str, Tensor]) -> Tensor:
    """All elements in the order of the names, in float64 on the CPU."""
    found = [tensors[name].detach().to("cpu", torch.float64).flatten() for name in sorted(tensors)]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)


def of_statistics(name: str) -> bool:
    """Whether an entry of a state belongs to the running statistics, their count included."""
    return name.rsplit(".", 1)[-1] in ("running_mean", "running_var", "num_batches_tracked")


def split(state: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Weights and running statistics."""
    moving = {name: value for name, value in state.items() if of_statistics(name)}
    return flat({name: value for name, value in state.items() if name not in moving}), flat(moving)


def reading(net: Supernet, train: Batch, valid: Batch) -> dict[str, Tensor]:
    """What a network computes, and how a few steps change it."""
    found = {"loss": torch.tensor([net.loss(*valid)], dtype=torch.float64)}
    found["arch_gradient"] = flat(net.arch_gradient(train, valid))
    before, alphas = split(net.state_dict()), flat(net.alphas)
    losses = [net.step(train, valid) for _ in range(STEPS)]
    found["losses of steps"] = torch.tensor(losses, dtype=torch.float64).flatten()
    after, state = split(net.state_dict()), net.optimizer_state()
    found |= {"weights": after[0] - before[0], "statistics": after[1] - before[1]}
    found |= {name: flat(state[name]) for name in ("momentum", "exp_avg")}
    return found | {"alphas": flat(net.alphas) - alphas}


def limit(what: str, precision: str) -> float | None:
    """The largest error of a quantity; None if it is not checked."""
    loss, gradient, losses, changes, alphas = LIMITS[precision]
    named = {"loss": loss, "arch_gradient": gradient, "losses of steps": losses}
    return named.get(what, changes if what in CHANGES else alphas)


def error(found: Tensor, expected: Tensor) -> float:
    """‖found − expected‖ / ‖expected‖; NaN if anything is not finite."""
    return float((found - expected).norm() / expected.norm().clamp_min(1e-300))


def numbers(part: Part, device: str, methods: tuple[str, ...], size: Size, full: bool) -> None:
    """Every hypergradient, precision and space on `device` against float64 on the CPU."""
    expected: dict[tuple[str, str], tuple[Supernet, dict[str, Tensor]]] = {}
    for precision in PRECISIONS:
        if precision == "tf32" and not device.startswith("cuda"):
            part.note("skipped: no CUDA. tf32 is a mode of GPUs")
            continue
        for space in SPACES:
            for method in methods:
                name = f"{space}, {method}, {precision}"
                part.go_on(name)
                if (space, method) not in expected:
                    expected[space, method] = reference(space, size, method)
                start, values = expected[space, method]
                net = network(space, precision, device, size, method)
                begin(net, start)
                dtype = torch.float64 if precision == "float64" else torch.float32
                found = reading(net, *batches(space, size, device, dtype))
                errors = {what: error(value, values[what]) for what, value in found.items()}
                part.add(network=name, **errors)
                for what, gap in errors.items():
                    most = limit(what, precision)
                    if most is not None:
                        part.check(f"{name}: {what}", gap, most, WHY[precision])
    if full:
        published(part, device)


def reference(space: str, size: Size, method: str) -> tuple[Supernet, dict[str, Tensor]]:
    """A network before its first step, and what an equal one computes in float64 on the CPU."""
    start = network(space, "float32", "cpu", size, method)  # weights that float32 holds exactly
    begin(start, None)
    net = network(space, "float64", "cpu", size, method)
    begin(net, start)
    return start, reading(net, *batches(space, size, "cpu", torch.float64))


def published(part: Part, device: str) -> None:
    """The network of the published size, whose shapes select other kernels, against float32 on the CPU."""
    part.go_on("the published size")
    config = SearchConfig.from_dict({"batch_size": 16})
    here, there = (Supernet(precision="float32", device=where, config=config) for where in ("cpu", device))
    valid = random_batch(16, 32, seed=1)
    there_valid = (valid[0].to(device), valid[1].to(device))
    one, other = here.loss(*valid), there.loss(*there_valid)
    why = "float32 on both sides: rounding of 6e-8 in about 50 layers"
    part.check("published size: loss", abs(one - other) / abs(one), 1e-4, why)
    gradient = flat(here.arch_gradient(valid=valid)), flat(there.arch_gradient(valid=there_valid))
    part.check("published size: arch_gradient", error(gradient[1], gradient[0]), 2e-2, why)


# ---- captured steps


@contextmanager
def replays() -> Iterator[list[int]]:
    """Counts the replays of CUDA graphs."""
    count, original = [0], torch.cuda.CUDAGraph.replay

    def counted(graph: Any) -> None:
        count[0] += 1
        original(graph)

    torch.cuda.CUDAGraph.replay = counted  # type: ignore[method-assign]
    try:
        yield count
    finally:
        torch.cuda.CUDAGraph.replay = original  # type: ignore[method-assign]


def searched(space: str, device: str, size: Size, **changes: Any) -> tuple[pydarts.SearchResult, list[str]]:
    """A short search, and the warnings that its steps were not captured."""
    options: dict[str, Any] = {
        "space": space,
        "device": device,
        "batch_size": size.batch,
        "epochs": 2,
        "record": "step",
        "progress": False,
    }
    generator = np.random.default_rng(0)
    data: Any
    if space == "darts-rnn":
        options |= {"units": UNITS, "bptt": TOKENS, "num_classes": WORDS, "eval_batch_size": size.batch}
        count = size.batch * TOKENS * 7
        data = generator.integers(0, WORDS, count), generator.integers(0, WORDS, count)
    else:
        options |= {"channels": size.channels, "layers": size.layers, "nodes": size.nodes}
        options |= {"num_classes": 10, "augment": "cifar"}
        count = size.batch * 12
        images = generator.integers(0, 256, (count, 3, size.size, size.size)).astype(np.uint8)
        data = images, generator.integers(0, 10, count)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        result = pydarts.search(data, SearchConfig.from_dict(options | changes))
    told = [str(one.message) for one in heard if 'graph="off"' in str(one.message)]
    return result, told


def difference(one: pydarts.SearchResult, other: pydarts.SearchResult) -> float:
    """The largest difference of α after any step and of the final state; 0 only if all bits are equal."""
    pairs = [(torch.from_numpy(one.alphas[n]), torch.from_numpy(other.alphas[n])) for n in one.alphas]
    pairs += [(value, other.state_dict[name]) for name, value in one.state_dict.items()]
    worst = 0.0
    for a, b in pairs:
        if not torch.equal(a, b):
            gap = float((a.double() - b.double()).abs().max())
            worst = max(worst, gap) if gap == gap else float("nan")
    return worst


def cases(methods: tuple[str, ...], quick: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Spaces and options of searches; those that matter most come first."""
    for space in SPACES:
        for method in methods:
            yield space, {"hypergradient": method, "precision": "float32"}
    for method in methods if not quick else ():
        yield "darts", {"hypergradient": method, "precision": "float32", "log_every": 5}
        yield "darts", {"hypergradient": method, "precision": "float32", "memory": "recompute"}
        for precision in ("tf32", "bfloat16", "float64"):
            yield "darts", {"hypergradient": method, "precision": precision}


def graphs(part: Part, device: str, methods: tuple[str, ...], size: Size, quick: bool) -> None:
    """Searches with captured steps against eager ones, which are repeated: both must have the same bits.

    Where two eager runs differ, an operation of libtorch adds in no fixed order; the captured run may then
    differ from the first by ten times as much.
    """
    cuda = device.startswith("cuda")
    if not cuda:
        part.note("skipped: no CUDA. Nothing is captured on a CPU; both settings of `graph` must agree")
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        for space, options in cases(methods, quick or not cuda):
            name = ", ".join([space, *(f"{key} {value}" for key, value in options.items())])
            part.go_on(name)
            short = {} if cuda else {"epochs": 1}
            captured_as_eager(part, name, space, device, size, options | short)
    finally:
        torch.backends.cudnn.deterministic = before


def captured_as_eager(
    part: Part, name: str, space: str, device: str, size: Size, options: dict[str, Any]
) -> None:
    """One search, eager and captured; on a GPU the eager one twice."""
    eager = again = searched(space, device, size, graph="off", **options)[0]
    if device.startswith("cuda"):
        again = searched(space, device, size, graph="off", **options)[0]
    with replays() as count:
        captured, told = searched(space, device, size, graph="auto", **options)
    noise, gap = difference(eager, again), difference(eager, captured)
    part.add(
        search=name,
        steps=captured.steps[-1],
        replays=count[0],
        eager_repeats=noise == 0.0,
        eager_difference=noise,
        captured_difference=gap,
    )
    why = "the same kernels on the same numbers; where eager runs differ, ten times their difference"
    part.check(f"{name}: bits", gap, 10 * noise, why)
    if device.startswith("cuda"):
        part.check(f"{name}: steps not captured", float(len(told) or count[0] == 0), 0.0, "; ".join(told))
