"""Immutable values and the checks and file formats that they share."""
