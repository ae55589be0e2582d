"""CuPy's functions on arrays, from tables: what NumPy computes, under CuPy's names and rules.

A table's entry is None where NumPy's function of that name takes CuPy's arguments as they are,
else the function to use. Every function refuses a keyword that CuPy's has not, as `where=` in a
sum. It refuses NumPy arrays, too, also where CuPy computes on the host without a word (`cupy.sum`).
A function that is several kernels on a GPU (`pad`, `var`, ...) is one launch here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import creation, indexing, names, work
from .arguments import split
from .array import compute, ndarray, view_or_copy, wrap_view
from .ufuncs import UFUNCS, matmul_operator

Function = Callable[..., Any]
Table = dict[str, Function | None]


def _listed(text: str) -> Table:
    return dict.fromkeys(text.split())


def _index_of(function: Function) -> Function:
    """`argmax` with CuPy's parameter `dtype`."""

    def call(
        a: np.ndarray, axis: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> np.ndarray:
        return np.asarray(function(a, axis=axis, keepdims=keepdims)).astype(dtype or np.int64)

    return call


# A view where NumPy makes one, else a kernel that copies.
_VIEWS: Table = {
    **_listed(
        "transpose permute_dims matrix_transpose swapaxes moveaxis rollaxis expand_dims squeeze "
        "ravel broadcast_to flip fliplr flipud rot90 diagonal"
    ),
    "reshape": lambda a, newshape, order="C", copy=None: np.reshape(a, newshape, order),
}
# Always views, one for each array or part.
_SEVERAL_VIEWS: Table = _listed(
    "split array_split hsplit vsplit dsplit broadcast_arrays atleast_1d atleast_2d atleast_3d"
)
_KERNELS: Table = {
    **_listed(
        "sum prod mean var std max min amax amin ptp any all cumsum cumprod count_nonzero "
        "nansum nanprod nanmean nanvar nanstd nanmax nanmin nancumsum nancumprod "
        "median nanmedian average percentile quantile "
        "concatenate stack hstack vstack dstack column_stack tile repeat roll pad append "
        "tril triu diag diagflat trace sort diff outer kron cross "
        "isclose allclose array_equal nan_to_num around round take_along_axis searchsorted"
    ),
    "argmax": _index_of(np.argmax),
    "argmin": _index_of(np.argmin),
    "argsort": lambda a, axis=-1, kind=None: np.argsort(a, axis, kind="stable"),
    "clip": lambda a, a_min=None, a_max=None: np.clip(a, a_min, a_max),
}
# These must know a count on the host before they know their shape: a copy back and a wait.
_READ_BACK: Table = {
    **_listed("nonzero flatnonzero argwhere unique extract compress"),
    "bincount": lambda x, weights=None, minlength=None: np.bincount(x, weights, minlength or 0),
}
# cuBLAS for floats, which a capture refuses; kernels for integers.
_PRODUCTS: Table = _listed("dot inner vdot tensordot einsum")


# ---------------------------------------------------------------------------------------------
# From an entry to a function


def _argument_check(name: str) -> Callable[[tuple[Any, ...], dict[str, Any]], None]:
    """What raises TypeError, as Python does, for arguments that CuPy's function does not take."""
    parameters = names.parameters_of("cupy", name)
    if any(parameter.startswith("*") and parameter != "*" for parameter in parameters):
        return lambda args, kwargs: None

    def check(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        names.by_keyword(name, parameters, args, kwargs)

    return check


def _view_function(name: str, function: Function) -> Function:
    check = _argument_check(name)

    def call(*args: Any, **kwargs: Any) -> ndarray:
        check(args, kwargs)
        (array,), rebuild = split(args, kwargs)

        def run(view: np.ndarray) -> Any:
            args, kwargs = rebuild([view])
            return function(*args, **kwargs)

        return view_or_copy(name, array, run)

    return call


def _several_views_function(name: str, function: Function) -> Function:
    check = _argument_check(name)

    def call(*args: Any, **kwargs: Any) -> Any:
        check(args, kwargs)
        arrays, rebuild = split(args, kwargs)
        args, kwargs = rebuild([array._view for array in arrays])
        views = function(*args, **kwargs)
        if isinstance(views, np.ndarray):
            return wrap_view(arrays[0], views)
        parents = arrays if len(arrays) > 1 else arrays * len(views)
        return [wrap_view(parent, view) for parent, view in zip(parents, views, strict=True)]

    return call


def _kernel_function(name: str, function: Function) -> Function:
    check = _argument_check(name)
    parameters = names.parameters_of("cupy", name)
    place_of_out = parameters.index("out") if "out" in parameters else None

    def call(*args: Any, **kwargs: Any) -> ndarray:
        check(args, kwargs)
        if place_of_out is not None and len(args) > place_of_out:
            kwargs.update(zip(parameters[place_of_out:], args[place_of_out:], strict=False))
            args = args[:place_of_out]
        return _compute(name, function, args, kwargs)

    return call


def _compute(
    name: str, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ndarray:
    out = kwargs.pop("out", None)
    arrays, rebuild = split(args, kwargs)

    def run(*views: np.ndarray) -> Any:
        args, kwargs = rebuild(views)
        return function(*args, **kwargs)

    if not arrays:
        raise TypeError(f"{name}() needs a cupy.ndarray, not {[type(a) for a in args]}")
    return compute(name, run, *arrays, out=out, casting="unsafe", fills_out=False)


def _read_back_function(name: str, function: Function) -> Function:
    check = _argument_check(name)

    def call(*args: Any, **kwargs: Any) -> Any:
        check(args, kwargs)
        arrays, rebuild = split(args, kwargs)
        indexing.read_back()
        args, kwargs = rebuild([array._view for array in arrays])
        value = function(*args, **kwargs)
        if isinstance(value, tuple):
            return tuple(_made(name, part) for part in value)
        return _made(name, value)

    return call


def _made(name: str, value: Any) -> ndarray:
    return compute(name, lambda: value)


def _product_function(name: str, function: Function) -> Function:
    check = _argument_check(name)

    def call(*args: Any, **kwargs: Any) -> ndarray:
        check(args, kwargs)
        _refuse_blas_in_capture(split(args, kwargs)[0])
        return _compute(name, function, args, kwargs)

    return call


def _refuse_blas_in_capture(arrays: list[ndarray]) -> None:
    """A product of two float arrays goes to cuBLAS, unless one of them is a single number."""
    is_product = len(arrays) > 1 and all(array.ndim for array in arrays)
    if is_product and any(array.dtype.kind in "fc" for array in arrays):
        work.refuse_library_in_capture("cuBLAS")


def _made_from(table: Table, make: Callable[[str, Function], Function]) -> dict[str, Function]:
    return {name: make(name, entry or getattr(np, name)) for name, entry in table.items()}


# ---------------------------------------------------------------------------------------------
# The functions that are no table's


def matmul(
    x1: Any, x2: Any, /, out: Any = None, *, casting: str = "same_kind", dtype: Any = None
) -> ndarray:
    """The product over the last two axes; a cuBLAS call for floats."""
    for operand in (x1, x2):
        if not isinstance(operand, ndarray):
            raise TypeError(f"Unsupported type {type(operand)}")
    if x1.ndim == 0 or x2.ndim == 0:
        raise ValueError("Scalar operands are not allowed, use '*' instead")
    _refuse_blas_in_capture([x1, x2])
    return compute(
        "matmul",
        lambda a, b: np.matmul(a, b, dtype=dtype),
        x1,
        x2,
        out=out,
        casting=casting,
        fills_out=False,
    )


def dot(a: Any, b: Any, out: Any = None) -> ndarray:
    """The dot product, by the rules CuPy has for `out`."""
    if out is not None:
        if np.result_type(a.dtype, b.dtype) != out.dtype:
            raise ValueError("Not supported dtype combination.")
        if not out.flags.c_contiguous:
            raise ValueError("Output array must be C-contiguous")
    product: ndarray = _dot(a, b, out=out)
    return product


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """Elements of `x` or `y`; with a condition alone, the indices at which it holds."""
    if x is None and y is None:
        return FUNCTIONS["nonzero"](condition)
    if x is None or y is None:
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    return compute("where", np.where, condition, x, y)


def norm(x: ndarray, ord: Any = None, axis: Any = None, keepdims: bool = False) -> ndarray:
    """`cupy.linalg.norm`, without the matrix norms that need singular values."""
    axes = x.ndim if axis is None else np.size(axis)
    if axes == 2 and ord in (2, -2, "nuc"):
        raise NotImplementedError(f"simgpu does not implement cupy.linalg.norm with ord={ord!r}")
    return compute("norm", lambda a: np.linalg.norm(a, ord, axis, keepdims), x)


FUNCTIONS: dict[str, Function] = {
    **_made_from(_VIEWS, _view_function),
    **_made_from(_SEVERAL_VIEWS, _several_views_function),
    **_made_from(_KERNELS, _kernel_function),
    **_made_from(_READ_BACK, _read_back_function),
    **_made_from(_PRODUCTS, _product_function),
}
_dot = FUNCTIONS["dot"]
FUNCTIONS.update(matmul=matmul, dot=dot, where=where, take=indexing.take, copyto=indexing.copyto)
FUNCTIONS.update((name, getattr(creation, name)) for name in creation.NAMES.split())


# ---------------------------------------------------------------------------------------------
# Methods of arrays


def _sort_in_place(self: ndarray, axis: int = -1, kind: Any = None) -> None:
    compute("sort", lambda a: np.sort(a, axis), self, out=self)


_METHODS = (
    "sum prod mean var std max min ptp any all cumsum cumprod argmax argmin argsort take repeat "
    "diagonal trace round nonzero dot searchsorted compress"
)
_OWN_METHODS: dict[str, Function] = {
    "clip": lambda self, min=None, max=None, out=None: FUNCTIONS["clip"](self, min, max, out=out),
    "conj": lambda self: UFUNCS["conjugate"](self),
    "conjugate": lambda self: UFUNCS["conjugate"](self),
    "sort": _sort_in_place,
}


def _method(name: str) -> Function:
    parameters = names.parameters_of("cupy.ndarray", name)

    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        return FUNCTIONS[name](self, **names.by_keyword(name, parameters, args, kwargs))

    return method


for _name in _METHODS.split():
    setattr(ndarray, _name, _method(_name))
matmul_operator(matmul)


# ---------------------------------------------------------------------------------------------
# NumPy's functions and ufuncs, called with arrays of the device


def _array_ufunc(self: ndarray, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    found: Any = UFUNCS.get(ufunc.__name__) or FUNCTIONS.get(ufunc.__name__)
    if method != "__call__":
        found = getattr(found, method, None)
    if found is None:
        return NotImplemented
    outputs = kwargs.get("out", ())
    for value in (*inputs, *outputs):
        known = (bool, int, float, complex, np.generic, np.ndarray, ndarray)
        if not isinstance(value, known) and not hasattr(value, "__cuda_array_interface__"):
            return NotImplemented
    if outputs:
        if len(outputs) != 1:
            raise ValueError("The 'out' parameter must have exactly one array value")
        kwargs["out"] = outputs[0]
    return found(*inputs, **kwargs)


def _array_function(
    self: ndarray, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    table = {"norm": norm} if func.__module__ == "numpy.linalg" else FUNCTIONS
    if func.__name__ not in table:
        return NotImplemented
    if not all(issubclass(t, (ndarray, np.ndarray)) for t in types):
        return NotImplemented
    return table[func.__name__](*args, **kwargs)


_OWN_METHODS.update(__array_ufunc__=_array_ufunc, __array_function__=_array_function)
for _name, _own in _OWN_METHODS.items():
    setattr(ndarray, _name, _own)
