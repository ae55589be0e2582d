"""The compiled passes of a fused step give NumPy's bits, alone and in whole steps, and take over
unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import cxx, rng
from gpunet.activations import NUMBERS
from gpunet.fused import native, on_numpy, on_stacks, passes
from gpunet.fused.after import NO_DROP, After, Drop, Drops
from gpunet.optim.native import Later

Array = Any
usable, reason = cxx.available()
pytestmark = pytest.mark.skipif(not usable, reason=f"no compiled passes: {reason}")
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# (models, rows, columns); more than one draw of 1024 bits, and less than one of 16
SHAPES = [(0, 37, 33), (0, 1, 5), (3, 40, 30), (4, 1, 7)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))


def compiled(dtype: Any) -> Any:
    later = native.library(np.dtype(dtype))
    later.wait()
    assert later.found is not None
    return native.Passes(later.found, np.dtype(dtype))


class Case:
    """Arrays of one shape, and vectors that lie as those of an ensemble do; odd numbers in both."""

    def __init__(self, shape: Sequence[int], dtype: Any, seed: int = 0) -> None:
        models, self.rows, self.columns = shape
        self.models, self.dtype = models, np.dtype(dtype)
        self.draw = np.random.default_rng(seed)

    def matrix(self) -> Array:
        models = (self.models,) if self.models else ()
        return self._odd(self.draw.normal(size=(*models, self.rows, self.columns)))

    def vector(self, columns: int | None = None) -> Array:
        columns = columns or self.columns
        if not self.models:
            return self._odd(self.draw.normal(size=columns))
        apart = self._odd(self.draw.normal(size=(self.models, columns + 5)))
        return apart[:, None, 3 : 3 + columns]

    def _odd(self, values: Array) -> Array:
        some = self.draw.random(values.shape) < 0.03
        odd = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-41, -1e-310]
        return np.where(some, self.draw.choice(odd, values.shape), values).astype(self.dtype)

    def after(self, act: str | None, p: float) -> After:
        drop: Any = NO_DROP
        if p:
            shares = [p, 0.0, 0.9, 0.2][: self.models or 1]
            each = [
                Drop(rng.threshold(q), rng.keep_scale(q), 2**63 + k, 2**64 - 3)
                for k, q in enumerate(shares)
            ]
            drop = Drops(each, self.dtype) if self.models else each[0]
        return After(act, drop, 0.3)

    def work(self) -> Any:
        given = (np, self.rows, [self.columns], self.dtype)
        ops: Any = on_stacks if self.models else on_numpy
        found = ops.Workspace(*given, *([self.models] if self.models else []))
        found.counters = np.arange(8)
        return found


def both(shape: Sequence[int], dtype: Any, run: Any) -> None:
    """`run(passes, case)` returns arrays: they have the same bits by NumPy and compiled."""
    with np.errstate(all="ignore"):
        wanted = run(passes, Case(shape, dtype))
        found = run(compiled(dtype), Case(shape, dtype))
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype
        same = (a == b) & (np.signbit(a) == np.signbit(b)) | np.isnan(a) & np.isnan(b)
        assert same.all(), (a[~same][:3], b[~same][:3])


@each_dtype
@each_shape
@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("act", NUMBERS)
def test_forward_and_back(shape: Any, dtype: Any, act: str | None, p: float) -> None:
    def run(do: Any, case: Case) -> list[Array]:
        z, b, g, work, y = case.matrix(), case.vector(), case.matrix(), case.work(), case.matrix()
        after, seen = case.after(act, p), case.matrix()
        do.biased(z, b, y, after, work)
        do.biased(z, b, z, case.after(act, p), work)
        do.activated(seen, case.after(act, p), work)
        do.activated_backward(g, y, after, work)
        return [y, z, seen, g]

    both(shape, dtype, run)


@each_dtype
@each_shape
@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize("act", [None, "relu", "tanh", "leaky_relu", "silu"])
def test_batch_norm(shape: Any, dtype: Any, act: str | None, p: float) -> None:
    def run(do: Any, case: Case) -> list[Array]:
        z, y, g, work = case.matrix(), case.matrix(), case.matrix(), case.work()
        mean, inv, gamma, beta, *three = (case.vector() for _ in range(7))
        pair = {n: SimpleNamespace(data=a) for n, a in (("gamma", gamma), ("beta", beta))}
        after = case.after(act, p)
        squares = do.squares(z, mean, y, work).copy()
        do.normalised(SimpleNamespace(**pair), z, mean, inv, y, after, work)
        product = do.products(g, y, z, mean, after, work).copy()
        between = g.copy()
        do.combined(g, z, mean, *three, work)
        return [squares, y, product, between, g]

    both(shape, dtype, run)


@each_dtype
@each_shape
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_the_loss(shape: Any, dtype: Any, bias: bool, shared: bool) -> None:
    def run(do: Any, case: Case) -> list[Array]:
        work, models = case.work(), (case.models,) if case.models else ()
        f = Case((case.models, case.columns, case.rows), dtype).matrix()
        f[..., 0] = np.nan  # all of a sample
        z, b = f.mT, case.vector() if bias else None
        for kind in (np.int64, np.uint8):  # the first is taken as it lies
            rows = () if shared else models
            labels = case.draw.integers(0, case.columns, (*rows, case.rows)).astype(kind)
            chosen = do.shifted(z, b, labels, work).copy()
            factor = case.draw.normal(size=(*models, *([1] if models else []), case.rows))
            do.pulled(z, factor.astype(dtype), np.asarray(0.1, dtype), labels, work)
        return [chosen, f]

    both(shape, dtype, run)


def walked(do: Any, seed: int, ensemble: bool) -> list[bytes]:
    """A training of a network drawn at random, and all that it comes to."""
    draw = np.random.default_rng(seed)
    act = draw.choice(["relu", "relu", "tanh", "gelu"])
    sizes = [9, *draw.integers(1, 40, draw.integers(1, 4)).tolist(), 4]
    options = {"batch_norm": bool(seed % 2), "dropout": 0.3 * (seed // 2 % 2)}
    dtype = [np.float32, np.float64][seed // 4 % 2]
    x, t = draw.normal(size=(50, 9)).astype(dtype), draw.integers(0, 4, 50)
    model = gn.MLP(sizes, str(act), dtype=dtype, **options)
    if ensemble:
        many = gn.Ensemble(model, 3, "momentum", seeds=[4, 4, 9], lr=[0.1, 0.01, 0.1])
        many.fit((x, t), epochs=3, batch_size=16)
        arrays = [a for one in many.models for a in one.state_dict().values()]
        return [a.tobytes() for a in arrays]
    gn.seed(seed)
    model.draw()
    smooth = gn.SoftmaxWithLoss(label_smoothing=0.1 * (seed % 3 == 0))
    step = gn.Step(model, smooth, gn.Momentum(model.parameters(), lr=0.1))
    losses = [step(x[k : k + 25], t[k : k + 25]) for k in (0, 25, 0, 25)]
    assert step.reason is None
    return [a.tobytes() for a in [*losses, *model.state_dict().values()]]


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda word: monkeypatch.setattr(native, "choice", lambda: word)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("ensemble", [False, True])
def test_trainings_have_the_same_bits(seed: int, ensemble: bool, choose: Any) -> None:
    choose("native")
    found = walked(None, seed, ensemble)
    choose("numpy")
    assert walked(None, seed, ensemble) == found


def choice_of(size: int) -> native.Choice:
    return native.Choice(size, np.float32)


def test_who_is_chosen(choose: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    choose("numpy")
    assert not choice_of(10**6).open
    choose("native")
    assert isinstance(choice_of(1).look(), native.Passes)
    choose("")
    monkeypatch.setattr(native, "OFTEN", 3)
    native.library(np.dtype(np.float32)).wait()
    assert isinstance(choice_of(native.LEAST).look(), native.Passes)
    small = choice_of(native.LEAST - 1)
    found = [small.look() for _ in range(4)]
    assert found[:3] == [passes] * 3
    assert isinstance(found[3], native.Passes)
    assert not small.open
    small = choice_of(1)
    small.settle()
    assert isinstance(small.look(), native.Passes)


def test_a_step_that_changes_over_is_the_same(choose: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def losses(often: int) -> list[float]:
        monkeypatch.setattr(native, "OFTEN", often)
        gn.seed(1)
        model = gn.MLP([5, 6, 3], batch_norm=True, dropout=0.5)
        step = gn.Step(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()))
        x = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
        return [float(step(x, np.arange(20) % 3)) for _ in range(6)]

    choose("")
    native.library(np.dtype(np.float32)).wait()
    assert losses(3) == losses(100)


def test_without_a_compiler_numpy_goes_on(choose: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: str) -> Any:
        raise cxx.CompileError("no g++")

    choose("")
    never: Later[Any] = Later(lambda: refuse("float"))
    never.wait()
    monkeypatch.setattr(native, "library", lambda dtype: never)
    one = choice_of(native.LEAST)
    assert one.look() is passes
    assert not one.open
