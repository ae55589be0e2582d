"""The C functions of cuBLAS that gpunet calls, on the simulated device's memory.

They are C functions for ctypes, as those of the library are: they take addresses, return a status,
raise nothing. A product is one launch on the handle's stream, which a capture records. Beyond what
cuBLAS checks, a product in a capture is refused (CUBLAS_STATUS_ALLOC_FAILED) where the handle has
no workspace, for then the library allocates one; and so is (CUBLAS_STATUS_EXECUTION_FAILED) an
address that is not the device's, which on a GPU fails later, and an output that shares memory with
an operand, which on a GPU gives wrong numbers.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import work
from .errors import CUDARuntimeError
from .launching import launch
from .segments import check_range

SUCCESS, NOT_INITIALIZED, ALLOC_FAILED, INVALID_VALUE = 0, 1, 3, 7
EXECUTION_FAILED, NOT_SUPPORTED = 13, 15

# CUDA_R_32F, CUDA_R_64F
_NUMBERS: dict[int, np.dtype[Any]] = {0: np.dtype(np.float32), 1: np.dtype(np.float64)}
_ROUNDED_TO = {77: 10, 75: 7}  # bits of mantissa that the FAST compute types keep
_COMPUTE = {0: {68, 69, *_ROUNDED_TO}, 1: {70, 71}}  # what goes with each type of number
_ALGORITHMS = {-1, 99}  # CUBLAS_GEMM_DEFAULT and its tensor-core twin
_MATH_MODES = {0, 1, 2, 3}
_ALIGNMENT = 256


@dataclass
class _Handle:
    """What a handle is set to; `_state` makes it a stream to those who launch."""

    _state: work.StreamState
    workspace: int = 0


_handles: dict[int, _Handle] = {}
_numbers = itertools.count(0xB1A5_0000_0010, 0x10)  # wider than an int, as addresses are
_lock = threading.Lock()

# ---------------------------------------------------------------------------------------------
# Handles


def _create(target: int) -> int:
    if not target:
        return INVALID_VALUE
    if work.is_capturing():  # it allocates
        return ALLOC_FAILED
    with _lock:
        number = next(_numbers)
        _handles[number] = _Handle(work.NULL)
    ctypes.c_void_p.from_address(target).value = number
    return SUCCESS


def _destroy(number: int) -> int:
    return SUCCESS if _handles.pop(number, None) else NOT_INITIALIZED


def _set_stream(number: int, stream: int) -> int:
    handle = _handles.get(number)
    if handle is None:
        return NOT_INITIALIZED
    handle._state, handle.workspace = work.state_of_handle(stream or 0), 0
    return SUCCESS


def _set_workspace(number: int, address: int, size: int) -> int:
    handle = _handles.get(number)
    if handle is None:
        return NOT_INITIALIZED
    if (address or 0) % _ALIGNMENT:
        return INVALID_VALUE
    check_range(address or 0, size)
    handle.workspace = size if address else 0
    return SUCCESS


def _set_math_mode(number: int, mode: int) -> int:
    if number not in _handles:
        return NOT_INITIALIZED
    return SUCCESS if mode in _MATH_MODES else INVALID_VALUE


# ---------------------------------------------------------------------------------------------
# Products


@dataclass
class _Matrix:
    """An argument A, B or C: column-major, `apart` from column to column."""

    address: int
    type: int
    apart: int
    step: int
    rows: int
    columns: int

    def is_right(self) -> bool:
        return bool(self.address) and self.apart >= max(1, self.rows) and self.step >= 0

    def transposed(self, count: int) -> np.ndarray:
        """The matrices as NumPy sees the memory, which is transposed: (count, columns, rows)."""
        number = _NUMBERS[self.type]
        shape = count, self.columns, self.rows
        last = (count - 1) * self.step + (self.columns - 1) * self.apart + self.rows
        size = last * number.itemsize if 0 not in shape else 0
        check_range(self.address, size)
        memory: Any = (ctypes.c_char * size).from_address(self.address)
        strides = tuple(n * number.itemsize for n in (self.step, self.apart, 1))
        made: np.ndarray = np.ndarray(shape, number, memory, 0, strides)
        return made


def _gemm(
    number: int, trans_a: int, trans_b: int, m: int, n: int, k: int, alpha: int,
    a: int, a_type: int, lda: int, b: int, b_type: int, ldb: int, beta: int,
    c: int, c_type: int, ldc: int, compute: int, algorithm: int,
) -> int:  # fmt: skip
    return _gemm_batched(
        number, trans_a, trans_b, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0, beta,
        c, c_type, ldc, 0, 1, compute, algorithm, name="cublasGemmEx",
    )  # fmt: skip


def _gemm_batched(
    number: int, trans_a: int, trans_b: int, m: int, n: int, k: int, alpha: int,
    a: int, a_type: int, lda: int, a_step: int, b: int, b_type: int, ldb: int, b_step: int,
    beta: int, c: int, c_type: int, ldc: int, c_step: int, count: int, compute: int,
    algorithm: int, name: str = "cublasGemmStridedBatchedEx",
) -> int:  # fmt: skip
    """C = alpha op(A) op(B) + beta C, for each of `count` matrices."""
    handle = _handles.get(number)
    if handle is None:
        return NOT_INITIALIZED
    first = _Matrix(a, a_type, lda, a_step, *((k, m) if trans_a else (m, k)))
    second = _Matrix(b, b_type, ldb, b_step, *((n, k) if trans_b else (k, n)))
    result = _Matrix(c, c_type, ldc, c_step, m, n)
    if min(m, n, k, count) < 0 or not (alpha and beta) or {trans_a, trans_b} - {0, 1, 2}:
        return INVALID_VALUE
    if algorithm not in _ALGORITHMS or not all(x.is_right() for x in (first, second, result)):
        return INVALID_VALUE
    if len({a_type, b_type, c_type}) > 1 or compute not in _COMPUTE.get(c_type, ()):
        return NOT_SUPPORTED
    if not (m and n and count):
        return SUCCESS
    if work.is_capturing(handle._state) and not handle.workspace:
        return ALLOC_FAILED
    left, right, target = (x.transposed(count) for x in (first, second, result))
    if np.shares_memory(target, left) or np.shares_memory(target, right):
        return EXECUTION_FAILED
    left = left.swapaxes(-1, -2) if trans_a else left  # now op(A) transposed
    right = right.swapaxes(-1, -2) if trans_b else right
    scalar = ctypes.c_double if c_type else ctypes.c_float
    scales = scalar.from_address(alpha).value, scalar.from_address(beta).value
    run = _work(left, right, target, scales, _ROUNDED_TO.get(compute))
    launch(name, run, [left, right, target], handle)
    return SUCCESS


def _work(
    left: np.ndarray, right: np.ndarray, target: np.ndarray, scales: tuple[float, float],
    bits: int | None,
) -> Callable[[], None]:  # fmt: skip
    alpha, beta = scales
    name = target.dtype.type

    def run() -> None:
        with np.errstate(all="ignore"):
            operands = (right, left) if bits is None else (rounded(x, bits) for x in (right, left))
            made = np.matmul(*operands)
            made = made if alpha == 1 else name(alpha) * made
            # With beta 0 what C holds is not read, not even a nan.
            target[...] = made if beta == 0 else made + name(beta) * target

    return run


def rounded(x: np.ndarray, bits: int) -> np.ndarray:
    """float32 numbers with `bits` of their mantissa's 23, to nearest, ties to even."""
    dropped = 23 - bits
    words = np.ascontiguousarray(x).view(np.uint32)
    odd = (words >> dropped) & 1
    near = (words + (1 << dropped - 1) - 1 + odd) >> dropped << dropped
    made: np.ndarray = np.where(np.isfinite(x), near.view(np.float32), x)
    return made


# ---------------------------------------------------------------------------------------------
# As C functions


def _c_function(function: Callable[..., int], signature: str) -> Any:
    """A C function of these arguments: p a pointer, i an int, l a long long, s a size_t."""
    types: dict[str, Any] = {
        "p": ctypes.c_void_p,
        "i": ctypes.c_int,
        "l": ctypes.c_longlong,
        "s": ctypes.c_size_t,
    }

    def call(*arguments: Any) -> int:
        try:
            return function(*arguments)
        except CUDARuntimeError:
            return EXECUTION_FAILED
        except RuntimeError:  # the capture is spoiled
            return EXECUTION_FAILED

    return ctypes.CFUNCTYPE(ctypes.c_int, *(types[letter] for letter in signature))(call)


LIBRARY = SimpleNamespace(
    cublasCreate_v2=_c_function(_create, "p"),
    cublasDestroy_v2=_c_function(_destroy, "p"),
    cublasSetStream_v2=_c_function(_set_stream, "pp"),
    cublasSetWorkspace_v2=_c_function(_set_workspace, "pps"),
    cublasSetMathMode=_c_function(_set_math_mode, "pi"),
    cublasGemmEx=_c_function(_gemm, "piiiiippiipiippiiii"),
    cublasGemmStridedBatchedEx=_c_function(_gemm_batched, "piiiiippiilpiilppiiliii"),
)
