"""The comparison as one HTML file that needs nothing else: no network, no server."""

from __future__ import annotations

import importlib.resources
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gpunet as gn
from gpunet.study.compare.comparison import Comparison, OptimizerSummary, Stat
from gpunet.study.compare.curves import (
    Point,
    ceiling,
    curve,
    measures,
    rate_span,
    sensitivity,
)
from gpunet.study.compare.grid import Setup
from gpunet.study.compare.runs import Result
from gpunet.study.compare.table import rate, spread, standing, workable
from gpunet.study.compare.verdict import Verdict
from gpunet.study.styles import SHOWN, style, variables
from gpunet.study.words import language, of_script, say, template

NONE_NEEDED = 1e9  # decades to sort by: a learning rate that is not there cannot be wrong


@dataclass(frozen=True)
class About:
    """What was compared, in words: the data set's name, its rows, the network's layer sizes."""

    data: str
    train_rows: int
    valid_rows: int
    sizes: Sequence[int]
    setup: Setup

    @property
    def title(self) -> str:
        return say(f"Which optimizer for {self.data}?")

    @property
    def text(self) -> str:
        setup = self.setup
        return say(
            f"MLP {'-'.join(map(str, self.sizes))}, {setup.epochs} epochs of batches of "
            f"{setup.batch_size} on {self.train_rows} rows, validated on {self.valid_rows}, on "
            f"{setup.device}. Every optimizer starts from the same weights and sees the same "
            "batches."
        )


def render(comparison: Comparison, verdict: Verdict, about: About) -> str:
    """The report's HTML. Everything from outside (names of files, layers) is escaped."""
    parts = {
        "title": escape(about.title),
        "about": escape(about.text),
        "partial": _partial(comparison),
        "headline": escape(verdict.headline),
        "findings": "\n".join(
            f"<dt>{escape(f.title)}</dt><dd>{escape(f.text)}</dd>" for f in verdict.findings
        ),
        "table": _table(comparison),
        "divergences": _divergences(comparison),
        "target": escape(say(str(comparison.target))),
        "language": language(),
        "version": escape(gn.__version__),
        "data": _embedded(_data(comparison, about)),
        "css": variables() + _file("report.css"),
        "js": _file("report.js"),
    }
    # One pass, so that nothing that was put in is looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template(_file("report.html")))


def _file(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")


def _embedded(value: Any) -> str:
    """JSON that cannot end the <script> element it stands in."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _data(comparison: Comparison, about: About) -> dict[str, Any]:
    """What the charts draw."""
    return {
        "measures": {name: say(words) for name, words in measures(comparison).items()},
        "words": of_script(_file("report.js")),
        "ceiling": _number(ceiling(comparison)),
        "epochs": about.setup.epochs,
        "smallest_error": 0.5 / about.valid_rows,
        "span": rate_span(comparison),
        "optimizers": [_optimizer(summary, comparison) for summary in comparison.summaries],
    }


def _optimizer(summary: OptimizerSummary, comparison: Comparison) -> dict[str, Any]:
    look = style(summary.optimizer)
    rates = [
        {**_point(point), "seeds": len(cell.results), "diverged": len(cell.diverged)}
        for point, cell in zip(sensitivity(summary), summary.cells, strict=True)
    ]
    return {
        "name": summary.name,
        "leads": summary in comparison.leaders,
        "lr": summary.best.lr,
        "colour": look.colour,
        "shown": summary in comparison.summaries[:SHOWN],
        "dash": " ".join(map(str, look.dash)),
        "curves": {m: [_point(p) for p in curve(summary, m)] for m in measures(comparison)},
        "rates": rates,
    }


def _point(point: Point) -> dict[str, float | None]:
    return {
        "x": _number(point.x),
        "y": _number(point.mean),
        "low": _number(point.low),
        "high": _number(point.high),
    }


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _partial(comparison: Comparison) -> str:
    if comparison.done == comparison.planned:
        return ""
    return (
        '<p class="partial" role="note">'
        + say(
            f"Partial: {comparison.done} of {comparison.planned} runs are done. The same command "
            "continues with the others."
        )
        + "</p>"
    )


def _table(comparison: Comparison) -> str:
    """Each cell with the number to sort by; without one it sorts last."""
    aim = comparison.target
    head = ["optimizer", "best learning rate", "validation loss"]
    head += ["accuracy", "test accuracy"] if aim.accuracy else ["test loss"]
    head += [f"epochs to {aim}", f"seconds to {aim}", "learning rates that work", "diverged runs"]
    head = [say(name) for name in head]
    columns = "".join(
        f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in head
    )
    rows = "\n".join(_row(summary, comparison, head) for summary in comparison.summaries)
    return f"<thead><tr>{columns}</tr></thead>\n<tbody>\n{rows}\n</tbody>"


def _row(summary: OptimizerSummary, comparison: Comparison, head: Sequence[str]) -> str:
    best, aim = summary.best, comparison.target
    word = standing(summary, comparison)
    mark = f' <span class="leads">{word}</span>' if word else ""
    edge = f" ({say(f'{summary.edge} tried')})" if summary.edge else ""
    accuracy = [_stat(best.accuracy)] if aim.accuracy else []
    share = len(summary.diverged) / summary.runs
    width = summary.workable.decades if summary.workable else None
    cells = [
        _cell(escape(rate(best.lr) + edge), best.lr),
        _stat(best.loss),
        *accuracy,
        _stat(best.test),
        _stat(best.epochs_to(aim), ".1f"),
        _stat(best.seconds_to(aim), ".2f"),
        _cell(escape(workable(summary)), NONE_NEEDED if best.lr is None else width),
        _cell(say(f"{len(summary.diverged)} of {summary.runs}"), share),
    ]
    named = zip(cells, head[1:], strict=True)
    row = "".join(f'<td data-head="{escape(name)}"{cell}</td>' for cell, name in named)
    return f'<tr><th scope="row">{escape(summary.name)}{mark}</th>{row}</tr>'


def _stat(stat: Stat | None, form: str = ".4f") -> str:
    return _cell(escape(spread(stat, form)), stat.mean if stat else None)


def _cell(html: str, value: float | None) -> str:
    """What follows the cell's head: the number to sort by, and the words."""
    known = "" if value is None or math.isnan(value) else f' data-value="{value:.9g}"'
    return f"{known}>{html}"


def _divergence(summary: OptimizerSummary, result: Result) -> str:
    lr, seed = rate(result.run.lr), result.run.seed
    return f"{summary.name}, learning rate {lr}, seed {seed}: {result.diverged or ''}"


def _divergences(comparison: Comparison) -> str:
    """Which runs, and when."""
    lines = [
        f"<li>{escape(say(_divergence(summary, result)))}</li>"
        for summary in comparison.summaries
        for result in summary.diverged
    ]
    if not lines:
        return f"<p>{say('No run diverged.')}</p>"
    return (
        f"<details><summary>{say(f'The {len(lines)} runs that diverged, and when')}</summary>"
        f"<ul>{''.join(lines)}</ul></details>"
    )
