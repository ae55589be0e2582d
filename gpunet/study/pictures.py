"""What every picture by matplotlib (the `plot` extra) shares; it loads when one is drawn."""

from __future__ import annotations

import importlib
import io
import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunet.colours import GREY
from gpunet.files import readable, write_atomically
from gpunet.study.processes import both
from gpunet.study.styles import DARK, LIGHT
from gpunet.study.words import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import ContourSet
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
FOR_ASIA = re.compile("CJK|Nanum|Malgun|Gothic|Baekmuk|UnDotum|Sans (KR|JP|SC|TC)|Hei|Droid Sans")
CANVASES = {"png": "agg"}  # matplotlib's names, where they are others
DPI = 150
BOXES = "Last Resort"  # a font that has a box for every letter
BANDS = "bands"  # the group in an SVG that holds the filled contours

# An SVG fits the window, and is dark where the reader's system is: matplotlib draws on white, in
# black, and leaves black out where it fills. Bands of light grey become dark ones.
FOLLOWING = f"""svg {{ max-width: 100%; height: auto }}
@media (prefers-color-scheme: dark) {{
svg {{ background: {DARK["paper"]}; fill: {DARK["ink"]} }}
[style*="fill: #ffffff"] {{ fill: {DARK["paper"]} !important }}
[style*="stroke: #ffffff"] {{ stroke: {DARK["paper"]} !important }}
[style*="stroke: #000000"] {{ stroke: {DARK["ink"]} !important }}
[id^="{BANDS}"] {{ filter: invert(0.85) hue-rotate(180deg) }}
}}
"""


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

    speak(figure)
    date = {"png": None, "svg": "Date", "pdf": "CreationDate"}[ending]
    buffer, before = io.BytesIO(), (figure.canvas, figure.dpi)
    module = importlib.import_module(f"matplotlib.backends.backend_{CANVASES.get(ending, ending)}")
    figure.dpi = dpi
    # `savefig` draws twice, the first time for the layout alone, which each drawing makes.
    write = getattr(module.FigureCanvas(figure), f"print_{ending}")
    try:
        with matplotlib.rc_context({"svg.hashsalt": "gpunet"}):
            write(buffer, metadata={date: None} if date else None)
    finally:
        figure.set_canvas(before[0])
        figure.dpi = before[1]
    drawn = buffer.getvalue()
    return (
        drawn.replace(b"</style>", f"\n{FOLLOWING}</style>".encode(), 1)
        if ending == "svg"
        else drawn
    )


def encode_both(draw: Callable[[], Figure], name: str) -> dict[str, bytes]:
    """NAME.png and NAME.svg of a figure, which is drawn for each: the same bytes each time."""
    figure = draw()  # loads matplotlib, for both
    svg, png = both(
        lambda: encode_figure(draw(), "svg"),
        lambda: encode_figure(figure, "png"),
    )
    return {f"{name}.png": png, f"{name}.svg": svg}


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
        entries = font_manager.fontManager.ttflist
        found = {e.name: e.fname for e in entries if not e.name.startswith(BOXES)}
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


def speak(figure: Figure) -> None:
    """Put every word of it into the language that is spoken, in a font that has its letters; what
    no installed font can write stays English.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        said = say(text.get_text())
        if said != text.get_text():
            fonts, missing = _fonts(said)
            if not missing:
                text.set(text=said, fontfamily=fonts)


def bare(axes: Axes) -> None:
    """Only the frame that carries numbers."""
    axes.spines[["top", "right"]].set_visible(False)


def by_ratios(axes: Axes) -> None:
    """A logarithmic axis with plain numbers: 0.1, 0.2, 0.5, 1, ..., as many as have room."""
    from matplotlib.ticker import NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(_ratios())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _ratios() -> Any:
    """1, 2, 5, 10 over two decades; 1, 3, 10 over four; then powers of ten, at most nine."""
    from matplotlib.ticker import Locator, LogLocator, MaxNLocator

    class Ratios(Locator):
        def tick_values(self, vmin: float, vmax: float) -> Any:
            low, high = sorted((max(vmin, 1e-300), max(vmax, 1e-300)))
            decades = math.log10(high / low)
            if decades < 0.5:
                return MaxNLocator(5).tick_values(low, high)
            subs = (1, 2, 5) if decades <= 2 else (1, 3) if decades <= 4 else (1,)
            return LogLocator(subs=subs, numticks=9).tick_values(low, high)

        def __call__(self) -> Any:
            assert self.axis is not None
            return self.tick_values(*self.axis.get_view_interval())

    return Ratios()


def pale() -> dict[str, Any]:
    """The line of what is there but not among the `SHOWN`, in matplotlib's words."""
    return {"color": GREY, "linewidth": 0.9, "alpha": 0.45, "zorder": 1}


def behind(lines: Iterable[str]) -> dict[str, Any]:
    """A legend's title that names the pale lines, for `Figure.legend`; none if there are none."""
    names = ", ".join(lines)
    return {"title": f"pale, behind: {names}", "title_fontsize": 9} if names else {}


def draw_bands(axes: Axes, x: Any, y: Any, values: Any, levels: Any) -> ContourSet:
    """Filled contours in light greys, lighter below, with thin lines: a ground for colours."""
    from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

    greys = LinearSegmentedColormap.from_list("heights", [LIGHT["low"], LIGHT["high"]])
    norm = BoundaryNorm(levels, greys.N)
    bands = axes.contourf(x, y, values, levels=levels, cmap=greys, norm=norm)
    bands.set_gid(BANDS)
    axes.contour(x, y, values, levels=levels, colors=GREY, linewidths=0.5, linestyles="-")
    return bands


def draw_scale(axes: Axes, bands: ContourSet, label: str) -> None:
    """What the bands' greys mean, beside the axes."""
    from matplotlib.ticker import MaxNLocator

    figure = axes.get_figure(root=True)
    assert figure is not None
    scale = figure.colorbar(
        bands, ax=axes, label=label, ticks=MaxNLocator(6), spacing="proportional"
    )
    for part in scale.ax.collections:
        part.set_gid(f"{BANDS}-scale")
