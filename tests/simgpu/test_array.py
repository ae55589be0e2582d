"""Arrays of the simulated GPU: what they compute, what they refuse, what they cost."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gpunet.testing import simgpu

cp = simgpu.cupy
RNG = np.random.default_rng(0)


def both(shape: tuple[int, ...] = (3, 4), dtype: Any = np.float32) -> tuple[np.ndarray, Any]:
    host = RNG.normal(size=shape).astype(dtype)
    return host, cp.asarray(host)


def equal(device: Any, host: Any) -> None:
    """Same dtype, shape and values."""
    assert isinstance(device, cp.ndarray)
    got, want = device.get(), np.asarray(host)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_array_equal(got, want)


# -- computing ----------------------------------------------------------------------------------

EXPRESSIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "operators": lambda xp, x, y: (x + y) * 2 - x / 3.0 + (-y),
    "scalars keep float32": lambda xp, x, y: 1 - x * np.float32(2) + True,
    "float64 scalars do not": lambda xp, x, y: x * np.float64(2),
    "reflected": lambda xp, x, y: 2 / (3 - x),
    "power": lambda xp, x, y: x**2 + abs(x) ** 0.5 + 2**x,
    "comparison": lambda xp, x, y: (x < y) & (x != 0) | (y >= 0.5),
    "matmul": lambda xp, x, y: x @ y.T,
    "batched matmul": lambda xp, x, y: xp.matmul(x[None], xp.stack([y.T, y.T])),
    "dot": lambda xp, x, y: xp.dot(x, y.T),
    "einsum": lambda xp, x, y: xp.einsum("ij,kj->ik", x, y),
    "tensordot": lambda xp, x, y: xp.tensordot(x, y, axes=([1], [1])),
    "sum": lambda xp, x, y: x.sum(axis=0, keepdims=True),
    "sum of all": lambda xp, x, y: xp.sum(x),
    "mean": lambda xp, x, y: x.mean(-1),
    "var": lambda xp, x, y: xp.var(x, axis=0, ddof=1),
    "argmax": lambda xp, x, y: x.argmax(axis=1),
    "argsort": lambda xp, x, y: xp.argsort(x, axis=0),
    "max": lambda xp, x, y: xp.max(x, axis=1, keepdims=True),
    "cumsum": lambda xp, x, y: xp.cumsum(x, axis=1),
    "where": lambda xp, x, y: xp.where(x > 0, x, 0.0),
    "maximum": lambda xp, x, y: xp.maximum(x, 0),
    "clip": lambda xp, x, y: xp.clip(x, -0.5, 0.5),
    "exp and log": lambda xp, x, y: xp.log1p(xp.exp(x)),
    "concatenate": lambda xp, x, y: xp.concatenate([x, y], axis=1),
    "stack": lambda xp, x, y: xp.stack((x, y)),
    "pad": lambda xp, x, y: xp.pad(x, ((1, 0), (2, 1)), constant_values=7),
    "broadcast_to": lambda xp, x, y: xp.broadcast_to(x[0], (2, 4)),
    "take": lambda xp, x, y: xp.take(x, xp.asarray([2, 0, 2]), axis=0),
    "take_along_axis": lambda xp, x, y: xp.take_along_axis(x, x.argmax(1)[:, None], 1),
    "norm": lambda xp, x, y: xp.linalg.norm(x, axis=1),
    "split": lambda xp, x, y: xp.split(x, 2, axis=1)[1],
    "atleast_2d": lambda xp, x, y: xp.atleast_2d(x[0]),
    "broadcast_arrays": lambda xp, x, y: xp.broadcast_arrays(x[:, :1], y)[0],
    "moveaxis": lambda xp, x, y: xp.moveaxis(x[None], 0, -1),
    "expand_dims": lambda xp, x, y: xp.expand_dims(x, 1),
    "bincount": lambda xp, x, y: xp.bincount(xp.asarray([0, 2, 2]), minlength=4),
    "unique": lambda xp, x, y: xp.unique(xp.asarray([3, 1, 3])),
    "nonzero": lambda xp, x, y: xp.nonzero(x > 0)[1],
    "divmod": lambda xp, x, y: divmod(x, 0.25)[1],
    "outer": lambda xp, x, y: xp.multiply.outer(x[0], y[0]),
    "reduce and accumulate": lambda xp, x, y: xp.add.reduce(x) + xp.multiply.accumulate(y)[0],
    "ufunc with dtype": lambda xp, x, y: xp.add(x, y, dtype=np.float64),
    "median": lambda xp, x, y: xp.median(x, axis=0),
    "repeat and tile": lambda xp, x, y: xp.tile(x, 2) + xp.repeat(x, 2, axis=1)[:, ::-1],
    "tril": lambda xp, x, y: xp.tril(x),
    "isclose": lambda xp, x, y: xp.isclose(x, x + 1e-9),
    "reshape": lambda xp, x, y: x.reshape(2, -1),
    "reshape of a transpose": lambda xp, x, y: x.T.reshape(2, 6),
    "ravel in column order": lambda xp, x, y: x.ravel("F"),
    "swapaxes": lambda xp, x, y: x.swapaxes(0, 1),
    "slices": lambda xp, x, y: x[::-1, 1:3],
    "new axis": lambda xp, x, y: x[..., None, 0],
    "gather": lambda xp, x, y: x[xp.arange(3), xp.asarray([3, 0, 1])],
    "gather with lists": lambda xp, x, y: x[[0, 2], 1:],
    "gather after an ellipsis": lambda xp, x, y: x[..., xp.asarray([1, -1])],
    "mask": lambda xp, x, y: x[x > 0],
    "mask of rows": lambda xp, x, y: x[x[:, 0] > 0],
    "cast": lambda xp, x, y: (x * 100).astype(np.int32),
    "integer division": lambda xp, x, y: (x * 100).astype(np.int64) // 7 % 3,
    "one element": lambda xp, x, y: x[1, 2] + x[0, 0],
}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_dtypes_are_numpys(expression: Callable[..., Any], dtype: Any) -> None:
    (x, dx), (y, dy) = both(dtype=dtype), both(dtype=dtype)
    equal(expression(cp, dx, dy), expression(np, x, y))


CREATION: dict[str, Callable[[Any], Any]] = {
    "zeros": lambda xp: xp.zeros((2, 3), np.float32),
    "ones": lambda xp: xp.ones(3, dtype=np.int32),
    "full": lambda xp: xp.full((2,), 2.5),
    "full_like": lambda xp: xp.full_like(xp.ones(3, np.float32), 4),
    "arange": lambda xp: xp.arange(1, 9, 3, dtype=np.float32),
    "linspace": lambda xp: xp.linspace(0, 1, 5),
    "eye": lambda xp: xp.eye(3, dtype=np.float32),
    "tri": lambda xp: xp.tri(3),
    "asarray of a list": lambda xp: xp.asarray([[1, 2], [3, 4]]),
    "array of one number": lambda xp: xp.array(3, np.float32),
    "ndmin": lambda xp: xp.array([1.0], ndmin=3),
    "nested arrays": lambda xp: xp.array([xp.ones(2), xp.zeros(2)]),
    "empty": lambda xp: xp.empty((0, 3), np.float16),
}


@pytest.mark.parametrize("make", CREATION.values(), ids=CREATION.keys())
def test_creation(make: Callable[..., Any]) -> None:
    equal(make(cp), make(np))


@pytest.mark.parametrize(
    "write",
    [
        lambda xp, x, y: x.__setitem__(1, 5),
        lambda xp, x, y: x.__setitem__(slice(None), y),
        lambda xp, x, y: x.__setitem__((slice(None), 0), y[:, 1]),
        lambda xp, x, y: x.__setitem__(([0, 2], [1, 1]), 7.0),
        lambda xp, x, y: x.__setitem__(x > 0, 0.0),
        lambda xp, x, y: x.__setitem__(xp.asarray([2, 0]), y[:2]),
        lambda xp, x, y: x.__setitem__(..., y[:1]),
        lambda xp, x, y: x.__iadd__(y),
        lambda xp, x, y: xp.add(x, 1, out=x),
        lambda xp, x, y: xp.add.at(x, xp.asarray([0, 0, 2]), 1.0),
        lambda xp, x, y: np.add.at(x, xp.asarray([1, 1]), y[0]),
        lambda xp, x, y: xp.copyto(x, y),
        lambda xp, x, y: xp.copyto(x, 0, where=x > 0),
        lambda xp, x, y: x.fill(3),
        lambda xp, x, y: x.T.fill(0),
        lambda xp, x, y: xp.matmul(y[:3, :3], y[:3], out=x),
        lambda xp, x, y: x.sort(axis=0),
    ],
)
def test_writing(write: Callable[..., Any]) -> None:
    (x, dx), (y, dy) = both(), both()
    write(np, x, y)
    write(cp, dx, dy)
    equal(dx, x)


def test_views_share_memory() -> None:
    host, x = both((4, 6))
    views = [x[1:, ::2], x.T, x.reshape(2, 12), x[0], cp.broadcast_to(x[0], (2, 6)), x[2, 3]]
    x += 1
    hosts = [host[1:, ::2], host.T, host.reshape(2, 12), host[0]]
    host += 1
    for view, want in zip(views, hosts, strict=False):
        equal(view, want)
    assert views[5].shape == ()
    assert views[0].base is x
    assert views[0][0].base is x
    assert views[0].data.ptr == x.data.ptr + 24
    assert not x.T.ravel().base


def test_reductions_and_elements_stay_on_the_device() -> None:
    x = cp.ones(3, np.float32)
    for value in (x.sum(), x.max(), x[0], x.argmax(), cp.dot(x, x), (x > 0).all()):
        assert isinstance(value, cp.ndarray)
        assert value.shape == ()


def test_out_of_range_indices_wrap_but_single_integers_raise() -> None:
    x = cp.arange(3)
    equal(x[[1, 3]], [1, 0])
    equal(cp.take(x, cp.asarray([5, -4])), [2, 2])
    with pytest.raises(IndexError, match="out of bounds"):
        x[3]


def test_protocols() -> None:
    host, x = both()
    equal(np.add(x, 1), host + 1)
    equal(np.sum(x, axis=0), host.sum(axis=0))
    equal(np.linalg.norm(x), np.linalg.norm(host))
    equal(copy.deepcopy(x), host)
    equal(pickle.loads(pickle.dumps(x)), host)
    assert cp.get_array_module(x) is cp
    assert cp.get_array_module(host) is np
    interface = x.__cuda_array_interface__
    assert interface["data"] == (x.data.ptr, False)
    assert interface["shape"] == (3, 4)
    assert interface["typestr"] == "<f4"

    class Foreign:
        __cuda_array_interface__ = interface

    with simgpu.count() as counters:
        adopted = cp.asarray(Foreign())
    assert counters == simgpu.Counters(synchronisations=1)
    adopted += 1
    equal(x, host + 1)


def test_other_objects_may_take_over_an_operator() -> None:
    class Left:
        __array_ufunc__ = None

        def __radd__(self, other: Any) -> str:
            return "mine"

    class Unknown:
        def __radd__(self, other: Any) -> str:
            raise AssertionError("CuPy does not ask this one")

    assert cp.ones(2) + Left() == "mine"
    with pytest.raises(TypeError):
        cp.ones(2) + Unknown()


def test_layout() -> None:
    host = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    x = cp.asarray(host)
    assert (x.flags.c_contiguous, x.flags.f_contiguous) == (False, True)
    assert x.strides == host.strides
    assert (x + 1).flags.c_contiguous  # CuPy's ufuncs make C-ordered results
    assert x.copy().flags.c_contiguous
    assert x.astype(np.float32).flags.f_contiguous
    assert cp.empty_like(x).flags.f_contiguous
    assert cp.ascontiguousarray(x).flags["C_CONTIGUOUS"]
    assert x.get(order="A").flags.f_contiguous
    equal(x.view(np.int64), np.ascontiguousarray(host).view(np.int64))


def test_get_into_a_given_array() -> None:
    host, x = both((3, 4))
    for out in (np.empty((3, 4), np.float32), np.empty((3, 4), np.float32, order="F")):
        assert x.get(out=out) is out
        np.testing.assert_array_equal(out, host)
        assert cp.asnumpy(x.T, out=out.T) is not None
        np.testing.assert_array_equal(out, host)
    wrong: list[tuple[Any, type[Exception]]] = [
        (np.empty((3, 4)), TypeError),
        (np.empty((4, 3), np.float32), ValueError),
        (np.empty((3, 8), np.float32)[:, ::2], RuntimeError),
        (x, TypeError),
    ]
    for out, error in wrong:
        with pytest.raises(error):
            x.get(out=out)


def test_column_order_goes_through_cublas_for_float_matrices() -> None:
    host, x = both((3, 4))
    made = cp.asfortranarray(x)
    equal(made, host)
    assert made.flags.f_contiguous
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(NotImplementedError, match="cuBLAS"):
            cp.asfortranarray(x)
        stream.end_capture()


@pytest.mark.parametrize(
    "draw",
    [
        lambda r: r.default_rng(3).random((2, 3), np.float32),
        lambda r: r.default_rng(3).uniform(-1, 1, (2, 3), dtype=np.float32),
        lambda r: r.default_rng(3).standard_normal((2, 3), np.float32),
        lambda r: r.rand(2, 3, dtype=np.float32),
        lambda r: r.randn(2, 3, dtype=np.float32),
        lambda r: r.random((2, 3), np.float32),
        lambda r: r.uniform(0, 2, (2, 3), dtype=np.float32),
        lambda r: r.standard_normal((2, 3), np.float32),
    ],
)
def test_random_numbers_repeat_from_a_seed(draw: Callable[[Any], Any]) -> None:
    cp.random.seed(5)
    first = draw(cp.random)
    cp.random.seed(5)
    equal(draw(cp.random), first.get())
    assert (first.dtype, first.shape) == (np.float32, (2, 3))
    assert len(set(first.get().ravel())) == 6


def test_shuffling_keeps_the_values() -> None:
    x = cp.arange(50)
    cp.random.shuffle(x)
    order = cp.random.permutation(50)
    draws = cp.random.default_rng().integers(0, 5, size=100)
    for values in (x, order, cp.random.permutation(x)):
        assert values.get().tolist() != list(range(50))
        assert sorted(values.get().tolist()) == list(range(50))
    assert set(draws.get().tolist()) == set(range(5))
    assert set(cp.random.randint(0, 5, size=100).get().tolist()) == set(range(5))


def test_complex_arrays_have_parts() -> None:
    host = np.array([1 + 2j, 3 - 1j])
    x = cp.asarray(host)
    equal(x.real, host.real)
    equal(x.imag, host.imag)
    equal(x.conj(), host.conj())
    equal(cp.ones(2).imag, np.zeros(2))


# -- refusing -----------------------------------------------------------------------------------

HOST = np.ones((3, 4), np.float32)
REFUSED: dict[str, Callable[[Any], Any]] = {
    "asarray": np.asarray,
    "array of elements": lambda x: np.array([x[0, 0]]),
    "array + host": lambda x: x + HOST,
    "host + array": lambda x: HOST + x,
    "array += host": lambda x: x.__iadd__(HOST),
    "host += array": lambda x: HOST.__iadd__(x),
    "array @ host": lambda x: x @ HOST.T,
    "host @ array": lambda x: HOST @ x.T,
    "array > host": lambda x: x > HOST,
    "0-d host": lambda x: x + np.array(1.0),
    "ufunc": lambda x: cp.maximum(x, HOST),
    "numpy's ufunc": lambda x: np.maximum(x, HOST),
    "ufunc of a host array alone": lambda x: cp.exp(HOST),
    "numpy's function": lambda x: np.concatenate([x, HOST]),
    "function": lambda x: cp.concatenate([x, HOST]),
    "function of a host array alone": lambda x: cp.sum(HOST),
    "where": lambda x: cp.where(x > 0, x, HOST),
    "matmul": lambda x: cp.matmul(x, HOST.T),
    "dot": lambda x: cp.dot(x, HOST.T),
    "out on the host": lambda x: cp.add(x, x, out=HOST),
    "numpy's out on the host": lambda x: np.add(x, x, out=HOST),
    "assert_allclose": lambda x: np.testing.assert_allclose(x, x),
    "where= of a sum": lambda x: x.sum(where=x > 0),
    "where= of the function sum": lambda x: cp.sum(x, where=x > 0),
    "initial= of max": lambda x: cp.max(x, initial=0),
    "too many arguments of mean": lambda x: cp.mean(x, 0, None, None, False, 1),
    "where= of a ufunc": lambda x: cp.add(x, x, where=x > 0),
    "object dtype as an operand": lambda x: x + "text",
    "index": lambda x: range(3)[x[0, 0]],
    "hash": hash,
    "matmul in place": lambda x: x.__imatmul__(x),
}


@pytest.mark.parametrize("use", REFUSED.values(), ids=REFUSED.keys())
def test_host_arrays_and_implicit_copies_are_refused(use: Callable[[Any], Any]) -> None:
    with pytest.raises((TypeError, AttributeError)):
        use(cp.ones((3, 4), np.float32))


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda x: x.__setitem__(slice(None), HOST), ValueError),
        (lambda x: cp.copyto(x, HOST), ValueError),
        (lambda x: cp.asarray(["text"]), ValueError),
        (lambda x: cp.asarray([object()]), ValueError),
        (lambda x: cp.ones(3) + cp.ones(4), ValueError),
        (lambda x: x @ x, ValueError),
        (lambda x: x @ cp.float32(2), TypeError),
        (lambda x: bool(x), ValueError),
        (lambda x: x.item(), ValueError),
        (lambda x: x[1.5], IndexError),
        (lambda x: x[cp.ones(2)], IndexError),
        (lambda x: x[0, 0, 0], IndexError),
        (lambda x: x.set(HOST.astype(np.float64)), TypeError),
        (lambda x: x.set(HOST[:2]), ValueError),
        (lambda x: cp.add(x, x, out=cp.empty((4, 3), np.float32)), ValueError),
        (lambda x: cp.add(x, x, out=cp.empty((3, 4), np.int32)), TypeError),
        (lambda x: cp.dot(x, x.T, out=cp.empty((3, 3))), ValueError),
        (lambda x: x.sum(axis=0, out=cp.empty((3, 4), np.float32)), ValueError),
        (lambda x: cp.matmul(x, x.T, out=cp.empty((2, 3, 3), np.float32)), ValueError),
        (lambda x: cp.testing.assert_allclose(x, x + 1), AssertionError),
        (lambda x: cp.zeros((-1,)), ValueError),
        (lambda x: cp.add(x), TypeError),
        (lambda x: cp.add(x, x, x, out=x), ValueError),
        (lambda x: cp.add(x, x, out=(x, x)), ValueError),
        (lambda x: cp.divmod(x, x, out=x), ValueError),
        (lambda x: cp.multiply.at(x, [0], 1.0), NotImplementedError),
        (lambda x: np.subtract.reduce(x), NotImplementedError),
        (lambda x: np.modf(x, out=(x, x)), ValueError),
        (lambda x: x.reshape(5, -1), ValueError),
        (lambda x: x.T.reshape(12, copy=False), ValueError),
        (lambda x: setattr(x.T, "shape", (12,)), AttributeError),
        (lambda x: cp.array(x, dtype=np.float64, copy=False), ValueError),
        (lambda x: cp.take(x, cp.arange(2), out=cp.empty(3, np.float32)), ValueError),
        (lambda x: cp.take(x, cp.arange(2), out=cp.empty(2)), TypeError),
        (lambda x: cp.copyto(x.astype(int), 1.5), TypeError),
        (lambda x: cp.copyto(x, 1, where=x), TypeError),
        (lambda x: cp.copyto(x.astype(int), x), TypeError),
        (lambda x: cp.where(x > 0, x), ValueError),
        (lambda x: len(x[0, 0]), TypeError),
        (lambda x: list(x[0, 0]), TypeError),
        (lambda x: x.fill(np.ones(2)), ValueError),
        (lambda x: x.fill(x), ValueError),
        (lambda x: x.astype(int, casting="safe"), TypeError),
        (lambda x: x.get(order="K"), ValueError),
        (lambda x: cp.ndarray((2,), order="A"), ValueError),
        (lambda x: cp.linalg.norm(x, 2), NotImplementedError),
        (lambda x: cp.subtract.reduce(x), NotImplementedError),
    ],
)
def test_errors(use: Callable[[Any], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        use(cp.ones((3, 4), np.float32))


def test_numpy_allows_what_is_refused_here() -> None:
    """Each refused use is no error of its own: NumPy arrays alone go through."""
    host = np.ones((3, 4), np.float32)
    allowed = ["asarray", "array + host", "array > host", "numpy's ufunc", "assert_allclose"]
    for name in allowed:
        REFUSED[name](host)


# -- counting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use", "counts"),
    [
        (lambda x: x + x, {"launches": 1, "allocations": 1}),
        (lambda x: cp.add(x, x, out=x), {"launches": 1}),
        (lambda x: divmod(x, 2), {"launches": 1, "allocations": 2}),
        (lambda x: cp.add.reduce(x), {"launches": 1, "allocations": 1}),
        (lambda x: x.sum(), {"launches": 1, "allocations": 1}),
        (lambda x: x @ x.T, {"launches": 1, "allocations": 1}),
        (lambda x: x[1:].T.reshape(2, 4).T[None], {"launches": 1, "allocations": 1}),
        (lambda x: x[1:].reshape(8)[None].T, {}),
        (lambda x: float(x[0, 0]), {"d2h_copies": 1, "synchronisations": 1}),
        (lambda x: bool(x[0, 0]), {"d2h_copies": 1, "synchronisations": 1}),
        (lambda x: x[0, 0].item(), {"d2h_copies": 1, "synchronisations": 1}),
        (lambda x: repr(x), {"d2h_copies": 1, "synchronisations": 1}),
        (lambda x: cp.asnumpy(x), {"d2h_copies": 1, "synchronisations": 1}),
        (lambda x: x.get(blocking=False), {"d2h_copies": 1}),
        (
            lambda x: x.T.get(),
            {"launches": 1, "allocations": 1, "d2h_copies": 1, "synchronisations": 1},
        ),
        (lambda x: cp.asarray(HOST), {"h2d_copies": 1, "allocations": 1}),
        (lambda x: cp.asarray(x), {}),
        (lambda x: x.set(HOST), {"h2d_copies": 1}),
        (lambda x: cp.asarray(3.0), {"launches": 1, "allocations": 1}),
        (lambda x: cp.zeros(3), {"memsets": 1, "allocations": 1}),
        (lambda x: cp.ones(3), {"launches": 1, "allocations": 1}),
        (lambda x: x.fill(0), {"memsets": 1}),
        (lambda x: x.fill(1), {"launches": 1}),
        (lambda x: x.copy(), {"launches": 1, "allocations": 1}),
        (lambda x: cp.copyto(x, x + 1), {"launches": 1, "allocations": 1, "d2d_copies": 1}),
        (lambda x: x.__setitem__(..., x), {}),
        (lambda x: cp.zeros((0, 3)) + 1, {}),
        (lambda x: cp.empty(0).get(), {}),
        (
            lambda x: x[x > 5],
            {"launches": 1, "allocations": 1, "d2h_copies": 1, "synchronisations": 1},
        ),
        (
            lambda x: x.__setitem__([0, 1], 2.0),
            {"launches": 2, "allocations": 2, "h2d_copies": 1},
        ),
    ],
)
def test_counters(use: Callable[[Any], Any], counts: dict[str, int]) -> None:
    x = cp.ones((3, 4), np.float32)
    with simgpu.count() as counters:
        use(x)
    found = {name: value for name, value in vars(counters).items() if value}
    found.pop("bytes_allocated", None)
    found.pop("pool_misses", None)
    assert found == counts


def test_counting_blocks_nest_and_end() -> None:
    x = cp.ones(3)
    with simgpu.count() as outer:
        x + x
        with simgpu.count() as inner:
            x + x
    x + x
    assert (outer.launches, inner.launches) == (2, 1)
    assert outer.bytes_allocated == 1024
    outer.reset()
    assert outer == simgpu.Counters()


def test_an_array_keeps_no_cycle() -> None:
    x = cp.ones(3)
    assert sys.getrefcount(x) == 2
