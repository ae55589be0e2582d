"""Functions that make arrays: from nothing, from host values (a copy), from other arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import memory, work
from .array import adopt, compute, empty_like_view, from_host, ndarray, wrap_view
from .layout import get_dtype

_numpy: Any = np  # where NumPy's types are narrower than what it takes
NAMES = (
    "array asarray asanyarray ascontiguousarray asfortranarray asnumpy empty zeros ones full "
    "empty_like zeros_like ones_like full_like arange linspace eye identity tri copy"
)


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool | None = True,
    order: str | None = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> ndarray:
    """An array of the values in `obj`.

    Host values are copied to the device: one copy, or a fill where there is a single value (a
    kernel, as in CuPy, so allowed in a capture).
    """
    if subok:
        raise NotImplementedError
    order = order or "K"
    if isinstance(obj, ndarray):
        return _from_device(obj, dtype, copy, order, ndmin)
    if hasattr(obj, "__cuda_array_interface__"):
        return _from_device(adopt(obj), dtype, copy, order, ndmin)
    leaves = list(_leaves(obj))
    if leaves and all(isinstance(leaf, ndarray) for leaf in leaves):
        return _stacked(obj, leaves, dtype, order, ndmin)
    return _from_host(obj, dtype, order, ndmin, blocking)


def asarray(
    a: Any,
    dtype: Any = None,
    order: str | None = None,
    *,
    copy: bool | None = None,
    blocking: bool = False,
) -> ndarray:
    """`a` itself where it is an array of this dtype and order, else a new one."""
    return array(a, dtype, copy, order, blocking=blocking)


def asanyarray(
    a: Any,
    dtype: Any = None,
    order: str | None = None,
    *,
    copy: bool | None = None,
    blocking: bool = False,
) -> ndarray:
    return array(a, dtype, copy, order, blocking=blocking)


def ascontiguousarray(a: ndarray, dtype: Any = None) -> ndarray:
    return _at_least_1d(_device_only(a).astype(dtype or a.dtype, order="C", copy=False))


def asfortranarray(a: ndarray, dtype: Any = None) -> ndarray:
    """`a` in column-major order; through cuBLAS for a float matrix, so refused in a capture."""
    _device_only(a)
    same = dtype is None or get_dtype(dtype) == a.dtype
    is_transposed = a.ndim == 2 and a.flags.c_contiguous and not a.flags.f_contiguous
    if is_transposed and same and a.dtype.char in "fd":
        work.refuse_library_in_capture("cuBLAS")
    return _at_least_1d(a.astype(dtype or a.dtype, order="F", copy=False))


def asnumpy(
    a: Any,
    stream: work.Stream | None = None,
    order: str = "C",
    out: np.ndarray | None = None,
    *,
    blocking: bool = True,
) -> np.ndarray:
    """`a` in host memory: a copy of an array, anything else as NumPy sees it."""
    if isinstance(a, ndarray):
        return a.get(stream=stream, order=order, out=out, blocking=blocking)
    host = np.asarray(a, order=order)  # type: ignore[call-overload]
    if out is None:
        return host  # type: ignore[no-any-return]
    out[...] = host
    return out


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """An array with undefined values; here all of its bytes are 0xFF."""
    return ndarray(shape, dtype, order=order)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return _zeroed(ndarray(shape, dtype, order=order))


def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 1, dtype, order)


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C") -> ndarray:
    if dtype is None:
        dtype = fill_value.dtype if hasattr(fill_value, "dtype") else np.asarray(fill_value).dtype
    return _filled(ndarray(shape, dtype, order=order), fill_value)


def empty_like(
    prototype: ndarray, dtype: Any = None, order: Any = "K", subok: None = None, shape: Any = None
) -> ndarray:
    made = None if dtype is None else get_dtype(dtype)
    model: Any = np.empty_like(_device_only(prototype)._view, made, order=order, shape=shape)
    return empty_like_view(model)


def zeros_like(
    a: ndarray, dtype: Any = None, order: str = "K", subok: None = None, shape: Any = None
) -> ndarray:
    return _zeroed(empty_like(a, dtype, order, subok, shape))


def ones_like(
    a: ndarray, dtype: Any = None, order: str = "K", subok: None = None, shape: Any = None
) -> ndarray:
    return _filled(empty_like(a, dtype, order, subok, shape), 1)


def full_like(
    a: ndarray,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: None = None,
    shape: Any = None,
) -> ndarray:
    return _filled(empty_like(a, dtype, order, subok, shape), fill_value)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> ndarray:
    start, stop = (0, start) if stop is None else (start, stop)
    return compute("arange", lambda: _numpy.arange(start, stop, step, dtype))


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    values, step = _numpy.linspace(start, stop, num, endpoint, True, dtype, axis)
    made = compute("linspace", lambda: values)
    return (made, step) if retstep else made


def eye(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: Any = float,
    order: str = "C",
) -> ndarray:
    return compute("eye", lambda: np.eye(N, M, k, dtype))


def identity(n: int, dtype: Any = float) -> ndarray:
    return eye(n, dtype=dtype)


def tri(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: Any = float,
) -> ndarray:
    return compute("tri", lambda: np.tri(N, M, k, dtype))


def copy(a: Any, order: str = "K") -> ndarray:
    """A copy of an array, or of host values on the device."""
    return a.copy(order) if isinstance(a, ndarray) else array(a, order=order)


# ---------------------------------------------------------------------------------------------


def _zeroed(new: ndarray) -> ndarray:
    if new.size:
        memory.memset(new.data.ptr, 0, new.nbytes)
    return new


def _filled(new: ndarray, value: Any) -> ndarray:
    """Fill by a kernel, also with zero, for that is what CuPy's `full` does."""
    if isinstance(value, ndarray):
        return compute("copy", lambda a: a, value, out=new, casting="unsafe")
    scalar = np.asarray(value)
    if scalar.size != 1:
        raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
    scalar = scalar.reshape(()).astype(new.dtype)
    return compute("fill", lambda: scalar, out=new)


def _device_only(a: Any) -> ndarray:
    if not isinstance(a, ndarray):
        raise TypeError(f"Unsupported type {type(a)}")
    return a


def _at_least_1d(a: ndarray) -> ndarray:
    return a.reshape(1) if a.ndim == 0 else a


def _leaves(obj: Any) -> Any:
    if isinstance(obj, (list, tuple)):
        for element in obj:
            yield from _leaves(element)
    else:
        yield obj


def _from_device(source: ndarray, dtype: Any, copy: bool | None, order: str, ndmin: int) -> ndarray:
    found = source.dtype if dtype is None else get_dtype(dtype)
    made = source.astype(found, order, copy=bool(copy))
    if copy is False and made is not source:
        raise ValueError("Unable to avoid copy while creating an array as requested.")
    missing = ndmin - made.ndim
    if missing > 0:
        made = wrap_view(made, made._view.reshape((1,) * missing + made.shape))
    return made


def _stacked(obj: Any, leaves: list[ndarray], dtype: Any, order: str, ndmin: int) -> ndarray:
    def nested(element: Any, views: Any) -> Any:
        if isinstance(element, ndarray):
            return next(views)
        return [nested(part, views) for part in element]

    made = compute("stack", lambda *views: np.array(nested(obj, iter(views))), *leaves)
    return _from_device(made, dtype, None, "F" if order in "Ff" else "C", ndmin)


def _from_host(obj: Any, dtype: Any, order: str, ndmin: int, blocking: bool) -> ndarray:
    host = np.array(obj, dtype=dtype, ndmin=ndmin, copy=None)
    return from_host(host, order, blocking)
