"""Tabulated benchmarks, which give the accuracy of an architecture without training it."""

from __future__ import annotations

from ._benchmarks.nas_bench_201 import NASBench201
from ._benchmarks.scores import BenchmarkTrajectory
from ._protocol.row import BenchmarkScore

__all__ = ["BenchmarkScore", "BenchmarkTrajectory", "NASBench201"]


def __dir__() -> list[str]:
    return [*__all__]
