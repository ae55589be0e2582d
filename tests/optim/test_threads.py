"""Many threads train at once: kernels are shared, everything else is their own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep
from typing import Any

import numpy as np

import gpunet as gn
from gpunet.backend import to_host
from gpunet.optim import nadam

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


def test_nadams_products_survive_threads_that_ask_at_once(monkeypatch: Any) -> None:
    """The list of products is shared by all NAdams of the same betas, and grows on demand."""
    plain = nadam._mu
    start = Barrier(THREADS)

    def slow(t: int, beta1: float, momentum_decay: float) -> float:
        value = plain(t, beta1, momentum_decay)
        sleep(0)  # another thread may come in between
        return value

    monkeypatch.setattr(nadam, "_mu", slow)

    def work(_: int) -> list[float]:
        start.wait()
        return [nadam._mu_product(t, 0.95, 0.004321) for t in range(300)]

    with ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(work, range(THREADS)))
    factors = [plain(t, 0.95, 0.004321) for t in range(1, 300)]
    expected = [1.0, *np.multiply.accumulate(factors)]
    assert all(products == expected for products in found)


def test_nadams_products_end_at_zero() -> None:
    assert nadam._mu_product(10**6, 0.5, 0.004) == 0.0
    assert len(nadam._products(0.5, 0.004)) < 2000
