"""gn.Step: the fused step against the tape."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_device, to_host
from gpunet.context import frozen, observe

TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def batch(rows: int, features: int, classes: int, seed: int = 0) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((rows, features)), generator.integers(0, classes, rows)


def net(*layers: Any, dtype: str = "float64") -> gn.Sequential:
    gn.seed(1)
    made = [k(dtype) if callable(k) and not isinstance(k, gn.Layer) else k for k in layers]
    return gn.Sequential(*made)


def affine(before: int, after: int, bias: bool = True) -> Any:
    return lambda dtype: gn.Affine(before, after, bias=bias, dtype=dtype)


def norm(features: int, **settings: Any) -> Any:
    return lambda dtype: gn.BatchNorm(features, dtype=dtype, **settings)


def dropout(p: float) -> Any:
    return lambda dtype: gn.Dropout(p, seed=5)


MODELS: dict[str, tuple[Any, ...]] = {
    "one layer": (affine(6, 4),),
    "relu": (affine(6, 5), gn.ReLU(), affine(5, 4)),
    "sigmoid": (affine(6, 5), gn.Sigmoid(), affine(5, 4)),
    "tanh, no bias": (affine(6, 5, False), gn.Tanh(), affine(5, 4, False)),
    "no activation": (affine(6, 5), affine(5, 4)),
    "norm": (affine(6, 5), norm(5), affine(5, 4)),
    "norm, no bias": (affine(6, 5, False), norm(5, momentum=0.3), gn.ReLU(), affine(5, 4)),
    "dropout alone": (affine(6, 7), dropout(0.4), affine(7, 4)),
    "relu, dropout": (affine(6, 7), gn.ReLU(), dropout(0.4), affine(7, 4)),
    "tanh, dropout": (affine(6, 7), gn.Tanh(), dropout(0.4), affine(7, 4)),
    "sigmoid, dropout": (affine(6, 7), gn.Sigmoid(), dropout(0.4), affine(7, 4)),
    "all": (
        *(affine(6, 9), norm(9), gn.ReLU(), dropout(0.5)),
        *(affine(9, 8), norm(8, eps=1e-3), gn.Tanh(), dropout(0.2), affine(8, 4)),
    ),
    "rescale": (lambda dtype: gn.Rescale(0.3, dtype), affine(6, 7), gn.ReLU(), affine(7, 4)),
    "nothing dropped": (affine(6, 7), gn.ReLU(), dropout(0.0), affine(7, 4)),
    "all dropped": (affine(6, 7), gn.ReLU(), dropout(1.0), affine(7, 4)),
    "nested": (
        lambda dtype: gn.Sequential(gn.Affine(6, 5, dtype=dtype), gn.ReLU()),
        affine(5, 4),
    ),
}


def twins(name: str, device: str, dtype: str = "float64", **loss: Any) -> list[gn.Step]:
    """The same training twice: fused, and on the tape."""
    model = net(*MODELS[name], dtype=dtype)
    found = []
    for fuse in (True, False):
        own = copy.deepcopy(model).to(device)
        # Not Adam: on the tape the bias before a BatchNorm has a gradient of rounding errors, here
        # of 0, and Adam makes a full step of either.
        optimizer = gn.optim.Momentum(own.parameters(), lr=0.01, weight_decay=0.01)
        found.append(gn.Step(own, gn.SoftmaxWithLoss(**loss), optimizer, fuse=fuse))
    assert found[0].reason is None
    assert found[1].reason == "fuse=False"
    return found


def arrays(step: gn.Step) -> dict[str, Any]:
    named = {name: p.data for name, p in step.model.named_parameters()}
    named |= {f"{name}.grad": p.grad for name, p in step.model.named_parameters()}
    return named | dict(step.model.named_buffers())


def assert_alike(a: gn.Step, b: gn.Step, tolerance: float) -> None:
    for name, array in arrays(a).items():
        other = to_host(arrays(b)[name])
        np.testing.assert_allclose(
            to_host(array), other, rtol=tolerance, atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", MODELS)
def test_the_same_numbers_as_on_the_tape(name: str, dtype: str, device: str) -> None:
    fused, tape = twins(name, device, dtype)
    for k in range(5):
        x, t = batch((16, 33)[k % 2], 6, 4, seed=k)
        x, t = to_device(x.astype(dtype), device), to_device(t, device)
        losses = [float(step(x, t)) for step in (fused, tape)]
        np.testing.assert_allclose(*losses, rtol=TOLERANCE[dtype])
    assert_alike(fused, tape, TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["relu", "all"])
def test_label_smoothing(name: str, device: str) -> None:
    fused, tape = twins(name, device, label_smoothing=0.1)
    x, t = (to_device(a, device) for a in batch(12, 6, 4))
    np.testing.assert_allclose(float(fused(x, t)), float(tape(x, t)), rtol=1e-12)
    assert_alike(fused, tape, 1e-12)


@pytest.mark.parametrize("name", ["relu", "tanh, no bias", "all"])
def test_gradients_of_several_batches_add_up(name: str, device: str) -> None:
    fused, tape = twins(name, device)
    for step in (fused, tape):
        for k, rows in enumerate((8, 8, 4)):
            x, t = (to_device(a, device) for a in batch(rows, 6, 4, seed=k))
            step.gradients(x, t, share=rows / 20, add=k > 0)
        step.optimizer.step()
    assert_alike(fused, tape, 1e-12)


def test_an_integer_x_and_narrow_labels(device: str) -> None:
    fused, tape = twins("relu", device, "float32")
    x = to_device(np.random.default_rng(0).integers(0, 255, (9, 6)).astype(np.uint8), device)
    for kind in (np.uint8, np.int32, np.int64):
        t = to_device((np.arange(9) % 4).astype(kind), device)
        np.testing.assert_allclose(float(fused(x, t)), float(tape(x, t)), rtol=2e-5)


def test_bytes_are_scaled_where_they_lie(device: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 6)).astype(np.uint8)
    t = np.arange(40) % 4
    fitted = []
    for fuse, data, scale in ((True, x, 1 / 255), (False, x, 1 / 255), (True, x / 255, 1.0)):
        layers = (lambda dtype, s=scale: gn.Rescale(s, dtype), *MODELS["relu, dropout"])
        model = net(*layers, dtype="float32").to(device)
        optimizer = gn.optim.Momentum(model.parameters(), lr=0.1)
        trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, fuse=fuse)
        trainer.fit((data, t), epochs=3, batch_size=16)
        fitted.append(trainer.history["train_loss"])
    np.testing.assert_allclose(fitted[0], fitted[1], rtol=1e-5)
    np.testing.assert_allclose(fitted[0], fitted[2], rtol=1e-5)


def test_what_a_step_returned_is_not_written_again(device: str) -> None:
    step, _ = twins("all", device)
    x, t = (to_device(a, device) for a in batch(12, 6, 4))
    first = step(x, t)
    kept = float(first)
    x_before, t_before = to_host(x).copy(), to_host(t).copy()
    second = step(x, t)
    assert float(first) == kept != float(second)
    np.testing.assert_array_equal(to_host(x), x_before)
    np.testing.assert_array_equal(to_host(t), t_before)


def test_what_the_tape_gave_is_not_written_by_a_step(device: str) -> None:
    step, _ = twins("relu", device)
    x, t = (to_device(a, device) for a in batch(12, 6, 4))
    inner = gn.Tensor(x, requires_grad=True)
    z = step.model(inner)
    step.loss(z, t).backward()
    kept = [z.data, inner.grad]
    before = [to_host(a).copy() for a in kept]
    step(x, t)
    for array, value in zip(kept, before, strict=True):
        np.testing.assert_array_equal(to_host(array), value)


def test_gradients_of_an_earlier_backward_do_not_linger(device: str) -> None:
    fused, tape = twins("norm", device)
    x, t = (to_device(a, device) for a in batch(12, 6, 4))
    for step in (fused, tape):
        for p in step.model.parameters():
            p.grad = np.full(p.shape, 7.0)
        step(x, t)
    assert_alike(fused, tape, 1e-12)


def test_batch_norm_that_does_not_track(device: str) -> None:
    step, _ = twins("norm", device)
    step.model[1].track = False
    step(*(to_device(a, device) for a in batch(12, 6, 4)))
    assert not to_host(step.model[1].running_mean).any()


# When the layers run one by one


class Freeze(gn.Callback):
    """After the first epoch the first layer is trained no more."""

    def on_epoch(self, trainer: Any, row: Any) -> None:
        for p in trainer.model[0].parameters():
            p.requires_grad = False


@pytest.mark.parametrize("capture", [False, "auto"])
def test_layers_frozen_in_the_middle_of_a_training(capture: Any, device: str) -> None:
    x, t = batch(40, 6, 4)
    fitted = []
    for fuse in (True, False):
        model = net(*MODELS["relu"]).to(device)
        optimizer = gn.optim.SGD(model.parameters(), lr=0.1)
        trainer = gn.Trainer(
            model, gn.SoftmaxWithLoss(), optimizer, [Freeze()], fuse=fuse, capture=capture
        )
        trainer.fit((x, t), epochs=3, batch_size=8)
        fitted.append(gn.Step(model, trainer.loss, optimizer))
    assert_alike(*fitted, 1e-12)


def was_fused(step: gn.Step, x: Any, t: Any) -> bool:
    """No layer was called."""
    calls = []
    plain = step.model.call
    step.model.call = lambda z: calls.append(1) or plain(z)
    try:
        step(x, t)
    finally:
        del step.model.call
    return not calls


def test_watched_frozen_or_in_evaluation_mode_it_uses_the_tape(device: str) -> None:
    step, _ = twins("all", device)
    x, t = (to_device(a, device) for a in batch(12, 6, 4))
    assert was_fused(step, x, t)
    seen: list[Any] = []
    with observe(lambda layer, y: seen.append(layer)):
        step(x, t)
    assert step.model[0] in seen
    calls = step.model[3].calls
    with frozen():
        assert not was_fused(step, x, t)
    assert step.model[3].calls == calls
    step.model[1].eval()
    assert not was_fused(step, x, t)
    step.model.train()
    assert was_fused(step, x, t)
    step.model[0].b.requires_grad = False
    assert not was_fused(step, x, t)


def test_layers_that_are_exchanged_are_noticed(device: str) -> None:
    step, _ = twins("relu", device)
    x, t = (to_device(a, device) for a in batch(12, 6, 4))
    step.model.layers = (*step.model.layers[:1], gn.Tanh(), *step.model.layers[2:])
    assert not was_fused(step, x, t)


class Doubled(gn.ReLU):
    def call(self, x: Any) -> Any:
        return super().call(x) * 2


@pytest.mark.parametrize(
    ("model", "loss", "reason"),
    [
        (gn.MLP([6, 5, 4]), gn.MeanSquaredError(), "the loss is a MeanSquaredError"),
        (gn.MLP([6, 5, 4]), gn.SoftmaxWithLoss(class_weights=[1, 2, 3, 4]), "class weights"),
        (gn.Sequential(gn.Affine(6, 4), Doubled()), gn.SoftmaxWithLoss(), "layer 1 is a Doubled"),
        (gn.Affine(6, 4), gn.SoftmaxWithLoss(), "the model is a Affine"),
        (gn.Sequential(gn.Affine(6, 4), gn.ReLU()), gn.SoftmaxWithLoss(), "the last layer"),
        (gn.Sequential(gn.ReLU(), gn.Affine(6, 4)), gn.SoftmaxWithLoss(), "layer 0 (ReLU)"),
        (
            gn.Sequential(gn.Affine(6, 4), gn.ReLU(), gn.BatchNorm(4), gn.Affine(4, 4)),
            gn.SoftmaxWithLoss(),
            "layer 2 (BatchNorm)",
        ),
        (gn.Sequential(gn.Affine(6, 5), gn.Affine(4, 4)), gn.SoftmaxWithLoss(), "sizes"),
        (
            gn.Sequential(gn.Rescale(2.0, "float64"), gn.Affine(6, 4)),
            gn.SoftmaxWithLoss(),
            "two dtypes",
        ),
    ],
)
def test_the_reason_why_a_model_is_not_fused(model: Any, loss: Any, reason: str) -> None:
    step = gn.Step(model, loss, gn.optim.SGD(model.parameters()))
    assert reason in str(step.reason)


def test_a_custom_loss_trains_on_the_tape(device: str) -> None:
    model = gn.MLP([6, 5, 1], dtype="float64").to(device)
    optimizer = gn.optim.SGD(model.parameters(), lr=0.05)
    step = gn.Step(model, gn.MeanSquaredError(), optimizer)
    x, _ = batch(12, 6, 4)
    x, y = to_device(x, device), to_device(x[:, :1] * 2, device)
    losses = [float(step(x, y)) for _ in range(30)]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("name", ["relu", "norm"])
def test_bad_batches_raise_as_on_the_tape(name: str, device: str) -> None:
    fused, tape = twins(name, device)
    x, t = batch(12, 6, 4)
    bad = [(x[:, :5], t), (x, t[:-1]), (x[:0], t[:0]), (x, t * 1.0), (x[0], t)]
    bad += [(x[:1], t[:1])] if name == "norm" else []
    bad += [(x, t + 1), (x, t - 9)] if device == "cpu" else []
    before = fused.model.state_dict()
    for a, b in bad:
        messages = []
        for step in (fused, tape):
            with pytest.raises((ValueError, TypeError)) as caught:
                step(to_device(a, device), to_device(b, device))
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
    for key, p in fused.model.named_parameters():
        np.testing.assert_array_equal(to_host(p.data), to_host(before[key]), err_msg=key)


def test_a_label_out_of_range_on_a_gpu_makes_the_loss_nan(cp: Any) -> None:
    step, _ = twins("relu", "cuda")
    x, t = batch(12, 6, 4)
    t[3] = 4
    assert np.isnan(float(step(cp.asarray(x), cp.asarray(t))))


def test_an_optimizer_that_lost_the_parameters_raises(device: str) -> None:
    step, _ = twins("relu", device)
    gn.optim.SGD(step.model.parameters())
    with pytest.raises(RuntimeError, match="lost its parameters"):
        step(*(to_device(a, device) for a in batch(12, 6, 4)))


def test_an_optimizer_of_other_parameters_is_told(device: str) -> None:
    model = gn.MLP([6, 5, 4]).to(device)
    part = gn.optim.SGD(model[0].parameters())
    step = gn.Step(model, gn.SoftmaxWithLoss(), part)
    assert step.reason == "model and optimizer do not hold the same parameters"


def test_no_large_array_is_made_in_a_step() -> None:
    import tracemalloc

    model = gn.MLP([300, 200, 100, 10], batch_norm=True)
    step = gn.Step(model, gn.SoftmaxWithLoss(), gn.optim.Momentum(model.parameters()))
    x, t = batch(128, 300, 10)
    x = x.astype(np.float32)
    for _ in range(3):
        step(x, t)
    tracemalloc.start()
    step(x, t)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < model[0].W.data.nbytes  # Momentum's lr * grad, a block at a time
