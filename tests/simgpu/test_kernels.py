"""ElementwiseKernel and ReductionKernel: CuPy's rules on text that g++ compiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet.testing import simgpu

if not simgpu.available()[0]:
    pytest.skip(simgpu.available()[1], allow_module_level=True)
with simgpu.activate() as cp:
    pass
pytestmark = pytest.mark.usefixtures("cp")

CompileException = cp.cuda.compiler.CompileException
RNG = np.random.default_rng(0)

axpy = cp.ElementwiseKernel("T x, T y, T a", "T z", "z = a * x + y", "axpy")


def arrays(*shapes: tuple[int, ...], dtype: Any = np.float32) -> list[Any]:
    hosts = [RNG.normal(size=shape).astype(dtype) for shape in shapes]
    return [*hosts, *[cp.asarray(host) for host in hosts]]


# -- elementwise: values ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.float16])
@pytest.mark.parametrize("shape", [(), (1,), (31,), (33, 5), (2, 3, 4), (0,), (3, 0)])
def test_values_in_every_dtype_and_shape(dtype: Any, shape: tuple[int, ...]) -> None:
    x = (np.arange(np.prod(shape, dtype=int)) % 7).astype(dtype).reshape(shape)
    got = axpy(cp.asarray(x), cp.asarray(x + x), 3)
    assert got.dtype == dtype
    assert got.shape == shape
    np.testing.assert_array_equal(got.get(), (5 * x).astype(dtype))


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[:, ::2],
        lambda a: a.T,
        lambda a: a[::-1],
        lambda a: a[1:3, 1:],
        lambda a: a[0][None] + a * 0,
        lambda a: a[:, :1],
        lambda a: a[0],
    ],
)
def test_strided_and_broadcast_arrays(view: Callable[[Any], Any]) -> None:
    x, dx = arrays((4, 6))
    got = axpy(view(dx), cp.float32(1) * view(dx), 2)
    np.testing.assert_allclose(got.get(), 3 * view(x), rtol=1e-6)
    column, row = dx[:, :1], dx[0]
    np.testing.assert_allclose(axpy(column, row, 0.5).get(), 0.5 * x[:, :1] + x[0], rtol=1e-6)


def test_a_strided_output_is_written_in_place() -> None:
    x, dx = arrays((4, 3))
    whole = cp.zeros((4, 6), np.float32)
    returned = axpy(dx, dx, 1, whole[:, ::2])
    np.testing.assert_allclose(whole[:, ::2].get(), 2 * x)
    assert not whole[:, 1::2].get().any()
    assert returned.data.ptr == whole.data.ptr


def test_the_loop_and_raw_arrays() -> None:
    reverse = cp.ElementwiseKernel(
        "raw T x", "T y", "y = x[_ind.size() - 1 - i] + (T)x.size()", "reverse"
    )
    x = cp.arange(5, dtype=np.float32)
    got = reverse(x, cp.empty(5, np.float32))
    np.testing.assert_array_equal(got.get(), [9, 8, 7, 6, 5])
    shifted = reverse(x[1:], size=3)
    np.testing.assert_array_equal(shifted.get(), [3 + 4, 2 + 4, 1 + 4])


def test_raw_arrays_have_shape_strides_and_many_indices() -> None:
    kernel = cp.ElementwiseKernel(
        "raw T x, int32 rows",
        "T y",
        "const ptrdiff_t at[] = {i % rows, i / rows};"
        "y = x[at] + (T)(x.shape()[1] * 100 + x.strides()[0] * 1000 + x.ndim * 10000)",
        "transposed",
    )
    x = cp.arange(6, dtype=np.float64).reshape(2, 3)
    got = kernel(x, 2, size=6).get()
    np.testing.assert_array_equal(got, x.get().T.ravel() + 300 + 24_000 + 20_000)
    np.testing.assert_array_equal(
        kernel(x[:, ::2], 2, size=4).get(), x.get()[:, ::2].T.ravel() + 200 + 24_000 + 20_000
    )


@pytest.mark.parametrize("view", [lambda a: a, lambda a: a[:, ::2], lambda a: a.T, lambda a: a[0]])
def test_a_raw_array_with_one_index_counts_in_row_order(view: Callable[[Any], Any]) -> None:
    x, dx = arrays((3, 4, 6))
    copy = cp.ElementwiseKernel("raw T x", "T y", "y = x[i]", "copy")
    np.testing.assert_array_equal(copy(view(dx), size=view(x).size).get(), view(x).ravel())


def test_indices_of_the_loop_when_dims_are_kept() -> None:
    kernel = cp.ElementwiseKernel(
        "T x", "T y", "y = _ind.get()[0] * 10 + _ind.get()[1]", "where_am_i", reduce_dims=False
    )
    got = kernel(cp.zeros((2, 3))).get()
    np.testing.assert_array_equal(got, [[0, 1, 2], [10, 11, 12]])


def test_several_outputs_update_in_place_and_no_return() -> None:
    momentum = cp.ElementwiseKernel(
        "T grad, T lr", "T param, T speed", "speed = 2 * speed + grad; param -= lr * speed", "sgd",
        no_return=True,
    )  # fmt: skip
    grad, param, speed = (cp.full(3, v, np.float32) for v in (1, 10, 3))
    assert momentum(grad, 0.5, param, speed) is None
    np.testing.assert_array_equal(speed.get(), [7, 7, 7])
    np.testing.assert_array_equal(param.get(), [6.5, 6.5, 6.5])
    pair = cp.ElementwiseKernel("T x", "T y, int32 z", "y = x; z = i", "pair")
    y, z = pair(grad)
    assert (y.dtype, z.dtype) == (np.float32, np.int32)
    single = cp.ElementwiseKernel("T x", "T y", "y = x", "single", return_tuple=True)
    assert isinstance(single(grad), tuple)


def test_preamble_loop_prep_after_loop_directives_and_continue() -> None:
    kernel = cp.ElementwiseKernel(
        "T x",
        "T y",
        """
        #define LIMIT 3
        #ifdef LIMIT
        if (x > T(LIMIT)) { y = twice(x) + base; continue; }
        #endif
        y = 0
        """,
        "clipped",
        preamble="template <typename U> __device__ U twice(U u) { return u + u; }",
        loop_prep="T base = 100",
        after_loop="(void)base",
    )
    got = kernel(cp.arange(6, dtype=np.float64)).get()
    np.testing.assert_array_equal(got, [0, 0, 0, 0, 108, 110])


def test_threads_have_numbers() -> None:
    kernel = cp.ElementwiseKernel(
        "T x", "T y", "y = blockIdx.x * blockDim.x + threadIdx.x - i + gridDim.x", "numbers"
    )
    np.testing.assert_array_equal(kernel(cp.zeros(300)).get(), np.full(300, 3.0))


def test_integer_index_is_wide_and_int64_is_long_long() -> None:
    kernel = cp.ElementwiseKernel(
        "int64 x", "int64 y",
        "static_assert(sizeof(i) == 8 && sizeof(long long) == sizeof(y), \"\");"
        "long long copy = x; y = max(copy, (long long)i)", "wide",
    )  # fmt: skip
    np.testing.assert_array_equal(kernel(cp.asarray([-5, 2**40])).get(), [0, 2**40])


# -- elementwise: types -------------------------------------------------------------------------


def test_outputs_decide_before_inputs_and_scalars_never() -> None:
    kernel = cp.ElementwiseKernel("S x, T a", "T y", "y = x + a", "mixed")
    x = cp.ones(2, np.float64)
    assert kernel(x, 2.5, cp.empty(2, np.float32)).dtype == np.float32
    with pytest.raises(KeyError):
        kernel(x, 2.5)
    assert axpy(cp.ones(2, np.float32), cp.ones(2, np.float32), np.float64(0.1)).dtype == np.float32
    np.testing.assert_array_equal(axpy(cp.ones(2, int), cp.ones(2, int), 2.9).get(), [3, 3])
    with pytest.raises(OverflowError):
        axpy(cp.ones(2, np.int32), cp.ones(2, np.int32), 2**40)


BAD_CALLS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "two dtypes for T": (
        lambda: axpy(cp.ones(2), cp.ones(2, np.float32), 1), TypeError, "Type is mismatched",
    ),
    "dtype of an input": (
        lambda: cp.ElementwiseKernel("float32 x", "T y", "y = x")(cp.ones(2), cp.ones(2)),
        TypeError, "Type is mismatched",
    ),
    "dtype of an output": (
        lambda: axpy(cp.ones(2), cp.ones(2), 1, cp.ones(2, np.float32)),
        TypeError, "Type is mismatched. x float64 float32 T",
    ),
    "too few": (lambda: axpy(cp.ones(2), 1), TypeError, "Wrong number of arguments for 'axpy'"),
    "too many": (lambda: axpy(*[cp.ones(2)] * 5), TypeError, "must be either 3 or 4"),
    "host array": (lambda: axpy(cp.ones(2), np.ones(2), 1), TypeError, "Unsupported type"),
    "host output": (
        lambda: axpy(cp.ones(2), cp.ones(2), 1, np.ones(2)), TypeError, "Unsupported type",
    ),
    "scalar output": (
        lambda: axpy(cp.ones(2), cp.ones(2), 1, 2.0), TypeError, "must be cupy.ndarray",
    ),
    "None": (lambda: axpy(cp.ones(2), cp.ones(2), None), TypeError, "Unsupported type"),
    "only scalars": (lambda: axpy(1, 2, 3), ValueError, "Loop size is undecided"),
    "size with an array": (
        lambda: axpy(cp.ones(2), cp.ones(2), 1, size=2), ValueError, "only if all of the ndarray",
    ),
    "raw output without a size": (
        lambda: cp.ElementwiseKernel("T x", "raw T y", "y[i] = x")(cp.ones(2)),
        ValueError, "Output array size is Undecided",
    ),
    "shapes": (lambda: axpy(cp.ones(2), cp.ones(3), 1), ValueError, "broadcast"),
    "output's shape": (
        lambda: axpy(cp.ones((1, 2)), cp.ones((1, 2)), 1, cp.ones((1, 2))[:, :1]),
        ValueError, "Out shape is mismatched",
    ),
    "unknown keyword": (lambda: axpy(cp.ones(2), cp.ones(2), 1, axis=0), TypeError, "Wrong arg"),
    "block size": (
        lambda: axpy(cp.ones(2), cp.ones(2), 1, block_size=0), ValueError, "greater than zero",
    ),
    "parameter i": (
        lambda: cp.ElementwiseKernel("T i", "T y", "y = i"), ValueError, "Can not use 'i'",
    ),
    "kernel name": (
        lambda: cp.ElementwiseKernel("T x", "T y", "y = x", "two words"), ValueError, "Invalid",
    ),
    "parameter syntax": (lambda: cp.ElementwiseKernel("T", "T y", ""), Exception, "Syntax error"),
    "parameter keyword": (
        lambda: cp.ElementwiseKernel("fast T x", "T y", ""), Exception, 'Unknown keyword "fast"',
    ),
    "parameter type": (
        lambda: cp.ElementwiseKernel("real x", "T y", ""), TypeError, "real",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_bad_calls(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# -- elementwise: what is wrong in the text is seen ----------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_output_that_is_not_written_shows(dtype: Any) -> None:
    x = cp.arange(4, dtype=dtype)
    partial = cp.ElementwiseKernel("T x", "T y", "if (x > 1) y = x", "partial")
    np.testing.assert_array_equal(partial(x).get(), [np.nan, np.nan, 2, 3])


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("y = undefined_function(x)", "undefined_function"),
        ("y = x +", "expected"),
        ("x = y", "read-only"),
        ("y = n", "'n' was not declared"),
        ("y = INFINITY", "INFINITY"),
        ("y = std::sqrt(x)", "std"),
    ],
)
def test_a_wrong_operation_is_a_compile_error(operation: str, message: str) -> None:
    with pytest.raises(CompileException, match=message):
        cp.ElementwiseKernel("T x", "T y", operation, "wrong")(cp.ones(2))


def test_a_compile_error_names_the_file_and_line() -> None:
    text = '#line 41 "kernels/optim/adam.cu"\nT tmp = x;\ny = missing(tmp)'
    with pytest.raises(CompileException, match=r"kernels/optim/adam\.cu:42:\d+: error: .*missing"):
        cp.ElementwiseKernel("T x", "T y", text, "adam")(cp.ones(2))
    with pytest.raises(CompileException, match=r"rule\.cu:\d+:\d+: error: 'missing'"):
        cp.ElementwiseKernel("T x", "T y", "y = missing(x)", "rule")(cp.ones(2))


def test_a_const_raw_input_cannot_be_written() -> None:
    with pytest.raises(CompileException, match="read-only"):
        cp.ElementwiseKernel("raw T x", "T y", "x[i] = 1", "writes")(cp.ones(2), cp.ones(2))


def test_options_define_names() -> None:
    kernel = cp.ElementwiseKernel("T x", "T y", "y = BY * x", "by", options=("-DBY=3", "-lineinfo"))
    assert kernel(cp.ones(2)).get().tolist() == [3, 3]
    total = cp.ReductionKernel(
        "T x", "T y", "BY * x", "a + b", "y = a", "0", "total", options=("--define-macro=BY=4",)
    )
    assert total(cp.ones(2)).item() == 8


# -- reductions ---------------------------------------------------------------------------------

l2norm = cp.ReductionKernel("T x", "T y", "x * x", "a + b", "y = sqrt(a)", "0", "l2norm")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (2, 1), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_over_axes(dtype: Any, axis: Any, keepdims: bool) -> None:
    x, dx = arrays((5, 33, 4), dtype=dtype)
    got = l2norm(dx, axis=axis, keepdims=keepdims)
    want = np.sqrt((x * x).sum(axis=axis, keepdims=keepdims))
    assert got.dtype == dtype
    assert got.shape == want.shape
    np.testing.assert_allclose(got.get(), want, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 31, 33, 511, 513, 100_003])
def test_reductions_of_all_sizes(size: int) -> None:
    x, dx = arrays((size,), dtype=np.float64)
    np.testing.assert_allclose(l2norm(dx).get(), np.sqrt((x * x).sum()), rtol=1e-12)
    np.testing.assert_allclose(l2norm(dx[::-1]).get(), np.sqrt((x * x).sum()), rtol=1e-12)


def test_reductions_broadcast_take_scalars_outputs_and_two_inputs() -> None:
    weighted = cp.ReductionKernel(
        "T x, T w, T scale", "U y", "x * w * scale", "a + b", "y = a", "0", "weighted",
        reduce_type="double",
    )  # fmt: skip
    x, dx = arrays((3, 4))
    w, dw = arrays((4,))
    out = cp.empty(3, np.float64)
    assert weighted(dx, dw, 2, out=out, axis=1) is out
    np.testing.assert_allclose(out.get(), 2 * (x.astype(float) * w).sum(axis=1), rtol=1e-6)
    assert weighted(dx, dw, 2, out, axis=1) is out


def test_reduction_of_nothing_is_the_identity() -> None:
    np.testing.assert_array_equal(l2norm(cp.ones((3, 0)), axis=1).get(), [0, 0, 0])
    assert l2norm(cp.ones((3, 0)), axis=0).shape == (0,)
    largest = cp.ReductionKernel("T x", "T y", "x", "max(a, b)", "y = a", None, "largest")
    with pytest.raises(ValueError, match="largest which has no identity"):
        largest(cp.ones(0))


def test_a_wrong_identity_shows() -> None:
    """CuPy starts every thread from the identity; five elements get a tree of eight threads."""
    wrong = cp.ReductionKernel("T x", "T y", "x", "a + b", "y = a", "1", "from_one")
    assert wrong(cp.zeros(5)).item() == 8
    # Without an identity each thread starts from T(), as in CuPy: no maximum of negatives.
    largest = cp.ReductionKernel("T x", "T y", "x", "max(a, b)", "y = a", None, "largest")
    assert largest(-cp.ones(4)).item() == 0


def test_index_of_an_element_in_a_reduction() -> None:
    argmax = cp.ReductionKernel(
        "T x", "int64 y", "Best(x, _J)", "better(a, b)", "y = a.at", "Best()", "my_argmax",
        reduce_type="Best",
        preamble="""
        struct Best {
            float value; long long at;
            __device__ Best() : value(-1e30f), at(-1) {}
            __device__ Best(float v, long long j) : value(v), at(j) {}
        };
        __device__ Best better(Best a, Best b) { return a.value >= b.value ? a : b; }
        """,
    )  # fmt: skip
    x, dx = arrays((7, 65))
    np.testing.assert_array_equal(argmax(dx, axis=1).get(), x.argmax(axis=1))
    np.testing.assert_array_equal(argmax(dx, axis=0).get(), x.argmax(axis=0))


BAD_REDUCTIONS: dict[str, tuple[Callable[[], Any], type[Exception]]] = {
    "axis out of range": (lambda: l2norm(cp.ones(3), axis=1), np.exceptions.AxisError),
    "axis twice": (lambda: l2norm(cp.ones((3, 3)), axis=(0, -2)), ValueError),
    "wrong number": (lambda: l2norm(cp.ones(3), cp.ones(()), 1), TypeError),
    "host array": (lambda: l2norm(np.ones(3)), TypeError),
    "scalar": (lambda: l2norm(3.0), ValueError),
    "output's shape": (lambda: l2norm(cp.ones(3), out=cp.ones(2)), ValueError),
    "output's dtype": (lambda: l2norm(cp.ones(3), out=cp.ones((), "f")), TypeError),
    "output twice": (lambda: l2norm(cp.ones(3), cp.ones(()), out=cp.ones(())), ValueError),
    "keyword": (lambda: l2norm(cp.ones(3), dtype="f"), TypeError),
    "text": (
        lambda: cp.ReductionKernel("T x", "T y", "f(x)", "a + b", "y = a", "0")(cp.ones(3)),
        CompileException,
    ),
}


@pytest.mark.parametrize(("call", "error"), BAD_REDUCTIONS.values(), ids=BAD_REDUCTIONS.keys())
def test_bad_reductions(call: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


# -- cost ---------------------------------------------------------------------------------------


def test_one_launch_a_call_and_none_for_nothing() -> None:
    x = cp.ones((3, 4))
    out = cp.empty((3, 4))
    with simgpu.count() as counters:
        axpy(x, x, 1, out)
    assert counters == simgpu.Counters(launches=1)
    with simgpu.count() as counters:
        l2norm(x, axis=0)
    assert (counters.launches, counters.allocations) == (1, 1)
    with simgpu.count() as counters:
        axpy(x[:0], x[:0], 1)
    assert counters.launches == 0


def test_the_example_of_the_documentation() -> None:
    text = simgpu.__doc__ or ""
    start = text.index("    from gpunet.testing")
    example = text[start : text.index("CuPy's wheel")]
    scope: dict[str, Any] = {}
    exec("\n".join(line[4:] for line in example.splitlines()), scope)
    scope["test_my_kernel"]()
