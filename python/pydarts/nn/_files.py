"""Saving a network with its genotype and arguments, and loading it again."""

from __future__ import annotations

import os

import torch

from .. import _core
from .._values.files import read_tensors, tensors_of, user_path
from .._values.genotype import Genotype
from ._build import Network, build

_FORMAT, _OLDER = "pydarts-network-2", "pydarts-network-1"


def network_bytes(network: Network) -> bytes:
    """Return weights, statistics, genotype and arguments as `export` writes them to `.safetensors`."""
    about = {"format": _FORMAT, "genotype": network.genotype.to_dict(), "arguments": network.arguments}
    return tensors_of(network.state_dict(), about)


def load_network(path: str | os.PathLike[str]) -> Network:
    """Load the network of a `.safetensors` file of `export`, on the CPU, in training mode like `build`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is truncated or malformed, or holds something else.

    >>> import os, tempfile
    >>> import pydarts
    >>> net = pydarts.build(pydarts.genotypes.DARTS_RNN_V2, vocabulary=20, units=4, dropout_input=0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.safetensors")
    ...     pydarts.export(net, path)
    ...     again = pydarts.load_network(path)
    >>> again.genotype == net.genotype, again.arguments == net.arguments
    (True, True)
    """
    tensors, about = read_tensors(user_path(path), _FORMAT, _OLDER)
    try:
        genotype, arguments = Genotype.from_dict(about["genotype"]), about["arguments"]
        with torch.device("meta"):  # takes no memory, whatever sizes the file declares
            build(genotype, **arguments).load_state_dict(tensors, assign=True)
        network: Network = build(genotype, **arguments)
        network.to(next(value.dtype for value in tensors.values() if value.is_floating_point()))
        network.load_state_dict(tensors)
    except (LookupError, TypeError, ValueError, RuntimeError, StopIteration, _core.Error) as error:
        raise _core.CheckpointError(
            f"{os.fspath(path)} holds no network of pydarts: {error!s:.500}"
        ) from error
    return network
