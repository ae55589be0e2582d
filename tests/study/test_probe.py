"""gpunet.study.probe: what it sees is right, training does not feel it, and it warns in time."""

from __future__ import annotations

import math
import re
import warnings
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.schedules import cosine
from gpunet.study import probe as module
from gpunet.study.probe import Probe
from gpunet.study.symptoms import symptoms

FEATURES = 6


def data(rows: int = 64, seed: int = 0) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((rows, FEATURES)).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def train(
    model: gn.Layer, callbacks: list[Any], epochs: int = 3, opt: Any = None, **options: Any
) -> gn.Trainer:
    opt = opt or gn.Adam(model.parameters(), lr=cosine(0.01, 60))
    trainer = gn.Trainer(
        model, gn.SoftmaxWithLoss(), opt, callbacks, progress=False, on_nonfinite="ignore"
    )
    trainer.fit(data(), data(seed=1), epochs=epochs, batch_size=16, **options)
    return trainer


def everything(device: str, probe: Probe | None) -> dict[str, Any]:
    """All that a training leaves behind, as bytes and numbers."""
    gn.seed(3)
    model = gn.MLP([FEATURES, 12, 8, 2], batch_norm=True, dropout=0.3).to(device)
    trainer = train(model, [probe] if probe else [])
    trainer.fit(data(), data(seed=1), epochs=2, batch_size=16)
    found: dict[str, Any] = {k: to_host(v).tobytes() for k, v in model.state_dict().items()}
    for k, buffer in enumerate(trainer.optimizer.buffers()):
        found[f"optimizer {k}"] = to_host(buffer).tobytes()
    for name, p in model.named_parameters():
        found[f"gradient of {name}"] = to_host(p.grad).tobytes()
    found["t"] = trainer.optimizer.t
    found["calls"] = [k.calls for k in model if isinstance(k, gn.Dropout)]
    found["modes"] = [k.training for k in model]
    found["losses"] = trainer.history["train_loss"] + trainer.history["valid_loss"]
    return found


def test_training_does_not_feel_it(device: str) -> None:
    alone = everything(device, None)
    probe = Probe(data(), rows=20, warn=False)
    watched = everything(device, probe)
    assert probe.epochs == [0, 1, 2, 3, 4, 5]
    for name, value in alone.items():
        assert watched[name] == value, name


@pytest.mark.parametrize("forgotten", ["restore", "gradients"])
def test_that_check_can_fail(forgotten: str, monkeypatch: Any) -> None:
    alone = everything("cpu", None)
    if forgotten == "restore":
        monkeypatch.setattr(module.Snapshot, "restore", lambda self: None)
    else:
        monkeypatch.setattr("gpunet.train.snapshot.same_values", lambda tensors: nullcontext())
    watched = everything("cpu", Probe(data(), rows=20, warn=False))
    assert any(watched[name] != value for name, value in alone.items())


def test_gradients_of_a_model_that_the_optimizer_has_in_part(device: str) -> None:
    model = gn.MLP([FEATURES, 4, 2]).to(device)
    opt = gn.SGD(model[2].parameters(), lr=0.1)
    probe = Probe(data(), warn=False)
    before = to_host(model[0].W.data).copy()
    train(model, [probe], 1, opt)
    np.testing.assert_array_equal(to_host(model[0].W.data), before)
    assert probe.of("0")[0].update == 0
    assert probe.of("2")[0].update > 0


def test_modes_are_as_before() -> None:
    seen = []

    class Note(gn.Callback):
        def on_start(self, trainer: gn.Trainer) -> None:
            seen.append([k.training for k in model])

    model = gn.MLP([FEATURES, 4, 2], batch_norm=True)
    model.eval()
    model[1].train()
    train(model, [Note(), Probe(data()), Note()], 1)
    assert seen[0] == seen[1] == [False, True, False, False]


def test_a_parameter_that_is_not_reached() -> None:
    class Idle(gn.Layer):
        def __init__(self) -> None:
            self.idle = gn.Parameter(np.ones(3, np.float32))

        def call(self, x: gn.Tensor) -> gn.Tensor:
            return x * 1.0

    model = gn.Sequential(gn.Affine(FEATURES, 2), Idle())
    probe = Probe(data())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, [probe], 1, gn.SGD(model[0].parameters()))
    assert probe.of("1")[0].parameter_gradient == 0
    assert probe.of("1")[0].parameters == 3


def test_numbers_are_right(device: str) -> None:
    gn.seed(1)
    model = gn.MLP([FEATURES, 8, 2]).to(device)
    W, b = (to_host(p.data).copy() for p in model[0].parameters())
    probe = Probe(data(), rows=32)
    train(model, [probe], 1, gn.SGD(model.parameters(), lr=0.1))

    gn.seed(1)
    twin = gn.MLP([FEATURES, 8, 2])
    np.testing.assert_array_equal(to_host(twin[0].W.data), W)
    x, t = (a[:32] for a in data())
    hidden = twin[0](x).retain_grad()
    y = twin[1](hidden).retain_grad()
    gn.SoftmaxWithLoss()(twin[2](y), t).backward()

    first, relu = probe.of("0")[0], probe.of("1")[0]
    assert (first.epoch, first.kind) == (0, "Affine")
    assert relu.mean == pytest.approx(y.data.mean(), rel=1e-5)
    assert relu.spread == pytest.approx(y.data.std(), rel=1e-5)
    assert relu.zeros == pytest.approx((y.data == 0).mean())
    assert 0.2 < relu.zeros < 0.8
    assert relu.dead == pytest.approx((y.data == 0).all(axis=0).mean())
    assert relu.gradient == pytest.approx(np.linalg.norm(y.grad), rel=1e-5)
    assert first.gradient == pytest.approx(np.linalg.norm(hidden.grad), rel=1e-5)
    own = np.concatenate([p.grad.ravel() for p in twin[0].parameters()])
    assert first.parameter_gradient == pytest.approx(np.linalg.norm(own), rel=1e-5)
    weights = np.linalg.norm(np.concatenate([W.ravel(), b]))
    assert first.update == pytest.approx(0.1 * np.linalg.norm(own) / weights, rel=1e-3)
    assert math.isnan(relu.update)
    assert math.isnan(relu.saturated)
    np.testing.assert_array_equal(
        relu.counts, np.histogram(y.data.astype(np.float64), relu.edges)[0]
    )
    assert relu.counts.sum() == y.size


def test_layers_in_layers_and_layers_called_twice() -> None:
    relu = gn.ReLU()
    inner = gn.Sequential(gn.Affine(5, 5), relu)
    model = gn.Sequential(gn.Affine(FEATURES, 5), relu, inner, gn.Affine(5, 2))
    probe = Probe(data(), warn=False)
    train(model, [probe], 2)
    assert probe.layers == ["0", "1", "2.0", "1 (call 2)", "3"]
    assert len(probe.of("1 (call 2)")) == 3
    with pytest.raises(KeyError, match="no layer '7'; there are 0, 1"):
        probe.of("7")


def test_a_model_of_one_layer() -> None:
    probe = Probe(data())
    train(gn.Affine(FEATURES, 2), [probe], 1)
    assert probe.layers == ["(model)"]
    assert probe.of("(model)")[0].update > 0


# --- warnings -------------------------------------------------------------------------------------


def warned(model: gn.Layer, epochs: int = 2, warn: bool = True) -> list[str]:
    opt = gn.SGD(model.parameters(), lr=1e-6)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(model, [Probe(data(), warn=warn)], epochs, opt)
    assert all(Path(w.filename).name == Path(__file__).name for w in caught)
    return [str(w.message) for w in caught]


def deep(activation: str, std: float, depth: int = 6, width: int = 32) -> gn.Layer:
    gn.seed(0)
    kind = {"relu": gn.ReLU, "sigmoid": gn.Sigmoid, "tanh": gn.Tanh}[activation]
    sizes = [FEATURES, *[width] * depth]
    layers: list[gn.Layer] = []
    for a, b in pairwise(sizes):
        layers += [gn.Affine(a, b, init=gn.Normal(std)), kind()]
    return gn.Sequential(*layers, gn.Affine(width, 2, init=gn.Normal(std)))


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_a_healthy_network_is_left_alone(activation: str) -> None:
    gn.seed(0)
    assert warned(gn.MLP([FEATURES, 32, 32, 2], activation, batch_norm=True)) == []
    assert warned(gn.MLP([FEATURES, 32, 32, 2], activation)) == []


def test_dead_relus() -> None:
    gn.seed(0)
    model = gn.MLP([FEATURES, 10, 10, 2])
    model[0].b.data = np.repeat([-100, 0], [7, 3]).astype(np.float32)
    found = warned(model)
    assert len(found) == 1
    assert re.match(r"before training, [789]0% of the units of layer 1 \(ReLU\) are dead", found[0])
    assert "try a smaller learning rate" in found[0]
    assert warned(model, warn=False) == []


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_saturated_layers(activation: str) -> None:
    found = [w for w in warned(deep(activation, 20, depth=2)) if "saturated" in w]
    assert len(found) == 2
    kind = activation.capitalize()
    assert re.search(rf"% of the outputs of layer 1 \({kind}\) are saturated", found[0])


def test_a_saturated_output_is_no_trouble() -> None:
    model = gn.Sequential(gn.Affine(FEATURES, 2, init=gn.Normal(50)), gn.Sigmoid())
    assert warned(model) == []


def test_vanishing_gradients() -> None:
    found = warned(deep("sigmoid", 0.01))
    assert found
    assert all(
        re.search(r"the gradient vanishes: its norm is .* at layer \d+ \(Aff", w) for w in found
    )
    assert len(found) == len(set(found)) == len({w.split("(Affine)")[0][-8:] for w in found})
    assert "at layer 0 (Affine)" in found[0]


def test_exploding_gradients() -> None:
    found = warned(deep("relu", 2))
    assert any("the gradient explodes" in w and "at layer 0 (Affine)" in w for w in found)
    assert not any("vanishes" in w for w in found)


def test_gradients_that_are_no_numbers() -> None:
    model = gn.MLP([FEATURES, 4, 2])
    model[0].W.data = np.full((FEATURES, 4), np.inf, np.float32)
    with np.errstate(invalid="ignore"):  # of the trainer, which tries two rows first
        found = warned(model, epochs=1)
    assert any(re.search(r"the gradient of layer \d \(Affine\) is nan", w) for w in found)


def test_trouble_that_comes_later_is_dated() -> None:
    gn.seed(0)
    model = gn.MLP([FEATURES, 10, 2])

    class Kill(gn.Callback):
        def on_epoch(self, trainer: gn.Trainer, row: Any) -> None:
            model[0].b.data = np.full(10, -100, np.float32)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(model, [Kill(), Probe(data())], 3, gn.SGD(model.parameters(), lr=1e-6))
    dead = [str(w.message) for w in caught if "dead" in str(w.message)]
    assert len(dead) == 1
    assert dead[0].startswith("epoch 1, 100% of the units")


def test_symptoms_of_nothing() -> None:
    assert list(symptoms([])) == []


# --- what it shows --------------------------------------------------------------------------------


def test_the_table() -> None:
    model = gn.MLP([FEATURES, 8, 2])
    probe = Probe(data(), warn=False)
    assert str(probe) == "Probe: nothing seen yet"
    train(model, [probe], 2)
    lines = str(probe).splitlines()
    assert lines[0] == "after epoch 2"
    assert lines[2].split()[:2] == ["0", "Affine"]
    assert f"{probe.of('1')[-1].zeros:.0%}" in lines[3]


def test_the_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from gpunet.study.probe_picture import draw_looks

    probe = Probe(data(), warn=False)
    with pytest.raises(ValueError, match="nothing yet"):
        probe.save(tmp_path / "probe.png")
    train(gn.MLP([FEATURES, 8, 8, 2], batch_norm=True), [probe], 6)
    probe.save(tmp_path / "probe.png")
    assert (tmp_path / "probe.png").read_bytes().startswith(b"\x89PNG")
    figure = draw_looks(probe.looks)
    panels = [a for a in figure.axes if a.get_visible()]
    assert len(panels) == len(probe.layers) + 2
    labels = panels[0].get_legend_handles_labels()[1]
    assert labels == ["at the start", "epoch 2", "epoch 4", "epoch 6"]
    gradients, updates = panels[-2:]
    first = gradients.get_lines()[0].get_ydata()
    np.testing.assert_allclose(first, [k.gradient for k in probe.of("0")])
    np.testing.assert_allclose(updates.get_lines()[-1].get_ydata(), [1e-3, 1e-3])


def test_outputs_that_are_all_equal_or_no_numbers() -> None:
    for values in (np.full(5, 3.0), np.zeros(4), np.full(3, np.nan), np.array([1, 1 + 2**-52])):
        counts, edges = module._histogram(values)
        assert counts.sum() == np.isfinite(values).sum()
        assert (np.diff(edges) > 0).all()


@pytest.mark.parametrize("rows", [1, 0, True, 2.5])
def test_bad_rows(rows: Any) -> None:
    with pytest.raises(ValueError, match="rows must be a whole number from 2"):
        Probe(data(), rows)


def test_bad_data() -> None:
    with pytest.raises(TypeError, match="a pair"):
        Probe(data()[0])
    with pytest.raises(ValueError, match=r"Probe: .*features given"):
        train(gn.Affine(FEATURES, 2), [Probe((np.ones((4, 3)), np.zeros(4, int)))])
