"""The live view of a running search: in a terminal, in a notebook, or as lines of a log."""
