"""Tensor, its arithmetic, and `@op`, which lifts a function on arrays onto Tensors.

An op is one function on raw arrays that returns `(y, backward)`:

    @op
    def square(x):
        def backward(gy):
            return 2 * x * gy
        return x * x, backward

`square(tensor)` records itself on the tape; `square.pair(array)` is the plain pair for the reader
who works by hand. Arrays are positional, options are keywords. `backward` returns one gradient per
array: an array, None, or a function that makes it (called only if that input needs a gradient).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

import numpy as np

from gpunet import context
from gpunet.backend import Array, array_module, common_module, device_of, to_device, to_host
from gpunet.gemm import product
from gpunet.tape import Backward, Node, run

Axis = int | tuple[int, ...] | None


class Op:
    """A function on arrays returning `(y, backward)`, callable on Tensors. Made by `@op`."""

    __name__: str

    def __init__(self, function: Callable[..., tuple[Array, Backward]]) -> None:
        update_wrapper(self, function)
        self.pair = function

    def __repr__(self) -> str:
        return f"<op {self.__name__}>"

    def __call__(self, *args: Any, **options: Any) -> Tensor:
        """Positional Tensors that require a gradient get one; arrays and numbers pass as they are,
        lists as NumPy arrays.

        Raises:
            DeviceError: the arrays live on two devices.
            TypeError: a Tensor that requires a gradient is given by keyword.
        """
        now = context.current()
        arrays = [np.asarray(a) if isinstance(a, list) else _raw(a) for a in args]
        for name, value in options.items():
            if now.recording and isinstance(value, Tensor) and value.requires_grad:
                raise TypeError(
                    f"{self.__name__}: {name!r} requires a gradient, so give it by position; "
                    "what is given by keyword gets none"
                )
            options[name] = _raw(value)
        _check_devices([*arrays, *options.values()], self.__name__)
        y, backward = self.pair(*arrays, **options)
        result = Tensor(y)
        if now.recording:
            parents = tuple([_parent(a) for a in args])
            if any(parent is not None for parent in parents):
                node = result._node = Node(self, result.shape, result.dtype, parents, backward)
                result.requires_grad = True
                if now.on_op is not None:
                    now.on_op(node, arrays, y)
        return result


def op(function: Callable[..., tuple[Array, Backward]]) -> Op:
    """Lift `function(*arrays, **options) -> (y, backward)` onto Tensors; see the module's head."""
    return Op(function)


def _parent(argument: Any) -> Node | Tensor | None:
    if isinstance(argument, Tensor) and argument.requires_grad:
        return argument._node or argument
    return None


def _raw(value: Any) -> Any:
    return value._data if isinstance(value, Tensor) else value


def _check_devices(values: list[Any], name: str) -> None:
    """DeviceError for arrays of two devices. NumPy scalars are numbers, at home everywhere."""
    if any(type(a) is not np.ndarray and array_module(a) is not None for a in values):
        arrays = [a for a in values if not isinstance(a, np.generic)]
        common_module([a for a in arrays if array_module(a) is not None], name)


class Tensor:
    """An array that remembers how it was made.

    Args:
        array: a NumPy or CuPy array (kept, not copied), a number or a list.
        requires_grad: collect a gradient here; needs a floating dtype.

    `.data` is the array, `.grad` its gradient as a plain array (None before the first backward).
    """

    __slots__ = ("_data", "_grad", "_node", "requires_grad")
    # Both tell an array on the left side to leave the operation to the Tensor.
    __array_priority__ = 1000.0
    __array_ufunc__ = None

    def __init__(self, array: Any, requires_grad: bool = False) -> None:
        self._data: Array = as_array(array)
        need_numbers(self._data, "a Tensor")
        if requires_grad and self._data.dtype.kind != "f":
            raise TypeError(
                f"requires_grad needs a floating dtype, got {self._data.dtype}; "
                "convert with array.astype(numpy.float32)"
            )
        self._grad: Array | None = None
        self._node: Node | None = None
        self.requires_grad = requires_grad

    # What it holds

    @property
    def data(self) -> Array:
        return self._data

    @data.setter
    def data(self, array: Any) -> None:
        self._data = self._of_my_shape(array, "data")

    @property
    def grad(self) -> Array | None:
        return self._grad if self._node is None else self._node.grad

    @grad.setter
    def grad(self, array: Any) -> None:
        value = None if array is None else self._of_my_shape(array, "grad")
        if value is not None:
            _check_devices([self._data, value], "assigning to grad")
            value = value.astype(self.dtype)  # a copy: backward adds to it in place
        if self._node is None:
            self._grad = value
        else:
            self._node.grad = value

    def _of_my_shape(self, array: Any, what: str) -> Array:
        array = as_array(array)
        if array.shape != self._data.shape:
            raise ValueError(f"{what} must have shape {self.shape}, got {array.shape}")
        return array

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._data.shape)

    @property
    def dtype(self) -> Any:
        return self._data.dtype

    @property
    def ndim(self) -> int:
        return len(self._data.shape)

    @property
    def size(self) -> int:
        return int(self._data.size)

    @property
    def device(self) -> str:
        """ "cpu" or "cuda"."""
        return device_of(self._data)

    @property
    def is_leaf(self) -> bool:
        """True unless a recorded op made it."""
        return self._node is None

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a Tensor without axes has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        made = f", made by {self._node.name}" if self._node else ""
        grad = ", requires_grad=True" if self.requires_grad and not self._node else ""
        return f"{type(self).__name__}({self._data!r}{grad}{made})"

    def item(self) -> float:
        """The one number in it. On a GPU this waits for the device."""
        return float(self._data.item())

    __float__ = item

    def __bool__(self) -> bool:
        return bool(self._data)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: the same memory on the CPU, a copy from a GPU."""
        return to_host(self._data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """For `numpy.asarray(tensor)`. On a GPU CuPy refuses it: a copy is to be asked for."""
        array: np.ndarray[Any, Any] = np.asarray(self._data, dtype)
        return array.copy() if copy else array

    def detach(self) -> Tensor:
        """The same values (shared memory) cut off from the tape."""
        return Tensor(self._data)

    def to(self, device: str) -> Tensor:
        """The values on "cpu" or "cuda": this Tensor if they are there already, else a new leaf.

        A move is not recorded; RuntimeError where that would cut a gradient's way unseen.
        """
        data = to_device(self._data, device)
        if data is self._data:
            return self
        if not self.is_leaf:
            raise RuntimeError(
                f"a move to {device!r} is not recorded, and gradients would end here: "
                "tensor.detach().to(...) says that they may"
            )
        return Tensor(data, self.requires_grad)

    # Gradients

    def retain_grad(self) -> Tensor:
        """Keep the gradient of this interior tensor at the next backward; returns itself."""
        if self._node is not None:
            self._node.retain = True
        return self

    def backward(self, grad: Any = None) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires one.

        Args:
            grad: upstream gradient of this tensor's shape; 1 by default, for a tensor of one
                element only.

        Raises:
            ValueError: no `grad` for more than one element, or one of another shape.
            RuntimeError: nothing here requires a gradient, or the graph was used already.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "nothing to differentiate: no input of this tensor had requires_grad=True"
                + ("" if context.current().recording else " (inside no_grad nothing is recorded)")
            )
        seed = self._seed(grad)
        if self._node is None:
            self.accumulate(seed)
        else:
            run(self._node, seed)

    def _seed(self, grad: Any) -> Array:
        xp = array_module(self._data)
        if grad is None:
            if self.size != 1:
                raise ValueError(
                    f"backward() on shape {self.shape} needs an upstream gradient of that shape: "
                    "backward(grad)"
                )
            return xp.ones(self.shape, self.dtype)
        grad = grad.data if isinstance(grad, Tensor) else grad
        if array_module(grad) is None or isinstance(grad, np.generic):
            grad = xp.asarray(grad, self.dtype)
        _check_devices([self._data, grad], "backward")
        return self._of_my_shape(grad, "the upstream gradient").astype(self.dtype, copy=False)

    def accumulate(self, gradient: Array) -> None:
        """Add to this leaf's own gradient, which shares memory with no other array."""
        if self._grad is None:
            self._grad = as_array(gradient.astype(self.dtype))
        else:
            self._grad += gradient

    # Arithmetic, with NumPy's broadcasting

    def __add__(self, other: Any) -> Tensor:
        return add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return power(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return matmul(other, self)

    def __neg__(self) -> Tensor:
        return negative(self)

    def __abs__(self) -> Tensor:
        return absolute(self)

    def __getitem__(self, index: Any) -> Tensor:
        parts = [_raw(p) for p in (index if isinstance(index, tuple) else (index,))]
        _check_devices([self._data, *parts], "indexing")
        return getitem(self, index=tuple(parts) if isinstance(index, tuple) else parts[0])

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return sum_(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The largest values; where several are equal the gradient is shared between them."""
        return max_(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        return reshape(self, shape=shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """Axes in reverse, or in the order given: `x.transpose(1, 0, 2)`."""
        if len(axes) == 1 and isinstance(axes[0], (tuple, list)):
            axes = tuple(axes[0])
        return transpose(self, axes=axes or None)

    @property
    def T(self) -> Tensor:
        return self.transpose()

    def exp(self) -> Tensor:
        return exp(self)

    def log(self) -> Tensor:
        return log(self)

    def sqrt(self) -> Tensor:
        return sqrt(self)

    def abs(self) -> Tensor:
        """Absolute values; the (sub)gradient at 0 is 0."""
        return absolute(self)


def as_array(array: Any) -> Array:
    array = array.data if isinstance(array, Tensor) else array
    if array_module(array) is None or isinstance(array, np.generic):
        return np.asarray(array)
    return array


def need_numbers(array: Array, what: str) -> None:
    """TypeError naming `what` unless it holds real numbers or bools."""
    if array.dtype.kind not in "fiub":
        advice = "; take its real part, or abs" if array.dtype.kind == "c" else ""
        raise TypeError(f"{what} must hold numbers, got dtype {array.dtype}{advice}")


def _module(*operands: Any) -> Any:
    return next((xp for xp in map(array_module, operands) if xp is not None), np)


def unbroadcast(gradient: Array, like: Any) -> Array:
    """Sum `gradient` over the axes along which `like` was broadcast."""
    shape = getattr(like, "shape", ())
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    stretched = [*range(extra), *(extra + k for k, n in enumerate(shape) if n == 1)]
    return gradient.sum(axis=tuple(stretched), keepdims=True).reshape(shape)


@op
def add(a: Any, b: Any) -> tuple[Array, Backward]:
    def backward(g: Array) -> Any:
        return lambda: unbroadcast(g, a), lambda: unbroadcast(g, b)

    return a + b, backward


@op
def subtract(a: Any, b: Any) -> tuple[Array, Backward]:
    def backward(g: Array) -> Any:
        return lambda: unbroadcast(g, a), lambda: unbroadcast(-g, b)

    return a - b, backward


@op
def multiply(a: Any, b: Any) -> tuple[Array, Backward]:
    def backward(g: Array) -> Any:
        return lambda: unbroadcast(g * b, a), lambda: unbroadcast(g * a, b)

    return a * b, backward


@op
def divide(a: Any, b: Any) -> tuple[Array, Backward]:
    y = a / b

    def backward(g: Array) -> Any:
        return lambda: unbroadcast(g / b, a), lambda: unbroadcast(-g * y / b, b)

    return y, backward


@op
def power(a: Any, b: Any) -> tuple[Array, Backward]:
    """a ** b. The gradient is 0 with respect to a where b is 0, and to b where a is 0."""
    y = a**b

    def backward(g: Array) -> Any:
        def exponent() -> Array:
            xp = _module(b)
            base = xp.asarray(a, y.dtype)
            return unbroadcast(g * y * xp.log(base + (base == 0)), b)

        return lambda: unbroadcast(g * (b * a ** (b - (b != 0))), a), exponent

    return y, backward


@op
def negative(x: Array) -> tuple[Array, Backward]:
    return -x, lambda g: -g


@op
def matmul(a: Any, b: Any) -> tuple[Array, Backward]:
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


@op
def sum_(x: Array, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    def backward(g: Array) -> Array:
        return _module(x).broadcast_to(_with_axes(g, x, axis), x.shape)

    return x.sum(axis=axis, keepdims=keepdims), backward


@op
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
    y = x.mean(axis=axis, keepdims=keepdims)
    share = max(y.size, 1) / max(x.size, 1)

    def backward(g: Array) -> Array:
        return _module(x).broadcast_to(_with_axes(g * share, x, axis), x.shape)

    return y, backward


@op
def max_(x: Array, axis: Axis = None, keepdims: bool = False) -> tuple[Array, Backward]:
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


@op
def reshape(x: Array, shape: Any) -> tuple[Array, Backward]:
    return x.reshape(shape), lambda g: g.reshape(x.shape)


@op
def transpose(x: Array, axes: tuple[int, ...] | None = None) -> tuple[Array, Backward]:
    back = None if axes is None else tuple(int(k) for k in np.argsort([a % x.ndim for a in axes]))
    return x.transpose(axes), lambda g: g.transpose(back)


@op
def exp(x: Array) -> tuple[Array, Backward]:
    y = _module(x).exp(x)
    return y, lambda g: g * y


@op
def log(x: Array) -> tuple[Array, Backward]:
    return _module(x).log(x), lambda g: g / x


@op
def sqrt(x: Array) -> tuple[Array, Backward]:
    y = _module(x).sqrt(x)
    return y, lambda g: g / (2 * y)


@op
def absolute(x: Array) -> tuple[Array, Backward]:
    return abs(x), lambda g: g * _module(x).sign(x)


@op
def getitem(x: Array, index: Any) -> tuple[Array, Backward]:
    """NumPy indexing; an element that is picked twice gets both gradients."""

    def backward(g: Array) -> Array:
        gx = _module(x).zeros_like(x)
        if _is_basic(index):
            gx[index] = g
        else:
            _module(x).add.at(gx, index, g)
        return gx

    return x[index], backward


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is ... or isinstance(p, (int, slice)) for p in parts)
