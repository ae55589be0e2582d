"""What every picture by matplotlib (the `plot` extra) shares; it loads when one is drawn."""

from __future__ import annotations

import importlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunet.files import write_atomically
from gpunet.study.styles import GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import ContourSet
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
DPI = 150


def can_plot() -> bool:
    """True if matplotlib is there and works: one built for another NumPy may not import."""
    try:
        importlib.import_module("matplotlib.figure")
    except Exception:
        return False
    return True


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; without matplotlib ImportError, saying what to do."""
    if not can_plot():
        raise ImportError("pictures need matplotlib: pip install 'gpunet[plot]'")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write it atomically; the name's ending says in which format.

    ValueError for an ending other than .png, .svg or .pdf.
    """
    ending = Path(path).suffix.lower().lstrip(".")
    if ending not in FORMATS:
        raise ValueError(f"{path}: the name must end in .{', .'.join(FORMATS)}")
    write_atomically(path, encode_figure(figure, ending))


def encode_figure(figure: Figure, ending: str, dpi: int = DPI) -> bytes:
    """The content of a file of this format, the same bytes each time."""
    import matplotlib

    date = {"png": None, "svg": "Date", "pdf": "CreationDate"}[ending]
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "gpunet"}):
        figure.savefig(buffer, format=ending, dpi=dpi, metadata={date: None} if date else None)
    return buffer.getvalue()


def bare(axes: Axes) -> None:
    """Only the frame that carries numbers."""
    axes.spines[["top", "right"]].set_visible(False)


def by_ratios(axes: Axes) -> None:
    """A logarithmic axis with plain numbers: 0.1, 0.2, 0.5, 1, ..."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def draw_bands(axes: Axes, x: Any, y: Any, values: Any, levels: Any) -> ContourSet:
    """Filled contours in light greys, lighter below, with thin lines: a ground for colours."""
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

    greys = LinearSegmentedColormap.from_list("heights", ["#fcfcfd", "#b9c0ca"])
    norm = BoundaryNorm(levels, greys.N)
    bands = axes.contourf(x, y, values, levels=levels, cmap=greys, norm=norm)
    axes.contour(x, y, values, levels=levels, colors=GREY, linewidths=0.5, linestyles="-")
    return bands
