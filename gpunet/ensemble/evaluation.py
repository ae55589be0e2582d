"""Loss and accuracy of all models of a stack on data that they are not trained on."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np

from gpunet import threads
from gpunet.context import no_grad
from gpunet.ensemble.stack import Stack
from gpunet.fused.after import Dropouts
from gpunet.loss import Loss
from gpunet.tensor import Tensor
from gpunet.train.evaluation import ROWS, Tally
from gpunet.train.feed import Feed


def evaluate(stack: Stack, loss: Loss, feed: Feed) -> list[dict[str, float]]:
    """What `gpunet.train.evaluation.evaluate` finds of each model; layers and loss run once."""
    parts, count = feed.in_order(ROWS), len(stack.models)
    tallies = [Tally(loss, feed, len(parts)) for _ in range(count)]
    layers = [layer for layer in stack.layers if not isinstance(layer, Dropouts)]
    for layer in layers:
        layer.eval()
    quiet = np.errstate(over="ignore", invalid="ignore")
    fit = threads.suited(stack.models[0], min(len(feed), ROWS))
    with no_grad(), quiet, fit, closing(feed.batches(parts)) as batches:
        for x, t, *weight in batches:
            z: Any = Tensor(x)
            for layer in layers:
                z = layer(z)
            each = [feed.xp.broadcast_to(a, (count, *a.shape)) for a in (t, *weight)]
            values = loss(z, *each).data
            for k, tally in enumerate(tallies):
                tally.add((values[k], loss.hits(z.data[k], t, *weight)), t, weight)
    for layer in layers:
        layer.train()
    return [tally.scores() for tally in tallies]
