"""gpunet.kernel: rule 1 (one signature), what CuPy is given, and the cache of built kernels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import activations, counters, embedding, functional
from gpunet.fused import on_cupy, resident
from gpunet.kernel import BlockKernel, Kernel
from gpunet.optim import kernel as updates
from gpunet.optim.scalars import names_of
from gpunet.source import kernel_dir

MODULES = (functional, activations, updates)
OTHERS = [v for m in MODULES for v in vars(m).values() if isinstance(v, Kernel)]
LAUNCHING = (on_cupy, resident, counters, embedding)
LAUNCHED = [v for m in LAUNCHING for v in vars(m).values() if isinstance(v, Kernel)]


@pytest.mark.parametrize("kernel", OTHERS, ids=lambda k: k.source.name)
def test_header_inputs_are_the_reference_inputs_in_order(kernel: Kernel) -> None:
    if isinstance(kernel.reference, np.ufunc):  # its arguments have no names
        assert len(kernel.source.inputs) == kernel.reference.nin
    else:
        header = [p.name for p in (*kernel.source.inputs, *kernel.source.numbers)]
        one = [name for name in header if name != "drops"]  # several models' masks: Drops.kept
        assert tuple(one) == names_of(kernel.reference)
    assert kernel.source.scalars == ()


@pytest.mark.parametrize("kernel", LAUNCHED, ids=lambda k: k.source.name)
def test_a_launch_names_all_that_the_header_names(kernel: Kernel) -> None:
    """Checked before anything is built or launched."""
    where = (np.float32, (1, 1)) if isinstance(kernel, BlockKernel) else ()
    names = dict.fromkeys([p.name for p in kernel.source.signature][1:])
    for wrong in (names, names | {"other": None}):
        with pytest.raises(TypeError, match=f"takes {kernel.source.signature[0].name}"):
            kernel.launch(CountingCupy(), *where, **wrong)
    with pytest.raises(TypeError, match=r"has no NumPy reference|needs a grid"):
        kernel(np.zeros(1))


def test_what_cupy_is_given_for_a_reduction() -> None:
    text = updates.norm_of.text()
    assert text.kind == "ReductionKernel"
    assert text.arguments[:2] == ("T x", "float64 y")
    assert text.arguments[3:] == ("a + b", "y = sqrt(a)", "0")


BLOCKS = """\
// Every thread takes one column.
// threads: 4, 2
// in:  T* x, int64* clock
// numbers: int64 n, T scale,
//      uint64 seed
// out: T* y
if (threadIdx.x < n) y[threadIdx.x] = x ? x[threadIdx.x] * scale + T(clock[0] + seed) : T(n);
"""


def block_kernel(folder: Any) -> BlockKernel:
    (folder / "blocks.cu").write_text(BLOCKS, "utf-8")
    return BlockKernel(folder / "blocks.cu")


def test_what_cupy_is_given_for_a_block_kernel(tmp_path: Any) -> None:
    text = block_kernel(tmp_path).text(dtype="float64")
    assert (text.kind, text.name) == ("RawKernel", "gpunet_blocks")
    code = text.arguments[0]
    assert code.startswith("typedef double T;\n")
    assert "__launch_bounds__(8, 1)" in code
    assert (
        "gpunet_blocks(const T* x, const long long* clock, long long n, T scale, "
        "unsigned long long seed, T* y) {\n"
    ) in code
    assert '#line 7 "blocks.cu"\nif (threadIdx.x < n)' in code


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_block_kernel_is_launched_with_what_its_header_says(
    dtype: str, tmp_path: Any, cp: Any
) -> None:
    kernel, y = block_kernel(tmp_path), cp.zeros(3, dtype)
    x, clock = cp.asarray(np.array([1, 2, 3], dtype)), cp.asarray(np.array([10, 0]))
    for _ in range(2):  # built, then found
        kernel.launch(cp, y.dtype, (1,), x=x, clock=clock, n=2, scale=0.5, seed=2**33, y=y)
    assert y.tolist() == np.array([10.5 + 2**33, 11 + 2**33, 0], dtype).tolist()
    kernel.launch(cp, y.dtype, (1,), y=y, seed=0, scale=0.5, n=3, clock=clock, x=None)
    assert y.tolist() == [3, 3, 3]
    with pytest.raises(TypeError, match=r"<BlockKernel blocks\.cu> needs a grid"):
        kernel(x)


def test_a_block_kernel_needs_the_size_of_its_blocks() -> None:
    with pytest.raises(ValueError, match=r"gather\.cu: .* `// threads: 32, 8`"):
        BlockKernel(kernel_dir() / "nn/gather.cu")
    with pytest.raises(ValueError, match=r"kernels/nn/gather\.cu: .* `// threads: 32, 8`"):
        BlockKernel("nn/gather").launch(CountingCupy(), np.float32, (1,))


def test_eight_threads_build_a_block_kernel_once_for_each_dtype(tmp_path: Any) -> None:
    cupy, start, kernel = CountingCupy(), Barrier(8), block_kernel(tmp_path)

    def launch(_: int) -> None:
        start.wait()
        for dtype in (np.dtype("float32"), np.dtype("float64")):
            kernel.launch(cupy, dtype, (1, 1), x=None, clock=None, n=1, scale=1.0, seed=0, y=None)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(launch, range(8)))
    assert cupy.made == ["gpunet_blocks"] * 2
    blocks, kinds = zip(*((block, type(a[3])) for block, *a in cupy.launched), strict=True)
    assert set(blocks) == {(4, 2)}
    assert [kinds.count(kind) for kind in (np.float32, np.float64)] == [8, 8]


class CountingCupy(ModuleType):
    """Stands for CuPy; counts the kernels made."""

    def __init__(self) -> None:
        super().__init__("counting_cupy")
        self.made: list[str] = []
        self.launched: list[Any] = []

    def ElementwiseKernel(self, *arguments: str, name: str, preamble: str) -> object:
        sleep(0.01)  # time for another thread to come in between
        self.made.append(name)
        return object()

    def RawKernel(self, code: str, name: str) -> Any:
        sleep(0.01)
        self.made.append(name)
        return lambda grid, block, arguments: self.launched.append((block, *arguments))


def test_eight_threads_build_a_kernel_once() -> None:
    cupy, start = CountingCupy(), Barrier(8)

    def build(_: int) -> Any:
        start.wait()
        return [gn.RMSProp.kernel.built(cupy, frozenset(o)) for o in ((), ("centered",))]

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(build, range(8)))
    assert sorted(cupy.made) == ["gpunet_optim_rmsprop", "gpunet_optim_rmsprop_centered"]
    assert all(kernels == found[0] for kernels in found)


def test_called_with_arrays_it_picks_by_their_type(xp: Any) -> None:
    kernel, relu = activations.ACTIVATE, activations.NUMBERS["relu"]
    y = kernel(xp.asarray(np.array([-1.0, 2.0], np.float32)), relu, 0.0)
    assert type(y) is xp.ndarray
    assert y.tolist() == [0.0, 2.0]
    assert repr(kernel) == "<Kernel kernels/nn/activate.cu>"
