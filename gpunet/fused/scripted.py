"""Training steps on the CPU by one call of a C function, where all that they are made of is
compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpunet import counters, numpy_c, threads
from gpunet.backend import Array
from gpunet.counters import BATCH, ROW, Counters
from gpunet.fused import native
from gpunet.fused.on_script import OnScript, refusal
from gpunet.fused.plan import Plan
from gpunet.fused.script import Hole, Script
from gpunet.fused.walk import Batch, Fused
from gpunet.optim import Optimizer
from gpunet.optim.native import PART, Pointer
from gpunet.optim.parts import Part

AT_ONCE = 50  # steps, at most,
WORK = 2**31  # and multiplications, some tenths of a second: Ctrl-C waits for them
GATHERED = ("f4", "f8", "u1", "i4", "i8")  # kinds of numbers that a script can read rows of


class Rows(NamedTuple):
    """Data in memory, and what an epoch's batches of it are.

    x: (rows, features). labels: int64 (rows,). order: int64, the rows in their order. losses:
    float64, a batch's mean loss each.
    """

    x: Array
    labels: Array
    order: Array
    losses: Array


class Given(NamedTuple):
    """A batch that is handed over: what stands for its arrays, and where its loss comes to lie."""

    x: Hole
    labels: Hole
    loss: Array


class Written(NamedTuple):
    """A script, what it depends on, and where it takes its batches from."""

    script: Script
    depends: Any
    given: Given


class Scripted:
    """Steps of a plan by script: loss, gradients and the optimizer's update.

    As with a CUDA graph (`gpunet.graphs`) what changes from step to step is read from the counters,
    and a script is written anew where what it depends on has changed.

    data: where batches come from; None where they are handed over.
    """

    def __init__(self, plan: Plan, optimizer: Optimizer, data: Rows | None = None) -> None:
        self.plan, self.optimizer, self.data = plan, optimizer, data
        self.counters = Counters(np)
        self._written: dict[int, Written] = {}  # by rows; the last is the one used last

    def once(self, x: Array, labels: Array) -> Array | None:
        """A step from this batch; its loss, float64 (). None, and nothing is done, where it cannot
        be.

        x: of the parameters' dtype, rescaled. labels: int64 (rows,).
        """
        found = self._of(len(x), 1)
        if found is None:
            return None
        script, given = found.script, found.given
        script.fill(given.x, x if x.flags.c_contiguous else x.copy())
        script.fill(given.labels, labels if labels.flags.c_contiguous else labels.copy())
        script.run(1)
        self.counters.advance(1, 1, 0)
        self.counters.now[BATCH] = 0  # as there: the loss has one place
        return given.loss.copy()

    def begin(self, batch: int, row: int) -> None:
        """The next batch is the epoch's `batch`-th, from 0, and begins with this row."""
        if self.counters.now[ROW:] != [row, batch]:
            self.counters.set(row=row, batch=batch)

    def at_once(self, rows: int, models: int = 1) -> int:
        """How many steps of so many models with batches of so many rows are made at a time."""
        sizes = (p.size for *_, p in self.plan.parameters)
        return max(1, min(AT_ONCE, WORK // (3 * rows * sum(sizes) * models)))

    def many(self, rows: int, steps: int) -> bool:
        """The next `steps` steps from batches of so many rows; as `once`."""
        run = self.ready(rows, steps)
        if run is None:
            return False
        run()
        self.counters.advance(steps, steps, steps * rows)
        return True

    def ready(self, rows: int, steps: int) -> Callable[[], None] | None:
        """What `many` would run, to be called from any thread; the counters must then advance."""
        found = self._of(rows, steps)
        return None if found is None else partial(found.script.run, steps)

    def _of(self, rows: int, steps: int) -> Written | None:
        """The script for batches of so many rows; None where none can be had, or not yet."""
        if not self.counters.prepare(steps):
            return None
        found = self._written.pop(rows, None)
        if found is None or found.depends != self.counters.dependencies():
            if self.refusal(rows):
                return None
            found = self._write(rows)
            self.counters.prepare(steps)  # of those who take part from now on, too
        while len(self._written) >= Fused.KEPT:
            del self._written[next(iter(self._written))]
        self._written[rows] = found
        return found

    def script(self, rows: int) -> Script:
        """The script for batches of so many rows, which is there."""
        return self._written[rows].script

    def refusal(self, rows: int) -> str | None:
        """Why there is no script for batches of so many rows, or None. Where it may come later the
        reason is that it is not compiled yet.
        """
        parts = self.optimizer.parts()
        if len(self.optimizer.gradients()) > 1:
            return "the norm is that of gradients between which frozen ones lie"
        # After a large product BLAS's threads spin on the other cores for a while.
        idle = threads.are_small((p for *_, p in self.plan.parameters), rows)
        if idle and any(part.size >= 2 * PART for part in parts):
            return "the parameters are so many that several threads update them"
        if numpy_c.addresses(self.plan.dtype) is None:
            return "NumPy's own products were not found"
        if self.data is not None and not _readable(self.data.x):
            return "the rows do not lie one after another, or are of another kind of numbers"
        if (why := refusal(self.plan, rows)) is not None:
            return why
        loops = [self.optimizer.kernel.together(part) for part in parts]
        return None if all(loops) and native.made(self.plan.dtype) else "not compiled"

    def _write(self, rows: int) -> Written:
        """A script of one step, with the array that it reads from and writes to."""
        plan, counted = self.plan, self.counters
        library, addresses = native.made(plan.dtype), numpy_c.addresses(plan.dtype)
        assert library is not None
        assert addresses is not None
        library.gpunet_numpy(Pointer.from_buffer(addresses))
        script, given = Script(library), Given(Hole(), Hole(), np.empty((), np.float64))
        x, labels = np.empty((rows, plan.features), plan.dtype), np.empty(rows, np.int64)
        wanted: Any  # labels, or what stands for them
        counted.begin_batch()
        with counters.use(counted):
            for part in plan.parts:
                counted.depend_on(part)
            if self.data is None:
                ops, wanted, losses = OnScript(script, x, given.x), given.labels, given.loss
            else:
                ops, wanted, losses = OnScript(script, x, None), labels, self.data.losses
                self._gather(script, x, labels)
            Batch(plan, rows, np, ops=ops).run(x, wanted, losses, counted.array, 1.0, False)
            self._update(script)
        script.end(counted.array, [1, 1, 0, 0] if self.data is None else [1, 1, rows, 1])
        return Written(script, counted.dependencies(), given)

    def _gather(self, script: Script, x: Array, labels: Array) -> None:
        """The next batch's rows."""
        data, places = self.data, (self.counters.array,)
        assert data is not None
        scale, kind = self.plan.scale(), data.x.dtype.str[1:]
        sizes = x.shape
        script.call(f"gathered_{kind}", *sizes, data.x, data.order, x, scale, *places)
        script.call("labelled", len(x), data.labels, data.order, labels, *places)

    def _update(self, script: Script) -> None:
        parts = self.optimizer.enter(self.counters)
        self._note_update(script, parts, [part.rows.table for part in parts])

    def _note_update(self, script: Script, parts: Sequence[Part], tables: Sequence[Array]) -> None:
        """tables: the scalars of each part, (ROWS, scalars), that of update u in row u % ROWS."""
        kernel, counted, norm = self.optimizer.kernel, self.counters.array, None
        for gradient in self.optimizer.gradients():  # one, where its norm is clipped
            norm = np.empty(1, gradient.dtype)
            script.call("norm", gradient.size, gradient, np.empty(gradient.size), norm)
        for part, table in zip(parts, tables, strict=True):
            loop, (_, arrays) = kernel.together(part), kernel.in_order(part)
            assert loop is not None
            script.call("noted", part.size, table, counted, norm, *arrays, library=loop.library)


def _readable(x: Array) -> bool:
    """Whether a script can gather rows of it."""
    return bool(x.flags.c_contiguous and x.dtype.isnative and x.dtype.str[1:] in GATHERED)
