"""What the numbers say, in plain words, and how far they can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpunet.study.compare.comparison import Comparison, OptimizerSummary, Stat
from gpunet.study.compare.grid import Setup
from gpunet.study.compare.table import spread

# What explains a bad result where the numbers alone would mislead.
NOTES = {
    "rprop": "RProp is made for full batches: the noise of mini-batches turns signs at random.",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was found, and why."""

    title: str
    text: str


@dataclass(frozen=True)
class Verdict:
    headline: str
    findings: Sequence[Finding]


def judge(comparison: Comparison, setup: Setup, valid_rows: int) -> Verdict:
    """The verdict on a comparison whose losses were measured on so many validation rows."""
    found = [
        _loss(comparison),
        _without_lr(comparison),
        _tuning(comparison),
        _speed(comparison),
        _divergence(comparison),
        _failures(comparison),
        _edges(comparison),
        _trust(comparison, setup, valid_rows),
    ]
    return Verdict(headline(comparison), [finding for finding in found if finding])


def headline(comparison: Comparison) -> str:
    first, many = comparison.summaries[0], len(comparison.summaries)
    lowest = f"{spread(first.best.loss)}{_at(first)}"
    if many == 1:
        return f"{first.name} reaches a validation loss of {lowest}."
    if comparison.seeds < 2:
        return (
            f"{first.name} has the lowest validation loss, {lowest}, but of one seed only: how "
            "much of the order is chance cannot be said."
        )
    if len(comparison.leaders) == 1:
        return (
            f"{first.name} has the lowest validation loss, {lowest}, by more than the spread over "
            "the seeds."
        )
    tied = "all" if len(comparison.leaders) == many else str(len(comparison.leaders))
    return (
        f"No single winner: {tied} of {many} optimizers tie for the lowest validation loss. "
        f"{first.name} has the lowest mean, {lowest}."
    )


def _loss(comparison: Comparison) -> Finding | None:
    first, leaders = comparison.summaries[0], comparison.leaders
    if comparison.seeds < 2 or len(comparison.summaries) == 1:
        return None
    behind = [s for s in comparison.summaries if s not in leaders]
    parts = []
    if leaders[1:]:
        parts.append(
            f"{_names(leaders[1:])} {'tie' if leaders[2:] else 'ties'} with {first.name}: the "
            f"differences are within the spread over the {comparison.seeds} seeds, so that their "
            "order in the table means nothing."
        )
    if behind:
        losses = _list([f"{s.name} ({spread(s.best.loss)})" for s in behind])
        parts.append(f"Worse by more than that: {losses}.")
    return Finding("The lowest loss", " ".join(parts))


def _without_lr(comparison: Comparison) -> Finding | None:
    free = [s for s in comparison.summaries if s.best.lr is None]
    tuned = [s for s in comparison.summaries if s.best.lr is not None]
    if not free or not tuned:
        return None
    texts = []
    for s in free:
        gap = s.best.loss.mean - tuned[0].best.loss.mean
        if gap <= 0:
            how = f"no tuned optimizer has a lower mean; the next is {tuned[0].name}"
        else:
            what = "a tie" if s in comparison.leaders else "more than the seeds' spread"
            what = what if comparison.seeds > 1 else "of one seed only"
            how = f"{gap:.4f} above {tuned[0].name}'s, which is {what}"
            how += f", after {s.runs} runs instead of the {tuned[0].runs} that found its rate"
        texts.append(f"{s.name} reaches {spread(s.best.loss)}: {how}.")
    return Finding("Without a learning rate to choose", " ".join(texts))


def _tuning(comparison: Comparison) -> Finding | None:
    ranges = [(s.workable.decades, s) for s in comparison.summaries if s.workable]
    tried = [s for s in comparison.summaries if len(s.cells) > 1]
    if not tried:
        return None
    rule = (
        f"A learning rate works if every seed reaches {comparison.target} and none diverges; "
        "counted is the unbroken range around the best one, at the rates that were tried."
    )
    none = [s for s in tried if s.workable is None]
    parts = []
    if ranges:
        ends = (max, "Widest"), (min, "Narrowest")
        for pick, word in ends[: len({round(d, 1) for d, _ in ranges})]:
            decades = round(pick(d for d, _ in ranges), 1)
            found = [s for d, s in ranges if round(d, 1) == decades]
            parts.append(f"{word}, {decades:.1f} decades: {_list([_range(s) for s in found])}.")
    if none:
        parts.append(f"No rate that was tried works for {_names(none)}.")
    return Finding("How much the learning rate matters", " ".join([*parts, rule]))


def _speed(comparison: Comparison) -> Finding | None:
    aim = comparison.target
    epochs = _fastest(comparison, lambda s: s.best.epochs_to(aim))
    seconds = _fastest(comparison, lambda s: s.best.seconds_to(aim))
    if not epochs or not seconds:
        return Finding(f"How fast to {aim}", "No optimizer gets there with every seed.")
    if len(comparison.summaries) == 1:
        text = f"{spread(epochs[1], '.1f')} epochs, {spread(seconds[1], '.2f')} seconds."
        return Finding(f"How fast to {aim}", text)
    texts = []
    for found, form, unit in ((epochs, ".1f", "epochs"), (seconds, ".2f", "seconds")):
        first, stat, close = found
        tied = f" ({_count(close)} within the spread)" if close else ""
        texts.append(f"fewest {unit}: {first.name}, {spread(stat, form)}{tied}")
    slow = [s for s in comparison.summaries if s.best.epochs_to(aim) is None]
    never = f" Not with every seed at its best rate: {_names(slow)}." if slow else ""
    text = f"At the learning rate with the lowest loss, {'; '.join(texts)}."
    return Finding(f"How fast to {aim}", text + never)


def _fastest(
    comparison: Comparison, measure: Callable[[OptimizerSummary], Stat | None]
) -> tuple[OptimizerSummary, Stat, list[OptimizerSummary]] | None:
    """The one with the lowest mean, and those that are not slower by more than a deviation."""
    known = [(stat, s) for s in comparison.summaries if (stat := measure(s)) is not None]
    if not known:
        return None
    best, first = min(known, key=lambda pair: pair[0].mean)
    close = [s for stat, s in known if stat.mean - best.mean <= max(stat.sd, best.sd)]
    return first, best, [s for s in close if s is not first]


def _divergence(comparison: Comparison) -> Finding | None:
    found = [s for s in comparison.summaries if s.diverged]
    if not found:
        return Finding("What diverged", "No run did.")
    total = sum(len(s.diverged) for s in found)
    parts = []
    for s in found:
        lowest = min(r.run.lr or 0.0 for r in s.diverged)
        where = f", from {lowest:g} up" if lowest else ""
        every = len(s.diverged) == s.runs
        parts.append(f"{s.name} ({'all' if every else len(s.diverged)} of {s.runs}{where})")
    notes = [NOTES[s.optimizer] for s in found if s.optimizer in NOTES]
    text = f"{total} of {comparison.done} runs: {_list(parts)}. The list below says when."
    return Finding("What diverged", " ".join([text, *notes]))


def _failures(comparison: Comparison) -> Finding | None:
    failed = [r for s in comparison.summaries for r in s.diverged if r.failed]
    if not failed:
        return None
    why = _list(sorted({r.failed for r in failed if r.failed}))
    text = f"{len(failed)} of {comparison.done} runs gave no numbers: {why}. They count as diverged"
    return Finding("What failed", f"{text}, and the same command tries them again.")


def _edges(comparison: Comparison) -> Finding | None:
    edges = [s for s in comparison.summaries if s.edge]
    if not edges:
        return None
    places = _list([f"{s.name} (the {s.edge}, {s.best.lr:g})" for s in edges])
    return Finding(
        "At the edge of the grid",
        f"The best learning rate is the end of what was tried for {places}: a better one may lie "
        "beyond. Widen it with --lr-grid NAME=LOW:HIGH.",
    )


def _trust(comparison: Comparison, setup: Setup, valid_rows: int) -> Finding:
    seeds = comparison.seeds
    parts = [
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}, {setup.epochs} epochs, one network and one "
        f"data set with {valid_rows} validation rows"
        + (f" (one row is {1 / valid_rows:.2%} accuracy)." if comparison.target.accuracy else "."),
        "Learning rate and epoch were chosen on those rows, so that the losses are a little too "
        "good, the more so the more rates were tried; the test rows chose nothing.",
    ]
    rising = [s for s in comparison.summaries if _unfinished(s)]
    if rising:
        parts.append(f"Still improving in the last epoch: {_names(rising)}; train longer to see.")
    if seeds < 10 and len(comparison.leaders) > 1:
        parts.append("More seeds tell more apart: --seeds 10 runs only those that are missing.")
    return Finding("How far to trust this", " ".join(parts))


def _unfinished(summary: OptimizerSummary) -> bool:
    results = summary.best.results
    return all(r.best_epoch == len(r.valid_loss) - 1 and not r.failed for r in results)


def _at(summary: OptimizerSummary) -> str:
    return "" if summary.best.lr is None else f" at a learning rate of {summary.best.lr:g}"


def _range(summary: OptimizerSummary) -> str:
    found = summary.workable
    if found is None:
        return summary.name
    beyond = " or beyond" if found.open_low or found.open_high else ""
    return f"{summary.name} ({found.low:g} to {found.high:g}{beyond})"


def _count(summaries: Sequence[OptimizerSummary]) -> str:
    return _names(summaries) if len(summaries) <= 3 else f"{len(summaries)} others"


def _names(summaries: Sequence[OptimizerSummary]) -> str:
    return _list([summary.name for summary in summaries])


def _list(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)
