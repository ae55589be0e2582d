"""What the book's programs use around networks."""

import numpy as np

from gpunet.backend import Array, array_module

__all__ = ["shuffle_dataset", "smooth_curve"]


def smooth_curve(x: Array) -> Array:
    """Losses, each averaged with its neighbours, for a picture."""
    window, around = np.kaiser(11, 2), np.concatenate([x[10:0:-1], x, x[:-11:-1]])
    return np.convolve(window / window.sum(), around, mode="valid")[5:-5]


def shuffle_dataset(x: Array, t: Array) -> tuple[Array, Array]:
    order = array_module(x).asarray(np.random.permutation(len(x)))
    return x[order], t[order]
