"""How each optimizer is drawn, and the colours around the lines: the same in all of study."""

from __future__ import annotations

from typing import Any, NamedTuple

from gpunet.colours import COLOURS, GREY
from gpunet.optim import OPTIMIZERS

DASHES: tuple[tuple[int, ...], ...] = ((), (7, 4), (2, 3), (9, 3, 2, 3))
FIRST = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "cocob")  # their lines are solid
SECOND_ORDER = {"newton": "Newton", "lbfgs": "L-BFGS"}
GAMMA = 2.2
SHOWN = 8  # lines that a picture begins with; the others are pale, or come by a click

# What is not a line: words (ink, soft), what comes back (back), frames; the ground of contours.
LIGHT = {
    "paper": "#ffffff",
    "panel": "#f1f3f6",
    "ink": "#15181d",
    "soft": "#57606a",
    "line": "#c6ccd4",
    "accent": "#0b57d0",
    "back": "#b3261e",
    "warn": "#8a4b00",
    "low": "#fcfcfd",
    "high": "#b9c0ca",
}
DARK = {
    "paper": "#14171c",
    "panel": "#232831",
    "ink": "#eef0f3",
    "soft": "#a9b1bb",
    "line": "#3a414c",
    "accent": "#8ab4f8",
    "back": "#ff8a80",
    "warn": "#ffd08a",
    "low": "#191d23",
    "high": "#4a5361",
}


class Style(NamedTuple):
    """label: as the literature spells it. dash: lengths of line and gap in pixels, () for a solid
    line.
    """

    label: str
    colour: str
    dash: tuple[int, ...]

    def line(self, width: float = 1.6) -> dict[str, Any]:
        """The line in matplotlib's words; there a dash's unit is the width."""
        dashes = (0, tuple(n / width for n in self.dash)) if self.dash else "-"
        return {"color": self.colour, "linestyle": dashes, "linewidth": width}


def style(optimizer: str) -> Style:
    """The style of an optimizer by its name, or of a second-order method; others get SGD's."""
    order = [*FIRST, *(name for name in OPTIMIZERS if name not in FIRST), *SECOND_ORDER]
    place = order.index(optimizer) if optimizer in order else 0
    line, colour = divmod(place, len(COLOURS))
    known = OPTIMIZERS[optimizer].__name__ if optimizer in OPTIMIZERS else optimizer
    label = SECOND_ORDER.get(optimizer, known)
    return Style(label, COLOURS[colour], DASHES[line % len(DASHES)])


def ramp(count: int) -> list[str]:
    """`count` colours from blue over violet to red: what has an order, such as layers by depth."""
    ends = [_light(COLOURS[k]) for k in (0, 5, 4)]
    found = []
    for k in range(count):
        place = 2 * k / max(count - 1, 1)
        first = min(int(place), 1)
        share = place - first
        mixed = [a + share * (b - a) for a, b in zip(ends[first], ends[first + 1], strict=True)]
        found.append("#" + "".join(f"{round(255 * c ** (1 / GAMMA)):02x}" for c in mixed))
    return found


def _light(colour: str) -> list[float]:
    """Red, green and blue as light, which is what mixes without a dark middle."""
    return [(int(colour[k : k + 2], 16) / 255) ** GAMMA for k in (1, 3, 5)]


def variables(root: str = ":root") -> str:
    """LIGHT and DARK as variables of CSS: dark where the reader's system is."""
    light, dark = themes(root, root).splitlines()
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n"


def themes(light: str, dark: str) -> str:
    """A line for each ground: the variables of CSS for what a selector finds."""
    parts = ((light, "light", LIGHT), (dark, "dark", DARK))
    return "\n".join(
        f"{selector} {{ {' '.join(f'--{k}: {v};' for k, v in colours.items())} "
        f"--grey: {GREY}; color-scheme: {scheme}; }}"
        for selector, scheme, colours in parts
    )
