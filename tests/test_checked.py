"""gpunet.checked: a setting refuses later what the constructor refuses, with the same words."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest

import gpunet as gn

NAN, INF = math.nan, math.inf


def trainer(**options: Any) -> gn.Trainer:
    model = gn.Sequential(gn.Affine(2, 2))
    return gn.Trainer(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters(), lr=0.1), **options)


SETTINGS: dict[str, tuple[Callable[..., Any], str, Any, list[Any]]] = {
    "p must lie in [0, 1]": (gn.Dropout, "p", 0.25, [2.0, -0.1, NAN, "1", None]),
    "seed must be a whole number": (
        lambda v: gn.Dropout(0.5, v), "seed", 7, [-1, 2**64, 0.5, True, "s"],
    ),
    "momentum must lie in [0, 1]": (
        lambda v: gn.BatchNorm(2, v), "momentum", 0.3, [-0.1, 1.1, NAN, "a"],
    ),
    "eps must be at least 0 and finite": (
        lambda v: gn.BatchNorm(2, eps=v), "eps", 1e-3, [-1e-5, NAN, INF, None],
    ),
    "scale must be a finite number": (gn.Rescale, "scale", 0.5, [INF, NAN, "1", None, [1.0]]),
    "label_smoothing must lie in [0, 1)": (
        gn.SoftmaxWithLoss, "label_smoothing", 0.1, [1.5, 1.0, -0.1, NAN, "0"],
    ),
    "class_weights must be a row of finite numbers": (
        lambda v: gn.SoftmaxWithLoss(class_weights=v),
        "class_weights",
        [1.0, 2.0],
        [[1, -1], [1, NAN], [[1, 1]], 1.0, []],
    ),
    'reduction must be "mean" or "half_sum"': (
        gn.MeanSquaredError, "reduction", "half_sum", ["sum", None],
    ),
    'on_nonfinite must be "raise", "warn" or "ignore"': (
        lambda v: trainer(on_nonfinite=v), "on_nonfinite", "warn", ["stop", None, True],
    ),
    'capture must be True, False or "auto"': (
        lambda v: trainer(capture=v), "capture", True, ["yes", None, 2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", SETTINGS)
def test_a_setting_refuses_later_what_the_constructor_refuses(words: str) -> None:
    make, name, good, bad = SETTINGS[words]
    layer = make(good)
    before = getattr(layer, name)
    for value in bad:
        with pytest.raises(ValueError, match=re.escape(words)) as at_first:
            make(value)
        with pytest.raises(ValueError, match=re.escape(words)) as later:
            setattr(layer, name, value)
        assert str(later.value) == str(at_first.value)
        assert getattr(layer, name) is before


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_settings_are_copied_and_checked_in_the_copy(copied: Callable[[Any], Any]) -> None:
    layer = copied(gn.Dropout(0.25))
    assert layer.p == 0.25
    with pytest.raises(ValueError, match="p must lie in"):
        layer.p = 2


def test_a_capture_sees_a_setting_that_was_changed() -> None:
    layer = gn.Dropout(0.25)
    state = layer.dependencies()
    before = state()
    layer(gn.Tensor([[1.0]]))  # counts a call, which is no setting
    assert state() == before
    layer.p = 0.5
    assert state() != before
