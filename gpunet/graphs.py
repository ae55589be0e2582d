"""A training step captured as a CUDA graph, and launched without Python.

    step = gn.capture(gn.Step(model, loss, optimizer))
    for x, t in batches:
        value = step(x, t)

The first call of each shape runs as it is: kernels are compiled, buffers made. The second is
captured, and from then on a call is one launch. What changes from step to step (scalars, dropout's
counter, the place in an epoch) is read from the device; see `gpunet.counters`. What a captured step
uses in passing comes from a pool of the graphs' own, for what was free at the capture is not free
at a launch; what is kept from step to step is made in the first call, and not there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np

from gpunet import context, counters, cublas
from gpunet.backend import Array, array_module, common_module
from gpunet.precision import precision
from gpunet.tensor import Tensor


class CaptureError(RuntimeError):
    """A step that a CUDA graph cannot hold, or that the driver does not capture."""


class Graph(NamedTuple):
    """One or several steps as one CUDA graph, and what the last of them returned."""

    graph: Any
    result: Any


class Graphs:
    """Steps run as CUDA graphs, by the same counters.

    Args:
        cupy: the module whose arrays, of type `kind`, the steps use.

    Attributes:
        by_key: the graphs, by (key, number of steps).
        counters: what the steps read.
    """

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self.kind: type = cupy.ndarray
        self.counters = counters.Counters(cupy)
        self.by_key: dict[Any, Graph] = {}
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

        CaptureError for a step that cannot be captured.
        """
        if context.current().watched:  # a launch would show nothing to anybody
            for _ in range(steps):
                result = self.eager(key, step, rows, batches)
            return result
        if not self.is_warm(key) or not self.counters.prepare(steps):
            return self._first(key, step, rows, batches)
        graph = self.by_key.get((key, steps))
        if graph is None:
            graph = self.by_key[key, steps] = self._capture(step, steps)
        graph.graph.launch()
        self.counters.advance(steps, steps * batches, steps * rows)
        return graph.result

    def eager(
        self, key: Hashable, step: Callable[[], Any], rows: int, batches: int = 1, steps: int = 1
    ) -> Any:
        """As `run`, one step, without a graph: the same launches, one by one."""
        self.counters.prepare(1)
        with counters.use(self.counters):
            result = step()
        self.counters.advance(1, batches, rows)
        return result

    def at_once(
        self, launch: Callable[[int], None], rows: int, batches: int = 1, steps: int = 1
    ) -> None:
        """Run `steps` steps that one kernel makes by itself: `launch(steps)`. No graph is made."""
        self.counters.prepare(steps)
        with counters.use(self.counters):
            launch(steps)
        self.counters.advance(steps, steps * batches, steps * rows)

    def is_warm(self, key: Hashable) -> bool:
        """True once a step of this kind ran, and nothing has changed since."""
        return key in self._warm and bool(self._warm[key] == self._dependencies())

    def _dependencies(self) -> tuple[Any, ...]:
        """What a graph depends on and the device cannot follow."""
        now = context.current()
        return precision(), now.frozen, now.recording, self.counters.dependencies()

    def _first(self, key: Hashable, step: Callable[[], Any], rows: int, batches: int) -> Any:
        """As it is, on the caller's stream: whose memory what it makes and keeps is to be, for it
        may outlive these graphs and their stream.
        """
        self.by_key = {k: graph for k, graph in self.by_key.items() if k[0] != key}
        result = self.eager(key, step, rows, batches)
        self._warm[key] = self._dependencies()
        return result

    def _capture(self, step: Callable[[], Any], steps: int) -> Graph:
        pool = self.cupy.cuda.using_allocator(self._pool.malloc)
        with self._stream:
            cublas.before_capture(self.cupy)
            with pool, counters.use(self.counters), self._capturing() as graphs:
                for _ in range(steps):
                    result = step()
        return Graph(graphs[0], result)

    @contextmanager
    def _capturing(self) -> Iterator[list[Any]]:
        """What is launched inside becomes the graph in the list."""
        graphs: list[Any] = []
        self.counters.capturing = True
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
            self.counters.capturing = False


class CapturedStep:
    """A function of arrays that launches one training step; see `capture`."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self.step = step
        self.graphs: Graphs | None = None
        self._inputs: dict[Hashable, tuple[Array, ...]] = {}
        self._results = Results()
        self._passed: Array = None

    def __call__(self, *inputs: Any) -> Any:
        arrays = [a.data if isinstance(a, Tensor) else a for a in inputs]
        graphs = self._graphs(arrays)
        if graphs is None:
            return self.step(*inputs)
        key = _key(arrays)
        held = self._inputs.get(key) or self.inputs(*arrays)
        for own, given in zip(held, arrays, strict=True):
            if own is not given:
                own[...] = given
        return self._results.copied(graphs.run(key, lambda: self._batch(held), rows=0))

    def inputs(self, *like: Array) -> tuple[Array, ...]:
        """The arrays that the graph for inputs of these shapes and dtypes reads, on the GPU. Who
        fills them, and calls with them, spares the copies:

            x, t = step.inputs(x, t)
            x[...], t[...] = ...
            loss = step(x, t)

        TypeError for what is no CuPy array.
        """
        graphs = self._graphs(like)
        if graphs is None:
            raise TypeError("inputs of a graph are on a GPU; of NumPy arrays no graph is made")
        key = _key(like)
        if key not in self._inputs:
            self._inputs[key] = tuple([graphs.cupy.empty(a.shape, a.dtype) for a in like])
        return self._inputs[key]

    def _graphs(self, arrays: Sequence[Any]) -> Graphs | None:
        """Where these run as graphs; None for NumPy arrays. TypeError for what is no array."""
        if self.graphs is not None and all(isinstance(a, self.graphs.kind) for a in arrays):
            return self.graphs
        xp = common_module([a for a in arrays if array_module(a) is not None], "a captured step")
        if xp is np:
            return None
        if any(array_module(a) is None for a in arrays):
            kinds = ", ".join(type(a).__name__ for a in arrays)
            raise TypeError(
                f"a captured step takes CuPy arrays, got {kinds}; capture a function "
                "that holds what does not change"
            )
        if self.graphs is None:
            self.graphs = Graphs(xp)
            self._passed = xp.array([1, 1, 0, 0], np.int64)
        return self.graphs

    def _batch(self, held: Sequence[Array]) -> Any:
        assert self.graphs is not None
        self.graphs.counters.begin_batch()
        self.graphs.counters.tick(self._passed)
        return self.step(*held)


def _key(arrays: Sequence[Array]) -> Hashable:
    return tuple([(a.shape, a.dtype) for a in arrays])


class Results:
    """Copies of what steps return, that no launch writes again. A lone number, such as a loss, goes
    into the next place of a row of them: to allocate an array for each would take longest of all.
    """

    ROW = 256

    def __init__(self) -> None:
        self._rows: dict[Hashable, Iterator[Array]] = {}  # a row's places that are left

    def copied(self, result: Any) -> Any:
        """The same of tuples and lists, and of a Tensor its array."""
        if isinstance(result, (tuple, list)):
            return type(result)(self.copied(one) for one in result)
        if isinstance(result, Tensor):
            result = result.data
        xp = array_module(result)
        if xp is None:
            return result
        return result.copy() if xp is np or result.ndim else self._noted(xp, result)

    def _noted(self, xp: Any, number: Array) -> Array:
        kind = number.dtype, xp.cuda.get_current_stream().ptr  # whose memory it is, and work
        place = next(self._rows.get(kind, iter(())), None)
        if place is None:
            self._rows[kind] = iter(xp.empty(self.ROW, number.dtype))
            place = next(self._rows[kind])
        place.data.copy_from_device_async(number.data, number.nbytes)
        return place


def capture(step: Callable[..., Any]) -> CapturedStep:
    """`step` as one CUDA graph, launched by calling the result with arrays of the same shapes.

        step = gn.capture(gn.Step(model, loss, optimizer))
        loss = step(x, t)

    Args:
        step: a `gn.Step`, or any function of CuPy arrays that makes one update: it may use layers,
            ops, `backward` and `optimizer.step`, each optimizer and each Dropout once. Its Python
            code runs twice for each combination of shapes and dtypes, not once a step.

    Inputs are copied to where the graph reads them, unless they are `step.inputs(...)`, which lie
    there; what the step returns (an array, a Tensor, or
    a tuple of them) comes back as arrays of your own. When a layer changes its mode or settings, or
    arrays are exchanged, the next call runs as it is, and the one after it is captured anew. The
    optimizer's scalars and schedules may change at any time. With NumPy arrays `step` runs as it
    is.

    Raises, at the call:
        RuntimeError: the step does what a graph cannot hold: it reads a number from the device,
            copies from the host, or uses an optimizer or a Dropout twice.
        TypeError: an input that is no array.
    """
    return CapturedStep(step)
