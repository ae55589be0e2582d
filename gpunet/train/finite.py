"""Whether arrays on a GPU are all finite: asked now, answered later, with no wait in between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpunet.backend import Array
from gpunet.kernel import Kernel
from gpunet.train.stream import pinned

FINITE = Kernel("nn/finite")


class Question:
    """One at a time.

    The answer is a flag that the kernels set, copied to the host behind them on the same stream.
    """

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self._bad = cupy.zeros(1, np.int32)
        self._host = pinned(cupy, (1,), np.dtype(np.int32))
        self._copied = cupy.cuda.Event(disable_timing=True)

    def ask(self, arrays: Iterable[Array]) -> None:
        """Of the arrays as they will be once the current stream has come here."""
        for array in arrays:
            FINITE.launch(self.cupy, x=array, bad=self._bad)
        self._bad.data.copy_to_host_async(self._host.ctypes.data, self._host.nbytes)
        self._copied.record()

    def answer(self) -> bool:
        """True if all were finite. Waits where the GPU has not come there yet."""
        if not self._copied.done:
            self._copied.synchronize()
        fine = not self._host[0]
        if not fine:
            self._bad.fill(0)
        return fine
