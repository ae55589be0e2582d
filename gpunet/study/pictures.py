"""Figures by matplotlib (the `plot` extra), which loads when one is drawn."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from gpunet.files import write_atomically
from gpunet.plot import can_plot

FORMATS = ("png", "svg", "pdf")


def new_figure(width: float, height: float) -> Any:
    """An empty figure, in inches; without matplotlib ImportError, saying what to do."""
    if not can_plot():
        raise ImportError("pictures need matplotlib: pip install 'gpunet[plot]'")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write it atomically, the same bytes each time; the name's ending says in which format.

    ValueError for an ending other than .png, .svg or .pdf.
    """
    import matplotlib

    ending = Path(path).suffix.lower().lstrip(".")
    if ending not in FORMATS:
        raise ValueError(f"{path}: the name must end in .{', .'.join(FORMATS)}")
    date = {"png": None, "svg": "Date", "pdf": "CreationDate"}[ending]
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "gpunet"}):
        figure.savefig(
            buffer, format=ending, dpi=150, metadata={date: None} if date is not None else None
        )
    write_atomically(path, buffer.getvalue())


def bare(axes: Any) -> None:
    """Only the frame that carries numbers."""
    axes.spines[["top", "right"]].set_visible(False)


def draw_bands(axes: Any, x: Any, y: Any, values: Any, levels: Any) -> Any:
    """Filled contours in light greys, lighter below, with thin lines: a ground for colours."""
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

    greys = LinearSegmentedColormap.from_list("heights", ["#fcfcfd", "#b9c0ca"])
    norm = BoundaryNorm(levels, greys.N)
    bands = axes.contourf(x, y, values, levels=levels, cmap=greys, norm=norm)
    axes.contour(x, y, values, levels=levels, colors="#8a93a0", linewidths=0.5, linestyles="-")
    return bands
