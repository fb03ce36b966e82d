"""How `search`, `train` and similar functions are called: positions, keywords and earlier names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

from .. import _core
from .hints import hint
from .words import shown

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C")

# Other words for the arguments of these functions.
_ALIASES = {
    "cfg": ("config", "configuration", "conf", "options", "settings"),
    "data": ("dataset", "dataloader", "train_loader", "arrays", "loaders"),
    "callbacks": ("callback", "hooks", "listeners"),
    "loss": ("criterion", "loss_fn", "objective"),
    "network": ("net", "model", "genotype"),
    "select": ("train_config", "training", "train_cfg"),
    "random": ("n_random", "random_cells"),
}


def takes_options_as(argument: str, kind: str, options: Callable[[], Collection[str]]) -> Callable[[F], F]:
    """Decorate a function so that the error for an unknown keyword says how to pass it.

    Args:
        argument: the argument that holds the options.
        kind: the class of that argument.
        options: returns the names of the options.

    >>> @takes_options_as("cfg", "SearchConfig", lambda: ["epochs"])
    ... def search(data, cfg=None): ...
    >>> search(..., epochs=1)
    Traceback (most recent call last):
    TypeError: search() takes no argument `epochs`; it is an option: pass cfg=SearchConfig(epochs=1)
    """

    def decorate(function: F) -> F:
        known = list(inspect.signature(function).parameters)

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for name, value in kwargs.items():
                if name not in known:
                    remedy = _remedy(name, value, known)
                    raise TypeError(f"{function.__name__}() takes no argument `{name}`; {remedy}")
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    def _remedy(name: str, value: Any, known: list[str]) -> str:
        if name in options():
            return f"it is an option: pass {argument}={kind}({name}={shown(value)})"
        meant = [own for own, others in _ALIASES.items() if name in others and own in known]
        if meant:
            return f"did you mean `{meant[0]}`?"
        if nearest := _core.suggestions(name, list(options())):
            said = " or ".join(f"`{option}`" for option in nearest)
            return f"did you mean {said}? Options are passed as {argument}={kind}(...)"
        return _core.unknown_name("argument", name, known)

    return decorate


def formerly(**names: str) -> Callable[[F], F]:
    """Decorate a function so that it also takes arguments by earlier names, with a DeprecationWarning.

    Args:
        names: earlier name -> present name.

    >>> import warnings
    >>> @formerly(loader="data")
    ... def search(data): return data
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     search(loader=3)
    3
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **present_names(kwargs, names, _called(function)))

        return call  # type: ignore[return-value]

    return decorate


def present_names(
    given: Mapping[str, Any],
    names: Mapping[str, str],
    where: str,
    present: Callable[[str, Any], Any] = lambda _, value: value,
) -> dict[str, Any]:
    """Return keywords with their present names, with a warning for each earlier one.

    Args:
        given: the keywords.
        names: earlier name -> present name.
        where: what takes them, for messages.
        present: returns the present value of an earlier keyword.

    Raises:
        TypeError: a keyword by both names.
    """
    found = dict(given)
    for old in names.keys() & given.keys():
        new, value = names[old], present(old, found.pop(old))
        changed = "" if value is given[old] else f"={value!r}"
        hint(f"the argument `{old}` of {where} is now `{new}{changed}`", DeprecationWarning)
        if new in found:
            raise TypeError(f"{where} takes `{new}` or `{old}`, not both")
        found[new] = value
    return found


def _called(function: Callable[..., Any]) -> str:
    """Return how a function is called; a constructor is called by the name of its class."""
    return f"{function.__qualname__.removesuffix('.__init__')}()"


def configuration(value: Any, kind: type[C], name: str, call: str) -> C:
    """Return a configuration; None stands for the default one.

    Args:
        value: what the user passed.
        kind: `SearchConfig` or `TrainConfig`.
        name: the name of the argument.
        call: how the function is called, for the error if images and labels were passed separately.

    Raises:
        ConfigError: not a configuration of this kind.
    """
    if value is None:
        return kind()
    if isinstance(value, kind):
        return value
    wanted = kind.__name__
    remedy = ""
    if isinstance(value, Mapping):
        options = ", ".join(f"{key}={shown(entry)}" for key, entry in list(value.items())[:3])
        dots = ", ..." if len(value) > 3 else ""
        remedy = f"; pass {wanted}({options}{dots}), or {wanted}(**options)"
    elif isinstance(value, type) and issubclass(value, kind):
        remedy = f"; this is the class: pass {wanted}()"
    elif hasattr(value, "__array__") or (isinstance(value, Sequence) and not isinstance(value, str)):
        remedy = f"; images and labels are one argument, a tuple: {call}"
    raise _core.ConfigError(f"{name} must be a {wanted}, got a {type(value).__name__}{remedy}")
