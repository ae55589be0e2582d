"""Non-finite training: where it is found, and that the search leaves no trace."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.data import batches
from gpunet.train.nonfinite import all_finite

X = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int64)


def rich(device: str) -> Any:
    """A model with everything that a step changes."""
    gn.seed(2)
    return gn.MLP([4, 8, 2], batch_norm=True, dropout=0.3).to(device)


def everything(fitted: gn.Trainer) -> list[Any]:
    arrays = [*fitted.model.state_dict().values(), *fitted.optimizer.buffers()]
    calls = [layer.calls for _, layer in fitted.model.named_layers() if hasattr(layer, "calls")]
    return [*(to_host(a).copy() for a in arrays), calls, fitted.optimizer.t]


def assert_equal(one: list[Any], two: list[Any]) -> None:
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def explosive(at: int) -> Callable[[int], float]:
    """A schedule that is far too large from update `at` (0, 1, ...) on."""
    return lambda t: 3e38 if t >= at else 0.01


def by_hand(model: Any, optimizer: Any, updates: int, batch: int) -> None:
    """The first updates of an epoch, without a trainer."""
    x, t = gn.to_device(X, model.device), gn.to_device(LABELS, model.device)
    model.train()
    loss_fn = gn.SoftmaxWithLoss()
    done = 0
    for epoch in range(9):
        for rows in batches(len(X), batch, 0, epoch):
            if done == updates:
                return
            on_device = gn.to_device(rows, model.device)
            loss = loss_fn(model(x[on_device]), t[on_device])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1


# 100 steps an epoch; the losses are read every 50
@pytest.mark.parametrize(
    ("at", "epoch", "step"),
    [(0, 1, 1), (7, 1, 8), (49, 1, 50), (50, 1, 51), (99, 1, 100), (131, 2, 32)],
)
def test_the_step_and_the_way_back(at: int, epoch: int, step: int, device: str) -> None:
    if device == "cuda" and at > 50:
        return  # long, and no other code runs there
    model = rich(device)
    optimizer = gn.Adam(model.parameters(), lr=explosive(at), eps=1e-30)
    fitted = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, fuse=False)
    with pytest.raises(gn.NonFiniteError) as caught:
        fitted.fit((X, LABELS), epochs=3, batch_size=4)
    error = caught.value
    # The update itself overflows (3e38 / (1 - beta1) and such) or what comes of it one step later.
    assert (error.epoch, error.step) in [(epoch, step), (epoch + step // 100, step % 100 + 1)]
    steps = (error.epoch - 1) * 100 + error.step - 1
    twin = rich(device)
    optimizer = gn.Adam(twin.parameters(), lr=explosive(at), eps=1e-30)
    by_hand(twin, optimizer, steps, 4)
    reference = gn.Trainer(twin, gn.SoftmaxWithLoss(), optimizer)
    assert_equal(everything(fitted), everything(reference))
    assert len(fitted.history) == error.epoch - 1
    assert fitted.history.stopped == "stopped by an error"
    assert all(not to_host(p.grad).any() for p in model.parameters())


# 170 updates, from graphs of 50: what was asked after one chunk is heard after the next.
@pytest.mark.parametrize("at", [0, 30, 49, 60, 120, 165])
def test_on_a_gpu_the_state_before_the_bad_update_survives_the_next_launches(
    at: int, sim: Any
) -> None:
    x = np.random.default_rng(0).standard_normal((340, 4)).astype(np.float32)

    def made() -> gn.Trainer:
        gn.seed(2)
        model = gn.MLP([4, 6, 3], batch_norm=True, dropout=0.5).to("cuda")
        optimizer = gn.Momentum(model.parameters(), lr=lambda t: 1e300 if t >= at else 0.01)
        return gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer)

    def fit(fitted: gn.Trainer, updates: int) -> gn.Trainer:
        data = x[: 2 * updates], np.arange(2 * updates) % 3
        fitted.fit(data, epochs=1, batch_size=2, seed=None)
        return fitted

    bad = made()
    with pytest.raises(gn.NonFiniteError) as caught:
        fit(bad, 170)
    assert caught.value.step == at + 1
    *arrays, calls, t = everything(bad)
    assert t == at
    if at:
        *expected, expected_calls, _ = everything(fit(made(), at))
        assert calls == expected_calls
        for a, b in zip(arrays, expected, strict=True):  # the search runs on the tape
            np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-4)


def test_a_huge_learning_rate(device: str) -> None:
    gn.seed(1)
    model = gn.MLP([4, 8, 2]).to(device)
    fitted = gn.Trainer(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters(), lr=1e30))
    with pytest.raises(gn.NonFiniteError) as caught:
        fitted.fit((X, LABELS), epochs=1, batch_size=4)
    assert (caught.value.epoch, caught.value.step) == (1, 2)
    assert caught.value.place == "the output of layer 2 (Affine)"
    assert re.match(
        r"training became non-finite in epoch 1, step 2: first in the output of layer 2 \(Affine\);"
        " try a smaller learning rate, clip_norm",
        str(caught.value),
    )
    assert all_finite(p.data for p in model.parameters())


class Log(gn.Layer):
    def call(self, x: gn.Tensor) -> gn.Tensor:
        return x.log()


class Sqrt(gn.Layer):
    def call(self, x: gn.Tensor) -> gn.Tensor:
        return x.sqrt()


class Composite(gn.Layer):
    def __init__(self) -> None:
        self.inner = gn.Affine(4, 2, ones)

    def call(self, x: gn.Tensor) -> gn.Tensor:
        return self.inner(x).log()


def ones(rng: Any, shape: tuple[int, ...]) -> Any:
    return np.ones(shape)


def mean(z: gn.Tensor, t: Any) -> gn.Tensor:
    return z.mean()


def place_of(
    model: gn.Layer, loss: Any, x: Any, lr: float = 0.0, device: str = "cpu"
) -> tuple[str, int]:
    """Where it is found, and in which step of batches of 4 in their order."""
    model.to(device)
    fitted = gn.Trainer(model, loss, gn.SGD(model.parameters(), lr=lr))
    before = {k: to_host(a).copy() for k, a in model.state_dict().items()}
    with pytest.raises(gn.NonFiniteError) as caught:
        fitted.fit((x, np.zeros(len(x))), epochs=1, batch_size=4, seed=None)
    if caught.value.step == 1:
        for k, a in model.state_dict().items():
            np.testing.assert_array_equal(to_host(a), before[k])
    return caught.value.place, caught.value.step


POSITIVE = np.abs(X[:80]) + 0.1


def with_row(row: int, value: float) -> Any:
    x = POSITIVE.copy()
    x[row] = value
    return x


def test_the_first_layer_with_a_bad_output(device: str) -> None:
    model = gn.Sequential(gn.Sequential(gn.Tanh(), Log()), gn.Affine(4, 2), gn.Sigmoid())
    found = place_of(model, mean, with_row(38, -1.0), device=device)
    assert found == ("the output of layer 0.1 (Log)", 10)


def test_a_layer_with_layers_inside() -> None:
    found = place_of(gn.Sequential(Composite(), gn.Tanh()), mean, with_row(5, -1.0))
    assert found == ("the output of layer 0 (Composite)", 2)
    assert place_of(Composite(), mean, with_row(5, -1.0)) == (
        "the output of layer itself (Composite)",
        2,
    )


def test_a_bad_loss(device: str) -> None:
    model = gn.Sequential(gn.Affine(4, 1, ones))
    place = place_of(model, lambda z, t: z.log().mean(), with_row(79, -1.0), device=device)
    assert place == ("the loss", 20)


def test_a_gradient_that_a_layer_passes_back(device: str) -> None:
    """sqrt at 0: the loss is finite, the gradient is not."""
    model = gn.Sequential(gn.Affine(4, 2, ones), Sqrt(), gn.Affine(2, 1))
    found = place_of(model, mean, with_row(11, 0.0), device=device)
    assert found == ("the gradient that layer 1 (Sqrt) passed back", 3)


def test_a_gradient_that_the_loss_passes_back() -> None:
    model = gn.Sequential(gn.Affine(4, 1, ones))
    found = place_of(model, lambda z, t: z.sqrt().mean(), with_row(11, 0.0))
    assert found == ("the gradient that the loss passed back", 3)


def test_a_gradient_of_a_parameter() -> None:
    """x of 1e30 and an upstream gradient of 1e10 / 4 overflow only in their product."""
    model = gn.Sequential(gn.Affine(4, 1, lambda rng, shape: np.full(shape, 1e-30), bias=False))
    found = place_of(model, lambda z, t: z.mean() * 1e10, with_row(4, 1e30), lr=1e-30)
    assert found == ("the gradient of 0.W, shape (4, 1)", 2)


def test_an_update() -> None:
    model = gn.Sequential(gn.Affine(4, 1, ones, bias=False))
    found = place_of(model, lambda z, t: z.mean() * 100, POSITIVE, lr=3e38)
    assert found == ("the update of 0.W, shape (4, 1)", 1)


def test_a_running_statistic() -> None:
    """The variance of 1e25 overflows in float32, which makes the output a harmless 0."""
    model = gn.Sequential(gn.BatchNorm(4), gn.Affine(4, 1))
    found = place_of(model, mean, with_row(6, 1e25))
    assert found == ("the buffer 0.running_var", 2)


def test_a_step_is_an_update() -> None:
    model = gn.Sequential(gn.Tanh(), Log(), gn.Affine(4, 1))
    fitted = gn.Trainer(model, mean, gn.SGD(model.parameters(), lr=0.0))
    with pytest.raises(gn.NonFiniteError) as caught:
        fitted.fit(
            (with_row(38, -1.0), np.zeros(80)), epochs=1, batch_size=4, seed=None, accumulate=3
        )
    assert (caught.value.step, caught.value.place) == (4, "the output of layer 1 (Log)")


class Moody(gn.Layer):
    """Bad in its 7th call only, so that no replay finds it."""

    calls_so_far = 0

    def call(self, x: gn.Tensor) -> gn.Tensor:
        self.calls_so_far += self.training
        return x * (np.nan if self.calls_so_far == 7 else 1.0)


def test_what_does_not_repeat_is_an_error_all_the_same() -> None:
    model = gn.Sequential(gn.Affine(4, 1), Moody())
    place, step = place_of(model, mean, POSITIVE)
    assert (place, step) == ("a step that did not repeat it", 20)


# warn and ignore


def run(mode: str, device: str, lr: Any, loss: Any = None) -> gn.Trainer:
    model = rich(device)
    optimizer = gn.Adam(model.parameters(), lr=lr)
    fitted = gn.Trainer(model, loss or gn.SoftmaxWithLoss(), optimizer, on_nonfinite=mode)
    fitted.fit((X, LABELS), (X[:50], LABELS[:50]), epochs=2, batch_size=4, accumulate=2)
    return fitted


def test_warn_warns_once_and_changes_nothing(device: str) -> None:
    with pytest.warns(RuntimeWarning) as caught:
        warned = run("warn", device, explosive(20))
    assert len(caught) == 1
    assert re.match(
        r"training became non-finite in epoch 1, step 2[12]: first in", str(caught[0].message)
    )
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ignored = run("ignore", device, explosive(20))
    assert not all_finite(p.data for p in warned.model.parameters())
    assert_equal(everything(warned), everything(ignored))
    for column in ("train_loss", "valid_loss", "valid_accuracy"):
        np.testing.assert_array_equal(warned.history[column], ignored.history[column])


def test_a_good_training_is_the_same_in_every_mode(device: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, two, three = (run(mode, device, 0.01) for mode in ("raise", "warn", "ignore"))
    assert_equal(everything(one), everything(two))
    assert_equal(everything(one), everything(three))


def test_ignore_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr("gpunet.train.guard.all_finite", lambda arrays: looks.append(1) or True)
    run("ignore", "cpu", 0.01)
    assert looks == []
    run("warn", "cpu", 0.01)
    assert len(looks) == 2  # 50 steps an epoch: at the end of each


def test_the_error_travels_between_processes() -> None:
    error = gn.NonFiniteError(2, 31, "the loss")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.epoch, again.step, again.place) == (2, 31, "the loss")


def test_all_finite(xp: Any) -> None:
    good, bad = xp.ones(3), xp.array([1.0, np.inf])
    assert all_finite([])
    assert all_finite([good, xp.arange(3)])
    assert not all_finite([good, bad, good])
    assert not all_finite([xp.array([np.nan]), good])
