"""The nets that verify_gpu trains, what they are trained on, and what a training left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import gpunet as gn
from benchmarks.workloads import Workload, tiny, workloads
from gpunet.backend import to_device, to_host

Make = Callable[[], gn.Step]


def nets(place: str) -> dict[str, Workload]:
    """W1, and W2 with BatchNorm and Dropout; on the simulated GPU small ones like them."""
    found = workloads("cuda")
    return {k: found[k] if place == "cuda" else tiny(found[k]) for k in ("W1", "W2")}


def made(
    w: Workload, dtype: str, fuse: bool = True, rescale: bool = False, **settings: Any
) -> gn.Step:
    """The same net and optimizer whenever it is called, on the GPU."""
    gn.seed(0)
    net = gn.MLP(w.sizes, batch_norm=w.batch_norm, dropout=w.dropout, dtype=dtype)
    model = gn.Sequential(gn.Rescale(1 / 255, dtype), net) if rescale else net
    settings = {"lr": w.lr} | settings
    optimizer = gn.OPTIMIZERS[w.optimizer](model.to("cuda").parameters(), **settings)
    return gn.Step(model, gn.SoftmaxWithLoss(), optimizer, fuse=fuse)


def maker(w: Workload, dtype: str, **settings: Any) -> Make:
    return lambda: made(w, dtype, **settings)


def numbers(w: Workload, dtype: str, rows: int, seed: int = 0) -> list[Any]:
    """Rows and labels on the host."""
    draw = np.random.default_rng(seed)
    x = draw.integers(0, 256, (rows, w.sizes[0]))
    x = x.astype(dtype) if dtype == "uint8" else (x / 255).astype(dtype)
    return [x, draw.integers(0, w.sizes[-1], rows)]


def batch(w: Workload, dtype: str, seed: int) -> list[Any]:
    return [to_device(a, "cuda") for a in numbers(w, dtype, w.batch, seed)]


def everything(one: gn.Step) -> dict[str, Any]:
    """All that a training changes, on the host."""
    found = dict(one.model.state_dict())
    found |= {f"optimizer's buffer {k}": a for k, a in enumerate(one.optimizer.buffers())}
    return {name: to_host(a) for name, a in found.items()}


def differing(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """The first array that is not the same bit for bit."""
    for name, array in expected.items():
        if found[name].tobytes() != array.tobytes():
            count = np.count_nonzero(found[name] != array)
            return f"{name}: {count} of {array.size} elements differ"
    return ""
