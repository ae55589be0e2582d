"""`cupy.RawKernel` and `cupy.RawModule` on the emulator: CuPy's rules for arguments and launches.

A GPU reads as many bytes of an argument as the parameter has, whatever was passed; here an argument
of another size or kind is an error, and so is a wrong number of arguments. A grid of zero blocks
is one block, as in CuPy's `Function.__call__`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np

from . import emulator, errors
from .array import ndarray
from .compiler import CompileException
from .device import PROPERTIES
from .emulator import Kernel, Parameter
from .errors import CUDADriverError
from .launching import launch

MAX_THREADS = 1024

_LAUNCH_BOUNDS = re.compile(
    r"__launch_bounds__\s*\(\s*(?P<threads>\d+)[^()]*\)\s*(?:\w+\s+)*?(?P<name>\w+)\s*\("
)
_KIND_OF_SCALAR = {"b": "i", "i": "i", "u": "i", "f": "f"}


class RawKernel:
    """A kernel in CUDA C, compiled at its first launch; see `cupy.RawKernel`.

    `code` must declare the kernel `name` as `extern "C" __global__`.
    """

    def __init__(
        self,
        code: str,
        name: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        *,
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        jitify: bool | None = None,
    ) -> None:
        _check_types(code=(code, str), name=(name, str), options=(options, tuple))
        _refuse(translate_cucomplex, "translate_cucomplex")
        _refuse(enable_cooperative_groups, "enable_cooperative_groups")
        _refuse(bool(jitify), "jitify")
        self.code, self.name, self.options, self.backend = code, name, options, backend
        self.enable_cooperative_groups = enable_cooperative_groups
        self.file_path = None
        self.__name__ = name
        self._compiled: Kernel | None = None
        self._dynamic_limit: int = PROPERTIES["sharedMemPerBlock"]

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        """Launch `grid` blocks of `block` threads (1 to 3 sizes each) with `shared_mem` bytes.

        The arguments' bytes are taken now, so a captured launch keeps its scalars.
        """
        _check_types(grid=(grid, tuple), block=(block, tuple))
        kernel = self._kernel()
        blocks, threads = _three(grid), _three(block)
        self._check_launch(blocks, threads, shared_mem)
        arguments = pack_arguments(kernel, args)
        optin = self._dynamic_limit > emulator.STATIC_SHARED_LIMIT
        limit = PROPERTIES["sharedMemPerBlockOptin" if optin else "sharedMemPerBlock"]

        def run() -> None:
            kernel.launch(blocks, threads, arguments, dynamic_shared=shared_mem, shared_limit=limit)

        launch(self.name, run, [arg._view for arg in args if isinstance(arg, ndarray)], stream)

    def compile(self, log_stream: TextIO | None = None) -> None:
        """Compile now instead of at the first launch; `log_stream` gets no text."""
        self._kernel()

    @property
    def kernel(self) -> RawKernel:
        """This kernel, compiled."""
        self._kernel()
        return self

    @property
    def attributes(self) -> dict[str, int]:
        """The kernel's attributes by name; -1 stands for what only a GPU's compiler knows."""
        unknown = (
            "shared_size_bytes",
            "const_size_bytes",
            "local_size_bytes",
            "num_regs",
            "ptx_version",
            "binary_version",
            "cache_mode_ca",
            "preferred_shared_memory_carveout",
        )
        return {
            "max_threads_per_block": self.max_threads_per_block,
            "max_dynamic_shared_size_bytes": self.max_dynamic_shared_size_bytes,
            **dict.fromkeys(unknown, -1),
        }

    @property
    def max_threads_per_block(self) -> int:
        """1024, or fewer where the kernel has `__launch_bounds__` with a plain number."""
        self._kernel()
        name = self.name.partition("<")[0].rpartition("::")[2]
        bounds = [m for m in _LAUNCH_BOUNDS.finditer(self.code) if m["name"] == name]
        return min([MAX_THREADS, *(int(m["threads"]) for m in bounds)])

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """The most dynamic shared memory of a launch: 48 KiB unless raised by setting this."""
        self._kernel()
        return self._dynamic_limit

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        self._kernel()
        if not 0 <= size <= PROPERTIES["sharedMemPerBlockOptin"]:
            raise CUDADriverError(errors.DRIVER_INVALID_VALUE)
        self._dynamic_limit = size

    def _kernel(self) -> Kernel:
        if self._compiled is None:
            try:
                kernel = _build(self.code, (self.name,), self.options)[self.name]
            except LookupError as error:
                raise CUDADriverError(errors.DRIVER_NOT_FOUND) from error
            if not kernel.is_extern_c:
                raise CUDADriverError(errors.DRIVER_NOT_FOUND)
            self._compiled = kernel
        return self._compiled

    def _check_launch(
        self, grid: tuple[int, int, int], block: tuple[int, int, int], shared_mem: int
    ) -> None:
        threads = block[0] * block[1] * block[2]
        if shared_mem < 0:
            raise OverflowError("can't convert negative value to size_t")
        if (
            any(n > limit for n, limit in zip(grid, PROPERTIES["maxGridSize"], strict=True))
            or any(n > limit for n, limit in zip(block, PROPERTIES["maxThreadsDim"], strict=True))
            or threads > MAX_THREADS
            or shared_mem > self._dynamic_limit
        ):
            raise CUDADriverError(errors.DRIVER_INVALID_VALUE)
        if threads > self.max_threads_per_block:
            raise CUDADriverError(errors.DRIVER_OUT_OF_RESOURCES)


class RawModule:
    """CUDA C text with several kernels; see `cupy.RawModule`.

    Template kernels are named by `name_expressions` (`"f<float, 32>"`), others by their
    `extern "C"` names.
    """

    def __init__(
        self,
        *,
        code: str | None = None,
        path: str | None = None,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
        jitify: bool | None = None,
    ) -> None:
        if (code is None) == (path is None):
            raise TypeError("Exactly one of `code` and `path` keyword arguments must be given.")
        if code is None:
            raise NotImplementedError("the simulated GPU cannot load compiled code (path=...)")
        _check_types(code=(code, str), options=(options, tuple))
        if name_expressions is not None and backend != "nvrtc":
            raise ValueError(
                "only nvrtc supports retrieving the mangled names for the given name expressions"
            )
        _refuse(translate_cucomplex, "translate_cucomplex")
        _refuse(enable_cooperative_groups, "enable_cooperative_groups")
        _refuse(bool(jitify), "jitify")
        self.code, self.options, self.backend = code, options, backend
        self.enable_cooperative_groups = enable_cooperative_groups
        self.name_expressions = None if name_expressions is None else tuple(name_expressions)
        self.file_path = None
        self._compiled: dict[str, Kernel] | None = None

    def get_function(self, name: str) -> RawKernel:
        """The kernel `name`, with attributes of its own."""
        _check_types(name=(name, str))
        compiled = self._kernels()
        kernel = RawKernel(self.code, name, self.options, self.backend)
        kernel._compiled = compiled.get(name)
        kernel._kernel()
        return kernel

    def get_global(self, name: str) -> Any:
        """Not simulated: a pointer to a `__device__` or `__constant__` variable."""
        raise NotImplementedError("the simulated GPU has no pointers to a module's variables")

    def compile(self, log_stream: TextIO | None = None) -> None:
        """Compile now instead of at the first `get_function`; `log_stream` gets no text."""
        self._kernels()

    @property
    def module(self) -> RawModule:
        """This module, compiled."""
        self._kernels()
        return self

    def _kernels(self) -> dict[str, Kernel]:
        if self._compiled is None:
            names = self.name_expressions or ()
            try:
                self._compiled = _build(self.code, names, self.options)
            except LookupError as error:
                message = f"Error in parsing name expression: {error.args[0]}"
                raise CompileException(message, self.code, "module", self.options) from error
        return self._compiled


def pack_arguments(kernel: Kernel, args: Sequence[Any]) -> tuple[bytes, ...]:
    """The bytes of each argument, checked against the kernel's parameters.

    Raises TypeError for a wrong number, size or kind of arguments; a GPU would read garbage.
    """
    parameters = kernel.parameters
    if len(args) != len(parameters):
        raise TypeError(f"{kernel.name} takes {len(parameters)} arguments, {len(args)} were given")
    packed = []
    for number, (argument, parameter) in enumerate(zip(args, parameters, strict=True)):
        data, kind = pack(argument)
        if len(data) != parameter.size or not _kinds_agree(kind, parameter):
            raise TypeError(
                f"{kernel.name}: argument {number} is {_describe(argument, data)}, "
                f"its parameter is a {parameter}"
            )
        packed.append(data)
    return tuple(packed)


def pack(argument: Any) -> tuple[bytes, str]:
    """What CuPy puts into a kernel's parameter, and its kind (see `Parameter`; "o" for unknown).

    A device array or pointer by address; NumPy scalars and arrays of one element by value; Python
    numbers as int64, float64, complex128 and bool.
    """
    pointer = _address(argument)
    if pointer is not None:
        return pointer.to_bytes(8, "little"), "p"
    if isinstance(argument, np.ndarray):
        if argument.size != 1:
            raise TypeError(
                f"You are trying to pass a numpy.ndarray of shape {argument.shape} as a kernel "
                "parameter. Only numpy.ndarrays of size one can be passed by value. If you meant "
                "to pass a pointer to __global__ memory, you need to pass a cupy.ndarray instead."
            )
        value = argument
    elif type(argument) in (bool, int, float, complex):
        value = np.asarray(argument, dtype=_dtype_of(argument))
    elif isinstance(argument, np.generic):
        value = np.asarray(argument)
    else:
        raise TypeError(f"Unsupported type {type(argument)}")
    return value.tobytes(), _KIND_OF_SCALAR.get(value.dtype.kind, "o")


def _address(argument: Any) -> int | None:
    """The device address that `argument` stands for, if any."""
    if argument is None:
        return 0
    if isinstance(argument, np.ndarray | np.generic):
        return None
    for holder in (argument, getattr(argument, "data", None)):
        ptr = getattr(holder, "ptr", None)
        if isinstance(ptr, int):
            return ptr
    return None


def _dtype_of(number: bool | int | float | complex) -> str:
    if type(number) is int:
        return "uint64" if number >= 1 << 63 else "int64"
    return {bool: "bool", float: "float64", complex: "complex128"}[type(number)]


def _kinds_agree(kind: str, parameter: Parameter) -> bool:
    """Whether a value may stand for a parameter of its size: an address is an integer, too."""
    return (
        kind == parameter.kind
        or "o" in (kind, parameter.kind)
        or (kind == "i" and parameter.kind == "p")
    )


def _describe(argument: Any, data: bytes) -> str:
    dtype = getattr(argument, "dtype", None)
    name = type(argument).__name__ if dtype is None else f"{type(argument).__name__} ({dtype})"
    return f"a {name} of {len(data)} bytes"


def _three(sizes: tuple[int, ...]) -> tuple[int, int, int]:
    """CuPy's reading of a grid or block: three sizes, missing and non-positive ones are 1."""
    x, y, z = (max(1, int(n)) for n in (*sizes, 1, 1)[:3])
    return x, y, z


def _build(code: str, names: Sequence[str], options: Sequence[str]) -> dict[str, Kernel]:
    label = re.sub(r"\W+", "_", names[0]).strip("_") if names else "module"
    return emulator.build(code, names, options=options, file=f"{label}.cu")


def _check_types(**arguments: tuple[Any, type]) -> None:
    for name, (value, wanted) in arguments.items():
        if not isinstance(value, wanted):
            raise TypeError(
                f"Argument '{name}' has incorrect type "
                f"(expected {wanted.__name__}, got {type(value).__name__})"
            )


def _refuse(wanted: bool, what: str) -> None:
    if wanted:
        raise NotImplementedError(f"the simulated GPU does not have {what}")
