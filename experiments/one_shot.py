"""Cells in a trained search network, and random search: what the experiment compares searches with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pydarts
import torch
from pydarts import Genotype, SearchConfig, SearchResult, TrainConfig
from pydarts.benchmarks import NASBench201
from torch import Tensor

Part: TypeAlias = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
Images: TypeAlias = tuple[Part, Part]
Logits: TypeAlias = Callable[[Tensor], Tensor]


def supernet_accuracies(
    result: SearchResult, cells: list[str], valid: Part, count: int, batch: int = 256
) -> list[float]:
    """Return the validation accuracy of cells with the weights of the search, by statistics of the batch."""
    x, y = torch.from_numpy(valid[0][:count]), torch.from_numpy(valid[1][:count])
    logits_of = partial_logits(result) if result.config.partial_channels != 1 else inherited_logits(result)
    found = []
    for cell in cells:
        logits = logits_of(cell)
        parts = [logits(x[i : i + batch]).argmax(1) == y[i : i + batch] for i in range(0, len(x), batch)]
        found.append(float(torch.cat(parts).double().mean()))
    return found


def inherited_logits(result: SearchResult) -> Callable[[str], Logits]:
    """Return a function that makes the network of a cell with the weights of the search."""

    def of(cell: str) -> Logits:
        net = built(cell, result.config)
        report = result.inherit(net)
        # Affine parameters keep their initial 1 and 0, as the search has none.
        if not all(".bn." in name for name in report.left):
            raise RuntimeError(f"weights that the search lacks: {report}")
        net.train()

        def logits(x: Tensor) -> Tensor:
            with torch.no_grad():
                return net(x)

        return logits

    return of


def partial_logits(result: SearchResult) -> Callable[[str], Logits]:
    """As `inherited_logits`, for partial channels, whose weights do not fit the operations of `build`.

    The search network itself is evaluated, with logits whose softmax is one-hot, and with its bypasses.
    """
    net = pydarts.Supernet(config=result.config, seed=0)
    net.load_state_dict(result.state_dict)
    names = net.space.operations
    last = {name: torch.from_numpy(np.array(alphas[-1])) for name, alphas in result.alphas.items()}

    def of(cell: str) -> Logits:
        edges = Genotype.from_nasbench201(cell).edges("cell")
        chosen = torch.tensor([names.index(name) for name, *_ in edges])
        one_hot = 100 * torch.nn.functional.one_hot(chosen, len(names)).to(last["cell"].dtype)
        net.set_alphas({**last, "cell": one_hot})
        return net.logits

    return of


def random_search(images: Images, config: SearchConfig, bench: NASBench201) -> dict[str, Any]:
    """Train random cells for as many multiply-adds as a first-order search; choose by validation accuracy.

    A step of a search passes two losses through the search network; a step of a training passes one through
    the network of a cell. Each cell has as many steps as the search, with its batch size and learning rate.
    """
    (x, _), _ = images
    sizes = {"num_classes": 10, "in_channels": x.shape[1], "image_size": x.shape[2]}
    budget = 2 * pydarts.Supernet(config=config.replace(**sizes)).cost()["multiply_adds"]
    tried: list[dict[str, Any]] = []
    for cell in bench.random(1000, seed=config.seed):
        cost = pydarts.cost(built(cell, config), image_size=x.shape[2])["multiply_adds"]
        if cost > budget:
            break
        budget -= cost
        tried.append({**trained(cell, images, config, bench, len(tried)), "multiply_adds": cost})
    return {"cell": chosen(tried), "tried": tried}


def from_scratch(
    images: Images, config: SearchConfig, bench: NASBench201, cells: list[str]
) -> dict[str, Any]:
    """Train cells one by one as `random_search` does."""
    tried = [trained(cell, images, config, bench, number) for number, cell in enumerate(cells)]
    return {"cell": chosen(tried), "tried": tried}


def chosen(tried: list[dict[str, Any]]) -> str:
    """Return the cell with the highest validation accuracy."""
    return str(max(tried, key=lambda one: one["valid_accuracy"])["cell"])


def trained(
    cell: str, images: Images, config: SearchConfig, bench: NASBench201, number: int
) -> dict[str, Any]:
    """Train the network of a cell with the settings of the weights in a search."""
    torch.manual_seed(1000 * config.seed + number)
    training = TrainConfig(
        epochs=config.epochs,
        batch_size=config.batch_size,
        weight_lr=config.weight_lr,
        weight_decay=config.weight_decay,
        momentum=config.weight_momentum,
        grad_clip=config.grad_clip,
        warmup=0,
        augment="none",
        cutout=0,
        label_smoothing=0.0,
        keep="last",
        seed=config.seed,
        device="cpu",
        progress=False,
    )
    accuracy = pydarts.train(built(cell, config), images, training).history[-1].valid_accuracy
    return {"cell": cell, "valid_accuracy": accuracy, "table": bench.accuracy(cell, "cifar10")}


def built(cell: str, config: SearchConfig) -> torch.nn.Module:
    """Return the network of a cell, as wide and deep as the search network."""
    return pydarts.build(
        Genotype.from_nasbench201(cell),
        channels=config.channels,
        layers=config.layers,
        num_classes=10,
        in_channels=3,
    )
