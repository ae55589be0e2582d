"""The ops of a fused step on CuPy arrays: between two products a layer is one launch.

Arrays are C-contiguous, of one dtype T (float32 or float64), (rows, columns) or (columns,), and all
of one device. Nothing is allocated, nothing waits for the device, and shapes are not checked. Sums
are always added in one order. `on_numpy` has the same functions.

Of several models, each launch is one for all: arrays have a leading axis of models, which is the
grid's z, and what a layer has a row of is (models, 1, columns). Parameters and their gradients may
be views of larger arrays, in which each model has its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpunet.activations import NUMBERS
from gpunet.backend import Array
from gpunet.fused.after import NO_DROP, After
from gpunet.gemm import product
from gpunet.kernel import BlockKernel
from gpunet.layers import BatchNorm

WIDTH = 32  # columns of a block
SUM_WIDTH = 8  # where it sums down them: layers are seldom wide enough to fill a GPU by 32
ONE_LAUNCH = 1024  # rows: up to here a block takes all rows of its columns
CHUNK = 256  # rows of a chunk above
FEW = 32  # rows of a block where no sums go down them
MOST = 65535  # blocks along a grid's y
LOSS_ONE_LAUNCH = 1024  # classes: up to here one block can add up all sums
LOSS_CHUNK, LOSS_CHUNKS = 32, 1024  # rows of a block, and blocks at most

NOTHING = After(None, NO_DROP)  # follows the weighted sum

BIAS_ACT = BlockKernel("nn/bias_act")
BIAS_ACT_BACKWARD = BlockKernel("nn/bias_act_backward")
BATCH_NORM = BlockKernel("nn/batch_norm")
BATCH_NORM_BACKWARD = BlockKernel("nn/batch_norm_backward")
SOFTMAX_LOSS = BlockKernel("nn/softmax_loss")
NORM_ACT = BlockKernel("nn/norm_act")
SCORE = BlockKernel("nn/score")


class Workspace:
    """Scratch memory for batches of `rows` rows and layers of `columns` outputs, the last of them
    the logits, free to use for all launches of a stream.

    counters: int64 (8,), see `gpunet.counters`.
    order, ends_update: set by those who take batches from data on the device. With an order (int64,
        the rows of an epoch; of several models (models, rows), or one for all) the labels are those
        of all samples, the losses those of all batches (of several models (models, batches)), and
        the batch is the one that the counters point at: it takes the order's rows from `row` on,
        its loss becomes element `batch`, and the counters go on, `update` if `ends_update`.
    """

    def __init__(
        self, cupy: Any, rows: int, columns: Sequence[int], dtype: Any, models: int = 1
    ) -> None:
        layers = 2 * _chunks(rows) * max(columns) if rows > ONE_LAUNCH else 0
        loss = _loss_chunks(rows) * (columns[-1] + 1)
        self.cupy = cupy
        self.counters: Array = None
        self.order: Array | None = None
        self.ends_update = True
        self.scratch = cupy.empty(models * max(layers, loss), dtype)
        self.arrived = cupy.zeros(models, np.uint32)

    def begin(self, counters: Array) -> None:
        """Before each walk."""
        self.counters = counters


def empty_logits(cupy: Any, rows: int, columns: int, dtype: Any, *models: int) -> Array:
    """A new array for `logits`, (rows, columns), or with an axis of models before."""
    return cupy.empty((*models, rows, columns), dtype)


dot = product  # (a, b, out)


def add_dot(a: Array, b: Array, out: Array) -> None:
    """out += a @ b."""
    product(a, b, out, add=True)


def logits(x: Array, W: Array, out: Array) -> Array:
    """x @ W in `out`, which `empty_logits` made."""
    return product(x, W, out)


def bias_act(z: Array, b: Array | None, y: Array, after: After, work: Workspace) -> None:
    """y = dropout(act(z + b)). z, y: (rows, columns), may be one; b: (columns,) or None."""
    if b is None and after == NOTHING and z is y:
        return
    models, rows, columns = _sizes(y)
    grid = -(-columns // WIDTH), min(-(-rows // FEW), MOST), models
    arguments = {"z": z, "b": b, "y": y, "rows": rows, "columns": columns, "b_apart": _apart(b)}
    BIAS_ACT.launch(work.cupy, y.dtype, grid, **arguments, **_numbers(after, work))


def bias_act_backward(
    g: Array,
    seen: Array,
    b: Array | None,
    db: Array | None,
    after: After,
    add: bool,
    work: Workspace,
) -> None:
    """Back through `bias_act`: g, the gradient of its y, becomes that of the sum; db is the sum of
    that over the batch, or is added to with `add`.

    seen: y and b None, or z and its b where the activation's gradient is made from its input.
    """
    if db is None and after == NOTHING:
        return
    models, rows, columns = _sizes(seen)
    groups, chunked = -(-columns // SUM_WIDTH), rows > ONE_LAUNCH and db is not None
    chunks = _chunks(rows) if rows > ONE_LAUNCH else 1
    sums: dict[str, Any] = {"db": db, "db_apart": _apart(db), "add": add}
    own = {"db": work.scratch, "db_apart": chunks * columns, "add": False} if chunked else sums
    shape = {"rows": rows, "columns": columns, "b_apart": _apart(b)}
    launch, cupy, T = BIAS_ACT_BACKWARD.launch, work.cupy, seen.dtype
    arrays = {"g": g, "seen": seen, "b": b}
    launch(cupy, T, (groups, chunks, models), **arrays, **shape, **own, **_numbers(after, work))
    if chunked:  # the chunks' sums, added up by the same kernel
        shape = {"rows": chunks, "columns": columns, "b_apart": 0}
        arrays = {"g": work.scratch, "seen": work.scratch, "b": None}
        nothing = _numbers(NOTHING, work)
        launch(cupy, T, (groups, 1, models), **arrays, **sums, **shape, **nothing)


def batch_norm(
    layer: BatchNorm,
    z: Array,
    b: Array | None,
    y: Array,
    mean: Array,
    inv: Array,
    after: After,
    work: Workspace,
) -> None:
    """y = dropout(act(batch_norm(z + b))) of a batch in training, and what backward needs.

    Args:
        layer: its gamma, beta and settings; running statistics are updated if `layer.track`.
        z, y: (rows, columns), rows at least 2. b: (columns,) or None.
        mean, inv: (columns,); set to the mean of z, without b, and 1 / sqrt(biased variance + eps).
    """
    models, rows, columns = _sizes(z)
    arguments: dict[str, Any] = {
        "z": z,
        "gamma": layer.gamma.data,
        "beta": layer.beta.data,
        "b": b,
        "rows": rows,
        "columns": columns,
        "apart": _apart(layer.gamma.data),
        "momentum": layer.momentum,
        "eps": layer.eps,
        "track": layer.track,
        "y": y,
        "mean": mean,
        "inv": inv,
        "running_mean": layer.running_mean,
        "running_var": layer.running_var,
        "scratch": work.scratch,
        **_numbers(after, work),
    }
    for parts, grid in _parts(rows, columns, models):
        BATCH_NORM.launch(work.cupy, z.dtype, grid, parts=parts, **arguments)


def batch_norm_backward(
    layer: BatchNorm,
    g: Array,
    y: Array,
    z: Array,
    mean: Array,
    inv: Array,
    db: Array | None,
    after: After,
    add: bool,
    work: Workspace,
) -> None:
    """Back through `batch_norm`, from its y, z, mean and inv: g, the gradient of y, becomes that of
    z; gamma's and beta's gradients are written, or added to with `add`. db becomes 0, or stays with
    `add`.
    """
    models, rows, columns = _sizes(z)
    arguments: dict[str, Any] = {
        "g": g,
        "y": y,
        "z": z,
        "mean": mean,
        "inv": inv,
        "gamma": layer.gamma.data,
        "beta": layer.beta.data,
        "rows": rows,
        "columns": columns,
        "apart": _apart(layer.gamma.data),
        "add": add,
        "dgamma": layer.gamma.grad,
        "dbeta": layer.beta.grad,
        "db": db,
        "scratch": work.scratch,
        **_numbers(after, work),
    }
    for parts, grid in _parts(rows, columns, models):
        BATCH_NORM_BACKWARD.launch(work.cupy, z.dtype, grid, parts=parts, **arguments)


def softmax_loss(
    z: Array,
    b: Array | None,
    db: Array | None,
    labels: Array,
    losses: Array,
    smoothing: float,
    share: float,
    add: bool,
    work: Workspace,
) -> None:
    """The mean cross entropy of softmax(z + b), and its gradient.

    Args:
        z: (rows, columns), from `logits`; becomes `share` times the gradient of the
            mean loss.
        b, db: (columns,), or None. add: add to db instead of overwriting it.
        labels: int64 (rows,); one out of range makes the loss and its row of z nan.
        losses: float64 (); set to the mean loss.
        smoothing: e in q' = (1 - e) q + e / classes.
    """
    models, rows, columns = _sizes(z)
    arguments: dict[str, Any] = {
        "z": z,
        "b": b,
        "labels": labels,
        "order": work.order,
        "rows": rows,
        "columns": columns,
        "apart": _apart(b),
        "turn": _apart(labels if work.order is None else work.order),
        "losses_apart": losses.strides[0] // losses.itemsize if losses.ndim else 0,
        "smoothing": smoothing,
        "share": share,
        "add": add,
        "ends_update": work.ends_update,
        "db": db,
        "losses": losses,
        "scratch": work.scratch,
        "arrived": work.arrived,
        "counters": work.counters,
    }
    for parts, chunks, grid in _loss_parts(rows, columns, models):
        launch = SOFTMAX_LOSS.launch
        launch(work.cupy, z.dtype, grid, parts=parts, chunks=chunks, **arguments)


def norm_act(norm: BatchNorm | None, z: Array, b: Array | None, after: After, work: Any) -> None:
    """z = act(norm(z + b)) in evaluation mode, in place: `norm` takes its running statistics.

    after: without dropout. work: what has `cupy` and `counters`.
    """
    if norm is None:
        bias_act(z, b, z, after, work)
        return
    models, rows, columns = _sizes(z)
    arguments: dict[str, Any] = {
        "b": b,
        "gamma": norm.gamma.data,
        "beta": norm.beta.data,
        "running_mean": norm.running_mean,
        "running_var": norm.running_var,
        "rows": rows,
        "columns": columns,
        "apart": _apart(norm.gamma.data),
        "eps": norm.eps,
        "act": NUMBERS[after.act],
        "alpha": after.alpha,
        "z": z,
    }
    grid = -(-columns // WIDTH), min(-(-rows // FEW), MOST), models
    NORM_ACT.launch(work.cupy, z.dtype, grid, **arguments)


def score(
    z: Array, b: Array | None, labels: Array, smoothing: float, found: Array, work: Any
) -> None:
    """The mean cross entropy of softmax(z + b), and in how many rows the label's logit is the
    largest: float64 (2,), `found`; of several models (models, 2). z is left as it is or becomes
    z + b.

    labels: as of `softmax_loss`, for all models. work: what has `cupy` and, of each model,
    `arrived`, uint32 (1,) of 0, and `scratch`, 2 LOSS_CHUNKS numbers.
    """
    models, rows, columns = _sizes(z)
    arrays = {"z": z, "b": b, "labels": labels, "found": found}
    apart = {"apart": _apart(b), "found_apart": _apart(found)}
    numbers = {"rows": rows, "columns": columns, "smoothing": smoothing, **apart}
    kept = {"scratch": work.scratch, "arrived": work.arrived}
    grid = 1, _loss_chunks(rows), models
    SCORE.launch(work.cupy, z.dtype, grid, **arrays, **numbers, **kept)


def _numbers(after: After, work: Workspace) -> dict[str, Any]:
    """`after` as the headers name it."""
    act, drop = NUMBERS[after.act], after.drop.arguments
    return {**drop, "act": act, "alpha": after.alpha, "counters": work.counters}


# Models


def _sizes(a: Array) -> tuple[int, int, int]:
    """Models, rows, columns."""
    return a.shape if a.ndim == 3 else (1, *a.shape)


def _apart(a: Array | None) -> int:
    """Elements from what the array has of one model to what it has of the next."""
    return 0 if a is None or a.ndim == 1 else a.strides[0] // a.itemsize


# One launch or two


Grid = tuple[int, int, int]


def _chunks(rows: int) -> int:
    return -(-rows // CHUNK)


def _parts(rows: int, columns: int, models: int) -> Iterator[tuple[int, Grid]]:
    """The launches of BatchNorm, each its `parts` and grid."""
    groups = -(-columns // SUM_WIDTH)
    if rows <= ONE_LAUNCH:
        yield 3, (groups, 1, models)
    else:
        yield 1, (groups, _chunks(rows), models)
        yield 2, (groups, _chunks(rows), models)


def _loss_chunks(rows: int) -> int:
    return min(-(-rows // LOSS_CHUNK), LOSS_CHUNKS)


def _loss_parts(rows: int, columns: int, models: int) -> Iterator[tuple[int, int, Grid]]:
    """The launches of the loss, each its `parts`, the chunks of rows, and grid."""
    chunks = _loss_chunks(rows)
    if columns <= LOSS_ONE_LAUNCH:
        yield 3, chunks, (1, chunks, models)
    else:
        yield 1, chunks, (1, chunks, models)
        yield 2, chunks, (-(-(columns + 1) // WIDTH), 1, models)
