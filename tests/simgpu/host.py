"""Kernels on NumPy arrays: each is copied to the simulated GPU for a launch, and back after it."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

_FAILED = re.compile(
    r"(?:(?P<file>[^\s:]+):(?P<line>\d+): )?kernel (?P<kernel>.*), block \((?P<block>[^)]*)\)"
    r"(?:, thread \((?P<thread>[^)]*)\))?: "
)


class KernelError(Exception):
    """A kernel failed: where, and in which thread. Read from the words of CuPy's exception."""

    def __init__(self, message: str) -> None:
        match = _FAILED.search(message)
        assert match, message
        super().__init__(message[match.start() :])
        self.file, self.line, self.kernel = match["file"], int(match["line"] or 0), match["kernel"]
        self.block = tuple(map(int, match["block"].split(",")))
        self.thread = tuple(map(int, match["thread"].split(","))) if match["thread"] else None


@dataclass
class OnDevice:
    """A NumPy array that a kernel is to see."""

    host: np.ndarray


on_device = OnDevice


class Kernel:
    """A RawKernel that takes such arrays among its arguments."""

    def __init__(self, kernel: Any) -> None:
        vars(self)["kernel"] = kernel

    def __call__(self, grid: Any, block: Any, args: Any, **options: Any) -> None:
        cp = importlib.import_module("cupy")
        given = [cp.asarray(a.host) if isinstance(a, OnDevice) else a for a in args]
        try:
            self.kernel(grid, block, tuple(given), **options)
            cp.cuda.Device().synchronize()
        except (cp.cuda.driver.CUDADriverError, cp.cuda.runtime.CUDARuntimeError) as error:
            if _FAILED.search(str(error)):
                raise KernelError(str(error)) from error
            raise
        finally:
            for mirror, array in zip(args, given, strict=True):
                if isinstance(mirror, OnDevice):
                    mirror.host[...] = array.get()

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["kernel"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.kernel, name, value)


def RawKernel(code: str, name: str, *arguments: Any) -> Kernel:
    return Kernel(importlib.import_module("cupy").RawKernel(code, name, *arguments))


class RawModule:
    """A RawModule of such kernels."""

    def __init__(self, code: str, name_expressions: list[str]) -> None:
        cp = importlib.import_module("cupy")
        self.module = cp.RawModule(code=code, name_expressions=name_expressions)

    def get_function(self, name: str) -> Kernel:
        return Kernel(self.module.get_function(name))

    def compile(self) -> None:
        self.module.compile()
