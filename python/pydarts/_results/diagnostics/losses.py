"""Findings about the losses and the end of a search."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..history import EpochRecord, known
from ..score import ACCURACY, score_of
from .finding import Finding, Outcome, count

# The validation loss counts as rising when it exceeds its minimum by this fraction, more than the noise.
TURNED = 0.1
_UNLEARNED = (
    "The architecture was chosen with a network that has not learned: search longer, or check the learning "
    "rate and the data."
)

_MEAN = (
    "The evaluation has all candidates, with their mean mixing weights; training draws one per edge, so that "
    "the weights are not trained for this mixture."
)


def ending(result: Outcome) -> Iterator[Finding]:
    done, planned, steps = len(result.history), result.config.epochs, result.steps[-1]
    values = {"epochs": done, "planned": planned, "steps": steps}
    if result.status == "complete":
        text = f"The search is complete: {count(done, 'epoch')}, {count(steps, 'step')}."
        reason = next((one["reason"] for _, one in result.decisions if one["decision"] == "stop"), None)
        if reason is not None:
            kept = f"{done} of {count(planned, 'epoch')}, {count(steps, 'step')}"
            text = f"A rule ended the search: {reason}. The result is that of {kept}."
        yield Finding("note", "ending", text, values=values)
        return
    what = (
        "The search was interrupted" if result.status == "interrupted" else "An exception stopped the search"
    )
    yield Finding(
        "warning",
        "ending",
        f"{what} after {done} of {count(planned, 'epoch')} ({count(steps, 'step')}).",
        "The other findings describe this partial search. With a checkpoint_dir, resume=True continues it.",
        values=values,
    )


def learning(result: Outcome) -> Iterator[Finding]:
    """Whether the network on which α was trained has learned."""
    classes = result.config.num_classes
    if not result.history:
        return
    if result.history[-1].metrics:
        yield measured(result)
    if math.isnan(known(result.history[-1].valid_accuracy)):
        return
    if classes is None:
        yield counted(result.history)
        return
    last, words = result.history[-1], result.config.resolved_space.kind == "recurrent"
    guess, accuracy = math.log(classes), known(last.valid_accuracy)
    # Guessing always the most frequent class is the reference for the accuracy, where the labels are known.
    counts = result.class_counts
    most = 1 / classes if counts is None else max(counts) / sum(counts)
    guessing = (
        f"guessing among {classes:,} classes: {most:.1%}"
        if counts is None
        else f"the most frequent of {classes:,} classes has {most:.1%} of the examples"
    )
    values = {
        "valid_loss": last.valid_loss,
        "guessing": guess,
        "valid_accuracy": accuracy,
        "most_frequent": most,
    }
    # A custom loss has another scale: only accuracy shows whether the network learned.
    own = result.loss is not None
    worse = not accuracy > most or not (own or last.valid_loss < guess)
    if worse and draws_one(result) and _trains(last, most, None if own else guess):
        yield _of_drawn(last, accuracy, guessing, values)
    elif not words and (own or counts is not None) and not accuracy > most:
        yield Finding(
            "warning",
            "learning",
            f"The validation accuracy after the last epoch, {accuracy:.1%}, is not above that of "
            f"guessing: {guessing}.",
            _UNLEARNED,
            values=values,
        )
    elif not own and not last.valid_loss < guess:
        yield Finding(
            "warning",
            "learning",
            f"The validation loss after the last epoch, {last.valid_loss:.3f}, is not below log {classes:,} "
            f"= {guess:.3f}, the cross-entropy of guessing.",
            _UNLEARNED,
            values=values,
        )
    elif words:
        best = lowest_loss(result.history)
        yield Finding(
            "note",
            "learning",
            f"Validation perplexity {last.valid_perplexity:.4g} after the last epoch, lowest "
            f"{best.valid_perplexity:.4g} in epoch {best.epoch + 1}; guessing among all words: {classes:,}.",
            values=values,
        )
    else:
        best = ACCURACY.best(result.history)
        yield Finding(
            "note",
            "learning",
            f"Validation accuracy {accuracy:.1%} after the last epoch, best "
            f"{known(best.valid_accuracy):.1%} in epoch {best.epoch + 1}; {guessing}.",
            values=values,
        )


def _of_drawn(last: EpochRecord, accuracy: float, guessing: str, values: dict[str, float]) -> Finding:
    """The finding about networks that learn as they are drawn, but not as the mean that is evaluated."""
    text = (
        f"The networks drawn in training have learned (loss {last.train_loss:.3f}); in the evaluation the "
        f"loss is {last.valid_loss:.3f} and the accuracy {accuracy:.1%}; {guessing}."
    )
    return Finding("note", "learning", f"{text} {_MEAN}", values=values)


def draws_one(result: Outcome) -> bool:
    """Return whether training computes single candidates, drawn in every step."""
    return result.config.relaxation.name in ("gdas", "random")


def _trains(last: EpochRecord, most: float, guess: float | None) -> bool:
    """Return whether the training measurements of an epoch are better than guessing."""
    return known(last.train_accuracy) > most or (guess is not None and last.train_loss < guess)


def counted(history: Sequence[EpochRecord]) -> Finding:
    """The accuracy over the epochs, where the number of classes is unknown."""
    last, best = known(history[-1].valid_accuracy), ACCURACY.best(history)
    most = known(best.valid_accuracy)
    text = f"Validation accuracy {last:.1%} after the last epoch, best {most:.1%} in epoch {best.epoch + 1}."
    return Finding("note", "learning", text, values={"valid_accuracy": last, "best": most})


def measured(result: Outcome) -> Finding:
    """The metric over the epochs."""
    last, mode = result.history[-1], result.config.metric_mode
    name, value = next(iter(last.metrics.items()))
    values = {"metric": value}
    said = ", ".join(f"{name} {value:.4g}" for name, value in last.metrics.items())
    text = f"After the last epoch on the validation part: {said}"
    if all(math.isnan(record.metrics.get(name, math.nan)) for record in result.history):
        advice = "Epochs are compared by accuracy or loss instead: check the metric for divisions by zero."
        return Finding("warning", "learning", f"{text}; no epoch has a finite {name}.", advice, values=values)
    best = score_of(result.history, mode).best(result.history)
    values |= {"best": best.metrics[name], "best_epoch": best.epoch}
    which = "highest" if mode == "max" else "lowest"
    text += f"; {which} {name} {best.metrics[name]:.4g} in epoch {best.epoch + 1}."
    return Finding("note", "learning", text, values=values)


def gap(result: Outcome) -> Iterator[Finding]:
    """Training against validation after the last epoch."""
    if not result.history:
        return
    last = result.history[-1]
    best = lowest_loss(result.history)
    gap = last.valid_loss - last.train_loss
    text = (
        f"Losses of the last epoch: {last.train_loss:.3f} in training, {last.valid_loss:.3f} in validation, "
        f"a gap of {gap:+.3f}"
    )
    accuracies = known(last.train_accuracy), known(last.valid_accuracy)
    if not any(map(math.isnan, accuracies)):
        text += "; accuracies {:.1%} and {:.1%}".format(*accuracies)
    text += "."
    values = {
        "train_loss": last.train_loss,
        "valid_loss": last.valid_loss,
        "gap": gap,
        "lowest_valid_loss": best.valid_loss,
        "lowest_epoch": best.epoch,
    }
    if draws_one(result):
        yield Finding("note", "gap", f"{text} {_MEAN} Its losses are not those of training.", values=values)
        return
    rise = last.valid_loss / best.valid_loss - 1 if best.valid_loss > 0 else 0.0
    if rise > TURNED and last.train_loss < best.train_loss:
        yield Finding(
            "warning",
            "gap",
            f"{text} The validation loss has risen by {rise:.0%} since its lowest, {best.valid_loss:.3f} "
            f"in epoch {best.epoch + 1}, while the training loss kept falling.",
            "The weights overfit, and the architecture is chosen by their loss: use fewer epochs, more "
            "data, augmentation, or a larger weight_decay.",
            values=values,
        )
    else:
        yield Finding("note", "gap", text, values=values)


def lowest_loss(history: Sequence[EpochRecord]) -> EpochRecord:
    """Return the first record with the lowest validation loss; NaN counts as infinity."""
    return min(history, key=lambda record: math.inf if math.isnan(record.valid_loss) else record.valid_loss)
