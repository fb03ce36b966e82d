"""The engine's random numbers from their specification: ChaCha8 keyed by (seed, purpose, index)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_QUARTERS = [  # the columns of the 4x4 words, then the diagonals
    (i, 4 + (i + turn) % 4, 8 + (i + 2 * turn) % 4, 12 + (i + 3 * turn) % 4)
    for turn in (0, 1)
    for i in range(4)
]


def gumbel(seed: int, table: str, role: str, step: int, shape: tuple[int, int], part: int = 0) -> Tensor:
    """Gumbel(0, 1) numbers for one table, float64: those that losses of a role ("alpha", "weight") see."""
    rows, columns = shape
    units = uniform(seed, f"relaxation.{table}.{role}.{part}", step)
    drawn = [-math.log(-math.log(1.0 - next(units))) for _ in range(rows * columns)]
    return torch.tensor(drawn, dtype=torch.float64).view(shape)


def kept(seed: int, purpose: str, index: int, count: int, p: float) -> Tensor:
    """Decisions, each False with probability p: whether a word of 32 bits is at least p·2^32."""
    words = _words(seed, purpose, index)
    return torch.tensor([next(words) >= round(p * 2**32) for _ in range(count)])


def dirichlet(seed: int, table: str, role: str, step: int, shape: tuple[int, int], part: int = 0) -> Tensor:
    """What a Dirichlet sample is made of, [rows, columns, 21]: 10 normal numbers and 11 logarithms."""
    rows, columns = shape
    purpose = f"relaxation.{table}.{role}.{part}"
    pairs = normal(seed, f"{purpose}.normal", step)
    numbers = [next(pairs) for _ in range(10 * rows * columns)]
    units = uniform(seed, f"{purpose}.uniform", step)
    numbers += [math.log(1.0 - next(units)) for _ in range(11 * rows * columns)]
    return torch.tensor(numbers, dtype=torch.float64).view(21, rows, columns).permute(1, 2, 0)


def architecture(
    seed: int,
    table: str,
    role: str,
    step: int,
    mask: Tensor,
    groups: list[list[int]],
    kept: int,
    part: int = 0,
) -> Tensor:
    """The mixing weights of a uniform random architecture. `mask` is False for removed candidates."""
    purpose, m = f"relaxation.{table}.{role}.{part}", torch.zeros(mask.shape, dtype=torch.float64)
    for number, group in enumerate(groups):
        order = permutation(seed, f"{purpose}.rows.{number}", step, len(group))
        for row in [group[index] for index in order[:kept]]:
            left = mask[row].nonzero().flatten().tolist()
            m[row, left[permutation(seed, f"{purpose}.candidate.{row}", step, len(left))[0]]] = 1.0
    return m


def normal(seed: int, purpose: str, index: int) -> Iterator[float]:
    """Standard normal numbers by Box and Muller, both of each pair."""
    units = uniform(seed, purpose, index)
    while True:
        radius = math.sqrt(-2.0 * math.log(1.0 - next(units)))
        angle = 2.0 * math.pi * next(units)
        yield radius * math.cos(angle)
        yield radius * math.sin(angle)


def permutation(seed: int, purpose: str, index: int, n: int) -> list[int]:
    """A permutation of 0..n by Fisher and Yates."""
    words, order = _integers(seed, purpose, index), list(range(n))
    for last in range(n - 1, 0, -1):
        chosen = next(words) * (last + 1) >> 64  # the engine rejects some, with a probability below n/2⁶⁴
        order[last], order[chosen] = order[chosen], order[last]
    return order


def uniform(seed: int, purpose: str, index: int) -> Iterator[float]:
    """Numbers in [0, 1), each from the upper 53 of 64 bits."""
    for number in _integers(seed, purpose, index):
        yield (number >> 11) / 2.0**53


def _integers(seed: int, purpose: str, index: int) -> Iterator[int]:
    """Numbers of 64 bits."""
    words = _words(seed, purpose, index)
    while True:
        low, high = next(words), next(words)
        yield high << 32 | low


def _words(seed: int, purpose: str, index: int) -> Iterator[int]:
    """The words of the generator of a purpose at an index."""
    return _chacha8(b"".join(number.to_bytes(8, "little") for number in (seed, _fnv1a(purpose), index, 0)))


def _fnv1a(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def _chacha8(key: bytes) -> Iterator[int]:
    """The words of the key stream, with a 64-bit counter and a nonce of zeros."""
    fixed = [int.from_bytes(text, "little") for text in (b"expa", b"nd 3", b"2-by", b"te k")]
    keys = [int.from_bytes(key[i : i + 4], "little") for i in range(0, 32, 4)]
    counter = 0
    while True:
        state = [*fixed, *keys, counter & _WORD, counter >> 32, 0, 0]
        mixed = list(state)
        for _ in range(4):  # of two rounds each
            for quarter in _QUARTERS:
                _quarter(mixed, *quarter)
        yield from ((one + other) & _WORD for one, other in zip(mixed, state, strict=True))
        counter += 1


def _quarter(x: list[int], a: int, b: int, c: int, d: int) -> None:
    for one, other, target, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[one] = (x[one] + x[other]) & _WORD
        turned = x[target] ^ x[one]
        x[target] = (turned << by | turned >> (32 - by)) & _WORD
