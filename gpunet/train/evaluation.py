"""Loss and accuracy of a model on data that it is not trained on, and its outputs."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from gpunet import threads
from gpunet.backend import Array, array_module, device_of, to_device
from gpunet.context import no_grad
from gpunet.layer import Layer
from gpunet.loss import Loss
from gpunet.train.feed import Feed

ROWS = 1024  # at a time


def evaluate(model: Layer, loss: Loss, feed: Feed) -> dict[str, float]:
    """{"loss": mean over the rows} and, where predictions can be right, "accuracy", in evaluation
    mode. Read from the device once, at the end.
    """
    parts = feed.in_order(ROWS)
    values, weights = (feed.xp.zeros(len(parts), np.float64) for _ in range(2))
    hits: list[Array | None] = []
    quiet = np.errstate(over="ignore", invalid="ignore")
    fit = threads.suited(model, min(len(feed), ROWS))
    with model.evaluating(), no_grad(), quiet, fit, closing(feed.batches(parts)) as batches:
        for k, (x, t, *weight) in enumerate(batches):
            z = model(x)
            values[k], weights[k] = loss(z, t, *weight).data, loss.weight(t, *weight)
            hits.append(loss.hits(z.data, t, *weight))
    found = {"loss": loss.mean(values, weights)}
    right = [count for count in hits if count is not None]
    total = len(feed) if feed.weight is None else float(feed.weight.sum())
    return found | {"accuracy": float(sum(right)) / total} if right else found


def outputs(model: Layer, x: Array) -> Array:
    """What the model puts out for the rows of x, NumPy's or CuPy's, in evaluation mode: an array
    beside x. Floating numbers are made of the parameters' dtype.
    """
    place, found = device_of(x), []
    dtype = next((p.dtype for p in model.parameters()), x.dtype)
    quiet, fit = np.errstate(over="ignore", invalid="ignore"), threads.suited(model, ROWS)
    with model.evaluating(), no_grad(), quiet, fit:
        for k in range(0, max(len(x), 1), ROWS):
            rows = x[k : k + ROWS]
            rows = rows.astype(dtype, copy=False) if rows.dtype.kind == "f" else rows
            found.append(to_device(model(to_device(rows, model.device)).data, place))
    joined: Array = array_module(x).concatenate(found)
    return joined
