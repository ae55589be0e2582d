"""Loss and accuracy of a model on data that it is not trained on, and its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from gpunet import threads
from gpunet.backend import Array, array_module, device_of, to_device
from gpunet.context import no_grad
from gpunet.layer import Layer
from gpunet.loss import Loss
from gpunet.train.feed import Feed

ROWS = 1024  # at a time


class Tally:
    """Loss and hits of a model over the parts of a feed, read from the device once, at the end."""

    def __init__(self, loss: Loss, feed: Feed, parts: int) -> None:
        self.loss, self.feed = loss, feed
        self._values, self._weights = (feed.xp.zeros(parts, np.float64) for _ in range(2))
        self._hits: list[Array | None] = []

    def add(self, value: Array, z: Array, t: Array, weight: Sequence[Array]) -> None:
        """The next part: its loss, the model's outputs, the targets, and weights if the feed has
        them.
        """
        loss, k = self.loss, len(self._hits)
        self._values[k], self._weights[k] = value, loss.weight(t, *weight)
        self._hits.append(loss.hits(z, t, *weight))

    def scores(self) -> dict[str, float]:
        """As `evaluate`."""
        feed = self.feed
        found = {"loss": self.loss.mean(self._values, self._weights)}
        right = [count for count in self._hits if count is not None]
        total = len(feed) if feed.weight is None else float(feed.weight.sum())
        return found | {"accuracy": float(sum(right)) / total} if right else found


def evaluate(model: Layer, loss: Loss, feed: Feed) -> dict[str, float]:
    """{"loss": mean over the rows} and, where predictions can be right, "accuracy", in evaluation
    mode.
    """
    parts = feed.in_order(ROWS)
    tally = Tally(loss, feed, len(parts))
    quiet = np.errstate(over="ignore", invalid="ignore")
    fit = threads.suited(model, min(len(feed), ROWS))
    with model.evaluating(), no_grad(), quiet, fit, closing(feed.batches(parts)) as batches:
        for x, t, *weight in batches:
            z = model(x)
            tally.add(loss(z, t, *weight).data, z.data, t, weight)
    return tally.scores()


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
