"""gpunet.train.trainer: the loop against loops written by hand, and what must not happen in it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.data import batches
from tests.train.trainings import LABELS, LOSSES, X, assert_same, mlp, state, trainer

# The updates


@pytest.mark.parametrize("batch_size", [8, None, 1, 23, 100])
def test_fit_is_the_loop_that_one_would_write(batch_size: int | None, device: str) -> None:
    by_hand = mlp(device)
    optimizer, loss_fn = gn.Adam(by_hand.parameters(), lr=0.01), gn.SoftmaxWithLoss()
    x, t = gn.to_device(X, device), gn.to_device(LABELS, device)
    losses = []
    for epoch in range(2):
        seen = []
        for rows in batches(len(x), batch_size, seed=5, epoch=epoch):
            on_device = gn.to_device(rows, device)
            loss = loss_fn(by_hand(x[on_device]), t[on_device])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(loss.item() * len(rows))
        losses.append(sum(seen) / len(x))

    for fuse in (False, True):
        model = mlp(device)
        fitted = trainer(model, optimizer=gn.Adam(model.parameters(), lr=0.01), fuse=fuse)
        history = fitted.fit((X, LABELS), epochs=2, batch_size=batch_size, seed=5)
        assert_same(model, by_hand, atol=1e-4 if fuse else 0)
        assert history["train_loss"] == pytest.approx(losses, rel=1e-5 if fuse else 1e-12)
        assert fitted.optimizer.t == optimizer.t


class Recorder(gn.Layer):
    """Keeps the first column of every batch in training."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def call(self, x: gn.Tensor) -> gn.Tensor:
        if self.training:
            self.seen += to_host(x.data)[:, 0].tolist()
        return x


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (0, [5, 2, 0, 4, 1, 3, 3, 4, 1, 2, 5, 0]),
        (9, [2, 4, 5, 0, 3, 1, 2, 0, 5, 3, 4, 1]),
        (None, [0, 1, 2, 3, 4, 5] * 2),
    ],
)
def test_the_order_is_the_same_everywhere(
    seed: int | None, expected: list[int], device: str
) -> None:
    recorder = Recorder()
    model = gn.Sequential(recorder, gn.Affine(1, 1)).to(device)
    column = np.arange(6.0)[:, None]
    fitted = trainer(model, gn.MeanSquaredError(), gn.SGD(model.parameters(), lr=0.0))
    fitted.fit((column, column), epochs=2, batch_size=4, seed=seed)
    assert recorder.seen == expected


def line(start: float = 0.0) -> Any:
    """One weight; on x = 1 its output is the weight."""
    return gn.Sequential(gn.Affine(1, 1, lambda rng, shape: np.full(shape, start), bias=False))


ONES = (np.ones((6, 1), np.float32), np.ones(6))


def falling(z: gn.Tensor, t: Any) -> gn.Tensor:
    """A loss whose gradient for the weight of `line` is -1."""
    return -z.mean()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_schedule_is_asked_once_an_update(accumulate: int) -> None:
    model = line()
    lr = gn.schedules.piecewise([1, 3, 4], [1.0, 0.5, 0.25, 0.125])
    fitted = trainer(model, falling, gn.SGD(model.parameters(), lr=lr))
    history = fitted.fit(ONES, epochs=2, batch_size=2, accumulate=accumulate)
    if accumulate == 1:  # updates 0, 1, 2 and 3, 4, 5
        assert model[0].W.data.item() == 1 + 0.5 + 0.5 + 0.25 + 0.125 + 0.125
        assert history["lr"] == [1.0, 0.25]
    else:  # two updates an epoch, the second of one batch
        assert model[0].W.data.item() == 1 + 0.5 + 0.5 + 0.25
        assert history["lr"] == [1.0, 0.5]


def test_cocob_has_no_lr() -> None:
    model = mlp()
    history = trainer(model, optimizer=gn.COCOB(model.parameters())).fit((X, LABELS), epochs=1)
    assert history["lr"] == [None]


# The history


@pytest.mark.parametrize("name", LOSSES)
def test_history_rows(name: str, device: str) -> None:
    make, t, outputs = LOSSES[name]
    model = mlp(device, outputs=outputs)
    still = trainer(model, make(device), gn.SGD(model.parameters(), lr=0.0))
    history = still.fit((X, t), (X[:9], t[:9]), epochs=2, batch_size=4)
    columns = ["epoch", "train_loss", "valid_loss", "valid_accuracy", "lr", "seconds"]
    if name in ("mean", "half sum"):
        columns.remove("valid_accuracy")
    assert history.columns == columns
    assert history["epoch"] == [1, 2]
    assert history["lr"] == [0.0, 0.0]
    assert all(0 < seconds < 60 for seconds in history["seconds"])
    assert (history.stopped, history.kept) == ("all epochs done", 2)
    # Nothing moves with lr = 0: the mean over short batches is the loss of all rows at once.
    on_device = [gn.to_device(np.asarray(a), device) for a in (X, t)]
    whole = make(device)(model(on_device[0]), on_device[1]).item() / (
        23 if name == "half sum" else 1
    )
    assert history["train_loss"] == pytest.approx([whole] * 2, rel=1e-12)
    assert still.evaluate((X, t))["loss"] == pytest.approx(whole, rel=1e-12)
    found = still.evaluate((X[:9], t[:9]))
    assert history["valid_loss"] == [found["loss"]] * 2
    if "valid_accuracy" in columns:
        assert history["valid_accuracy"] == [found["accuracy"]] * 2
        z = model(on_device[0]).numpy()[:9]
        right = (z[:, 0] > 0) == t[:9] if name == "sigmoid" else z.argmax(1) == LABELS[:9]
        assert found["accuracy"] == pytest.approx(right.mean())
        assert 0 < right.mean() < 1  # else this would prove little


# BatchNorm and short batches


class Inside(gn.Layer):
    def __init__(self) -> None:
        self.norm = gn.BatchNorm(5)

    def call(self, x: gn.Tensor) -> gn.Tensor:
        return self.norm(x)


def with_norm() -> Any:
    return gn.Sequential(gn.Sequential(Inside()), gn.Affine(5, 3))


@pytest.mark.parametrize(
    ("make", "rows", "steps"), [(with_norm, 9, 2), (with_norm, 10, 3), (mlp, 9, 3)]
)
def test_a_last_batch_of_one_row(make: Any, rows: int, steps: int) -> None:
    model = make()
    fitted = trainer(model)
    history = fitted.fit((X[:rows], LABELS[:rows]), epochs=2, batch_size=4)
    assert fitted.optimizer.t == 2 * steps
    assert np.isfinite(history["train_loss"]).all()


@pytest.mark.parametrize(("rows", "batch_size"), [(9, 1), (1, 4), (1, None)])
def test_batch_norm_refuses_single_rows_at_once(rows: int, batch_size: int | None) -> None:
    model = with_norm()
    with pytest.raises(ValueError, match="BatchNorm needs at least 2 rows"):
        trainer(model).fit((X[:rows], LABELS[:rows]), epochs=1, batch_size=batch_size)


def test_drop_last() -> None:
    model = mlp()
    fitted = trainer(model)
    fitted.fit((X, LABELS), epochs=2, batch_size=4, drop_last=True)
    assert fitted.optimizer.t == 2 * 5


# Stopping


def scripted(losses: list[float]) -> Callable[[Any, Any], gn.Tensor]:
    """A loss for `line` trained in full batches with lr = 1: its weight counts the epochs, and the
    validation loss (t = 0) after epoch k is losses[k - 1]; the training loss is 1 - k.
    """

    def loss(z: gn.Tensor, t: Any) -> gn.Tensor:
        if t[0]:
            return -z.mean()
        return gn.Tensor(np.float64([0.0, *losses][round(z.data[0].item())]))

    return loss


def run(losses: list[float], *callbacks: gn.Callback) -> tuple[gn.History, float]:
    model = line()
    fitted = trainer(model, scripted(losses), gn.SGD(model.parameters(), 1.0), callbacks=callbacks)
    valid = np.ones((2, 1), np.float32), np.zeros(2)
    history = fitted.fit(ONES, valid, epochs=len(losses), batch_size=None)
    return history, model[0].W.data.item()


@pytest.mark.parametrize(
    ("stopping", "epochs", "weight", "why"),
    [
        (gn.EarlyStopping(patience=2), 5, 3, "no better validation loss for 2 epochs"),
        (gn.EarlyStopping(patience=1), 2, 1, "no better validation loss for 1 epoch"),
        (gn.EarlyStopping(patience=3), 7, 6, "all epochs done"),
        (gn.EarlyStopping(patience=2, restore_best=False), 5, 5, "no better validation loss"),
        (gn.EarlyStopping(patience=None), 7, 6, "all epochs done"),
        # 5.0 -> 4.6 is no new best when it must be lower by more than 0.5; 5.0 -> 4.0 is one
        (gn.EarlyStopping(patience=2, min_delta=0.5), 3, 1, "no better validation loss"),
        (gn.EarlyStopping(patience=5, min_delta=0.5), 7, 6, "all epochs done"),
        (gn.StopAtLoss(-3.0), 4, 4, "training loss reached -3"),
        (gn.StopAtLoss(-2.5), 4, 4, "training loss reached -2.5"),
        (gn.StopAtLoss(-99), 7, 7, "all epochs done"),
    ],
)
def test_stopping(stopping: gn.Callback, epochs: int, weight: float, why: str) -> None:
    history, found = run([5.0, 5.0, 4.6, 4.7, 4.8, 4.0, 4.0], stopping)
    assert (len(history), found) == (epochs, weight)
    assert history.stopped.startswith(why)
    assert history.kept == weight
    assert history["valid_loss"] == [5.0, 5.0, 4.6, 4.7, 4.8, 4.0, 4.0][:epochs]
    assert history["train_loss"] == [float(1 - k) for k in range(1, epochs + 1)]


def test_nan_is_never_the_best() -> None:
    history, weight = run([np.nan, 3.0, np.nan, 4.0], gn.EarlyStopping(patience=None))
    assert (weight, history.best_epoch) == (2, 2)


class Talker(gn.Callback):
    def __init__(self, stop_after: int = 99) -> None:
        self.heard: list[Any] = []
        self.stop_after = stop_after

    def on_start(self, trainer: gn.Trainer) -> None:
        self.heard.append(("start", len(trainer.history)))

    def on_epoch(self, trainer: gn.Trainer, row: dict[str, Any]) -> str | None:
        row["note"] = f"weight {trainer.model[0].W.data.item():g}"  # type: ignore[index]
        self.heard.append(row["epoch"])
        return "enough" if row["epoch"] == self.stop_after else None

    def on_end(self, trainer: gn.Trainer, interrupted: bool) -> None:
        self.heard.append(("end", interrupted, trainer.history.stopped))


def test_own_callbacks() -> None:
    one, two = Talker(stop_after=2), Talker()
    history, _ = run([3.0, 2.0, 1.0], one, two)
    assert one.heard == two.heard == [("start", 0), 1, 2, ("end", False, "enough")]
    assert history["note"] == ["weight 1", "weight 2"]
    assert "note=weight 2" in repr(history)


def test_early_stopping_starts_anew_in_each_fit() -> None:
    stopping = gn.EarlyStopping(patience=2)
    assert len(run([1.0, 2.0, 2.0, 2.0], stopping)[0]) == 3
    assert len(run([5.0, 4.0, 3.0, 2.0], stopping)[0]) == 4
    assert (stopping.best, stopping.best_epoch) == (2.0, 4)


def test_fit_twice_continues(device: str) -> None:
    def make() -> gn.Trainer:
        model = mlp(device, dropout=0.3, batch_norm=True)
        lr = gn.schedules.cosine(0.1, 20)
        return trainer(model, optimizer=gn.Adam(model.parameters(), lr=lr))

    once, twice = make(), make()
    once.fit((X, LABELS), (X, LABELS), epochs=5, batch_size=8)
    twice.fit((X, LABELS), (X, LABELS), epochs=2, batch_size=8)
    twice.fit((X, LABELS), (X, LABELS), epochs=3, batch_size=8)
    assert_same(once.model, twice.model)
    assert twice.history["epoch"] == [1, 2, 3, 4, 5]
    for column in ("train_loss", "valid_loss", "valid_accuracy", "lr"):
        assert once.history[column] == twice.history[column]


def test_the_second_fit_may_lack_validation() -> None:
    fitted = trainer(mlp())
    fitted.fit((X, LABELS), (X, LABELS), epochs=2)
    history = fitted.fit((X, LABELS), epochs=1)
    assert history["valid_loss"][2] is None
    assert history.best_epoch in (1, 2)


# Wrong input: said before anything is changed


def with_nan(at: tuple[int, ...], value: float = np.nan) -> Any:
    x = X.copy()
    x[at] = value
    return x


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "epochs 0": ({"epochs": 0}, ValueError, "epochs must be a whole number from 1, got 0"),
    "epochs 1.5": ({"epochs": 1.5}, ValueError, "epochs must be a whole number"),
    "epochs True": ({"epochs": True}, ValueError, "epochs must be a whole number"),
    "batch_size 0": ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    "batch_size 2.0": ({"batch_size": 2.0}, TypeError, "batch_size must be an integer"),
    "accumulate 0": ({"accumulate": 0}, ValueError, "accumulate must be a whole number from 1"),
    "seed -1": ({"seed": -1}, ValueError, "seed must be"),
    "drop all": ({"batch_size": 50, "drop_last": True}, ValueError, "leaves no batch"),
    "no pair": ({"train": X}, TypeError, r"train must be a pair \(x, t\), .* got ndarray"),
    "four": ({"train": (X, LABELS, LABELS, 1)}, TypeError, r"train must be a pair \(x, t\)"),
    "none": ({"train": None}, TypeError, "train must be a pair"),
    "a generator": ({"train": iter([X, LABELS])}, TypeError, "train must be a pair"),
    "valid": ({"valid": 3}, TypeError, r"valid must be a pair \(x, t\), .* got int"),
    "text": ({"train": (X.astype(str), LABELS)}, TypeError, "train: x must hold numbers"),
    "objects": ({"train": (X, np.array([None] * 23))}, TypeError, "train: t must hold numbers"),
    "complex": ({"train": (X * 1j, LABELS)}, TypeError, "train: x must hold numbers"),
    "ragged": ({"train": ([[1.0], [1.0, 2.0]], [0, 1])}, ValueError, "train: x is no array"),
    "a number": ({"train": (3.0, 4)}, ValueError, "train: x must have one row a sample"),
    "empty": ({"train": (X[:0], LABELS[:0])}, ValueError, "train: no rows"),
    "empty valid": ({"valid": (X[:0], LABELS[:0])}, ValueError, "valid: no rows"),
    "lengths": ({"train": (X, LABELS[:9])}, ValueError, "x has 23 rows but t has 9"),
    "features": ({"train": (X[:, :4], LABELS)}, ValueError, r"train: affine.*\(23, 4\).*\(5, 7\)"),
    "valid features": ({"valid": (X[:, :4], LABELS)}, ValueError, "valid: affine"),
    "one axis": ({"train": (X[:, 0], LABELS)}, ValueError, "train: affine needs"),
    "nan": ({"train": (with_nan((7, 2)), LABELS)}, ValueError, "x holds nan in row 7, column 2"),
    "inf": ({"valid": (with_nan((3, 4), -np.inf), LABELS)}, ValueError, "x holds -inf in row 3"),
    "nan target": ({"train": (X, with_nan((5, 1)))}, ValueError, "t holds nan in row 5, column 1"),
    "label 3": ({"train": (X, np.r_[LABELS[:11], 3, LABELS[12:]])}, ValueError, "label 3 in row"),
    "label -1": ({"valid": (X, np.r_[LABELS[:22], -1])}, ValueError, "valid: label -1 in row 22"),
    "float labels": ({"train": (X, LABELS * 1.0)}, TypeError, "train: .*labels must be integers"),
    "bool labels": ({"train": (X, LABELS > 0)}, TypeError, "train: .*labels must be integers"),
    "one-hot": ({"train": (X, np.eye(4)[LABELS])}, ValueError, "train: .*do not fit"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(name: str, device: str) -> None:
    options, kind, words = WRONG[name]
    model = mlp(device).eval()
    talker = Talker()
    fitted = trainer(model, callbacks=[talker])
    before = state(model)
    with pytest.raises(kind, match=words):
        fitted.fit(**({"train": (X, LABELS), "epochs": 1} | options))
    assert not model.training
    assert talker.heard == []
    assert fitted.history.stopped == "not started"
    assert fitted.optimizer.t == 0
    for key, array in state(model).items():
        np.testing.assert_array_equal(array, before[key])


def test_early_stopping_wants_validation_at_once() -> None:
    fitted = trainer(mlp(), callbacks=[gn.EarlyStopping()])
    with pytest.raises(ValueError, match="EarlyStopping needs validation data"):
        fitted.fit((X, LABELS), epochs=1)
    assert fitted.optimizer.t == 0


def test_an_optimizer_of_another_model() -> None:
    fitted = gn.Trainer(mlp(), gn.SoftmaxWithLoss(), gn.SGD(mlp().parameters(), lr=0.1))
    with pytest.raises(ValueError, match="trains none of the model's parameters"):
        fitted.fit((X, LABELS), epochs=1)
    loose = gn.Trainer(mlp(), gn.SoftmaxWithLoss(), gn.SGD(lr=0.1))
    with pytest.raises(ValueError, match="trains none of the model's parameters"):
        loose.fit((X, LABELS), epochs=1)


def test_an_optimizer_that_lost_its_parameters() -> None:
    model = mlp()
    fitted = trainer(model)
    gn.Adam(model.parameters())
    with pytest.raises(ValueError, match="another optimizer; make a new one"):
        fitted.fit((X, LABELS), epochs=1)


def test_a_part_of_the_model_may_be_frozen() -> None:
    model = mlp()
    last = model[2]
    trainer(model, optimizer=gn.SGD(last.parameters(), lr=0.1)).fit((X, LABELS), epochs=1)
    fresh = mlp()
    np.testing.assert_array_equal(model[0].W.data, fresh[0].W.data)
    assert (last.W.data != fresh[2].W.data).all()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda z, t: z, r"the loss must be a Tensor of one number, got shape \(23, 3\)"),
        (lambda z, t: 1.0, "the loss must be a Tensor of one number, got float"),
    ],
)
def test_a_loss_that_is_no_number(loss: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trainer(mlp(), loss).fit((X, LABELS), epochs=1)


def test_data_with_names() -> None:
    one, two = mlp(), mlp()
    trainer(one).fit((X, LABELS), epochs=1)
    trainer(two).fit(SimpleNamespace(x=X, t=LABELS), epochs=1)
    assert_same(one, two)


def test_without_a_fingerprint_an_epoch_that_was_stopped_begins_anew() -> None:
    class Stop(gn.Callback):
        def on_update(self, trainer: Any) -> None:
            if trainer.optimizer.t == 2:
                raise RuntimeError("stop")

    def stopped(**options: Any) -> gn.Trainer:
        made = trainer(mlp(), callbacks=[Stop()], **options)
        with pytest.raises(RuntimeError, match="stop"):
            made.fit((X, LABELS), epochs=1, batch_size=5)
        made.callbacks = []
        made.fit((X, LABELS), epochs=1, batch_size=5)
        return made

    assert stopped(resumable=False).optimizer.t == 2 + 5
    assert stopped().optimizer.t in (5, 7)  # the callbacks are others: it begins anew, too
