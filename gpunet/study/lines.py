"""How the lines of a picture look that stand for no optimizer: the first is the first colour's."""

from __future__ import annotations

from typing import Any

from gpunet.study.styles import DASHES, ON_LIGHT


def line(k: int, width: float = 1.6) -> dict[str, Any]:
    """The k-th line of a picture in matplotlib's words."""
    dash = DASHES[k // len(ON_LIGHT) % len(DASHES)]
    pattern = (0, tuple(n / width for n in dash)) if dash else "-"
    return {"color": ON_LIGHT[k % len(ON_LIGHT)], "linestyle": pattern, "linewidth": width}
