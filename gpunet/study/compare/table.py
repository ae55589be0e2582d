"""The comparison as a table: plain text for the terminal, CSV for everything else."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from gpunet.study.columns import UNBOUNDED, folded
from gpunet.study.compare.comparison import Comparison, OptimizerSummary, Stat
from gpunet.study.words import say

TableRow = dict[str, Any]


def spread(stat: Stat | None, form: str = ".4f") -> str:
    """ "0.0931 ±0.0042"; without the spread where there is only one seed, "-" for nothing."""
    if stat is None or math.isnan(stat.mean):
        return "-"
    if math.isinf(stat.mean):
        return say("not finite")
    return f"{stat.mean:{form}}" + ("" if math.isnan(stat.sd) else f" ±{stat.sd:{form}}")


def workable(summary: OptimizerSummary) -> str:
    """ "0.001 to 0.1 (2.0 decades)", with ≤ and ≥ where it may go on beyond what was tried."""
    found = summary.workable
    if found is None:
        return say("none needed" if summary.best.lr is None else "none")
    if len(summary.cells) == 1:
        return say(f"{found.low:g}, the only one tried")
    low, high = "≤" * found.open_low, "≥" * found.open_high
    at_least = "≥" if found.open_low or found.open_high else ""
    return say(
        f"{low}{found.low:g} to {high}{found.high:g} ({at_least}{found.decades:.1f} decades)"
    )


def rate(lr: float | None) -> str:
    return "-" if lr is None else f"{lr:g}"


def standing(summary: OptimizerSummary, comparison: Comparison) -> str:
    """ "best" for the one with the lowest loss, "tie" for each of several, else ""."""
    if summary not in comparison.leaders:
        return ""
    return say("tie" if comparison.leaders[1:] else "best")


def text(comparison: Comparison, width: int = UNBOUNDED) -> str:
    """One line an optimizer, in blocks of columns that fit `width`; the best or the ties marked."""
    aim = comparison.target
    head = ["", "optimizer", "best lr", "valid loss"]
    head += ["accuracy", "test acc."] if aim.accuracy else ["test loss"]
    head += [f"epochs to {aim}", "seconds", "learning rates that work", "diverged"]
    rows = [[say(word) for word in head], *(_cells(s, comparison) for s in comparison.summaries)]
    return "\n".join(folded(rows, 2, width))


def _cells(summary: OptimizerSummary, comparison: Comparison) -> list[str]:
    best, aim = summary.best, comparison.target
    lr = rate(best.lr) + (f" ({say('edge')})" if summary.edge else "")
    cells = [standing(summary, comparison), summary.name, lr, spread(best.loss)]
    if aim.accuracy:
        cells += [spread(best.accuracy), spread(best.test)]
    else:
        cells += [spread(best.test)]
    cells += [spread(best.epochs_to(aim), ".1f"), spread(best.seconds_to(aim), ".2f")]
    return [*cells, workable(summary), say(f"{len(summary.diverged)} of {summary.runs}")]


def rows(comparison: Comparison) -> list[TableRow]:
    """One row an optimizer, numbers in full; None where there is none."""
    return [_row(summary, comparison) for summary in comparison.summaries]


def _row(summary: OptimizerSummary, comparison: Comparison) -> TableRow:
    best, aim, found = summary.best, comparison.target, summary.workable
    test = "test_accuracy" if aim.accuracy else "test_loss"
    return {
        "optimizer": summary.name,
        "leads": summary in comparison.leaders,
        "best_lr": best.lr,
        "edge": summary.edge,
        "seeds": len(best.results),
        **_pair("valid_loss", best.loss),
        **(_pair("valid_accuracy", best.accuracy) if aim.accuracy else {}),
        **_pair(test, best.test),
        "target": aim.value,
        **_pair("epochs_to_target", best.epochs_to(aim)),
        **_pair("seconds_to_target", best.seconds_to(aim)),
        "workable_low": found.low if found else None,
        "workable_high": found.high if found else None,
        "workable_decades": found.decades if found else None,
        "workable_open": bool(found and (found.open_low or found.open_high)),
        "diverged_runs": len(summary.diverged),
        "runs": summary.runs,
    }


def _pair(name: str, stat: Stat | None) -> TableRow:
    mean, sd = (stat.mean, stat.sd) if stat else (None, None)
    return {name: _known(mean), f"{name}_sd": _known(sd)}


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def run_rows(comparison: Comparison) -> list[TableRow]:
    """One row a run."""
    cells = [(summary, cell) for summary in comparison.summaries for cell in summary.cells]
    return [
        {
            "optimizer": summary.name,
            "lr": cell.lr,
            "seed": result.run.seed,
            "best_epoch": result.best_epoch,
            "valid_loss": _known(result.loss),
            "valid_accuracy": result.accuracy,
            "test_loss": result.test_loss,
            "test_accuracy": result.test_accuracy,
            "seconds": result.seconds[-1],
            "diverged": result.diverged,
            "failed": result.failed,
        }
        for summary, cell in cells
        for result in cell.results
    ]


def to_csv(found: Sequence[TableRow]) -> bytes:
    """With a header line; nothing in a field means that there is no such number."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue().encode()
