"""The epoch of the best record of a result."""

from pydarts import SearchResult, TrainResult


def best_epoch(result: SearchResult | TrainResult) -> int | None:
    """The epoch of `result.best`, from 0; None without an epoch."""
    return None if result.best is None else result.best.epoch
