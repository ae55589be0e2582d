"""CuPy's ufuncs, and the operators of arrays that call them. NumPy supplies the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import names
from .array import _SCALAR_TYPES, compute, compute_all, ndarray, unwrap
from .indexing import device_key, frozen, wrapped
from .launching import launch


class ufunc:
    """One of CuPy's ufuncs: on arrays and scalars, never on NumPy arrays; one launch a call."""

    def __init__(self, name: str, function: np.ufunc) -> None:
        self.name = f"cupy_{name}"
        self.__name__ = name
        self.__doc__ = f"See `cupy.{name}`."
        self.nin, self.nout, self.nargs = function.nin, function.nout, function.nargs
        self._function = function

    def __repr__(self) -> str:
        return f"<ufunc '{self.name}'>"

    def __call__(
        self,
        *args: Any,
        out: Any = None,
        dtype: Any = None,
        casting: str = "same_kind",
        **kwargs: Any,
    ) -> Any:
        if kwargs:
            raise TypeError(f"Wrong arguments {kwargs}")
        if not self.nin <= len(args) <= self.nargs:
            raise TypeError(
                f"Wrong number of arguments for {self.name!r}. It must be either {self.nin} or "
                f"{self.nargs} (with outputs), but given {len(args)}."
            )
        inputs, outputs = args[: self.nin], self._outputs(args[self.nin :], out)
        function = self._with_dtype(dtype, casting)
        if self.nout == 1:
            return compute(self.name, function, *inputs, out=outputs[0], casting=casting)
        return tuple(compute_all(self.name, function, inputs, outputs, casting=casting))

    def _outputs(self, positional: tuple[Any, ...], out: Any) -> list[Any]:
        if out is None:
            out = positional
        elif positional:
            raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
        elif not isinstance(out, tuple):
            if self.nout != 1:
                raise ValueError("'out' must be a tuple of arrays")
            out = (out,)
        elif len(out) != self.nout:
            raise ValueError("The 'out' tuple must have exactly one entry per ufunc output")
        return [*out, *[None] * (self.nout - len(out))]

    def _with_dtype(self, dtype: Any, casting: str) -> Callable[..., Any]:
        function = self._function
        if dtype is None:
            return function
        return lambda *views: function(*views, dtype=dtype, casting=casting)

    def outer(self, A: Any, B: Any, **kwargs: Any) -> Any:
        """The ufunc on all pairs of elements."""
        return self(A.reshape(A.shape + (1,) * B.ndim), B, **kwargs)

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        """Apply the ufunc in place, once for every index, however often one is repeated."""
        if self.__name__ not in _SCATTER:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        key, target = frozen(device_key(indices)), a._view
        operands = [] if b is None else [unwrap(b)]
        run = lambda: self._function.at(target, wrapped(key, target.shape), *operands)  # noqa: E731
        launch(self.name, run, [target, *key, *operands])

    def reduce(
        self,
        array: ndarray,
        axis: Any = 0,
        dtype: Any = None,
        out: Any = None,
        keepdims: bool = False,
    ) -> Any:
        self._check_has("reduce")
        return compute(
            self.name,
            lambda view: self._function.reduce(view, axis, dtype, keepdims=keepdims),
            array,
            out=out,
            casting="unsafe",
            fills_out=False,
        )

    def accumulate(self, array: ndarray, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        self._check_has("accumulate")
        return compute(
            self.name,
            lambda view: self._function.accumulate(view, axis, dtype),
            array,
            out=out,
            casting="unsafe",
            fills_out=False,
        )

    def _check_has(self, method: str) -> None:
        if self.__name__ not in _REDUCTIONS:
            raise NotImplementedError(f"`{self.name}.{method}` is not supported yet")


_SCATTER = {
    "add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor",
}  # fmt: skip
_REDUCTIONS = {"add", "multiply"}


UFUNCS: dict[str, ufunc] = {
    name: ufunc(name, getattr(np, name))
    for name in names.ufunc_names()
    if isinstance(getattr(np, name, None), np.ufunc)
}

# ---------------------------------------------------------------------------------------------
# Operators

_BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
    "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "lshift": "left_shift",
    "rshift": "right_shift", "divmod": "divmod", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor",
}  # fmt: skip
_COMPARISONS = {
    "lt": "less", "le": "less_equal", "eq": "equal", "ne": "not_equal", "gt": "greater",
    "ge": "greater_equal",
}  # fmt: skip
_UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


def _defers_to(other: Any) -> bool:
    """Whether the other operand asks to be tried first, by the rules CuPy follows."""
    missing = object()
    array_ufunc = getattr(other, "__array_ufunc__", missing)
    if array_ufunc is not missing:
        return array_ufunc is None
    priority: float = getattr(other, "__array_priority__", 0)
    return ndarray.__array_priority__ < priority


def _operator(function: Callable[..., Any], numpy_function: Any, swapped: bool) -> Any:
    def method(self: ndarray, other: Any) -> Any:
        pair = (other, self) if swapped else (self, other)
        if isinstance(other, (ndarray, *_SCALAR_TYPES)):
            return function(*pair)
        return NotImplemented if _defers_to(other) else numpy_function(*pair)

    return method


def _comparison(name: str, function: ufunc) -> Any:
    ordinary = _operator(function, getattr(np, function.__name__), swapped=False)

    def method(self: ndarray, other: Any) -> Any:
        if isinstance(other, np.ndarray) and other.ndim == 0:
            other = other.item()
        if name in ("eq", "ne") and (other is None or _compares_by_identity(other)):
            shape = self.shape
            return compute(function.name, lambda: np.full(shape, name == "ne"))
        return ordinary(self, other)

    return method


def _compares_by_identity(other: Any) -> bool:
    """Whether its `==` is the one every object has, so that it equals no number."""
    return getattr(type(other), "__eq__", None) is object.__eq__


def _in_place(function: ufunc) -> Any:
    def method(self: ndarray, other: Any) -> ndarray:
        function(self, other, self)
        return self

    return method


def _unary(function: ufunc) -> Any:
    return lambda self: function(self)


def matmul_operator(function: Callable[..., Any]) -> None:
    """Give arrays the operator `@`; CuPy has no in-place form."""
    for name, swapped in (("__matmul__", False), ("__rmatmul__", True)):
        setattr(ndarray, name, _operator(function, np.matmul, swapped))


def _power(x: Any, y: Any) -> Any:
    """CuPy computes these powers by the cheaper ufunc, as NumPy does."""
    if isinstance(x, ndarray) and type(y) in (int, float):
        if y == 2:
            dtype = None if x.dtype.kind in "ifc" else np.result_type(x.dtype, y)
            return UFUNCS["square"](x, dtype=dtype)
        if type(y) is float and y == 0.5:
            return UFUNCS["sqrt"](x)
    return UFUNCS["power"](x, y)


for _name, _ufunc in _BINARY.items():
    _function = _power if _name == "pow" else UFUNCS[_ufunc]
    _numpy = getattr(np, _ufunc)
    setattr(ndarray, f"__{_name}__", _operator(_function, _numpy, swapped=False))
    setattr(ndarray, f"__r{_name}__", _operator(UFUNCS[_ufunc], _numpy, swapped=True))
    if _name != "divmod":
        setattr(ndarray, f"__i{_name}__", _in_place(UFUNCS[_ufunc]))
for _name, _ufunc in _COMPARISONS.items():
    setattr(ndarray, f"__{_name}__", _comparison(_name, UFUNCS[_ufunc]))
for _name, _ufunc in _UNARY.items():
    setattr(ndarray, f"__{_name}__", _unary(UFUNCS[_ufunc]))
