"""Findings about the gradient of α against the exact one."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from ..algorithm import in_words
from ..measured import points
from .finding import Finding, Outcome, count

# Below this mean cosine a gradient points elsewhere. Two random directions in the 224 logits of the published
# space have a cosine of 0 with a standard deviation of 1/√224 = 0.067, and this is three of them.
ELSEWHERE = 0.2


def probes(result: Outcome) -> Iterator[Finding]:
    """How far the configured gradient of α is from the exact one, where a search measured it."""
    cosines, errors = (points(result.history, f"probe.{name}")[1] for name in ("cosine", "error"))
    if not cosines:
        return
    values = {"cosine": fmean(cosines), "lowest": min(cosines), "last": cosines[-1], "epochs": len(cosines)}
    text = (
        f"The gradient of α by {in_words(result.config.hypergradient)} has a cosine of "
        f"{values['cosine']:.3f} with the exact one, the mean of {count(len(cosines), 'epoch')} "
        f"({cosines[-1]:.3f} in the last)"
    )
    if errors:
        values["error"] = fmean(errors)
        text += f", and a relative error of {values['error']:.3g}"
    if values["cosine"] < ELSEWHERE:
        yield Finding(
            "warning",
            "probe",
            f"{text}. It points in another direction.",
            'hypergradient="unrolled_exact" computes the exact one; search_many shows whether that matters.',
            values=values,
        )
    else:
        yield Finding("note", "probe", f"{text}.", values=values)
