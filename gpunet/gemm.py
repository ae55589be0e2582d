"""Matrix products on a GPU, by cuBLAS itself.

CuPy's own products are refused while a stream is captured into a CUDA graph, copy the transposed
operands of batched products, and take TF32 from an environment variable, once. So gpunet calls
cuBLAS through ctypes, with handles and workspaces of its own; docs/kernels.md tells the reasons.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend import Array, array_module, loaded_cupy
from gpunet.cublas import Handle, check, handle_of
from gpunet.precision import compute_type

Shape = tuple[int, ...]

# Numbers of cuBLAS's C interface (cublas_api.h).
PLAIN, TRANSPOSED = 0, 1  # CUBLAS_OP_N, CUBLAS_OP_T
DEFAULT = -1  # CUBLAS_GEMM_DEFAULT: the library picks the algorithm
LARGEST = 2**31 - 1  # cuBLAS takes sizes as C ints


def product(a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
    """a @ b over the last two axes, in `out` where one is given, added to it with `add`.

    NumPy arrays go to numpy.matmul. CuPy arrays of two or three axes, both float32 or both float64,
    go to `gemm`, so that the product may be captured; an operand that it cannot read as it lies is
    copied first. Others go to cupy.matmul. `out` shares no memory with a and b.

    Raises:
        ValueError: shapes that do not fit, as matmul says it; `add` without `out`.
    """
    if add and out is None:
        raise ValueError("product: add=True adds to out, so give out")
    xp = array_module(a)
    if xp is np or xp is None:
        return _by_matmul(np, a, b, out, add)
    if not (isinstance(b, xp.ndarray) and (out is None or isinstance(out, xp.ndarray))):
        return _by_matmul(xp, a, b, out, add)
    plan = _plan_for(a, b)
    if plan is None:
        a, b = _readable(xp, a), _readable(xp, b)
        plan = _plan_for(a, b)
    handle = None if plan is None else handle_of(xp)
    if plan is None or handle is None or not _are_near(handle, a, b, a if out is None else out):
        return _by_matmul(xp, a, b, out, add)
    if out is None:
        out = xp.empty(plan.shape, a.dtype)
    elif not _takes(plan, out):
        return _by_matmul(xp, a, b, out, add)
    return _run(handle, plan, a, b, out, add)


def gemm(a: Array, b: Array, out: Array, add: bool = False) -> Array:
    """out = a @ b, or out += a @ b with `add`, by one call of cuBLAS; returns `out`.

    It runs on CuPy's current stream, and allocates nothing and waits for nothing, so a capture
    takes it. That does not hold for a thread's first product, which creates its handle, nor for the
    first on a stream, which allocates the workspace: do one before the capture. The graph then uses
    that workspace, which lives as long as the Stream object does: keep the stream with the graph,
    and launch it there, or while it runs nothing else.

    Args:
        a: (m, k) or (models, m, k), float32 or float64, on a GPU. Rows or columns of each matrix
            lie close: C-contiguous arrays, their swapaxes(-1, -2), and slices of rows of either.
        b: (k, n) or (models, k, n), the same dtype. An operand without models, or with one, is
            shared by all.
        out: (m, n), or (models, m, n) if an operand has three axes; each matrix C-contiguous, of
            the same dtype, and no memory of a or b.

    Raises:
        TypeError: an array that is not CuPy's.
        ValueError: shapes, layouts, dtypes or devices that do not fit; the message has all arrays'.
        RuntimeError: no cuBLAS library, or an error that it reports.
    """
    cupy: Any = loaded_cupy()
    array = () if cupy is None else cupy.ndarray
    if not (isinstance(a, array) and isinstance(b, array) and isinstance(out, array)):
        kinds = ", ".join(type(x).__module__.split(".")[0] for x in (a, b, out))
        raise TypeError(f"gemm multiplies CuPy arrays, got arrays of {kinds}; see product")
    plan = _plan_for(a, b)
    if plan is None or not _takes(plan, out):
        raise _misfit("float32 or float64 arrays that fit", a, b, out)
    handle = handle_of(cupy)
    if handle is None:
        raise RuntimeError(
            "no cuBLAS library was found; the extras cuda12 and cuda13 of gpunet install one"
        )
    if not _are_near(handle, a, b, out):
        raise _misfit(f"arrays on the current device, {handle.device}", a, b, out)
    return _run(handle, plan, a, b, out, add)


def _by_matmul(xp: Any, a: Array, b: Array, out: Array | None, add: bool) -> Array:
    if add:
        out += xp.matmul(a, b)
        return out
    return xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)


def _misfit(expected: str, a: Array, b: Array, out: Array) -> ValueError:
    given = "; ".join(
        f"{name} {tuple(x.shape)} {x.dtype}, strides {tuple(x.strides)}, device {x.data.device_id}"
        for name, x in (("a", a), ("b", b), ("out", out))
    )
    return ValueError(
        f"gemm needs {expected}: a (m, k), b (k, n), out (m, n), with or without an axis of models "
        "before them, out's matrices C-contiguous and rows or columns of a and b too; "
        f"got {given}"
    )


# ---------------------------------------------------------------------------------------------
# From arrays to cuBLAS's arguments


class _Number(NamedTuple):
    """A dtype in cuBLAS's terms: its number, its size, and where 0 and 1 of it are stored."""

    code: int
    itemsize: int
    scales: tuple[Any, Any]


# What byref gives keeps the number alive; cuBLAS reads it during the call (host pointer mode).
_NUMBERS = {
    "ff": _Number(0, 4, (ctypes.byref(ctypes.c_float(0)), ctypes.byref(ctypes.c_float(1)))),
    "dd": _Number(1, 8, (ctypes.byref(ctypes.c_double(0)), ctypes.byref(ctypes.c_double(1)))),
}


class _Plan(NamedTuple):
    """The arguments of a product that its shapes decide: what stands before and after pointers."""

    shape: Shape
    kind: str  # of the operands: the dtype's character
    terms: int  # in each sum
    batched: bool
    head: tuple[Any, ...]
    after_b: tuple[Any, ...]
    after_a: tuple[Any, ...]
    after_out: tuple[Any, ...]
    scales: tuple[Any, Any]


def _plan_for(a: Array, b: Array) -> _Plan | None:
    return _plan(a.shape, a.strides, b.shape, b.strides, a.dtype.char + b.dtype.char)


@functools.lru_cache(maxsize=4096)
def _plan(
    a_shape: Shape, a_strides: Shape, b_shape: Shape, b_strides: Shape, kinds: str
) -> _Plan | None:
    """None where cuBLAS cannot take the arrays as they lie.

    cuBLAS's matrices are column-major. A C-contiguous matrix is its own transpose to it, so it is
    asked for the transposed product, (a b)^T = b^T a^T, and nothing needs to be moved.
    """
    number = _NUMBERS.get(kinds)
    if number is None or not {len(a_shape), len(b_shape)} <= {2, 3} or a_shape[-1] != b_shape[-2]:
        return None
    models = {shape[0] for shape in (a_shape, b_shape) if len(shape) == 3}
    several = models - {1}
    first = _operand(b_shape, b_strides, number.itemsize)
    second = _operand(a_shape, a_strides, number.itemsize)
    if first is None or second is None or len(several) > 1:
        return None
    count = several.pop() if several else 1
    m, k, n = a_shape[-2], a_shape[-1], b_shape[-1]
    if max(m, k, n, count, first.apart, second.apart) > LARGEST:
        return None
    batched = count > 1
    code, (_, one) = number.code, number.scales
    after = [(code, x.apart, *([ctypes.c_longlong(x.step)] * batched)) for x in (first, second)]
    return _Plan(
        shape=(count, m, n) if models else (m, n),
        kind=kinds[0],
        terms=k,
        batched=batched,
        head=(first.operation, second.operation, n, m, k, one),
        after_b=after[0],
        after_a=after[1],
        after_out=(code, n),
        scales=number.scales,
    )


class _Operand(NamedTuple):
    """How cuBLAS is to read an array; distances in elements."""

    operation: int
    apart: int  # from one row to the next (to cuBLAS, from column to column)
    step: int  # from one matrix to the next


def _operand(shape: Shape, strides: Shape, itemsize: int) -> _Operand | None:
    """None where neither rows nor columns lie close, or matrices run backwards."""
    rows, columns = shape[-2:]
    if 0 in shape:  # CuPy's strides of an array without elements are 0
        return _Operand(PLAIN, max(columns, 1), 0)
    if any(stride % itemsize for stride in strides):
        return None
    # The stride of an axis of length 1 is never taken, and may be any number.
    down = strides[-2] // itemsize if rows > 1 else columns
    across = strides[-1] // itemsize if columns > 1 else 1
    step = strides[0] // itemsize if len(shape) == 3 and shape[0] > 1 else 0
    if step < 0:
        return None
    if across == 1 and down >= columns:
        return _Operand(PLAIN, down, step)
    down = strides[-2] // itemsize if rows > 1 else 1
    across = strides[-1] // itemsize if columns > 1 else rows
    if down == 1 and across >= rows:
        return _Operand(TRANSPOSED, across, step)
    return None


def _readable(xp: Any, x: Array) -> Array:
    """`x`, or a copy where its rows and columns lie apart, as those of a broadcast gradient do."""
    apart = x.ndim in (2, 3) and _operand(x.shape, x.strides, x.itemsize) is None
    return xp.ascontiguousarray(x) if apart else x


def _takes(plan: _Plan, out: Array) -> bool:
    fits = out.shape == plan.shape and out.dtype.char == plan.kind
    return bool(fits and (out.flags.c_contiguous or (plan.batched and _rows_close(out))))


def _rows_close(out: Array) -> bool:
    """Whether each model's matrix is C-contiguous, wherever the next one's begins."""
    found = _operand(out.shape, out.strides, out.itemsize)
    return bool(found and found[:2] == (PLAIN, out.shape[-1]) and found.step >= out[0].size)


def _are_near(handle: Handle, a: Array, b: Array, out: Array) -> bool:
    device = handle.device
    return bool(a.data.device_id == device == b.data.device_id == out.data.device_id)


def _run(handle: Handle, plan: _Plan, a: Array, b: Array, out: Array, add: bool) -> Array:
    if plan.terms == 0 or out.size == 0:
        if not add and out.size:
            out.fill(0)
        return out
    pointer, routine = ctypes.c_void_p, handle.batched if plan.batched else handle.single
    step = out.strides[0] // out.itemsize if plan.batched else 0
    several = (ctypes.c_longlong(step), out.shape[0]) if plan.batched else ()
    status = routine(
        handle.pointer,
        *plan.head,
        pointer(b.data.ptr),
        *plan.after_b,
        pointer(a.data.ptr),
        *plan.after_a,
        plan.scales[bool(add)],
        pointer(out.data.ptr),
        *plan.after_out,
        *several,
        compute_type(plan.kind, handle.capability),
        DEFAULT,
    )
    if status:
        check(status, "cublasGemmStridedBatchedEx" if plan.batched else "cublasGemmEx")
    return out
