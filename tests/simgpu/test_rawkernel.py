"""RawKernel and RawModule keep CuPy's rules: arguments, launches, names, options, captures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpunet.testing.simgpu import compiler, counters, emulator
from gpunet.testing.simgpu.array import ndarray
from gpunet.testing.simgpu.compiler import CompileException, host_options
from gpunet.testing.simgpu.emulator import KernelError, rewrite_shared
from gpunet.testing.simgpu.errors import CUDADriverError, CUDARuntimeError
from gpunet.testing.simgpu.pool import MemoryPool, using_allocator
from gpunet.testing.simgpu.rawkernel import RawKernel, RawModule, pack
from gpunet.testing.simgpu.stream import Stream

pytestmark = pytest.mark.skipif(not compiler.available()[0], reason=compiler.available()[1])

FILL = 'extern "C" __global__ void k(float *out, float value) { out[threadIdx.x] = value; }'
COUNT = 'extern "C" __global__ void k(int *out) { atomicAdd(out, 1); }'


def on_device(array: np.ndarray) -> SimpleNamespace:
    """What a kernel sees of a device array: its address."""
    return SimpleNamespace(data=SimpleNamespace(ptr=array.ctypes.data), dtype=array.dtype)


def launch_count(grid: tuple[int, ...], block: tuple[int, ...], **options: Any) -> int:
    """The number of threads that a launch runs."""
    out = np.zeros(1, np.int32)
    RawKernel(COUNT, "k")(grid, block, (on_device(out),), **options)
    return int(out[0])


# ---------------------------------------------------------------------------------------------
# Arguments


@pytest.mark.parametrize(
    ("argument", "dtype", "kind"),
    [
        (3, np.int64, "i"),
        (-3, np.int64, "i"),
        ((1 << 63) + 1, np.uint64, "i"),
        (2.5, np.float64, "f"),
        (True, np.bool_, "i"),
        (1 + 2j, np.complex128, "o"),
        (np.int8(-3), np.int8, "i"),
        (np.uint16(3), np.uint16, "i"),
        (np.float16(2.5), np.float16, "f"),
        (np.float32(2.5), np.float32, "f"),
        (np.float64(2.5), np.float64, "f"),
        (np.complex64(1j), np.complex64, "o"),
        (np.full((1, 1), 7, np.int32), np.int32, "i"),
    ],
)
def test_a_number_is_passed_by_value(argument: Any, dtype: Any, kind: str) -> None:
    assert pack(argument) == (np.asarray(argument, dtype).tobytes(), kind)


def test_a_struct_is_passed_by_value() -> None:
    code = """struct Pair { int a; double b; };
    extern "C" __global__ void k(double *out, Pair pair, const float4 v, bool flag) {
        out[0] = pair.a + pair.b + v.w + flag; }"""
    pair = np.zeros(1, np.dtype([("a", np.int32), ("b", np.float64)], align=True))
    pair["a"], pair["b"] = 2, 0.5
    vector = np.zeros((), np.dtype([("xyzw", np.float32, 4)]))
    vector["xyzw"] = [1, 2, 3, 4]
    out = np.zeros(1)
    RawKernel(code, "k")((1,), (1,), (on_device(out), pair[0], vector[()], True))
    assert out[0] == 7.5


def test_none_is_the_null_pointer_and_integers_may_be_addresses() -> None:
    code = """extern "C" __global__ void k(int *out, const int *maybe) {
        out[0] = maybe ? *maybe : -1; }"""
    out, other = np.zeros(1, np.int32), np.full(1, 5, np.int32)
    kernel = RawKernel(code, "k")
    kernel((1,), (1,), (on_device(out), None))
    assert out[0] == -1
    kernel((1,), (1,), (out.ctypes.data, SimpleNamespace(ptr=other.ctypes.data)))
    assert out[0] == 5


def test_an_array_of_the_host_is_refused() -> None:
    kernel = RawKernel(FILL, "k")
    with pytest.raises(TypeError, match=r"numpy\.ndarray of shape \(4,\) as a kernel parameter"):
        kernel((1,), (4,), (np.zeros(4, np.float32), np.float32(1)))


@pytest.mark.parametrize("wrong", ["text", [1], object()])
def test_an_object_of_an_unknown_type_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        pack(wrong)


@pytest.mark.parametrize("wrong", [1.0, 1, np.int32(1), np.float64(1), None])
def test_an_argument_that_the_gpu_would_misread_is_refused(wrong: object) -> None:
    out = np.full(1, -1, np.float32)
    kernel = RawKernel(FILL, "k")
    with pytest.raises(TypeError, match=r"^k: argument 1 is .*, its parameter is a floating"):
        kernel((1,), (1,), (on_device(out), wrong))
    kernel((1,), (1,), (on_device(out), np.float32(2)))
    assert out[0] == 2


# ---------------------------------------------------------------------------------------------
# Launches


@pytest.mark.parametrize(
    ("grid", "block", "threads"),
    [
        ((3,), (5,), 15),
        ((2, 3), (4, 5), 120),
        ((2, 3, 4), (5, 6, 7), 5040),
        ((1,), (1024,), 1024),
        ((1,), (16, 64), 1024),
        ((0,), (4,), 4),  # CuPy makes it one block
        ((2,), (0, 0), 2),
    ],
)
def test_every_thread_runs_once(
    grid: tuple[int, ...], block: tuple[int, ...], threads: int
) -> None:
    assert launch_count(grid, block) == threads


@pytest.mark.parametrize(
    ("grid", "block"),
    [
        ((1,), (1025,)),
        ((1,), (32, 33)),
        ((1,), (1, 1, 65)),
        ((1, 65536), (1,)),
        ((1 << 31,), (1,)),
    ],
)
def test_a_launch_beyond_cudas_limits_is_refused(
    grid: tuple[int, ...], block: tuple[int, ...]
) -> None:
    with pytest.raises(CUDADriverError, match="CUDA_ERROR_INVALID_VALUE: invalid argument"):
        launch_count(grid, block)


def test_more_threads_than_the_launch_bounds_are_refused() -> None:
    code = """
    extern "C" __global__ void __launch_bounds__(64, 2) k(int *out) { atomicAdd(out, 1); }
    extern "C" __launch_bounds__(512) __global__ void other(int *out) {}"""
    out = np.zeros(1, np.int32)
    kernel, other = RawKernel(code, "k"), RawKernel(code, "other")
    kernel((1,), (64,), (on_device(out),))
    with pytest.raises(CUDADriverError, match="too many resources requested for launch"):
        kernel((1,), (65,), (on_device(out),))
    assert out[0] == 64
    assert (kernel.max_threads_per_block, other.max_threads_per_block) == (64, 512)
    assert RawKernel(COUNT, "k").attributes["max_threads_per_block"] == 1024


def test_dynamic_shared_memory_beyond_48_kib_needs_the_attribute() -> None:
    code = """extern "C" __global__ void k(int *out, int n) {
        extern __shared__ int memory[];
        memory[n - 1] = 3; out[0] = memory[n - 1]; }"""
    kernel, out = RawKernel(code, "k"), np.zeros(1, np.int32)
    assert kernel.max_dynamic_shared_size_bytes == 48 * 1024
    kernel((1,), (1,), (on_device(out), np.int32(12 * 1024)), shared_mem=48 * 1024)
    arguments = (on_device(out), np.int32(25 * 1024))
    with pytest.raises(CUDADriverError, match="INVALID_VALUE"):
        kernel((1,), (1,), arguments, shared_mem=100 * 1024)
    kernel.max_dynamic_shared_size_bytes = 100 * 1024
    kernel((1,), (1,), arguments, shared_mem=100 * 1024)
    assert out[0] == 3
    with pytest.raises(CUDADriverError, match="INVALID_VALUE"):
        kernel.max_dynamic_shared_size_bytes = 1 << 20
    assert RawKernel(code, "k").max_dynamic_shared_size_bytes == 48 * 1024


def test_sizes_are_tuples() -> None:
    out = np.zeros(1, np.int32)
    with pytest.raises(TypeError, match=r"'grid' has incorrect type \(expected tuple, got int\)"):
        RawKernel(COUNT, "k")(1, (1,), (on_device(out),))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"'options' has incorrect type \(expected tuple"):
        RawKernel(COUNT, "k", ["-DX"])  # type: ignore[arg-type]


def test_negative_shared_memory_is_refused() -> None:
    with pytest.raises(OverflowError):
        launch_count((1,), (1,), shared_mem=-1)


# ---------------------------------------------------------------------------------------------
# Names and options


def test_a_kernel_must_be_found_by_its_plain_name() -> None:
    mangled = "__global__ void k(int *out) {}"
    for code, name in ((mangled, "k"), (COUNT, "missing"), (mangled, "k<int>")):
        with pytest.raises(CUDADriverError, match="CUDA_ERROR_NOT_FOUND: named symbol not found"):
            RawKernel(code, name).compile()
    assert RawModule(code=mangled, name_expressions=["k"]).get_function("k")


def test_a_kernel_named_like_a_function_of_the_c_library() -> None:
    # printf makes the library depend on the C library, whose index() is then found as well.
    code = """extern "C" __global__ void index(int *out) {
        if (out[0] > 0) printf("never");
        out[0] = 7; }"""
    out = np.zeros(1, np.int32)
    RawKernel(code, "index")((1,), (1,), (on_device(out),))
    assert out[0] == 7
    with pytest.raises(CUDADriverError, match="NOT_FOUND"):
        RawKernel(code.replace('extern "C"', ""), "index").compile()


def test_templates_by_name_expressions() -> None:
    code = """
    namespace inner {
    template <typename T, int N> __global__ void k(T *out) { out[threadIdx.x] = T(N) / 2; }
    }
    extern "C" __global__ void plain(double *out) { out[0] = -1; }"""
    names = ["inner::k<double, 3>", "inner::k<long long, 5>"]
    module = RawModule(code=code, name_expressions=names)
    for name, dtype, expected in zip(names, (np.float64, np.int64), (1.5, 2), strict=True):
        out = np.zeros(4, dtype)
        kernel = module.get_function(name)
        kernel((1,), (4,), (on_device(out),))
        assert (out == expected).all()
        assert kernel.name == name
    out = np.zeros(1)
    module.get_function("plain")((1,), (1,), (on_device(out),))
    assert out[0] == -1
    with pytest.raises(CUDADriverError, match="NOT_FOUND"):
        module.get_function("inner::k<float, 1>")


def test_a_name_expression_that_cannot_be_parsed() -> None:
    for wrong in ("k<nothing>", "absent<int>"):
        module = RawModule(
            code="template <class T> __global__ void k(T *) {}", name_expressions=[wrong]
        )
        with pytest.raises(CompileException, match="Error in parsing name expression"):
            module.compile()


def test_modules_take_code_and_only_by_keyword() -> None:
    with pytest.raises(TypeError, match="Exactly one of"):
        RawModule()
    with pytest.raises(TypeError, match="Exactly one of"):
        RawModule(code=COUNT, path="a.cubin")
    with pytest.raises(TypeError):
        RawModule(COUNT)  # type: ignore[misc]
    with pytest.raises(ValueError, match="only nvrtc supports"):
        RawModule(code=COUNT, backend="nvcc", name_expressions=["k"])
    for option in ("translate_cucomplex", "enable_cooperative_groups"):
        with pytest.raises(NotImplementedError, match=option):
            RawKernel(COUNT, "k", **{option: True})


def test_a_compile_error_names_file_and_line() -> None:
    code = 'extern "C" __global__ void k(int *out) {\n    out[0] = missing;\n}'
    with pytest.raises(CompileException, match=r"k\.cu:2:14: error: 'missing' was not declared"):
        RawKernel(code, "k").compile()
    named = f'#line 1 "kernels/nn/mine.cu"\n{code}'
    with pytest.raises(CompileException, match=r"kernels/nn/mine\.cu:2:14: error:"):
        RawKernel(named, "k").compile()


def test_options_define_and_include(tmp_path: Path) -> None:
    (tmp_path / "part.cuh").write_text(
        "#pragma once\n__device__ int part() {\n  __shared__ int box; box = FIVE; assert(box < 9);"
        "\n  return box; }\n"
    )
    code = '#include "part.cuh"\nextern "C" __global__ void k(int *out) { out[0] = part() + SIX; }'
    out = np.zeros(1, np.int32)
    options = ("-DFIVE=5", "--define-macro=SIX=6", "-I", str(tmp_path), "--use_fast_math")
    RawKernel(code, "k", options)((1,), (1,), (on_device(out),))
    assert out[0] == 11
    with pytest.raises(KernelError, match=r"part\.cuh:3: kernel k, .*box < 9"):
        RawKernel(code, "k", ("-DFIVE=50", *options[1:]))((1,), (1,), (on_device(out),))
    with pytest.raises(CompileException, match=r"part\.cuh: No such file"):
        RawKernel(code, "k", options[:2]).compile()


def test_options_of_the_gpu_are_ignored() -> None:
    options = (
        "--std=c++17",
        "-arch=sm_90",
        "-lineinfo",
        "-std=c++11",
        "-UNDEBUG",
        "--std",
        "c++20",
    )
    assert host_options(options) == ("-std=c++17", "-UNDEBUG", "-std=c++20")


def test_text_without_shared_memory_is_left_alone() -> None:
    text = "const char *s = \"__shared__ int a;\"; int my__shared__ = 3; char c = ';';"
    assert rewrite_shared(text) == text


# ---------------------------------------------------------------------------------------------
# Streams and captures


def test_a_launch_is_counted() -> None:
    with counters.count() as counted:
        launch_count((1,), (1,))
        launch_count((1,), (1,), stream=Stream(non_blocking=True))
    assert counted.launches == 2


def test_a_captured_launch_runs_at_replay_with_its_scalars_frozen() -> None:
    code = """extern "C" __global__ void k(float *out, float value) { atomicAdd(out, value); }"""
    kernel, out = RawKernel(code, "k"), ndarray((1,), np.float32)
    out.fill(0)
    value = np.full(1, 2, np.float32)
    stream = Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        kernel((1,), (3,), (out, value))
        graph = stream.end_capture()
    value[0] = 100
    assert out.get()[0] == 0
    for replay in (1, 2):
        graph.launch(stream)
        assert out.get()[0] == 6 * replay


def test_a_captured_kernel_that_fails_raises_at_replay() -> None:
    code = 'extern "C" __global__ void k() { assert(threadIdx.x != 4); }'
    stream = Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        RawKernel(code, "k")((1,), (8,), ())
        graph = stream.end_capture()
    with pytest.raises(KernelError, match=r"thread \(4, 0, 0\)"):
        graph.launch(stream)


def test_a_replay_on_memory_that_went_back_to_the_driver_fails() -> None:
    pool, stream = MemoryPool(), Stream(non_blocking=True)
    kernel = RawKernel(FILL, "k")
    with using_allocator(pool.malloc):
        out = ndarray((3,), np.float32)
    with stream:
        stream.begin_capture()
        kernel((1,), (3,), (out, np.float32(7)))
        graph = stream.end_capture()
    graph.launch()
    assert out.get().tolist() == [7, 7, 7]
    del out
    graph.launch()  # in the pool still: CUDA knows the address
    pool.free_all_blocks()
    with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalAddress"):
        graph.launch()


def test_arguments_are_checked_when_the_launch_is_captured() -> None:
    stream = Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(TypeError, match="takes 1 arguments, 0 were given"):
            RawKernel(COUNT, "k")((1,), (1,), ())
        stream.end_capture()


def test_the_order_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNET_SIM_ORDER", "random:12")
    wanted = emulator._schedule_wanted()
    assert (wanted.order, wanted.seed) == ("random", 12)
    monkeypatch.setenv("GPUNET_SIM_ORDER", "backwards")
    with pytest.raises(ValueError, match="GPUNET_SIM_ORDER"):
        emulator._schedule_wanted()
