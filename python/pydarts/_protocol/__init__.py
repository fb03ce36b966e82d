"""Several searches, and the same short training for every architecture."""
