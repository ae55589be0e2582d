"""A step by script has the bits of the step in Python, and comes where it fits, and no later than
what it depends on allows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import numpy_c
from gpunet.fused.script import Script
from gpunet.fused.scripted import Scripted
from gpunet.optim import native

Array = Any
pytestmark = pytest.mark.usefixtures("compiled_steps")
DRAW = np.random.default_rng(5)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps each call of a script made."""
    made: list[int] = []
    run = Script.run

    def counted(self: Script, steps: int) -> None:
        made.append(steps)
        run(self, steps)

    monkeypatch.setattr(Script, "run", counted)
    return made


def network(
    norm: bool = False, drop: float = 0.0, act: Any = gn.ReLU, bias: bool = True, dtype: Any = "f4",
    rescale: bool = False, kind: Any = gn.Adam, **settings: Any,
) -> tuple[gn.Sequential, gn.Optimizer]:  # fmt: skip
    gn.seed(3)
    layers: list[gn.Layer] = [gn.Rescale(1 / 255, dtype=dtype)] if rescale else []
    for a, b in ((20, 16), (16, 12)):
        layers.append(gn.Affine(a, b, dtype=dtype, bias=bias))
        layers += [gn.BatchNorm(b, dtype=dtype)] if norm else []
        layers += [act()] if act else []
        layers += [gn.Dropout(drop)] if drop else []
    model = gn.Sequential(*layers, gn.Affine(12, 5, dtype=dtype, bias=bias))
    return model, kind(model.parameters(), **settings)


def batch(rows: int, dtype: Any = "f4") -> tuple[Array, Array]:
    return DRAW.normal(size=(rows, 20)).astype(dtype), DRAW.integers(0, 5, rows)


def bits(model: gn.Layer, optimizer: gn.Optimizer) -> list[Any]:
    arrays = [a for p in model.parameters() for a in (p.data, p.grad)]
    arrays += [array for _, array in model.named_buffers()]
    arrays += optimizer.buffers()
    calls = [k.calls for k in model if isinstance(k, gn.Dropout)]  # type: ignore[attr-defined]
    return [optimizer.t, calls, *(a.tobytes() for a in arrays)]


class Pair:
    """The same network twice: `one` by script, `other` in Python."""

    def __init__(self, **given: Any) -> None:
        self.one, self.other = network(**given), network(**given)
        loss = gn.SoftmaxWithLoss()
        self.steps = [gn.Step(model, loss, opt) for model, opt in (self.one, self.other)]
        self.steps[1]._by_script = lambda *_: None  # type: ignore[method-assign]

    def step(self, x: Array, t: Array) -> None:
        one, other = (step(x, t) for step in self.steps)
        assert one == other
        assert bits(*self.one) == bits(*self.other)

    def both(self, change: Callable[[gn.Sequential, gn.Optimizer], Any]) -> None:
        change(*self.one)
        change(*self.other)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("act", [gn.ReLU, None, gn.Tanh, gn.Sigmoid])
@pytest.mark.parametrize("drop", [0.0, 0.3])
@pytest.mark.parametrize("norm", [False, True])
def test_the_bits_of_the_step_in_python(
    runs: list[int], norm: bool, drop: float, act: Any, dtype: str
) -> None:
    for bias, kind in ((True, gn.Adam), (False, gn.Momentum)):
        pair = Pair(norm=norm, drop=drop, act=act, dtype=dtype, bias=bias, kind=kind)
        runs.clear()
        for rows in (16, 16, 9, 16, 9, 16):
            pair.step(*batch(rows, dtype))
        assert len(runs) >= 4


@pytest.mark.parametrize("kind", list(gn.optim.OPTIMIZERS.values()))
def test_every_optimizer(runs: list[int], kind: Any) -> None:
    pair = Pair(kind=kind, weight_decay=0.01, clip_value=0.5)
    for _ in range(4):
        pair.step(*batch(16))
    assert runs == [1, 1, 1]


def test_what_changes_between_two_steps() -> None:
    """Each change is seen by the next step, and the numbers stay those of Python."""
    pair = Pair(norm=True, drop=0.4, lr=lambda t: 0.1 / (1 + t))
    x, t = batch(16)

    def frozen(model: Any, _: Any) -> None:
        model[0].W.requires_grad = not model[0].W.requires_grad

    changes: list[Callable[[Any, Any], Any]] = [
        lambda model, _: setattr(model[1], "momentum", 0.3),
        lambda model, _: setattr(model[3], "p", 0.1),
        lambda model, _: setattr(model[3], "seed", 17),
        lambda model, _: model(x),
        lambda model, _: setattr(model[3], "calls", 40),
        lambda _, opt: setattr(opt, "lr", 0.02),
        lambda _, opt: setattr(opt, "weight_decay", 0.1),
        lambda _, opt: setattr(opt, "clip_norm", 0.1),
        lambda _, opt: setattr(opt, "clip_norm", None),
        frozen,
        frozen,
        lambda model, _: model.eval(),
        lambda model, _: model.train(),
        lambda model, _: setattr(model[1], "running_mean", model[1].running_mean + 1),
        lambda _, opt: opt.move(),
        lambda model, _: setattr(model[0].W, "data", model[0].W.data * 2),
    ]
    for change in changes:
        pair.step(x, t)
        pair.both(change)
        pair.step(x, t)
        pair.step(*batch(16))


def test_batches_of_every_kind(runs: list[int]) -> None:
    pair = Pair()
    x, t = batch(32)
    t = t.astype(np.int32)
    wide = np.zeros((16, 40), np.float32)
    wide[:, ::2] = x[:16]
    for given in (x[:16], x[::2], np.asfortranarray(x[:16]), wide[:, ::2], x[:16].astype("f8")):
        pair.step(given, t[:16])
        pair.step(given, t[::2])
    readonly = x[:16].copy()
    readonly.flags.writeable = False
    pair.step(readonly, t[:16].astype("u1"))
    pair.step((x[:16] * 100).astype(np.int16), t[:16])
    assert len(runs) == 11


def test_bad_labels_are_refused_before_anything_changes() -> None:
    pair = Pair()
    x, t = batch(16)
    for _ in range(3):
        pair.step(x, t)
    before = bits(*pair.one)
    with pytest.raises(ValueError, match="labels run from 0 to 4"):
        pair.steps[0](x, t + 4)
    assert bits(*pair.one) == before


def test_two_steps_and_a_training_over_one_model(runs: list[int]) -> None:
    """Each counts for itself; a dropout's masks go on all the same."""
    pair = Pair(drop=0.5)
    x, t = batch(64)
    second = [gn.Step(*_parts(one)) for one in (pair.one, pair.other)]
    second[1]._by_script = lambda *_: None  # type: ignore[method-assign]
    for _ in range(3):
        pair.step(x[:16], t[:16])
        for step in second:
            step(x[16:32], t[16:32])
        assert bits(*pair.one) == bits(*pair.other)
    for model, opt in (pair.one, pair.other):
        trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), opt, progress=False)
        trainer.fit((x, t), epochs=2, batch_size=16)
    pair.step(x[:16], t[:16])
    assert len(runs) > 6


def _parts(one: tuple[gn.Sequential, gn.Optimizer]) -> tuple[Any, Any, Any]:
    return one[0], gn.SoftmaxWithLoss(), one[1]


@pytest.mark.parametrize(
    ("given", "rows", "why"),
    [
        ({"act": gn.GELU}, 16, "gelu is NumPy's"),
        ({}, 1, "a single row"),
    ],
)
def test_where_there_is_no_script(given: Any, rows: int, why: str, runs: list[int]) -> None:
    pair = Pair(**given)
    for _ in range(3):
        pair.step(*batch(rows))
    fused = pair.steps[0].fused
    assert fused is not None
    assert why in (Scripted(fused.plan, pair.one[1]).refusal(rows) or "")
    assert runs == []


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_clipping_and_smoothing(dtype: str, runs: list[int]) -> None:
    """Many classes: the sum that smoothing takes is summed in parts."""
    loss = gn.SoftmaxWithLoss(0.1)
    sizes = {"f4": [20, 30, 200], "f8": [20, 30, 3]}[dtype]
    found = []
    for by_script in (True, False):
        gn.seed(1)
        model = gn.MLP(sizes, "tanh", dtype=np.dtype(dtype))
        step = gn.Step(model, loss, gn.Adam(model.parameters(), clip_norm=0.3, clip_value=0.05))
        if not by_script:
            step._by_script = lambda *_: None  # type: ignore[method-assign]
        draw = np.random.default_rng(0)
        for rows in (90, 90, 5, 90, 90):
            x, t = draw.normal(size=(rows, 20)).astype(dtype), draw.integers(0, sizes[-1], rows)
            found.append((by_script, float(step(x, t)), bits(model, step.optimizer)))
    assert [a[1:] for a in found[:5]] == [b[1:] for b in found[5:]]
    assert len(runs) == 3


def test_a_norm_of_several_pieces_is_pythons(runs: list[int]) -> None:
    """Also where there was a script before."""
    pair = Pair(clip_norm=0.1)
    for trains in (True, False, True):
        pair.both(lambda model, _, on=trains: setattr(model[2].W, "requires_grad", on))
        runs.clear()
        for _ in range(4):
            pair.step(*batch(16))
        assert bool(runs) is trains


def test_scripts_are_kept_for_the_last_four_sizes() -> None:
    pair = Pair(drop=0.2)
    for rows in (8, 9, 10, 11, 12, 13, 8, 8, 13, 13):
        pair.step(*batch(rows))
        pair.step(*batch(rows))
    own = pair.steps[0]._scripted
    assert own is not None
    assert list(own._written) == [11, 12, 8, 13]


def test_without_numpys_own_products(monkeypatch: pytest.MonkeyPatch, runs: list[int]) -> None:
    monkeypatch.setattr(numpy_c, "addresses", lambda _: None)
    pair = Pair()
    for _ in range(3):
        pair.step(*batch(16))
    assert runs == []


def trained(by_script: bool, data: Any, valid: Any, epochs: int = 3, **given: Any) -> Any:
    model, optimizer = network(**given)
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, progress=False)
    with pytest.MonkeyPatch.context() as patch:
        if not by_script:
            patch.setattr(Scripted, "many", lambda *_: False)
        history = trainer.fit(data, valid, epochs, 16, 2)
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]
    return trainer, rows, bits(model, optimizer)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("norm", [False, True])
def test_a_training(norm: bool, dtype: str, runs: list[int]) -> None:
    x, t = batch(1000, dtype)
    for data in ((x, t), ((x * 40 + 99).clip(0, 255).astype("u1"), t.astype("i2"))):
        given = {"norm": norm, "drop": 0.3, "dtype": dtype, "rescale": data[0].dtype == "u1"}
        runs.clear()
        trainer, *one = trained(True, data, (x[:50], t[:50]), **given)
        assert runs == [50, 12, 1] * 3
        assert trainer.how.startswith("up to 50 updates in one call")
        _, *other = trained(False, data, (x[:50], t[:50]), **given)
        assert one == other


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_and_on_update_come_between_calls(runs: list[int]) -> None:
    x, t = batch(1000)
    model, optimizer = network()
    seen: list[int] = []

    class Stops(gn.Callback):
        def on_update(self, trainer: Any) -> None:
            seen.append(optimizer.t)
            if len(seen) == 1:
                import signal

                signal.raise_signal(signal.SIGINT)

    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, [Stops()], progress=False)
    history = trainer.fit((x, t), epochs=2, batch_size=16)
    assert history.stopped == "interrupted"
    assert optimizer.t == 50
    trainer.callbacks.clear()
    trainer.fit((x, t), epochs=2, batch_size=16)
    once, _ = network()[0], None
    straight = gn.Trainer(once, gn.SoftmaxWithLoss(), gn.Adam(once.parameters()), progress=False)
    straight.fit((x, t), epochs=2, batch_size=16)
    for p, q in zip(model.parameters(), once.parameters(), strict=True):
        assert p.data.tobytes() == q.data.tobytes()


def test_long_steps_are_few_a_call() -> None:
    model = gn.MLP([2000, 1000, 10])
    step = gn.Step(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters()))
    assert step.fused is not None
    own = Scripted(step.fused.plan, step.optimizer)
    assert own.at_once(100) == 3
    assert own.at_once(10**6) == 1


def test_many_parameters_are_updated_by_several_threads_where_products_are_small() -> None:
    """After a large product BLAS's threads are in their way."""
    model = gn.MLP([2000, 1000, 10])
    step = gn.Step(model, gn.SoftmaxWithLoss(), gn.SGD(model.parameters()))
    assert step.fused is not None
    own = Scripted(step.fused.plan, step.optimizer)
    assert "several threads update them" in (own.refusal(2) or "")
    assert "several threads update them" not in (own.refusal(3) or "")


def test_many_parameters_after_large_products_have_the_same_bits(runs: list[int]) -> None:
    x, t = DRAW.normal(size=(32, 700)).astype("f4"), DRAW.integers(0, 10, 32)
    ends = []
    for by_script in (True, False):
        gn.seed(3)
        model = gn.MLP([700, 400, 10])  # more than two threads' parts
        optimizer = gn.Adam(model.parameters())
        step = gn.Step(model, gn.SoftmaxWithLoss(), optimizer)
        if not by_script:
            step._by_script = lambda *_: None  # type: ignore[method-assign]
        losses = [float(step(x, t)) for _ in range(3)]
        ends.append((losses, [p.data.tobytes() for p in model.parameters()]))
    assert ends[0] == ends[1]
    assert runs == [1, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpys_own_functions_are_found(dtype: Any) -> None:
    found = numpy_c.addresses(np.dtype(dtype))
    assert found is not None
    assert found.shape == (12,)
    assert found[:5].all()


def test_the_products_alone() -> None:
    """What benchmarks take for a floor is the step's products, as it has them."""
    model, optimizer = network()
    step = gn.Step(model, gn.SoftmaxWithLoss(), optimizer)
    for _ in range(3):
        step(*batch(16))
    assert step._scripted is not None
    values = [p.data.copy() for p in model.parameters()]
    for p in model.parameters():
        p.grad = None
    alone = step._scripted.script(16).only("gemm")
    alone.run(2)
    for p, value in zip(model.parameters(), values, strict=True):
        assert p.data.tobytes() == value.tobytes()
    assert all(p.grad.any() for p in model.parameters() if p.ndim == 2)
    assert not any(p.grad.any() for p in model.parameters() if p.ndim == 1)


def test_none_where_numpy_is_asked_for(runs: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all is compiled already."""
    pair = Pair()
    for _ in range(3):
        pair.step(*batch(16))
    assert runs
    runs.clear()
    monkeypatch.setenv(native.VARIABLE, "numpy")
    native.choice.cache_clear()
    pair = Pair()
    for _ in range(3):
        pair.step(*batch(16))
    x, t = batch(64)
    assert trained(True, (x, t), (x, t), 1)[0].how.startswith("one by one")
    assert runs == []
