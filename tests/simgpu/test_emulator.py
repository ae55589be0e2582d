"""Real kernels on the emulator against NumPy in float64, and each thing that a kernel may call."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.testing import simgpu
from gpunet.testing.simgpu.modes import ORDERS as NAMES
from tests.simgpu.host import Kernel, KernelError, RawKernel, RawModule, on_device

pytestmark = pytest.mark.usefixtures("cp")

CUDA = Path(__file__).parent / "cuda"
TYPES = {"float": np.float32, "double": np.float64}
TOLERANCE = {"float": 2e-5, "double": 1e-13}
ORDERS = [("forward", 0), ("reverse", 0), ("random", 1), ("random", 2)]


def compile_error() -> type[Exception]:
    error: type[Exception] = importlib.import_module("cupy").cuda.compiler.CompileException
    return error


def read(name: str) -> str:
    return (CUDA / f"{name}.cu").read_text()


def template(name: str, cuda_type: str) -> Kernel:
    expression = f"{name}<{cuda_type}>"
    return RawModule(code=read(name), name_expressions=[expression]).get_function(expression)


def run(code: str, out: np.ndarray, *args: Any, grid: int = 1, block: int = 32) -> np.ndarray:
    """Run kernel `k` of `code` as k(out, *args)."""
    RawKernel(code, "k")((grid,), (block,), (on_device(out), *args))
    return out


# ---------------------------------------------------------------------------------------------
# Real kernels


@pytest.mark.parametrize("cuda_type", TYPES)
@pytest.mark.parametrize("block", [32, 64, 256, 1024])
@pytest.mark.parametrize(("order", "seed"), ORDERS)
def test_batch_norm(cuda_type: str, block: int, order: str, seed: int) -> None:
    dtype = TYPES[cuda_type]
    random = np.random.default_rng(block)
    rows, columns = 100, 7
    x = (random.normal(size=(rows, columns)) * 3 + 5).astype(dtype)
    gamma, beta = random.normal(size=(2, columns)).astype(dtype)
    y, mean, variance = (np.full(s, np.nan, dtype) for s in (x.shape, columns, columns))
    arrays = [on_device(a) for a in (x, gamma, beta, y, mean, variance)]
    with simgpu.schedule(order, seed):
        template("batch_norm", cuda_type)(
            (columns,), (block,), (*arrays, np.int32(rows), np.int32(columns), dtype(1e-5))
        )
    exact = x.astype(np.float64)
    expected = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5) * gamma + beta
    np.testing.assert_allclose(y, expected, atol=TOLERANCE[cuda_type])
    np.testing.assert_allclose(mean, exact.mean(0), rtol=TOLERANCE[cuda_type])
    np.testing.assert_allclose(variance, exact.var(0), rtol=TOLERANCE[cuda_type])


@pytest.mark.parametrize("cuda_type", TYPES)
@pytest.mark.parametrize("block", [32, 128, 512])
@pytest.mark.parametrize(("order", "seed"), ORDERS)
def test_softmax_cross_entropy(cuda_type: str, block: int, order: str, seed: int) -> None:
    dtype = TYPES[cuda_type]
    random = np.random.default_rng(block)
    rows, classes = 33, 130
    logits = (random.normal(size=(rows, classes)) * 4).astype(dtype)
    labels = random.integers(classes, size=rows, dtype=np.int32)
    gradient, loss = np.full_like(logits, np.nan), np.zeros(1, dtype)
    arrays = [on_device(a) for a in (logits, labels, gradient, loss)]
    with simgpu.schedule(order, seed):
        template("softmax_cross_entropy", cuda_type)(
            (rows,), (block,), (*arrays, np.int32(classes)), shared_mem=block * dtype().itemsize
        )
    exact = logits.astype(np.float64)
    log_sum = np.log(np.exp(exact).sum(1, keepdims=True))
    expected = np.exp(exact - log_sum)
    expected[np.arange(rows), labels] -= 1
    np.testing.assert_allclose(gradient, expected, atol=TOLERANCE[cuda_type])
    total = (log_sum[:, 0] - exact[np.arange(rows), labels]).sum()
    np.testing.assert_allclose(loss[0], total, rtol=TOLERANCE[cuda_type])


@pytest.mark.parametrize("shape", [(16, 16, 16), (33, 17, 50), (1, 1, 1)])
@pytest.mark.parametrize(("order", "seed"), ORDERS)
def test_tiled_matmul(shape: tuple[int, int, int], order: str, seed: int) -> None:
    m, n, k = shape
    random = np.random.default_rng(0)
    a = random.normal(size=(m, k)).astype(np.float32)
    b = random.normal(size=(k, n)).astype(np.float32)
    c = np.full((m, n), np.nan, np.float32)
    sizes = [np.int32(s) for s in shape]
    with simgpu.schedule(order, seed):
        RawKernel(read("matmul"), "matmul")(
            (-(-n // 16), -(-m // 16)), (16, 16), (*map(on_device, (a, b, c)), *sizes)
        )
    np.testing.assert_allclose(c, a.astype(np.float64) @ b, atol=1e-5)


@pytest.mark.parametrize("rows_of_block", [1, 8, 32])
def test_transpose_in_two_dimensions(rows_of_block: int) -> None:
    x = np.random.default_rng(0).normal(size=(45, 70)).astype(np.float32)
    y = np.full((70, 45), np.nan, np.float32)
    arguments = (on_device(x), on_device(y), np.int32(45), np.int32(70))
    RawKernel(read("matmul"), "transpose")((3, 2), (32, rows_of_block), arguments)
    np.testing.assert_array_equal(y, x.T)


@pytest.mark.parametrize("counter", [0, 12345, (1 << 63) + 7])
def test_philox_is_numpys_bit_for_bit(counter: int) -> None:
    key, blocks = (0x0123456789ABCDEF, 0xFEDCBA9876543210), 75
    out = np.zeros(4 * blocks, np.uint64)
    RawKernel(read("philox"), "philox")(
        (2,), (64,), (*map(np.uint64, (*key, counter)), on_device(out), np.int32(blocks))
    )
    expected = np.random.Philox(key=key[0] | key[1] << 64, counter=counter).random_raw(4 * blocks)
    np.testing.assert_array_equal(out, expected)


# ---------------------------------------------------------------------------------------------
# Threads and blocks


def test_indices_of_threads_and_blocks_in_three_dimensions() -> None:
    code = """
    extern "C" __global__ void k(unsigned int *out) {
        const unsigned int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
        const unsigned int thread =
            (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
        const unsigned int size = blockDim.x * blockDim.y * blockDim.z;
        out[block * size + thread] += block * 1000 + thread;
    }"""
    out = np.zeros((24, 30), np.uint32)
    for order in NAMES:
        with simgpu.schedule(order, 3):
            RawKernel(code, "k")((2, 3, 4), (5, 3, 2), (on_device(out),))
    np.testing.assert_array_equal(out, 3 * (np.arange(24)[:, None] * 1000 + np.arange(30)))


@pytest.mark.parametrize(
    ("order", "first"), [("forward", [0, 1, 2]), ("reverse", [95, 94, 93]), ("random", None)]
)
def test_the_schedule_orders_blocks_and_threads(order: str, first: list[int] | None) -> None:
    code = """extern "C" __global__ void k(int *out, int *count) {
        out[atomicAdd(count, 1)] = blockIdx.x * blockDim.x + threadIdx.x; }"""
    out, count = np.full(96, -1, np.int32), np.zeros(1, np.int32)
    with simgpu.schedule(order, 7):
        run(code, out, on_device(count), grid=3)
    assert sorted(out) == list(range(96))
    if first is None:
        assert list(out) != list(range(96))
    else:
        assert list(out[:3]) == first


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ValueError, match="sideways"), simgpu.schedule("sideways"):
        pass


def test_two_blocks_that_depend_on_their_order_differ_between_orders() -> None:
    code = """extern "C" __global__ void k(int *out) { out[0] = blockIdx.x; }"""
    results = set()
    for order in ("forward", "reverse"):
        with simgpu.schedule(order):
            results.add(int(run(code, np.zeros(1, np.int32), grid=5)[0]))
    assert results == {4, 0}


def test_launches_from_several_threads_do_not_meet() -> None:
    code = read("batch_norm")
    name = "batch_norm<double>"
    RawModule(code=code, name_expressions=[name]).get_function(name)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            test_batch_norm("double", 64, "forward", 0)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# ---------------------------------------------------------------------------------------------
# Barriers and warps


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("__syncthreads_count(threadIdx.x % 3 == 0)", 32),
        ("__syncthreads_and(threadIdx.x < 96)", 1),
        ("__syncthreads_and(threadIdx.x < 95)", 0),
        ("__syncthreads_or(threadIdx.x == 95)", 1),
        ("__syncthreads_or(threadIdx.x > 95)", 0),
        ("__ballot_sync(0xffffffff, threadIdx.x % 32 < 3)", 7),
        ("__any_sync(0xffffffff, threadIdx.x % 32 == 31)", 1),
        ("__any_sync(0xffffffff, 0)", 0),
        ("__all_sync(0xffffffff, threadIdx.x >= 0)", 1),
        ("__all_sync(0xffffffff, threadIdx.x % 32 > 0)", 0),
        ("__match_any_sync(0xffffffff, threadIdx.x % 32 / 32)", -1),
        ("__reduce_add_sync(0xffffffff, threadIdx.x % 32)", 496),
        ("__reduce_min_sync(0xffffffff, (int)(threadIdx.x % 32) - 9)", -9),
        ("__reduce_max_sync(0xffffffff, threadIdx.x % 32)", 31),
        ("__reduce_and_sync(0xffffffff, threadIdx.x | 4u) & 31u", 4),
        ("__reduce_or_sync(0xffffffff, threadIdx.x % 32)", 31),
        ("__reduce_xor_sync(0xffffffff, threadIdx.x % 32 == 3 ? 5u : 0u)", 5),
    ],
)
def test_votes(call: str, expected: int) -> None:
    code = f'extern "C" __global__ void k(int *out) {{ out[threadIdx.x] = {call}; }}'
    out = run(code, np.full(96, -1, np.int32), block=96)
    np.testing.assert_array_equal(out, expected)


def test_lanes_with_the_same_value_find_each_other() -> None:
    code = """extern "C" __global__ void k(unsigned *out) {
        int all;
        out[threadIdx.x] = __match_any_sync(0xffffffff, threadIdx.x % 4 == 0 ? 1.5f : 2.5f);
        if (__match_all_sync(0xffffffff, threadIdx.x, &all) || all) out[threadIdx.x] = 0;
        if (!__match_all_sync(0xffffffff, 7, &all) || !all) out[threadIdx.x] = 0; }"""
    out = run(code, np.zeros(32, np.uint32))
    fourth = 0x11111111
    assert out.tolist() == [fourth if lane % 4 == 0 else 0xFFFFFFFF ^ fourth for lane in range(32)]


def test_a_program_that_takes_any_active_mask_is_right() -> None:
    code = """extern "C" __global__ void k(int *out) {
        if (threadIdx.x % 3) return;
        const unsigned mask = __activemask();
        const int leader = __ffs(mask) - 1, lane = threadIdx.x % 32;
        if (lane == leader) atomicAdd(out, __popc(mask)); }"""
    assert run(code, np.zeros(1, np.int32), block=64)[0] == 22


def test_a_program_that_takes_all_threads_for_active_is_refused() -> None:
    code = """extern "C" __global__ void k(int *out) {
        out[threadIdx.x] = __shfl_down_sync(__activemask(), (int)threadIdx.x, 16); }"""
    with pytest.raises(KernelError, match=r"which the mask .* leaves out"):
        run(code, np.zeros(32, np.int32))


def lanes_of(function: str, by: int, width: int) -> list[int]:
    """The lane each lane reads, by the CUDA C Programming Guide's words."""
    result = []
    for lane in range(32):
        start = lane - lane % width
        source = {
            "": start + by % width,
            "_up": lane - by if lane - by >= start else lane,
            "_down": lane + by if lane + by < start + width else lane,
            "_xor": lane ^ by if (lane ^ by) < start + width else lane,
        }[function]
        result.append(source)
    return result


@pytest.mark.parametrize("function", ["", "_up", "_down", "_xor"])
@pytest.mark.parametrize("width", [32, 16, 4])
@pytest.mark.parametrize("by", [0, 1, 3, 8, 31])
def test_shuffles(function: str, width: int, by: int) -> None:
    code = f"""extern "C" __global__ void k(double *out) {{
        const double mine = threadIdx.x + 0.5;
        out[threadIdx.x] = __shfl{function}_sync(0xffffffff, mine, {by}, {width}); }}"""
    out = run(code, np.zeros(32))
    np.testing.assert_array_equal(out, np.array(lanes_of(function, by, width)) + 0.5)


@pytest.mark.parametrize("cuda_type", ["int", "unsigned", "long long", "float", "double"])
def test_shuffled_values_keep_their_type_and_bits(cuda_type: str) -> None:
    code = f"""extern "C" __global__ void k(int *out) {{
        const {cuda_type} mine = ({cuda_type})(threadIdx.x * 3 + 1);
        out[threadIdx.x] = (int)(__shfl_xor_sync(0xffffffff, mine, 1) / 2); }}"""
    mine = np.arange(32) * 3 + 1
    halves = mine[np.arange(32) ^ 1] // 2
    np.testing.assert_array_equal(run(code, np.zeros(32, np.int32)), halves)


def test_half_warps_exchange_on_their_own() -> None:
    code = """extern "C" __global__ void k(int *out) {
        const int lane = threadIdx.x;
        if (lane < 16) out[lane] = __shfl_xor_sync(0x0000ffff, lane, 1);
        else { __syncwarp(0xffff0000); out[lane] = __ballot_sync(0xffff0000, lane % 2) != 0; } }"""
    out = run(code, np.full(32, -1, np.int32))
    np.testing.assert_array_equal(out, [*(np.arange(16) ^ 1), *[1] * 16])


def test_syncwarp_orders_shared_memory_within_a_warp() -> None:
    code = """extern "C" __global__ void k(int *out) {
        __shared__ int box[32];
        box[threadIdx.x] = threadIdx.x;
        __syncwarp();
        out[threadIdx.x] = box[31 - threadIdx.x]; }"""
    np.testing.assert_array_equal(run(code, np.zeros(32, np.int32)), np.arange(31, -1, -1))
    poisoned = run(code.replace("__syncwarp();", ""), np.zeros(32, np.int32))
    assert poisoned[0] == -1  # lane 0 read before lane 31 wrote


# ---------------------------------------------------------------------------------------------
# Shared memory


def test_shared_declarations_in_all_their_forms() -> None:
    code = """
    #define BUFFER(T, name) __shared__ T name[4]; \\
        name[threadIdx.x % 4] = 1
    struct Pair { int a, b; };
    template <class T, int N> struct Holder { T item[N]; };
    extern __shared__ int whole[];
    extern "C" __global__ void k(int *out) {
        __shared__ int one, grid[2][3], *pointer;
        __shared__ __align__(16) Pair pairs[2];
        volatile __shared__ int flag[1];
        __shared__ Holder<int, 3>
            holder;
        extern __shared__ float same[];
        BUFFER(int, buffer);
        if (threadIdx.x == 0) {
            one = 1; grid[1][2] = 2; pointer = &one; pairs[1].b = 3; flag[0] = 4;
            holder.item[2] = 5; whole[0] = 1065353216;
        }
        __syncthreads();
        const int sizes = sizeof(grid) + sizeof(pairs) + sizeof(holder);
        out[threadIdx.x] = *pointer + grid[1][2] + pairs[1].b + flag[0] + holder.item[2] +
                           (int)same[0] + buffer[2] + sizes * 100;
        const char *text = "__shared__ int no; ";
        assert(text[0] == '_');
    }"""
    out = np.zeros(32, np.int32)
    RawKernel(code, "k")((2,), (32,), (on_device(out),), shared_mem=16)
    np.testing.assert_array_equal(out, 17 + 100 * (24 + 16 + 12))


def test_rewriting_keeps_line_numbers() -> None:
    code = """__device__ void f() {
        __shared__ int
            a,
            b[3];
        this_is_an_error;
    }"""
    with pytest.raises(compile_error(), match=r"kern\.cu:5:9: error: 'this_is_an_error'"):
        RawKernel(code, "k")((1,), (1,), ())


def test_shared_memory_of_each_block_starts_poisoned() -> None:
    code = """extern "C" __global__ void k(float *out) {
        __shared__ float box[32];
        extern __shared__ float whole[];
        out[blockIdx.x * 32 + threadIdx.x] = box[threadIdx.x] + whole[threadIdx.x];
        box[threadIdx.x] = whole[threadIdx.x] = 1; }"""
    out = np.zeros(96, np.float32)
    RawKernel(code, "k")((3,), (32,), (on_device(out),), shared_mem=128)
    assert np.isnan(out).all()


def test_templates_do_not_share_their_shared_memory() -> None:
    code = """
    template <typename T> __device__ T *box() { __shared__ T values[64]; return values; }
    template <typename T> __global__ void k(T *out) {
        box<T>()[threadIdx.x] = threadIdx.x;
        box<int>()[threadIdx.x] = -5;
        __syncthreads();
        out[threadIdx.x] = box<T>()[63 - threadIdx.x]; }"""
    names = ["k<float>", "k<double>"]
    module = RawModule(code=code, name_expressions=names)
    for name, dtype in zip(names, (np.float32, np.float64), strict=True):
        out = np.zeros(64, dtype)
        module.get_function(name)((1,), (64,), (on_device(out),))
        np.testing.assert_array_equal(out, np.arange(63, -1, -1))


# ---------------------------------------------------------------------------------------------
# The language


@pytest.mark.parametrize(
    "name", ["INFINITY", "NAN", "FLT_MAX", "M_PI", "std::sqrt(x)", "int32_t(1)"]
)
def test_a_name_that_nvrtc_lacks_is_an_error(name: str) -> None:
    code = f'extern "C" __global__ void k(float *out) {{ float x = 1; out[0] = {name}; }}'
    with pytest.raises(compile_error(), match=r"k\.cu:1:"):
        run(code, np.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("max(3, 4u)", 4),
        ("max(1.0f, 2.0)", 2),
        ("fmaxf(__int_as_float(0x7fffffff), 2.0f)", 2),
        ("fminf(2.0f, __int_as_float(0x7fffffff))", 2),
        ("min(-1, 1)", -1),
        ("__expf(0.0f) + __logf(1.0f)", 1),
        ("__fdividef(6.0f, 1.5f)", 4),
        ("__fdividef(6.0f, 1.5e38f)", 0),
        ("sqrtf(2.0f) == 1.41421354f", 1),
        ("rsqrtf(4.0f)", 0.5),
        ("fmaf(16777216.0f, 1.0f, 1.0f) == 16777216.0f", 1),
        ("isnan(__int_as_float(0x7fffffff)) + isinf(1.0)", 1),
        ("isinf(__longlong_as_double(0x7ff0000000000000ll))", 1),
        ("__float_as_int(1.0f) == 0x3f800000", 1),
        ("__popc(255) + __clz(1) + __ffs(8) + __clz(0) + __ffs(0)", 8 + 31 + 4 + 32 + 0),
        ("__brev(1u) == 0x80000000u", 1),
        ("__umulhi(0x80000000u, 6u)", 3),
        ("__mulhi(-1, 1)", -1),
        ("__mul64hi(-1, 1)", -1),
        ("__umul64hi(1ull << 63, 10ull)", 5),
        ("__float2int_rn(2.5f) + __float2int_rz(-2.5f)", 0),
        ("__double2int_rz(1e20) == 2147483647", 1),
        ("__double2ull_rz(-1.0)", 0),
        ("make_float4(1, 2, 3, 4).w + make_int2(5, 6).y", 10),
        ("sizeof(float4) + alignof(float2) + sizeof(float3)", 16 + 8 + 12),
        ("dim3(7).x + dim3(7).z", 8),
        ("abs(-2.5f) + abs(-1)", 3.5),
        ("pow(3.0f, 2) + exp2(3.0)", 17),
        ("__saturatef(-1.0f) + __saturatef(7.0f)", 1),
        ("__CUDA_ARCH__ >= 700", 1),
        ("__ldg(out) + warpSize", 31),
    ],
)
def test_device_functions(expression: str, expected: float) -> None:
    code = f'extern "C" __global__ void k(double *out) {{ out[0] = {expression}; }}'
    assert run(code, np.full(1, -1.0), block=1)[0] == expected


@pytest.mark.parametrize(
    ("call", "before", "after", "returned"),
    [
        ("atomicAdd(out, 2)", 5, 5 + 2 * 32, 5),
        ("atomicSub(out, 2)", 5, 5 - 2 * 32, 5),
        ("atomicMax(out, (int)threadIdx.x)", 5, 31, 5),
        ("atomicMin(out, -(int)threadIdx.x)", 5, -31, 5),
        ("atomicExch(out, (int)threadIdx.x)", 5, 31, 5),
        ("atomicCAS(out, 5, 9)", 5, 9, 5),
        ("atomicOr(out, 1 << threadIdx.x)", 0, -1, 0),
        ("(int)atomicInc((unsigned *)out, 6u)", 0, 32 % 7, 0),
    ],
)
def test_atomics(call: str, before: int, after: int, returned: int) -> None:
    code = f"""extern "C" __global__ void k(int *out) {{
        const int old = {call}; if (threadIdx.x == 0) out[1] = old; }}"""
    out = run(code, np.array([before, -7], np.int32))
    assert list(out) == [after, returned]


@pytest.mark.parametrize(
    "call", ["atomicMax((float *)out, 1.0f)", "max(0ull, 1)", "sqrt(4)", "fmax(1.0f, 1.0)"]
)
def test_an_overload_that_cuda_lacks_is_an_error(call: str) -> None:
    with pytest.raises(compile_error(), match=r"k\.cu:1:"):
        run(f'extern "C" __global__ void k(int *out) {{ {call}; }}', np.zeros(1, np.int32))


# ---------------------------------------------------------------------------------------------
# Errors


def test_an_error_names_kernel_block_thread_and_line_and_leaves_the_emulator_usable() -> None:
    code = """extern "C" __global__ void k(int *out) {
        __syncthreads();
        assert(blockIdx.x != 2 || threadIdx.x != 37);
        out[blockIdx.x * 64 + threadIdx.x] = 1;
        __syncthreads();
    }"""
    out = np.zeros(192, np.int32)
    for _ in range(3):
        with pytest.raises(KernelError, match=r"assertion failed: blockIdx\.x != 2") as caught:
            run(code, out, grid=3, block=64)
        assert caught.value.kernel == "k"
        assert (caught.value.block, caught.value.thread) == ((2, 0, 0), (37, 0, 0))
        assert (caught.value.file, caught.value.line) == ("k.cu", 3)
        assert "k.cu:3: kernel k, block (2, 0, 0), thread (37, 0, 0)" in str(caught.value)
    assert out[:128].all()
    run(code, out, grid=2, block=64)
    test_batch_norm("float", 1024, "forward", 0)


def test_a_line_directive_names_the_file() -> None:
    code = '#line 70 "kernels/mine.cu"\nextern "C" __global__ void k(int *out) { __trap(); }'
    with pytest.raises(KernelError, match=r"^kernels/mine\.cu:70: kernel k, .*__trap\(\)"):
        run(code, np.zeros(1, np.int32))
