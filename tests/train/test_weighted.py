"""Training on weighted rows: as on repeated ones, without those of weight 0, on every path."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.study.loss_surface import surface
from tests.train.trainings import LABELS, LOSSES, X, assert_same, mlp, trainer

WEIGHT = np.random.default_rng(4).uniform(0.5, 3, 23)
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


@pytest.mark.parametrize("name", LOSSES)
def test_whole_weights_are_rows_so_many_times(name: str, device: str) -> None:
    make, t, outputs = LOSSES[name]
    times = np.arange(23) % 4
    if name == "function":
        times = np.ones(23, int)
    rows = np.repeat(np.arange(23), times)
    one, two = mlp(device, outputs=outputs), mlp(device, outputs=outputs)
    wanted = trainer(one, make(device)).fit((X[rows], t[rows]), epochs=3, batch_size=None)
    found = trainer(two, make(device)).fit((X, t), epochs=3, batch_size=None, weight=times)
    assert_same(one, two, **CLOSE)
    assert found["train_loss"] == pytest.approx(wanted["train_loss"], rel=1e-9)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"drop_last": True}])
def test_rows_of_weight_0_are_not_there(device: str, options: dict[str, Any]) -> None:
    """The same batches in the same order, whatever those rows hold; also for a BatchNorm."""
    weight = np.where(np.arange(23) % 3 == 1, 0, WEIGHT)
    kept, settings = weight > 0, {"epochs": 3, "batch_size": 4, **options}
    x, t = X.copy(), LABELS.copy()
    x[~kept], t[~kept] = 1e6, -1
    one, two = (mlp(device, batch_norm=True, dropout=0.2) for _ in range(2))
    trainer(one).fit((X[kept], LABELS[kept]), weight=weight[kept], **settings)
    trainer(two).fit((x, t), weight=weight, **settings)
    assert_same(one, two)


def test_zeros_and_ones_are_rows_left_out(device: str) -> None:
    kept = np.arange(23) % 3 > 0
    one, two = mlp(device), mlp(device)
    trainer(one).fit((X[kept], LABELS[kept]), epochs=2, batch_size=5)
    trainer(two).fit((X, LABELS), epochs=2, batch_size=5, weight=kept)
    assert_same(one, two, **CLOSE)


def test_accumulated_batches_are_a_larger_one(device: str) -> None:
    for name in ("softmax", "class weights", "mean", "half sum", "sigmoid"):
        make, t, outputs = LOSSES[name]
        one, two = mlp(device, outputs=outputs), mlp(device, outputs=outputs)
        a = trainer(one, make(device)).fit((X, t, WEIGHT), epochs=2, batch_size=12)
        b = trainer(two, make(device)).fit((X, t, WEIGHT), epochs=2, batch_size=4, accumulate=3)
        assert_same(one, two, **CLOSE)
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-9)


def test_all_ways_to_give_them(device: str) -> None:
    class Data:
        x, t, weight = X, LABELS, WEIGHT

    models = [mlp(device) for _ in range(4)]
    trainer(models[0]).fit((X, LABELS), weight=WEIGHT, epochs=2)
    trainer(models[1]).fit((X, LABELS, WEIGHT.tolist()), epochs=2)
    trainer(models[2]).fit(Data(), epochs=2)
    trainer(models[3]).fit((X, LABELS), weight=gn.to_device(WEIGHT, device), epochs=2)
    for model in models[1:]:
        assert_same(models[0], model)


def test_streamed_and_mapped_data(sim: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    weight = np.where(np.arange(23) % 5, WEIGHT, 0)
    models = [mlp("cuda") for _ in range(3)]
    trainer(models[0]).fit((X, LABELS), weight=weight, epochs=2, batch_size=4)
    trainer(models[1]).fit((X, LABELS), weight=weight, epochs=2, batch_size=4, stream=True)
    trainer(models[2]).fit((mapped, LABELS), epochs=2, batch_size=4, weight=sim.asarray(weight))
    for model in models[1:]:
        assert_same(models[0], model)
    host = [mlp(), mlp()]
    trainer(host[0]).fit((X, LABELS), weight=weight, epochs=2, batch_size=4)
    trainer(host[1]).fit((mapped, LABELS), weight=weight, epochs=2, batch_size=4)
    assert_same(*host)


def test_validation_with_weights(device: str) -> None:
    fitted, times = trainer(mlp(device)), np.arange(23) % 3
    rows = np.repeat(np.arange(23), times)
    wanted = fitted.evaluate((X[rows], LABELS[rows]))
    x = X.copy()
    x[times == 0] = 1e5
    assert fitted.evaluate((x, LABELS, times)) == pytest.approx(wanted, rel=1e-12)
    history = fitted.fit((X, LABELS), (x, LABELS, times), epochs=1)
    assert history["valid_loss"] == [pytest.approx(fitted.evaluate((x, LABELS, times))["loss"])]


def test_the_step_says_why_it_is_on_the_tape(device: str) -> None:
    one, two = mlp(device), mlp(device)
    x, t, weight = (gn.to_device(a, device) for a in (X, LABELS, WEIGHT))
    step = gn.Step(one, gn.SoftmaxWithLoss(), gn.SGD(one.parameters(), lr=0.1))
    assert step.reason is None
    step(x, t)
    assert step.reason is None
    loss = step(x, t, weight=weight)
    assert step.reason == "the rows have weights"
    step(x, t)
    opt = gn.SGD(two.parameters(), lr=0.1)
    for given in (None, weight, None):
        opt.zero_grad()
        value = gn.SoftmaxWithLoss()(two(x), t, weight=given)
        value.backward()
        opt.step()
        if given is not None:
            assert float(loss) == pytest.approx(value.item())
    assert_same(one, two, **CLOSE)


BAD = {
    "length": (
        WEIGHT[:5],
        ValueError,
        r"train: weight must have shape \(23,\), one a row, got \(5,\)",
    ),
    "column": (WEIGHT[:, None], ValueError, r"must have shape \(23,\)"),
    "negative": (-WEIGHT, ValueError, r"train: weight -\d.* in row 0"),
    "nan": (np.full(23, np.nan), ValueError, "train: weight nan in row 0"),
    "zeros": (np.zeros(23), ValueError, "train: weight is zero in every row"),
    "words": (["a"] * 23, TypeError, "train: weight must hold numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_weights_change_nothing(name: str, device: str) -> None:
    weight, error, words = BAD[name]
    fitted = trainer(mlp(device))
    before = copy.deepcopy(fitted.model)
    with pytest.raises(error, match=words):
        fitted.fit((X, LABELS), epochs=1, weight=weight)
    assert_same(before, fitted.model)
    assert len(fitted.history) == 0
    with pytest.raises(ValueError, match="train has weights already; give them once"):
        fitted.fit((X, LABELS, WEIGHT), epochs=1, weight=WEIGHT)
    with pytest.raises(ValueError, match="valid: weight is zero"):
        fitted.fit((X, LABELS), (X, LABELS, np.zeros(23)), epochs=1)


def test_a_loss_without_weights_is_refused_before_training() -> None:
    fitted = trainer(mlp(), lambda z, t: gn.softmax_cross_entropy(z, t) * 2)
    with pytest.raises(TypeError, match="train: the loss takes no weights of rows"):
        fitted.fit((X, LABELS), epochs=1, weight=WEIGHT)


def test_capture_cannot_be_had_with_weights(sim: Any) -> None:
    with pytest.raises(ValueError, match="capture=True: the rows have weights"):
        trainer(mlp("cuda"), capture=True).fit((X, LABELS), epochs=1, weight=WEIGHT)


def test_a_nan_is_found_with_weights(device: str) -> None:
    model = mlp(device)
    fitted = trainer(model, optimizer=gn.SGD(model.parameters(), lr=1e200))
    with pytest.raises(gn.NonFiniteError):
        fitted.fit((X, LABELS), epochs=3, batch_size=4, weight=WEIGHT)


def test_a_checkpoint_knows_its_weights(tmp_path: Path, device: str) -> None:
    whole = trainer(mlp(device))
    whole.fit((X, LABELS), epochs=4, batch_size=5, weight=WEIGHT)
    first = trainer(mlp(device))
    first.fit((X, LABELS), epochs=2, batch_size=5, weight=WEIGHT)
    first.save(tmp_path / "t.safetensors")
    for other, words in ((None, "train.weight was"), (WEIGHT * 2, "train.weight holds other")):
        second = trainer(mlp(device))
        second.load(tmp_path / "t.safetensors")
        with pytest.raises(ValueError, match=words):
            second.fit((X, LABELS), epochs=2, batch_size=5, weight=other)
    second = trainer(mlp(device))
    second.load(tmp_path / "t.safetensors")
    second.fit((X, LABELS), epochs=2, batch_size=5, weight=WEIGHT)
    assert_same(whole.model, second.model)


def test_the_surface_of_weighted_rows() -> None:
    model, times = mlp(), np.arange(23) % 3
    rows = np.repeat(np.arange(23), times)
    found = surface(model, gn.softmax_cross_entropy, (X, LABELS, times), points=3)
    wanted = surface(model, gn.softmax_cross_entropy, (X[rows], LABELS[rows]), points=3)
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-12)


def test_a_captured_step_takes_weights(sim: Any) -> None:
    one, two = mlp("cuda"), mlp("cuda")
    steps = [gn.Step(m, gn.SoftmaxWithLoss(), gn.SGD(m.parameters(), lr=0.1)) for m in (one, two)]
    captured = gn.capture(steps[0])
    for k in range(5):
        rows = np.roll(np.arange(23), k)
        arrays = [sim.asarray(a[rows]) for a in (X, LABELS, WEIGHT)]
        assert float(captured(*arrays)) == pytest.approx(float(steps[1](*arrays)), rel=1e-12)
    assert_same(one, two, **CLOSE)
