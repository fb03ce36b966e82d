"""Training of the networks that genotypes stand for."""
