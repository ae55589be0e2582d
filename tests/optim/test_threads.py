"""Many threads train at once: kernels are shared, everything else is their own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

import gpunet as gn
from gpunet.backend import to_host

THREADS = 8


def train(name: str, seed: int, device: str) -> bytes:
    draw = np.random.default_rng(seed)
    p = gn.Parameter(gn.to_device(draw.standard_normal(50).astype(np.float32), device))
    optimizer = gn.OPTIMIZERS[name]([p], weight_decay=0.01, clip_norm=3.0)
    for _ in range(5):
        p.grad = draw.standard_normal(50).astype(np.float32)
        optimizer.step()
    return to_host(p.data).tobytes()


def test_eight_threads_train_as_one_would(device: str) -> None:
    start = Barrier(THREADS)

    def work(seed: int) -> list[bytes]:
        start.wait()
        return [train(name, seed, device) for name in gn.OPTIMIZERS]

    with ThreadPoolExecutor(THREADS) as threads:
        together = list(threads.map(work, range(THREADS)))
    for seed, found in enumerate(together):
        assert found == [train(name, seed, device) for name in gn.OPTIMIZERS]
