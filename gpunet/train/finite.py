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
    """One at a time, of one model or of each of several.

    The answer is a flag that the kernels set, copied to the host behind them on the same stream.
    """

    def __init__(self, cupy: Any, models: int = 1) -> None:
        self.cupy, self.models = cupy, models
        self._bad = cupy.zeros(models, np.int32)
        self._host = pinned(cupy, (models,), np.dtype(np.int32))
        self._copied = cupy.cuda.Event(disable_timing=True)

    def ask(self, arrays: Iterable[Array]) -> None:
        """Of the arrays as they will be once the current stream has come here; of several models
        each has a row for each of them.
        """
        for array in arrays:
            size = max(array.size // self.models, 1)
            FINITE.launch(self.cupy, x=array, size=size, bad=self._bad)
        self._bad.data.copy_to_host_async(self._host.ctypes.data, self._host.nbytes)
        self._copied.record()

    def answer(self) -> Array:
        """bool (models,) on the host: True where all were finite. Waits where the GPU has not come
        there yet.
        """
        if not self._copied.done:
            self._copied.synchronize()
        fine = self._host == 0
        if not fine.all():
            self._bad.fill(0)
        return fine
