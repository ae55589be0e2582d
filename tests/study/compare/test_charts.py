"""The pictures: a line for every optimizer, the same bytes each time."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from gpunet.colours import GREY
from gpunet.optim import OPTIMIZERS
from gpunet.study.compare import charts
from gpunet.study.compare.comparison import Comparison, compare
from gpunet.study.compare.curves import ceiling, curve, rate_span, sensitivity
from gpunet.study.compare.runs import Result
from gpunet.study.styles import SHOWN

Make = Callable[..., Result]


@pytest.fixture
def comparison(make: Make) -> Comparison:
    results = [
        make(name, None if name == "cocob" else lr, seed, loss=0.4 + 0.1 * seed + lr)
        for name in OPTIMIZERS
        for lr in ((0.1,) if name == "cocob" else (0.1, 1.0))
        for seed in (0, 1)
    ]
    return compare(results, len(results))


def test_what_is_drawn(make: Make) -> None:
    found = compare([make(seed=0, loss=0.4), make(seed=1, loss=0.6)], 2)
    [summary] = found.summaries
    assert [(p.x, p.mean, p.low, p.high) for p in curve(summary, "valid_loss")] == [
        (0, 2, 2, 2),
        (1, 1.5, 1.5, 1.5),
        (2, 0.5, 0.4, 0.6),
    ]
    assert curve(summary, "valid_error")[2].mean == pytest.approx(0.1)
    assert [(p.x, p.mean) for p in sensitivity(summary)] == [(0.01, 0.5)]
    assert (ceiling(found), rate_span(found)) == (3.0, (0.01, 0.01))
    assert rate_span(compare([make("cocob", None)], 1)) == (1.0, 1.0)


def test_a_curve_ends_where_a_seed_is_not_finite(make: Make) -> None:
    [summary] = compare([make(seed=0), make(seed=1, train=(2.0, math.inf, 1.0))], 2).summaries
    assert [p.x for p in curve(summary, "train_loss")] == [0]


def test_pictures(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    found = charts.encode_comparison(comparison, "a $ title")
    assert list(found) == ["compare.png", "compare.svg"]
    assert found["compare.png"].startswith(b"\x89PNG")
    assert b"</svg>" in found["compare.svg"]
    assert charts.encode_comparison(comparison, "a $ title") == found


def test_both_charts_hold_every_optimizer(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    curves, _ = charts.draw_comparison(comparison, "title").axes
    names = {line.get_label().split(" (")[0] for line in curves.lines}
    assert names == {kind.__name__ for kind in OPTIMIZERS.values()}
    drawn = [line for line in curves.lines if line.get_color() != GREY]
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in drawn}
    assert len(looks) == len(drawn) == SHOWN


def test_at_most_eight_lines_stand_out_and_the_others_are_named(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    figure = charts.draw_comparison(comparison, "title")
    (legend,) = figure.legends
    shown = [text.get_text().split(" (")[0] for text in legend.get_texts()]
    assert shown == [summary.name for summary in comparison.summaries[:SHOWN]]
    others = ", ".join(summary.name for summary in comparison.summaries[SHOWN:])
    assert legend.get_title().get_text() == f"pale, behind: {others}"


def test_every_rate_has_its_mark(comparison: Comparison) -> None:
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    _, rates = charts.draw_comparison(comparison, "title").axes
    marks = [line for line in rates.lines if line.get_marker() == "o"]
    assert len(marks) == len(OPTIMIZERS) - 1
    assert len(rates.lines) == 2 * len(OPTIMIZERS) - 1
