"""How many bits float32 products on a GPU are computed with."""

from __future__ import annotations

# The compute types of cuBLAS's C interface (cublas_api.h): CUBLAS_COMPUTE_32F and its FAST forms.
COMPUTE = {"float32": 68, "tf32": 77, "bfloat16": 75}
COMPUTE_64F = 70

_precision = "float32"


def precision() -> str:
    """How float32 products are computed on GPUs now: "float32", "tf32" or "bfloat16"."""
    return _precision


class matmul_precision:
    """Compute float32 products on GPUs with fewer bits, and faster; for all threads.

    gn.matmul_precision("tf32")  # from here on
    with gn.matmul_precision("bfloat16"):  # inside the block
        ...

    cuBLAS rounds the operands as it reads them; sums and results stay float32. What that adds to
    the error of an element, as a part of (abs(a) @ abs(b)):

    - "float32", the default: nothing.
    - "tf32", 10 bits of mantissa: 5e-4 or less as a rule, 1e-3 at most.
    - "bfloat16", 7 bits: 4e-3 or less as a rule, 1e-2 at most.

    Errors of random sign cancel, so long sums fare better. It has no effect on the CPU, on float64,
    and on what `product` leaves to CuPy; GPUs before Ampere have neither format. A captured graph
    keeps the precision that it was captured with.

    Raises:
        ValueError: another word.
    """

    def __init__(self, name: str) -> None:
        if name not in COMPUTE:
            raise ValueError(
                f'matmul_precision must be "float32", "tf32" or "bfloat16", got {name!r}'
            )
        self._before = _precision
        _set_precision(name)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        _set_precision(self._before)


def _set_precision(name: str) -> None:
    global _precision
    _precision = name


def compute_type(kind: str, capability: int) -> int:
    """cuBLAS's number for products of a dtype's character, "f" or "d", on a GPU of this compute
    capability, 90 for 9.0. GPUs before Ampere have only float32, and may refuse the others.
    """
    if kind == "d":
        return COMPUTE_64F
    return COMPUTE[_precision if capability >= 80 else "float32"]
