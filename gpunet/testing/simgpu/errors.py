"""The errors that CUDA reports, with the numbers, names and words that CuPy shows."""

from __future__ import annotations

_ERRORS = {
    1: ("cudaErrorInvalidValue", "invalid argument"),
    2: ("cudaErrorMemoryAllocation", "out of memory"),
    101: ("cudaErrorInvalidDevice", "invalid device ordinal"),
    400: ("cudaErrorInvalidResourceHandle", "invalid resource handle"),
    401: (
        "cudaErrorIllegalState",
        "the operation cannot be performed in the present state",
    ),
    700: ("cudaErrorIllegalAddress", "an illegal memory access was encountered"),
    900: (
        "cudaErrorStreamCaptureUnsupported",
        "operation not permitted when stream is capturing",
    ),
    901: (
        "cudaErrorStreamCaptureInvalidated",
        "operation failed due to a previous error during capture",
    ),
    902: (
        "cudaErrorStreamCaptureMerge",
        "operation would result in a merge of separate capture sequences",
    ),
    903: (
        "cudaErrorStreamCaptureUnmatched",
        "capture was not ended in the same stream as it began",
    ),
    904: (
        "cudaErrorStreamCaptureUnjoined",
        "capturing stream has unjoined work",
    ),
    905: (
        "cudaErrorStreamCaptureIsolation",
        "dependency created on uncaptured work in another stream",
    ),
    906: (
        "cudaErrorStreamCaptureImplicit",
        "operation would make the legacy stream depend on a capturing blocking stream",
    ),
    907: (
        "cudaErrorCapturedEvent",
        "operation not permitted on an event last recorded in a capturing stream",
    ),
}

INVALID_VALUE = 1
MEMORY_ALLOCATION = 2
INVALID_DEVICE = 101
INVALID_RESOURCE_HANDLE = 400
ILLEGAL_STATE = 401
ILLEGAL_ADDRESS = 700
CAPTURE_UNSUPPORTED = 900
CAPTURE_INVALIDATED = 901
CAPTURE_MERGE = 902
CAPTURE_UNMATCHED = 903
CAPTURE_UNJOINED = 904
CAPTURE_ISOLATION = 905
CAPTURE_IMPLICIT = 906
CAPTURED_EVENT = 907


class CUDARuntimeError(RuntimeError):
    """A call to CUDA failed; `status` is CUDA's number of the error."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(": ".join(_ERRORS[status]))

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return type(self), (self.status,)


# What the driver reports, by its own numbers: CuPy launches RawKernels by it.
_DRIVER_ERRORS = {
    1: ("CUDA_ERROR_INVALID_VALUE", "invalid argument"),
    500: ("CUDA_ERROR_NOT_FOUND", "named symbol not found"),
    701: ("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"),
}

DRIVER_INVALID_VALUE = 1
DRIVER_NOT_FOUND = 500
DRIVER_OUT_OF_RESOURCES = 701


class CUDADriverError(RuntimeError):
    """CUDA's driver refused a call; `status` is its number of the error."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(": ".join(_DRIVER_ERRORS[status]))

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return type(self), (self.status,)


class OutOfMemoryError(MemoryError):
    """A memory pool would grow past its limit."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        self._size, self._total, self._limit = size, total, limit
        message = f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes"
        message += f", limit set to: {limit:,} bytes)." if limit else ")."
        super().__init__(message)

    def __reduce__(self) -> tuple[type, tuple[int, int, int]]:
        return type(self), (self._size, self._total, self._limit)
