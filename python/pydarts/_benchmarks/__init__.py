"""Tabulated benchmarks: the files that hold them, and queries."""
