"""Saving a network with its genotype and arguments, and loading it again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .. import _core
from .._values.files import read_tensors, tensors_of, user_path
from .._values.genotype import Genotype
from .._values.operation import Operation, made
from .._values.words import shown
from ._build import Network, build

_FORMAT, _OLDER = "pydarts-network-2", "pydarts-network-1"


def network_bytes(network: Network) -> bytes:
    """Return weights, statistics, genotype and arguments as `export` writes them to `.safetensors`."""
    about = {"format": _FORMAT, "genotype": network.genotype.to_dict(), "arguments": network.arguments}
    if own := getattr(network, "own_operations", None):
        about["own_operations"] = own
    return tensors_of(network.state_dict(), about)


def load_network(path: str | os.PathLike[str], operations: Sequence[Operation] = ()) -> Network:
    """Load the network of a `.safetensors` file of `export`, on the CPU, in training mode like `build`.

    Args:
        path: the file.
        operations: operations of your own that the network has; those that have been made in this process
            with the same code need not be given.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: an operation of your own is neither given nor made here with the same code.
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
    own = made(_facts(about), operations) if about.get("own_operations") else {}
    try:
        genotype, arguments = Genotype.from_dict(about["genotype"]), about["arguments"]
        if own:
            arguments["operations"] = tuple(own.values())
        else:
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


def _facts(about: Mapping[str, Any]) -> dict[str, str]:
    facts = about["own_operations"]
    if not isinstance(facts, dict) or not all(isinstance(fact, str) for fact in facts.values()):
        raise _core.CheckpointError(f"own_operations must map names to texts, got {shown(facts)}")
    return facts
