"""Tensor, and `@op`, which lifts a function on arrays onto Tensors.

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

from gpunet import arithmetic, backend, context
from gpunet.arithmetic import Axis
from gpunet.backend import Array, array_module, device_of, to_device, to_host
from gpunet.tape import Node, Pair, run


class Op:
    """A function on arrays returning `(y, backward)`, callable on Tensors. Made by `@op`."""

    __name__: str

    def __init__(self, function: Callable[..., Pair]) -> None:
        update_wrapper(self, function)
        self.pair = function

    def __repr__(self) -> str:
        return f"<op {self.__name__}>"

    def __call__(self, *args: Any, **options: Any) -> Tensor:
        """Positional Tensors that require a gradient get one; arrays and numbers pass as they are,
        lists as NumPy arrays. What is recorded has copies of arrays that the caller may fill anew.

        Raises:
            DeviceError: the arrays live on two devices.
            TypeError: a Tensor that requires a gradient is given by keyword.
        """
        now = context.current()
        parents = tuple([_parent(a) for a in args]) if now.recording else ()
        recorded = any(parent is not None for parent in parents)
        arrays = [_array(a, own=recorded and now.counters is None) for a in args]
        for name, value in options.items():
            if now.recording and isinstance(value, Tensor) and value.requires_grad:
                raise TypeError(
                    f"{self.__name__}: {name!r} requires a gradient, so give it by position; "
                    "what is given by keyword gets none"
                )
            options[name] = _raw(value)
        backend.check_devices([*arrays, *options.values()], self.__name__)
        y, backward = self.pair(*arrays, **options)
        result = Tensor(y)
        if recorded:
            node = result.node = Node(self, result.shape, result.dtype, parents, backward)
            result.requires_grad = True
            if now.on_op is not None:
                now.on_op(node, [_array(a, own=False) for a in args], y)
        return result


def op(function: Callable[..., Pair]) -> Op:
    """Lift `function(*arrays, **options) -> (y, backward)` onto Tensors; see the module's head."""
    return Op(function)


def _parent(argument: Any) -> Node | Tensor | None:
    if isinstance(argument, Tensor) and argument.requires_grad:
        return argument.node or argument
    return None


def _raw(value: Any) -> Any:
    return value._data if isinstance(value, Tensor) else value


def _array(value: Any, own: bool) -> Any:
    """An argument as an op takes it. own: a copy, for nobody tells the tape when a buffer of the
    caller's is filled anew; what the tape made is its own, and trained parameters tell.
    """
    if isinstance(value, Tensor):
        tells = value.node is not None or (value.tells and value.requires_grad)
        if tells or not own:
            return value._data
    array = as_array(value) if isinstance(value, (list, tuple)) else _raw(value)
    return array.copy() if own and array_module(array) is not None else array


class Tensor:
    """An array that remembers how it was made.

    Args:
        array: a NumPy or CuPy array (kept, not copied), a number or a list.
        requires_grad: collect a gradient here; needs a floating dtype.

    `.data` is the array, `.grad` its gradient as a plain array (None before the first backward),
    `.node` the op that made it (None for a leaf).
    """

    __slots__ = ("_data", "_grad", "node", "requires_grad")
    tells, changed = False, -1  # whether, and when on the tape's clock, its values were changed
    # Both tell an array on the left side to leave the operation to the Tensor.
    __array_priority__ = 1000.0
    __array_ufunc__ = None

    def __init__(self, array: Any, requires_grad: bool = False) -> None:
        self._data: Array = as_array(array)
        backend.need_numbers(self._data, "a Tensor")
        if requires_grad and self._data.dtype.kind != "f":
            raise TypeError(
                f"requires_grad needs a floating dtype, got {self._data.dtype}; "
                "convert with array.astype(numpy.float32)"
            )
        self._grad: Array | None = None
        self.node: Node | None = None
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
        """What `backward` has left here, an array of the same shape, or None."""
        return self._grad if self.node is None else self.node.grad

    @grad.setter
    def grad(self, array: Any) -> None:
        value = None if array is None else self._of_my_shape(array, "grad")
        if value is not None:
            backend.check_devices([self._data, value], "assigning to grad")
            value = value.astype(self.dtype)  # a copy: backward adds to it in place
        if self.node is None:
            self._grad = value
        else:
            self.node.grad = value

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
        return self.node is None

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a Tensor without axes has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        made = f", made by {self.node.name}" if self.node else ""
        grad = ", requires_grad=True" if self.requires_grad and not self.node else ""
        return f"{type(self).__name__}({self._data!r}{grad}{made})"

    def item(self) -> float:
        """The one number in it. On a GPU this waits for the device."""
        return float(self._data.item())

    __float__ = item

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

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
        if self.node is not None:
            self.node.retain = True
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
        if self.node is None:
            self.accumulate(seed)
        else:
            run(self.node, seed)

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
        backend.check_devices([self._data, grad], "backward")
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
        backend.check_devices([self._data, *parts], "indexing")
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
    """TypeError for a list of Tensors that require gradients, which would end there unseen."""
    array = array.data if isinstance(array, Tensor) else array
    if array_module(array) is not None and not isinstance(array, np.generic):
        return array
    if _ends_gradients(array):
        raise TypeError(
            "a list of Tensors becomes an array without their gradients; give the Tensors one by "
            "one, or detach() them"
        )
    return np.asarray(array)


def _ends_gradients(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.requires_grad
    return isinstance(value, (list, tuple)) and any(map(_ends_gradients, value))


# The arithmetic as ops, which is what the methods call

add, subtract, negative = op(arithmetic.add), op(arithmetic.subtract), op(arithmetic.negative)
multiply, divide, power = op(arithmetic.multiply), op(arithmetic.divide), op(arithmetic.power)
matmul, absolute, sqrt = op(arithmetic.matmul), op(arithmetic.absolute), op(arithmetic.sqrt)
sum_, mean, max_ = op(arithmetic.sum_), op(arithmetic.mean), op(arithmetic.max_)
reshape, transpose = op(arithmetic.reshape), op(arithmetic.transpose)
exp, log, getitem = op(arithmetic.exp), op(arithmetic.log), op(arithmetic.getitem)
