"""Tabulated benchmarks, which tell the accuracy of an architecture without training it."""

from __future__ import annotations

from ._benchmarks.nas_bench_201 import NASBench201

__all__ = ["NASBench201"]
