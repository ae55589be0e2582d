"""gpunet.normal: the normal distribution beside Python's erfc."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpunet.normal import normal_cdf


@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 200), (np.float64, 300)])
def test_to_a_few_units_in_the_last_place(dtype: type, bound: float) -> None:
    """Of the small number itself on the left, where its exponent costs x^2 / 2 roundings."""
    x = np.linspace(-12, 12, 24001).astype(dtype)
    exact = np.array([math.erfc(-float(v) / math.sqrt(2)) / 2 for v in x])
    found = normal_cdf(x)
    assert found.dtype == dtype
    error = abs(found - exact) / exact / np.finfo(dtype).eps
    assert error[abs(x) < 1].max() < 12
    assert error.max() < bound


def test_far_out_and_in_the_middle() -> None:
    with np.errstate(all="raise", under="ignore"):
        assert normal_cdf(np.array([0.0, -1e5, 1e5])).tolist() == [0.5, 0.0, 1.0]
        assert normal_cdf(np.array([], np.float32)).shape == (0,)
        assert np.isnan(normal_cdf(np.array([np.nan])))[0]
