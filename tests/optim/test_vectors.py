"""The vectors of UpdateKernel: 16 bytes of each array a thread, with the bits of one element a
thread; and what unclipped gradients must not pay for.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import cxx
from gpunet.optim.kernel import Arrays
from gpunet.source import expand
from gpunet.testing import simgpu
from tests.gpu.parity import row_of, state_of
from tests.optim.cases import BEFORE, FORMULAS, name_of

SIZE = 1032  # of more than one block of 256 threads, in float32 too
DTYPES = [np.float32, np.float64]


def apart(array: Any) -> Any:
    """The same numbers, with gaps: no vector lies in one piece."""
    wide = array.repeat(2)
    wide[::2] = array
    return wide[::2]


def shifted(array: Any) -> Any:
    """The same numbers, from a place where no vector begins."""
    return array[np.arange(-1, len(array))][1:]


def updated(optimizer: Any, start: Any, gradients: Any, cupy: Any, layout: Any) -> dict[str, Any]:
    state = {k: layout(a) for k, a in state_of(optimizer, cupy.asarray(start)).items()}
    for t, g in enumerate(gradients, 1):
        norm = cupy.asarray([np.linalg.norm(g.astype(np.float64))], g.dtype)
        arrays = Arrays(layout(cupy.asarray(g)), state)
        optimizer.kernel.update(arrays, row_of(optimizer, t, cupy, g.dtype), norm)
    return {name: a.get() for name, a in state.items()}


def numbers(dtype: Any, size: int = SIZE) -> tuple[Any, Any]:
    """A parameter's, and three gradients with zeros and a nan."""
    draw = np.random.default_rng(3)
    gradients = draw.standard_normal((3, size)) * (draw.random((3, size)) > 0.2)
    gradients[2, 5] = np.nan
    return draw.standard_normal(size).astype(dtype), gradients.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=name_of)
@pytest.mark.parametrize("case", FORMULAS + BEFORE, ids=name_of)
def test_vectors_give_the_bits_that_single_elements_give(case: Any, dtype: Any, cupy: Any) -> None:
    optimizer, (start, gradients) = gn.OPTIMIZERS[case[0]](**case[1]), numbers(dtype)
    with simgpu.trace() as calls:
        whole = updated(optimizer, start, gradients, cupy, lambda a: a)
    launched = [c.name for c in calls if c.name.startswith("gpunet_optim")]
    assert len(launched) == len(gradients)
    assert all("_vectors" in name for name in launched)
    single = updated(optimizer, start, gradients, cupy, apart)
    for name, array in whole.items():
        np.testing.assert_array_equal(array, single[name], err_msg=name)


@pytest.mark.parametrize(
    ("size", "layout"),
    [(SIZE - 1, "whole"), (3, "whole"), (SIZE, "apart"), (SIZE, "shifted")],
)
def test_what_is_not_of_whole_vectors_goes_one_by_one(size: int, layout: str, cupy: Any) -> None:
    start, gradients = numbers(np.float32, max(size, 6))
    start, gradients = start[:size], gradients[:, :size]
    layouts = {"whole": lambda a: a, "apart": apart, "shifted": shifted}
    with simgpu.trace() as calls:
        found = updated(gn.Adam(), start, gradients, cupy, layouts[layout])
    names = [c.name for c in calls if c.name.startswith("gpunet_optim")]
    assert len(names) == len(gradients)
    assert not any("_vectors" in name for name in names)
    # The same numbers inside an array of whole vectors.
    padded = np.zeros(-(-size // 4) * 4 + 4, np.float32)
    padded[:size] = start
    wide = np.pad(gradients, ((0, 0), (0, len(padded) - size)))
    expected = updated(gn.Adam(), padded, wide, cupy, lambda a: a)
    np.testing.assert_array_equal(found["param"], expected["param"][:size])


@pytest.mark.parametrize("shape", [(), (0,), (4, 8), (2, 2, 4)])
def test_arrays_of_any_shape(shape: tuple[int, ...], cupy: Any) -> None:
    expected = {"w": np.full(shape, 2.0, np.float32)}
    found = {"w": cupy.full(shape, 2.0, np.float32)}
    grad = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    gn.Momentum(lr=0.5).update(expected, {"w": grad})
    gn.Momentum(lr=0.5).update(found, {"w": cupy.asarray(grad)})
    np.testing.assert_array_equal(found["w"].get(), expected["w"])


def test_a_model_is_updated_by_vectors(cupy: Any) -> None:
    """Its arena is made of them, frozen parameters or not."""
    model = gn.MLP([5, 7, 3]).to("cuda")
    optimizer = gn.Adam(model.parameters(), weight_decay=0.1)
    for frozen in (False, True):
        model.parameters()[1].requires_grad = not frozen
        loss = gn.SoftmaxWithLoss()
        loss(model(cupy.ones((4, 5), np.float32)), cupy.zeros(4, np.int64)).backward()
        with simgpu.trace() as calls:
            optimizer.step()
        names = [c.name for c in calls if c.name.startswith("gpunet_optim_adam")]
        assert names
        assert all("_vectors" in name for name in names)


# Clipping that is off

COUNTED = """
#include "device.h"
int divisions;
struct Number {
    double is;
    Number(double is) : is(is) {}
    bool operator!=(Number o) const { return is != o.is; }
    bool operator<(Number o) const { return is < o.is; }
    Number operator-(Number o) const { return is - o.is; }
    Number operator+(Number o) const { return is + o.is; }
    Number operator/(Number o) const { ++divisions; return is / o.is; }
};
"""


def clip_scale(norm: float, clip_norm: float) -> tuple[float, int]:
    """The scale, and how many divisions it took."""
    usable, reason = cxx.available()
    if not usable:
        pytest.skip(reason)
    calls = """
extern "C" double scale(double norm, double clip_norm) {
    divisions = 0;
    return clip_scale(Number(norm), Number(clip_norm)).is;
}
extern "C" int divided() { return divisions; }
"""
    # The function alone: the file's others want more of a number.
    text = expand(["optim/prelude.cuh"])
    function = text[text.index("template <typename T> __device__ __forceinline__ T clip_scale") :]
    function = function[: function.index("\n}") + 3]
    library = cxx.compile_shared(COUNTED + function + calls, name="clip_scale")
    library.scale.restype = ctypes.c_double
    return library.scale(ctypes.c_double(norm), ctypes.c_double(clip_norm)), library.divided()


@pytest.mark.parametrize("norm", [0.0, 1.0, np.inf, np.nan])
def test_nothing_is_divided_without_clipping(norm: float) -> None:
    assert clip_scale(norm, np.inf) == (1.0, 0)


@pytest.mark.parametrize(
    ("norm", "clip_norm", "scale"), [(10, 5, 0.5), (2, 5, 1), (np.nan, 5, 1), (0, 5, 1)]
)
def test_the_scale_of_clipped_gradients(norm: float, clip_norm: float, scale: float) -> None:
    found, divisions = clip_scale(norm, clip_norm)
    assert found == pytest.approx(scale, rel=1e-6)
    assert divisions == 1
