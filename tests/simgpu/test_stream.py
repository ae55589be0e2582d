"""Streams, events, captures and graphs."""

from __future__ import annotations

import threading
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

Stream, Event, runtime = cp.cuda.Stream, cp.cuda.Event, cp.cuda.runtime
CUDARuntimeError = runtime.CUDARuntimeError
needs_compiler = pytest.mark.skipif(not simgpu.available()[0], reason=simgpu.available()[1])


def capture(work: Callable[[], Any]) -> Any:
    """A graph of the work, recorded on a stream of its own."""
    stream = Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            work()
        finally:
            graph = stream.end_capture()
    return graph


@pytest.fixture
def stream() -> Any:
    """A current stream that captures; the capture is ended afterwards whatever became of it."""
    stream = Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        yield stream
        try:
            stream.end_capture()
        except CUDARuntimeError:
            assert not stream.is_capturing()


# -- streams and events -------------------------------------------------------------------------


def test_the_current_stream_is_a_stack_and_belongs_to_the_thread() -> None:
    a, b = Stream(), Stream(non_blocking=True)
    assert cp.cuda.get_current_stream() == Stream.null
    seen: list[Any] = []
    with a, b:
        assert cp.cuda.get_current_stream() is b
        thread = threading.Thread(target=lambda: seen.append(cp.cuda.get_current_stream()))
        thread.start()
        thread.join()
    assert seen == [Stream.null]
    with a:
        b.use()
        assert cp.cuda.get_current_stream() is b
    assert cp.cuda.get_current_stream() == Stream.null
    assert (a.ptr, b.ptr) == tuple({a.ptr, b.ptr}) or a.ptr != b.ptr
    assert b.is_non_blocking
    assert not a.is_non_blocking
    assert Stream.from_external(a) == a


def test_synchronising_is_counted() -> None:
    with simgpu.count() as counters:
        Stream().synchronize()
        Stream.null.synchronize()
        cp.cuda.Device().synchronize()
        runtime.deviceSynchronize()
        runtime.streamSynchronize(0)
        Event().synchronize()
    assert counters == simgpu.Counters(synchronisations=6)


def test_events_measure_time() -> None:
    start, end = Event(), Event()
    start.record()
    end.record()
    assert 0 <= cp.cuda.get_elapsed_time(start, end) < 1000
    assert start.done
    with pytest.raises(CUDARuntimeError, match="cudaErrorInvalidResourceHandle"):
        cp.cuda.get_elapsed_time(start, Event())
    with pytest.raises(CUDARuntimeError):
        cp.cuda.get_elapsed_time(start, Event(disable_timing=True))


def test_one_device() -> None:
    assert runtime.getDeviceCount() == 1
    assert runtime.getDeviceProperties(0)["warpSize"] == 32
    assert cp.cuda.is_available()
    with cp.cuda.Device(0) as device:
        assert device.compute_capability == "90"
    with pytest.raises(CUDARuntimeError, match="cudaErrorInvalidDevice"):
        cp.cuda.Device(1).use()
    with pytest.raises(CUDARuntimeError):
        runtime.streamSynchronize(12345)


# -- what a capture records ---------------------------------------------------------------------


def test_work_is_recorded_and_not_done() -> None:
    x, y = cp.zeros(3), cp.zeros(3)

    def work() -> None:
        cp.add(x, 1, out=x)
        y[...] = x
        y.__imul__(10)

    with simgpu.count() as counters:
        graph = capture(work)
    assert counters == simgpu.Counters()
    assert not x.get().any()
    for step in (1, 2, 3):
        with simgpu.count() as counters:
            graph.launch()
        assert counters == simgpu.Counters(graph_launches=1)
        np.testing.assert_array_equal(y.get(), np.full(3, 10.0 * step))


def test_results_made_in_a_capture_are_undefined_until_the_replay() -> None:
    made: list[Any] = []
    x = cp.full(3, 2.0)
    graph = capture(lambda: made.append(cp.exp(x).sum()))
    assert np.isnan(made[0].get())
    graph.launch()
    np.testing.assert_allclose(made[0].get(), 3 * np.exp(2.0))


@needs_compiler
def test_scalars_are_frozen_and_buffers_go_by_address() -> None:
    scale = cp.ElementwiseKernel("T x, T by", "T y", "y = x * by", "scale")
    box = {"by": 3.0}
    x, y = cp.ones(4), cp.empty(4)
    address = x.data.ptr
    graph = capture(lambda: scale(x, box["by"], y))
    box["by"] = 5.0
    x[...] = 2
    graph.launch()
    np.testing.assert_array_equal(y.get(), np.full(4, 6.0))
    x = cp.full(4, 100.0)  # another array: the graph still reads the first one's address, ...
    graph.launch()
    assert x.data.ptr != address
    assert np.isnan(y.get()).all()  # ... which went back to the pool


@needs_compiler
def test_a_kernel_goes_to_the_stream_it_is_given() -> None:
    twice = cp.ElementwiseKernel("T x", "T y", "y = 2 * x", "twice")
    total = cp.ReductionKernel("T x", "T y", "x", "a + b", "y = a", "0", "total")
    x, y, z = cp.ones(4), cp.zeros(4), cp.zeros(())
    stream = Stream(non_blocking=True)
    stream.begin_capture()
    twice(x, y, stream=stream)
    total(y, z, stream=stream)
    graph = stream.end_capture()
    assert not y.get().any()
    graph.launch()
    assert z.item() == 8


@pytest.mark.parametrize(
    "work",
    [
        lambda x, i: cp.add(x, 1, out=x),
        lambda x, i: x.__setitem__(slice(1, 3), 7.0),
        lambda x, i: x.__setitem__(i, 5.0),
        lambda x, i: x.__setitem__(i, x[i] + 1),
        lambda x, i: cp.copyto(x, 0, where=x > 1),
        lambda x, i: x.fill(0),
        lambda x, i: x.fill(3),
        lambda x, i: cp.copyto(x, x[::-1].copy()),
        lambda x, i: x.__setitem__(..., cp.take(x, i).sum() + cp.arange(4)),
        lambda x, i: x.__setitem__(..., cp.where(x > 1, x, 0.0)),
        lambda x, i: cp.add.at(x, i, 1.0),
        lambda x, i: x.__setitem__(..., cp.concatenate([x[2:], x[:2]])),
        lambda x, i: x.data.memset_async(0, 16),
        lambda x, i: x.data.copy_from_device_async(x[2:].data, 16),
        lambda x, i: runtime.memsetAsync(x.data.ptr, 0, 8, cp.cuda.get_current_stream().ptr),
        lambda x, i: x.__setitem__(..., x.astype(np.float32).T.reshape(2, 2).T.ravel()),
        lambda x, i: x.__setitem__(..., cp.argsort(x) @ cp.eye(4, dtype=np.int64)),
        lambda x, i: x.__setitem__(..., cp.asarray(9.0)),
    ],
)
def test_a_replay_does_what_the_eager_call_does(work: Callable[..., Any]) -> None:
    start = [1.0, 2.0, 3.0, 4.0]
    eager, replayed = cp.asarray(start), cp.zeros(4)
    index = cp.asarray([3, 0])
    graph = capture(lambda: work(replayed, index))
    assert not replayed.get().any()
    replayed[...] = cp.asarray(start)
    for _ in range(3):
        graph.launch()
        work(eager, index)
        np.testing.assert_array_equal(replayed.get(), eager.get())
    assert replayed.get().tolist() != start


def test_a_graph_lists_its_nodes_and_can_be_part_of_another() -> None:
    x = cp.zeros(2)
    inner = capture(lambda: (cp.add(x, 1, out=x), x.fill(0), cp.add(x, 5, out=x)))
    dot = inner.debug_dot_str()
    assert dot.count("label=") == 3
    assert "memset" in dot
    verbose = inner.debug_dot_str(runtime.cudaGraphDebugDotFlagsVerbose)
    assert (verbose.count("label="), verbose != dot) == (3, True)
    outer = capture(lambda: (inner.launch(), cp.multiply(x, 2, out=x)))
    assert outer.debug_dot_str().count("label=") == 4
    outer.upload()
    outer.launch(Stream())
    np.testing.assert_array_equal(x.get(), [10, 10])
    with pytest.raises(NotImplementedError):
        cp.cuda.Graph()


def test_host_functions_run_at_every_replay() -> None:
    calls: list[int] = []
    stream = Stream(non_blocking=True)
    stream.begin_capture()
    stream.launch_host_func(calls.append, 1)
    graph = stream.end_capture()
    assert calls == []
    graph.launch()
    graph.launch()
    assert calls == [1, 1]
    stream.launch_host_func(calls.append, 2)
    assert calls == [1, 1, 2]


def test_pinned_memory_is_read_again_at_every_replay() -> None:
    pinned = cp.cuda.alloc_pinned_memory(32)
    host = np.frombuffer(pinned, np.float64, 4)
    host[:] = 1
    x = cp.zeros(4)
    stream = Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        runtime.memcpyAsync(x.data.ptr, pinned.ptr, 32, runtime.memcpyHostToDevice, stream.ptr)
        graph = stream.end_capture()
    host[:] = 8
    graph.launch()
    np.testing.assert_array_equal(x.get(), np.full(4, 8.0))


# -- what a capture refuses ---------------------------------------------------------------------

with simgpu.activate():
    X = cp.ones((2, 2))
HOST = np.ones((2, 2))
BLAS, D2H, H2D = (
    "calling cuBLAS API",
    "D2H transfers are disallowed",
    "H2D transfers are disallowed",
)
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "@": (lambda: X @ X, NotImplementedError, BLAS),
    "matmul": (lambda: cp.matmul(X, X), NotImplementedError, BLAS),
    "matmul out": (lambda: cp.matmul(X, X, out=X), NotImplementedError, BLAS),
    "dot": (lambda: X.dot(X), NotImplementedError, BLAS),
    "einsum": (lambda: cp.einsum("ij,jk", X, X), NotImplementedError, BLAS),
    "numpy's matmul": (lambda: np.matmul(X, X), NotImplementedError, BLAS),
    "get": (lambda: X.get(), RuntimeError, D2H),
    "get on the stream": (
        lambda: X.get(cp.cuda.get_current_stream(), blocking=False), RuntimeError, D2H,
    ),
    "asnumpy": (lambda: cp.asnumpy(X), RuntimeError, D2H),
    "float": (lambda: float(X[0, 0]), RuntimeError, D2H),
    "int": (lambda: int(X[0, 0]), RuntimeError, D2H),
    "bool": (lambda: bool(X[0, 0]), RuntimeError, D2H),
    "if": (lambda: 1 if X[0, 0] > 0 else 0, RuntimeError, D2H),
    "item": (lambda: X[0, 0].item(), RuntimeError, D2H),
    "tolist": (lambda: X.tolist(), RuntimeError, D2H),
    "repr": (lambda: repr(X), RuntimeError, D2H),
    "format": (lambda: f"{X[0, 0]:.2f}", RuntimeError, D2H),
    "in": (lambda: 3.0 in X[0], RuntimeError, D2H),
    "nonzero": (lambda: cp.nonzero(X), RuntimeError, D2H),
    "where": (lambda: cp.where(X > 0), RuntimeError, D2H),
    "mask": (lambda: X[X > 0], RuntimeError, D2H),
    "write by mask": (lambda: X.__setitem__(X > 5, 0), RuntimeError, D2H),
    "copy to host": (lambda: X.data.copy_to_host(HOST.ctypes.data, 8), RuntimeError, "synchronous"),
    "asarray": (lambda: cp.asarray(HOST), RuntimeError, H2D),
    "array of a list": (lambda: cp.array([1.0, 2.0]), RuntimeError, H2D),
    "set": (lambda: X.set(HOST), RuntimeError, H2D),
    "index by a list": (lambda: X[[0, 1]], RuntimeError, H2D),
    "memset": (lambda: X.data.memset(0, 8), RuntimeError, "synchronous API calls"),
    "legacy random": (lambda: cp.random.rand(2), NotImplementedError, "calling cuRAND API"),
    "shuffle": (lambda: cp.random.permutation(3), NotImplementedError, "calling cuRAND API"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_in_a_capture(
    stream: Any, call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with simgpu.count() as counters, pytest.raises(error, match=message):
        call()
    assert counters.d2h_copies == counters.h2d_copies == counters.synchronisations == 0
    assert stream.is_capturing()  # CuPy refuses before CUDA is asked, so the capture goes on


@pytest.mark.parametrize("call", [call for call, _, _ in REFUSED.values()], ids=REFUSED.keys())
def test_nothing_of_it_is_refused_outside(call: Callable[[], Any]) -> None:
    kept = X.copy()
    call()
    X[...] = kept


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (lambda s: s.synchronize(), 900),
        (lambda s: cp.cuda.Device().synchronize(), 900),
        (lambda s: runtime.streamSynchronize(s.ptr), 900),
        (lambda s: s.add_callback(print, None), 900),
        (lambda s: s.record().synchronize(), 907),
    ],
)
def test_synchronising_invalidates_the_capture(
    stream: Any, call: Callable[[Any], Any], status: int
) -> None:
    with pytest.raises(CUDARuntimeError) as caught:
        call(stream)
    assert caught.value.status == status
    with pytest.raises(RuntimeError, match="invalidated the capture sequence"):
        stream.is_capturing()
    with pytest.raises((CUDARuntimeError, RuntimeError), match=r"invalidated|previous error"):
        cp.add(X, 1)
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
        stream.end_capture()
    stream.begin_capture()  # usable again


def test_asking_whether_a_capture_is_done_invalidates_it(stream: Any) -> None:
    assert not stream.done
    with pytest.raises(CUDARuntimeError, match="Invalidated"):
        stream.end_capture()


def test_captures_begin_and_end_in_order(stream: Any) -> None:
    with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalState"):
        stream.begin_capture()
    with pytest.raises(CUDARuntimeError, match="cudaErrorIllegalState"):
        Stream().end_capture()
    for null in (Stream.null, Stream(null=True)):
        with pytest.raises(RuntimeError, match="cannot capture on the default"):
            null.begin_capture()


def test_work_on_the_null_stream_breaks_the_capture_of_a_blocking_stream() -> None:
    stream = Stream(non_blocking=False)
    stream.begin_capture()
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="CAPTURE_IMPLICIT"):
        cp.add(X, 1)
    with pytest.raises(CUDARuntimeError, match="Invalidated"):
        stream.end_capture()
    X.sum()


def test_work_on_another_stream_goes_on_during_a_capture(stream: Any) -> None:
    with Stream.null:
        assert float(X.sum()) == 4.0


def test_fork_and_join() -> None:
    x, y = cp.zeros(2), cp.zeros(2)
    origin, side = Stream(non_blocking=True), Stream(non_blocking=True)
    origin.begin_capture()
    with origin:
        cp.add(x, 1, out=x)
    side.wait_event(origin.record())
    assert side.is_capturing()
    with side:
        cp.add(x, 10, out=y)
    origin.wait_event(side.record())
    graph = origin.end_capture()
    assert not side.is_capturing()
    graph.launch()
    np.testing.assert_array_equal(y.get(), [11, 11])


def status_of(call: Callable[[], Any]) -> int:
    with pytest.raises(CUDARuntimeError) as caught:
        call()
    return int(caught.value.status)


def test_the_device_cannot_be_waited_for_while_any_stream_captures(stream: Any) -> None:
    with Stream.null:
        assert status_of(cp.cuda.Device().synchronize) == 900
    assert status_of(stream.end_capture) == 901
    cp.cuda.Device().synchronize()


def test_a_capture_waits_for_no_work_outside_of_it(stream: Any) -> None:
    stream.wait_event(Event())  # never recorded, so there is nothing to wait for
    with Stream.null:
        outside = Stream.null.record()
    assert status_of(lambda: stream.wait_event(outside)) == 905
    assert status_of(stream.end_capture) == 901


def test_two_captures_do_not_meet(stream: Any) -> None:
    other = Stream(non_blocking=True)
    other.begin_capture()
    assert status_of(lambda: stream.wait_event(other.record())) == 902
    assert status_of(other.end_capture) == 901


def test_an_event_of_a_capture_is_no_use_afterwards() -> None:
    stream = Stream(non_blocking=True)
    stream.begin_capture()
    event = stream.record()
    stream.end_capture()
    assert status_of(lambda: Stream().wait_event(event)) == 907


def test_a_capture_ends_where_it_began(stream: Any) -> None:
    side = Stream(non_blocking=True)
    side.wait_event(stream.record())
    assert status_of(side.end_capture) == 903
    assert status_of(stream.end_capture) == 901
    assert not side.is_capturing()


@pytest.mark.parametrize("late_work", [False, True])
def test_a_fork_that_is_not_joined_is_an_error(late_work: bool) -> None:
    origin, side = Stream(non_blocking=True), Stream(non_blocking=True)
    origin.begin_capture()
    side.wait_event(origin.record())
    with side:
        X + 1
        if late_work:
            origin.wait_event(side.record())
            X + 1
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureUnjoined"):
        origin.end_capture()
    assert not side.is_capturing()


def test_asking_the_null_stream_spoils_no_capture() -> None:
    blocking = Stream()
    blocking.begin_capture()
    with pytest.raises(CUDARuntimeError, match="cudaErrorStreamCaptureImplicit"):
        Stream.null.is_capturing()
    blocking.end_capture()
