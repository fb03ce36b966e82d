"""The training of networks that a search has found."""
