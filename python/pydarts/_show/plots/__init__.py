"""Plots of α and of cells, one kind per module; `pydarts.plots` lists them."""
