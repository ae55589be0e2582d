"""Matrix products by gpunet.gemm: beside cupy.matmul and NumPy, in a graph, and with fewer bits."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpunet as gn
from gpunet import gemm
from gpunet.backend import to_device, to_host

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
    checks |= {name: compare_precision(name, bound, place) for name, bound in ROUNDED.items()}
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


def compare_precision(name: str, bound: float, place: str) -> str:
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
    # A GPU may multiply with more bits than it is allowed to; the simulated one takes the fewer.
    return "no effect" if place == "sim" and rounded < 10 * full else ""
