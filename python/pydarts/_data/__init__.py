"""Input data: arrays, loaders, text and data sets."""
