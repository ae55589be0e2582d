"""How the device behaves where a real one may behave in several ways: set by the environment.

GPUNET_SIM_ORDER        forward, reverse, random or random:SEED: of blocks, warps and threads
GPUNET_SIM_STREAMS      immediate, or deferred: work runs only when something waits for it;
                        null-first or null-last: but the null stream, or all others, at once
GPUNET_SIM_ARITHMETIC   numpy, or gpu: fused products and sums, small numbers flushed to zero,
                        an ulp of noise in exp, log and their like
"""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

ORDERS = ("forward", "reverse", "random")
STREAMS = ("immediate", "deferred", "null-first", "null-last")


class Modes(NamedTuple):
    order: str = "forward"
    seed: int = 0
    streams: str = "immediate"
    arithmetic: str = "numpy"


@functools.cache
def chosen() -> Modes:
    """What the environment asks for; ValueError for a word that is not known."""
    order, _, seed = os.environ.get("GPUNET_SIM_ORDER", "").partition(":")
    if seed and not seed.isdigit():
        raise ValueError(f"GPUNET_SIM_ORDER: the seed {seed!r} is not a number")
    return Modes(
        _word("GPUNET_SIM_ORDER", order, ORDERS),
        int(seed or 0),
        _word("GPUNET_SIM_STREAMS", _of("GPUNET_SIM_STREAMS"), STREAMS),
        _word("GPUNET_SIM_ARITHMETIC", _of("GPUNET_SIM_ARITHMETIC"), ("numpy", "gpu")),
    )


def _of(variable: str) -> str:
    return os.environ.get(variable, "")


def _word(variable: str, word: str, known: tuple[str, ...]) -> str:
    if word and word not in known:
        raise ValueError(f"{variable} is {word!r}; it can be {', '.join(known)}")
    return word or known[0]
