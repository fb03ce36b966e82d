"""What `LiveView` shows while a search runs: in a terminal, in a notebook, in a log."""
