"""The stand-in offers only what the installed CuPy has: names, methods and parameters.

The comparison runs in a process of its own, for CuPy and its stand-in share the name `cupy`.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gpunet.testing import simgpu
from gpunet.testing.simgpu import names
from gpunet.testing.simgpu.functions import _KERNELS, _PRODUCTS, _READ_BACK, _VIEWS
from gpunet.testing.simgpu.namespace import CONTENTS
from gpunet.testing.simgpu.ufuncs import UFUNCS

cp = simgpu.cupy
CLASSES = (
    "ndarray",
    "ElementwiseKernel",
    "ReductionKernel",
    "RawKernel",
    "RawModule",
    "cuda.Device",
    "cuda.Event",
    "cuda.Graph",
    "cuda.MemoryPointer",
    "cuda.MemoryPool",
    "cuda.PinnedMemoryPool",
    "cuda.Stream",
    "random.Generator",
)
UNLISTED = {"__weakref__", "__slots__", "__dict__", "__annotations__"}


def own_names(cls: type) -> set[str]:
    """What the class defines itself, private names left out."""
    found = {name for base in cls.__mro__[:-1] for name in vars(base)} - set(dir(object))
    return {n for n in found if not n.startswith("_") or n.startswith("__")} - UNLISTED


def surplus_names(contents: dict[str, dict[str, Any]]) -> list[str]:
    """Names in the stand-in that CuPy has not."""
    from gpunet.testing.simgpu.make_allowlist import find

    found = [
        f"{path}.{name}"
        for path, offered in contents.items()
        for name in offered
        if not hasattr(find(path), name)
    ]
    for name in CLASSES:
        ours, theirs = standin(contents, name), find(f"cupy.{name}")
        found += [f"{name}.{n}" for n in sorted(own_names(ours)) if not hasattr(theirs, n)]
    return found


def standin(contents: dict[str, dict[str, Any]], name: str) -> Any:
    path, _, last = f"cupy.{name}".rpartition(".")
    return contents[path][last]


def surplus_parameters(contents: dict[str, dict[str, Any]]) -> list[str]:
    """Parameters in the stand-in's functions and methods that CuPy's have not."""
    from gpunet.testing.simgpu.make_allowlist import find

    pairs = [
        (f"{path}.{name}", value, getattr(find(path), name))
        for path, offered in contents.items()
        for name, value in offered.items()
        if inspect.isfunction(value) or name in ("Stream", "Event", "ElementwiseKernel")
    ]
    for name in CLASSES:
        ours, theirs = standin(contents, name), find(f"cupy.{name}")
        for method in own_names(ours):
            if inspect.isfunction(getattr(ours, method)) and not method.startswith("__"):
                pairs.append((f"{name}.{method}", getattr(ours, method), getattr(theirs, method)))
    return [problem for where, ours, theirs in pairs for problem in compare(where, ours, theirs)]


def compare(where: str, ours: Any, theirs: Any) -> list[str]:
    from gpunet.testing.simgpu.make_allowlist import parameters

    known = parameters(theirs)
    if known is None or any(name.startswith("*") and name != "*" for name in known):
        return []
    offered = [name for name in parameters(ours) or [] if not name.startswith("*")]
    return [f"{where}({name})" for name in offered if name not in [*known, "self"]]


def wrong_dtypes() -> list[str]:
    """Ufuncs whose result NumPy gives another dtype than CuPy's own table of types."""
    from gpunet.testing.simgpu.make_allowlist import find

    wrong = []
    for name, ours in UFUNCS.items():
        types = [text.split("->") for text in getattr(find("cupy"), name).types]
        for char in "?bilfd":
            fits = [out for ins, out in types if all(np.can_cast(char, t) for t in ins)]
            numpy_function = ours._function
            operands = [np.ones(2, char)] * ours.nin
            try:
                with np.errstate(all="ignore"):
                    result = numpy_function(*operands)
            except TypeError:
                continue
            results = result if isinstance(result, tuple) else (result,)
            if fits and "".join(r.dtype.char for r in results) != fits[0]:
                wrong.append(f"{name}({char}): {[r.dtype.char for r in results]}, CuPy {fits[0]}")
    return wrong


def current_list_differs() -> list[str]:
    """Owners whose names in allowlist.json are not those of this CuPy, if it is that version."""
    import cupy

    from gpunet.testing.simgpu.make_allowlist import make

    if cupy.__version__ != cp.__version__:
        return []
    made = make()["names"]
    return [path for path in made if made[path] != names.names_of(path)]


def planted() -> list[str]:
    """The checks on a stand-in with faults; each must be reported."""

    def sum_with_where(a: Any, axis: Any = None, where: Any = None) -> None: ...

    def insert(arr: Any) -> None: ...

    faulty = {**CONTENTS, "cupy": {**CONTENTS["cupy"], "insert": insert}}
    parameters = {"cupy": {**CONTENTS["cupy"], "sum": sum_with_where}}
    return [
        *surplus_names(faulty),
        *surplus_parameters({**CONTENTS, **parameters}),
    ]


CHECKS = {
    "names": lambda: surplus_names(CONTENTS),
    "parameters": lambda: surplus_parameters(CONTENTS),
    "dtypes": wrong_dtypes,
    "list": current_list_differs,
    "planted": planted,
}


@pytest.fixture(scope="module")
def report() -> dict[str, list[str]]:
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed, so there is nothing to compare with")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("check", ["names", "parameters", "dtypes", "list"])
def test_nothing_is_offered_that_cupy_lacks(report: dict[str, list[str]], check: str) -> None:
    assert report[check] == []


def test_planted_faults_are_reported(report: dict[str, list[str]]) -> None:
    assert report["planted"] == ["cupy.insert", "cupy.sum(where)"]


def test_a_name_that_is_not_implemented_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"simgpu does not implement cupy\.choose"):
        cp.choose  # noqa: B018
    with pytest.raises(NotImplementedError, match=r"cupy\.cuda\.runtime\.graphLaunch"):
        cp.cuda.runtime.graphLaunch  # noqa: B018


@pytest.mark.parametrize("name", ["insert", "spacing", "no_such_name"])
def test_a_name_that_cupy_lacks_is_no_attribute(name: str) -> None:
    assert not hasattr(cp, name)


@pytest.mark.parametrize(
    "name", ["__imatmul__", "__index__", "ctypes", "resize", "__array_prepare__"]
)
def test_an_attribute_that_cupys_array_lacks_is_missing(name: str) -> None:
    assert not hasattr(cp.zeros(1), name)


# CuPy's `pad` and `einsum` take any keyword.
TABLES = sorted({*_VIEWS, *_KERNELS, *_READ_BACK, *_PRODUCTS} - {"pad", "einsum"})


@pytest.mark.parametrize("name", TABLES)
def test_functions_from_tables_refuse_unknown_keywords(name: str) -> None:
    with pytest.raises(TypeError, match="nonsense"):
        getattr(cp, name)(cp.zeros(2), nonsense=1)


def test_the_drivers_errors_are_found_where_cupy_has_them() -> None:
    driver = cp.cuda.driver
    error = driver.CUDADriverError(driver.CUDA_ERROR_INVALID_VALUE)
    assert isinstance(error, RuntimeError)
    assert (str(error), error.status) == ("CUDA_ERROR_INVALID_VALUE: invalid argument", 1)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    with pytest.raises(NotImplementedError, match=r"cupy\.cuda\.driver\.launchKernel"):
        driver.launchKernel  # noqa: B018
    with simgpu.activate(), pytest.raises(ModuleNotFoundError):
        importlib.import_module("cupy.cuda.driver")  # in CuPy it is no module of this name


def test_activate_hides_and_restores() -> None:
    before = sys.modules.get("cupy")
    with simgpu.activate() as outer, simgpu.activate():
        import cupy
        from cupy.cuda import Stream

        assert cupy is outer is simgpu.cupy
        assert Stream is simgpu.cupy.cuda.Stream
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("cupy.no_such_module")
    assert sys.modules.get("cupy") is before
    assert not [name for name in sys.modules if name.startswith("cupy.")] or before is not None


if __name__ == "__main__":
    print(json.dumps({name: check() for name, check in CHECKS.items()}))
