"""The arithmetic of Tensors: each operation one function on arrays returning `(y, backward)`.

NumPy's broadcasting and indexing; an operand may be a number. `tensor.py` lifts them onto Tensors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import Array, array_module
from gpunet.gemm import product
from gpunet.tape import Pair

Axis = int | tuple[int, ...] | None


def module_of(*operands: Any) -> Any:
    return next((xp for xp in map(array_module, operands) if xp is not None), np)


def unbroadcast(gradient: Array, like: Any) -> Array:
    """Sum `gradient` over the axes along which `like` was broadcast."""
    shape = getattr(like, "shape", ())
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    stretched = [*range(extra), *(extra + k for k, n in enumerate(shape) if n == 1)]
    return gradient.sum(axis=tuple(stretched), keepdims=True).reshape(shape)


def add(a: Any, b: Any) -> Pair:
    def backward(g: Array) -> Any:
        return lambda: unbroadcast(g, a), lambda: unbroadcast(g, b)

    return a + b, backward


def subtract(a: Any, b: Any) -> Pair:
    def backward(g: Array) -> Any:
        return lambda: unbroadcast(g, a), lambda: unbroadcast(-g, b)

    return a - b, backward


def multiply(a: Any, b: Any) -> Pair:
    def backward(g: Array) -> Any:
        return lambda: unbroadcast(g * b, a), lambda: unbroadcast(g * a, b)

    return a * b, backward


def divide(a: Any, b: Any) -> Pair:
    y = a / b

    def backward(g: Array) -> Any:
        return lambda: unbroadcast(g / b, a), lambda: unbroadcast(-g * y / b, b)

    return y, backward


def power(a: Any, b: Any) -> Pair:
    """a ** b. The gradient is 0 with respect to a where b is 0, and to b where a is 0."""
    y = a**b

    def backward(g: Array) -> Any:
        def exponent() -> Array:
            xp = module_of(b)
            base = xp.asarray(a, y.dtype)
            return unbroadcast(g * y * xp.log(base + (base == 0)), b)

        return lambda: unbroadcast(g * (b * a ** (b - (b != 0))), a), exponent

    return y, backward


def negative(x: Array) -> Pair:
    return -x, lambda g: -g


def matmul(a: Any, b: Any) -> Pair:
    """NumPy's `@`: leading axes broadcast; a 1-D operand is a row on the left, a column on the
    right. ValueError with both shapes if the inner sizes differ.
    """
    if array_module(a) is None or array_module(b) is None:
        kinds = f"{type(a).__name__} and {type(b).__name__}"
        raise TypeError(f"matmul multiplies two arrays, got {kinds}")
    try:
        y = product(a, b)
    except ValueError as error:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit") from error
    rows = a if a.ndim > 1 else a[None, :]
    columns = b if b.ndim > 1 else b[:, None]

    def backward(g: Array) -> Any:
        g = g if b.ndim > 1 else g[..., None]
        g = g if a.ndim > 1 else (g[..., None, :] if b.ndim > 1 else g[None])
        return (
            lambda: unbroadcast(product(g, columns.swapaxes(-1, -2)), rows).reshape(a.shape),
            lambda: unbroadcast(product(rows.swapaxes(-1, -2), g), columns).reshape(b.shape),
        )

    return y, backward


def sum_(x: Array, axis: Axis = None, keepdims: bool = False) -> Pair:
    def backward(g: Array) -> Array:
        return module_of(x).broadcast_to(_with_axes(g, x, axis), x.shape)

    return x.sum(axis=axis, keepdims=keepdims), backward


def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Pair:
    y = x.mean(axis=axis, keepdims=keepdims)
    share = max(y.size, 1) / max(x.size, 1)

    def backward(g: Array) -> Array:
        return module_of(x).broadcast_to(_with_axes(g * share, x, axis), x.shape)

    return y, backward


def max_(x: Array, axis: Axis = None, keepdims: bool = False) -> Pair:
    y = x.max(axis=axis, keepdims=keepdims)

    def backward(g: Array) -> Array:
        hit = (x == _with_axes(y, x, axis)).astype(x.dtype)
        return _with_axes(g, x, axis) * (hit / hit.sum(axis=axis, keepdims=True))

    return y, backward


def _with_axes(g: Array, x: Array, axis: Axis) -> Array:
    """A reduced gradient with the reduced axes back, of length 1."""
    axes = range(x.ndim) if axis is None else (axis if isinstance(axis, tuple) else (axis,))
    reduced = {a % x.ndim for a in axes} if x.ndim else set()
    return g.reshape(tuple(1 if k in reduced else n for k, n in enumerate(x.shape)))


def reshape(x: Array, shape: Any) -> Pair:
    return x.reshape(shape), lambda g: g.reshape(x.shape)


def transpose(x: Array, axes: tuple[int, ...] | None = None) -> Pair:
    back = None if axes is None else tuple(int(k) for k in np.argsort([a % x.ndim for a in axes]))
    return x.transpose(axes), lambda g: g.transpose(back)


def exp(x: Array) -> Pair:
    y = module_of(x).exp(x)
    return y, lambda g: g * y


def log(x: Array) -> Pair:
    return module_of(x).log(x), lambda g: g / x


def sqrt(x: Array) -> Pair:
    y = module_of(x).sqrt(x)
    return y, lambda g: g / (2 * y)


def absolute(x: Array) -> Pair:
    return abs(x), lambda g: g * module_of(x).sign(x)


def getitem(x: Array, index: Any) -> Pair:
    """NumPy indexing; an element that is picked twice gets both gradients."""

    def backward(g: Array) -> Array:
        gx = module_of(x).zeros_like(x)
        if _is_basic(index):
            gx[index] = g
        else:
            module_of(x).add.at(gx, index, g)
        return gx

    return x[index], backward


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is ... or isinstance(p, (int, slice)) for p in parts)
