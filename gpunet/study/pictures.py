"""What every picture by matplotlib (the `plot` extra) shares; it loads when one is drawn."""

from __future__ import annotations

import importlib
import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunet.files import readable, write_atomically
from gpunet.study.styles import GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import ContourSet
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
FOR_ASIA = re.compile("CJK|Nanum|Malgun|Gothic|Baekmuk|UnDotum|Sans (KR|JP|SC|TC)|Hei|Droid Sans")
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


def entitle(figure: Figure, words: str) -> None:
    """A title of any words, none of which is a formula: a name of a file may hold a $.

    What the usual font lacks is drawn in another that is installed, Korean for instance; what none
    has is a box.
    """
    fonts, missing = _fonts(readable(words))
    shown = "".join("□" if c in missing else c for c in readable(words))
    figure.suptitle(shown.replace("$", r"\$"), fontfamily=fonts)


def _fonts(words: str) -> tuple[list[str], set[str]]:
    """Fonts that have the characters together, the usual one first; characters that none has."""
    from matplotlib import font_manager, rcParams

    fonts, missing = list(rcParams["font.family"]), set(words)
    missing -= _has(font_manager.findfont(font_manager.FontProperties()), missing)
    if missing:
        found = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist}
        for name in sorted(found, key=lambda name: (not FOR_ASIA.search(name), name)):
            if missing and (more := _has(found[name], missing)):
                fonts.append(name)
                missing -= more
    return fonts, missing


def _has(font: str, characters: Iterable[str]) -> set[str]:
    from matplotlib.font_manager import get_font

    try:
        file = get_font(font)
    except (OSError, RuntimeError):  # removed since the list was made, or damaged
        return set()
    return {c for c in characters if file.get_char_index(ord(c))}


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
