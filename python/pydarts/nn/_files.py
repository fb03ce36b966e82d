"""Saving a network with its genotype and arguments, and loading it again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, overload

import torch
from torch import nn

from .. import _core
from .._values.checks import whole
from .._values.digest import name_of
from .._values.files import read_tensors, tensors_of, user_path
from .._values.genotype import Genotype
from .._values.operation import Operation, made
from .._values.words import shown
from ._build import Network, build
from ._images import ImageNetwork, Normalization
from ._language import LanguageModel
from ._module import SavedModule, check_complete, check_module, load_tensors, names_in, tensors_in

_FORMAT, _OLDER = "pydarts-network-2", "pydarts-network-1"


def network_bytes(network: nn.Module) -> bytes:
    """Return weights, statistics, genotype and arguments as `export` writes them to `.safetensors`.

    For a module that pydarts did not build: weights, buffers and the name of its class.
    """
    about: dict[str, Any]
    if not isinstance(network, (ImageNetwork, LanguageModel)):
        check_complete(network)
        name = network.name if isinstance(network, SavedModule) else name_of(network)
        about = {"format": _FORMAT, "module": name, "names": names_in(network)}
        return tensors_of(tensors_in(network), about)
    about = {"format": _FORMAT, "genotype": network.genotype.to_dict(), "arguments": network.arguments}
    if own := getattr(network, "own_operations", None):
        about["own_operations"] = own
    if (normalization := getattr(network, "normalization", None)) is not None:
        about["normalization"] = normalization._asdict()
    if (size := getattr(network, "image_size", None)) is not None:
        about["image_size"] = (size, size) if isinstance(size, int) else tuple(size)
    return tensors_of(network.state_dict(), about)


@overload
def load_network(
    path: str | os.PathLike[str], network: None = None, operations: Sequence[Operation] = ()
) -> Network: ...
@overload
def load_network(path: str | os.PathLike[str], network: nn.Module) -> nn.Module: ...
def load_network(
    path: str | os.PathLike[str], network: nn.Module | None = None, operations: Sequence[Operation] = ()
) -> nn.Module:
    """Load a network from a `.safetensors` file of `export`, on the CPU and in training mode.

    Args:
        path: the file.
        network: for a file of a module that `build` did not make, the module into which weights and buffers
            are copied, and which is returned. Without it, the result has only the `state_dict()`. Leave it
            out for a network of `build`, which is in the file.
        operations: the operations of your own that the network uses; those that have been made in this
            process with the same code need not be given.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: an operation of your own is neither given nor made here with the same code; or `network`
            is given for a network of `build`.
        CheckpointError: the file is truncated or malformed, holds something else, or its tensors have other
            names or shapes than those of `network`.

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
    if network is not None:
        check_module(network, "load_network")
    tensors, about = read_tensors(user_path(path), _FORMAT, _OLDER)
    own = made(_facts(about), operations) if about.get("own_operations") else {}
    try:
        if "module" in about:
            if network is None:
                return SavedModule(tensors, str(about["module"]), about["names"])
            load_tensors(network, tensors)
            return network
        genotype, arguments = Genotype.from_dict(about["genotype"]), about["arguments"]
        if own:
            arguments["operations"] = tuple(own.values())
        else:
            with torch.device("meta"):  # takes no memory, whatever sizes the file declares
                build(genotype, **arguments).load_state_dict(tensors, assign=True)
        built: Network = build(genotype, **arguments)
        built.to(next(value.dtype for value in tensors.values() if value.is_floating_point()))
        built.load_state_dict(tensors)
        if isinstance(built, ImageNetwork):
            _know_inputs(built, about)
    except (LookupError, TypeError, ValueError, RuntimeError, StopIteration, _core.Error) as error:
        held = "this network" if network is not None else "a network of pydarts"
        raise _core.CheckpointError(f"{os.fspath(path)} does not hold {held}: {error!s:.500}") from error
    if network is not None:
        raise _core.ConfigError(
            f"{os.fspath(path)} holds a network of pydarts.build with its genotype; leave out `network`"
        )
    return built


def _know_inputs(network: ImageNetwork, about: Mapping[str, Any]) -> None:
    """Set what a file says about the images of the training."""
    if about.get("normalization"):
        network.normalization = Normalization.read(about["normalization"])
    if about.get("image_size"):
        height, width = (whole("image_size", side) for side in about["image_size"])
        network.image_size = (height, width)


def _facts(about: Mapping[str, Any]) -> dict[str, str]:
    facts = about["own_operations"]
    if not isinstance(facts, dict) or not all(isinstance(fact, str) for fact in facts.values()):
        raise _core.CheckpointError(f"own_operations must map names to texts, got {shown(facts)}")
    return facts
