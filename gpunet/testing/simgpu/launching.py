"""Put a kernel on a stream. A replay makes sure first that the kernel's memory is still there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import work
from .segments import check_range


def launch(
    name: str,
    run: Callable[[], None],
    views: Sequence[Any],
    on: work.Stream | None = None,
) -> None:
    """Do `run`, which uses the memory of `views`, as one kernel, by default on the current stream.

    A replay raises cudaErrorIllegalAddress where that memory has gone back to the driver. The graph
    must not keep arrays alive, so `run` may hold views but no array.
    """
    state = work.state_of(on)
    if not work.is_capturing(state):
        work.submit(state, "kernel", name, run)
        return
    ranges = [_address_range(view) for view in views if isinstance(view, np.ndarray)]

    def replay() -> None:
        for address, size in ranges:
            check_range(address, size)
        run()

    work.submit(state, "kernel", name, replay)


def _address_range(view: np.ndarray) -> tuple[int, int]:
    """The first byte that the view covers, and how many bytes from there to its last."""
    if view.size == 0:
        return 0, 0
    low, high = np.lib.array_utils.byte_bounds(view)
    return low, high - low
