"""The pictures of benchmarks/results/, drawn from its JSON and from nothing else.

python -m benchmarks.charts      writes peers-cpu.svg, peers-cuda.svg and growth.svg beside it

Needs matplotlib (the `plot` extra). The same records give the same bytes.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import RESULTS, Record, newest, taken_on
from gpunet.colours import COLOURS, GREY
from gpunet.study.pictures import bare, new_figure, save_figure

INK, SOFT = "black", GREY
GRID = {"color": GREY, "alpha": 0.3}
# A library's variants share its colour.
LIBRARIES = ("PyTorch", "gpunet", "JAX", "scikit-learn", "NumPy")
PEERS = dict(zip(LIBRARIES, COLOURS, strict=False))
MARKERS = {
    "plain tape": "D",
    "captured": "s",
    "fused": "s",
    "compile": "^",
    "reduce": "v",
    "graph": "P",
    "scan": "s",
}
PLACES = {"cpu": ("CPU", COLOURS[0]), "cuda": ("GPU", COLOURS[1])}
TITLES = {
    "batch": "Rows in the batch",
    "width": "Width of the hidden layers",
    "depth": "Number of layers",
    "parameters": "Parameters updated",
    "tensors": "Tensors updated",
}


# Peers


def peers_figure(one: Record) -> Any:
    """A line for each workload: every peer's time as a multiple of gpunet's."""
    workloads = {n: w for n, w in one["workloads"].items() if "gpunet" in w["peers"]}
    figure = new_figure(9.0, 1.9 + 0.5 * len(workloads))
    axes = figure.subplots()
    shown: dict[str, Any] = {}
    for row, found in enumerate(workloads.values()):
        for name, figures in found["peers"].items():
            low, high = (us / figures["us_per_step"] for us in figures["quartiles_us"])
            times = 1.0 if name == "gpunet" else figures["times_gpunet"]
            colour = colour_of(name)
            axes.plot([times * low, times * high], [row, row], color=colour, lw=2, alpha=0.35)
            (shown[name],) = axes.plot(
                times, row, marker_of(name), color=colour, ms=7, mec="white", mew=0.7
            )
    axes.set_yticks(range(len(workloads)), [_label(n, w) for n, w in workloads.items()])
    axes.set_ylim(len(workloads) - 0.4, -0.6)
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis, axes.get_xlim())
    axes.axvline(1, color=PEERS["gpunet"], lw=1, zorder=0)
    axes.grid(axis="y", **GRID, lw=1)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)
    axes.set_xlabel("time of a step, as a multiple of gpunet's (left of the line: faster)")
    bare(axes)
    axes.spines["left"].set_visible(False)
    order = sorted(shown, key=lambda n: LIBRARIES.index(library(n)))
    figure.legend(
        [shown[n] for n in order],
        order,
        loc="outside lower center",
        ncols=min(len(order), 5),
        frameon=False,
        fontsize=8.5,
    )
    figure.suptitle(taken_on(one), fontsize=9, color=SOFT, x=0.02, ha="left")
    return figure


def _label(name: str, workload: Mapping[str, Any]) -> str:
    return f"{name}   {_time(workload['peers']['gpunet']['us_per_step'])}"


def _time(us: float) -> str:
    """ "340 us", "2.1 ms"."""
    return f"{us:.3g} us" if us < 1000 else f"{us / 1000:.3g} ms"


def library(name: str) -> str:
    return next((key for key in LIBRARIES if name.startswith(key)), "NumPy")


def colour_of(name: str) -> str:
    return PEERS[library(name)]


def marker_of(name: str) -> str:
    return next((marker for word, marker in MARKERS.items() if word in name), "o")


def _plain_numbers(axis: Any, limits: tuple[float, float]) -> None:
    """1, 2, 5, 10 or, on a long axis, 1, 10, 100: no powers, nothing between."""
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = (math.log10(x) for x in limits)
    steps = (1, 2, 5) if high - low < 2 else (1,)
    decades = range(math.floor(low), math.ceil(high) + 1)
    ticks = [s * 10.0**d for d in decades for s in steps]
    axis.set_major_locator(FixedLocator([t for t in ticks if limits[0] <= t <= limits[1]]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}")
    axis.axes.set(**{f"{axis.axis_name}lim": limits})


# Growth


def growth_figure(found: Mapping[str, Record]) -> Any:
    """A panel for each series, a line for each place and mode; where the GPU overtakes, a mark."""
    figure = new_figure(10.5, 6.4)
    grid = figure.subplots(2, 3).reshape(-1)
    lines: dict[str, Any] = {}
    what = next(iter(found.values()))["what"]
    for axes, series in zip(grid, TITLES, strict=False):
        drawn = {}
        for place, one in found.items():
            for mode in dict.fromkeys(p["mode"] for p in one["points"]):
                points = [p for p in one["points"] if (p["series"], p["mode"]) == (series, mode)]
                if points:
                    label, line = _curve(axes, points, place, mode)
                    lines[label] = line
                    drawn[place] = {p["n"]: p["us_per_step"] for p in points}  # the last mode
        _panel(axes, TITLES[series], what[series])
        if len(drawn) == 2:
            _mark_crossing(axes, crossing(drawn["cpu"], drawn["cuda"]))
    note = grid[-1]
    note.set_axis_off()
    note.text(0, 0.95, "\n\n".join(_note(found)), va="top", fontsize=8.5, color=INK, wrap=True)
    note.legend(lines.values(), lines, loc="lower left", frameon=False)
    figure.supylabel("microseconds a step", fontsize=10, color=INK)
    return figure


def _curve(axes: Any, points: Sequence[Record], place: str, mode: str) -> tuple[str, Any]:
    name, colour = PLACES[place]
    n = [p["n"] for p in points]
    dashed = "--" if place == "cuda" and mode == "eager" else "-"
    (line,) = axes.plot(
        n, [p["us_per_step"] for p in points], dashed, color=colour, marker="o", ms=3.5, lw=1.5
    )
    low, high = zip(*(p["quartiles_us"] for p in points), strict=True)
    axes.fill_between(n, low, high, color=colour, alpha=0.15, lw=0)
    return (name if place == "cpu" else f"{name}, {mode}"), line


def _panel(axes: Any, title: str, what: str) -> None:
    axes.set_xscale("log", base=10 if title.startswith("Parameters") else 2)
    axes.set_yscale("log")
    if not title.startswith("Parameters"):
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    low, high = axes.get_ylim()
    if high < 10 * low:  # a flat line must look flat
        middle = math.sqrt(low * high)
        axes.set_ylim(middle / 10, middle * 10)
    _plain_numbers(axes.yaxis, axes.get_ylim())
    axes.set_title(f"{title}\n", fontsize=10.5, color=INK, loc="left")
    axes.text(0, 1.02, what, transform=axes.transAxes, fontsize=8.5, color=SOFT)
    axes.grid(**GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8.5, length=3, which="major")
    axes.tick_params(length=0, which="minor")
    bare(axes)


def _note(found: Mapping[str, Record]) -> list[str]:
    note = [
        f"{PLACES[place][0]}: {taken_on(one)}".replace("; ", "\n") for place, one in found.items()
    ]
    if "cuda" not in found:
        note.append(
            "Not yet measured on a GPU. Where it starts\nto beat the CPU is drawn once it is."
        )
    return note


def crossing(cpu: Mapping[int, float], gpu: Mapping[int, float]) -> float | None:
    """From which n on the GPU is faster to the end, between two points on a line in logarithms;
    the first n if it always is, None if it is not at the end.
    """
    shared = sorted(cpu.keys() & gpu.keys())
    gains = [math.log(cpu[n] / gpu[n]) for n in shared]
    if not shared or gains[-1] <= 0:
        return None
    last = max((k for k, gain in enumerate(gains) if gain <= 0), default=None)
    if last is None:
        return shared[0]
    part = gains[last] / (gains[last] - gains[last + 1])
    return math.exp((1 - part) * math.log(shared[last]) + part * math.log(shared[last + 1]))


def _mark_crossing(axes: Any, n: float | None) -> None:
    if n is None:
        return
    axes.axvline(n, color=SOFT, lw=1, ls=":")
    axes.text(n, 0.03, f" GPU from {n:,.0f}", transform=axes.get_xaxis_transform(), fontsize=8)


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.charts")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    folder = parser.parse_args(arguments).results
    for place, one in newest(folder / "peers", lambda one: one["workloads"]).items():
        save_figure(peers_figure(one), folder / f"peers-{place}.svg")
    if found := newest(folder / "growth", lambda one: one["points"]):
        save_figure(growth_figure(found), folder / "growth.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
