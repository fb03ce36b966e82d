"""Callbacks that log a search, one module per format."""
