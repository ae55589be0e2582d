"""The same training on CPU and GPU from one seed: the digits, with dropout and Adam."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

import gpunet as gn
from gpunet import functional
from gpunet.backend import to_device, to_host
from gpunet.data import load

TOLERANCE = {"float32": 1e-5, "float64": 1e-11}
STEPS, BATCH = 20, 64


def training(place: str) -> dict[str, Any]:
    """Digits on CPU and GPU from one seed: {"checks": {what: "" or what is wrong}}."""
    checks = {}
    for dtype, tolerance in TOLERANCE.items():
        gn.seed(0)
        on_cpu = gn.MLP([64, 100, 10], dropout=0.5, dtype=dtype)
        on_gpu = copy.deepcopy(on_cpu).to("cuda")
        checks[f"{dtype} dropout masks"] = compare_masks(on_cpu, dtype)
        losses = [first_losses(on_cpu, "cpu", dtype), first_losses(on_gpu, "cuda", dtype)]
        checks[f"{dtype} losses"] = compare_losses(*losses, tolerance)
    return {"checks": checks}


def first_losses(model: gn.Layer, device: str, dtype: str) -> np.ndarray:
    train = load("digits").train
    optimizer, loss_fn = gn.Adam(model.parameters()), gn.SoftmaxWithLoss()
    losses = []
    for step in range(STEPS):
        rows = slice(step * BATCH % len(train), step * BATCH % len(train) + BATCH)
        x, t = (to_device(a, device) for a in (train.x[rows].astype(dtype), train.t[rows]))
        loss = loss_fn(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(to_host(loss.data)))
    return np.array(losses)


def compare_losses(cpu: np.ndarray, gpu: np.ndarray, tolerance: float) -> str:
    error = np.abs(gpu - cpu) / np.maximum(np.abs(cpu), 1)
    if not cpu[-1] < 0.9 * cpu[0]:
        return f"the loss did not fall: {cpu[0]:.4f} to {cpu[-1]:.4f}"
    if error.max() <= tolerance:  # not true of a nan
        return ""
    step = int(np.argmax(~(error <= tolerance)))
    return f"step {step + 1}: {gpu[step]!r}, on the CPU {cpu[step]!r}"


def compare_masks(model: gn.Sequential, dtype: str) -> str:
    """The masks of the model's own Dropout layer, at each of the steps."""
    layer = next(layer for layer in model if isinstance(layer, gn.Dropout))
    ones = np.ones((BATCH, 100), dtype)
    for step in range(STEPS):
        settings = {"p": layer.p, "seed": layer.seed, "step": step}
        cpu, gpu = (
            to_host(functional.dropout.pair(to_device(ones, d), **settings)[0])
            for d in ("cpu", "cuda")
        )
        if cpu.tobytes() != gpu.tobytes() or not 0 < np.count_nonzero(cpu) < cpu.size:
            return f"step {step + 1}: {np.count_nonzero(cpu != gpu)} of {cpu.size} elements differ"
    return ""
