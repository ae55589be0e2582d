"""Everyday CuPy programs run on the simulated GPU, and give what NumPy gives."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet.testing import simgpu

pytestmark = pytest.mark.skipif(not simgpu.available()[0], reason=simgpu.available()[1])


@pytest.fixture
def cupy() -> Any:
    with simgpu.activate() as module:
        yield module


def a(xp: Any) -> Any:
    return xp.arange(24, dtype=xp.float32).reshape(4, 6) / 7 - 1


def b(xp: Any) -> Any:
    return xp.asarray(np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32))


def many(xp: Any) -> Any:
    return xp.asarray(np.random.default_rng(1).permutation(20000).astype(np.float32))


# By name: a function of the module (numpy, cupy), with one result.
ALIKE: dict[str, Callable[[Any], Any]] = {
    "arithmetic": lambda xp: (a(xp) + 2 * b(xp)) / (1 + abs(a(xp))) - a(xp) ** 2,
    "ufuncs": lambda xp: xp.exp(-xp.abs(a(xp))) * xp.sqrt(xp.abs(b(xp))) + xp.tanh(a(xp)),
    "comparison and where": lambda xp: xp.where(a(xp) > b(xp), a(xp), -b(xp)),
    "integers": lambda xp: (xp.arange(20) * 7) % 5 + (xp.arange(20) >> 1),
    "bools": lambda xp: (a(xp) > 0) & ~(b(xp) > 0) | (a(xp) == b(xp)),
    "complex": lambda xp: (a(xp) + 1j * b(xp)) * xp.conj(b(xp) + 2j),
    "half": lambda xp: (a(xp).astype(xp.float16) * 2).astype(xp.float32),
    "broadcasting": lambda xp: a(xp) - a(xp).mean(axis=0) + a(xp)[:, :1],
    "slices": lambda xp: a(xp)[1:, ::-2] + a(xp)[:-1, 1::2],
    "index arrays": lambda xp: a(xp)[xp.asarray([3, 0, 0]), xp.asarray([1, 5, 2])],
    "masks": lambda xp: a(xp)[b(xp) > 0],
    "set by mask": lambda xp: _set(a(xp), b(xp) > 0, 9),
    "set by index": lambda xp: _set(a(xp), xp.asarray([0, 2]), -1),
    "take": lambda xp: xp.take(a(xp), xp.asarray([5, 0, 1]), axis=1),
    "choose": lambda xp: xp.choose(xp.asarray([0, 1, 0]), xp.arange(6).reshape(2, 3)),
    "nonzero": lambda xp: xp.stack(xp.nonzero(b(xp) > 0)),
    "sum": lambda xp: a(xp).sum(axis=1),
    "mean and std": lambda xp: xp.stack([b(xp).mean(axis=0), b(xp).std(axis=0)]),
    "minimum and argmin": lambda xp: xp.stack([b(xp).min(axis=1), b(xp).argmin(axis=1) * 1.0]),
    "any and all": lambda xp: xp.stack([(b(xp) > 0).any(axis=0), (b(xp) > -9).all(axis=0)]),
    "cumsum": lambda xp: xp.cumsum(b(xp), axis=1),
    "cumprod": lambda xp: xp.cumprod(1 + b(xp) / 10),
    "norm": lambda xp: xp.linalg.norm(b(xp), axis=1),
    "matmul": lambda xp: a(xp) @ b(xp).T,
    "dot": lambda xp: xp.dot(a(xp)[0], b(xp)[0]),
    "batched matmul": lambda xp: xp.stack([a(xp), b(xp)]) @ xp.stack([b(xp).T, a(xp).T]),
    "tensordot": lambda xp: xp.tensordot(a(xp), b(xp), axes=([0], [0])),
    "einsum": lambda xp: xp.einsum("ij,kj->ik", a(xp), b(xp)),
    "outer": lambda xp: xp.outer(a(xp)[0], b(xp)[1]),
    "double products": lambda xp: a(xp).astype(xp.float64).T @ b(xp).astype(xp.float64),
    "sort": lambda xp: xp.sort(b(xp), axis=1),
    "argsort": lambda xp: xp.argsort(b(xp), axis=1),
    "partition": lambda xp: xp.sort(xp.partition(b(xp)[0], 3)[:3]),
    "argpartition": lambda xp: xp.sort(b(xp)[0][xp.argpartition(b(xp)[0], 2)[:2]]),
    "unique": lambda xp: xp.unique(xp.asarray([3, 1, 3, 2, 1])),
    "searchsorted": lambda xp: xp.searchsorted(xp.arange(10) * 1.0, b(xp)[0] * 3 + 4),
    "bincount": lambda xp: xp.bincount(xp.asarray([0, 3, 1, 1, 3, 3])),
    "histogram": lambda xp: xp.histogram(b(xp), bins=5, range=(-2, 2))[0],
    "concatenate": lambda xp: xp.concatenate([a(xp), b(xp)], axis=1),
    "stack and split": lambda xp: xp.stack(xp.split(a(xp), 2, axis=1)),
    "transpose": lambda xp: xp.moveaxis(xp.stack([a(xp), b(xp)]), 0, 2).copy(),
    "pad and roll": lambda xp: xp.roll(xp.pad(a(xp), 1), 2, axis=0),
    "tile and repeat": lambda xp: xp.repeat(xp.tile(a(xp)[0], 2), 2),
    "meshgrid": lambda xp: xp.stack(xp.meshgrid(xp.arange(3), xp.arange(4))),
    "linspace": lambda xp: xp.linspace(-1, 1, 9),
    "eye and triangles": lambda xp: xp.tril(xp.ones((4, 4))) + xp.eye(4) * 2,
    "clip and round": lambda xp: xp.round(xp.clip(b(xp) * 3, -2, 2), 1),
    "nan": lambda xp: xp.nanmean(xp.where(b(xp) > 1, xp.nan, b(xp))),
    "median": lambda xp: xp.median(b(xp), axis=1),
    "percentile": lambda xp: xp.percentile(b(xp), 30),
    "polynomial": lambda xp: xp.polyval(xp.asarray([1.0, -2.0, 3.0]), a(xp)),
    "product of polynomials": lambda xp: xp.polymul(a(xp)[0], b(xp)[0]),
    "convolve and correlate": lambda xp: (
        xp.convolve(a(xp)[0], b(xp)[0]) + xp.correlate(a(xp)[1], b(xp)[1], "full")
    ),
    "partition of many": lambda xp: xp.partition(many(xp), (5, 70, 900))[[5, 70, 900]],
    "argpartition of many": lambda xp: many(xp)[xp.argpartition(many(xp), 100)[100]][None],
    "median of many": lambda xp: xp.median(many(xp).reshape(2, -1), axis=1),
    "take and put along an axis": lambda xp: xp.take_along_axis(
        b(xp), xp.argsort(b(xp), axis=0), axis=0
    ),
    "matrix of integers": lambda xp: xp.arange(12).reshape(3, 4) @ xp.arange(12).reshape(4, 3),
    "small integers overflow": lambda xp: xp.arange(-128, 128, dtype=xp.int8) * xp.int8(3),
    "any byte is a bool": lambda xp: (
        xp.asarray([0, 1, 2, 255], dtype=xp.uint8).view(xp.bool_).astype(xp.int8)
    ),
    "complex functions": lambda xp: xp.stack(
        [f(a(xp)[0] + 1j * b(xp)[0]) for f in (xp.exp, xp.sqrt, xp.tanh, xp.arcsin, xp.log)]
    ),
    "kaiser window": lambda xp: xp.kaiser(9, 6.0),
}


def _set(array: Any, where: Any, value: Any) -> Any:
    array[where] = value
    return array


@pytest.mark.parametrize("name", ALIKE)
def test_as_in_numpy(name: str, cupy: Any) -> None:
    expected, found = ALIKE[name](np), ALIKE[name](cupy)
    assert type(found) is cupy.ndarray
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(cupy.asnumpy(found), expected, rtol=1e-5, atol=1e-6)


# What NumPy has not


def test_an_elementwise_and_a_reduction_kernel(cupy: Any) -> None:
    twice = cupy.ElementwiseKernel("T x, T k", "T y", "y = k * x", "scaled")
    norm = cupy.ReductionKernel("T x", "T y", "x * x", "a + b", "y = sqrt(a)", "0", "norm")
    x = cupy.arange(1000, dtype=np.float32)
    np.testing.assert_allclose(float(norm(twice(x, 2))), 2 * np.linalg.norm(np.arange(1000)), 1e-5)


def test_a_raw_kernel_with_shared_memory_and_a_barrier(cupy: Any) -> None:
    code = r"""
    extern "C" __global__ void reversed(const float* x, float* y, int n) {
        extern __shared__ float tile[];
        tile[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
        y[threadIdx.x] = tile[n - 1 - threadIdx.x];
    }"""
    x, y = cupy.arange(64, dtype=np.float32), cupy.empty(64, np.float32)
    cupy.RawKernel(code, "reversed")((1,), (64,), (x, y, np.int32(64)), shared_mem=256)
    assert y.tolist() == list(range(63, -1, -1))


def test_a_raw_module_with_a_template_and_a_constant(cupy: Any) -> None:
    code = r"""
    __constant__ float factor[1];
    template <typename T> __global__ void scaled(T* x) { x[threadIdx.x] *= T(factor[0]); }
    """
    module = cupy.RawModule(code=code, options=("-std=c++17",), name_expressions=["scaled<double>"])
    place = module.get_global("factor")
    cupy.ndarray(1, np.float32, place)[...] = 3
    x = cupy.arange(4, dtype=np.float64)
    module.get_function("scaled<double>")((1,), (4,), (x,))
    assert x.tolist() == [0, 3, 6, 9]


def test_a_thread_that_returns_ends_alone(cupy: Any) -> None:
    """In CUPY_FOR, which may run as one loop, it must not end the threads behind it."""
    kernel = cupy.ElementwiseKernel("T x", "T y", "if (x < 0) return; y = x;", "unless_negative")
    y = cupy.zeros(6, np.float32)
    kernel(cupy.asarray(np.array([1, -1, 2, -2, 3, 4], np.float32)), y)
    assert y.tolist() == [1, 0, 2, 0, 3, 4]


def test_fuse(cupy: Any) -> None:
    @cupy.fuse()
    def squared(x: Any, y: Any) -> Any:
        return (x - y) * (x - y)

    x, y = a(cupy), b(cupy)
    np.testing.assert_allclose(
        cupy.asnumpy(squared(x, y)), cupy.asnumpy((x - y) ** 2), rtol=1e-5, atol=1e-6
    )


@pytest.mark.filterwarnings("ignore:.*experimental:FutureWarning")
def test_a_jitted_kernel(cupy: Any) -> None:
    from cupyx import jit

    @jit.rawkernel()
    def copied(x: Any, y: Any, size: Any) -> None:
        i = jit.blockIdx.x * jit.blockDim.x + jit.threadIdx.x
        if i < size:
            y[i] = x[i]

    x, y = cupy.arange(100, dtype=np.float32), cupy.zeros(100, np.float32)
    copied((4,), (32,), (x, y, np.uint32(100)))
    assert (x == y).all()


@pytest.mark.filterwarnings("ignore:.*scatter_add:DeprecationWarning")
def test_scatter_add(cupy: Any) -> None:
    import cupyx

    y, rows = cupy.zeros(4, np.float32), cupy.asarray([0, 2, 2, 3, 2])
    cupyx.scatter_add(y, rows, cupy.ones(5, np.float32))
    cupy.add.at(y, cupy.asarray([1]), 5)
    assert y.tolist() == [1, 5, 3, 1]


def test_special_functions(cupy: Any) -> None:
    from cupyx.scipy import special

    x = cupy.linspace(-3, 3, 7)
    np.testing.assert_allclose(
        cupy.asnumpy(special.expit(x)), 1 / (1 + np.exp(-np.linspace(-3, 3, 7))), rtol=1e-12
    )
    assert float(special.erf(cupy.asarray(0.5))) == pytest.approx(0.5204998778130465)


def test_functions_that_c_has_not(cupy: Any) -> None:
    """By what they are the inverse of, and by values from tables (Abramowitz and Stegun)."""
    from cupyx.scipy import special

    x = cupy.linspace(-2.5, 2.5, 11)
    for there, back in ((special.erf, special.erfinv), (special.ndtr, special.ndtri)):
        np.testing.assert_allclose(cupy.asnumpy(back(there(x))), cupy.asnumpy(x), rtol=1e-9)
    np.testing.assert_allclose(
        cupy.asnumpy(special.erfc(special.erfcinv(cupy.asarray([1e-300, 1e-20, 0.3, 1.9])))),
        [1e-300, 1e-20, 0.3, 1.9],
        rtol=1e-11,
    )
    one = cupy.asarray(1.0)
    values = {"j0": 0.7651976865579666, "i0": 1.2660658777520084, "psi": -0.5772156649015329}
    values |= {"log_ndtr": -0.17275377902344985, "lambertw": 0.5671432904097838}
    for name, value in values.items():
        assert complex(getattr(special, name)(one)) == pytest.approx(value, rel=1e-13), name
    rest = cupy.ElementwiseKernel(
        "T x, T y", "T z", "z = erfcx(x) * rhypot(x, y) * norm3d(x, y, x) + jn(2, x)", "rest"
    )
    expected = 0.17900115118138998 / 5 * np.sqrt(34) + 0.4860912605858912
    assert float(rest(cupy.asarray(3.0), cupy.asarray(4.0))) == pytest.approx(expected, rel=1e-12)


SHORT = r"""
#include <cuda_fp16.h>
#include <cuda_bf16.h>
extern "C" __global__ void short_floats(const float *x, float *y, __half2 *sum) {
    const int i = threadIdx.x;
    half h = __float2half(x[i]);
    h += __hmul(h, h) - __float2half(1.0f);
    const half2 factors = __floats2half2_rn(2.0f, 3.0f);
    const half2 pair = __hfma2(__half2half2(h), factors, __float2half2_rn(1.0f));
    __nv_bfloat16 b = __float2bfloat16(x[i]);
    b = __hadd(b, b) * b;
    y[4 * i] = __low2float(pair);
    y[4 * i + 1] = __half2float(__high2half(pair));
    y[4 * i + 2] = __bfloat162float(b);
    y[4 * i + 3] = __hgt(h, __float2half(0.0f)) ? __half2float(hsqrt(h)) : -float(hexp(h));
    atomicAdd(sum, __halves2half2(h, __hneg(h)));
}"""


def test_half_and_bfloat16_in_a_raw_kernel(cupy: Any) -> None:
    x = np.array([0.5, 1.25, 3.0, 1.00390625], np.float32)
    y, total = cupy.zeros((4, 4), np.float32), cupy.zeros(2, np.float16)
    cupy.RawKernel(SHORT, "short_floats")((1,), (4,), (cupy.asarray(x), y, total))
    h = x.astype(np.float16)
    h = h + (h * h - np.float16(1))
    short = np.array([0.5, 1.25, 3.0, 1.0], np.float32)  # the last of x is half way: to even
    root = np.where(h > 0, np.sqrt(np.abs(h)), -np.exp(h.astype(np.float32)))
    expected = np.stack([h * 2 + 1, h * 3 + 1, 2 * short**2, root.astype(np.float16)], axis=1)
    np.testing.assert_allclose(cupy.asnumpy(y), expected, rtol=1e-2)
    np.testing.assert_array_equal(cupy.asnumpy(y)[:, :2], expected[:, :2])
    np.testing.assert_allclose(cupy.asnumpy(total), [h.sum(), -h.sum()], rtol=1e-3)


def test_bfloat16_is_rounded_once(cupy: Any) -> None:
    """From a double that a float would round to half way between two of its numbers."""
    rounded = cupy.ElementwiseKernel(
        "float64 x", "float32 y", "y = __double2bfloat16(x)", "rounded", preamble=SHORT[:47]
    )
    x = [1.00390625 + 1e-12, 1.00390625, -1.00390625 - 1e-12, 1e39, np.nan]
    found = cupy.asnumpy(rounded(cupy.asarray(x)))
    np.testing.assert_array_equal(found, [1.0078125, 1.0, -1.0078125, np.inf, np.nan])


ENDING = """
def run(cupy):
    code = 'extern "C" __global__ void k() { if (threadIdx.x > 3) return; __syncthreads(); }'
    cupy.RawKernel(f"// {__name__}\\n{code}", "k")((1,), (32,), (cupy.ones(1),))
"""


def test_kernels_of_cupys_own_may_do_what_hardware_allows(cupy: Any) -> None:
    """Those of its lfilter end before a barrier, those of its Delaunay get too many arguments."""
    modules = {name: {"__name__": name} for name in ("cupyx.scipy.signal", "cupyxyz", "__main__")}
    for module in modules.values():
        exec(ENDING, module)
    modules["cupyx.scipy.signal"]["run"](cupy)
    for name in ("cupyxyz", "__main__"):
        with pytest.raises(TypeError, match="k takes 0 arguments, 1 were given"):
            modules[name]["run"](cupy)


@pytest.mark.filterwarnings("ignore:.*experimental:FutureWarning")
def test_the_lane_in_a_jitted_kernel(cupy: Any) -> None:
    """CuPy writes it as an instruction of PTX."""
    from cupyx import jit

    @jit.rawkernel()
    def lanes(x: Any) -> None:
        x[jit.threadIdx.x] = jit.laneid()

    x = cupy.zeros(40, np.int32)
    lanes[1, 40](x)
    assert x.tolist() == [*range(32), *range(8)]


def test_random_numbers(cupy: Any) -> None:
    cupy.random.seed(3)
    first = cupy.random.standard_normal(1000)
    assert abs(float(first.mean())) < 0.2
    assert 0.8 < float(first.std()) < 1.2
    cupy.random.seed(3)
    assert (cupy.random.standard_normal(1000) == first).all()
    assert sorted(cupy.random.permutation(9).tolist()) == list(range(9))
    assert set(cupy.random.choice(3, 20).tolist()) <= {0, 1, 2}
    some = cupy.random.RandomState(1).choice(1000, 9, replace=False)
    assert len(set(some.tolist())) == 9
    assert float(cupy.random.rand(5).min()) >= 0


def test_streams_events_and_pinned_memory(cupy: Any) -> None:
    import cupyx

    stream, start, stop = cupy.cuda.Stream(), cupy.cuda.Event(), cupy.cuda.Event()
    host = cupyx.empty_pinned(8, np.float32)
    host[...] = range(8)
    with stream:
        start.record()
        x = cupy.empty(8, np.float32)
        x.set(host, stream=stream)
        y = x * 2
        stop.record()
    stop.synchronize()
    assert cupy.cuda.get_elapsed_time(start, stop) >= 0
    assert y.tolist() == [2.0 * k for k in range(8)]


def test_a_graph(cupy: Any) -> None:
    x = cupy.zeros(4, np.float32)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        x += 0  # compiled before the capture
        stream.begin_capture()
        x += 1
        graph = stream.end_capture()
        for _ in range(3):
            graph.launch()
    stream.synchronize()
    assert x.tolist() == [3, 3, 3, 3]


def test_save_and_load(cupy: Any, tmp_path: Any) -> None:
    cupy.save(tmp_path / "x.npy", a(cupy))
    assert (cupy.load(tmp_path / "x.npy") == a(cupy)).all()
    buffer = io.BytesIO()
    cupy.savez(buffer, x=a(cupy), y=b(cupy))
    buffer.seek(0)
    assert (cupy.load(buffer)["y"] == b(cupy)).all()


def test_memory_pools(cupy: Any) -> None:
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        x = cupy.ones(1000, np.float32)
        assert pool.used_bytes() >= 4000
        del x
    pool.free_all_blocks()
    assert pool.total_bytes() == 0


def test_copies_between_host_and_device(cupy: Any) -> None:
    host = np.arange(6.0).reshape(2, 3)
    device = cupy.asarray(host)
    assert (device.get() == host).all()
    device[0] = cupy.asarray([9.0, 9.0, 9.0])
    assert cupy.asnumpy(device)[0].tolist() == [9, 9, 9]
    with pytest.raises(TypeError, match="NumPy"):
        np.sum(np.asarray(device))


# What it cannot do


def sparse() -> Any:
    return importlib.import_module("cupyx.scipy.sparse")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("#include <curand_kernel.h>", r'cannot open source file "curand_kernel.h"'),
        ("#include <cub/block/block_reduce.cuh>", "CUB's templates"),
        ('__device__ void f() { asm("membar.gl;"); }', "no PTX instructions"),
        ('__device__ int f(int x) { asm("mov.u32 %0, %%clock;" : "=r"(x)); return x; }', "PTX"),
    ],
    ids=["header", "CUB", "instruction", "register"],
)
def test_what_a_kernel_may_not_use_is_refused(line: str, what: str, cupy: Any) -> None:
    kernel = cupy.RawKernel(f'{line}\nextern "C" __global__ void k() {{}}', "k")
    with pytest.raises(Exception, match=what) as caught:
        kernel((1,), (1,), ())
    assert "run this test on a GPU (mark it `gpu`)" in str(caught.value)


@pytest.mark.parametrize(
    ("program", "what"),
    [
        (lambda cp: cp.linalg.svd(cp.eye(3)), "cuSOLVER"),
        (lambda cp: cp.linalg.solve(cp.eye(3), cp.ones(3)), "cuSOLVER"),
        (lambda cp: cp.fft.fft(cp.ones(8)), "cuFFT"),
        (lambda cp: cp.random.default_rng(0), "Generator"),
        (lambda cp: sparse().csr_matrix(cp.eye(3)), "cuSPARSE"),
        (lambda cp: sparse().eye(3).dot(cp.ones(3)), "cuSPARSE"),
    ],
    ids=["svd", "solve", "fft", "default_rng", "csr", "product with a sparse matrix"],
)
def test_what_it_has_not_is_refused_in_words_that_help(
    program: Callable[[Any], Any], what: str, cupy: Any
) -> None:
    with pytest.raises((ImportError, NotImplementedError)) as caught:
        program(cupy)
    assert re.match(f"the simulated GPU has no (.*){what}", str(caught.value))
    assert "run this test on a GPU (mark it `gpu`)" in str(caught.value)
