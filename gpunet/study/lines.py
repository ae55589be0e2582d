"""How the lines of a picture look that stand for no optimizer: the first is the first colour's."""

from __future__ import annotations

from typing import Any

from gpunet.colours import COLOURS
from gpunet.study.styles import DASHES


def line(k: int, width: float = 1.6) -> dict[str, Any]:
    """The k-th line of a picture in matplotlib's words."""
    dash = DASHES[k // len(COLOURS) % len(DASHES)]
    pattern = (0, tuple(n / width for n in dash)) if dash else "-"
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": pattern, "linewidth": width}
