"""What verify_gpu measures, each in a process of its own: python -m benchmarks.parts NAME PLACE

PLACE is cuda, or sim for the simulated GPU. Prints one line of JSON. What concerns the fused and
the captured step is in step_checks.py and step_timings.py.
"""

from __future__ import annotations

import copy
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

import gpunet as gn
from benchmarks import step_checks, step_timings
from gpunet import functional, gemm, machine
from gpunet.backend import to_device, to_host
from gpunet.data import load
from gpunet.testing import simgpu

TOLERANCE = {"float32": 1e-5, "float64": 1e-11}
STEPS, BATCH = 20, 64
ELEMENTS = {"cuda": 10**8, "sim": 10**4}
ROUNDS = {"cuda": 20, "sim": 3}
COPY, ADAM = "copy, float32", "Adam.step, float32"
EAGER = "eager step, 784-100-10, batch 100"
TOUCHED = 7  # Adam reads gradient, parameter and two states, and writes the last three


def device(place: str) -> dict[str, Any]:
    """The device and the software on it, or {"problem": why there is none}."""
    if place == "sim":
        usable, reason = simgpu.available()
        if not usable:
            return {"problem": f"no simulated GPU: {reason}"}
    elif problems := machine.problems():
        return {"problem": "; ".join(p.reason for p in problems)}
    cupy = gn.backend.cupy()
    runtime = cupy.cuda.runtime
    return {
        "device": "simulated" if place == "sim" else machine.gpu_names()[0],
        "driver": _driver(),
        "cuda_driver": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _driver() -> str:
    """The driver's own version, if nvidia-smi is there to tell it."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return "unknown"
    command = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.split("\n")[0].strip() or "unknown"


# The same training on both devices


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


# Matrix products by gpunet.gemm

# (models, m, k, n): sizes that divide by nothing, single rows and columns, a layer of MNIST's.
SIZES = [(0, 33, 7, 5), (0, 1, 100, 10), (0, 100, 1, 10), (0, 100, 784, 100), (3, 17, 65, 9)]
ERRORS = {"float32": 1e-6, "float64": 1e-14}  # of an element, as a part of abs(a) @ abs(b)
ROUNDED = {"tf32": 1e-3, "bfloat16": 1e-2}  # as gpunet.matmul_precision promises


def products(place: str) -> dict[str, Any]:
    """gemm beside cupy.matmul and NumPy, in a captured graph, and with fewer bits."""
    checks = {}
    for dtype in ERRORS:
        for size in SIZES:
            for transposed in ("", "a", "b", "ab"):
                what = f"{dtype} {size} transposed {transposed or 'nothing'}"
                checks[what] = compare_product(dtype, size, transposed)
    checks["captured and replayed"] = compare_replay()
    checks |= {name: compare_precision(name, bound) for name, bound in ROUNDED.items()}
    return {"checks": checks}


def operand(shape: tuple[int, ...], dtype: str, seed: int, transposed: bool = False) -> Any:
    """Random numbers on the device; the view of an array that holds their transpose, if wished."""
    host = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    if not transposed:
        return to_device(host, "cuda")
    return to_device(np.ascontiguousarray(host.swapaxes(-1, -2)), "cuda").swapaxes(-1, -2)


def product_error(found: Any, a: Any, b: Any) -> float:
    """The largest error of an element, as a part of abs(a) @ abs(b)."""
    wide = np.float64 if found.dtype == np.float32 else np.longdouble
    a, b, found = (to_host(x).astype(wide) for x in (a, b, found))
    return float((np.abs(found - a @ b) / (np.abs(a) @ np.abs(b))).max())


def compare_product(dtype: str, size: tuple[int, ...], transposed: str) -> str:
    cupy = gn.backend.cupy()
    models, m, k, n = size
    lead = (models,) if models else ()
    a = operand((*lead, m, k), dtype, 0, "a" in transposed)
    b = operand((*lead, k, n), dtype, 1, "b" in transposed)
    out = cupy.full((*lead, m, n), np.nan, dtype)
    gemm.gemm(a, b, out)
    error = product_error(out, a, b)
    apart = float(np.abs(to_host(out - cupy.matmul(a, b))).max())
    if not error <= ERRORS[dtype]:
        return f"error {error:.2g}"
    if not apart <= 4 * ERRORS[dtype] * k:
        return f"{apart:.2g} from cupy.matmul"
    gemm.gemm(a, b, out, add=True)
    error = product_error(out / 2, a, b)
    return "" if error <= ERRORS[dtype] else f"error {error:.2g} when added"


def compare_replay() -> str:
    cupy = gn.backend.cupy()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        a, b = operand((100, 784), "float32", 0), operand((784, 100), "float32", 1)
        out = cupy.zeros((100, 100), np.float32)
        gemm.gemm(a, b, out)  # creates what the capture must find
        stream.begin_capture()
        gemm.gemm(a, b, out)
        gemm.gemm(a, b, out, add=True)
        graph = stream.end_capture()
        for _ in range(3):
            a *= -2
            graph.launch(stream)
            error = product_error(out / 2, a, b)
            if not error <= ERRORS["float32"]:
                return f"error {error:.2g}"
    return ""


def compare_precision(name: str, bound: float) -> str:
    cupy = gn.backend.cupy()
    a, b = operand((512, 512), "float32", 0), operand((512, 512), "float32", 1)
    out = cupy.empty((512, 512), np.float32)
    with gn.matmul_precision(name):
        gemm.gemm(a, b, out)
    rounded = product_error(out, a, b)
    gemm.gemm(a, b, out)
    full = product_error(out, a, b)
    if not rounded <= bound:
        return f"error {rounded:.2g}, promised {bound:.2g}"
    if not full <= ERRORS["float32"]:
        return f"error {full:.2g} after it was put back"
    newer = int(cupy.cuda.Device().compute_capability[:-1]) >= 8  # Ampere brought the two formats
    return "no effect" if newer and rounded < 10 * full else ""


# Timings


def timed(call: Callable[[], Any], rounds: int, calls: int) -> dict[str, Any]:
    """Seconds a call, over rounds of `calls`: median and quartiles. A round ends with a wait."""
    wait = gn.backend.cupy().cuda.runtime.deviceSynchronize
    for _ in range(3):
        call()
    wait()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        seconds.append((time.perf_counter() - start) / calls)
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return {"median_s": median, "quartiles_s": [low, high], "rounds": rounds, "calls": calls}


def optimizer(place: str) -> dict[str, Any]:
    """Adam on 10^8 float32 parameters, beside a copy of as many."""
    cupy, n = gn.backend.cupy(), ELEMENTS[place]
    copied = _copy(cupy, n, ROUNDS[place])
    p = gn.Parameter(cupy.ones(n, np.float32))
    adam = gn.Adam([p])
    p.grad = cupy.full(n, 1e-3, np.float32)
    step = timed(adam.step, ROUNDS[place], 5)
    step["gb_per_s"] = TOUCHED * 4 * n / step["median_s"] / 1e9
    step["share_of_copy"] = step["gb_per_s"] / copied["gb_per_s"]
    return {"timings": {COPY: copied | {"elements": n}, ADAM: step | {"elements": n}}}


def _copy(cupy: Any, n: int, rounds: int) -> dict[str, Any]:
    source, target = cupy.ones(n, np.float32), cupy.empty(n, np.float32)
    found = timed(lambda: cupy.copyto(target, source), rounds, 5)
    return found | {"gb_per_s": 2 * 4 * n / found["median_s"] / 1e9}


def training_step(place: str) -> dict[str, Any]:
    """One eager step of 784-100-10 with Adam, batch 100, from arrays on the device."""
    gn.seed(0)
    model = gn.MLP([784, 100, 10]).to("cuda")
    adam, loss_fn = gn.Adam(model.parameters()), gn.SoftmaxWithLoss()
    generator = np.random.default_rng(0)
    x = to_device(generator.random((100, 784), np.float32), "cuda")
    t = to_device(generator.integers(0, 10, 100), "cuda")

    def step() -> None:
        loss = loss_fn(model(x), t)
        adam.zero_grad()
        loss.backward()
        adam.step()

    return {"timings": {EAGER: timed(step, ROUNDS[place], 50)}}


PARTS: dict[str, Callable[[str], dict[str, Any]]] = {
    part.__name__: part
    for part in (
        *(device, training, products, step_checks.step, step_timings.streaming),
        *(optimizer, training_step, step_timings.step_timings),
    )
}


def main(name: str, place: str) -> None:
    with simgpu.activate() if place == "sim" else nullcontext():
        print(json.dumps(PARTS[name](place)))


if __name__ == "__main__":
    main(*sys.argv[1:])
