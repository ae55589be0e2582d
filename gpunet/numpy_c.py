"""NumPy's own products and functions as C can call them: where compiled code and NumPy call the
same function, their numbers are the same to the last bit.

The products are those of the BLAS library that NumPy brings along. An elementwise function is the
inner loop that NumPy chose for this processor when it was imported; a ufunc's public C structure
(numpy/ufuncobject.h) says where it is.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import Array

LETTERS = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}
PRODUCTS = ("gemm", "gemv", "dot")
FUNCTIONS = (np.exp, np.log, np.tanh)
SUM = np.add  # whose loop sums where it is told to stay at one place of the result
Loop = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)


class _Ufunc(ctypes.Structure):
    """PyUFuncObject, as far as it is read."""

    _fields_ = (
        ("head", ctypes.c_byte * object.__basicsize__),
        ("nin_nout_nargs_identity", ctypes.c_int * 4),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
    )


@cache
def addresses(dtype: Any) -> Array | None:
    """Of PRODUCTS for arrays of this dtype and of float64's dot, then of each of FUNCTIONS and of
    SUM, with its data: uint64 (12,).
    None where this NumPy has no such library, or one of them gives other numbers than NumPy.
    """
    dtype = np.dtype(dtype)
    library = _library()
    if library is None:
        return None
    products = [_product(library, f"{LETTERS[dtype]}{name}") for name in PRODUCTS]
    products.append(_product(library, "ddot"))
    functions = [_function(ufunc, dtype) for ufunc in (*FUNCTIONS, SUM)]
    found = [*products, *(part for pair in functions for part in pair)]
    if not all(products) or not _agrees(dtype, products, functions):
        return None
    return np.array(found, np.uint64)


@cache
def _library() -> ctypes.CDLL | None:
    """The BLAS library beside NumPy, which is loaded already."""
    home = Path(np.__file__).parent
    folders = (home.with_name("numpy.libs"), home / ".dylibs")
    files = (file for folder in folders for file in sorted(folder.glob("*openblas*")))
    file = next(files, None)
    return None if file is None else ctypes.CDLL(str(file))


def _product(library: ctypes.CDLL, name: str) -> int:
    """The address of a function, under the name that NumPy's wheels give it; 0 without it."""
    for full in (f"scipy_cblas_{name}64_", f"cblas_{name}64_"):
        if hasattr(library, full):
            return ctypes.cast(getattr(library, full), ctypes.c_void_p).value or 0
    return 0


def _function(ufunc: np.ufunc, dtype: np.dtype[Any]) -> tuple[int, int]:
    """Its loop for this dtype, and what the loop gets as its data."""
    kind = f"{dtype.char * ufunc.nin}->{dtype.char}"
    held, place = _Ufunc.from_address(id(ufunc)), ufunc.types.index(kind)
    return held.functions[place] or 0, held.data[place] or 0


def _agrees(dtype: np.dtype[Any], products: list[int], functions: list[tuple[int, int]]) -> bool:
    """Whether a product and each function give NumPy's numbers."""
    numbers = np.random.default_rng(0).normal(size=(33, 33)).astype(dtype)
    found = np.empty_like(numbers)
    places = np.array([numbers.ctypes.data, found.ctypes.data])
    size, steps = np.array([numbers.size]), np.array([dtype.itemsize] * 2)
    for ufunc, (loop, data) in zip(FUNCTIONS, functions, strict=False):
        np.abs(numbers, out=numbers)
        Loop(loop)(places.ctypes.data, size.ctypes.data, steps.ctypes.data, data)
        if not np.array_equal(found, ufunc(numbers)):
            return False
    number = ctypes.c_float if dtype == np.float32 else ctypes.c_double
    whole, place = ctypes.c_longlong, ctypes.c_void_p
    kinds = [*[ctypes.c_int] * 3, *[whole] * 3, number, place, whole, place, whole, number]
    gemm = ctypes.CFUNCTYPE(None, *kinds, place, whole)(products[0])
    a, n = numbers.ctypes.data, len(numbers)
    gemm(101, 111, 111, n, n, n, 1, a, n, a, n, 0, found.ctypes.data, n)
    return np.array_equal(found, numbers @ numbers)
