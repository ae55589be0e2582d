"""Loss and accuracy of a model on data that it is not trained on, and its outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from gpunet import threads
from gpunet.backend import Array, array_module, device_of, to_device
from gpunet.context import no_grad
from gpunet.graphs import CaptureError, capture
from gpunet.layer import Layer
from gpunet.loss import Loss
from gpunet.train.feed import Feed

ROWS = 1024  # at a time
MANY = 4  # parts from which on a graph is worth its making
Score = tuple[Array, Array | None]  # mean loss, and how many rows are right, if that can be said


class Tally:
    """Loss and hits of a model over the parts of a feed, read from the device once, at the end."""

    def __init__(self, loss: Loss, feed: Feed, parts: int) -> None:
        self.loss, self.feed = loss, feed
        self._values, self._weights = (feed.xp.zeros(parts, np.float64) for _ in range(2))
        self._hits: list[Array | None] = []

    def add(self, score: Score, t: Array, weight: Sequence[Array]) -> None:
        """The next part: its loss and hits, the targets, and weights if the feed has them."""
        k = len(self._hits)
        self._values[k], self._weights[k] = score[0], self.loss.weight(t, *weight)
        self._hits.append(score[1])

    def scores(self) -> dict[str, float]:
        """As `evaluate`."""
        feed = self.feed
        found = {"loss": self.loss.mean(self._values, self._weights)}
        right = [count for count in self._hits if count is not None]
        total = len(feed) if feed.weight is None else float(feed.weight.sum())
        return found | {"accuracy": float(sum(right)) / total} if right else found


class Captured:
    """`run` of arrays, on a GPU by one launch of a CUDA graph from the second time on that their
    shapes come; kernel by kernel, where a graph cannot hold it.
    """

    def __init__(self, run: Callable[..., Any]) -> None:
        self._plain, self._run = run, capture(run)

    def __call__(self, *arrays: Array) -> Any:
        try:
            return self._run(*arrays)
        except CaptureError:
            self._run = self._plain  # type: ignore[assignment]
            return self._plain(*arrays)


class Scoring:
    """Loss and hits of a model, in evaluation mode, on some rows: x, t and perhaps their weights.

    captured: as `Captured`, which is kept from one evaluation to the next.
    """

    def __init__(self, model: Layer, loss: Loss, captured: bool = False) -> None:
        self.model, self.loss = model, loss
        self._run = Captured(self._score) if captured else self._score

    def __call__(self, *arrays: Array) -> Score:
        found: Score = self._run(*arrays)
        return found

    def _score(self, x: Array, *known: Array) -> Score:
        z = self.model(x)
        return self.loss(z, *known).data, self.loss.hits(z.data, *known)


def evaluate(
    model: Layer, loss: Loss, feed: Feed, scoring: Scoring | None = None
) -> dict[str, float]:
    """{"loss": mean over the rows} and, where predictions can be right, "accuracy", in evaluation
    mode.

    scoring: of this model and loss, kept from one evaluation to the next.
    """
    score, parts = scoring or Scoring(model, loss), feed.in_order(ROWS)
    tally = Tally(loss, feed, len(parts))
    quiet = np.errstate(over="ignore", invalid="ignore")
    fit = threads.suited(model, min(len(feed), ROWS))
    with model.evaluating(), no_grad(), quiet, fit, closing(feed.batches(parts)) as batches:
        for x, t, *weight in batches:
            tally.add(score(x, t, *weight), t, weight)
    return tally.scores()


def outputs(model: Layer, x: Array) -> Array:
    """What the model puts out for the rows of x, NumPy's or CuPy's, in evaluation mode: an array
    beside x. Floating numbers are made of the parameters' dtype.
    """
    place, found = device_of(x), []

    def plain(rows: Array) -> Array:
        return model(rows).data

    run = Captured(plain) if len(x) >= MANY * ROWS else plain
    dtype = next((p.dtype for p in model.parameters()), x.dtype)
    quiet, fit = np.errstate(over="ignore", invalid="ignore"), threads.suited(model, ROWS)
    with model.evaluating(), no_grad(), quiet, fit:
        for k in range(0, max(len(x), 1), ROWS):
            rows = x[k : k + ROWS]
            rows = rows.astype(dtype, copy=False) if rows.dtype.kind == "f" else rows
            found.append(to_device(run(to_device(rows, model.device)), place))
    joined: Array = array_module(x).concatenate(found)
    return joined
