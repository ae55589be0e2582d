"""gpunet.fused.forward: a model in evaluation mode has the layers' outputs, loss and hits, on any
path, from any thread, and is left as it was.
"""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import module_for, to_device, to_host
from gpunet.context import no_grad, observe
from gpunet.fused.forward import ROWS, Forward, Walk
from gpunet.loss import as_loss
from gpunet.testing import simgpu
from gpunet.train.evaluation import Scoring
from gpunet.train.feed import Feed
from tests.fused.test_paths import CLASSES, FEATURES, random_net


def net(seed: int, device: str) -> tuple[gn.Sequential, Any]:
    """A random chain, as if it were trained, and its loss."""
    model, settings = random_net(seed)
    rng = np.random.default_rng(seed)
    for p in model.parameters():
        p.data = p.data + 0.1 * rng.standard_normal(p.shape)
    for name, a in model.named_buffers():
        a[...] = abs(rng.standard_normal(a.shape)) + ("var" in name)
    return model.to(device), gn.SoftmaxWithLoss(**settings)


def rows(count: int, device: str, dtype: str = "float64") -> tuple[Any, Any]:
    rng = np.random.default_rng(count)
    x = (rng.standard_normal((count, FEATURES)) * 3).astype(dtype)
    return to_device(x, device), to_device(rng.integers(0, CLASSES, count), device)


def by_layers(model: Any, x: Any) -> Any:
    with model.evaluating(), no_grad():
        return to_host(model(x).data)


def assert_close(found: Any, expected: Any, device: str) -> None:
    """On the CPU to the last bit."""
    if device == "cpu":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(to_host(found), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_a_random_chain_puts_out_what_its_layers_do(seed: int, device: str) -> None:
    model, _ = net(seed, device)
    forward = Forward(model)
    assert forward.reason is None
    for count in (8, 1, 33, 8):
        x, _ = rows(count, device)
        y = forward(x)
        assert type(y) is type(x)
        assert_close(y, by_layers(model, x), device)
        again = forward(x * 2)
        assert not np.shares_memory(to_host(y), to_host(again))
        assert_close(y, by_layers(model, x), device)


@pytest.mark.parametrize("seed", range(10))
def test_loss_and_hits_of_a_random_chain(seed: int, device: str) -> None:
    model, loss = net(seed, device)
    x, t = rows(70, device)
    fused, plain = Scoring(model, loss), Scoring(model, loss, fuse=False)
    feed = Feed((x, t), model, loss, "data")
    assert (fused.forward.reason, plain.forward.reason) == (None, "fuse=False")
    found, expected = fused(feed), plain(feed)
    assert found["accuracy"] == expected["accuracy"]
    assert_close(found["loss"], expected["loss"], device)


@pytest.mark.parametrize("kind", ["uint8", "int64", "float16", "float32", "bool"])
@pytest.mark.parametrize("scaled", [False, True])
def test_rows_of_other_dtypes(kind: str, scaled: bool, device: str) -> None:
    front = [gn.Rescale(1 / 255)] if scaled else []
    model = gn.Sequential(*front, gn.Affine(FEATURES, 4), gn.Tanh(), gn.Affine(4, 1)).to(device)
    x = to_device(np.arange(30).reshape(5, FEATURES).astype(kind), device)
    found, expected = Forward(model)(x), by_layers(model, x)
    assert found.dtype == expected.dtype == np.float32
    if device == "cpu":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(to_host(found), expected, rtol=1e-5, atol=1e-6)


def test_a_chain_may_end_in_an_activation(device: str) -> None:
    """Which training does not fuse."""
    model = gn.Sequential(gn.Affine(FEATURES, 4), gn.BatchNorm(4), gn.Sigmoid()).to(device)
    x, _ = rows(6, device, "float32")
    forward = Forward(model)
    assert forward.reason is None
    np.testing.assert_allclose(to_host(forward(x)), by_layers(model, x), rtol=1e-5)


def test_more_rows_than_go_at_once(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpunet.fused.forward.ROWS", 4)
    monkeypatch.setattr(Walk, "KEPT", 1)
    model, _ = net(3, device)
    for count in (11, 4, 9):
        x, _ = rows(count, device)
        np.testing.assert_allclose(to_host(Forward(model)(x)), by_layers(model, x), rtol=1e-11)
    assert ROWS == 1024


class Own(gn.Layer):
    def call(self, x: Any) -> Any:
        return x * 2


def test_what_is_no_chain_runs_layer_by_layer_and_says_why(device: str) -> None:
    x, _ = rows(5, device, "float32")
    for model, reason in (
        (gn.Sequential(gn.Affine(FEATURES, 2), Own()), "layer 1 is a Own"),
        (Own(), "the model is a Own"),
        (gn.Sequential(gn.Tanh()), "does not follow where it could fuse"),
    ):
        forward = Forward(model.to(device))
        assert reason in str(forward.reason)
        np.testing.assert_array_equal(to_host(forward(x)), by_layers(model, x))
    chain = gn.MLP([FEATURES, 2]).to(device)
    with pytest.raises(ValueError, match=r"5 features given, 6 expected"):
        Forward(chain)(x[:, :5])
    assert Forward(chain)(x[:0]).shape == (0, 2)


def test_two_devices_are_refused(sim: Any) -> None:
    for model, x in (
        (gn.MLP([6, 2]).to("cuda"), np.ones((2, 6))),
        (gn.MLP([6, 2]), sim.ones((2, 6))),
    ):
        with pytest.raises(gn.DeviceError):
            Forward(model)(x)


def test_the_model_is_left_alone_and_may_change(device: str) -> None:
    model = gn.MLP([FEATURES, 5, CLASSES], batch_norm=True, dropout=0.5, dtype="float64").to(device)
    forward, (x, _) = Forward(model), rows(9, device)
    modes = [layer.training for layer in model]
    forward(x)
    assert [layer.training for layer in model] == modes == [True] * len(modes)
    assert model[3].calls == 0
    before = to_host(forward(x))
    for change in (
        lambda: model[0].W.data.__imul__(2),
        lambda: setattr(model[1], "eps", 0.5),
        lambda: setattr(model[1], "running_mean", model[1].running_mean + 1),
        lambda: setattr(model, "layers", (*model.layers[:2], gn.Sigmoid(), model.layers[-1])),
        lambda: setattr(model, "layers", (*model.layers, Own())),
        lambda: setattr(model, "layers", model.layers[:2]),
    ):
        change()
        now = to_host(forward(x))
        np.testing.assert_allclose(now, by_layers(model, x), rtol=1e-11)
        assert now.shape != before.shape or abs(now - before).max() > 1e-3
        before = now


def test_a_watcher_sees_the_layers(device: str) -> None:
    model, x = gn.MLP([FEATURES, 5, CLASSES]).to(device), rows(3, device, "float32")[0]
    seen: list[str] = []
    forward = Forward(model)
    forward(x)
    with observe(lambda layer, y: seen.append(type(layer).__name__)):
        forward(x)
    assert seen == ["Affine", "ReLU", "Affine", "MLP"]


def test_copies_have_a_model_of_their_own() -> None:
    forward = Forward(gn.MLP([FEATURES, 5, CLASSES]))
    x, _ = rows(3, "cpu", "float32")
    before = forward(x)
    twin = copy.deepcopy(forward)
    twin.model[0].W.data[...] = 0
    np.testing.assert_array_equal(forward(x), before)
    assert abs(twin(x) - before).max() > 0


def test_many_threads_at_once(device: str) -> None:
    model, _ = net(5, device)
    forward, xs = Forward(model), [rows(4 + k % 3, device)[0] * (k + 1) for k in range(6)]
    expected = [by_layers(model, x) for x in xs]
    wrong: list[Any] = []

    def work(k: int) -> None:
        for _ in range(20):
            y = to_host(forward(xs[k]))
            if not np.allclose(y, expected[k], rtol=1e-11):
                wrong.append((k, y))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(xs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nans_and_ties_count_as_the_layers_count_them(device: str) -> None:
    model = gn.Sequential(gn.Affine(CLASSES, CLASSES)).to(device)
    model[0].W.data = np.eye(CLASSES)
    model[0].b.data = np.zeros(CLASSES)
    x = np.array(
        [[1, 1, 0, 0], [0, np.nan, 2, np.nan], [0, 0, 0, 0], [-np.inf, 3, 3, 1]], np.float32
    )
    for k in range(CLASSES):
        t = to_device(np.full(4, k), device)
        found = to_device(np.zeros(2), device)
        walks = Forward(model).walk(module_for(device))
        with np.errstate(invalid="ignore"), walks as walk:
            walk.score(to_device(x, device), t, 0.0, found)
            z = by_layers(model, to_device(x, device))
        assert to_host(found)[1] == (z.argmax(axis=-1) == k).sum()
        assert np.isnan(to_host(found)[0])


@pytest.mark.usefixtures("sim")
def test_launches(sim: Any) -> None:
    """A product and a kernel for each Affine."""
    model, loss = (
        gn.MLP([FEATURES, 8, 8, CLASSES], batch_norm=True).to("cuda"),
        gn.SoftmaxWithLoss(),
    )
    x, t = rows(20, "cuda", "float32")
    forward = Forward(model)
    forward(x)
    with simgpu.count() as used:
        forward(x)
    assert (used.launches, used.d2h_copies, used.h2d_copies) == (6, 0, 0)
    scoring, feed = Scoring(model, as_loss(loss)), Feed((x, t), model, loss, "data")
    scoring(feed)
    with simgpu.count() as used:
        scoring(feed)
    assert (used.launches, used.d2h_copies, used.h2d_copies) == (6, 1, 0)
