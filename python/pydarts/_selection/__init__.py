"""Several cells searched, drawn or given, the same short training for each, and the table of it."""
