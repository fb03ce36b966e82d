"""Results of a search: history, trajectory of α, diagnostics."""
