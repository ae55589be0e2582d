"""Trainings that are stopped and go on: gpunet.train's checkpoint, state, resume, progress and fit.

tests/tools/kill.py does it with kill -9.
"""

from __future__ import annotations

import copy
import json
import pickle
import re
import signal
import warnings
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import rng, saving
from gpunet.backend import to_host
from gpunet.packing import pack, unpack
from gpunet.sealing import seal
from gpunet.train.checkpoint import seconds_of
from gpunet.train.state import settings_of

draw = np.random.default_rng(0)
X = draw.normal(size=(150, 5)).astype(np.float32)
LABELS = draw.integers(0, 3, 150)
VALID = X[:40] + 1, LABELS[:40]
FIT: dict[str, Any] = {"epochs": 4, "batch_size": 8}  # 19 updates an epoch


class At(gn.Callback):
    """Does something after update n, counted over all epochs."""

    def __init__(self, n: int, act: Callable[[Any], object]) -> None:
        self.n, self.act = n, act

    def on_update(self, trainer: Any) -> None:
        if trainer.optimizer.t >= self.n > 0:
            self.n = 0
            self.act(trainer)


def terminate(trainer: Any) -> None:
    signal.raise_signal(signal.SIGTERM)


def made(*callbacks: Any, device: str = "cpu", **options: Any) -> gn.Trainer:
    gn.seed(7)
    model = gn.MLP([5, 9, 6, 3], batch_norm=True, dropout=0.3).to(device)
    optimizer = gn.Adam(model.parameters(), lr=gn.schedules.cosine(0.05, 90), weight_decay=1e-3)
    return gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, callbacks, **options)


def fit(trainer: gn.Trainer, **options: Any) -> gn.Trainer:
    trainer.fit((X, LABELS), VALID, **(FIT | options))
    return trainer


def everything(trainer: Any) -> list[Any]:
    """All that a training leaves, in values that can be compared; seconds aside."""
    arrays = [*trainer.model.state_dict().values(), *trainer.optimizer.buffers()]
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in trainer.history.rows]
    history = trainer.history.stopped, trainer.history.kept
    numbers = trainer.model.numbers(), trainer.optimizer.t
    return [*(to_host(a).tobytes() for a in arrays), rows, history, numbers, rng.state()]


def resumed(path: Path, *callbacks: Any, **options: Any) -> gn.Trainer:
    again = made(*callbacks, **options)
    gn.seed(99)
    again.load(path)
    return again


# In mid-epoch, at its end, in the last update


@pytest.mark.parametrize("n", [1, 7, 19, 20, 45, 75, 76])
def test_a_signal_and_on(n: int, device: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    whole = everything(fit(made(device=device)))
    stopped = fit(made(At(n, terminate), gn.Checkpoint(path, every=3600.0), device=device))
    assert stopped.history.stopped == "interrupted"
    assert stopped.optimizer.t == n
    assert everything(fit(resumed(path, device=device))) == whole
    stopped.save(path)  # now with the best weights back
    assert everything(fit(resumed(path, device=device))) == whole


@pytest.mark.parametrize("n", [7, 19, 45])
def test_on_in_the_same_process(n: int, device: str) -> None:
    whole = everything(fit(made(device=device)))
    stopped = fit(made(At(n, terminate), device=device))
    twins = [copy.deepcopy(stopped), pickle.loads(pickle.dumps(stopped))]
    for trainer in (*twins, stopped):
        gn.seed(7)
        made()  # the generator is as it was
        assert everything(fit(trainer, epochs=4 - len(trainer.history))) == whole


@pytest.mark.parametrize(
    "way",
    [{"capture": "auto"}, {"capture": False}, {"phases": True}],
    ids=["graph", "eager", "phases"],
)
def test_on_the_captured_path(way: dict[str, Any], sim: Any, tmp_path: Path) -> None:
    """Launches of 50 updates and single ones, before and after."""
    x, t = np.tile(X, (4, 1)), np.tile(LABELS, 4)
    options = {"epochs": 2, "batch_size": 4}  # 150 updates an epoch
    ends = []
    for n in (None, 52, 149) if "phases" in way else (None, 2, 52, 102, 149, 151):
        path = tmp_path / f"{n}"
        callbacks = [] if n is None else [At(n, terminate), gn.Checkpoint(path, every=3600.0)]
        trainer = made(*callbacks, device="cuda", **way)
        trainer.fit((x, t), **options)
        if n is not None:
            assert n <= trainer.optimizer.t < min(n + 50, 300)
            trainer = resumed(path, device="cuda", **way)
            trainer.fit((x, t), **options)
        ends.append(everything(trainer))
    assert all(end == ends[0] for end in ends)


@pytest.mark.parametrize(
    "options",
    [
        {"accumulate": 3},
        {"drop_last": True},
        {"seed": None},
        {"batch_size": None},
        {"stream": True},
    ],
)
def test_however_it_is_fed(options: dict[str, Any], device: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    whole = everything(fit(made(device=device), **options))
    fit(made(At(2, terminate), gn.Checkpoint(path), device=device), **options)
    assert everything(fit(resumed(path, device=device), **options)) == whole


def test_class_weights(device: str, tmp_path: Path) -> None:
    """What a batch counts in the epoch's mean is read from the device."""

    def weighted(*callbacks: Any) -> gn.Trainer:
        trainer = made(*callbacks, device=device)
        trainer.loss = gn.SoftmaxWithLoss(class_weights=[1.0, 0.2, 3.0])
        return trainer

    whole = everything(fit(weighted(), accumulate=2))
    fit(weighted(At(5, terminate), gn.Checkpoint(tmp_path / "run")), accumulate=2)
    again = weighted()
    again.load(tmp_path / "run")
    assert everything(fit(again, accumulate=2)) == whole


def test_a_file_of_every_update_goes_on(tmp_path: Path) -> None:
    """Also where the reason to stop is known already, and where all is done."""
    stopping = {"patience": 1, "min_delta": 0.02}
    paths: list[Path] = []

    class Every(gn.Callback):
        def on_update(self, trainer: Any) -> None:
            paths.append(tmp_path / f"{len(paths)}")
            trainer.save(paths[-1])

    whole = fit(made(gn.EarlyStopping(**stopping)), epochs=9)
    assert whole.history.stopped.startswith("no better")
    watched = fit(made(gn.EarlyStopping(**stopping), Every()), epochs=9)
    assert everything(watched) == everything(whole)
    assert len(paths) == 20 * len(whole.history)
    for path in paths[::7] + paths[-2:]:
        again = fit(resumed(path, gn.EarlyStopping(**stopping)), epochs=9)
        assert everything(again) == everything(whole)


def test_every_so_many_epochs(tmp_path: Path) -> None:
    written: list[int] = []

    class Counting(gn.Checkpoint):
        def _write(self, trainer: Any) -> None:
            written.append(len(trainer.history))

    fit(made(Counting(tmp_path / "run", every=2)), epochs=5)
    assert written == [2, 4, 5]
    fit(made(Counting(tmp_path / "run", every=1e-9)), epochs=1)
    assert len(written) == 3 + 20 + 1


def test_a_run_that_is_done(tmp_path: Path) -> None:
    """Its last file does nothing again; one of after the fit adds epochs."""
    path = tmp_path / "run"
    done = fit(made(gn.Checkpoint(path)))
    again = resumed(path)
    assert everything(fit(again)) == everything(done)
    with pytest.raises(ValueError, match="has trained 4 epochs already; epochs=3, those"):
        fit(resumed(path), epochs=3)
    longer = everything(fit(made(), epochs=6))
    assert everything(fit(resumed(path), epochs=6)) == longer
    done.save(path)
    assert everything(fit(resumed(path), epochs=2)) == longer


# Callbacks


class Mean(gn.Callback):
    def on_start(self, trainer: Any) -> None:
        self.losses: list[float] = []
        self.arrays = {"sum": np.zeros(2)}

    def on_epoch(self, trainer: Any, row: dict[str, Any]) -> None:
        self.losses.append(row["train_loss"])
        self.arrays["sum"] = self.arrays["sum"] + 1
        row["mean"] = np.mean(self.losses)

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses, "arrays": self.arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses, self.arrays = state["losses"], state["arrays"]


def test_a_callback_with_a_state(tmp_path: Path) -> None:
    path, mean = tmp_path / "run", Mean()
    whole = everything(fit(made(Mean())))
    fit(made(Mean(), At(45, terminate), gn.Checkpoint(path)))
    assert everything(fit(resumed(path, mean))) == whole
    assert mean.arrays["sum"].tolist() == [4, 4]
    with pytest.raises(ValueError, match=r"callbacks was \[.*Mean.*\], is \[.*EarlyStopping"):
        fit(resumed(path))


class Failing(gn.Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch(self, trainer: Any, row: dict[str, Any]) -> None:
        if row["epoch"] == self.epoch:
            raise ZeroDivisionError


@pytest.mark.parametrize("first", [True, False])
def test_an_error_in_a_callback(first: bool, tmp_path: Path) -> None:
    """Each callback hears of each epoch once, those after the one that failed too."""
    path = tmp_path / "run"
    whole = everything(fit(made(Mean())))
    order = [Failing(3), Mean()] if first else [Mean(), Failing(3)]
    trainer = made(*order, gn.Checkpoint(path, every=100))
    with pytest.raises(ZeroDivisionError):
        fit(trainer)
    assert (len(trainer.history), trainer.optimizer.t) == (3, 57)
    assert trainer.history.stopped == "stopped by an error"
    assert everything(fit(resumed(path, Mean()))) == whole
    gn.seed(7)
    made()
    assert everything(fit(trainer, epochs=1)) == whole


class Wrong(gn.Layer):
    """Fails in its n-th training call."""

    def __init__(self, n: int) -> None:
        self.n = n

    def call(self, x: gn.Tensor) -> gn.Tensor:
        self.n -= self.training
        if self.n == 0 and self.training:
            raise ZeroDivisionError
        return x


def test_an_error_inside_an_update(device: str, tmp_path: Path) -> None:
    """BatchNorm and Dropout have moved on already: back to the last look."""

    def trained(n: int, *callbacks: Any, **options: Any) -> gn.Trainer:
        gn.seed(1)
        model = gn.Sequential(*gn.MLP([5, 9, 3], batch_norm=True, dropout=0.3), Wrong(n))
        model.to(device)
        trainer = gn.Trainer(
            model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()), callbacks, **options
        )
        if (tmp_path / "run").exists():
            trainer.load(tmp_path / "run")
        return trainer

    whole = everything(fit(trained(-1)))
    stopped = trained(50, gn.Checkpoint(tmp_path / "run", every=100))
    with pytest.raises(ZeroDivisionError):
        fit(stopped)
    assert (len(stopped.history), stopped.optimizer.t) == (2, 38)
    assert everything(fit(trained(-1))) == whole
    (tmp_path / "run").unlink()
    careless = trained(50, gn.Checkpoint(tmp_path / "run", every=2), on_nonfinite="ignore")
    with pytest.raises(ZeroDivisionError):
        fit(careless)
    assert careless.unfinished is None
    assert everything(fit(trained(-1))) == whole  # from the file of epoch 2


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def trained(at: int, *callbacks: Any) -> gn.Trainer:
        gn.seed(7)
        model = gn.MLP([5, 9, 3], batch_norm=True)
        rate = gn.schedules.piecewise([at], [0.01, 3e38])
        optimizer = gn.Adam(model.parameters(), lr=rate, eps=1e-30)
        return gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, callbacks)

    trainer = trained(80, gn.Checkpoint(path, every=100))
    with pytest.raises(gn.NonFiniteError) as caught:
        fit(trainer, epochs=9)
    step = caught.value.step
    assert caught.value.epoch == 5
    assert trainer.history["epoch"] == [1, 2, 3, 4]
    again = trained(80)
    again.load(path)
    assert again.optimizer.t == trainer.optimizer.t == 4 * 19 + step - 1
    again.optimizer.lr = 0.01  # a cure
    assert len(fit(again, epochs=9).history) == 9


def test_the_second_ctrl_c_leaves_the_last_file(tmp_path: Path) -> None:
    path = tmp_path / "run"
    whole = everything(fit(made()))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def twice(trainer: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    try:
        trainer = made(gn.Checkpoint(path, every=1), At(30, twice))
        with pytest.raises(KeyboardInterrupt):
            fit(trainer)
    finally:
        signal.signal(signal.SIGINT, before)
    assert trainer.unfinished is None
    again = resumed(path)
    assert again.optimizer.t == 19
    assert everything(fit(again)) == whole


def test_settings_that_a_callback_changes(tmp_path: Path) -> None:
    """They are in the file; what the trainer was made with is what is compared."""
    path = tmp_path / "run"

    class Anneal(gn.Callback):
        def on_epoch(self, trainer: Any, row: dict[str, Any]) -> None:
            trainer.optimizer.lr = 0.1 / row["epoch"]
            trainer.model[3].p = 0.3 / row["epoch"]
            trainer.model[0].W.requires_grad = row["epoch"] != 2

    whole = fit(made(Anneal()))
    fit(made(Anneal(), At(30, terminate), gn.Checkpoint(path)))
    again = made(Anneal())
    again.optimizer.lr = gn.schedules.cosine(0.05, 90)
    again.load(path)
    assert (again.optimizer.lr, again.model[3].p) == (0.1, 0.3)  # type: ignore[index]
    assert everything(fit(again)) == everything(whole)


# What is refused


def test_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "run"
    fit(made(At(30, terminate), gn.Checkpoint(path)))

    def refused(trainer: gn.Trainer, words: str) -> None:
        before = everything(trainer)
        with pytest.raises(ValueError, match=words):
            trainer.load(path)
        assert everything(trainer) == before
        assert trainer.unfinished is None

    refused(made(fuse=False), "trainer.fuse was True, is False")
    trainer = made()
    trainer.optimizer.lr = 0.3
    refused(trainer, re.escape("optimizer.groups.0.lr was cosine(0.05, 90, 0.0), is 0.3"))
    trainer.optimizer.lr = lambda t: 0.1
    refused(trainer, re.escape("optimizer.groups.0.lr was cosine(0.05, 90, 0.0), is a function"))
    trainer = made()
    trainer.optimizer.clip_norm = 1.0
    trainer.model[3].p = 0.5  # type: ignore[index]
    refused(trainer, r"model.3.p was 0.3, is 0.5; optimizer.clip_norm was None, is 1.0")
    trainer = made()
    trainer.loss = gn.SoftmaxWithLoss(label_smoothing=0.1)
    refused(trainer, "loss.label_smoothing was 0.0, is 0.1")
    trainer = made()
    trainer.model[0].W.requires_grad = False  # type: ignore[index]
    refused(trainer, r"frozen was \[\], is \['0.W'\]")
    model = gn.MLP([5, 9, 6, 4], batch_norm=True, dropout=0.3)
    other = gn.Trainer(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters()))
    refused(other, "model.8.out_features was 3, is 4; optimizer.kind was 'Adam', is 'SGD'")
    with pytest.raises(ValueError, match=r"0.W has shape|8.W has shape|no state of SGD"):
        other.load(path, strict=False)


def test_a_schedule_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def with_rate(rate: Any, *callbacks: Any) -> gn.Trainer:
        gn.seed(7)
        model = gn.MLP([5, 4, 3])
        optimizer = gn.SGD(model.parameters(), lr=rate)
        return gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, callbacks)

    whole = everything(fit(with_rate(lambda t: 0.1 / (1 + t))))
    fit(with_rate(lambda t: 0.1 / (1 + t), At(30, terminate), gn.Checkpoint(path)))
    again = with_rate(lambda t: 0.1 / (t + 1))
    again.load(path)
    assert everything(fit(again)) == whole
    with pytest.raises(ValueError, match=r"groups.0.lr was 0.1 at t = 0, is 0.2;"):
        with_rate(lambda t: 0.2 / (1 + t)).load(path)
    with pytest.raises(ValueError, match=r"lr was a function of t, is 0.1;"):
        with_rate(0.1).load(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 16}, "batch_size was 8, is 16"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"accumulate": 2}, "accumulate was 1, is 2"),
        ({"drop_last": True}, "drop_last was False, is True"),
        ({"train": (X + 1, LABELS)}, "train.x holds other numbers"),
        ({"train": (X, 2 - LABELS)}, "train.t holds other numbers"),
        ({"train": (X[:99], LABELS[:99])}, "train.x.shape.0 was 150, is 99"),
        ({"train": (X.astype(np.float64), LABELS)}, "train.x.dtype was 'float32', is 'float64'"),
        ({"valid": None}, "valid was .*, is None"),
        ({"valid": (VALID[0] * 2, VALID[1])}, "valid.x holds other numbers"),
    ],
)
def test_other_data(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    fit(made(At(30, terminate), gn.Checkpoint(path)))
    given = {"train": (X, LABELS), "valid": VALID, **FIT} | options
    again = resumed(path)
    before = everything(again)
    with pytest.raises(ValueError, match=f"the training that was loaded had other.*{words}"):
        again.fit(**given)
    assert everything(again) == before
    again.load(path, strict=False)
    assert len(again.fit(**given).rows) >= 4  # anew from the epoch that was stopped


def test_other_patience(tmp_path: Path) -> None:
    path = tmp_path / "run"
    fit(made(gn.EarlyStopping(3), At(30, terminate), gn.Checkpoint(path)))
    with pytest.raises(ValueError, match=r"callbacks.0.patience was 3, is 4"):
        fit(resumed(path, gn.EarlyStopping(4)))


def test_its_own_settings_without_strict(tmp_path: Path) -> None:
    path = tmp_path / "run"
    fit(made(At(30, terminate), gn.Checkpoint(path)))
    again = made()
    again.optimizer.lr = 1e-3
    again.load(path, strict=False)
    assert (again.optimizer.lr, again.optimizer.t) == (1e-3, 30)
    assert len(fit(again).history) == 4


def test_files_that_are_none(tmp_path: Path) -> None:
    trainer = made()
    with pytest.raises(FileNotFoundError):
        trainer.load(tmp_path / "gone")
    gn.save(trainer.model, tmp_path / "model")
    with pytest.raises(gn.ModelFileError, match=r"holds a model: gn.load\(path\)"):
        trainer.load(tmp_path / "model")
    trainer.save(tmp_path / "run")
    for load in (gn.load, gn.load_state):
        with pytest.raises(gn.ModelFileError, match=r"holds a training: trainer.load\(path\)"):
            load(tmp_path / "run")
    whole = bytearray((tmp_path / "run").read_bytes())
    for at in range(0, len(whole), 997):
        data = whole.copy()
        data[at] ^= 1 << at % 8
        (tmp_path / "run").write_bytes(data)
        with pytest.raises(gn.ModelFileError):
            trainer.load(tmp_path / "run")


def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    """A description that somebody changed, with a right checksum: each part of it in turn."""
    path = tmp_path / "run"
    trainer = made(At(40, terminate))
    fit(trainer).save(path)
    words, arrays = saving.read(path, "training")
    tree = unpack(json.loads(words["training"]), arrays)
    other = resumed(path)
    fit(other)
    before, settings = everything(other), settings_of(other)
    refused = 0
    junk_of = cycle([None, "x", -1, [], {"a": 1}])
    for keys in places(tree):
        for junk in islice(junk_of, 2):
            damaged = copy.deepcopy(tree)
            put(damaged, keys, junk)
            packed, own = pack(damaged)
            path.write_bytes(seal(own, {"training": json.dumps(packed)}))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    other.load(path)
                except ValueError:
                    refused += 1
                    assert everything(other) == before, (keys, junk)
                    assert settings_of(other) == settings, (keys, junk)
                else:  # it says another training, or nothing that matters
                    before, settings = everything(other), settings_of(other)
    assert refused > 80


def places(tree: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys of every part of a tree of dicts and lists, arrays left out."""
    if not isinstance(tree, (dict, list)):
        return []
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return [one for key, value in pairs for one in [(*above, key), *places(value, (*above, key))]]


def put(tree: Any, keys: tuple[Any, ...], value: Any) -> None:
    for key in keys[:-1]:
        tree = tree[key]
    tree[keys[-1]] = value


def test_other_surroundings_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made().save(tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made().load(tmp_path / "run")
    monkeypatch.setattr("numpy.__version__", "1.99")
    with pytest.warns(RuntimeWarning, match=r"other surroundings.*numpy was '.*', is '1.99'") as w:
        made().load(tmp_path / "run")
    assert w[0].filename == __file__


# Checkpoint itself


@pytest.mark.parametrize(
    ("every", "seconds"),
    [(1, None), (20, None), ("60s", 60), ("5m", 300), ("5 min", 300), ("1.5h", 5400), (0.5, 0.5)],
)
def test_every(every: Any, seconds: float | None) -> None:
    assert seconds_of(every) == seconds


@pytest.mark.parametrize(
    "every", [0, -1, True, 0.0, -1.0, np.inf, np.nan, "60", "s", "0s", None, []]
)
def test_no_every(every: Any) -> None:
    with pytest.raises(ValueError, match="every must be a whole number of epochs from 1, a time"):
        gn.Checkpoint("x", every)


def test_what_cannot_be_written_is_told_before(tmp_path: Path) -> None:
    for path, kind in ((tmp_path, IsADirectoryError), (tmp_path / "no" / "x", FileNotFoundError)):
        trainer = made(gn.Checkpoint(path))
        with pytest.raises(kind):
            fit(trainer)
        assert trainer.optimizer.t == 0

    class Open(gn.Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"file": object()}

    trainer = made(gn.Checkpoint(tmp_path / "run"), Open())
    with pytest.raises(TypeError, match=r"Open.file is a object; a file can hold"):
        fit(trainer)
    assert (trainer.optimizer.t, list(tmp_path.iterdir())) == (0, [])


def test_a_full_disk_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    fit(made(gn.Checkpoint(path)), epochs=1)
    old = path.read_bytes()

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.warns(RuntimeWarning, match="no checkpoint was written: .*No space left"):
        trainer = fit(made(gn.Checkpoint(path)))
    assert trainer.history.stopped == "all epochs done"
    assert path.read_bytes() == old


def test_a_copy_in_mid_fit_is_independent() -> None:
    whole = everything(fit(made()))
    twins: list[Any] = []
    trainer = fit(made(At(30, lambda trainer: twins.append(copy.deepcopy(trainer)))))
    assert everything(trainer) == whole
    (twin,) = twins
    assert twin.model is not trainer.model
    gn.seed(7)
    made()
    assert everything(fit(twin, epochs=4 - len(twin.history))) == whole


def test_weights_that_were_exchanged_stay() -> None:
    """After Ctrl-C the best weights are there; who puts others in their place keeps these."""
    stopped = fit(made(At(30, terminate)))
    zeros = {name: np.zeros_like(a) for name, a in stopped.model.state_dict().items()}
    stopped.model.load_state_dict(zeros)
    stopped.optimizer.lr = 0.0
    stopped.optimizer.weight_decay = 0.0
    fit(stopped, epochs=1)
    assert not any(p.data.any() for p in stopped.model.parameters())


def test_model_and_optimizer_are_enough_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    whole = fit(made(), epochs=5)
    half = fit(made(), epochs=3)
    gn.save(half.model, tmp_path / "model")
    gn.save(half.optimizer, tmp_path / "optimizer")
    model = gn.load(tmp_path / "model")
    optimizer = gn.Adam(model.parameters(), lr=gn.schedules.cosine(0.05, 90))
    optimizer.load_state_dict(gn.load_state(tmp_path / "optimizer"))
    again = fit(gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer), epochs=2)
    assert again.history["train_loss"] == whole.history["train_loss"][3:]
    assert everything(again)[:-4] == everything(whole)[:-4]
