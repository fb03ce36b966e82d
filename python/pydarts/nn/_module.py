"""Modules that pydarts did not build: how they are called, checked, identified, and what they hold."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .. import _core
from .._values.genotype import Genotype
from .._values.words import shown
from ._choice import Choice, InputChoice
from ._state import CheckedModule


def arguments_of(module: nn.Module, inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and keyword arguments with which `module` is called.

    A tuple is passed as positional arguments and a mapping as keyword arguments if the signature of `forward`
    accepts them, otherwise as one argument; anything else is one argument.

    >>> arguments_of(nn.Linear(2, 2), (1, 2)), arguments_of(nn.Bilinear(2, 2, 2), (1, 2))
    ((((1, 2),), {}), ((1, 2), {}))
    """
    if isinstance(inputs, tuple) and _accepts(module, *inputs):
        return tuple(inputs), {}
    if (
        isinstance(inputs, Mapping)
        and all(isinstance(name, str) for name in inputs)
        and _accepts(module, **inputs)
    ):
        return (), dict(inputs)
    return (inputs,), {}


def _accepts(module: nn.Module, *args: Any, **kwargs: Any) -> bool:
    try:
        inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:  # compiled code without a signature
        return True
    return True


def called(module: nn.Module, inputs: Any, run: Callable[..., Any] | None = None) -> Any:
    """Call a module, or `run` in its place, with inputs: see `arguments_of`.

    >>> called(nn.Identity(), torch.ones(2)).tolist()
    [1.0, 1.0]
    """
    args, kwargs = arguments_of(module, inputs)
    return (module if run is None else run)(*args, **kwargs)


def check_module(module: Any, what: str, *others: str) -> None:
    """Raise an error unless `module` is a `torch.nn.Module` whose architecture and weights are fixed.

    Args:
        module: the value to check.
        what: name of the caller.
        others: other values that the caller accepts.

    Raises:
        TypeError: the value is something else, a class, or a module that `torch.compile` has wrapped.
        ConfigError: the module contains a choice, or a weight whose shape is not known yet.
    """
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise TypeError(f"{what} got the class {module.__name__}; pass an instance: {module.__name__}(...)")
    if not isinstance(module, nn.Module):
        takes = " or ".join(("a network of pydarts.build or another torch.nn.Module", *others))
        remedy = ""
        if isinstance(module, Genotype) or isinstance(getattr(module, "genotype", None), Genotype):
            remedy = f"; build its network first: {what}(pydarts.build(genotype, ...))"
        elif hasattr(module, "fixed_network"):
            remedy = f"; pass its network: {what}(result.fixed_network(), ...)"
        raise TypeError(f"{what} takes {takes}, got a {type(module).__name__}{remedy}")
    # torch.compile keeps the network in `_orig_mod`; importing its class would take seconds.
    if isinstance(getattr(module, "_orig_mod", None), nn.Module):
        raise TypeError(
            f"{what} got a network that torch.compile has wrapped; pass the network itself: "
            "TrainConfig(compile=True) compiles it for the training"
        )
    for name, part in module.named_modules():
        if isinstance(part, (Choice, InputChoice)):
            raise _core.ConfigError(
                f"{name or 'the module'!r} is a {type(part).__name__}, not decided yet; {what} requires a "
                "fixed network: result.fixed_network(), or pydarts.nn.fix(module, architecture)"
            )
    check_shapes(module)


def check_shapes(module: nn.Module) -> None:
    """Raise ConfigError if a parameter or buffer of a lazy module has no shape yet."""
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(value, (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)):
            raise _core.ConfigError(
                f"{name} of a lazy module has no shape yet; call the network once on a batch first"
            )


def tensors_in(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module by name: shared ones once, and every buffer.

    Unlike `state_dict` they include buffers that are not persistent, except those of networks of `build`,
    which are set before every epoch.

    >>> list(tensors_in(nn.BatchNorm1d(2)))
    ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    """
    if isinstance(module, CheckedModule):
        return module.state_dict()
    return dict(module.named_parameters()) | dict(module.named_buffers())


@torch.no_grad()
def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors of `tensors_in` into a module. A buffer may have another shape, or be None before.

    Raises:
        RuntimeError: names, or the shape of a parameter, differ.
    """
    own, replaced = tensors_in(module), {}
    wrong = [f"{name!r} is missing" for name in own if name not in tensors]
    for name, value in sorted(tensors.items()):  # files list them in any order
        buffers = _buffers_beside(module, name)
        if name in own and own[name].shape == value.shape:
            continue
        if name.rpartition(".")[2] in buffers:
            replaced[name] = buffers
        elif name in own:
            wrong.append(f"{name!r} has shape {list(value.shape)}, in the network {list(own[name].shape)}")
        else:
            wrong.append(f"the network has no {name!r}")
    if wrong:
        raise RuntimeError("; ".join(wrong[:8]))
    for name, value in tensors.items():
        if name in replaced:
            like = own.get(name, next(iter(own.values()), value))
            replaced[name][name.rpartition(".")[2]] = value.detach().to(like.device, copy=True)
        else:
            own[name].copy_(value)


def _buffers_beside(module: nn.Module, name: str) -> dict[str, Tensor | None]:
    """Return the buffers of the submodule that holds the tensor `name`."""
    try:
        return module.get_submodule(name.rpartition(".")[0])._buffers
    except AttributeError:
        return {}


def names_in(module: nn.Module) -> dict[str, Any]:
    """Return all names in order, the weights, what is not in `state_dict`, and names of shared tensors."""
    tensors = (
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    )
    first: dict[int, str] = {}
    tied = {name: first[id(value)] for name, value in tensors if first.setdefault(id(value), name) != name}
    return {
        "order": [name for name, _ in tensors],
        "weights": [name for name, _ in module.named_parameters()],
        "volatile": sorted({*tensors_in(module)} - {*module.state_dict()}),
        "tied": tied,
    }


def check_complete(module: nn.Module) -> None:
    """Raise ConfigError if a module has state that is not a tensor, which files of tensors cannot hold."""
    for name, part in module.named_modules():
        if type(part).get_extra_state is not nn.Module.get_extra_state:
            raise _core.ConfigError(
                f"{name or type(part).__name__!r} has state of its own (get_extra_state), which checkpoints "
                "and .safetensors files cannot hold; keep it in buffers, or leave out checkpoint_dir"
            )


class SavedModule(nn.Module):
    """Weights and buffers of a module of your own, as a file holds them; the module itself is not in it.

    `state_dict()` has the names of the module, for its `load_state_dict`.

    >>> SavedModule({"0.weight": torch.ones(2)}, "torch.nn:Sequential").state_dict()["0.weight"].tolist()
    [1.0, 1.0]
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], name: str, names: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.name = name
        names = {} if names is None else names
        made: dict[str, Tensor | nn.Parameter] = dict(tensors)
        for path in names.get("weights", ()):
            made[path] = nn.Parameter(made[path], made[path].is_floating_point())
        for path, other in names.get("tied", {}).items():
            made[path] = made[other]
        for path in names.get("order", made):
            value = made[path]
            *above, leaf = path.split(".")
            holder: nn.Module = self
            for part in above:  # a module may have any name, also that of an attribute
                holder = holder._modules.setdefault(part, nn.Module())  # type: ignore[assignment]
            if isinstance(value, nn.Parameter):
                holder._parameters[leaf] = value
                continue
            holder._buffers[leaf] = value
            if path in names.get("volatile", ()):
                holder._non_persistent_buffers_set.add(leaf)

    def forward(self, *_: Any, **__: Any) -> Any:
        """Raise ConfigError: the module is not in the file."""
        raise _core.ConfigError(
            f"the file holds weights of {self.name}, not its code; load them into an instance: "
            "pydarts.load_network(path, network), or TrainResult.load(folder, network)"
        )

    def extra_repr(self) -> str:
        return f"weights of {shown(self.name)}"
