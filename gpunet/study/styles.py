"""The colours of all pictures, and how each optimizer is drawn: the same everywhere.

Six colours that stay apart, also for readers with any of the three common kinds of colour
blindness (CIE76 difference of 35 or more between any two), each with four dashes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gpunet.optim import OPTIMIZERS

ON_LIGHT = ("#2e00e6", "#e65c00", "#169c81", "#ce63e9", "#660000", "#4a0d59")
ON_DARK = ("#944dff", "#b3571a", "#1affa3", "#ffb3ff", "#b8e600", "#2d8674")
DASHES: tuple[tuple[int, ...], ...] = ((), (7, 4), (2, 3), (9, 3, 2, 3))
FIRST = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "cocob")  # their lines are solid
TEXT, GRADIENT, GREY = "#1b2733", "#b3261e", "#8a93a0"  # words; what comes back; lines behind


class Style(NamedTuple):
    """label: as the literature spells it. light, dark: the colour on a light and on a dark ground.
    dash: lengths of line and gap in pixels, () for a solid line.
    """

    label: str
    light: str
    dark: str
    dash: tuple[int, ...]

    def line(self, width: float = 1.6) -> dict[str, Any]:
        """The line in matplotlib's words, on a light ground; there a dash's unit is the width."""
        dashes = (0, tuple(n / width for n in self.dash)) if self.dash else "-"
        return {"color": self.light, "linestyle": dashes, "linewidth": width}


def style(optimizer: str) -> Style:
    """The style of an optimizer by its name; those outside `gn.OPTIMIZERS` get SGD's."""
    order = [*FIRST, *(name for name in OPTIMIZERS if name not in FIRST)]
    place = order.index(optimizer) if optimizer in order else 0
    line, colour = divmod(place, len(ON_LIGHT))
    label = OPTIMIZERS[optimizer].__name__ if optimizer in OPTIMIZERS else optimizer
    return Style(label, ON_LIGHT[colour], ON_DARK[colour], DASHES[line % len(DASHES)])
