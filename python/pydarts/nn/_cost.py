"""`cost`: weights and multiply-adds of a network."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn

from ._build import Network
from ._examples import check_network, example


def cost(network: Network, image_size: int | Sequence[int] | None = None) -> dict[str, int]:
    """Count the cost of a network from shapes alone: nothing is computed and `network` does not change.

    Args:
        network: a network that `build` returned.
        image_size: side in pixels or (height, width), or the length of a sequence; None: 224 with the stem
            "imagenet", else 32. Not for language models.

    Returns:
        `weights`, the number of weights as papers count them, without the auxiliary head, which is only for
        training; `auxiliary_weights`, the weights of the head; `multiply_adds` of convolutions, products and
        linear layers in the evaluation of one image or one token; `flops`, twice as many. `Supernet.cost`
        returns the same for the search network.

    Raises:
        TypeError: not a network of `build`.
        ConfigError: an invalid `image_size`, or one given for a language model.

    >>> import pydarts
    >>> net = pydarts.build(pydarts.genotypes.DARTS_V2, auxiliary=True)
    >>> found = pydarts.cost(net, image_size=32)
    >>> found["weights"], found["auxiliary_weights"], found["multiply_adds"]
    (3349342, 476426, 528359040)
    """
    from torch.utils.flop_counter import FlopCounterMode

    check_network(network, "cost")
    shapes = copy.deepcopy(network).to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        shapes(*example(shapes, image_size, None, batch=1))
    auxiliary = number_of_weights(getattr(network, "auxiliary", None))
    flops = int(counter.get_total_flops())
    return {
        "weights": number_of_weights(network) - auxiliary,
        "auxiliary_weights": auxiliary,
        "multiply_adds": flops // 2,
        "flops": flops,
    }


def number_of_weights(module: nn.Module | None) -> int:
    """Count the weights of a module, its auxiliary head included; 0 for None."""
    return 0 if module is None else sum(weight.numel() for weight in module.parameters())
