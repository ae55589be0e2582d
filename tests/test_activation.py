"""gpunet.activation: the activations as layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.activation import ACTIVATIONS
from gpunet.activations import TABLE
from tests.networks import numbers, same

OPTIONS: dict[str, dict[str, Any]] = {
    "leaky_relu": {"slope": 0.25},
    "elu": {"alpha": 2.0},
    "gelu": {"approximate": "tanh"},
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_layer_is_its_op(xp: Any, name: str) -> None:
    x, kind, op = numbers(xp, 5, 4), ACTIVATIONS[name], getattr(gn.functional, name)
    same(kind()(x).data, op(x).data)
    options = OPTIONS.get(name, {})
    layer = kind(**options)
    same(layer(x).data, op(x, **options).data)
    assert layer.config() == options or not options
    assert kind(**layer.config()).config() == layer.config()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_layer_names_its_formula(name: str) -> None:
    layer = ACTIVATIONS[name](**OPTIONS.get(name, {}))
    assert layer.formula in TABLE
    assert layer.formula.startswith(name)
    x = numbers(np, 5, 4)
    same(layer(x).data, TABLE[layer.formula].value(x, layer.alpha))


@pytest.mark.parametrize(("kind", "name"), [(gn.LeakyReLU, "slope"), (gn.ELU, "alpha")])
@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, "1", None])
def test_settings_are_looked_at_whenever_they_are_set(kind: Any, name: str, value: Any) -> None:
    layer = kind(0.5)
    for set_it in (lambda: kind(value), lambda: setattr(layer, name, value)):
        with pytest.raises(ValueError, match=f"{name} must be at least 0 and finite, got"):
            set_it()
    assert getattr(layer, name) == 0.5


def test_an_unknown_form_of_gelu() -> None:
    layer = gn.GELU()
    for set_it in (lambda: gn.GELU("erf"), lambda: setattr(layer, "approximate", "erf")):
        with pytest.raises(ValueError, match='approximate must be "none" or "tanh", got'):
            set_it()
    assert layer.approximate == "none"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_the_weights_before_it_are_drawn_from(name: str) -> None:
    layer = ACTIVATIONS[name]()
    wanted = gn.Xavier() if name in ("sigmoid", "tanh") else gn.He()
    assert layer.init == (gn.He(0.01) if name == "leaky_relu" else wanted)


def test_a_leaky_slope_keeps_the_spread() -> None:
    """The mean square of a layer of 400 is that of its input, whatever the slope."""
    gn.seed(0)
    x = numbers(np, 2000, 400, dtype=np.float32)
    for slope in (0.0, 0.3, 1.0):
        model = gn.Sequential(gn.Affine(400, 400), gn.LeakyReLU(slope), gn.Affine(400, 1))
        y = model[1](model[0](x)).data
        assert abs((y**2).mean() - 1) < 0.05


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_saved_model_is_loaded(name: str, tmp_path: Any, device: str, xp: Any) -> None:
    gn.seed(0)
    layer = ACTIVATIONS[name](**OPTIONS.get(name, {}))
    model = gn.Sequential(gn.Affine(4, 5), layer, gn.MLP([5, 6, 2], name)).to(device)
    gn.save(model, tmp_path / "model.safetensors")
    again = gn.load(tmp_path / "model.safetensors").to(device)
    x = numbers(xp, 3, 4)
    assert repr(again) == repr(model)
    same(again(x).data, model(x).data)
