"""The ops of a fused step, on_numpy and on_cupy: each equals the separate ops of the tape, and the
CUDA text the NumPy function.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import functional as F
from gpunet import rng
from gpunet.activations import NUMBERS as ACTIVATIONS
from gpunet.activations import TABLE
from gpunet.backend import to_host
from gpunet.counters import Counters
from gpunet.fused import on_cupy, on_numpy, resident
from gpunet.fused.after import NO_DROP, After, Drop
from gpunet.testing import simgpu
from gpunet.testing.simgpu import asan

Array = Any
CALL = 5  # of the counters; a mask is drawn at step + CALL
STEP, SEED = 2**40, 2**63 + 7
SETTINGS: dict[str | None, dict[str, float]] = {"leaky_relu": {"slope": 0.3}, "elu": {"alpha": 0.7}}
# Rows up to 1024 are one launch; 1025 and 3000 cut into chunks of unequal length.
SHAPES = [(2, 1), (31, 33), (70, 100), (1024, 33), (1025, 7), (3000, 33)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
each_act = pytest.mark.parametrize("act", ACTIVATIONS)
each_p = pytest.mark.parametrize("p", [0.0, 0.3, 1.0])


def ops_of(xp: ModuleType) -> Any:
    return on_numpy if xp is np else on_cupy


def after_of(act: str | None = None, p: float = 0) -> After:
    alpha = next(iter(SETTINGS.get(act, {"": 0.0}).values()))
    if not p:
        return After(act, NO_DROP, alpha)
    return After(act, Drop(rng.threshold(p), rng.keep_scale(p), SEED, STEP), alpha)


def counters_of(xp: Any, row: int = 0, batch: int = 0) -> Array:
    """`now` is set; `next` is what no kernel but the first may read."""
    return xp.asarray(np.array([9, CALL, row, batch, -1, -1, -1, -1]))


class Draw:
    """Random numbers of a dtype on a device, and a workspace there."""

    def __init__(self, xp: Any, dtype: Any = np.float64, seed: int = 0) -> None:
        self.xp, self.dtype = xp, np.dtype(dtype)
        self.generator = np.random.default_rng(seed)

    def __call__(self, *shape: int, low: float | None = None) -> Array:
        a = self.generator.standard_normal(shape) * 2 + 0.5
        if low is not None:
            a = low + abs(a)
        return self.xp.asarray(a.astype(self.dtype))

    def empty(self, *shape: int) -> Array:
        """Full of numbers that nobody may see."""
        return self.xp.full(shape, np.nan, self.dtype)

    def work(self, rows: int, columns: int, **counters: int) -> Any:
        found = ops_of(self.xp).Workspace(self.xp, rows, [columns], self.dtype)
        found.counters = counters_of(self.xp, **counters)
        return found

    def norm(self, features: int, **settings: Any) -> Any:
        """A BatchNorm's parameters, their gradients' places, statistics and settings."""
        pair = [SimpleNamespace(data=self(features), grad=self.empty(features)) for _ in range(2)]
        statistics = {"running_mean": self(features), "running_var": self(features, low=0.1)}
        usual = {"momentum": 0.1, "eps": 1e-5, "track": True}
        return SimpleNamespace(gamma=pair[0], beta=pair[1], **statistics, **(usual | settings))

    def logits(self, rows: int, columns: int) -> Array:
        z = ops_of(self.xp).empty_logits(self.xp, rows, columns, self.dtype)
        z[...] = self(rows, columns)
        return z


def equal(got: Array, expected: Array, tolerance: float = 1e-12, size: float = 0.0) -> None:
    """To `tolerance` of the largest number, or of `size` where that is larger."""
    got, expected = to_host(got), to_host(expected)
    size = np.abs(expected[np.isfinite(expected)]).max(initial=size)
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * size)


def apart(z: Array, b: Array | None, act: str | None, p: float) -> gn.Tensor:
    """act(z + b) and dropout as separate ops."""
    h = z if b is None else z + b
    if act == "gelu_tanh":
        h = F.gelu(h, approximate="tanh")
    elif act is not None:
        h = getattr(F, act)(h, **SETTINGS.get(act, {}))
    return F.dropout(h, p=p, seed=SEED, step=STEP + CALL)


def leaf(a: Array) -> gn.Tensor:
    return gn.Tensor(to_host(a), requires_grad=True)


def test_both_sets_have_the_same_functions() -> None:
    import inspect

    def functions(module: ModuleType) -> dict[str, list[str]]:
        own = {k: v for k, v in vars(module).items() if inspect.isfunction(v) and k[0] != "_"}
        own = {k: v for k, v in own.items() if v.__module__ == module.__name__}
        return {
            k: list(inspect.signature(v).parameters)[k == "empty_logits" :] for k, v in own.items()
        }

    assert functions(on_numpy) == functions(on_cupy)
    assert len(functions(on_numpy)) >= 7


# Bias, activation, dropout


@each_p
@each_act
@each_shape
def test_bias_act_and_back(shape: tuple[int, int], act: str | None, p: float, xp: Any) -> None:
    draw, ops, after = Draw(xp), ops_of(xp), after_of(act, p)
    z, b, gy, work = draw(*shape), draw(shape[1]), draw(*shape), draw.work(*shape)
    tensors = leaf(z), leaf(b)
    expected = apart(*tensors, act, p)
    expected.backward(to_host(gy))
    from_input = act in TABLE and TABLE[act].source == "input"
    y, db = draw.empty(*shape) if from_input else z, draw.empty(shape[1])
    ops.bias_act(z, b, y, after, work)
    equal(y, expected.data)
    ops.bias_act_backward(gy, z, b if from_input else None, db, after, False, work)
    equal(gy, tensors[0].grad)
    equal(db, tensors[1].grad)
    assert work.counters.tolist() == counters_of(np).tolist()


def test_bias_act_without_bias(xp: Any) -> None:
    ops, z, after = ops_of(xp), Draw(xp)(5, 7), after_of("tanh")
    y, g, work = z.copy(), z.copy(), Draw(xp).work(5, 7)
    ops.bias_act(y, None, y, after, work)
    equal(y, np.tanh(to_host(z)))
    ops.bias_act_backward(g, y, None, None, after, False, work)
    equal(g, to_host(z) * (1 - to_host(y) ** 2))
    ops.bias_act(y, None, y, after_of(), work)  # nothing to do
    ops.bias_act_backward(g, y, None, None, after_of(), False, work)
    equal(y, np.tanh(to_host(z)))
    equal(g, to_host(z) * (1 - to_host(y) ** 2))


def test_an_input_stays_where_the_gradient_is_made_from_it(xp: Any) -> None:
    ops, z, after = ops_of(xp), Draw(xp)(5, 7), after_of("gelu")
    y, g, kept, work = Draw(xp).empty(5, 7), z * 0 + 1, z.copy(), Draw(xp).work(5, 7)
    ops.bias_act(z, None, y, after, work)
    equal(y, F.gelu(to_host(kept)).data)
    ops.bias_act_backward(g, z, None, None, after, False, work)
    equal(z, kept)
    equal(g, F.gelu.pair(to_host(kept))[1](np.ones((5, 7))))


@each_shape
def test_gradients_are_added(shape: tuple[int, int], xp: Any) -> None:
    draw = Draw(xp)
    y, g, db = draw(*shape), draw(*shape), draw(shape[1])
    expected = to_host(db) + np.where(to_host(y) > 0, to_host(g), 0).sum(axis=0)
    ops_of(xp).bias_act_backward(g, y, None, db, after_of("relu"), True, draw.work(*shape))
    equal(db, expected)
    assert np.all((to_host(g) == 0) == (to_host(y) <= 0))


# BatchNorm


class Normed:
    """The arrays of a BatchNorm in a fused block, and its two ops."""

    def __init__(self, draw: Draw, shape: tuple[int, int], **settings: Any) -> None:
        n = shape[1]
        self.ops, self.work = ops_of(draw.xp), draw.work(*shape)
        self.layer = draw.norm(n, **settings)
        self.z, self.b, self.y = draw(*shape), draw(n), draw.empty(*shape)
        self.mean, self.inv, self.db = draw.empty(n), draw.empty(n), draw.empty(n)

    def forward(self, after: After) -> None:
        kept = (self.y, self.mean, self.inv)
        self.ops.batch_norm(self.layer, self.z, self.b, *kept, after, self.work)

    def backward(self, g: Array, after: After, add: bool = False) -> None:
        kept = (self.y, self.z, self.mean, self.inv, self.db)
        self.ops.batch_norm_backward(self.layer, g, *kept, after, add, self.work)

    def arrays(self) -> list[Array]:
        layer = self.layer
        own = [self.z, self.y, self.mean, self.inv, self.db, layer.running_mean, layer.running_var]
        return [*own, layer.gamma.grad, layer.beta.grad]


NORMED = [(None, 0), ("relu", 0.3), ("sigmoid", 0), ("sigmoid", 0.3), ("tanh", 0.3), (None, 0.3)]
NORMED += [("relu", 1.0), ("leaky_relu", 0), ("elu", 0.3), ("softplus", 0.3), ("silu", 0)]
NORMED += [("gelu", 0.3), ("gelu_tanh", 1.0)]


@pytest.mark.parametrize(("act", "p"), NORMED)
@each_shape
def test_batch_norm_and_back(shape: tuple[int, int], act: str | None, p: float, xp: Any) -> None:
    draw, after = Draw(xp), after_of(act, p)
    n, gy = Normed(draw, shape, momentum=0.2, eps=1e-3), draw(*shape)
    z, b, gamma, beta = (leaf(a) for a in (n.z, n.b, n.layer.gamma.data, n.layer.beta.data))
    running = [to_host(a).copy() for a in (n.layer.running_mean, n.layer.running_var)]
    normal = F.batch_norm(
        z + b, gamma, beta, running_mean=running[0], running_var=running[1], momentum=0.2, eps=1e-3
    )
    expected = apart(normal, None, act, p)
    expected.backward(to_host(gy))
    n.forward(after)
    equal(n.y, expected.data)
    equal(n.mean, z.data.mean(axis=0))
    equal(n.layer.running_mean, running[0])
    equal(n.layer.running_var, running[1])
    n.backward(gy, after)
    # With two rows normal is 1 or -1, and dz the small rest of a difference.
    equal(gy, z.grad, size=10 * float(abs(n.layer.gamma.data * n.inv).max()))
    equal(n.layer.gamma.grad, gamma.grad)
    equal(n.layer.beta.grad, beta.grad)
    assert not to_host(n.db).any()


@each_shape
def test_batch_norm_adds_gradients(shape: tuple[int, int], xp: Any) -> None:
    draw, after = Draw(xp), after_of()
    n, gy, found = Normed(draw, shape), draw(*shape), []
    n.forward(after)
    for add in (False, True):
        gradients = [xp.full(shape[1], 3.0) for _ in range(3)]
        n.layer.gamma.grad, n.layer.beta.grad, n.db = gradients
        n.backward(gy.copy(), after, add)
        found.append([to_host(g) for g in gradients])
    for written, added in zip(*found, strict=True):
        np.testing.assert_allclose(added, written + 3, rtol=1e-14)
    assert found[0][2].tolist() == [0] * shape[1]


def test_running_statistics_stay_where_they_are_not_tracked(xp: Any) -> None:
    n = Normed(Draw(xp), (6, 3), track=False)
    before = to_host(n.layer.running_mean).copy()
    n.forward(after_of())
    assert to_host(n.layer.running_mean).tolist() == before.tolist()
    assert np.isfinite(to_host(n.y)).all()


@pytest.mark.parametrize("rows", [1000, 3000])
def test_the_variance_of_a_far_mean_keeps_its_digits(rows: int, xp: Any) -> None:
    """The mean of squares minus the square of the mean would keep none: 1e8^2 ends at 1."""
    n = Normed(Draw(xp), (rows, 3), eps=0.0)
    near = to_host(n.z)
    n.z = xp.asarray(near + 1e8)
    n.forward(after_of())
    np.testing.assert_allclose(to_host(n.inv), 1 / near.std(axis=0), rtol=1e-7)


# The loss

LOSSES = [
    (2, 2),
    (1, 10),
    (31, 33),
    (100, 10),
    (1024, 7),
    (1025, 7),
    (40, 1000),
    (40, 1030),
    (3000, 33),
]
each_loss = pytest.mark.parametrize("shape", LOSSES, ids=lambda s: f"{s[0]}x{s[1]}")


class Lost:
    """The loss of logits z + b, all that it wrote."""

    def __init__(
        self,
        z: Array,
        b: Array | None,
        labels: Array,
        xp: Any,
        smoothing: float = 0.0,
        share: float = 1.0,
        add: bool = False,
        db: Array | None = None,
        order: Array | None = None,
        ends: bool = True,
        row: int = 0,
    ) -> None:
        rows, columns = z.shape
        draw = Draw(xp, z.dtype)
        self.z, self.losses = z, xp.zeros(4) if order is not None else xp.zeros(())
        self.db = draw.empty(columns) if db is None and b is not None else db
        work = draw.work(rows, columns, row=row, batch=2)
        work.order, work.ends_update = order, ends
        settings = (smoothing, share, add)
        ops_of(xp).softmax_loss(z, b, self.db, labels, self.losses, *settings, work)
        self.counters = work.counters


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@each_loss
def test_softmax_loss(shape: tuple[int, int], smoothing: float, xp: Any) -> None:
    draw = Draw(xp)
    z, b = draw.logits(*shape), draw(shape[1])
    labels = draw.generator.integers(0, shape[1], shape[0])
    tensors = leaf(z.copy()), leaf(b)
    expected = gn.losses.softmax_cross_entropy(
        tensors[0] + tensors[1], labels, label_smoothing=smoothing
    )
    expected.backward(np.array(0.5))
    found = Lost(z, b, xp.asarray(labels), xp, smoothing, share=0.5)
    equal(found.losses, expected.data)
    equal(found.z, tensors[0].grad)
    equal(found.db, tensors[1].grad)
    assert found.counters.tolist() == counters_of(np, batch=2).tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [3, 1100])
def test_a_single_class_has_a_gradient_of_exactly_0(rows: int, dtype: str, xp: Any) -> None:
    draw = Draw(xp, dtype)
    for smoothing in (0.0, 0.1, 0.3, 0.7):
        z, b = draw.logits(rows, 1), draw(1)
        found = Lost(z, b, xp.zeros(rows, np.int64), xp, smoothing, share=0.3)
        assert not to_host(found.z).any()
        assert not to_host(found.db).any()


@each_loss
def test_db_is_added(shape: tuple[int, int], xp: Any) -> None:
    draw = Draw(xp)
    z, b = draw.logits(*shape), draw(shape[1])
    labels = xp.asarray(draw.generator.integers(0, shape[1], shape[0]))
    again = draw.logits(*shape)
    again[...] = z
    written = Lost(z, b, labels, xp)
    added = Lost(again, b, labels, xp, add=True, db=xp.full(shape[1], 3.0))
    np.testing.assert_allclose(to_host(added.db), to_host(written.db) + 3, rtol=1e-14)
    assert added.z.tolist() == written.z.tolist()


@pytest.mark.parametrize("ends", [False, True])
@each_loss
def test_the_labels_of_shuffled_data(shape: tuple[int, int], ends: bool, cp: Any) -> None:
    draw = Draw(cp)
    z, first = draw.logits(*shape), 20
    order = draw.generator.permutation(shape[0] + 50)
    labels = draw.generator.integers(0, shape[1], len(order))
    own = labels[order[first : first + shape[0]]]
    direct = Lost(z.copy(), None, cp.asarray(own), cp)
    found = Lost(z, None, cp.asarray(labels), cp, order=cp.asarray(order), ends=ends, row=first)
    assert found.z.tolist() == direct.z.tolist()
    assert found.losses.tolist() == [0, 0, float(direct.losses), 0]
    expected = [9, CALL, first, 2, 9 + ends, CALL + 1, first + shape[0], 3]
    assert found.counters.tolist() == expected


@pytest.mark.parametrize("bad", [-1, 7, 2**62, -(2**63)])
@pytest.mark.parametrize("rows", [5, 1030])
def test_a_label_out_of_range_makes_its_row_nan(rows: int, bad: int, cp: Any) -> None:
    labels = np.zeros(rows, np.int64)
    labels[3] = bad
    found = Lost(Draw(cp).logits(rows, 7), None, cp.asarray(labels), cp)
    assert np.isnan(float(found.losses))
    wrong = np.isnan(to_host(found.z))
    assert wrong[3].all()
    assert not np.delete(wrong, 3, axis=0).any()


# The first kernel of a step, and the counters


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 28, 28), (5, 6)])
def test_gather(kind: Any, shape: tuple[int, ...], cp: Any) -> None:
    generator = np.random.default_rng(0)
    data = generator.integers(0, 255, (10, *shape[1:])).astype(kind)
    order = generator.permutation(10)
    counters = cp.asarray(np.array([-1, -1, 0, -1, 4, 3, 2, 1]))
    y = cp.zeros((shape[0], int(np.prod(shape[1:]))), np.float32)
    resident.gather(cp.asarray(data), cp.asarray(order), counters, y, 1 / 255)
    expected = data[order[2 : 2 + shape[0]]].reshape(y.shape).astype(np.float32)
    np.testing.assert_array_equal(to_host(y), expected * np.float32(1 / 255))
    assert counters.tolist() == [4, 3, 2, 1, 4, 3, 2, 1]


def shifted(a: Any, cp: Any) -> Any:
    """The same numbers, from one element behind a vector's place on."""
    return cp.concatenate([a.ravel()[:1], a.ravel()])[1:].reshape(a.shape)


@pytest.mark.parametrize("lay", [shifted, lambda a, cp: cp.asfortranarray(a)])
@pytest.mark.parametrize("width", [6, 8])
def test_rows_are_gathered_however_they_lie(width: int, lay: Any, cp: Any) -> None:
    """Those that begin on 16 bytes go by vectors, and no others."""
    data, order = cp.arange(10 * width, dtype=np.float32).reshape(10, -1), cp.arange(9, -1, -1)
    results = [cp.zeros((3, width), np.float32), shifted(cp.zeros((3, width), np.float32), cp)]
    for y in results:
        resident.gather(lay(data, cp), order, cp.zeros(8, np.int64), y, 2)
        assert y.tolist() == (2 * data[::-1][:3]).tolist()


@pytest.mark.parametrize("shape", [(3, 7), (2, 3, 8), (2, 40, 33), (5, 1, 2)])
def test_dropout_of_what_does_not_begin_on_a_vector(shape: tuple[int, ...], cp: Any) -> None:
    x = cp.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    expected = gn.functional.dropout(to_host(x), p=0.4, seed=3).data
    for given in (x, shifted(x, cp), cp.asfortranarray(x)):
        np.testing.assert_array_equal(
            to_host(gn.functional.dropout(given, p=0.4, seed=3).data), expected
        )


def test_labels_are_gathered_too(cp: Any) -> None:
    labels, order = cp.asarray(np.array([2**53 + 1, 5, 7])), cp.asarray(np.array([2, 0, 1]))
    counters, y = cp.zeros(8, np.int64), cp.zeros((2, 1), np.int64)
    resident.gather(labels, order, counters, y, 1)
    assert y.tolist() == [[7], [2**53 + 1]]


def test_tick(cp: Any) -> None:
    counters = Counters(cp)
    counters.array[...] = cp.arange(8)
    counters.tick(cp.asarray(np.array([1, 10, 100, 1000])))
    assert counters.array.tolist() == [4, 5, 6, 7, 5, 15, 106, 1007]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_is_noted_where_the_counters_point(dtype: str, cp: Any) -> None:
    losses, loss = cp.zeros(4), cp.full((), 0.75, dtype)
    resident.NOTE_LOSS.launch(cp, loss=loss, counters=counters_of(cp, batch=2), losses=losses)
    assert losses.tolist() == [0, 0, 0.75, 0]


# Float32, special values, order


def everything(xp: Any, dtype: Any, rows: int, columns: int, act: str = "tanh") -> list[Array]:
    """All launches of a layer and a loss; the arrays that they wrote."""
    draw, ops, after = Draw(xp, dtype), ops_of(xp), after_of(act, 0.3)
    n = Normed(draw, (rows, columns))
    g, plain, db = draw(rows, columns), n.z.copy(), draw.empty(columns)
    g2 = g.copy()
    n.forward(after)
    n.backward(g, after)
    ops.bias_act(plain, n.b, plain, after, n.work)
    ops.bias_act_backward(g2, plain, None, db, after, False, n.work)
    labels = xp.asarray(np.arange(rows) % columns)
    lost = Lost(draw.logits(rows, columns), n.b, labels, xp)
    return [*n.arrays(), g, g2, plain, db, lost.z, lost.db, lost.losses, lost.counters]


@pytest.mark.parametrize("rows", [70, 1100])
def test_float32_is_float64_to_its_precision(rows: int, xp: Any) -> None:
    pairs = zip(
        everything(xp, "float32", rows, 33), everything(np, "float64", rows, 33), strict=True
    )
    for single, double in pairs:
        assert single.dtype.itemsize == 4 or single.dtype == double.dtype
        equal(single, double, 1e-4)


@pytest.mark.parametrize("order", ["reverse", "random"])
@pytest.mark.parametrize("rows", [70, 1100])
def test_no_order_of_threads_and_blocks_changes_a_bit(rows: int, order: str, sim: Any) -> None:
    usual = [to_host(a) for a in everything(sim, "float32", rows, 33)]
    with simgpu.schedule(order, seed=1):
        other = [to_host(a) for a in everything(sim, "float32", rows, 33)]
    for one, two in zip(usual, other, strict=True):
        assert np.array_equal(one, two, equal_nan=True)


@pytest.mark.filterwarnings("ignore:.*encountered in.*:RuntimeWarning")
@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values_come_out_as_from_numpy(special: float, act: str | None, sim: Any) -> None:
    found = []
    for xp in (sim, np):
        draw, ops, after = Draw(xp), ops_of(xp), after_of(act)
        n = Normed(draw, (40, 5))
        n.z[3, 1] = special
        n.forward(after)
        plain = n.z.copy()
        ops.bias_act(plain, n.b, plain, after, n.work)
        z = draw.logits(40, 5)
        z[2, 2] = special
        lost = Lost(z, n.b, xp.zeros(40, np.int64), xp, smoothing=0.1)
        found.append([n.y, n.mean, n.inv, plain, lost.z, lost.db, lost.losses])
    for device, host in zip(*found, strict=True):
        np.testing.assert_allclose(to_host(device), host, rtol=1e-9, atol=1e-12)


# What is launched


@pytest.mark.parametrize(("rows", "launches"), [(1024, 1), (1025, 2)])
def test_a_layer_is_one_launch_and_a_tall_one_two(rows: int, launches: int, sim: Any) -> None:
    draw, after = Draw(sim), after_of("relu")
    n, db = Normed(draw, (rows, 5)), draw.empty(5)
    for call in (
        lambda: n.forward(after),
        lambda: n.backward(n.y, after),
        lambda: on_cupy.bias_act_backward(n.y, n.y, None, db, after, False, n.work),
    ):
        with simgpu.count() as used:
            call()
        assert used.launches == launches
        assert used.d2h_copies == used.h2d_copies == used.synchronisations == used.allocations == 0


@pytest.mark.parametrize(
    ("rows", "columns", "launches"), [(5, 3, 1), (3000, 7, 1), (33, 1024, 1), (33, 1025, 2)]
)
def test_a_loss_is_one_launch_and_of_many_classes_two(
    rows: int, columns: int, launches: int, sim: Any
) -> None:
    z, losses, labels = Draw(sim).logits(rows, columns), sim.zeros(()), sim.zeros(rows, np.int64)
    work = Draw(sim).work(rows, columns)
    for _ in range(2):  # the second finds the blocks counted from 0
        with simgpu.count() as used:
            on_cupy.softmax_loss(z, None, None, labels, losses, 0.0, 1.0, False, work)
        assert used.launches == launches
        assert used.d2h_copies == used.h2d_copies == used.synchronisations == used.allocations == 0
        assert work.arrived.tolist() == [0]


def test_a_batch_is_spread_over_blocks(sim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU has a hundred processors and more: one block would leave all but one idle."""
    grids = {}

    def launch(kernel: Any, cupy: Any, dtype: Any, grid: Any, **_: Any) -> None:
        grids[kernel.source.name] = np.prod(grid)

    monkeypatch.setattr(on_cupy.BlockKernel, "launch", launch)
    draw, after = Draw(sim), after_of("relu", 0.3)
    n = Normed(draw, (128, 256))
    n.forward(after)
    n.backward(n.y, after)
    on_cupy.bias_act(n.z, n.b, n.y, after, n.work)
    on_cupy.bias_act_backward(n.y, n.y, None, n.b, after, False, n.work)
    z, labels = draw.logits(128, 10), sim.zeros(128, np.int64)
    on_cupy.softmax_loss(z, None, None, labels, z, 0.0, 1.0, False, n.work)
    assert grids == {
        "nn/batch_norm": 32,
        "nn/batch_norm_backward": 32,
        "nn/bias_act": 32,
        "nn/bias_act_backward": 32,
        "nn/softmax_loss": 4,
    }


SCRIPT = """
import sys
sys.path[:0] = {paths!r}
import numpy as np
from gpunet.testing import simgpu
with simgpu.activate() as cupy:
    from test_ops import everything
    for shape in ((2, 1), (31, 33), (1025, 7)):
        everything(cupy, "float32", *shape)
    for shape in ((3, 5), (1100, 40)):
        everything(cupy, "float64", *shape)
print("right")
"""


@pytest.mark.skipif(not simgpu.available()[0], reason=simgpu.available()[1])
@pytest.mark.skipif(asan.library() is None, reason="AddressSanitizer needs g++'s libasan")
def test_no_kernel_leaves_its_arrays() -> None:
    paths = [str(Path(__file__).parent), str(Path(gn.__file__).parent.parent)]
    done = asan.run(["-c", SCRIPT.format(paths=paths)])
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr
