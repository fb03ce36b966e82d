"""The search of one architecture, its callbacks and its progress."""
