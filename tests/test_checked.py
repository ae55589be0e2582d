"""gpunet.checked: a setting refuses later what the constructor refuses, with the same words."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import gpunet as gn

SETTINGS: dict[str, tuple[Callable[..., Any], str, Any, list[Any]]] = {
    "Dropout.p": (lambda v: gn.Dropout(v), "p", 0.25, [2.0, -0.1, float("nan"), "1", None]),
    "Dropout.seed": (lambda v: gn.Dropout(0.5, v), "seed", 7, [-1, 2**64, 0.5, True]),
    "BatchNorm.momentum": (lambda v: gn.BatchNorm(2, v), "momentum", 0.3, [-1, 1.5, "a"]),
    "BatchNorm.eps": (lambda v: gn.BatchNorm(2, eps=v), "eps", 1e-3, [-1e-9, float("inf"), None]),
    "Rescale.scale": (gn.Rescale, "scale", 0.5, [float("inf"), float("nan"), "2"]),
    "SoftmaxWithLoss.label_smoothing": (
        gn.SoftmaxWithLoss,
        "label_smoothing",
        0.1,
        [1.5, 1.0, -0.1, float("nan"), "0"],
    ),
    "SoftmaxWithLoss.class_weights": (
        lambda v: gn.SoftmaxWithLoss(class_weights=v),
        "class_weights",
        [1.0, 2.0],
        [[1.0, -1.0], [[1.0]], [], [float("nan")]],
    ),
    "MeanSquaredError.reduction": (gn.MeanSquaredError, "reduction", "half_sum", ["sum", None]),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_refuses_later_what_the_constructor_refuses(name: str) -> None:
    make, setting, good, bad = SETTINGS[name]
    layer = make(good)
    before = getattr(layer, setting)
    for value in bad:
        if name == "Dropout.seed" and value is None:
            continue
        with pytest.raises(ValueError, match=f"^{setting} must ") as at_first:
            make(value)
        with pytest.raises(ValueError, match=f"^{setting} must ") as later:
            setattr(layer, setting, value)
        assert str(later.value) == str(at_first.value)
        assert getattr(layer, setting) is before


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_settings_are_copied_and_checked_in_the_copy(copied: Callable[[Any], Any]) -> None:
    layer = copied(gn.Dropout(0.25))
    assert layer.p == 0.25
    with pytest.raises(ValueError, match="p must lie in"):
        layer.p = 2


def test_a_recording_sees_a_setting_that_was_changed() -> None:
    layer = gn.Dropout(0.25)
    state = layer.structure()
    before = state()
    layer(gn.Tensor([[1.0]]))  # counts a call, which is no setting
    assert state() == before
    layer.p = 0.5
    assert state() != before
