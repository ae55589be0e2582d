"""The array on the simulated GPU.

It holds a NumPy view of device memory but is no NumPy array: whatever CuPy refuses (an implicit
copy to the host, arithmetic with a NumPy array, ...) is refused here. Every operation is one
`compute`: eager, or recorded where the current stream captures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import memory, pool, work
from .device import Device
from .launching import launch
from .layout import Flags, fortran_strides, get_dtype, has_order, is_view_of, shape_tuple
from .memory import MemoryPointer, UnownedMemory

_SCALAR_TYPES = (bool, int, float, complex, np.generic)


class ndarray:
    """An array on the device; see `cupy.ndarray`.

    More methods are attached where what they do is written: `x[i]` in indexing.py, the operators in
    ufuncs.py, sums and the like in functions.py.
    """

    __slots__ = ("__weakref__", "_mem", "_view", "base")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    _view: np.ndarray  # the device memory, as NumPy sees it; never leaves this package
    _mem: memory.BaseMemory  # keeps the block from being reused
    base: ndarray | None

    def __init__(
        self,
        shape: int | Sequence[int],
        dtype: Any = float,
        memptr: MemoryPointer | None = None,
        strides: Sequence[int] | None = None,
        order: str = "C",
    ) -> None:
        sizes = shape_tuple(shape)
        found = get_dtype(dtype) if memptr is None else np.dtype(dtype)
        if order not in ("C", "F", "c", "f", None):
            raise ValueError(f"order must be C or F, not {order!r}")
        if strides is None and order in ("F", "f"):
            strides = fortran_strides(sizes, found.itemsize)
        if memptr is None:
            memptr = pool.alloc(math.prod(sizes) * found.itemsize)
        offset = memptr.ptr - memptr.mem.ptr
        self._mem = memptr.mem
        self._view = memptr.mem.view(sizes, found, offset, strides)
        self.base = None

    # -- what it looks like -------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self._view.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        view = self._view.reshape(shape)
        if not is_view_of(view, self._view):
            raise AttributeError("incompatible shape")
        self._view = view

    @property
    def dtype(self) -> np.dtype:
        return self._view.dtype

    @property
    def ndim(self) -> int:
        return self._view.ndim

    @property
    def size(self) -> int:
        return self._view.size

    @property
    def itemsize(self) -> int:
        return self._view.itemsize

    @property
    def nbytes(self) -> int:
        return self._view.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        return self._view.strides

    @property
    def flags(self) -> Flags:
        flags = self._view.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, self.base is None)

    @property
    def data(self) -> MemoryPointer:
        """The address of the first element, as a pointer that keeps the memory alive."""
        return MemoryPointer(self._mem, self._address() - self._mem.ptr)

    @property
    def device(self) -> Device:
        return self._mem.device

    @property
    def T(self) -> ndarray:
        return self if self.ndim < 2 else wrap_view(self, self._view.T)

    @property
    def mT(self) -> ndarray:
        if self.ndim < 2:
            raise ValueError("matrix transpose with ndim < 2 is undefined")
        return wrap_view(self, self._view.swapaxes(-1, -2))

    @property
    def real(self) -> ndarray:
        return wrap_view(self, self._view.real) if self.dtype.kind == "c" else self

    @property
    def imag(self) -> ndarray:
        if self.dtype.kind == "c":
            return wrap_view(self, self._view.imag)
        return compute("imag", np.zeros_like, self)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "descr": self.dtype.descr,
            "stream": work.current().ptr or work.STREAM_LEGACY,
            "version": 3,
            "strides": None if self._view.flags.c_contiguous else self.strides,
            "data": (self._address() if self.size else 0, False),
        }

    def _address(self) -> int:
        address: int = self._view.__array_interface__["data"][0]
        return address if self._mem.ptr else 0

    # -- to the host and back -----------------------------------------------------------------

    def get(
        self,
        stream: work.Stream | None = None,
        order: str = "C",
        out: np.ndarray | None = None,
        blocking: bool = True,
    ) -> np.ndarray:
        """A copy in host memory: one device-to-host copy and, if `blocking`, a wait for it."""
        if out is None:
            order = order.upper()
            layout: Any = ("F" if self._view.flags.fnc else "C") if order == "A" else order
            host: np.ndarray = np.empty(self.shape, self.dtype, order=layout)
        else:
            host = _checked_host_output(self, out)
        if host.size:
            _copy_to_host(self, host, stream, blocking)
        return host

    def set(self, arr: np.ndarray, stream: work.Stream | None = None) -> None:
        """Copy a NumPy array of this shape and dtype to the device."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        flags = self._view.flags
        if not flags.forc:
            raise RuntimeError("Cannot set to non-contiguous array")
        host = np.asarray(arr, order="C" if flags.c_contiguous else "F")
        self.data.copy_from_host_async(host.ctypes.data, self.nbytes, stream)

    def item(self) -> Any:
        """The only element as a Python scalar; a copy to the host."""
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get().tobytes(order)  # type: ignore[arg-type]

    def __array__(self, dtype: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __bool__(self) -> bool:
        if self.size == 1:
            return bool(self.get())
        if self.size == 0:
            return False
        raise ValueError(
            "The truth value of an array with more than one element is ambiguous. "
            "Use a.any() or a.all()"
        )

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __complex__(self) -> complex:
        return complex(self.get())

    def __bytes__(self) -> bytes:
        return bytes(self.get())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, format_spec: str) -> str:
        return format(self.get(), format_spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return from_host, (self.get(order="A"),)

    # -- copies, casts and views --------------------------------------------------------------

    def copy(self, order: str = "C") -> ndarray:
        return self.astype(self.dtype, order=order)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> ndarray:
        return self.copy()

    def astype(
        self,
        dtype: Any,
        order: str = "K",
        casting: None = None,
        subok: None = None,
        copy: bool = True,
    ) -> ndarray:
        """A copy as `dtype`; the array itself where `copy` is false and nothing would change."""
        if casting is not None:
            raise TypeError("casting is not supported yet")
        if subok is not None:
            raise TypeError("subok is not supported yet")
        found = get_dtype(dtype)
        if not copy and found == self.dtype and has_order(self._view.flags, order):
            return self
        return copy_of(self, found, order)

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        """The same memory, read as another dtype."""
        view = self._view.view() if dtype is None else self._view.view(get_dtype(dtype))
        return wrap_view(self, view)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> ndarray:
        """The same elements in another shape: a view where that is possible."""
        sizes = shape[0] if len(shape) == 1 else shape
        function: Callable[..., np.ndarray] = lambda a: a.reshape(sizes, order=order)  # noqa: E731
        if copy:
            return wrap_view(self, function(self._view)).copy()
        if copy is False and not is_view_of(function(self._view), self._view):
            raise ValueError("Unable to avoid creating a copy while reshaping.")
        return view_or_copy("reshape", self, function)

    def transpose(self, *axes: Any) -> ndarray:
        return wrap_view(self, self._view.transpose(*axes))

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return wrap_view(self, self._view.swapaxes(axis1, axis2))

    def squeeze(self, axis: Any = None) -> ndarray:
        return wrap_view(self, self._view.squeeze(axis))

    def ravel(self, order: Any = "C") -> ndarray:
        return view_or_copy("ravel", self, lambda a: a.ravel(order))

    def flatten(self, order: str = "C") -> ndarray:
        return compute("flatten", lambda a: a.flatten(order), self)

    def reduced_view(self, dtype: None = None) -> ndarray:
        if self.ndim > 1 and self._view.flags.c_contiguous:
            return wrap_view(self, self._view.reshape(-1))
        return self

    def fill(self, value: Any) -> None:
        """Set all elements: a memset for zero, else a kernel."""
        if isinstance(value, ndarray):
            if value.shape != ():
                raise ValueError("non-scalar cupy.ndarray cannot be used for fill")
            compute("fill", lambda a: a, value, out=self, casting="unsafe")
            return
        scalar = np.asarray(value, dtype=self.dtype)
        if scalar.shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if scalar == 0 and self._view.flags.c_contiguous:
            if self.size:
                memory.memset(self._address(), 0, self.nbytes)
        else:
            compute("fill", lambda: scalar, out=self)

    # -- as a container -----------------------------------------------------------------------

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[ndarray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[index] for index in range(self.shape[0]))

    if TYPE_CHECKING:  # attached in indexing.py

        def __getitem__(self, key: Any) -> ndarray: ...

        def __setitem__(self, key: Any, value: Any) -> None: ...


ndarray.__module__ = "cupy"


# ---------------------------------------------------------------------------------------------
# Making arrays


def empty_like_view(view: np.ndarray) -> ndarray:
    """A new array with the shape, dtype and order of axes in memory of a dense NumPy array."""
    flags = view.flags
    if flags.c_contiguous:
        return ndarray(view.shape, view.dtype)
    return ndarray(view.shape, view.dtype, strides=view.strides, memptr=pool.alloc(view.nbytes))


def from_host(host: np.ndarray, order: str = "A", blocking: bool = False) -> ndarray:
    """A copy of a NumPy array: one copy to the device, or a fill where it is a single number."""
    if order in "KkAa":
        order = "F" if host.flags.fnc else "C"
    made = ndarray(host.shape, host.dtype, order=order)
    if host.ndim == 0:
        made.fill(host)
        return made
    host = np.asarray(host, order=order)  # type: ignore[call-overload]
    made.data.copy_from_host_async(host.ctypes.data, host.nbytes)
    if blocking:
        work.synchronize(work.current())
    return made


def adopt(obj: Any) -> ndarray:
    """An array on memory that another library describes by `__cuda_array_interface__`."""
    description = obj.__cuda_array_interface__
    shape, dtype = description["shape"], np.dtype(description["typestr"])
    strides = description.get("strides")
    if strides is None:
        strides = np.empty(shape, dtype).strides
    if description.get("stream") is not None:  # CuPy waits for the work of whoever offers it
        work.synchronize(work.state_of_handle(description["stream"]))
    last = sum((size - 1) * abs(stride) for size, stride in zip(shape, strides, strict=True))
    block = UnownedMemory(description["data"][0], last + dtype.itemsize, obj)
    return ndarray(shape, dtype, MemoryPointer(block, 0), strides)


def wrap_view(parent: ndarray, view: np.ndarray) -> ndarray:
    """An array on a part of `parent`'s memory."""
    array = ndarray.__new__(ndarray)
    array._view = view
    array._mem = parent._mem
    array.base = parent if parent.base is None else parent.base
    return array


def view_or_copy(
    name: str, parent: ndarray, function: Callable[[np.ndarray], np.ndarray]
) -> ndarray:
    """What `function` makes of the parent: a view where NumPy gives one, else by a kernel."""
    view = function(parent._view)
    if is_view_of(view, parent._view):
        return wrap_view(parent, view)
    return compute(name, function, parent)


def copy_of(array: ndarray, dtype: np.dtype, order: Any) -> ndarray:
    """A copy made by a kernel, with the layout that NumPy gives the order."""
    target = empty_like_view(np.empty_like(array._view, dtype, order=order))
    return compute("copy", lambda a: a, array, out=target, casting="unsafe")


# ---------------------------------------------------------------------------------------------
# Computing


def unwrap(value: Any) -> Any:
    """What NumPy computes with: the view of an array, a scalar as it is.

    Raises TypeError for everything else, NumPy arrays above all, as CuPy does.
    """
    if isinstance(value, ndarray):
        return value._view
    if isinstance(value, _SCALAR_TYPES):
        return value
    if hasattr(value, "__cuda_array_interface__"):
        return adopt(value)._view
    raise TypeError(f"Unsupported type {type(value)}")


def compute(
    name: str,
    function: Callable[..., Any],
    *inputs: Any,
    out: ndarray | None = None,
    casting: str = "same_kind",
    fills_out: bool = True,
) -> ndarray:
    """Launch `function` on the device: its value goes to `out` or to a new array.

    `function` gets the unwrapped inputs and is one kernel, whatever it does. Inside a capture it
    runs once more, on what memory holds then, at every replay; its value now only tells shape
    and dtype. `fills_out`: a smaller value is repeated to fill `out`, as CuPy's ufuncs do.
    """
    made = compute_all(
        name,
        lambda *views: (function(*views),),
        inputs,
        [out],
        casting=casting,
        fills_out=fills_out,
    )
    return made[0]


def compute_all(
    name: str,
    function: Callable[..., tuple[Any, ...]],
    inputs: Sequence[Any],
    outs: Sequence[ndarray | None],
    *,
    casting: str = "same_kind",
    fills_out: bool = True,
) -> list[ndarray]:
    """`compute` for a kernel that has several results."""
    views = [unwrap(value) for value in inputs]
    values = _evaluated(function, views)
    made = []
    for value, out in zip(values, outs, strict=True):
        if out is not None:
            _check_output(value, out, casting, fills_out)
        made.append(ndarray(value.shape, value.dtype) if out is None else out)
    targets, known = [array._view for array in made], None if work.is_capturing() else values

    def run() -> None:
        results = _evaluated(function, views) if known is None else known
        for target, result in zip(targets, results, strict=True):
            np.copyto(target, result, casting="unsafe")

    if any(array.size for array in made):
        launch(name, run, [*targets, *views])
    return made


def _evaluated(function: Callable[..., tuple[Any, ...]], views: list[Any]) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return [np.asarray(value) for value in function(*views)]


def _check_output(value: np.ndarray, out: Any, casting: str, fills_out: bool) -> None:
    if not isinstance(out, ndarray):
        raise TypeError("Output arguments type must be cupy.ndarray")
    filled = np.broadcast_shapes(value.shape, out.shape) if fills_out else value.shape
    if filled != out.shape:
        raise ValueError("Out shape is mismatched")
    if not np.can_cast(value.dtype, out.dtype, casting):  # type: ignore[arg-type]
        raise TypeError(
            f"Cannot cast output operand from {value.dtype!r} to {out.dtype!r} "
            f"according to the rule '{casting}'"
        )


# ---------------------------------------------------------------------------------------------
# Copies to the host


def _checked_host_output(array: ndarray, out: np.ndarray) -> np.ndarray:
    if not isinstance(out, np.ndarray):
        raise TypeError("Only numpy.ndarray can be obtained fromcupy.ndarray")
    if array.dtype != out.dtype:
        raise TypeError(f"{out.dtype} array cannot be obtained from {array.dtype} array")
    if array.shape != out.shape:
        raise ValueError(
            f"Shape mismatch. Expected shape: {out.shape}, actual shape: {array.shape}"
        )
    if not out.flags.forc:
        raise RuntimeError("`out` cannot be specified when copying to non-contiguous ndarray")
    return out


def _copy_to_host(array: ndarray, host: np.ndarray, on: work.Stream | None, blocking: bool) -> None:
    """Copy to `host`; through a contiguous copy on the device where the layouts differ."""
    source, flags = array, host.flags
    if not (
        (flags.c_contiguous and array._view.flags.c_contiguous)
        or (flags.f_contiguous and array._view.flags.f_contiguous)
    ):
        source = copy_of(array, array.dtype, "C" if flags.c_contiguous else "F")
    source.data.copy_to_host_async(host.ctypes.data, host.nbytes, on)
    if blocking:
        work.synchronize(work.state_of(on))
