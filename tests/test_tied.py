"""gpunet.tied: a parameter that two layers have is one after saving and loading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.containers import describe
from gpunet.sealing import seal


class Boxed(gn.Layer):
    """One whose parameters lie in boxes."""

    def __init__(self) -> None:
        self.boxes = {"a": [gn.Parameter(np.ones((3, 3), "f4"))]}

    def call(self, x: Any) -> Any:
        return x @ self.boxes["a"][0]

    def config(self) -> dict[str, Any]:
        return {}


def test_a_parameter_of_two_layers_is_one_after_loading(tmp_path: Path) -> None:
    first, second, boxed = gn.Affine(3, 3), gn.Affine(3, 3), Boxed()
    second.W = boxed.boxes["a"][0] = first.W
    model = gn.Sequential(first, gn.Sequential(gn.ReLU(), second), boxed, first)
    gn.save(model, tmp_path / "m")
    again: Any = gn.load(tmp_path / "m", layers=[Boxed])
    assert again[0].W is again[1][1].W is again[2].boxes["a"][0]
    assert again[0].b is not again[1][1].b
    assert len(again.parameters()) == len(model.parameters()) == 3
    gn.save(again, tmp_path / "n")
    assert (tmp_path / "m").read_bytes() == (tmp_path / "n").read_bytes()
    x = np.ones((2, 3), "f4")
    assert np.array_equal(again(x).data, model(x).data)


@pytest.mark.parametrize("tied", [[["0.W", "gone"]], [["0.W", "0.b"]], [[]], 7, [[1, 2]]])
def test_parameters_that_cannot_be_one(tied: Any, tmp_path: Path) -> None:
    model = gn.Sequential(gn.Affine(3, 3))
    words = {"model": json.dumps(describe(model)), "tied": json.dumps(tied)}
    (tmp_path / "m").write_bytes(seal(model.state_dict(), words))
    with pytest.raises(gn.ModelFileError, match="cannot rebuild the model"):
        gn.load(tmp_path / "m")
