"""Timing many peers side by side: in each round all of them, one after the other.

What disturbs a machine for a while so disturbs all alike, and ratios are taken within a round.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.peers.base import Peer
from gpunet.bench.timing import quartiles, round_s, steps_in

Seconds = dict[str, list[float]]
# Until the last peer's threads sleep: OpenBLAS's look for work for 2^26 ticks of the processor's
# clock, about 30 ms, and would take a core from the next. And as long again until the next one's
# are awake, each on a core of its own.
PAUSE_S = 0.05


def interleaved(
    peers: Mapping[str, Peer],
    rounds: int,
    seconds: float,
    steps: int | None = None,
    pause: float = PAUSE_S,
) -> tuple[Seconds, dict[str, int]]:
    """(seconds a step in each round, steps a round) by peer; `steps` if given, else what fills
    `seconds`. Every other round goes through the peers backwards.
    """
    lengths = {name: steps or _length(peer, seconds, pause) for name, peer in peers.items()}
    found: Seconds = {name: [] for name in peers}
    for k in range(rounds):
        for name in list(peers)[:: -1 if k % 2 else 1]:
            _wake(peers[name], lengths[name], pause)
            found[name].append(round_s(peers[name].run, lengths[name], peers[name].wait))
    return found, lengths


def _length(peer: Peer, seconds: float, pause: float) -> int:
    """Steps that fill `seconds`, once the peer is awake."""
    time.sleep(pause)
    steps_in(peer.run, peer.wait, max(pause, seconds))
    return steps_in(peer.run, peer.wait, seconds)


def _wake(peer: Peer, steps: int, pause: float) -> None:
    time.sleep(pause)
    end = time.monotonic() + pause
    while time.monotonic() < end:
        peer.run(steps)  # not one by one: JAX's scan is compiled for this number
        peer.wait()


def summary(seconds: Seconds, name: str) -> dict[str, Any]:
    """Median and quartiles in microseconds, and by how much gpunet and PyTorch eager differ.

    times_gpunet: this peer's time by gpunet's, the median of the rounds' ratios; times_pytorch:
    by PyTorch eager's. None where that is not there.
    """
    own = seconds[name]
    low, median, high = (s * 1e6 for s in quartiles(own))
    return {
        "us_per_step": median,
        "quartiles_us": [low, high],
        "rounds": len(own),
        "times_gpunet": ratio(own, seconds.get("gpunet")),
        "times_pytorch": ratio(own, seconds.get("PyTorch eager")),
    }


def ratio(own: list[float], other: list[float] | None) -> float | None:
    if not other:
        return None
    return quartiles([a / b for a, b in zip(own, other, strict=True)])[1]
