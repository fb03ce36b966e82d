"""Pictures of α and of cells, one kind a file; `pydarts.plots` lists them."""
