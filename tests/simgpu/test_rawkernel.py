"""RawKernel and RawModule keep CuPy's rules: arguments, launches, names, options, captures."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunet.testing import simgpu
from gpunet.testing.simgpu.compiler import host_options
from gpunet.testing.simgpu.modes import chosen
from gpunet.testing.simgpu.rewriting import after_macros
from tests.simgpu.host import KernelError, RawKernel, RawModule, on_device

pytestmark = pytest.mark.usefixtures("cp")

FILL = 'extern "C" __global__ void k(float *out, float value) { out[threadIdx.x] = value; }'
COUNT = 'extern "C" __global__ void k(int *out) { atomicAdd(out, 1); }'


def launch_count(grid: tuple[int, ...], block: tuple[int, ...], **options: Any) -> int:
    """The number of threads that a launch runs."""
    out = np.zeros(1, np.int32)
    RawKernel(COUNT, "k")(grid, block, (on_device(out),), **options)
    return int(out[0])


# ---------------------------------------------------------------------------------------------
# Arguments


@pytest.mark.parametrize(
    ("argument", "type_name"),
    [
        (3, "long long"),
        (3, "int"),
        (-3, "signed char"),
        ((1 << 32) - 1, "unsigned int"),
        ((1 << 63) + 1, "unsigned long long"),
        (2.5, "double"),
        (True, "bool"),
        (np.int8(-3), "signed char"),
        (np.uint16(3), "unsigned short"),
        (np.float32(2.5), "float"),
        (np.float64(2.5), "double"),
        (np.full((1, 1), 7, np.int32), "int"),
    ],
)
def test_a_number_is_passed_by_value(argument: Any, type_name: str) -> None:
    code = f"""extern "C" __global__ void k(double *out, {type_name} value) {{
        out[0] = (double)value; }}"""
    out = np.zeros(1)
    RawKernel(code, "k")((1,), (1,), (on_device(out), argument))
    assert out[0] == float(np.asarray(argument).reshape(())[()])


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


def test_none_is_the_null_pointer() -> None:
    code = """extern "C" __global__ void k(int *out, const int *maybe) {
        out[0] = maybe ? *maybe : -1; }"""
    out, other = np.zeros(1, np.int32), np.full(1, 5, np.int32)
    kernel = RawKernel(code, "k")
    kernel((1,), (1,), (on_device(out), None))
    assert out[0] == -1
    kernel((1,), (1,), (on_device(out), on_device(other)))
    assert out[0] == 5


def test_an_array_of_the_host_is_refused() -> None:
    kernel = RawKernel(FILL, "k")
    with pytest.raises(TypeError, match=r"numpy\.ndarray of shape \(4,\) as a kernel parameter"):
        kernel((1,), (4,), (np.zeros(4, np.float32), np.float32(1)))


@pytest.mark.parametrize("wrong", ["text", [1], object()])
def test_an_object_of_an_unknown_type_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        RawKernel(FILL, "k")((1,), (1,), (on_device(np.zeros(1, np.float32)), wrong))


@pytest.mark.parametrize("wrong", [1.0, 1, np.int32(1), np.float64(1), None])
def test_an_argument_that_the_gpu_would_misread_is_refused(wrong: object) -> None:
    out = np.full(1, -1, np.float32)
    kernel = RawKernel(FILL, "k")
    with pytest.raises(TypeError, match=r"^k: argument 1 is .*, its parameter is a floating"):
        kernel((1,), (1,), (on_device(out), wrong))
    kernel((1,), (1,), (on_device(out), np.float32(2)))
    assert out[0] == 2


def test_an_int_that_the_parameter_does_not_hold_is_refused() -> None:
    kernel = RawKernel('extern "C" __global__ void k(int value) {}', "k")
    for wrong in (1 << 32, -(1 << 31) - 1):
        with pytest.raises(TypeError, match=rf"^k: argument 0 is a int \({wrong}\) of 8 bytes"):
            kernel((1,), (1,), (wrong,))


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
    with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE: invalid argument"):
        launch_count(grid, block)


def test_more_threads_than_the_launch_bounds_are_refused() -> None:
    code = """
    extern "C" __global__ void __launch_bounds__(64, 2) k(int *out) { atomicAdd(out, 1); }
    extern "C" __launch_bounds__(512) __global__ void other(int *out) {}"""
    out = np.zeros(1, np.int32)
    kernel, other = RawKernel(code, "k"), RawKernel(code, "other")
    kernel((1,), (64,), (on_device(out),))
    with pytest.raises(RuntimeError, match="too many resources requested for launch"):
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
    with pytest.raises(RuntimeError, match="INVALID_VALUE"):
        kernel((1,), (1,), arguments, shared_mem=100 * 1024)
    kernel.max_dynamic_shared_size_bytes = 100 * 1024
    kernel((1,), (1,), arguments, shared_mem=100 * 1024)
    assert out[0] == 3
    with pytest.raises(RuntimeError, match="INVALID_VALUE"):
        kernel.max_dynamic_shared_size_bytes = 1 << 20


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
        with pytest.raises(RuntimeError, match="CUDA_ERROR_NOT_FOUND: named symbol not found"):
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
    with pytest.raises(RuntimeError, match="NOT_FOUND"):
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
    out = np.zeros(1)
    module.get_function("plain")((1,), (1,), (on_device(out),))
    assert out[0] == -1
    with pytest.raises(RuntimeError, match="NOT_FOUND"):
        module.get_function("inner::k<float, 1>")


def test_a_name_expression_that_cannot_be_parsed() -> None:
    for wrong in ("k<nothing>", "absent<int>"):
        module = RawModule(
            code="template <class T> __global__ void k(T *) {}", name_expressions=[wrong]
        )
        with pytest.raises(Exception, match=r"<name expression>:.*not declared"):
            module.compile()


def test_a_compile_error_names_file_and_line() -> None:
    code = 'extern "C" __global__ void k(int *out) {\n    out[0] = missing;\n}'
    with pytest.raises(Exception, match=r"k\.cu:2:14: error: 'missing' was not declared"):
        RawKernel(code, "k").compile()
    named = f'#line 1 "kernels/nn/mine.cu"\n{code}'
    with pytest.raises(Exception, match=r"kernels/nn/mine\.cu:2:14: error:"):
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
    with pytest.raises(Exception, match=r'cannot open source file "part\.cuh"'):
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
    assert after_macros(text) == text


def test_a_comma_at_the_end_of_a_template_is_taken_as_nvrtc_takes_it() -> None:
    assert after_macros('f<int, a<3 ,>>(", >");') == 'f<int, a<3 >>(", >");'


# ---------------------------------------------------------------------------------------------
# Streams and captures


def test_a_launch_is_counted(cp: Any) -> None:
    kernel, out = cp.RawKernel(COUNT, "k"), cp.zeros(1, np.int32)
    with simgpu.count() as counted:
        kernel((1,), (1,), (out,))
        kernel((1,), (1,), (out,), stream=cp.cuda.Stream(non_blocking=True))
    assert counted.launches == 2


def captured(cp: Any, work: Callable[[], object]) -> Any:
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        work()
        return stream.end_capture()


def test_a_captured_launch_runs_at_replay_with_its_scalars_frozen(cp: Any) -> None:
    code = """extern "C" __global__ void k(float *out, float value) { atomicAdd(out, value); }"""
    kernel, out = cp.RawKernel(code, "k"), cp.zeros(1, np.float32)
    value = np.full(1, 2, np.float32)
    graph = captured(cp, lambda: kernel((1,), (3,), (out, value)))
    value[0] = 100
    assert out.get()[0] == 0
    for replay in (1, 2):
        graph.launch()
        assert out.get()[0] == 6 * replay


def test_a_captured_kernel_that_fails_raises_at_replay(cp: Any) -> None:
    kernel = cp.RawKernel('extern "C" __global__ void k() { assert(threadIdx.x != 4); }', "k")
    graph = captured(cp, lambda: kernel((1,), (8,), ()))
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match=r"thread \(4, 0, 0\)"):
        graph.launch()


def test_a_replay_on_memory_that_went_back_to_the_driver_fails(cp: Any) -> None:
    pool, kernel = cp.cuda.MemoryPool(), cp.RawKernel(FILL, "k")
    with cp.cuda.using_allocator(pool.malloc):
        out = cp.empty(3, np.float32)
    held = [out]
    del out
    graph = captured(cp, lambda: kernel((1,), (3,), (held[0], np.float32(7))))
    graph.launch()
    assert held.pop().get().tolist() == [7, 7, 7]
    graph.launch()  # in the pool still: CUDA knows the address
    pool.free_all_blocks()
    message = r"cudaErrorIllegalAddress: .*kernel k"
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match=message):
        graph.launch()


def test_arguments_are_checked_when_the_launch_is_captured(cp: Any) -> None:
    stream = cp.cuda.Stream(non_blocking=True)
    kernel = cp.RawKernel(COUNT, "k")
    with stream:
        stream.begin_capture()
        with pytest.raises(TypeError, match="takes 1 arguments, 0 were given"):
            kernel((1,), (1,), ())
        stream.end_capture()


def test_an_address_that_is_no_device_memory_is_refused(cp: Any) -> None:
    kernel = cp.RawKernel(FILL, "k")
    host = np.zeros(3, np.float32)
    for address in (host.ctypes.data, 8):
        with pytest.raises(cp.cuda.driver.CUDADriverError, match="argument 0 is the address 0x"):
            kernel((1,), (3,), (address, np.float32(1)))


def test_the_order_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    read = chosen.__wrapped__
    monkeypatch.setenv("GPUNET_SIM_ORDER", "random:12")
    assert (read().order, read().seed) == ("random", 12)
    for wrong in ("backwards", "random:x"):
        monkeypatch.setenv("GPUNET_SIM_ORDER", wrong)
        with pytest.raises(ValueError, match="GPUNET_SIM_ORDER"):
            read()


# ---------------------------------------------------------------------------------------------
# nvcc, for which CuPy starts a program


def test_nvcc_is_there_too(cp: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    out = cp.zeros(3, cp.float32)
    for options in ((), ("--device-c", "-DUNUSED=1")):
        module = cp.RawModule(code=FILL, backend="nvcc", options=options)
        module.get_function("k")((1,), (3,), (out, np.float32(2.5)))
        assert out.tolist() == [2.5] * 3
        out[...] = 0


def test_nvcc_says_what_it_cannot_compile(cp: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = cp.RawModule(code=FILL.replace("value;", "valeu;"), backend="nvcc")
    with pytest.raises(cp.cuda.compiler.CompileException, match="valeu"):
        module.get_function("k")


# ---------------------------------------------------------------------------------------------
# Kernels of one program share what CuPy puts in front of them


def test_lines_are_counted_behind_cupys_own_headers(cp: Any) -> None:
    wrong = cp.RawKernel(
        '#include <cupy/complex.cuh>\n\nextern "C" __global__ void k() { x; }', "k"
    )
    with pytest.raises(cp.cuda.compiler.CompileException, match=r"k\.cu:3:"):
        wrong.compile()


def test_a_kernel_may_wait_for_cycles(cp: Any) -> None:
    code = """extern "C" __global__ void k(int *out) {
        const clock_t start = clock();
        const long long later = clock64() + 1000;
        while (clock64() < later) {}
        *out = clock() > start; }"""
    out = cp.zeros(1, cp.int32)
    cp.RawKernel(code, "k")((1,), (1,), (out,))
    assert int(out[0]) == 1


# ---------------------------------------------------------------------------------------------
# What NVRTC says, and what is refused


def test_a_warning_comes_into_the_log_also_from_the_cache(cp: Any) -> None:
    code = 'extern "C" __global__ void k() { int unused; }'
    for _ in range(2):
        log = io.StringIO()
        cp.cuda.compiler.compile_using_nvrtc(code, log_stream=log)
        assert "warning: unused variable 'unused'" in log.getvalue()


@pytest.mark.parametrize(
    ("code", "options", "message"),
    {
        "no header of the host's": ("#include <cmath>\n", (), 'cannot open source file "cmath"'),
        "no such header": ('#include "mine.h"\n', (), 'cannot open source file "mine.h"'),
        "no such GPU": ("", ("-arch=sm_83",), "invalid value for -arch=sm_83"),
        "launches of its own": (
            "void f() { k<<<1, 1>>>(); }\n",
            (),
            "launched by kernels: run this",
        ),
        "CUB": ("namespace cub {}\n", (), r"no CUB's templates: run this test on a GPU \(mark it"),
    }.values(),
)
def test_what_is_refused(cp: Any, code: str, options: tuple[str, ...], message: str) -> None:
    text = f'{code}extern "C" __global__ void k() {{}}'
    with pytest.raises(cp.cuda.compiler.CompileException, match=message):
        cp.cuda.compiler.compile_using_nvrtc(text, options)


def test_jitify_is_refused(cp: Any) -> None:
    with (
        pytest.warns(DeprecationWarning, match="jitify"),
        pytest.raises(NotImplementedError, match="no Jitify"),
    ):
        cp.RawModule(code=FILL, jitify=True).get_function("k")


def test_a_file_that_is_not_there(cp: Any) -> None:
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="CUDA_ERROR_FILE_NOT_FOUND"):
        cp.RawModule(path="not there.cubin").get_function("k")


def test_kernels_are_pickled(cp: Any) -> None:
    kernel = cp.RawKernel(FILL, "k")
    module = cp.RawModule(code=FILL)
    for one in (kernel, module.get_function("k"), pickle.loads(pickle.dumps(module))):
        copied = pickle.loads(pickle.dumps(one))
        function = copied.get_function("k") if isinstance(copied, cp.RawModule) else copied
        out = cp.zeros(2, cp.float32)
        function((1,), (2,), (out, np.float32(3)))
        assert out.tolist() == [3, 3]
        with pytest.raises(TypeError, match="takes 2 arguments"):
            function((1,), (2,), (out,))
