"""How each optimizer looks in every picture: always the same colour and line.

Colours are those of Okabe & Ito (2008), told apart with any colour vision; yellow is left out, for
it vanishes on white. Seven of them, then again dashed, then dotted.
"""

from __future__ import annotations

from typing import NamedTuple

from gpunet.optim import OPTIMIZERS

INK = "ink"  # black on white, white on black
COLOURS = (INK, "#d55e00", "#009e73", "#cc79a7", "#0072b2", "#e69f00", "#56b4e9")
DASHES: tuple[tuple[float, ...], ...] = ((), (6, 3), (1.5, 2.5))
FIRST = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "nesterov", "cocob")


class Style(NamedTuple):
    """label: as the literature spells it. dash: lengths of line and gap, () for a solid line."""

    label: str
    colour: str
    dash: tuple[float, ...]


def style(optimizer: str) -> Style:
    """The style of an optimizer by its name; those outside `gn.OPTIMIZERS` get SGD's."""
    order = [*FIRST, *(name for name in OPTIMIZERS if name not in FIRST)]
    place = order.index(optimizer) if optimizer in order else 0
    label = OPTIMIZERS[optimizer].__name__ if optimizer in OPTIMIZERS else optimizer
    return Style(label, COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)])
