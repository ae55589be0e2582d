"""A training step recorded as a CUDA graph, and replayed without Python.

    step = gn.capture(gn.Step(model, loss, optimizer))
    for x, t in batches:
        value = step(x, t)

The first call of each shape runs as it is: kernels are compiled, buffers made. The second is
recorded, and from then on a call is one launch. What changes from step to step (scalars, dropout's
counter, the place in an epoch) is read from the device; see `gpunet.clock`. What a recorded step
uses in passing comes from a pool of the recordings' own, for what was free while recording is not
free in a replay; what is kept from step to step is made in the first call, and not there.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from gpunet import clock, context
from gpunet.backend import Array, array_module, common_module
from gpunet.precision import precision
from gpunet.tensor import Tensor


class CaptureError(RuntimeError):
    """A step that a CUDA graph cannot hold, or that the driver does not record."""


class Recording:
    """One or several steps as one CUDA graph."""

    def __init__(self, graph: Any, result: Any, state: Any, owner: Replay) -> None:
        self.graph, self.result = graph, result
        # Weak: in a cycle, stream and memory would stay until the garbage collector comes.
        self._state, self._owner = state, weakref.ref(owner)

    def launch(self) -> None:
        """Enqueue it on the current stream. RuntimeError if it is stale: a mode, a setting or an
        array that it was recorded with is no longer what it was.
        """
        if self.stale:
            raise RuntimeError(
                "this recording is stale: since it was made a layer changed its mode or settings, "
                "or parameters moved; call the captured step, which records anew"
            )
        self.graph.launch()

    @property
    def stale(self) -> bool:
        owner = self._owner()
        return owner is None or bool(self._state != owner.state())


class Replay:
    """Steps run by recordings, on one clock.

    Args:
        cupy: the module whose arrays the steps use.

    Attributes:
        recordings: by (key, number of steps).
    """

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self.clock = clock.Clock(cupy)
        self.recordings: dict[Any, Recording] = {}
        self._warm: dict[Hashable, Any] = {}
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._pool = cupy.cuda.MemoryPool()

    def run(
        self,
        key: Hashable,
        step: Callable[[], Any],
        rows: int,
        batches: int = 1,
        steps: int = 1,
    ) -> Any:
        """Run `step` `steps` times, and return what it returned last (the same array each time).

        Args:
            key: steps that launch the same work have the same.
            rows, batches: of the data, that one step uses up.
            steps: more than one only where `is_warm(key)`.
        """
        if context.current().watched:  # a replay would call nobody
            for _ in range(steps):
                result = self.eager(key, step, rows, batches)
            return result
        if not self.is_warm(key) or not self._prepare(steps):
            return self._first(key, step, rows, batches)
        recording = self.recordings.get((key, steps))
        if recording is None:
            recording = self.recordings[key, steps] = self._record(step, steps)
        recording.graph.launch()
        self.clock.advance(steps, steps * batches, steps * rows)
        return recording.result

    def eager(
        self, key: Hashable, step: Callable[[], Any], rows: int, batches: int = 1, steps: int = 1
    ) -> Any:
        """As `run`, one step, without a graph: the same launches, one by one."""
        self._prepare(1)
        with clock.recording(self.clock):
            result = step()
        self.clock.advance(1, batches, rows)
        return result

    def is_warm(self, key: Hashable) -> bool:
        """True once a step of this kind ran, and nothing has changed since."""
        return key in self._warm and bool(self._warm[key] == self.state())

    def state(self) -> tuple[Any, ...]:
        """What a recording depends on and the device cannot follow."""
        now = context.current()
        return precision(), now.frozen, now.recording, self.clock.structure()

    def _first(self, key: Hashable, step: Callable[[], Any], rows: int, batches: int) -> Any:
        """As it is, on the stream that the recording will use."""
        self._prepare(1)
        self.cupy.cuda.get_current_stream().synchronize()
        self.recordings = {k: r for k, r in self.recordings.items() if k[0] != key}
        try:
            with self._stream, clock.recording(self.clock):
                result = step()
        finally:  # whatever the step came to: others will use what it has written
            self._stream.synchronize()
        self.clock.advance(1, batches, rows)
        self._warm[key] = self.state()
        return result

    def _prepare(self, steps: int) -> bool:
        """Bring to the device what the next steps read. False if Dropouts were called unevenly in
        between, so that one clock cannot count for them all as they were recorded.
        """
        counter = self.clock
        counter.wanted.clear()
        for follower in list(counter.followers.values()):
            follower.prepare(counter, steps)
        if len(counter.wanted) == 1 and counter.wanted != {counter.now[clock.CALL]}:
            counter.set(call=counter.wanted.pop())
        return len(counter.wanted) <= 1

    def _record(self, step: Callable[[], Any], steps: int) -> Recording:
        state = self.state()
        pool = self.cupy.cuda.using_allocator(self._pool.malloc)
        with self._stream, pool, clock.recording(self.clock), self._captured() as graphs:
            for _ in range(steps):
                result = step()
        return Recording(graphs[0], result, state, self)

    @contextmanager
    def _captured(self) -> Iterator[list[Any]]:
        """What is launched inside becomes the graph in the list."""
        graphs: list[Any] = []
        self.clock.capturing = True
        self._stream.begin_capture()
        try:
            yield graphs
            graphs.append(self._stream.end_capture())
        except BaseException as error:  # Ctrl-C, too, must not leave the stream capturing
            with suppress(Exception):  # the capture is broken, and so is its end
                self._stream.end_capture()
            if not isinstance(error, Exception):
                raise
            raise CaptureError(f"the step cannot be captured: {error}") from error
        finally:
            self.clock.capturing = False


class Captured:
    """A function of arrays that launches one training step; see `capture`."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step = step
        self.replay: Replay | None = None
        self._inputs: dict[Hashable, list[Array]] = {}
        self._passed: Array = None

    def __call__(self, *inputs: Any) -> Any:
        arrays = [a.data if isinstance(a, Tensor) else a for a in inputs]
        xp = common_module([a for a in arrays if array_module(a) is not None], "a captured step")
        if xp is np:
            return self.step(*inputs)
        if any(array_module(a) is None for a in arrays):
            kinds = ", ".join(type(a).__name__ for a in arrays)
            raise TypeError(
                f"a captured step takes CuPy arrays, got {kinds}; capture a function "
                "that holds what does not change"
            )
        if self.replay is None:
            self.replay = Replay(xp)
            self._passed = xp.array([1, 1, 0, 0], np.int64)
        key = tuple((a.shape, a.dtype.str) for a in arrays)
        if key not in self._inputs:
            self._inputs[key] = [xp.empty(a.shape, a.dtype) for a in arrays]
        held = self._inputs[key]
        for own, given in zip(held, arrays, strict=True):
            own[...] = given
        result = self.replay.run(key, lambda: self._batch(held), rows=0)
        return _copied(result)

    def _batch(self, held: list[Array]) -> Any:
        assert self.replay is not None
        counter = self.replay.clock
        counter.begin()
        counter.tick(self._passed)
        return self.step(*held)


def _copied(result: Any) -> Any:
    """Arrays that no replay writes again."""
    if isinstance(result, (tuple, list)):
        return type(result)(_copied(one) for one in result)
    if isinstance(result, Tensor):
        result = result.data
    return result.copy() if array_module(result) is not None else result


def capture(step: Callable[..., Any]) -> Captured:
    """`step` as one CUDA graph, launched by calling the result with arrays of the same shapes.

        step = gn.capture(gn.Step(model, loss, optimizer))
        loss = step(x, t)

    Args:
        step: a `gn.Step`, or any function of CuPy arrays that makes one update: it may use layers,
            ops, `backward` and `optimizer.step`, each optimizer and each Dropout once. Its Python
            code runs twice for each combination of shapes and dtypes, not once a step.

    Inputs are copied to where the graph reads them; what the step returns (an array, a Tensor, or
    a tuple of them) comes back as arrays of your own. When a layer changes its mode or settings, or
    arrays are exchanged, the next call runs as it is, and the one after it is recorded anew. The
    optimizer's scalars and schedules may change at any time. With NumPy arrays `step` runs as it
    is.

    Raises, at the call:
        RuntimeError: the step does what a graph cannot hold: it reads a number from the device,
            copies from the host, or uses an optimizer or a Dropout twice.
        TypeError: an input that is no array.
    """
    return Captured(step)
