"""Embedding: a row of numbers, learned, for each of many categories."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import where
from gpunet.backend import Array, array_module
from gpunet.kernel import BlockKernel, Kernel, together
from gpunet.tape import Pair
from gpunet.tensor import op

__all__ = ["embedding"]

THREADS = 256

EMBEDDING = Kernel("nn/embedding")
EMBEDDING_BACKWARD = BlockKernel("nn/embedding_backward")


@op
def embedding(x: Array, W: Array) -> Pair:
    """W[x]: for each index its row of W; the gradient of W adds up in the order of x, on a GPU too,
    so that every run gives the same bits.

    Args:
        x: integers of any shape, each from 0 to categories - 1.
        W: (categories, features).

    Returns: (*x.shape, features), in W's dtype.

    Raises:
        TypeError: x holds no integers.
        ValueError: another number of axes of W; an index out of range (on a GPU, which cannot raise
            without waiting, its row is nan instead).
    """
    if x.dtype.kind not in "iu":
        raise TypeError(f"embedding: x must be integers, got {x.dtype}; use x.astype(int)")
    if W.ndim != 2:
        raise ValueError(f"embedding: W must be (categories, features), got shape {tuple(W.shape)}")
    xp, index = array_module(W), x.reshape(-1).astype(np.int64)
    if xp is np:
        _check(x, W)
        y = W[index]
    else:
        y = xp.empty((len(index), W.shape[1]), W.dtype)
        look_up(index, W, y)

    def backward(gy: Array) -> Any:
        return None, lambda: _sums(index, gy, W)

    return y.reshape((*x.shape, W.shape[1])), backward


def look_up(index: Array, W: Array, y: Array) -> None:
    """The rows of W into y, on a GPU."""
    if not W.size:
        y.fill(np.nan)
        return
    categories, width = W.shape
    n = together(width, W, y)
    sizes = {"width": width, "threads": width // n, "threads_in_all": y.size // n}
    if y.size:
        xp = array_module(W)
        EMBEDDING.launch(xp, index=index, W=W, y=y, categories=categories, **sizes)


def _check(x: Array, W: Array) -> None:
    """ValueError for the first index out of range."""
    bad = (x < 0) | (x >= len(W))
    place = where.first(bad)
    if place is not None:
        raise ValueError(
            f"embedding: index {x[place].item()} in {where.words(place)} is out of range: W has "
            f"{len(W)} categories, from 0 to {len(W) - 1}"
        )


def _sums(index: Array, gy: Array, W: Array) -> Array:
    """For each row of W the sum of gy where `index` names it, added from first to last."""
    xp = array_module(W)
    dW = xp.zeros_like(W, order="C")
    if not gy.size:
        return dW
    width = W.shape[1]
    if xp is np:  # element by element, for `add.at` is quick with one axis
        places = index[:, None] * width + np.arange(width)
        np.add.at(dW.reshape(-1), places.reshape(-1), gy.reshape(-1))
        return dW
    EMBEDDING_BACKWARD.launch(
        xp,
        W.dtype,
        (-(-gy.size // THREADS),),
        index=index,
        gy=xp.ascontiguousarray(gy),
        places=len(index),
        categories=W.shape[0],
        width=width,
        dW=dW,
    )
    return dW
