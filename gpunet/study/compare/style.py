"""How each optimizer is drawn, the same in every picture: a colour and a dash.

Six colours that stay apart, also for readers with any of the three common kinds of colour
blindness (CIE76 difference of 40 or more between any two), each with four dashes.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpunet.optim import OPTIMIZERS

ON_LIGHT = ("#2e00e6", "#e65c00", "#169c81", "#ce63e9", "#660000", "#4a0d59")
ON_DARK = ("#944dff", "#b3571a", "#1affa3", "#ffb3ff", "#b8e600", "#2d8674")
DASHES: tuple[tuple[int, ...], ...] = ((), (7, 4), (2, 3), (9, 3, 2, 3))


@dataclass(frozen=True)
class Style:
    """light, dark: the colour on a light and on a dark ground; dash: lengths in pixels."""

    light: str
    dark: str
    dash: tuple[int, ...]


def style(optimizer: str) -> Style:
    """By its place among all optimizers, so that it looks the same in every comparison."""
    line, colour = divmod(list(OPTIMIZERS).index(optimizer), len(ON_LIGHT))
    return Style(ON_LIGHT[colour], ON_DARK[colour], DASHES[line % len(DASHES)])
