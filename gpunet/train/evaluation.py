"""Loss and accuracy of a model on data that it is not trained on, and its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np

from gpunet import counters, threads
from gpunet.backend import Array, array_module, device_of, to_device, to_host
from gpunet.context import no_grad
from gpunet.fused import forward
from gpunet.fused.forward import Forward, Walk
from gpunet.graphs import CaptureError, Graphs
from gpunet.layer import Layer
from gpunet.loss import Loss, SoftmaxWithLoss
from gpunet.replay import Replayed
from gpunet.tensor import Tensor
from gpunet.train.feed import Feed

ROWS = forward.ROWS  # at a time
MANY = 4  # parts from which on a graph is worth its making
MOST = 1024  # parts that one graph holds
Score = tuple[Array, Array | None]  # mean loss, and how many rows are right, if that can be said


class Tally:
    """Loss and hits of a model, or of each of several, over the parts of a feed, read from the
    device once, at the end.
    """

    def __init__(self, loss: Loss, feed: Feed, parts: int, *models: int) -> None:
        self.loss, self.feed = loss, feed
        self._found: Array = feed.xp.zeros((parts, *models, 3), np.float64)  # loss, hits, weight
        self._weights = np.zeros(parts)  # those that the host knows
        self._parts, self._rated = 0, False

    def add(self, score: Score, t: Array, weight: Sequence[Array]) -> None:
        """The next part: its loss and hits, the targets, and weights if the feed has them."""
        place = self.next(t, weight, score[1] is not None)
        place[..., 0] = score[0]
        if score[1] is not None:
            place[..., 1] = score[1]

    def next(self, t: Array, weight: Sequence[Array] = (), rated: bool = True) -> Array:
        """Where loss and hits of the next part go: float64 (2,), of several models (models, 2).
        rated: it has hits.
        """
        k = self._parts
        self._parts, self._rated = k + 1, rated
        counted = self.loss.weight(t, *weight)
        (self._weights if isinstance(counted, int) else self._found[..., 2])[k] = counted
        return self._found[k, ..., :2]

    def scores(self) -> list[dict[str, float]]:
        """As `evaluate`, of each model. On a GPU this waits."""
        found = to_host(self._found)
        each = found.reshape(len(found), -1, 3).transpose(1, 2, 0).copy()
        return [self._of(*own) for own in each]

    def _of(self, values: Array, hits: Array, weights: Array) -> dict[str, float]:
        found = {"loss": self.loss.mean(values, weights + self._weights)}
        feed = self.feed
        total = len(feed) if feed.weight is None else float(feed.weight.sum())
        return found | {"accuracy": sum(hits.tolist()) / total} if self._rated else found


class Scoring:
    """Loss and hits of a model, in evaluation mode, on the rows of feeds; kept from one evaluation
    to the next.

    captured: on a GPU, an evaluation is one launch of a CUDA graph from the second time on; kernel
    by kernel, where a graph cannot hold it. fuse: False runs layer by layer.

    models: how many, where the layers and `forward` are those of several.
    """

    models: tuple[int, ...] = ()

    def __init__(self, model: Layer, loss: Loss, captured: bool = False, fuse: bool = True) -> None:
        self.model, self.loss, self.captured = model, loss, captured
        self.forward = Forward(model, fuse)
        self._graphs: Graphs | None = None
        self._parts: dict[Feed, list[Any]] = {}

    def __call__(self, feed: Feed) -> dict[str, float]:
        """As `evaluate`."""
        return self.each(feed)[0]

    def each(self, feed: Feed) -> list[dict[str, float]]:
        """The same of each model."""
        quiet = np.errstate(over="ignore", invalid="ignore")
        fit = threads.suited(self.single, min(len(feed), ROWS))
        with self.model.evaluating(), no_grad(), quiet, fit:
            return self._tallied(feed).scores()

    @property
    def single(self) -> Layer:
        """One model, by the size of which BLAS has its threads."""
        return self.model

    def _tallied(self, feed: Feed) -> Tally:
        parts = -(-len(feed) // ROWS)
        if not self.captured or feed.streams or feed.xp is np or parts > MOST:
            return self._tally(feed, feed.in_order(ROWS))
        self._graphs = self._graphs or Graphs(feed.xp)
        if feed not in self._parts:  # kept: on a graph's way nothing comes from the host
            self._parts[feed] = feed.in_order(ROWS)
        try:
            found: Tally = self._graphs.run(
                feed, lambda: self._tally(feed, self._parts[feed]), rows=0
            )
            return found
        except CaptureError:
            self.captured = False
            return self._tally(feed, self._parts[feed])

    def _tally(self, feed: Feed, parts: Sequence[Any]) -> Tally:
        tally, captured = Tally(self.loss, feed, len(parts), *self.models), counters.current()
        if captured is not None:
            captured.depend_on(self.loss)
        with closing(feed.batches(parts)) as batches, self.forward.walk(feed.xp) as walk:
            for x, t, *weight in batches:
                fused = walk if walk is not None and walk.accepts(x) else None
                softmax = None if fused is None or weight else self._in_one(fused, t)
                if fused is not None and softmax is not None:
                    fused.score(x, t, softmax.label_smoothing, tally.next(t))
                    continue
                z = self.model(x) if fused is None else Tensor(fused.outputs(x))
                each = [self._for_each(a) for a in (t, *weight)]
                value = self.loss(z, *each).data
                tally.add((value, self.loss.hits(z.data, *each)), t, weight)
        return tally

    def _for_each(self, a: Array) -> Array:
        """The same for every model."""
        return array_module(a).broadcast_to(a, (*self.models, *a.shape)) if self.models else a

    def _in_one(self, walk: Walk, t: Array) -> SoftmaxWithLoss | None:
        """The loss, if it and the hits of labels t are one kernel."""
        if type(self.loss) is not SoftmaxWithLoss or self.loss.weighted:
            return None
        by_label = walk.ends_in_logits and t.ndim == 1 and t.dtype.kind in "iu"
        return self.loss if by_label else None


def evaluate(model: Layer, loss: Loss, feed: Feed, fuse: bool = True) -> dict[str, float]:
    """{"loss": mean over the rows} and, where predictions can be right, "accuracy", in evaluation
    mode.
    """
    return Scoring(model, loss, fuse=fuse)(feed)


def outputs(model: Layer, x: Array, fuse: bool = True) -> Array:
    """What the model puts out for the rows of x, NumPy's or CuPy's, in evaluation mode: an array
    beside x. Floating numbers are made of the parameters' dtype.
    """
    place, device, found, plain = device_of(x), model.device, [], Forward(model, fuse)
    run = Replayed(plain) if len(x) >= MANY * ROWS else plain
    dtype = next((p.dtype for _, p in model.named_parameters()), x.dtype)
    quiet, fit = np.errstate(over="ignore", invalid="ignore"), threads.suited(model, ROWS)
    with quiet, fit, no_grad():
        for k in range(0, max(len(x), 1), ROWS):
            rows = x[k : k + ROWS]
            rows = rows.astype(dtype, copy=False) if rows.dtype.kind == "f" else rows
            found.append(to_device(run(to_device(rows, device)), place))
    joined: Array = found[0] if len(found) == 1 else array_module(x).concatenate(found)
    return joined
