"""Reading and writing parts of an array: views, gathers, scatters and masks.

Indices outside the array wrap around, as in CuPy, except single integers. A mask costs a copy of
its count to the host, so it waits for the device and cannot be captured.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from . import counters, work
from .array import compute, ndarray, wrap_view
from .creation import array
from .launching import launch

_BASIC = (int, np.integer, slice, type(None), type(Ellipsis))


def get(source: ndarray, key: Any) -> ndarray:
    """`source[key]`: a view for integers, slices, None and `...`; else a new array."""
    key = device_key(key)
    if _is_basic(key):
        # With `...` at hand NumPy returns an array, never a scalar.
        end = () if any(part is Ellipsis for part in key) else (Ellipsis,)
        place = (*key, *end)
        return wrap_view(source, source._view[place])
    _read_masks(key)
    index = frozen(key)
    return compute(
        "getitem", lambda view, *_: view[wrapped(index, view.shape)], source, *_arrays(key)
    )


def set(target: ndarray, key: Any, value: Any) -> None:
    """`target[key] = value`: a fill, a copy on the device or a scatter."""
    key = device_key(key)
    if _is_basic(key):
        _set_view(get(target, tuple(key)), value)
        return
    _read_masks(key)
    operand = value if isinstance(value, ndarray) else array(value, dtype=target.dtype)
    index, view, values = frozen(key), target._view, operand._view

    def scatter() -> None:
        at = wrapped(index, view.shape)
        with np.errstate(all="ignore"):
            view[at] = _without_leading_ones(values, view.ndim)

    if target.size:
        launch("setitem", scatter, [view, values, *index])


ndarray.__getitem__ = get  # type: ignore[method-assign]
ndarray.__setitem__ = set  # type: ignore[method-assign]


def device_key(key: Any) -> list[Any]:
    """The parts of an index, host sequences and NumPy arrays copied to the device."""
    return [_device_index(part) for part in (key if isinstance(key, tuple) else (key,))]


def frozen(key: list[Any]) -> list[Any]:
    """The index with the memory of its arrays, which does not keep them alive."""
    return [part._view if isinstance(part, ndarray) else part for part in key]


def wrapped(key: list[Any], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The index as NumPy takes it, with integer arrays taken modulo the sizes of their axes."""
    parts: list[Any] = []
    axis = 0
    for position, part in enumerate(key):
        if part is Ellipsis:
            axis = len(shape) - sum(_axes_of(later) for later in key[position + 1 :])
        elif isinstance(part, np.ndarray) and part.dtype.kind != "b":
            part = part % max(shape[axis], 1)
        axis += _axes_of(part)
        parts.append(part)
    return tuple(parts)


def take(a: ndarray, indices: Any, axis: int | None = None, out: ndarray | None = None) -> ndarray:
    """The elements at `indices` along `axis`, or of the flattened array."""
    if not isinstance(indices, (ndarray, int, np.integer)):
        indices = array(indices, dtype=int)
    if out is not None:
        if out.dtype != a.dtype:
            raise TypeError("Output dtype mismatch")
        if out.shape != _taken_shape(a, indices, axis):
            raise ValueError("Output shape mismatch")
    return compute(
        "take", lambda view, at: np.take(view, at, axis, mode="wrap"), a, indices, out=out
    )


def copyto(dst: ndarray, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    """Copy `src` to `dst`, where the mask says so; a memcpy where the layouts are the same."""
    if isinstance(src, np.ndarray):
        if src.size != 1:
            raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
        src = src.squeeze()[()]
    if not isinstance(src, ndarray):
        np.copyto(np.empty((), dst.dtype), src, casting=casting)  # type: ignore[arg-type]
    elif not np.can_cast(src.dtype, dst.dtype, casting):  # type: ignore[arg-type]
        raise TypeError(f"Cannot cast {src.dtype} to {dst.dtype} in {casting} casting mode")
    if isinstance(src, ndarray) and where is None and _same_layout(dst, src):
        if dst.size:
            dst.data.copy_from_device_async(src.data, src.nbytes)
        return
    if where is None:
        compute("copy", lambda value: value, src, out=dst, casting="unsafe")
        return
    if isinstance(where, ndarray) and where.dtype != bool:
        raise TypeError(
            f"Cannot cast array data from {where.dtype!r} to dtype('bool') "
            "according to the rule 'safe'"
        )
    compute("copy", np.where, where, src, dst, out=dst, casting="unsafe")


def read_back() -> None:
    """The copy of a count to the host that a mask or `nonzero` needs; refused in a capture."""
    work.refuse_in_capture("D2H transfers")
    counters.add("d2h_copies")
    work.synchronize(work.current())


# ---------------------------------------------------------------------------------------------


def _device_index(part: Any) -> Any:
    if isinstance(part, ndarray):
        if part.dtype.kind not in "biu":
            raise IndexError(
                "arrays used as indices must be of integer or boolean type. "
                f"(actual: {part.dtype.type})"
            )
        return part
    if isinstance(part, _BASIC) and not isinstance(part, bool):
        return part
    if isinstance(part, (list, tuple, bool, np.bool_, np.ndarray)):
        index = array(part)
        if index.size == 0 and isinstance(part, (list, tuple)):
            index = index.astype(np.int32)
        return _device_index(index)
    try:
        return operator.index(part)
    except TypeError:
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or "
            "boolean arrays are valid indices"
        ) from None


def _is_basic(key: list[Any]) -> bool:
    return not any(isinstance(part, ndarray) for part in key)


def _axes_of(part: Any) -> int:
    """How many axes of the array this part of an index uses up."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype.kind == "b" else 1


def _arrays(key: list[Any]) -> list[ndarray]:
    return [part for part in key if isinstance(part, ndarray)]


def _read_masks(key: list[Any]) -> None:
    for part in key:
        if isinstance(part, ndarray) and part.dtype.kind == "b" and part.size:
            read_back()


def _set_view(target: ndarray, value: Any) -> None:
    if not isinstance(value, ndarray):
        target.fill(value)
        return
    if value.shape == target.shape and value.strides == target.strides:
        if value.data.ptr == target.data.ptr:
            return
        if _same_layout(target, value):
            target.data.copy_from_device_async(value.data, value.nbytes)
            return
    shape = target.shape
    compute(
        "copy",
        lambda view: np.broadcast_to(_without_leading_ones(view, len(shape)), shape),
        value,
        out=target,
        casting="unsafe",
    )


def _same_layout(dst: ndarray, src: ndarray) -> bool:
    """Whether a plain copy of the bytes does it."""
    a, b = dst._view.flags, src._view.flags
    both = (a.c_contiguous and b.c_contiguous) or (a.f_contiguous and b.f_contiguous)
    return both and dst.dtype == src.dtype and dst.size == src.size


def _without_leading_ones(view: np.ndarray, ndim: int) -> np.ndarray:
    while view.ndim > ndim and view.shape[0] == 1:
        view = view[0]
    return view


def _taken_shape(a: ndarray, indices: Any, axis: int | None) -> tuple[int, ...]:
    shape = getattr(indices, "shape", ())
    if axis is None:
        return tuple(shape)
    axis %= a.ndim
    return (*a.shape[:axis], *shape, *a.shape[axis + 1 :])
