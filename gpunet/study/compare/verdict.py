"""What the numbers say, in plain words, and how far they can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpunet.optim import OPTIMIZERS
from gpunet.study.compare.comparison import Comparison, OptimizerSummary, Stat, behind
from gpunet.study.compare.grid import Setup
from gpunet.study.compare.table import spread
from gpunet.study.words import listed, say

BORDER = 2.0  # times the spread: beyond it a difference would survive other seeds as well
# What explains a bad result where the numbers alone would mislead.
NOTES = {
    "rprop": "RProp is made for full batches: the noise of mini-batches turns signs at random.",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was found, and why."""

    title: str
    parts: Sequence[str]  # sentences

    @property
    def text(self) -> str:
        return " ".join(self.parts)

    def said(self) -> Finding:
        """In the language that is spoken."""
        return Finding(say(self.title), [say(part) for part in self.parts])


@dataclass(frozen=True)
class Verdict:
    headline: str
    findings: Sequence[Finding]


def judge(
    comparison: Comparison, setup: Setup, valid_rows: int, blas: Sequence[str] = ()
) -> Verdict:
    """The verdict on a comparison whose losses were measured on so many validation rows, with
    products by these BLAS libraries.

    Where a difference is noise, it names no first and gives no order: another processor's BLAS
    rounds differently, and would name another.
    """
    found = [
        _loss(comparison),
        _without_lr(comparison),
        _tuning(comparison),
        _speed(comparison),
        _divergence(comparison),
        _failures(comparison),
        _edges(comparison),
        _trust(comparison, setup, valid_rows, blas),
    ]
    return Verdict(say(headline(comparison)), [finding.said() for finding in found if finding])


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
    if not _close(comparison):
        return (
            f"{first.name} has the lowest validation loss, {lowest}, by more than the spread over "
            "the seeds."
        )
    close = 1 + len(_close(comparison))
    tied = "all" if close == many else "most" if 2 * close > many else "some"
    return (
        f"No single winner: {tied} of the {many} optimizers reach the lowest validation loss, or "
        f"one within the spread over the {comparison.seeds} seeds."
    )


def _close(comparison: Comparison) -> list[OptimizerSummary]:
    """Those beside the first that may be as good: leaders, and those on the border."""
    found = comparison.summaries
    return [s for k, s in enumerate(found) if k and behind(s, found[:k]) <= BORDER]


def _in_order(summaries: Sequence[OptimizerSummary]) -> list[OptimizerSummary]:
    """As `gn.OPTIMIZERS` has them, which says nothing of how good they are."""
    return sorted(summaries, key=lambda s: list(OPTIMIZERS).index(s.optimizer))


def _loss(comparison: Comparison) -> Finding | None:
    leaders, close = comparison.leaders, _close(comparison)
    if comparison.seeds < 2 or len(comparison.summaries) == 1:
        return None
    border = [s for s in close if s not in leaders]
    others = [s for s in comparison.summaries if s not in (*leaders, *close)]
    parts = []
    if leaders[1:]:
        parts.append(
            f"{_names(_in_order(leaders))} tie, from {leaders[0].best.loss.mean:.3g} to "
            f"{max(s.best.loss.mean for s in leaders):.3g}: the differences are within the spread "
            f"over the {comparison.seeds} seeds, so that their order in the table means nothing."
        )
    if border:
        parts.append(
            f"On the border, where other seeds or another processor may decide otherwise: "
            f"{_names(_in_order(border))}."
        )
    if others:
        losses = listed([f"{s.name} ({spread(s.best.loss)})" for s in others])
        parts.append(f"Worse by more than that: {losses}.")
    return Finding("The lowest loss", parts)


def _without_lr(comparison: Comparison) -> Finding | None:
    free = [s for s in comparison.summaries if s.best.lr is None]
    tuned = [s for s in comparison.summaries if s.best.lr is not None]
    if not free or not tuned:
        return None
    texts = []
    for s in free:
        gap = s.best.loss.mean - tuned[0].best.loss.mean
        if gap <= 0:
            how = "no tuned optimizer has a lower mean"
        else:
            what = "a tie" if s in comparison.leaders else "more than the seeds' spread"
            what = what if comparison.seeds > 1 else "of one seed only"
            how = f"{gap:.4f} above the lowest of those with a rate, which is {what}"
            how += f", after {s.runs} runs instead of the {tuned[0].runs} that found its rate"
        texts.append(f"{s.name} reaches {spread(s.best.loss)}: {how}.")
    return Finding("Without a learning rate to choose", texts)


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
            parts.append(f"{word}, {decades:.1f} decades: {listed([_range(s) for s in found])}.")
    if none:
        parts.append(f"No rate that was tried works for {_names(none)}.")
    return Finding("How much the learning rate matters", [*parts, rule])


def _speed(comparison: Comparison) -> Finding | None:
    aim = comparison.target
    epochs = _fastest(comparison, lambda s: s.best.epochs_to(aim))
    seconds = _fastest(comparison, lambda s: s.best.seconds_to(aim))
    if not epochs or not seconds:
        return Finding(f"How fast to {aim}", ["No optimizer gets there with every seed."])
    if len(comparison.summaries) == 1:
        text = f"{spread(epochs[1], '.1f')} epochs, {spread(seconds[1], '.2f')} seconds."
        return Finding(f"How fast to {aim}", [text])
    texts = []
    for found, form, unit in ((epochs, ".1f", "epochs"), (seconds, ".2f", "seconds")):
        first, stat, close = found
        names = _names(_in_order([first, *close])) if len(close) < 3 else f"{1 + len(close)} tie"
        texts.append(f"fewest {unit}: {names}, {spread(stat, form)}")
    slow = [s for s in comparison.summaries if s.best.epochs_to(aim) is None]
    never = [f"Not with every seed at its best rate: {_names(slow)}."] if slow else []
    text = f"At the learning rate with the lowest loss, {'; '.join(texts)}."
    return Finding(f"How fast to {aim}", [text, *never])


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
        return Finding("What diverged", ["No run did."])
    total = sum(len(s.diverged) for s in found)
    parts = []
    for s in found:
        lowest = min(r.run.lr or 0.0 for r in s.diverged)
        where = f", from {lowest:g} up" if lowest else ""
        every = len(s.diverged) == s.runs
        parts.append(f"{s.name} ({'all' if every else len(s.diverged)} of {s.runs}{where})")
    notes = [NOTES[s.optimizer] for s in found if s.optimizer in NOTES]
    text = f"{total} of {comparison.done} runs: {listed(parts)}. The list below says when."
    return Finding("What diverged", [text, *notes])


def _failures(comparison: Comparison) -> Finding | None:
    failed = [r for s in comparison.summaries for r in s.diverged if r.failed]
    if not failed:
        return None
    why = listed(sorted({r.failed for r in failed if r.failed}))
    text = f"{len(failed)} of {comparison.done} runs gave no numbers: {why}. They count as diverged"
    return Finding("What failed", [f"{text}, and the same command tries them again."])


def _edges(comparison: Comparison) -> Finding | None:
    edges = [s for s in comparison.summaries if s.edge]
    if not edges:
        return None
    places = listed([f"{s.name} (the {s.edge}, {s.best.lr:g})" for s in edges])
    return Finding(
        "At the edge of the grid",
        [
            f"The best learning rate is the end of what was tried for {places}: a better one may "
            "lie beyond. Widen it with --lr-grid NAME=LOW:HIGH."
        ],
    )


def _trust(comparison: Comparison, setup: Setup, valid_rows: int, blas: Sequence[str]) -> Finding:
    seeds = comparison.seeds
    found = sorted({r.run.seed for s in comparison.summaries for r in s.best.results})
    span = f"{found[0]} to {found[-1]}" if found[1:] else f"{found[0]}"
    parts = [
        f"{'Seed' if len(found) == 1 else 'Seeds'} {span}, {setup.epochs} epochs, one network and "
        f"one data set with {valid_rows} validation rows"
        + (f" (one row is {1 / valid_rows:.2%} accuracy)." if comparison.target.accuracy else "."),
        "Learning rate and epoch were chosen on those rows, so that the losses are a little too "
        "good, the more so the more rates were tried; the test rows chose nothing.",
    ]
    if blas:
        parts.append(
            f"Products by {listed(blas)}: another one rounds otherwise, which moves each loss "
            "a little, and the order among ties with it."
        )
    rising = [s for s in comparison.summaries if _unfinished(s)]
    if rising:
        parts.append(f"Still improving in the last epoch: {_names(rising)}; train longer to see.")
    if seeds < 10 and len(comparison.leaders) > 1:
        parts.append("More seeds tell more apart: --seeds 10 runs only those that are missing.")
    return Finding("How far to trust this", parts)


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


def _names(summaries: Sequence[OptimizerSummary]) -> str:
    return listed([summary.name for summary in summaries])
