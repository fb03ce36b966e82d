"""`cost`: weights and multiply-adds of a network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as trees

from .._values.genotype import Genotype
from . import _examples
from ._build import CellResult, build
from ._images import ImageNetwork
from ._language import LanguageModel
from ._module import called


def cost(
    network: nn.Module | Genotype | CellResult,
    image_size: int | Sequence[int] | None = None,
    *,
    example: Any = None,
    **arguments: Any,
) -> dict[str, int]:
    """Count the cost of a network from shapes alone: nothing is computed and `network` does not change.

    A module that cannot run on shapes alone, because its code looks at values, is evaluated once on a copy.

    Args:
        network: a network that `build` returned, any other `torch.nn.Module`, or a genotype or the result of
            a search, whose network is built first.
        image_size: side in pixels or (height, width), or the length of a sequence; None: the size that the
            network was trained on; without a training, 224 with the stem "imagenet", else 32. Only for
            networks of images and sequences that `build` returned.
        example: inputs of any other module, of which only the shapes and dtypes matter: a tensor, or a tuple
            or dictionary of tensors, which are passed as `train` passes them. Give a batch of one example to
            get the cost of one.
        arguments: arguments of `build`, such as `channels` and `layers`; only for a genotype or a result.

    Returns:
        `weights`: the number of weights as papers count them, each shared weight once and without the
        auxiliary head, which is only for training. `auxiliary_weights`: the weights of the head.
        `multiply_adds`: those of convolutions, products, attention and linear layers in the evaluation of one
        image, one token or the example. `flops`: twice as many. `Supernet.cost` returns the same for the
        search network.

    Raises:
        TypeError: not a module; `example` is missing for a module that `build` did not make; or `arguments`
            are given for a module.
        ConfigError: an invalid `image_size`, or a size or `example` that does not apply to the network.

    >>> import pydarts
    >>> net = pydarts.build(pydarts.genotypes.DARTS_V2, auxiliary=True)
    >>> found = pydarts.cost(net, image_size=32)
    >>> found["weights"], found["auxiliary_weights"], found["multiply_adds"]
    (3349342, 476426, 528359040)
    >>> pydarts.cost(pydarts.genotypes.DARTS_V2, channels=16, layers=8)["weights"]
    246106
    >>> pydarts.cost(nn.Linear(10, 4), example=torch.zeros(1, 10))["multiply_adds"]
    40
    """
    if not isinstance(network, nn.Module) and isinstance(network, (Genotype, CellResult)):
        return cost(build(network, **arguments), image_size, example=example)
    if arguments:
        raise TypeError(
            f"cost() got {', '.join(arguments)}, which applies to a genotype or a result, not to a network "
            "that is already built"
        )
    _examples.check_sizes(network, "cost", example, image_size=image_size)
    built = isinstance(network, (ImageNetwork, LanguageModel))
    if isinstance(network, (ImageNetwork, LanguageModel)):
        shapes = copy.deepcopy(network).to("meta").eval()
        flops = counted(shapes, _examples.example(shapes, image_size, None, batch=1))
    else:
        assert isinstance(network, nn.Module)  # `check_sizes` requires one
        flops, _ = flops_of(network, example)
    auxiliary = number_of_weights(getattr(network, "auxiliary", None)) if built else 0
    return {
        "weights": number_of_weights(network) - auxiliary,
        "auxiliary_weights": auxiliary,
        "multiply_adds": flops // 2,
        "flops": flops,
    }


def flops_of(network: nn.Module, inputs: Any, parts: Sequence[str] = ()) -> tuple[int, dict[str, int]]:
    """Count the FLOPs of one pass of any module, and those of its parts with these names."""

    def found(shapes: nn.Module, inputs: Any) -> tuple[int, dict[str, int]]:
        modules = dict(shapes.eval().named_modules())
        shares = {modules[name]: 0 for name in parts}
        total = counted(shapes, inputs, shares)
        return total, {name: shares[modules[name]] for name in parts}

    try:
        on_meta = trees.tree_map_only(Tensor, lambda value: value.detach().to("meta"), inputs)
        return found(copy.deepcopy(network).to("meta"), on_meta)
    except Exception:  # tensors outside parameters and buffers, or code that looks at values
        return found(copy.deepcopy(network), inputs)


def counted(network: nn.Module, inputs: Any, parts: dict[nn.Module, int] | None = None) -> int:
    """Count the FLOPs of one pass, twice the multiply-adds; those of `parts` are added to their numbers."""
    from torch.utils.flop_counter import FlopCounterMode

    def entered(part: nn.Module, *_: Any) -> None:
        shares[part] -= counter.get_total_flops()

    def left(part: nn.Module, *_: Any) -> None:
        shares[part] += counter.get_total_flops()

    shares = {} if parts is None else parts
    for part in shares:
        part.register_forward_pre_hook(entered)
        part.register_forward_hook(left)
    with torch.random.fork_rng(devices=[]), torch.no_grad(), FlopCounterMode(display=False) as counter:
        called(network, inputs)
    return int(counter.get_total_flops())


def number_of_weights(module: nn.Module | None) -> int:
    """Count the weights of a module, its auxiliary head included; 0 for None."""
    return 0 if module is None else sum(weight.numel() for weight in module.parameters())
