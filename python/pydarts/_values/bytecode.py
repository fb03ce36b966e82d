"""The names that the code of a function reads and changes, from its bytecode."""

from __future__ import annotations

import dis
import types
from dataclasses import dataclass, field

CHANGING = {
    *(
        "append",
        "appendleft",
        "extend",
        "extendleft",
        "insert",
        "pop",
        "popleft",
        "popitem",
        "remove",
        "clear",
    ),
    *("sort", "reverse", "rotate", "add", "discard", "update", "setdefault", "subtract", "difference_update"),
    *("intersection_update", "symmetric_difference_update", "write", "put"),
}
"""Methods that change lists, dictionaries, sets and the like."""
_ASSIGNING = ("STORE_GLOBAL", "STORE_ATTR", "DELETE_GLOBAL", "DELETE_ATTR")


@dataclass
class Names:
    """Names in the code of one or several functions."""

    variables: set[str] = field(default_factory=set)
    """Global variables that are read."""
    used: set[str] = field(default_factory=set)
    """All names and all constant strings, so all attributes and string keys that are read by name."""
    assigned: set[str] = field(default_factory=set)
    """Variables and attributes that are assigned, whose elements are, or that are changed in place."""
    changed: set[str] = field(default_factory=set)
    """Variables and attributes of which a method of `CHANGING` is called."""

    def add(self, more: Names) -> bool:
        """Add other names; return whether one is new."""
        sizes = [len(each) for each in vars(self).values()]
        for name, each in vars(self).items():
            each |= getattr(more, name)
        return sizes != [len(each) for each in vars(self).values()]


def names_of(code: types.CodeType) -> Names:
    """Return the names in code, including those of the functions inside it.

    >>> def loss(logits, targets):
    ...     history.append(logits.mean())
    ...     calls["all"] += 1
    ...     return logits.mean() * gamma
    >>> found = names_of(loss.__code__)
    >>> sorted(found.variables), found.assigned, found.changed
    (['calls', 'gamma', 'history'], {'calls'}, {'history'})
    """
    found = Names(used={*code.co_names, *(const for const in code.co_consts if isinstance(const, str))})
    count = code.co_argcount + code.co_kwonlyargcount
    origins: dict[str, str | None] = {name: name for name in code.co_varnames[:count]}
    stack: list[str | None] = []  # for each value, the variable or attribute from which it was read
    for step in dis.get_instructions(code):
        _note(step, stack, found, code)
        _move(step, stack, origins)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            found.add(names_of(inner))
    return found


def _note(step: dis.Instruction, stack: list[str | None], found: Names, code: types.CodeType) -> None:
    """Note what an instruction reads or changes."""
    name, top = step.argval, stack[-1] if stack else None
    if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
        found.variables.add(name)
    elif step.opname in _ASSIGNING or (step.opname == "STORE_DEREF" and name in code.co_freevars):
        found.assigned.add(name)
    elif step.opname in ("STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE"):
        below = 3 if step.opname == "STORE_SLICE" else 2
        if len(stack) >= below and (container := stack[-below]) is not None:
            found.assigned.add(container)
    elif step.opname in ("LOAD_ATTR", "LOAD_METHOD") and top is not None:
        if name in CHANGING:
            found.changed.add(top)
        elif name.endswith("_") and not name.endswith("__"):  # in place, of a tensor
            found.assigned.add(top)


def _move(step: dis.Instruction, stack: list[str | None], origins: dict[str, str | None]) -> None:
    """Do to the stack what an instruction does, as far as origins need it."""
    op, name, number = step.opname, step.argval, step.arg or 0
    effect = dis.stack_effect(step.opcode, step.arg, jump=False)
    if op in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"):
        stack += [None] * (effect - 1) + [name]
    elif op.startswith("LOAD_FAST"):
        stack += [origins.get(each) for each in (name if isinstance(name, tuple) else (name,))]
    elif op in ("LOAD_ATTR", "LOAD_METHOD"):
        stack[-1:] = [None] * effect + [name]
    elif op == "STORE_FAST":
        origins[name] = stack.pop() if stack else None
    elif op in ("COPY", "DUP_TOP"):
        at = number if op == "COPY" else 1
        stack.append(stack[-at] if len(stack) >= at else None)
    elif op == "DUP_TOP_TWO":
        stack += stack[-2:]
    elif op in ("SWAP", "ROT_TWO") and len(stack) >= (at := number if op == "SWAP" else 2):
        stack[-1], stack[-at] = stack[-at], stack[-1]
    elif op == "ROT_THREE":
        stack[-3:] = stack[-1:] + stack[-3:-1]
    elif op == "BINARY_SUBSCR":  # an element belongs to its container
        stack[-1:] = []
    elif effect > 0:
        stack += [None] * effect
    elif effect < 0:
        del stack[effect:]
        if stack and not op.startswith(("POP_", "STORE_", "DELETE_", "RETURN_")) and "JUMP" not in op:
            stack[-1] = None
