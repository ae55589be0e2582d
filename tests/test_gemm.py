"""gpunet.gemm: products against NumPy's, in captures, in threads, with fewer bits."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import cublas
from gpunet import gemm as module
from gpunet.backend import to_host
from gpunet.gemm import gemm, product
from gpunet.precision import compute_type, precision
from gpunet.study.gradcheck import gradcheck
from gpunet.testing import simgpu

# (models of a, m, k, n, models of b); no models: two axes.
SIZES = [
    (None, 33, 7, 5, None),
    (None, 1, 100, 10, None),
    (None, 100, 1, 10, None),
    (None, 8, 9, 1, None),
    (None, 1, 1, 1, None),
    (None, 0, 4, 3, None),
    (None, 4, 3, 0, None),
    (None, 4, 0, 3, None),
    (3, 6, 7, 5, 3),
    (3, 6, 7, 5, None),
    (None, 6, 7, 5, 3),
    (3, 6, 7, 5, 1),
    (1, 6, 7, 5, 1),
    (1, 6, 7, 5, None),
    (2, 1, 4, 1, 2),
    (0, 2, 4, 3, 0),
    (3, 2, 0, 4, None),
]
TOLERANCE = {"float32": 1e-6, "float64": 1e-14}
rng = np.random.default_rng


@pytest.fixture
def cupy(cp: Any) -> Any:
    """CuPy: gemm multiplies arrays on a GPU."""
    return cp


def array(xp: Any, models: int | None, rows: int, columns: int, dtype: Any, seed: int = 0) -> Any:
    shape = (rows, columns) if models is None else (models, rows, columns)
    return xp.asarray(rng(seed).standard_normal(shape).astype(dtype))


def transpose_of(xp: Any, x: Any) -> Any:
    """`x` as the swapped view of a C-contiguous array."""
    return xp.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)


def check(found: Any, a: Any, b: Any, plus: Any = 0) -> None:
    """Each element within rounding of a @ b + plus."""
    found, a, b, plus = (to_host(x) for x in (found, a, b, plus))
    wanted = np.matmul(a.astype(np.float64), b.astype(np.float64)) + plus
    assert found.shape == wanted.shape
    assert found.dtype == a.dtype
    scale = np.matmul(np.abs(a), np.abs(b)) + np.abs(plus)
    assert (np.abs(found - wanted) <= TOLERANCE[str(a.dtype)] * scale).all()


def captured(cupy: Any, work: Callable[[], Any]) -> tuple[Any, Any]:
    """The graph of `work`, which runs once before, and its stream, which it needs."""
    cupy.cuda.get_current_stream().synchronize()  # what `work` reads was made there
    with cupy.cuda.Stream(non_blocking=True) as stream:
        work()
        stream.begin_capture()
        try:
            work()
        finally:
            graph = stream.end_capture()
    return graph, stream


def by_matmul_alone(*_: Any) -> Any:
    raise AssertionError("not taken by gemm")


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("swapped", ["", "a", "b", "ab"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_product_equals_numpys(
    xp: Any, size: Any, swapped: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if xp is not np:
        monkeypatch.setattr(module, "_by_matmul", by_matmul_alone)
    before, m, k, n, after = size
    a, b = array(xp, before, m, k, dtype), array(xp, after, k, n, dtype, seed=1)
    a = transpose_of(xp, a) if "a" in swapped else a
    b = transpose_of(xp, b) if "b" in swapped else b
    made = product(a, b)
    check(made, a, b)
    out = xp.full(made.shape, np.nan, dtype)
    assert product(a, b, out=out) is out
    np.testing.assert_array_equal(to_host(out), to_host(made))
    given = array(xp, None, *out.shape[-2:], dtype, seed=2) + xp.zeros_like(out)
    out[...] = given
    assert product(a, b, out=out, add=True) is out
    check(out, a, b, plus=given)


def test_numpy_products_are_numpys_bit_for_bit() -> None:
    a, b = array(np, None, 33, 65, "float32"), array(np, None, 65, 9, "float32")
    for x, y in ((a, b), (b.T, a.T), (a[0], b), (a, b[:, 0]), (a[None, None], b)):
        np.testing.assert_array_equal(product(x, y), x @ y)


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x[:, :4],
        lambda x: x[2:, 1:5],
        lambda x: x[1:2, 3:7],
        lambda x: x[:, 2:3],
        lambda x: x.T[:, :4],
        lambda x: x[:9, :3].T,
    ],
)
def test_slices_are_read_where_they_lie(
    cupy: Any, cut: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_by_matmul", by_matmul_alone)
    x = array(cupy, None, 9, 9, "float64")
    a = cut(x)
    b = array(cupy, None, a.shape[1], 3, "float64", seed=1)
    check(product(a, b), a, b)
    check(product(b.T, a.T), b.T, a.T)


def test_a_slice_of_models_and_of_their_rows(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_by_matmul", by_matmul_alone)
    x, b = array(cupy, 6, 8, 5, "float32"), array(cupy, 3, 5, 2, "float32", seed=1)
    check(product(x[::2, 1:7], b), x[::2, 1:7], b)
    shared = cupy.broadcast_to(x[:1], (3, 8, 5))
    check(product(shared, b), shared, b)


@pytest.mark.parametrize(
    "spread",
    [
        lambda xp, x: x[::2, ::2],
        lambda xp, x: x[::-1],
        lambda xp, x: x[None][[0, 0]][::-1],
        lambda xp, x: xp.broadcast_to(x[0, 0], (6, 8)),
    ],
)
def test_what_cannot_be_read_as_it_lies_is_copied(
    xp: Any, spread: Callable[[Any, Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if xp is not np:
        monkeypatch.setattr(module, "_by_matmul", by_matmul_alone)
    a = spread(xp, array(xp, None, 6, 8, "float32"))
    b = array(xp, None, 3, a.shape[-1], "float32", seed=1).T
    check(product(a, b), a, b)
    check(product(b.T, a.swapaxes(-1, -2)), b.T, a.swapaxes(-1, -2))


@pytest.mark.parametrize(
    "operands",
    [
        lambda xp: (array(xp, None, 6, 4, "float32"), array(xp, None, 4, 3, "float64")),
        lambda xp: (array(xp, None, 6, 4, "float16"), array(xp, None, 4, 3, "float16")),
        lambda xp: (xp.arange(6).reshape(2, 3), xp.arange(6).reshape(3, 2)),
        lambda xp: (array(xp, None, 6, 4, "float32")[0], array(xp, None, 4, 3, "float32")),
        lambda xp: (array(xp, None, 6, 4, "float32"), array(xp, None, 4, 3, "float32")[:, 0]),
        lambda xp: (array(xp, 2, 6, 4, "float32")[None], array(xp, None, 4, 3, "float32")),
    ],
)
def test_what_gemm_does_not_take_goes_to_matmul(xp: Any, operands: Any) -> None:
    a, b = operands(xp)
    wanted = xp.matmul(a, b)
    for found in (product(a, b), product(a, b, out=xp.empty_like(wanted))):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(to_host(found), to_host(wanted))
    out = xp.ones_like(wanted)
    product(a, b, out=out, add=True)
    np.testing.assert_array_equal(to_host(out), to_host(wanted + 1))


def test_an_out_that_gemm_does_not_take_goes_to_matmul(xp: Any) -> None:
    a, b = array(xp, None, 6, 4, "float64"), array(xp, None, 4, 3, "float64", seed=1)
    out = xp.zeros((3, 6), np.float64).T
    assert product(a, b, out=out) is out
    check(out, a, b)
    with pytest.raises(ValueError):  # noqa: PT011 - NumPy's and CuPy's words
        product(a, b, out=xp.zeros((2, 3)))


@pytest.mark.parametrize(
    "shapes", [((2, 3), (4, 2)), ((2, 2, 3), (3, 3, 2)), ((2, 3), (2, 4, 5))], ids=str
)
def test_shapes_that_do_not_fit_are_matmuls_error(xp: Any, shapes: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - NumPy's and CuPy's words
        product(*(xp.ones(shape) for shape in shapes))


def test_arrays_of_two_devices_are_refused(cupy: Any) -> None:
    host, far = np.ones((2, 2)), cupy.ones((2, 2))
    for a, b, out in ((host, far, None), (far, host, None), (far, far, host)):
        with pytest.raises(TypeError):
            product(a, b, out=out)


def test_add_needs_an_out(xp: Any) -> None:
    with pytest.raises(ValueError, match="add=True adds to out, so give out"):
        product(xp.ones((2, 2)), xp.ones((2, 2)), add=True)


# --- gemm alone -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "out"),
    [
        ((2, 3), (4, 5), (2, 5)),
        ((2, 3), (3, 5), (5, 2)),
        ((2, 3), (3, 5), (1, 2, 5)),
        ((4, 2, 3), (3, 5), (2, 5)),
        ((4, 2, 3), (3, 3, 5), (4, 2, 5)),
        ((1, 4, 2, 3), (3, 5), (1, 4, 2, 5)),
        ((3,), (3, 5), (5,)),
    ],
    ids=str,
)
def test_misfits_are_named_with_all_shapes(cupy: Any, a: Any, b: Any, out: Any) -> None:
    with pytest.raises(ValueError, match="gemm needs float32 or float64 arrays") as caught:
        gemm(*(cupy.zeros(shape, np.float32) for shape in (a, b, out)))
    assert all(str(shape) in str(caught.value) for shape in (a, b, out))


def test_dtypes_and_layouts_that_do_not_fit(cupy: Any) -> None:
    f, d, h = (cupy.ones((4, 4), t) for t in (np.float32, np.float64, np.float16))
    for operands in ((f, f, d), (f, d, d), (h, h, h), (f, f, f.copy().T), (f[::2, ::2], f[:2], f)):
        with pytest.raises(ValueError, match="strides"):
            gemm(*operands)


def test_an_array_of_another_device(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = cupy.ones((2, 2), np.float32)
    monkeypatch.setattr(cublas.handle_of(cupy), "device", 7)
    with pytest.raises(ValueError, match=r"arrays on the current device, 7.*device 0"):
        gemm(x, x, cupy.empty_like(x))
    np.testing.assert_array_equal(to_host(product(x, x)), np.full((2, 2), 2.0))  # CuPy's business


def test_gemm_of_numpy_arrays_is_refused(xp: Any) -> None:
    x = np.ones((2, 2))
    with pytest.raises(TypeError, match="gemm multiplies CuPy arrays, got arrays of numpy, numpy"):
        gemm(x, x, x)


def test_one_launch_nothing_else(sim: Any) -> None:
    a, b = array(sim, 3, 6, 7, "float32"), array(sim, None, 7, 5, "float32", seed=1)
    out = sim.empty((3, 6, 5), np.float32)
    gemm(a, b, out)
    with simgpu.count() as counters:
        gemm(a, b, out)
        gemm(a[0], b, out[0], add=True)
        gemm(out[0].T, a[0], sim.empty((5, 7), np.float32))
    assert counters == simgpu.Counters(
        launches=3, allocations=1, bytes_allocated=512, pool_misses=counters.pool_misses
    )
    with simgpu.count() as counters:
        product(a, b)
    assert (counters.launches, counters.allocations) == (1, 1)


# --- captures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("models", [None, 3])
def test_a_captured_product_reads_what_is_there_at_the_replay(cupy: Any, models: Any) -> None:
    a, b = array(cupy, models, 6, 7, "float32"), array(cupy, None, 5, 7, "float32", seed=1).T
    out = cupy.zeros((6, 5) if models is None else (models, 6, 5), np.float32)

    def work() -> None:
        gemm(a, b, out)
        gemm(a, b, out, add=True)

    graph, stream = captured(cupy, work)
    for factor in (2, -3):
        with stream:
            a *= factor
            out.fill(np.nan)
            graph.launch(stream)
            check(out / 2, a, b)


def test_affine_forward_and_backward_are_captured(cupy: Any) -> None:
    x, W, gy = (
        array(cupy, None, *s, "float64", seed=k) for k, s in enumerate([(8, 5), (5, 3), (8, 3)])
    )
    found: list[Any] = []

    def work() -> None:
        y, backward = gn.functional.affine.pair(x, W)
        found[:] = [y, *(make() for make in backward(gy))]

    graph, stream = captured(cupy, work)
    with stream:
        graph.launch(stream)
        for made, a, b in zip(found, (x, gy, x.T), (W, W.T, gy), strict=True):
            check(made, a, b)


def test_a_tensors_product_is_captured(cupy: Any) -> None:
    x, y = (
        gn.Tensor(array(cupy, None, 4, 4, "float64", seed=k), requires_grad=True) for k in (0, 1)
    )

    def work() -> None:
        x.grad = y.grad = None
        (x @ y).sum().backward()

    graph, stream = captured(cupy, work)
    with stream:
        graph.launch(stream)
        check(x.grad, cupy.ones((4, 4)), y.data.T)


def test_a_graph_has_one_node_a_product(sim: Any) -> None:
    x, out = array(sim, None, 4, 4, "float32"), sim.empty((4, 4), np.float32)
    with simgpu.count() as counters:
        graph, stream = captured(sim, lambda: gemm(x, x, out))
        graph.launch(stream)
    assert graph.debug_dot_str().count("cublasGemmEx") == 1
    assert (counters.launches, counters.graph_launches) == (1, 1)  # one before the capture


def test_a_handle_is_not_created_in_a_capture(cupy: Any) -> None:
    x, errors = cupy.ones((2, 2), np.float32), []

    def first_product_of_a_thread() -> None:
        with cupy.cuda.Stream(non_blocking=True) as stream:
            stream.begin_capture()
            try:
                gemm(x, x, cupy.empty_like(x))
            except RuntimeError as error:
                errors.append(str(error))
            stream.end_capture()

    cublas._idle.clear()
    in_a_thread(first_product_of_a_thread)
    assert len(errors) == 1
    assert "run what is to be captured once before" in errors[0]


def test_the_workspace_is_set_again_after_a_change_of_stream(cupy: Any) -> None:
    """Without a workspace a captured product would allocate, which the simulated GPU refuses."""
    x, out = cupy.ones((4, 4), np.float32), cupy.zeros((4, 4), np.float32)
    with cupy.cuda.Stream(non_blocking=True) as one:
        gemm(x, x, out)
    with cupy.cuda.Stream(non_blocking=True) as two:
        gemm(x, x, out)
    with one:
        one.begin_capture()
        gemm(x, x, out)
        graph = one.end_capture()
        out.fill(0)
        graph.launch(one)
        assert float(out.sum()) == 64
    spaces = [own for s in (one, two) for own in s._gpunet_workspaces.values()]
    assert len({own.memory.ptr for own in spaces}) == 2
    assert {own.memory.size for own in spaces} <= {8 << 20, 32 << 20}


def test_a_stream_has_one_workspace_however_often_it_is_wrapped(cupy: Any) -> None:
    """As a step does that is given another library's stream each time."""
    x, out = cupy.ones((4, 4), np.float32), cupy.zeros((4, 4), np.float32)
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    found: list[set[int]] = [set(), set()]
    for _ in range(3):
        for stream, places in zip(streams, found, strict=True):
            with cupy.cuda.Stream.from_external(stream) as wrapped:
                gemm(x, x, out)
                places.update(own.memory.ptr for own in wrapped._gpunet_workspaces.values())
            del wrapped
    one, two = found
    assert len(one) == len(two) == 1
    assert one != two


def test_workspaces_of_streams_that_are_gone_are_few(cupy: Any) -> None:
    """And one whose stream is there stays, whatever others come: a graph may write to it."""
    x, out = cupy.ones((4, 4), np.float32), cupy.zeros((4, 4), np.float32)
    graph, stream = captured(cupy, lambda: gemm(x, x, out))
    [own] = stream._gpunet_workspaces.values()
    before = len(cublas._workspaces)
    for _ in range(8):
        with cupy.cuda.Stream(non_blocking=True):
            gemm(x, x, out)
    assert len(cublas._workspaces) <= before + cublas._lately.maxlen
    assert own not in cublas._lately
    with stream:
        out.fill(0)
        graph.launch(stream)
        gemm(x, x, cupy.empty_like(x))
        assert [*stream._gpunet_workspaces.values()] == [own]
        assert float(out.sum()) == 64


def test_threads_share_a_streams_workspace(cupy: Any) -> None:
    x, stream = cupy.ones((2, 2), np.float32), cupy.cuda.Stream(non_blocking=True)

    def work() -> None:
        with stream:
            product(x, x)

    work()
    in_a_thread(work)
    assert len(stream._gpunet_workspaces) == 1


# --- threads and handles --------------------------------------------------------------------------


def in_a_thread(work: Callable[[], Any]) -> None:
    errors: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_each_thread_has_a_handle_and_leaves_it_to_the_next(cupy: Any) -> None:
    x, handles = cupy.ones((2, 2), np.float32), []

    def work() -> None:
        product(x, x)
        handles.append(cublas.handle_of(cupy))

    cublas._idle.clear()
    work()
    in_a_thread(work)
    in_a_thread(work)
    mine, first, second = handles
    assert mine is not first
    assert first is second


def test_threads_at_once_get_their_own_results(cupy: Any) -> None:
    start, wrong = threading.Barrier(4), []

    def work(seed: int) -> None:
        with cupy.cuda.Stream(non_blocking=True):
            a, b = (
                array(cupy, None, 17, 9, "float64", seed),
                array(cupy, None, 9, 5, "float64", seed),
            )
            start.wait()
            for _ in range(30):
                try:
                    check(product(a, b), a, b)
                except AssertionError as error:
                    wrong.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_error_of_cublas_is_named(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = cupy.ones((2, 2), np.float32)
    monkeypatch.setattr(cublas.handle_of(cupy), "single", lambda *_: 15)
    with pytest.raises(RuntimeError, match=r"cublasGemmEx failed: CUBLAS_STATUS_NOT_SUPPORTED"):
        product(x, x)
    with pytest.raises(RuntimeError, match=r"cublasCreate_v2 failed: an unknown status \(99\)"):
        cublas.check(99, "cublasCreate_v2")


def test_without_a_library_products_are_cupys(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cublas, "library", lambda: None)
    monkeypatch.setattr(cublas._thread, "handles", {})
    x = array(cupy, None, 4, 4, "float32")
    check(product(x, x), x, x)
    with pytest.raises(RuntimeError, match="no cuBLAS library was found"):
        gemm(x, x, cupy.empty_like(x))


def test_arguments_are_what_c_expects() -> None:
    """No prototypes are set, so pointers and long longs must come as such."""
    plan = module._plan((2, 3, 4), (48, 16, 4), (2, 4, 5), (80, 20, 4), "ff")
    assert plan is not None
    assert plan.head[:5] == (0, 0, 5, 3, 4)
    assert plan.after_b[:2] == (0, 5)
    assert plan.after_a[:2] == (0, 4)
    steps = [after[2] for after in (plan.after_b, plan.after_a)]
    assert all(isinstance(step, ctypes.c_longlong) for step in steps)
    assert [step.value for step in steps] == [20, 12]
    assert module._plan((2**31, 1), (4, 4), (1, 1), (4, 4), "ff") is None  # no C int
    assert module._plan((2, 3), (14, 4), (3, 2), (8, 4), "ff") is None  # no whole elements


@pytest.mark.parametrize("add", [False, True])
def test_each_product_goes_where_its_model_has_room(cupy: Any, add: bool) -> None:
    """Gradients of several models: a row each of a larger array, in one launch."""
    a, b = array(cupy, 3, 6, 7, "float32"), array(cupy, 3, 7, 5, "float32", seed=1)
    rows = array(cupy, 3, 1, 40, "float32", seed=2)[:, 0]
    before, out = to_host(rows).copy(), rows[:, 4:34].reshape(3, 6, 5)
    product(a, b, out, add)  # the thread's first makes a handle
    rows[...] = cupy.asarray(before)
    with simgpu.count() as used:
        assert product(a, b, out, add) is out
    assert used.launches == 1
    check(out, a, b, before[:, 4:34].reshape(3, 6, 5) if add else 0)
    rest = np.delete(to_host(rows), np.s_[4:34], axis=1)
    np.testing.assert_array_equal(rest, np.delete(before, np.s_[4:34], axis=1))


# --- precision ------------------------------------------------------------------------------------


def test_gpus_before_ampere_compute_in_float32() -> None:
    with gn.matmul_precision("tf32"):
        assert [compute_type("f", capability) for capability in (75, 80, 120)] == [68, 77, 77]
        assert compute_type("d", 90) == 70
    assert compute_type("f", 90) == 68


def product_error(xp: Any) -> float:
    """The largest error of an element of a product, as a part of abs(a) @ abs(b); large enough that
    a GPU takes its tensor cores, where it may.
    """
    a, b = (array(xp, None, 512, 512, "float32", seed=k) for k in (0, 1))
    scale = np.abs(to_host(a)) @ np.abs(to_host(b))
    exact = to_host(a).astype(np.float64) @ to_host(b)
    return float((np.abs(to_host(product(a, b)) - exact) / scale).max())


@pytest.mark.parametrize(("name", "high"), [("tf32", 1e-3), ("bfloat16", 1e-2)])
def test_fewer_bits_have_at_most_the_documented_error(xp: Any, name: str, high: float) -> None:
    """cuBLAS is free to multiply with more bits than it is allowed to."""
    with gn.matmul_precision(name):
        assert precision() == name
        assert product_error(xp) < (1e-6 if xp is np else high)  # no effect on the CPU
        a, b = (array(xp, None, 16, 16, "float64", seed=k) for k in (0, 1))
        check(product(a, b), a, b)
    assert precision() == "float32"
    assert product_error(xp) < 1e-6


@pytest.mark.parametrize(("name", "low"), [("tf32", 1e-5), ("bfloat16", 1e-4)])
def test_fewer_bits_are_asked_for(sim: Any, name: str, low: float) -> None:
    with gn.matmul_precision(name):
        assert product_error(sim) > low


def test_precision_is_set_at_once_and_blocks_restore() -> None:
    try:
        gn.matmul_precision("tf32")
        assert precision() == "tf32"
        with gn.matmul_precision("bfloat16"), gn.matmul_precision("float32"):
            assert precision() == "float32"
        assert precision() == "tf32"
        with pytest.raises(KeyError), gn.matmul_precision("float32"):
            raise KeyError
        assert precision() == "tf32"
        seen: list[str] = []
        in_a_thread(lambda: seen.append(precision()))
        assert seen == ["tf32"]
    finally:
        gn.matmul_precision("float32")


@pytest.mark.parametrize("name", ["float16", "TF32", "", None, 32])
def test_another_word_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match='must be "float32", "tf32" or "bfloat16", got'):
        gn.matmul_precision(name)
    assert precision() == "float32"


def test_a_graph_keeps_its_precision(sim: Any) -> None:
    a, out = array(sim, None, 16, 16, "float32"), sim.empty((16, 16), np.float32)
    with gn.matmul_precision("bfloat16"):
        graph, stream = captured(sim, lambda: gemm(a, a, out))
    graph.launch(stream)
    stream.synchronize()
    rounded = to_host(out)
    with gn.matmul_precision("bfloat16"):
        np.testing.assert_array_equal(rounded, to_host(product(a, a)))
    assert (rounded != to_host(product(a, a))).any()


def test_gradcheck_needs_full_products(xp: Any) -> None:
    x, W = array(xp, None, 3, 2, "float64"), array(xp, None, 2, 2, "float64", seed=1)
    with gn.matmul_precision("tf32"):
        with pytest.raises(RuntimeError, match=r'set to "tf32".*matmul_precision\("float32"\)'):
            gradcheck(gn.functional.affine, [x, W])
        with gn.matmul_precision("float32"):
            assert gradcheck(gn.functional.affine, [x, W])
