"""The models of an ensemble are those that are trained alone, to the last bit where it is fused."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.ensemble import fit
from gpunet.ensemble.evaluation import Scores
from gpunet.ensemble.stack import Stack
from gpunet.optim import OPTIMIZERS, native
from gpunet.phases import launch
from gpunet.testing import simgpu
from gpunet.train import evaluation, launches
from gpunet.train.feed import Feed

RNG = np.random.default_rng(5)
LABELS = RNG.integers(0, 3, 90)
X = (RNG.normal(size=(90, 6)) + LABELS[:, None]).astype(np.float32)
TRAIN, VALID = (X[:70], LABELS[:70]), (X[70:], LABELS[70:])
NUMBERS = (X[:70], X[:70, :2] * 2), (X[70:], X[70:, :2] * 2)
SHAPES: dict[str, Callable[[], Any]] = {
    "plain": lambda: gn.MLP([6, 8, 3]),
    "all": lambda: gn.MLP([6, 9, 7, 3], "tanh", batch_norm=True, dropout=0.3),
    "float64": lambda: gn.MLP([6, 8, 3], "gelu", dropout=0.2, dtype=np.float64),
    "no bias": lambda: gn.Sequential(
        gn.Rescale(0.5), gn.Affine(6, 5, bias=False), gn.ReLU(), gn.Affine(5, 3, bias=False)
    ),
}


def shown(history: gn.History) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]


def alone(make: Any, kind: Any, seed: int, data: Any, loss: Any = None, **settings: Any) -> Any:
    """A Trainer that does what the ensemble does for one model."""
    callbacks, epochs = settings.pop("callbacks", ()), settings.pop("epochs", 3)
    given = {"progress": False, "phases": settings.pop("phases", "auto")}
    gn.seed(seed)
    model = make()
    for layer in model:
        if isinstance(layer, gn.Dropout):
            layer.p = settings.get("dropout", layer.p)
    settings.pop("dropout", None)
    optimizer = kind(model.parameters(), **settings)
    trainer = gn.Trainer(model, loss or gn.SoftmaxWithLoss(), optimizer, callbacks, **given)
    trainer.fit(*data, epochs=epochs, batch_size=16, seed=seed)
    return trainer


def one_of(settings: dict[str, Any], k: int) -> dict[str, Any]:
    return {name: v[k] if isinstance(v, list) else v for name, v in settings.items()}


def assert_same(ensemble: gn.Ensemble, trainers: list[Any], **tolerance: float) -> None:
    for k, trainer in enumerate(trainers):
        one, other = trainer.model.state_dict(), ensemble.models[k].state_dict()
        for name in one:
            a, b = to_host(one[name]), to_host(other[name])
            np.testing.assert_allclose(b, a, **({"rtol": 0, "atol": 0} | tolerance))
        if not tolerance:
            assert shown(ensemble.histories[k]) == shown(trainer.history)
            assert ensemble.optimizers[k].t == trainer.optimizer.t
        assert ensemble.histories[k].kept == trainer.history.kept
        assert ensemble.histories[k].stopped == trainer.history.stopped


def check(make: Any, kind: Any, n: int, data: Any = (TRAIN, VALID), **settings: Any) -> Any:
    epochs, callbacks = settings.pop("epochs", 3), settings.pop("callbacks", ())
    ensemble = gn.Ensemble(make, n, kind, callbacks=callbacks, progress=False, **settings)
    ensemble.fit(*data, epochs=epochs, batch_size=16)
    trainers = [
        alone(make, kind, k, data, callbacks=callbacks, epochs=epochs, **one_of(settings, k))
        for k in range(n)
    ]
    assert_same(ensemble, trainers)
    return ensemble


@pytest.mark.parametrize("loops", ["numpy", "native"])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer(name: str, loops: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "choice", lambda: loops)
    kind = OPTIMIZERS[name]
    check(SHAPES["plain"], kind, 3, **({"lr": [1e-3, 3e-2, 1e-2]} if kind.has_lr else {}))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(shape: str) -> None:
    check(SHAPES[shape], gn.Adam, 3, lr=[1e-3, 3e-2, 1e-2])


@pytest.mark.parametrize("loops", ["numpy", "native"])
def test_settings_of_their_own(loops: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "choice", lambda: loops)
    ensemble = check(
        SHAPES["all"],
        gn.Adam,
        4,
        lr=[1e-3, gn.schedules.cosine(0.01, 10), 1e-2, 1e-2],
        weight_decay=[0.0, 1e-2, 0.0, 0.1],
        betas=[(0.9, 0.99), (0.8, 0.9), (0.9, 0.99), (0.5, 0.999)],
        clip_norm=[None, 0.5, 0.1, None],
        dropout=[0.0, 0.3, 0.5, 0.1],
    )
    assert ensemble.given[3]["betas"] == (0.5, 0.999)
    assert set(ensemble.given[0]) == {
        "seed", "lr", "weight_decay", "betas", "clip_norm", "dropout"
    }  # fmt: skip


def test_a_template_is_drawn_anew() -> None:
    template = gn.Sequential(
        gn.Affine(6, 8, init=gn.Normal(0.1)), gn.BatchNorm(8), gn.ReLU(), gn.Dropout(0.3),
        gn.Affine(8, 3),
    )  # fmt: skip

    def lines() -> Any:
        return gn.Sequential(
            gn.Affine(6, 8, init=gn.Normal(0.1)), gn.BatchNorm(8), gn.ReLU(), gn.Dropout(0.3),
            gn.Affine(8, 3),
        )  # fmt: skip

    before = template.state_dict()
    trained = gn.Ensemble(template, 2, "sgd", lr=0.1, seeds=[7, 8], progress=False)
    trained.fit(TRAIN, VALID, 2, batch_size=16)
    other = gn.Ensemble(lines, 2, gn.SGD, lr=0.1, seeds=[7, 8], progress=False)
    other.fit(TRAIN, VALID, 2, batch_size=16)
    for a, b in zip(trained.models, other.models, strict=True):
        for name, array in a.state_dict().items():
            np.testing.assert_array_equal(array, b.state_dict()[name])
    for name, array in template.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("shape", ["plain", "all"])
def test_each_stops_by_itself(shape: str) -> None:
    """With the weights of its best epoch, of which a second callback has copies of its own."""
    ensemble = check(
        SHAPES[shape], gn.Momentum, 6, lr=[1e-4, 3.0, 0.1, 0.3, 0.5, 1.0], epochs=30,
        callbacks=[gn.EarlyStopping(2), gn.EarlyStopping(3, min_delta=0.01)],
    )  # fmt: skip
    assert len({len(history) for history in ensemble.histories}) > 2
    assert ensemble.best == int(np.argmin(ensemble.scores))


def test_one_that_overflows_ends_alone() -> None:
    ensemble = gn.Ensemble(SHAPES["plain"], 3, gn.SGD, lr=[0.1, 1e30, 0.05], progress=False)
    ensemble.fit(TRAIN, VALID, epochs=3, batch_size=16)
    with pytest.raises(gn.NonFiniteError) as alone_:
        alone(SHAPES["plain"], gn.SGD, 1, (TRAIN, VALID), lr=1e30)
    error, (none, found, nor) = alone_.value, ensemble.errors
    assert none is None is nor
    assert (found.epoch, found.step, found.place) == (error.epoch, error.step, error.place)
    assert len(ensemble.histories[1]) == 0
    assert str(error) in ensemble.histories[1].stopped
    assert ensemble.scores[1] == np.inf
    rest = [alone(SHAPES["plain"], gn.SGD, k, (TRAIN, VALID), lr=lr) for k, lr in ((0, 0.1),)]
    assert_same(ensemble, rest)


def test_two_fits_are_one() -> None:
    two = gn.Ensemble(SHAPES["all"], 2, gn.Adam, lr=[1e-2, 3e-2], progress=False)
    two.fit(TRAIN, VALID, epochs=1, batch_size=16)
    two.fit(TRAIN, VALID, epochs=2, batch_size=16)
    trainers = [
        alone(SHAPES["all"], gn.Adam, k, (TRAIN, VALID), lr=lr) for k, lr in enumerate((1e-2, 3e-2))
    ]
    assert_same(two, trainers)


def saved(path: Path, **options: Any) -> gn.Ensemble:
    given: dict[str, Any] = {"n": 2, "optimizer": gn.Adam, "lr": [1e-2, 3e-2]} | options
    make = given.pop("make", SHAPES["all"])
    ensemble = gn.Ensemble(make, progress=False, **given)
    ensemble.fit(TRAIN, VALID, epochs=1, batch_size=16)
    ensemble.save(path)
    return ensemble


def test_a_file_goes_on_where_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "two.safetensors"
    whole = saved(path)
    whole.fit(TRAIN, VALID, epochs=2, batch_size=16)
    later = gn.Ensemble(SHAPES["all"], 2, gn.Adam, lr=[1e-2, 3e-2], progress=False)
    later.load(path)
    later.fit(TRAIN, VALID, epochs=2, batch_size=16)
    for k in range(2):
        assert shown(later.histories[k]) == shown(whole.histories[k])
        for name, array in whole.models[k].state_dict().items():
            np.testing.assert_array_equal(later.models[k].state_dict()[name], array)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 3, "lr": 0.1}, "has 3 models, this ensemble 2"),
        ({"seeds": [0, 2]}, "the models have other seeds"),
        ({"optimizer": gn.SGD}, "model 0: .*SGD"),
        ({"make": SHAPES["plain"]}, "model 0: state does not fit the model"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    saved(tmp_path / "other", **options)
    ensemble = gn.Ensemble(SHAPES["all"], 2, gn.Adam, lr=[1e-2, 3e-2], progress=False)
    before = [model.state_dict() for model in ensemble.models]
    with pytest.raises(ValueError, match=words):
        ensemble.load(tmp_path / "other")
    for model, was in zip(ensemble.models, before, strict=True):
        assert all(np.array_equal(a, was[name]) for name, a in model.state_dict().items())
    assert [len(history) for history in ensemble.histories] == [0, 0]


def test_files_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "two.safetensors"
    ensemble = saved(path)
    with pytest.raises(gn.ModelFileError, match=r"holds an ensemble: ensemble.load\(path\)"):
        gn.load(path)
    gn.save(ensemble.models[0], tmp_path / "model")
    with pytest.raises(gn.ModelFileError, match=r"holds a model: gn.load"):
        ensemble.load(tmp_path / "model")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(gn.ModelFileError, match="not a readable safetensors file"):
        ensemble.load(path)


def test_a_model_goes_on_alone() -> None:
    """Models and optimizers are plain ones, each with memory of its own afterwards."""
    ensemble = gn.Ensemble(SHAPES["plain"], 2, gn.Adam, lr=[1e-2, 3e-2], progress=False)
    ensemble.fit(TRAIN, VALID, epochs=2, batch_size=16)
    memory = [o.arenas[0].data.base for o in ensemble.optimizers]
    assert not np.shares_memory(*memory)
    other = ensemble.models[0].state_dict()
    model, optimizer = ensemble.models[1], ensemble.optimizers[1]
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, progress=False)
    trainer.fit(TRAIN, VALID, epochs=1, batch_size=16, seed=1)
    whole = alone(SHAPES["plain"], gn.Adam, 1, (TRAIN, VALID), lr=3e-2)
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name], array)
    for name, array in other.items():
        np.testing.assert_array_equal(ensemble.models[0].state_dict()[name], array)


@pytest.mark.parametrize("loss", [gn.MeanSquaredError(), gn.MeanSquaredError("half_sum")])
def test_other_losses_take_the_tape(loss: Any) -> None:
    def make() -> Any:
        return gn.MLP([6, 8, 2], batch_norm=True, dtype=np.float64)

    ensemble = gn.Ensemble(make, 3, gn.Momentum, loss, lr=[1e-3, 2e-3, 4e-3], progress=False)
    ensemble.fit(*NUMBERS, epochs=2, batch_size=16)
    trainers = [
        alone(make, gn.Momentum, k, NUMBERS, loss, epochs=2, lr=lr)
        for k, lr in enumerate((1e-3, 2e-3, 4e-3))
    ]
    assert_same(ensemble, trainers, rtol=1e-11)


def on(device: str, make: Any, n: int, **settings: Any) -> gn.Ensemble:
    loss, data = settings.pop("loss", None), settings.pop("data", (TRAIN, VALID))
    callbacks = [gn.EarlyStopping(1)]
    ensemble = gn.Ensemble(
        make, n, gn.Momentum, loss, device=device, callbacks=callbacks, progress=False, **settings
    )
    ensemble.fit(*data, epochs=3, batch_size=16)
    return ensemble


DEEP: dict[str, Any] = {
    "make": lambda: gn.MLP([6, 9, 7, 3], "tanh", batch_norm=True, dropout=0.3, dtype=np.float64),
    "lr": [0.01, 0.03, 0.1, 1e200],
    "weight_decay": [0.0, 0.1, 0.0, 0.0],
    "clip_norm": [None, 0.5, 0.1, None],
    "dropout": [0.0, 0.2, 0.5, 0.1],
}


def test_the_tape_gives_the_same_on_any_device(device: str) -> None:
    """On a GPU the step is on the tape; one of the models overflows there, too."""
    fused, other = on("cpu", n=4, **DEEP), on(device, n=4, **DEEP)
    for k in range(3):
        for name, array in fused.models[k].state_dict().items():
            found = to_host(other.models[k].state_dict()[name])
            np.testing.assert_allclose(found, array, rtol=1e-9, atol=1e-12)
        a, b = fused.histories[k], other.histories[k]
        assert (len(a), a.stopped, a.kept) == (len(b), b.stopped, b.kept)
        np.testing.assert_allclose(b["valid_loss"], a["valid_loss"], rtol=1e-9)
    assert other.errors[:3] == [None] * 3
    assert (other.errors[3].epoch, other.errors[3].step) == (
        fused.errors[3].epoch, fused.errors[3].step
    )  # fmt: skip


def test_dropout_of_several_models_with_another_loss(device: str) -> None:
    def make() -> Any:
        return gn.MLP([6, 8, 2], dropout=0.4, dtype=np.float64)

    loss, lrs = gn.MeanSquaredError(), [1e-3, 2e-3]
    found = on(device, make, 2, loss=loss, data=NUMBERS, lr=lrs, dropout=[0.4, 0.1])
    for k, (lr, p) in enumerate(zip(lrs, (0.4, 0.1), strict=True)):
        callbacks = [gn.EarlyStopping(1)]
        settings = {"dropout": p, "lr": lr, "callbacks": callbacks}
        trainer = alone(make, gn.Momentum, k, NUMBERS, loss, **settings)
        for name, array in trainer.model.state_dict().items():
            numbers = to_host(found.models[k].state_dict()[name])
            np.testing.assert_allclose(numbers, array, rtol=1e-9, atol=1e-12)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two updates a launch, and a look after each two."""
    monkeypatch.setattr(launches, "AT_ONCE", 2)
    monkeypatch.setattr(fit, "LOOK_EVERY", 2)


def on_gpu(make: Any, kind: Any, n: int, **settings: Any) -> gn.Ensemble:
    """An ensemble of the simulated GPU whose models are those that a Trainer there makes."""
    loss = settings.pop("loss", None)
    ensemble = gn.Ensemble(make, n, kind, loss, device="cuda", progress=False, **settings)
    ensemble.fit(TRAIN, VALID, epochs=2, batch_size=16)
    assert ensemble.how.startswith("graphs of up to 2 updates; not in phases: ")
    seeds = settings.pop("seeds", range(n))
    trainers = [
        alone(lambda: make().to("cuda"), kind, seed, (TRAIN, VALID), loss, epochs=2,
              **one_of(settings, k))
        for k, seed in enumerate(seeds)
    ]  # fmt: skip
    assert_same(ensemble, trainers, rtol=0.0)
    for mine, trainer in zip(ensemble.histories, trainers, strict=True):
        for row, other in zip(shown(mine), shown(trainer.history), strict=True):
            assert row == pytest.approx(other, rel=1e-6)
    return ensemble


@pytest.mark.usefixtures("sim", "often")
def test_on_a_gpu_each_is_the_one_trained_alone() -> None:
    """To the last bit, where a batched product rounds as a single one does, as it does here."""
    on_gpu(
        SHAPES["all"],
        gn.Adam,
        3,
        lr=[1e-3, gn.schedules.cosine(0.01, 10), 1e-2],
        weight_decay=[0.0, 1e-2, 0.1],
        betas=[(0.9, 0.99), (0.8, 0.9), (0.5, 0.999)],
        clip_norm=[None, 0.5, 0.1],
        dropout=[0.0, 0.3, 0.5],
    )


@pytest.mark.usefixtures("sim", "often")
@pytest.mark.parametrize("shape", ["float64", "no bias"])
def test_on_a_gpu_with_one_order_for_all(shape: str) -> None:
    loss = gn.SoftmaxWithLoss(label_smoothing=0.1)
    on_gpu(SHAPES[shape], gn.RMSProp, 2, loss=loss, seeds=[4, 4], weight_decay=[0.0, 0.1])


@pytest.mark.usefixtures("sim")
@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("seeds", [range(4), [5] * 4], ids=["own order", "one order"])
def test_in_phases_each_is_the_one_trained_alone(
    seeds: Sequence[int], persistent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit: masks, statistics, schedules, and ends of their own."""
    if not persistent:
        monkeypatch.setattr(launch, "resident", lambda *_: 0)
    lrs: list[Any] = [1e-3, gn.schedules.cosine(0.01, 60), 10.0, 0.03]
    settings = {"lr": lrs, "weight_decay": [0.0, 1e-2, 0.1, 0.0], "dropout": [0.0, 0.3, 0.5, 0.1]}
    callbacks = [gn.EarlyStopping(1)]
    ensemble = gn.Ensemble(
        SHAPES["all"], 4, gn.Adam, **settings, seeds=list(seeds), device="cuda", phases=True,
        callbacks=callbacks, progress=False,
    )  # fmt: skip
    ensemble.fit(TRAIN, VALID, epochs=5, batch_size=16)
    assert ensemble.how.startswith("up to 50 updates in one kernel" if persistent else "graphs")
    assert len({len(history) for history in ensemble.histories}) > 1
    trainers = [
        alone(lambda: SHAPES["all"]().to("cuda"), gn.Adam, seed, (TRAIN, VALID), phases=True,
              callbacks=[gn.EarlyStopping(1)], epochs=5, **one_of(settings, k))
        for k, seed in enumerate(seeds)
    ]  # fmt: skip
    assert_same(ensemble, trainers, rtol=0.0)
    for mine, trainer in zip(ensemble.histories, trainers, strict=True):
        assert mine["train_loss"] == trainer.history["train_loss"]


@pytest.mark.usefixtures("sim")
def test_phases_that_do_not_fit() -> None:
    """Asked for they are an error; else the reason is told."""
    with pytest.raises(ValueError, match="phases=True: clipping by the norm"):
        gn.Ensemble(
            SHAPES["plain"], 2, gn.SGD, clip_norm=1.0, device="cuda", phases=True, progress=False
        ).fit(TRAIN, None, 1, 16)
    with pytest.raises(ValueError, match="phases must be"):
        gn.Ensemble(SHAPES["plain"], 2, phases="always")
    few = gn.Ensemble(SHAPES["plain"], 2, device="cuda", progress=False)
    few.fit(TRAIN, None, 1, 16)
    assert "; not in phases: " in few.how


@pytest.mark.usefixtures("sim", "often")
def test_on_a_gpu_one_that_overflows_ends_alone() -> None:
    """It is heard of at a later look, and ends where it would alone."""
    lr = [0.1, gn.schedules.piecewise([3], [0.1, 1e30]), 0.05]
    ensemble = gn.Ensemble(SHAPES["plain"], 3, gn.SGD, lr=lr, device="cuda", progress=False)
    ensemble.fit(TRAIN, VALID, epochs=2, batch_size=8)
    assert [error is None for error in ensemble.errors] == [True, False, True]
    found = ensemble.errors[1]
    other = gn.Ensemble(SHAPES["plain"], 3, gn.SGD, lr=lr, progress=False)
    other.fit(TRAIN, VALID, epochs=2, batch_size=8)
    expected = other.errors[1]
    assert (found.epoch, found.step, found.place) == (expected.epoch, expected.step, expected.place)
    for mine, its in zip(ensemble.models, other.models, strict=True):
        for name, array in its.state_dict().items():
            np.testing.assert_allclose(to_host(mine.state_dict()[name]), array, rtol=1e-3)


def counted(n: int, loss: Any = None) -> list[int]:
    """Launches and kernels in graphs of an epoch of nine updates more."""
    found = []
    for epochs in (1, 2):
        ensemble = gn.Ensemble(
            SHAPES["no bias"], n, gn.Adam, loss, lr=[1e-3] * n, device="cuda", progress=False
        )
        ensemble.fit(TRAIN, VALID, 2, 8)
        with simgpu.count() as used:
            ensemble.fit(TRAIN, VALID, epochs, 8)
        copies = used.h2d_copies, used.d2h_copies, used.d2d_copies
        found.append((used.launches, used.graph_kernels, used.synchronisations, *copies))
    return [b - a for a, b in zip(*found, strict=True)]


@pytest.mark.usefixtures("sim")
@pytest.mark.parametrize(
    ("shape", "loss"),
    [(shape, gn.SoftmaxWithLoss(0.1)) for shape in SHAPES]
    + [("all", gn.SoftmaxWithLoss(0.1, [1.0, 2.0, 0.5])), ("plain", gn.SoftmaxWithLoss())],
)
def test_an_evaluation_is_one_graph_for_all(
    shape: str, loss: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fused, in several parts: what each is alone, however many there are."""
    monkeypatch.setattr(evaluation, "ROWS", 8)
    launches_, found = [], []
    for count in (2, 3):
        models = [SHAPES[shape]().to("cuda") for _ in range(count)]
        for k, model in enumerate(models):
            for _, a in model.named_buffers():
                a += 0.1 * (k + 1)
        feed = Feed(VALID, models[0], loss, "valid")
        alone_ = [evaluation.Scoring(model, loss)(feed) for model in models]
        scores = Scores(Stack(models, [gn.SGD(m.parameters()) for m in models]), loss)
        assert scores.forward.reason is None
        for _ in range(2):
            found = scores.each(feed)
        assert [list(one) for one in found] == [["loss", "accuracy"]] * count
        for one, other in zip(found, alone_, strict=True):
            assert one == pytest.approx(other, rel=1e-6)
        with simgpu.count() as used:
            assert scores.each(feed) == found
        launches_.append((used.launches, used.graph_launches, used.graph_kernels))
        assert used.d2h_copies == 1
    assert launches_[0] == launches_[1]
    assert launches_[0][:2] == (0, 1)


def test_large_models_are_evaluated_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the memory that all of them at once take; those that have stopped are left out."""
    asked = list[int]()

    def noted(model: Any, loss: Any, feed: Any) -> dict[str, float]:
        asked.append(len(feed))
        return evaluation.evaluate(model, loss, feed)

    monkeypatch.setattr("gpunet.ensemble.evaluation.evaluate", noted)
    histories = []
    for most in (20 * 8 * 3, 0):
        monkeypatch.setattr("gpunet.ensemble.evaluation.MOST", most)
        assert not asked
        ensemble = gn.Ensemble(
            SHAPES["plain"], 3, gn.SGD, lr=[3.0, 0.1, 0.05], progress=False,
            callbacks=[gn.EarlyStopping(1)],
        )  # fmt: skip
        ensemble.fit(TRAIN, VALID, epochs=6, batch_size=16)
        histories.append([shown(history) for history in ensemble.histories])
    assert histories[0] == histories[1]
    lengths = list(map(len, histories[0]))
    assert len(asked) == sum(lengths)
    assert len(set(lengths)) > 1


def test_launches_do_not_grow_with_the_models(sim: Any) -> None:
    few, many = counted(2), counted(5)
    assert few == many
    assert few[1] == 9 * 10 + 5  # of the updates, and of an evaluation


def test_label_smoothing_and_one_order_for_all() -> None:
    loss = gn.SoftmaxWithLoss(label_smoothing=0.1)
    settings: dict[str, Any] = {"lr": 0.1, "loss": loss}
    ensemble = gn.Ensemble(
        SHAPES["plain"],
        3,
        gn.SGD,
        seeds=4,
        weight_decay=[0.0, 0.1, 0.2],
        progress=False,
        **settings,
    )
    ensemble.fit(TRAIN, VALID, epochs=3, batch_size=16)
    trainers = [
        alone(SHAPES["plain"], gn.SGD, 4, (TRAIN, VALID), weight_decay=decay, **settings)
        for decay in (0.0, 0.1, 0.2)
    ]
    assert_same(ensemble, trainers)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_keeps_the_best_weights_of_each() -> None:
    class Interrupt(gn.Callback):
        def on_epoch(self, trainer: Any, row: Any) -> None:
            if row["epoch"] == 3 and trainer.seed == 0:
                signal.raise_signal(signal.SIGINT)

    ensemble = gn.Ensemble(
        SHAPES["plain"], 2, gn.SGD, lr=[0.1, 30.0], callbacks=[Interrupt()], progress=False
    )
    histories = ensemble.fit(TRAIN, VALID, epochs=9, batch_size=16)
    assert [len(h) for h in histories] == [3, 3]
    assert [h.stopped for h in histories] == ["interrupted"] * 2
    for k, history in enumerate(histories):
        assert history.kept == history.best_epoch
        assert ensemble.evaluate(VALID)[k]["loss"] == min(history["valid_loss"])


def test_predictions() -> None:
    ensemble = gn.Ensemble(SHAPES["all"], 2, progress=False)
    predicted = ensemble.predict(X)
    assert predicted.shape == (2, 90, 3)
    np.testing.assert_array_equal(predicted[1], ensemble.models[1].eval()(X).data)
    assert repr(ensemble) == "Ensemble(2 models of 189 parameters, Adam)"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": [0.1, 0.2]}, "lr has 2 values for 3 models"),
        ({"seeds": [1, 2]}, "seeds has 2 values for 3 models"),
        ({"betas": [(0.9, 0.9)]}, "betas has 1 values for 3 models"),
        ({"dropout": [0.1, 0.2, 0.3]}, "the model has no Dropout"),
        ({"lr": [0.1, -1, 0.2]}, "lr must be a number at least 0, got -1"),
        ({"optimizer": "adamm"}, "optimizer must be gn.Adam, say, or a name of"),
        ({"momentum": 0.9}, "Adam has no setting 'momentum'"),
        ({"seeds": [0, -1, 2]}, "each of seeds must be from 0"),
        ({"n": 0}, "n must be a whole number from 1"),
        ({"model": 3}, "model must be a layer, or a function that makes one; got 3"),
        ({"model": lambda: None}, "model must be a layer, .* got None"),
        ({"on_nonfinite": "raise"}, "on_nonfinite must be"),
        ({"callbacks": [gn.Checkpoint("x")]}, "Checkpoint looks on between updates"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        gn.Ensemble(**{"model": SHAPES["plain"], "n": 3} | options)


def test_models_of_several_shapes() -> None:
    sizes = iter([8, 9])
    with pytest.raises(ValueError, match=r"model 0 has Affine.*=8.*model 1 Affine.*=9"):
        gn.Ensemble(lambda: gn.MLP([6, next(sizes), 3]), 2)
    with pytest.raises(ValueError, match="layer 1 is a Embedding"):
        gn.Ensemble(gn.Sequential(gn.Affine(3, 3), gn.Embedding(3, 2)), 2)
    with pytest.raises(ValueError, match="RMSProp keep states that others do not"):
        gn.Ensemble(SHAPES["plain"], 2, "rmsprop", momentum=[0.0, 0.9])


def test_data_that_does_not_fit() -> None:
    ensemble = gn.Ensemble(SHAPES["plain"], 2, progress=False)
    with pytest.raises(ValueError, match="weights of rows"):
        ensemble.fit((*TRAIN, np.ones(70)))
    with pytest.raises(ValueError, match="label 9"):
        ensemble.fit((X[:70], LABELS[:70] + 7 * (LABELS[:70] == 2)))
