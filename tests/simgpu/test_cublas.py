"""The simulated cuBLAS: column-major products by address, and what it refuses."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunet.testing import simgpu

if not simgpu.available()[0]:
    pytest.skip(simgpu.available()[1], allow_module_level=True)
with simgpu.activate() as cp:
    pass
pytestmark = pytest.mark.usefixtures("cp")
LIBRARY = ctypes.CDLL("libcublas.so.12")  # that of the simulated GPU, by its name
INT, POINTER, LONG = ctypes.c_int, ctypes.c_void_p, ctypes.c_longlong
SIZES = [POINTER, INT, INT, INT, INT, INT, POINTER]
LIBRARY.cublasGemmEx.argtypes = [
    *SIZES, *[POINTER, INT, INT] * 2, POINTER, POINTER, INT, INT, INT, INT,
]  # fmt: skip
LIBRARY.cublasGemmStridedBatchedEx.argtypes = [
    *SIZES, *[POINTER, INT, INT, LONG] * 2, POINTER, POINTER, INT, INT, LONG, INT, INT, INT,
]  # fmt: skip
LIBRARY.cublasSetStream_v2.argtypes = [POINTER, POINTER]
LIBRARY.cublasCreate_v2.argtypes = LIBRARY.cublasDestroy_v2.argtypes = [POINTER]
LIBRARY.cublasSetMathMode.argtypes = [POINTER, INT]
LIBRARY.cublasSetWorkspace_v2.argtypes = [POINTER, POINTER, ctypes.c_size_t]

N, T = 0, 1
R_32F, R_64F = 0, 1
F32, TF32, BF16, F64 = 68, 77, 75, 70
NOT_INITIALIZED, ALLOC_FAILED, INVALID_VALUE = 1, 3, 7
EXECUTION_FAILED, NOT_SUPPORTED = 13, 15


@pytest.fixture
def handle() -> Iterator[ctypes.c_void_p]:
    made = ctypes.c_void_p()
    assert LIBRARY.cublasCreate_v2(ctypes.byref(made)) == 0
    yield made
    assert LIBRARY.cublasDestroy_v2(made) == 0


def columns(*numbers: list[float], dtype: Any = np.float32) -> Any:
    """A column-major matrix with these columns, on the device."""
    return cp.asarray(np.array(numbers, dtype))


def number(value: float, dtype: Any = ctypes.c_float) -> Any:
    return ctypes.byref(dtype(value))


def multiply(handle: Any, left: Any, right: Any, out: Any, /, **changed: Any) -> int:
    """out = left right for 2 x 2 float32 matrices, with any argument changed."""
    given = {
        "transa": N, "transb": N, "m": 2, "n": 2, "k": 2, "alpha": number(1),
        "a": left.data.ptr, "a_type": R_32F, "lda": 2,
        "b": right.data.ptr, "b_type": R_32F, "ldb": 2,
        "beta": number(0), "c": out.data.ptr, "c_type": R_32F, "ldc": 2, "compute": F32, "algo": -1,
    }  # fmt: skip
    assert changed.keys() <= given.keys()
    return int(LIBRARY.cublasGemmEx(handle, *(given | changed).values()))


with simgpu.activate():
    A = columns([1, 2], [3, 4])  # 1 3
    B = columns([5, 6], [7, 8])  # 2 4, and 5 7 over 6 8


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, [[23, 34], [31, 46]]),
        ({"transa": T}, [[17, 39], [23, 53]]),
        ({"transb": T}, [[26, 38], [30, 44]]),
        ({"transa": T, "transb": T}, [[19, 43], [22, 50]]),
        ({"alpha": number(2)}, [[46, 68], [62, 92]]),
        ({"m": 1}, [[23, 9], [31, 9]]),
        ({"n": 1}, [[23, 34], [9, 9]]),
        ({"k": 1}, [[5, 10], [7, 14]]),
        ({"beta": number(1)}, [[32, 43], [40, 55]]),
        ({"beta": number(-2), "k": 0}, [[-18, -18], [-18, -18]]),
        ({"m": 0}, [[9, 9], [9, 9]]),
    ],
)  # fmt: skip
def test_by_hand_column_by_column(handle: Any, changed: Any, wanted: Any) -> None:
    c = columns([9, 9], [9, 9])
    assert multiply(handle, A, B, c, **changed) == 0
    np.testing.assert_array_equal(c.get(), wanted)


def test_what_c_holds_is_not_read_when_beta_is_0(handle: Any) -> None:
    c = columns([np.nan, np.inf], [np.nan, np.nan])
    assert multiply(handle, A, B, c) == 0
    np.testing.assert_array_equal(c.get(), [[23, 34], [31, 46]])


def test_leading_dimensions_leave_gaps_alone(handle: Any) -> None:
    a, c = columns([1, 2, -1], [3, 4, -1]), columns([9, 9, 9, 9], [9, 9, 9, 9])
    assert multiply(handle, a, B, c, lda=3, ldc=4) == 0
    np.testing.assert_array_equal(c.get(), [[23, 34, 9, 9], [31, 46, 9, 9]])


def test_batches_step_through_memory(handle: Any) -> None:
    a = cp.arange(8, dtype=np.float64)  # [[0 2] [1 3]], [[4 6] [5 7]]
    b, c = cp.asarray([1.0, 10.0]), cp.full(6, 9.0)
    one, nothing = number(1, ctypes.c_double), number(0, ctypes.c_double)
    status = LIBRARY.cublasGemmStridedBatchedEx(
        handle, N, N, 2, 1, 2, one, a.data.ptr, R_64F, 2, 4, b.data.ptr, R_64F, 2, 0, nothing,
        c.data.ptr, R_64F, 2, 3, 2, F64, -1,
    )  # fmt: skip
    assert status == 0
    assert c.get().tolist() == [20, 31, 9, 64, 75, 9]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"lda": 1}, INVALID_VALUE),
        ({"ldb": 1}, INVALID_VALUE),
        ({"ldc": 1}, INVALID_VALUE),
        ({"lda": 2, "transa": T, "k": 3, "ldb": 3}, INVALID_VALUE),
        ({"m": -1}, INVALID_VALUE),
        ({"transa": 3}, INVALID_VALUE),
        ({"algo": 55}, INVALID_VALUE),
        ({"alpha": None}, INVALID_VALUE),
        ({"a": None}, INVALID_VALUE),
        ({"compute": F64}, NOT_SUPPORTED),
        ({"compute": 0}, NOT_SUPPORTED),
        ({"a_type": R_64F}, NOT_SUPPORTED),
        ({"c_type": 2}, NOT_SUPPORTED),
    ],
    ids=str,
)
def test_arguments_that_are_refused(handle: Any, changed: Any, status: int) -> None:
    c = columns([9, 9], [9, 9])
    with simgpu.count() as counters:
        assert multiply(handle, A, B, c, **changed) == status
    assert counters.launches == 0
    assert (c.get() == 9).all()


def test_addresses_outside_the_device_are_refused(handle: Any) -> None:
    host, c = np.ones((2, 2), np.float32), columns([9, 9], [9, 9])
    assert multiply(handle, A, B, c, a=host.ctypes.data) == EXECUTION_FAILED
    assert multiply(handle, A, B, c, c=host.ctypes.data) == EXECUTION_FAILED
    alone = cp.cuda.Memory(512)
    assert multiply(handle, A, B, c, b=alone.ptr + 504) == EXECUTION_FAILED  # 8 bytes too many
    assert multiply(handle, A, B, c, b=alone.ptr + 496) == 0


def test_an_output_that_is_an_operand_is_refused(handle: Any) -> None:
    c = columns([1, 0], [0, 1], [5, 5])
    assert multiply(handle, c, B, c) == EXECUTION_FAILED
    assert multiply(handle, A, c, c, b=c.data.ptr + 8) == EXECUTION_FAILED
    assert multiply(handle, A, B, c) == 0


def test_a_handle_that_is_none() -> None:
    c = columns([9, 9], [9, 9])
    for unknown in (None, 5):
        assert multiply(unknown, A, B, c) == NOT_INITIALIZED
        assert LIBRARY.cublasSetStream_v2(unknown, 0) == NOT_INITIALIZED
        assert LIBRARY.cublasSetWorkspace_v2(unknown, A.data.ptr, 16) == NOT_INITIALIZED
        assert LIBRARY.cublasSetMathMode(unknown, 0) == NOT_INITIALIZED
        assert LIBRARY.cublasDestroy_v2(unknown) == NOT_INITIALIZED
    assert LIBRARY.cublasCreate_v2(None) == INVALID_VALUE


def test_settings_that_are_refused(handle: Any) -> None:
    assert LIBRARY.cublasSetMathMode(handle, 0) == 0
    assert LIBRARY.cublasSetMathMode(handle, 40) == INVALID_VALUE
    assert LIBRARY.cublasSetStream_v2(handle, 12345) == EXECUTION_FAILED
    assert LIBRARY.cublasSetWorkspace_v2(handle, A.data.ptr + 4, 8) == INVALID_VALUE
    assert LIBRARY.cublasSetWorkspace_v2(handle, 1 << 20, 256) == EXECUTION_FAILED


# --- streams and captures -------------------------------------------------------------------------


def test_a_product_is_one_launch_on_the_handles_stream(handle: Any) -> None:
    c, workspace = columns([9, 9], [9, 9]), cp.cuda.Memory(1024)
    stream = cp.cuda.Stream(non_blocking=True)
    assert LIBRARY.cublasSetStream_v2(handle, stream.ptr) == 0
    assert LIBRARY.cublasSetWorkspace_v2(handle, workspace.ptr, 1024) == 0
    with simgpu.count() as counters:
        assert multiply(handle, A, B, c) == 0
    assert counters == simgpu.Counters(launches=1)
    c.fill(9)
    stream.begin_capture()  # not the current stream
    alpha, wanted = ctypes.c_float(2), [[46, 68], [62, 92]]
    assert multiply(handle, A, B, c, alpha=ctypes.byref(alpha)) == 0
    graph = stream.end_capture()
    alpha.value = 5  # numbers are frozen
    assert (c.get() == 9).all()
    graph.launch()
    np.testing.assert_array_equal(c.get(), wanted)


def test_setting_the_stream_takes_the_workspace_away(handle: Any) -> None:
    c, workspace = columns([9, 9], [9, 9]), cp.cuda.Memory(1024)
    stream = cp.cuda.Stream(non_blocking=True)
    assert LIBRARY.cublasSetWorkspace_v2(handle, workspace.ptr, 1024) == 0
    assert LIBRARY.cublasSetStream_v2(handle, stream.ptr) == 0
    stream.begin_capture()
    assert multiply(handle, A, B, c) == ALLOC_FAILED
    assert LIBRARY.cublasSetWorkspace_v2(handle, workspace.ptr, 1024) == 0
    assert multiply(handle, A, B, c) == 0
    stream.end_capture()


def test_no_handle_is_created_in_a_capture() -> None:
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture(cp.cuda.runtime.streamCaptureModeGlobal)
        made = ctypes.c_void_p()
        assert LIBRARY.cublasCreate_v2(ctypes.byref(made)) == ALLOC_FAILED
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="Invalidated"):
            stream.end_capture()


def test_a_spoiled_capture_takes_no_product(handle: Any) -> None:
    c, workspace = columns([9, 9], [9, 9]), cp.cuda.Memory(1024)
    stream = cp.cuda.Stream(non_blocking=True)
    assert LIBRARY.cublasSetStream_v2(handle, stream.ptr) == 0
    assert LIBRARY.cublasSetWorkspace_v2(handle, workspace.ptr, 1024) == 0
    stream.begin_capture()
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError):
        stream.synchronize()
    assert multiply(handle, A, B, c) == EXECUTION_FAILED
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError):
        stream.end_capture()


def test_a_replay_on_freed_memory_is_an_error(handle: Any) -> None:
    memory = cp.cuda.Memory(512)
    c = cp.ndarray((2, 2), np.float32, cp.cuda.MemoryPointer(memory, 0))
    workspace, stream = cp.cuda.Memory(1024), cp.cuda.Stream(non_blocking=True)
    assert LIBRARY.cublasSetStream_v2(handle, stream.ptr) == 0
    assert LIBRARY.cublasSetWorkspace_v2(handle, workspace.ptr, 1024) == 0
    stream.begin_capture()
    assert multiply(handle, A, B, c) == 0
    graph = stream.end_capture()
    graph.launch()
    del c, memory
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="IllegalAddress"):
        graph.launch()


# --- fewer bits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compute", "wanted"), [(F32, 1 + 2**-9 + 2**-11), (TF32, 1 + 2**-9), (BF16, 1)]
)
def test_compute_types_round_the_operands(handle: Any, compute: int, wanted: float) -> None:
    a, c = columns([1 + 2**-9 + 2**-11, 0], [0, 0]), columns([9, 9], [9, 9])
    eye = columns([1, 0], [0, 1])
    assert multiply(handle, a, eye, c, compute=compute) == 0
    assert c.get()[0, 0] == np.float32(wanted)
    assert multiply(handle, eye, a, c, compute=compute) == 0
    assert c.get()[0, 0] == np.float32(wanted)


@pytest.mark.parametrize(
    ("compute", "x", "wanted"),
    [
        (TF32, 1 + 2**-10, 1 + 2**-10),
        (TF32, 1 + 2**-11, 1),  # a tie: to even, down
        (TF32, 1 + 3 * 2**-11, 1 + 2**-9),  # a tie: to even, up
        (TF32, 1 + 2**-11 + 2**-20, 1 + 2**-10),
        (TF32, 2 - 2**-12, 2),  # into the next power of two
        (BF16, 1 + 2**-8, 1),
        (BF16, 1 + 3 * 2**-8, 1 + 2**-6),
        (BF16, 3.14159, 3.140625),
        (BF16, 2.0**-149, 0.0),  # the smallest subnormal
        (BF16, np.inf, np.inf),
        (BF16, np.nan, np.nan),
        (BF16, 3.4028235e38, np.inf),
    ],
)
def test_rounding_is_to_nearest_even(handle: Any, compute: int, x: float, wanted: float) -> None:
    for sign in (1, -1):
        out = cp.zeros(1, np.float32)
        left, one = cp.full(1, sign * x, np.float32), cp.ones(1, np.float32)
        sizes = {"m": 1, "n": 1, "k": 1, "compute": compute}
        assert multiply(handle, left, one, out, **sizes) == 0
        np.testing.assert_array_equal(out.get(), np.float32(sign * wanted))
