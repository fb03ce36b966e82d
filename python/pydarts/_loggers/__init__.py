"""Callbacks that write a search down, a file a place."""
