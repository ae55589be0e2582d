"""Loss and accuracy of all models of a stack on data that they are not trained on."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np

from gpunet import threads
from gpunet.backend import to_host
from gpunet.context import no_grad
from gpunet.ensemble.stack import Stack
from gpunet.fused.after import Dropouts
from gpunet.loss import Loss
from gpunet.tensor import Tensor
from gpunet.train.evaluation import ROWS
from gpunet.train.feed import Feed


def evaluate(stack: Stack, loss: Loss, feed: Feed) -> list[dict[str, float]]:
    """What `gpunet.train.evaluation.evaluate` finds of each model; layers and loss run once for
    all.
    """
    layers = [layer for layer in stack.layers if not isinstance(layer, Dropouts)]
    parts, count = feed.in_order(ROWS), len(stack.models)
    values, hits = (feed.xp.zeros((len(parts), count), np.float64) for _ in range(2))
    weights = feed.xp.zeros(len(parts), np.float64)
    for layer in layers:
        layer.eval()
    quiet = np.errstate(over="ignore", invalid="ignore")
    fit = threads.suited(stack.models[0], min(len(feed), ROWS))
    with no_grad(), quiet, fit, closing(feed.batches(parts)) as batches:
        for k, (x, t, *weight) in enumerate(batches):
            z: Any = Tensor(x)
            for layer in layers:
                z = layer(z)
            each = [feed.xp.broadcast_to(a, (count, *a.shape)) for a in (t, *weight)]
            values[k] = loss(z, *each).data
            right = loss.hits(z.data, *each)
            if right is not None:
                hits[k] = right
            weights[k] = loss.weight(t, *weight)
    for layer in layers:
        layer.train()
    losses, weights = to_host(values), to_host(weights)
    found = [{"loss": loss.mean(losses[:, k], weights)} for k in range(count)]
    if right is None:
        return found
    total = len(feed) if feed.weight is None else float(feed.weight.sum())
    shares = to_host(hits).sum(axis=0) / total
    return [one | {"accuracy": float(share)} for one, share in zip(found, shares, strict=True)]
