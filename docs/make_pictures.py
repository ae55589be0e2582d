"""Draws docs/images/landscape-NAME.png, the picture on each optimizer's page.

    python docs/make_pictures.py [FOLDER]

gpunet's own optimizers walk, over the landscapes of `gpunet.study`, at the learning rates of
`gpunet.study.rates` unless the table below says otherwise. Left the anisotropic bowl, right a
landscape on which this optimizer shows what it is; grey is another optimizer for comparison.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.colours import GREY
from gpunet.optim import OPTIMIZERS
from gpunet.study.contours import heights, levels
from gpunet.study.landscapes import LANDSCAPES, Landscape
from gpunet.study.paths import Descent, descend
from gpunet.study.pictures import bare, draw_bands, encode_figure, new_figure
from gpunet.study.styles import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parent / "images"
GRID = (121, 97)


@dataclass(frozen=True)
class Picture:
    """right: the second landscape. beside: the grey path. settings: of the optimizer, there."""

    right: str = "beale"
    beside: str | None = "adam"
    settings: dict[str, Any] = field(default_factory=dict)


# What is not named here has the defaults.
PICTURES = {
    "sgd": Picture("sinc", beside=None),
    "momentum": Picture("wells", beside="sgd"),
    "nesterov": Picture("wells", beside="momentum"),
    "adagrad": Picture("plateau", beside="sgd", settings={"lr": 0.3}),
    "rmsprop": Picture(beside="adagrad"),
    "rprop": Picture("plateau", beside="sgd"),
    "adadelta": Picture(beside="rmsprop"),
    "adam": Picture(beside="sgd"),
    "cocob": Picture("abs10", beside="sgd"),
    "adamw": Picture(settings={"weight_decay": 0.3, "decay_all": True}),
    "lion": Picture("plateau", settings={"lr": 0.1}),
}


def picture(name: str) -> Picture:
    return PICTURES.get(name, Picture())


def walks(name: str, landscape: Landscape, settings: dict[str, Any]) -> list[Descent]:
    """The grey path, if there is one, then the optimizer's own."""
    beside = picture(name).beside
    others = [descend(landscape, beside)] if beside else []
    return [*others, descend(landscape, name, **settings)]


def draw(name: str) -> Figure:
    """The figure of one page."""
    page = picture(name)
    figure = new_figure(9, 3.7)
    left, right = figure.subplots(1, 2)
    bowl, other = LANDSCAPES["bowl"], LANDSCAPES[page.right]
    _over_contours(left, bowl, walks(name, bowl, {}), name)
    panel = _over_contours if other.dim == 2 else _over_steps
    panel(right, other, walks(name, other, page.settings), name)
    return figure


def _line(walk: Descent, name: str) -> dict[str, Any]:
    """As in every picture, or grey for comparison."""
    return style(name).line(1.5) if walk.optimizer == name else {"color": GREY, "linewidth": 1.0}


def _label(walk: Descent) -> str:
    rate = "no learning rate" if walk.lr is None else f"lr {walk.lr:g}"
    return f"{style(walk.optimizer).label}, {rate}"


def _over_contours(axes: Axes, landscape: Landscape, paths: list[Descent], name: str) -> None:
    grid = heights(landscape, *GRID)
    x, y = (np.linspace(*ends, n) for ends, n in zip(landscape.window, GRID, strict=True))
    draw_bands(axes, x, y, grid, levels(grid, 10))
    for walk in paths:
        line, own = _line(walk, name), walk.optimizer == name
        axes.plot(
            *walk.points[:: 1 if len(walk) < 100 else 2].T.round(4),
            **line,
            marker="o" if own and len(walk) < 100 else None,
            markersize=2.5,
            label=_label(walk),
        )
        axes.plot(*walk.points[-1], "o", color=line["color"], markersize=6, markeredgecolor="white")
    for point in landscape.minima:
        axes.plot(*point, "*", color="black", markersize=9, markeredgecolor="white")
    axes.set(xlim=landscape.window[0], ylim=landscape.window[1], title=landscape.formula)
    axes.title.set_fontsize(9)
    axes.legend(fontsize=8, loc="lower right")


def _over_steps(axes: Axes, landscape: Landscape, paths: list[Descent], name: str) -> None:
    for walk in paths:
        own = walk.optimizer == name
        axes.plot(
            walk.points[:, 0].round(4),
            **_line(walk, name),
            marker="o" if own else None,
            markersize=2.5,
            label=_label(walk),
        )
    low, high = landscape.window[0]
    for place, point in enumerate(landscape.minima):
        label = "minimum" if place == 0 else None
        axes.axhline(point[0], color=GREY, linewidth=0.8, dashes=(4, 3), label=label)
    points = np.concatenate([walk.points[:, 0] for walk in paths])
    axes.set(title=landscape.formula, xlabel="step", ylabel="x")
    axes.set_ylim(max(low, points.min() - 0.5), min(high, points.max() + 0.5))
    axes.title.set_fontsize(9)
    axes.legend(fontsize=8, loc="best")
    bare(axes)


def save(figure: Figure, path: Path) -> None:
    """A PNG in 128 colours: a third of the size."""
    from PIL import Image

    drawn = Image.open(io.BytesIO(encode_figure(figure, "png", dpi=110)))
    drawn.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in OPTIMIZERS:
        path = folder / f"landscape-{name}.png"
        save(draw(name), path)
        print(f"{path.name}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
