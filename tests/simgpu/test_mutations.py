"""The emulator sees errors: right kernels with one line broken, and what it says about each.

Every case first runs the unbroken kernel, so a case cannot pass because the kernel never worked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpunet.testing import simgpu
from gpunet.testing.simgpu import sanitizer
from gpunet.testing.simgpu.modes import ORDERS
from tests.simgpu.host import Kernel, KernelError, RawKernel, RawModule, on_device

pytestmark = pytest.mark.usefixtures("cp")

not_under_asan = pytest.mark.skipif(
    sanitizer.wanted(), reason="AddressSanitizer sees it first and ends the process"
)

CUDA = Path(__file__).parent / "cuda"


def line_of(code: str, text: str) -> int:
    """The number of the one line with `text`."""
    found = [n for n, line in enumerate(code.split("\n"), start=1) if text in line]
    assert len(found) == 1, (text, found)
    return found[0]


def replace(code: str, old: str, new: str) -> str:
    assert code.count(old) == 1, old
    return code.replace(old, new)


def without_barrier(code: str, comment: str) -> str:
    return replace(code, f"__syncthreads();  // {comment}", "")


def function(code: str, name: str) -> Kernel:
    if "<" not in name:
        return RawKernel(code, name)
    return RawModule(code=code, name_expressions=[name]).get_function(name)


def batch_norm_error(code: str, block: int = 128) -> float:
    """The largest error of the mean, the variance and y."""
    rows, columns = 100, 7
    x = np.random.default_rng(0).normal(size=(rows, columns)) * 3 + 5
    gamma, beta = np.ones(columns), np.zeros(columns)
    y, mean, variance = (np.full(s, np.nan) for s in (x.shape, columns, columns))
    arrays = map(on_device, (x, gamma, beta, y, mean, variance))
    arguments = (*arrays, np.int32(rows), np.int32(columns), 1e-5)
    function(code, "batch_norm<double>")((columns,), (block,), arguments)
    expected = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    pairs = ((y, expected), (mean, x.mean(0)), (variance, x.var(0)))
    return float(np.max([np.abs(a - b).max() for a, b in pairs]))  # NaN if any is


def softmax_error(code: str, block: int = 128, shared_mem: int | None = None) -> float:
    """The largest error of the gradient and the loss."""
    rows, classes = 9, 200
    random = np.random.default_rng(0)
    logits = random.normal(size=(rows, classes)) * 4
    labels = random.integers(classes, size=rows, dtype=np.int32)
    gradient, loss = np.full_like(logits, np.nan), np.zeros(1)
    arguments = (*map(on_device, (logits, labels, gradient, loss)), np.int32(classes))
    shared_mem = block * 8 if shared_mem is None else shared_mem
    kernel = function(code, "softmax_cross_entropy<double>")
    kernel((rows,), (block,), arguments, shared_mem=shared_mem)
    log_sum = np.log(np.exp(logits).sum(1, keepdims=True))
    expected = np.exp(logits - log_sum)
    expected[np.arange(rows), labels] -= 1
    total = (log_sum[:, 0] - logits[np.arange(rows), labels]).sum()
    return float(np.max([np.abs(gradient - expected).max(), abs(loss[0] - total)]))


def matmul_error(code: str) -> float:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 40, 40)).astype(np.float32)
    c = np.full((40, 40), np.nan, np.float32)
    arguments = (*map(on_device, (a, b, c)), *[np.int32(40)] * 3)
    function(code, "matmul")((3, 3), (16, 16), arguments)
    return float(np.abs(c - a.astype(np.float64) @ b).max())


def transpose_error(code: str) -> float:
    x = np.random.default_rng(0).normal(size=(40, 70)).astype(np.float32)
    y = np.full((70, 40), np.nan, np.float32)
    arguments = (on_device(x), on_device(y), np.int32(40), np.int32(70))
    function(code, "transpose")((3, 2), (32, 8), arguments)
    return float(np.abs(y - x.T).max())


Runner = Callable[[str], float]
TOLERANCE = 1e-5


# ---------------------------------------------------------------------------------------------
# Wrong numbers


def errors_in_all_orders(code: str, error_of: Runner) -> list[float]:
    errors = []
    for order in ORDERS:
        with simgpu.schedule(order, seed=1):
            errors.append(error_of(code))
    return errors


@pytest.mark.parametrize(
    ("file", "comment", "error_of"),
    [
        ("batch_norm", "sums written", batch_norm_error),
        ("batch_norm", "total written", batch_norm_error),
        ("batch_norm", "total read", batch_norm_error),
        ("softmax_cross_entropy", "values written", softmax_error),
        ("softmax_cross_entropy", "halves folded", softmax_error),
        ("softmax_cross_entropy", "result read", softmax_error),
        ("matmul", "tiles written", matmul_error),
        ("matmul", "tiles read", matmul_error),
        ("matmul", "tile written", transpose_error),
    ],
)
def test_each_barrier_is_missed_in_some_order(file: str, comment: str, error_of: Runner) -> None:
    code = (CUDA / f"{file}.cu").read_text()
    assert max(errors_in_all_orders(code, error_of)) < TOLERANCE
    broken = errors_in_all_orders(without_barrier(code, comment), error_of)
    assert any(not error < 0.01 for error in broken), broken


@pytest.mark.parametrize(
    ("file", "comment", "error_of"),
    [
        ("batch_norm", "sums written", batch_norm_error),
        ("matmul", "tiles written", matmul_error),
        ("matmul", "tile written", transpose_error),
    ],
)
def test_reading_what_nobody_has_written_yet_gives_nan(
    file: str, comment: str, error_of: Runner
) -> None:
    code = without_barrier((CUDA / f"{file}.cu").read_text(), comment)
    assert np.isnan(error_of(code))


@pytest.mark.parametrize(
    ("file", "comment", "error_of"),
    [
        ("batch_norm", "total read", batch_norm_error),
        ("softmax_cross_entropy", "result read", softmax_error),
        ("matmul", "tiles read", matmul_error),
    ],
)
def test_a_missing_write_after_read_barrier_shows_in_the_plain_order(
    file: str, comment: str, error_of: Runner
) -> None:
    # Only because a warp runs ahead: in lock step every warp reads before any writes again.
    code = without_barrier((CUDA / f"{file}.cu").read_text(), comment)
    assert not error_of(code) < 0.01


def test_an_output_left_unwritten_stays_as_it_was() -> None:
    code = (CUDA / "batch_norm.cu").read_text()
    assert batch_norm_error(code) < TOLERANCE
    assert np.isnan(batch_norm_error(replace(code, "variance[column] = var;", "")))
    tail = replace(
        code,
        "row < rows; row += blockDim.x)\n        y",
        "row < rows - 1; row += blockDim.x)\n        y",
    )
    assert np.isnan(batch_norm_error(tail))


# ---------------------------------------------------------------------------------------------
# Barriers that cannot open


def error_from(run: Callable[[], object]) -> KernelError:
    with pytest.raises(KernelError) as caught:
        run()
    return caught.value


def test_a_barrier_that_some_threads_skip() -> None:
    code = (CUDA / "batch_norm.cu").read_text()
    broken = replace(
        code, "__syncthreads();  // sums written", "if (warp == 0) __syncthreads();  // divergent"
    )
    # Warp 0 waits at the divergent barrier, the others are at the next one.
    error = error_from(lambda: batch_norm_error(broken))
    assert error.line == line_of(broken, "// divergent")
    other = line_of(broken, "// total written")
    assert re.search(rf"divergent __syncthreads: .* waits at another one, .*:{other}$", str(error))
    assert (error.kernel, error.block, error.thread) == (
        "batch_norm<double>",
        (0, 0, 0),
        (0, 0, 0),
    )


def test_a_barrier_after_some_threads_have_returned() -> None:
    code = (CUDA / "matmul.cu").read_text()
    broken = replace(
        code,
        "    float sum = 0.0f;\n",
        "    if (row >= m || column >= n) return;\n    float sum = 0.0f;\n",
    )
    assert matmul_error(code) < TOLERANCE
    error = error_from(lambda: matmul_error(broken))
    assert error.line == line_of(broken, "// tiles written")
    assert "has returned without reaching it" in str(error)
    assert error.block == (2, 0, 0)


@pytest.mark.parametrize("newline", ["\n", " "])
def test_two_different_barriers_even_on_one_line(newline: str) -> None:
    code = f"""extern "C" __global__ void k() {{
    if (threadIdx.x < 32) __syncthreads();{newline}else __syncthreads(); }}"""
    error = error_from(lambda: RawKernel(code, "k")((1,), (64,), ()))
    assert error.line == 2
    assert ("(on the same line)" in str(error)) == (newline == " ")
    assert (error.thread, "thread (32, 0, 0) waits at another one" in str(error)) == (
        (0, 0, 0),
        True,
    )


# ---------------------------------------------------------------------------------------------
# Warps


def run_warp(body: str, block: int = 32) -> KernelError:
    code = f'extern "C" __global__ void k(int *out) {{\n{body}\n}}'
    out = np.zeros(1024, np.int32)
    return error_from(lambda: RawKernel(code, "k")((1,), (block,), (on_device(out),)))


def test_a_lane_that_returned_before_a_shuffle() -> None:
    error = run_warp(
        """if (threadIdx.x == 5) return;
        out[threadIdx.x] = __shfl_xor_sync(0xffffffff, 1, 1);"""
    )
    assert error.line == 3
    assert "names lane 5, but thread (5, 0, 0) has returned" in str(error)


def test_a_full_mask_in_a_block_that_is_no_multiple_of_32() -> None:
    code = (CUDA / "batch_norm.cu").read_text()
    assert batch_norm_error(code, block=96) < TOLERANCE
    error = error_from(lambda: batch_norm_error(code, block=80))
    assert "names lane 16, but this warp has only 16 threads" in str(error)
    assert error.thread == (64, 0, 0)
    assert error.line == min(
        n for n, line in enumerate(code.split("\n"), 1) if "__shfl_down_sync" in line
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("if (threadIdx.x < 16) __shfl_sync(0xffffffff, 1, 0); else __syncthreads();",
         r"names lane 16, but thread \(16, 0, 0\) waits at __syncthreads, k\.cu:2"),
        ("if (threadIdx.x < 16) __syncwarp(); else __ballot_sync(0xffffffff, 1);",
         r"__syncwarp: .* thread \(16, 0, 0\) waits at __ballot_sync, k\.cu:2"),
        ("__syncwarp(threadIdx.x < 16 ? 0xffffffff : 0xffff0001);",
         r"the mask is 0xffffffff, but thread \(16, 0, 0\) calls it with 0xffff0001"),
        ("__shfl_sync(0x0000ffff, 1, 0);",
         r"lane 16 calls it with a mask \(0x0000ffff\) that leaves it out"),
        ("if (threadIdx.x < 16) __shfl_sync(0x0000ffff, 1, 20);",
         r"lane 0 reads lane 20, which the mask \(0x0000ffff\) leaves out"),
        ("__shfl_sync(0xffffffff, 1, 0, 12);", "must be a power of two"),
    ],
)  # fmt: skip
def test_a_warp_that_cannot_exchange(body: str, message: str) -> None:
    error = run_warp(body)
    assert re.search(message, str(error)), str(error)
    assert (error.line, error.file, error.kernel) == (2, "k.cu", "k")


# ---------------------------------------------------------------------------------------------
# Shared memory


@not_under_asan
def test_too_little_dynamic_shared_memory() -> None:
    code = (CUDA / "softmax_cross_entropy.cu").read_text()
    assert softmax_error(code) < TOLERANCE
    for shared_mem in (0, 127 * 8):
        error = error_from(lambda size=shared_mem: softmax_error(code, shared_mem=size))
        assert "past the end of dynamic shared memory" in str(error)


@not_under_asan
def test_a_write_past_a_shared_variable() -> None:
    error = run_warp("__shared__ int box[31]; box[threadIdx.x] = 1; out[0] = box[0];")
    assert "past the end of a __shared__ variable" in str(error)


def test_more_static_shared_memory_than_a_block_has() -> None:
    error = run_warp("__shared__ int box[12289]; box[threadIdx.x] = 1; out[0] = box[0];")
    assert "uses 49156 bytes of shared memory, the limit is 49152" in str(error)


# ---------------------------------------------------------------------------------------------
# Arguments


@pytest.mark.parametrize(
    ("number", "wrong", "message"),
    [
        (7, np.int64(7), r"argument 7 is a int64 \(int64\) of 8 bytes, .* a integer of 4 bytes"),
        (7, 1 << 32, r"argument 7 is a int \(4294967296\) of 8 bytes, .* a integer of 4 bytes"),
        (8, np.float32(1e-5), r"argument 8 is a float32 \(float32\) of 4 bytes, .* of 8 bytes"),
        (6, np.float32(100), r"argument 6 is a float32 .*, its parameter is a integer of 4"),
        (8, on_device(np.ones(1)), r"argument 8 is .*, its parameter is a floating-point number"),
    ],
)
def test_an_argument_of_the_wrong_size_or_kind(number: int, wrong: object, message: str) -> None:
    arrays = [on_device(np.zeros(100)) for _ in range(6)]
    arguments = [*arrays, np.int32(1), np.int32(1), 1e-5]
    kernel = function((CUDA / "batch_norm.cu").read_text(), "batch_norm<double>")
    kernel((1,), (32,), arguments)
    arguments[number] = wrong
    with pytest.raises(TypeError, match=rf"^batch_norm<double>: {message}"):
        kernel((1,), (32,), arguments)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_number_of_arguments(change: int) -> None:
    arrays = [on_device(np.zeros(100)) for _ in range(6)]
    arguments = [*arrays, np.int32(1), np.int32(1), 1e-5, 0.0][: 9 + change]
    kernel = function((CUDA / "batch_norm.cu").read_text(), "batch_norm<double>")
    with pytest.raises(TypeError, match=rf"takes 9 arguments, {9 + change} were given"):
        kernel((1,), (32,), arguments)
