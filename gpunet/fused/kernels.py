"""The fused kernels of a training step, and the functions that launch them.

Between two products of matrices a layer is one launch: `bias_act` or `batch_norm` forward, its
`_backward` on the way back, `softmax_loss` in between. Arrays are C-contiguous, of one dtype T
(float32 or float64), (rows, columns) or (columns,), and all of one device; on NumPy arrays the
references run, with the same results to rounding. Nothing is allocated, nothing waits for the
device, and shapes are not checked. Sums are always added in one order.

`clock` is the device clock (`gpunet.clock`). `scratch` is any array of T with at least
`scratch_size` elements, free to use for all launches of a stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from gpunet import functional, rng
from gpunet.backend import Array, array_module
from gpunet.kernel import BlockKernel, Kernel

ACTS: dict[str | None, int] = {None: 0, "relu": 1, "sigmoid": 2, "tanh": 3}  # nn/activation.cuh
WIDTH = 32  # columns of a block
ONE_LAUNCH = 1024  # rows: up to here a block takes all rows of its columns
CHUNK = 256  # rows of a chunk above
LOSS_ONE_LAUNCH = 32768  # logits: up to here one block takes all
LOSS_CHUNK, LOSS_CHUNKS = 32, 1024  # rows of a chunk above, and how many at most


class Drop(NamedTuple):
    """Dropout as a kernel takes it: the mask of `functional.dropout` at `step` plus the clock's
    `call`. threshold: round(p * 65536). scale: 1 / (1 - p), or 0 for p = 1.
    """

    threshold: int
    scale: float
    seed: int
    layer: int
    step: int


NO_DROP = Drop(0, 1.0, 0, 0, 0)


def scratch_size(rows: int, columns: int) -> int:
    """Elements of T that any layer of this size needs."""
    return 2 * _chunks(rows) * columns if rows > ONE_LAUNCH else 0


def loss_scratch_size(rows: int, columns: int) -> int:
    """Elements of T that the loss of this size needs."""
    return 0 if _loss_fits(rows, columns) else _loss_chunks(rows) * (columns + 2)


# The launches


def tick(clock: Array, passed: Array) -> None:
    """The clock's `next` becomes its `now`, and `passed` is added to `next`.

    For a step that begins without `gather` or ends without `softmax_loss`. passed: int64 (4,), what
    the batch adds to {update, call, row, batch}.
    """
    _elementwise(_tick, clock, passed, clock[:4], clock[4:])


def note_loss(loss: Array, clock: Array, losses: Array) -> None:
    """losses[clock's batch] = loss: for a step without `softmax_loss`.

    loss: of T, shape (). losses: float64.
    """
    _elementwise(_note_loss, loss, loss, clock, losses)


def gather(data: Array, order: Array, clock: Array, y: Array, scale: float = 1) -> None:
    """y[r] = data[order[clock's next row + r]] * scale, and the clock's `next` becomes its `now`.

    Args:
        data: (samples, ...) of any type; the rows as y has them when flattened.
        order: int64 (samples,). clock: int64 (8,). y: (rows, columns) of T.
    """
    _elementwise(_gather, y, data, order, y.shape[1], scale, y, clock)


def bias_act(
    y: Array, b: Array | None, *, act: str | None = None, drop: Drop = NO_DROP, clock: Array
) -> None:
    """y = dropout(act(y + b)) in place. y: (rows, columns); b: (columns,) or None."""
    width = 0 if b is None else y.shape[1]
    _elementwise(_bias_act, y, y if b is None else b, width, ACTS[act], *drop, clock, y)


def bias_act_backward(
    gy: Array,
    y: Array,
    dz: Array,
    db: Array | None,
    *,
    act: str | None = None,
    drop: Drop = NO_DROP,
    clock: Array,
    scratch: Array,
    add: bool = False,
) -> None:
    """Back through `bias_act`: dz (may be gy) and db from its result y; add: add to db."""
    xp, (rows, columns) = array_module(y), y.shape
    chunked = xp is not np and rows > ONE_LAUNCH
    chunks = _chunks(rows) if chunked else 1
    sums = scratch if chunked and db is not None else db
    first = add and not chunked
    groups, numbers = -(-columns // WIDTH), (ACTS[act], *drop, clock)
    launch = _bias_act_backward.launch
    launch(xp, y.dtype, (groups, chunks), gy, y, rows, columns, *numbers, first, dz, sums)
    if chunked and db is not None:  # the chunks' sums, added up by the same kernel
        last = (chunks, columns, 0, *NO_DROP, clock, add, scratch, db)
        launch(xp, y.dtype, (groups, 1), scratch, scratch, *last)


def batch_norm(
    z: Array,
    gamma: Array,
    beta: Array,
    b: Array | None,
    y: Array,
    mean: Array,
    inv: Array,
    running_mean: Array | None,
    running_var: Array | None,
    *,
    momentum: float = 0.1,
    eps: float = 1e-5,
    track: bool = True,
    act: str | None = None,
    drop: Drop = NO_DROP,
    clock: Array,
    scratch: Array,
) -> None:
    """y = dropout(act(batch_norm(z + b))) of a batch in training, and what backward needs.

    Args:
        z, y: (rows, columns), rows at least 2. gamma, beta, b, and the rest: (columns,).
        mean, inv: are set to the mean of z, without b, and 1 / sqrt(biased variance + eps).
        running_mean, running_var: updated as by `functional.batch_norm`, if `track`.
    """
    xp, (rows, columns) = array_module(z), z.shape
    numbers = (rows, columns, momentum, eps, track, ACTS[act], *drop, clock)
    outputs = (y, mean, inv, running_mean, running_var, scratch)
    for parts, grid in _parts(xp, rows, columns):
        arguments = (z, gamma, beta, b, *numbers, parts, *outputs)
        _batch_norm.launch(xp, z.dtype, grid, *arguments)


def batch_norm_backward(
    gy: Array,
    y: Array,
    z: Array,
    mean: Array,
    inv: Array,
    gamma: Array,
    dz: Array,
    dgamma: Array,
    dbeta: Array,
    db: Array | None,
    *,
    act: str | None = None,
    drop: Drop = NO_DROP,
    clock: Array,
    scratch: Array,
    add: bool = False,
) -> None:
    """Back through `batch_norm`, from its y, z, mean and inv: dz (may be gy), dgamma, dbeta, db.

    add: add to dgamma and dbeta instead of overwriting them. db becomes 0, or stays if `add`.
    """
    xp, (rows, columns) = array_module(z), z.shape
    numbers = (rows, columns, ACTS[act], *drop, clock, add)
    outputs = (dz, dgamma, dbeta, db, scratch)
    for parts, grid in _parts(xp, rows, columns):
        arguments = (gy, y, z, mean, inv, gamma, *numbers, parts, *outputs)
        _batch_norm_backward.launch(xp, z.dtype, grid, *arguments)


def softmax_loss(
    z: Array,
    b: Array | None,
    labels: Array,
    dz: Array,
    db: Array | None,
    losses: Array,
    hits: Array,
    *,
    order: Array | None = None,
    clock: Array,
    scratch: Array,
    label_smoothing: float = 0.0,
    share: float = 1.0,
    add: bool = False,
    ends_update: bool = True,
) -> None:
    """Loss, hits and gradient of a batch of logits z + b.

    Args:
        z, dz: (rows, columns), may be one array; dz is `share` times the gradient of the mean loss.
        b, db: (columns,), or None. add: add to db instead of overwriting it.
        labels: int64, of all samples if `order` (int64) is given, else of this batch. One out of
            range makes the loss and its row of dz nan.
        losses, hits: float64 and int64; the first element of each is set, or with an order the one
            of the clock's `batch`, to the mean loss and the number of rows whose largest logit is
            the label's.
        ends_update: with an order the clock goes on, too; its `update` if the optimizer follows.
    """
    xp, (rows, columns) = array_module(z), z.shape
    numbers = (rows, columns, label_smoothing, share, add, ends_update)
    outputs = (dz, db, losses, hits, scratch, clock)
    for parts, chunks, grid in _loss_parts(xp, rows, columns):
        arguments = (z, b, labels, order, *numbers, parts, chunks, *outputs)
        _softmax_loss.launch(xp, z.dtype, grid, *arguments)


def _elementwise(kernel: Kernel, like: Array, *arguments: Any) -> None:
    """With inputs and outputs, where `like` lives."""
    xp = array_module(like)
    (kernel.reference if xp is np else kernel.built(xp))(*arguments)


# One launch or two


Grid = tuple[int, int]


def _chunks(rows: int) -> int:
    return -(-rows // CHUNK)


def _parts(xp: ModuleType, rows: int, columns: int) -> Iterator[tuple[int, Grid]]:
    """The launches of BatchNorm, each its `parts` and grid."""
    groups = -(-columns // WIDTH)
    if xp is np or rows <= ONE_LAUNCH:
        yield 3, (groups, 1)
    else:
        yield 1, (groups, _chunks(rows))
        yield 2, (groups, _chunks(rows))


def _loss_fits(rows: int, columns: int) -> bool:
    return rows <= ONE_LAUNCH and rows * columns <= LOSS_ONE_LAUNCH


def _loss_chunks(rows: int) -> int:
    return min(-(-rows // LOSS_CHUNK), LOSS_CHUNKS)


def _loss_parts(xp: ModuleType, rows: int, columns: int) -> Iterator[tuple[int, int, Grid]]:
    """The launches of the loss, each its `parts`, the chunks of rows, and grid."""
    if xp is np or _loss_fits(rows, columns):
        yield 3, 1, (1, 1)
    else:
        chunks = _loss_chunks(rows)
        yield 1, chunks, (1, chunks)
        yield 2, chunks, (-(-(columns + 2) // WIDTH), 1)


# The kernels. A reference has the header's names, writes the outputs in place, and does what all
# parts of a kernel do together.


def _tick_reference(passed: Array, now: Array, next: Array) -> None:
    now[...] = next
    next += passed


def _note_loss_reference(loss: Array, clock: Array, losses: Array) -> None:
    losses[clock[3]] = loss


def _gather_reference(
    data: Array, order: Array, width: int, scale: float, y: Array, clock: Array
) -> None:
    clock[:4] = clock[4:]
    chosen = data[order[clock[2] : clock[2] + len(y)]]
    y[...] = chosen.reshape(len(y), width).astype(y.dtype)
    y *= y.dtype.type(scale)


def _bias_act_reference(
    b: Array,
    width: int,
    act: int,
    threshold: int,
    scale: float,
    seed: int,
    layer: int,
    step: int,
    clock: Array,
    y: Array,
) -> None:
    if width:
        y += b
    drop = Drop(threshold, scale, seed, layer, step)
    y[...] = _dropped(_activate(y, act), _mask(drop, clock, y.shape), scale)


def _bias_act_backward_reference(
    gy: Array,
    y: Array,
    rows: int,
    columns: int,
    act: int,
    threshold: int,
    scale: float,
    seed: int,
    layer: int,
    step: int,
    clock: Array,
    add: int,
    dz: Array,
    db: Array | None,
) -> None:
    kept = _mask(Drop(threshold, scale, seed, layer, step), clock, y.shape)
    dz[...] = _output_backward(gy, y, kept, scale, act)
    if db is not None:
        _store(db, dz.sum(axis=0), add)


def _batch_norm_reference(
    z: Array,
    gamma: Array,
    beta: Array,
    b: Array | None,
    rows: int,
    columns: int,
    momentum: float,
    eps: float,
    track: int,
    act: int,
    threshold: int,
    scale: float,
    seed: int,
    layer: int,
    step: int,
    clock: Array,
    parts: int,
    y: Array,
    mean: Array,
    inv: Array,
    running_mean: Array | None,
    running_var: Array | None,
    scratch: Array,
) -> None:
    mean[...] = z.mean(axis=0)
    centred = z - mean
    squares = (centred * centred).sum(axis=0)
    inv[...] = 1 / np.sqrt(squares / rows + eps)
    if track and running_mean is not None and running_var is not None:
        running_mean += momentum * ((mean if b is None else mean + b) - running_mean)
        running_var += momentum * (squares / (rows - 1) - running_var)
    a = _activate(gamma * (centred * inv) + beta, act)
    y[...] = _dropped(a, _mask(Drop(threshold, scale, seed, layer, step), clock, y.shape), scale)


def _batch_norm_backward_reference(
    gy: Array,
    y: Array,
    z: Array,
    mean: Array,
    inv: Array,
    gamma: Array,
    rows: int,
    columns: int,
    act: int,
    threshold: int,
    scale: float,
    seed: int,
    layer: int,
    step: int,
    clock: Array,
    add: int,
    parts: int,
    dz: Array,
    dgamma: Array,
    dbeta: Array,
    db: Array | None,
    scratch: Array,
) -> None:
    kept = _mask(Drop(threshold, scale, seed, layer, step), clock, y.shape)
    g = _output_backward(gy, y, kept, scale, act)
    normal = (z - mean) * inv
    sum_g, sum_g_normal = g.sum(axis=0), (g * normal).sum(axis=0)
    dz[...] = gamma * inv / rows * (rows * g - sum_g - normal * sum_g_normal)
    _store(dgamma, sum_g_normal, add)
    _store(dbeta, sum_g, add)
    if db is not None and not add:
        db[...] = 0


def _softmax_loss_reference(
    z: Array,
    b: Array | None,
    labels: Array,
    order: Array | None,
    rows: int,
    columns: int,
    smoothing: float,
    share: float,
    add: int,
    ends_update: int,
    parts: int,
    chunks: int,
    dz: Array,
    db: Array | None,
    losses: Array,
    hits: Array,
    scratch: Array,
    clock: Array,
) -> None:
    batch = 0 if order is None else clock[3]
    t = labels[:rows] if order is None else labels[order[clock[2] : clock[2] + rows]]
    logits = z if b is None else z + b
    below = logits - logits.max(axis=1, keepdims=True)
    total = np.exp(below).sum(axis=1, keepdims=True)
    at = t[:, None] == np.arange(columns)
    loss = np.log(total[:, 0]) - (1 - smoothing) * np.where(at, below, 0).sum(axis=1)
    if smoothing:
        loss -= smoothing / columns * below.sum(axis=1)
    valid = (t >= 0) & (t < columns)
    losses[batch] = np.where(valid, loss, np.nan).mean()
    hits[batch] = np.count_nonzero(logits.argmax(axis=1) == t)
    q = smoothing / columns + (1 - smoothing) * at
    gradient = share / rows * (np.exp(below) / total - q)
    dz[...] = np.where(valid[:, None], gradient, np.nan)
    if db is not None:
        _store(db, dz.sum(axis=0), add)
    if order is not None:
        clock[4:] = clock[:4] + np.array([ends_update, 1, rows, 1])


def _mask(drop: Drop, clock: Array, shape: tuple[int, ...]) -> Array:
    """Which elements dropout keeps."""
    if not drop.threshold:
        return np.ones((), np.bool_)
    step = (drop.step + int(clock[1])) % 2**64
    return rng.kept(shape, drop.threshold, drop.seed, drop.layer, step)


def _dropped(a: Array, kept: Array, scale: float) -> Array:
    return np.where(kept, a * scale, a.dtype.type(0))


def _activate(x: Array, act: int) -> Array:
    kernels = (None, functional._relu, functional._sigmoid, functional._tanh)
    kernel = kernels[act]
    return x if kernel is None else kernel.reference(x)


def _output_backward(gy: Array, y: Array, kept: Array, scale: float, act: int) -> Array:
    """Back through dropout(act(x)), from y; a dropped element has y = 0."""
    if act in (ACTS["relu"], ACTS["sigmoid"]):
        kept = y != 0
    backward = (
        None,
        functional._relu_backward,
        functional._sigmoid_backward,
        functional._tanh_backward,
    )[act]
    g = gy * scale
    if backward is not None:
        g = backward.reference(g, y / scale if scale != 1 else y)
    return np.where(kept, g, gy.dtype.type(0))


def _store(target: Array, value: Array, add: int) -> None:
    target[...] = target + value if add else value


_tick = Kernel("nn/tick", _tick_reference)
_note_loss = Kernel("nn/note_loss", _note_loss_reference)
_gather = Kernel("nn/gather", _gather_reference)
_bias_act = Kernel("nn/bias_act", _bias_act_reference)
_bias_act_backward = BlockKernel("nn/bias_act_backward", _bias_act_backward_reference)
_batch_norm = BlockKernel("nn/batch_norm", _batch_norm_reference)
_batch_norm_backward = BlockKernel("nn/batch_norm_backward", _batch_norm_backward_reference)
_softmax_loss = BlockKernel("nn/softmax_loss", _softmax_loss_reference)
