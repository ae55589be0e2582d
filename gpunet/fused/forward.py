"""A model in evaluation mode: for each block of a chain one product and what follows it, in place.

The chain may be that of several models (`Chain.models`): outputs have a leading axis then. No mode
is changed, nothing is recorded, and several threads may call at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from gpunet import context, counters
from gpunet.backend import Array, array_module
from gpunet.context import no_grad
from gpunet.fused import on_cupy, on_numpy, on_stacks, plan
from gpunet.fused.after import NO_DROP, After
from gpunet.fused.plan import Block, Chain
from gpunet.gemm import product
from gpunet.layer import Layer
from gpunet.losses import labels
from gpunet.pool import Pool

ROWS = 1024  # at a time


class Rows:
    """What is written for `rows` rows: the hidden blocks' outputs, and what launches need."""

    def __init__(self, chain: Chain, rows: int, xp: Any) -> None:
        self.chain, self.rows, self.cupy = chain, rows, xp
        self.hidden = [self._empty(n) for n in chain.columns[:-1]]
        self.counters = counters.array(xp)

    def _empty(self, columns: int) -> Array:
        return self.cupy.empty((*self.chain.models, self.rows, columns), self.chain.dtype)

    @cached_property
    def x(self) -> Array:
        """For rows that are not as the first block takes them."""
        return self.cupy.empty((self.rows, self.chain.features), self.chain.dtype)

    @cached_property
    def logits(self) -> Array:
        return self._empty(self.chain.columns[-1])

    @cached_property
    def scratch(self) -> Array:
        models = math.prod(self.chain.models)
        return self.cupy.empty(models * 2 * on_cupy.LOSS_CHUNKS, self.chain.dtype)

    @cached_property
    def arrived(self) -> Array:
        return self.cupy.zeros(math.prod(self.chain.models), np.uint32)


class Walk:
    """Through the blocks of a chain, for one caller at a time.

    Buffers are kept for the numbers of rows met last, KEPT at most.
    """

    KEPT = 4

    def __init__(self, chain: Chain, xp: ModuleType) -> None:
        self.chain, self.xp = chain, xp
        self.ops: Any = on_cupy if xp is not np else on_stacks if chain.models else on_numpy
        self._rows: dict[int, Rows] = {}

    def accepts(self, x: Array) -> bool:
        """Rows of real numbers beside the parameters; what else there is the layers take, or
        refuse.
        """
        first = self.chain.blocks[0].affine.W.data
        fits = x.ndim == 2 and x.shape[1] == self.chain.features and len(x) > 0
        return fits and type(x) is type(first) and x.dtype.kind in "fiub"

    @property
    def ends_in_logits(self) -> bool:
        """Nothing follows the last Affine, and it has several outputs."""
        last = self.chain.blocks[-1]
        return last == Block(last.affine) and self.chain.columns[-1] > 1

    def outputs(self, x: Array) -> Array:
        """A new array (rows, outputs)."""
        chain = self.chain
        y = self.xp.empty((*chain.models, len(x), chain.columns[-1]), chain.dtype)
        for k in range(0, len(x), ROWS):
            some, place = x[k : k + ROWS], y[..., k : k + ROWS, :]
            own = self._of(len(some))
            out = own.logits if chain.models else place  # a part of each model's lies apart
            found = self._block(chain.blocks[-1], self._hidden(own, some), out, own)
            if found is not place:
                place[...] = found
        return y

    def score(self, x: Array, t: Array, smoothing: float, found: Array) -> None:
        """Mean cross entropy and hits of up to ROWS rows, where they end in logits: float64 (2,),
        of several models (models, 2).

        ValueError for labels that do not fit, as from the loss.
        """
        t = labels(t, x.shape[:1], self.chain.columns[-1])
        own, affine = self._of(len(x)), self.chain.blocks[-1].affine
        z = product(self._hidden(own, x), affine.W.data, own.logits)
        b = None if affine.b is None else affine.b.data
        self.ops.score(z, b, t, smoothing, found, own)

    def _of(self, rows: int) -> Rows:
        own = self._rows.get(rows)
        if own is None:
            if len(self._rows) >= self.KEPT:
                del self._rows[next(iter(self._rows))]
            own = self._rows[rows] = Rows(self.chain, rows, self.xp)
        return own

    def _hidden(self, own: Rows, x: Array) -> Array:
        """Up to the last product."""
        chain = self.chain
        if chain.rescale is not None or x.dtype != chain.dtype:
            own.x[...] = x
            x = own.x
            if chain.rescale is not None:
                x *= chain.dtype.type(chain.rescale.scale)
        for block, y in zip(chain.blocks, own.hidden, strict=False):
            x = self._block(block, x, y, own)
        return x

    def _block(self, block: Block, x: Array, y: Array, own: Rows) -> Array:
        """y = act(norm(x W + b))."""
        affine, act = block.affine, block.act
        product(x, affine.W.data, y)
        after = After(act.formula, NO_DROP, act.alpha) if act else on_cupy.NOTHING
        self.ops.norm_act(block.norm, y, None if affine.b is None else affine.b.data, after, own)
        return y


class Forward:
    """`forward(x)`: what `model` puts out for rows x (n, features) in evaluation mode, a new array;
    floating numbers are made of the parameters' dtype.

    A chain of Affine, BatchNorm, activation and Dropout runs fused; other models, and watched ones,
    layer by layer: in evaluation mode, which is another's too while a thread is in it.

    On the CPU the numbers are the layers', to the last bit; on a GPU they are to rounding.

    read: how a chain is found in the model.
    """

    def __init__(
        self,
        model: Layer,
        fuse: bool = True,
        read: Callable[[Layer], Chain | str] = plan.chain,
    ) -> None:
        self.model, self.fuse, self.read = model, fuse, read
        self._found: tuple[Chain | str, dict[Any, Pool[Walk]]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made anew, from a copy of the model."""
        return type(self), (self.model, self.fuse, self.read)

    @property
    def reason(self) -> str | None:
        """Why the model runs layer by layer, None if it is fused."""
        found, _ = self._read()
        return found if isinstance(found, str) else None

    def __call__(self, x: Array) -> Array:
        with self.walk(array_module(x)) as walk:
            if walk is not None and walk.accepts(x):
                return walk.outputs(x)
        dtype = next((p.dtype for _, p in self.model.named_parameters()), x.dtype)
        x = x.astype(dtype, copy=False) if x.dtype.kind == "f" else x
        with self.model.evaluating(), no_grad():
            return self.model(x).data

    @contextmanager
    def walk(self, xp: Any) -> Iterator[Walk | None]:
        """A walk to use inside; None where the layers must run one by one.

        xp: the module, `numpy` or `cupy`, of the rows.
        """
        chain, pools = self._read()
        if isinstance(chain, str) or xp is None or context.current().watched:
            yield None
            return
        captured = counters.current()
        if captured is not None:  # what the graph writes to comes from its own pool, in passing
            for part in chain.parts:
                captured.depend_on(part)
            yield Walk(chain, xp)
            return
        if xp not in pools:
            pools.setdefault(xp, Pool(lambda: Walk(chain, xp)))
        with pools[xp].lent(xp) as walk:
            yield walk

    def _read(self) -> tuple[Chain | str, dict[Any, Pool[Walk]]]:
        """The chain or the reason why there is none, and its walks; read anew if the model is no
        longer what it was.
        """
        found = self._found
        if found is None or isinstance(found[0], str) or not found[0].stands():
            found = self.read(self.model) if self.fuse else "fuse=False", {}
            self._found = found
        return found
