"""gpunet.fused.kernels: each fused launch equals the separate ops, on NumPy and as CUDA text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import functional as F
from gpunet.backend import to_host
from gpunet.fused import kernels
from gpunet.fused.kernels import ACTS, NO_DROP, Drop
from gpunet.testing import simgpu
from gpunet.testing.simgpu import asan, compiler, emulator

Array = Any
CALL = 5  # of the clock; a mask is drawn at step + CALL
STEP, SEED, LAYER = 2**40, 2**63 + 7, 3
# Rows up to 1024 are one launch; 1025 and 3000 cut into chunks of unequal length.
SHAPES = [(2, 1), (31, 33), (70, 100), (1024, 33), (1025, 7), (3000, 33)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
each_act = pytest.mark.parametrize("act", ACTS)
each_p = pytest.mark.parametrize("p", [0.0, 0.3, 1.0])


def drop_of(p: float) -> Drop:
    if not p:
        return NO_DROP
    return Drop(round(p * 65536), 1 / (1 - p) if p < 1 else 0.0, SEED, LAYER, STEP)


def clock_of(xp: Any, row: int = 0, batch: int = 0) -> Array:
    """`now` is set; `next` is what no kernel but the first may read."""
    return xp.asarray(np.array([9, CALL, row, batch, -1, -1, -1, -1]))


class Draw:
    """Random numbers of a dtype on a device."""

    def __init__(self, xp: Any, dtype: Any = np.float64, seed: int = 0) -> None:
        self.xp, self.dtype = xp, dtype
        self.generator = np.random.default_rng(seed)

    def __call__(self, *shape: int, low: float | None = None) -> Array:
        a = self.generator.standard_normal(shape) * 2 + 0.5
        if low is not None:
            a = low + abs(a)
        return self.xp.asarray(a.astype(self.dtype))

    def empty(self, *shape: int) -> Array:
        """Full of numbers that nobody may see."""
        return self.xp.full(shape, np.nan, self.dtype)


def equal(got: Array, expected: Array, tolerance: float = 1e-12, size: float = 0.0) -> None:
    """To `tolerance` of the largest number, or of `size` where that is larger."""
    got, expected = to_host(got), to_host(expected)
    size = np.abs(expected[np.isfinite(expected)]).max(initial=size)
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * size)


def apart(z: Array, b: Array | None, act: str | None, p: float) -> gn.Tensor:
    """act(z + b) and dropout as separate ops."""
    h = z if b is None else z + b
    h = h if act is None else getattr(F, act)(h)
    return F.dropout(h, p=p, seed=SEED, layer=LAYER, step=STEP + CALL)


def leaf(a: Array) -> gn.Tensor:
    return gn.Tensor(to_host(a), requires_grad=True)


# Bias, activation, dropout


@each_p
@each_act
@each_shape
def test_bias_act_and_back(shape: tuple[int, int], act: str | None, p: float, xp: Any) -> None:
    draw, clock = Draw(xp), clock_of(xp)
    z, b, gy = draw(*shape), draw(shape[1]), draw(*shape)
    tensors = leaf(z), leaf(b)
    expected = apart(*tensors, act, p)
    expected.backward(to_host(gy))
    drop, scratch = drop_of(p), draw.empty(kernels.scratch_size(*shape))
    y, dz, db = z.copy(), draw.empty(*shape), draw.empty(shape[1])
    kernels.bias_act(y, b, act=act, drop=drop, clock=clock)
    equal(y, expected.data)
    kernels.bias_act_backward(gy, y, dz, db, act=act, drop=drop, clock=clock, scratch=scratch)
    equal(dz, tensors[0].grad)
    equal(db, tensors[1].grad)
    assert clock.tolist() == clock_of(np).tolist()


def test_bias_act_without_bias(xp: Any) -> None:
    z = Draw(xp)(5, 7)
    y, g = z.copy(), z.copy()
    kernels.bias_act(y, None, act="tanh", clock=clock_of(xp))
    equal(y, np.tanh(to_host(z)))
    kernels.bias_act_backward(g, y, g, None, act="tanh", clock=clock_of(xp), scratch=None)
    equal(g, to_host(z) * (1 - to_host(y) ** 2))


@each_shape
def test_gradients_are_added_and_dz_may_be_gy(shape: tuple[int, int], xp: Any) -> None:
    draw, clock = Draw(xp), clock_of(xp)
    y, gy, db = draw(*shape), draw(*shape), draw(shape[1])
    expected = to_host(db) + np.where(to_host(y) > 0, to_host(gy), 0).sum(axis=0)
    scratch = draw.empty(kernels.scratch_size(*shape))
    kernels.bias_act_backward(gy, y, gy, db, act="relu", clock=clock, scratch=scratch, add=True)
    equal(db, expected)
    assert np.all((to_host(gy) == 0) == (to_host(y) <= 0))


# BatchNorm


def norm_arrays(draw: Draw, shape: tuple[int, int]) -> dict[str, Array]:
    n = shape[1]
    return {
        "z": draw(*shape), "gamma": draw(n), "beta": draw(n), "b": draw(n),
        "y": draw.empty(*shape), "mean": draw.empty(n), "inv": draw.empty(n),
        "running_mean": draw(n), "running_var": draw(n, low=0.1),
    }  # fmt: skip


@pytest.mark.parametrize(("act", "p"), [(None, 0), ("relu", 0.3), ("sigmoid", 0), ("sigmoid", 0.3),
                                        ("tanh", 0.3), (None, 0.3), ("relu", 1.0)])  # fmt: skip
@each_shape
def test_batch_norm_and_back(shape: tuple[int, int], act: str | None, p: float, xp: Any) -> None:
    draw, clock, drop = Draw(xp), clock_of(xp), drop_of(p)
    a = norm_arrays(draw, shape)
    gy = draw(*shape)
    z, b, gamma, beta = (leaf(a[name]) for name in ("z", "b", "gamma", "beta"))
    running = [to_host(a[name]).copy() for name in ("running_mean", "running_var")]
    normal = F.batch_norm(
        z + b, gamma, beta, running_mean=running[0], running_var=running[1], momentum=0.2, eps=1e-3
    )
    expected = apart(normal, None, act, p)
    expected.backward(to_host(gy))
    settings = {"act": act, "drop": drop, "clock": clock}
    settings["scratch"] = draw.empty(kernels.scratch_size(*shape))
    kernels.batch_norm(*a.values(), momentum=0.2, eps=1e-3, **settings)
    equal(a["y"], expected.data)
    equal(a["mean"], to_host(a["z"]).mean(axis=0))
    equal(a["running_mean"], running[0])
    equal(a["running_var"], running[1])
    dgamma, dbeta, db = (draw.empty(shape[1]) for _ in range(3))
    known = [a[name] for name in ("y", "z", "mean", "inv", "gamma")]
    kernels.batch_norm_backward(gy, *known, gy, dgamma, dbeta, db, **settings)
    # With two rows normal is 1 or -1, and dz the small rest of a difference.
    equal(gy, z.grad, size=10 * float(abs(a["gamma"] * a["inv"]).max()))
    equal(dgamma, gamma.grad)
    equal(dbeta, beta.grad)
    assert not to_host(db).any()


@each_shape
def test_batch_norm_adds_gradients(shape: tuple[int, int], xp: Any) -> None:
    draw, clock = Draw(xp), clock_of(xp)
    a = norm_arrays(draw, shape)
    scratch = draw.empty(kernels.scratch_size(*shape))
    kernels.batch_norm(*a.values(), clock=clock, scratch=scratch)
    gy, found = draw(*shape), []
    for add in (False, True):
        gradients = [xp.full(shape[1], 3.0) for _ in range(3)]
        known = [a[name] for name in ("y", "z", "mean", "inv", "gamma")]
        kernels.batch_norm_backward(
            gy, *known, draw.empty(*shape), *gradients, clock=clock, scratch=scratch, add=add
        )
        found.append([to_host(g) for g in gradients])
    for written, added in zip(*found, strict=True):
        np.testing.assert_allclose(added, written + 3, rtol=1e-14)
    assert found[0][2].tolist() == [0] * shape[1]


def test_running_statistics_stay_where_they_are_not_tracked(xp: Any) -> None:
    draw = Draw(xp)
    a = norm_arrays(draw, (6, 3))
    before = to_host(a["running_mean"]).copy()
    kernels.batch_norm(*a.values(), track=False, clock=clock_of(xp), scratch=None)
    assert to_host(a["running_mean"]).tolist() == before.tolist()
    a |= {"b": None, "running_mean": None, "running_var": None}
    kernels.batch_norm(*a.values(), track=False, clock=clock_of(xp), scratch=None)
    assert np.isfinite(to_host(a["y"])).all()


@pytest.mark.parametrize("rows", [1000, 3000])
def test_the_variance_of_a_far_mean_keeps_its_digits(rows: int, xp: Any) -> None:
    """The mean of squares minus the square of the mean would keep none: 1e8^2 ends at 1."""
    draw = Draw(xp)
    a = norm_arrays(draw, (rows, 3))
    near = to_host(a["z"])
    a["z"] = xp.asarray(near + 1e8)
    scratch = draw.empty(kernels.scratch_size(rows, 3))
    kernels.batch_norm(*a.values(), eps=0.0, clock=clock_of(xp), scratch=scratch)
    np.testing.assert_allclose(to_host(a["inv"]), 1 / near.std(axis=0), rtol=1e-7)


# The loss

LOSSES = [(2, 1), (1, 10), (31, 33), (100, 10), (1024, 7), (1025, 7), (40, 1000), (3000, 33)]
each_loss = pytest.mark.parametrize("shape", LOSSES, ids=lambda s: f"{s[0]}x{s[1]}")


def loss_of(xp: Any, z: Array, b: Array | None, labels: Array, **settings: Any) -> dict[str, Array]:
    rows, columns = z.shape
    draw = Draw(xp, z.dtype)
    out = {
        "dz": draw.empty(rows, columns), "db": None if b is None else draw.empty(columns),
        "losses": xp.zeros(4), "hits": xp.zeros(4, np.int64),
    }  # fmt: skip
    settings.setdefault("clock", clock_of(xp, batch=2))
    scratch = draw.empty(kernels.loss_scratch_size(rows, columns))
    kernels.softmax_loss(z, b, labels, *out.values(), scratch=scratch, **settings)
    return out | {"clock": settings["clock"]}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@each_loss
def test_softmax_loss(shape: tuple[int, int], smoothing: float, xp: Any) -> None:
    draw = Draw(xp)
    z, b = draw(*shape), draw(shape[1])
    labels = draw.generator.integers(0, shape[1], shape[0])
    tensors = leaf(z), leaf(b)
    expected = gn.losses.softmax_cross_entropy(
        tensors[0] + tensors[1], labels, label_smoothing=smoothing
    )
    expected.backward(np.array(0.5))
    found = loss_of(xp, z, b, xp.asarray(labels), label_smoothing=smoothing, share=0.5)
    equal(found["losses"], np.array([float(expected.data), 0, 0, 0]))
    equal(found["dz"], tensors[0].grad)
    equal(found["db"], tensors[1].grad)
    right = int(((to_host(z) + to_host(b)).argmax(axis=1) == labels).sum())
    assert found["hits"].tolist() == [right, 0, 0, 0]
    assert found["clock"].tolist() == clock_of(np, batch=2).tolist()


@pytest.mark.parametrize("ends", [False, True])
@each_loss
def test_the_labels_of_shuffled_data(shape: tuple[int, int], ends: bool, xp: Any) -> None:
    draw = Draw(xp)
    z, first = draw(*shape), 20
    order = draw.generator.permutation(shape[0] + 50)
    labels = draw.generator.integers(0, shape[1], len(order))
    own = labels[order[first : first + shape[0]]]
    direct = loss_of(xp, z, None, xp.asarray(own))
    clock = clock_of(xp, row=first, batch=2)
    found = loss_of(xp, z, None, xp.asarray(labels), order=xp.asarray(order), clock=clock,
                    ends_update=ends)  # fmt: skip
    assert found["dz"].tolist() == direct["dz"].tolist()
    for name in ("losses", "hits"):
        assert found[name].tolist() == [0, 0, direct[name].tolist()[0], 0]
    assert clock.tolist() == [9, CALL, first, 2, 9 + ends, CALL + 1, first + shape[0], 3]


@each_loss
def test_dz_may_be_z_and_db_is_added(shape: tuple[int, int], xp: Any) -> None:
    draw = Draw(xp)
    z, b = draw(*shape), draw(shape[1])
    labels = xp.asarray(draw.generator.integers(0, shape[1], shape[0]))
    apart = loss_of(xp, z.copy(), b, labels)
    losses, hits, db = xp.zeros(1), xp.zeros(1, np.int64), xp.full(shape[1], 3.0)
    scratch = draw.empty(kernels.loss_scratch_size(*shape))
    kernels.softmax_loss(
        z, b, labels, z, db, losses, hits, clock=clock_of(xp), scratch=scratch, add=True
    )
    assert z.tolist() == apart["dz"].tolist()
    np.testing.assert_allclose(to_host(db), to_host(apart["db"]) + 3, rtol=1e-14)


@pytest.mark.parametrize("bad", [-1, 7, 2**62, -(2**63)])
@pytest.mark.parametrize("rows", [5, 1030])
def test_a_label_out_of_range_makes_its_row_nan(rows: int, bad: int, xp: Any) -> None:
    draw = Draw(xp)
    labels = np.zeros(rows, np.int64)
    labels[3] = bad
    found = loss_of(xp, draw(rows, 7), None, xp.asarray(labels))
    assert np.isnan(to_host(found["losses"])[0])
    wrong = np.isnan(to_host(found["dz"]))
    assert wrong[3].all()
    assert not np.delete(wrong, 3, axis=0).any()


def test_the_first_of_equal_logits_and_a_nan_win_as_in_argmax(xp: Any) -> None:
    z = np.zeros((6, 70))
    z[1, 40] = z[1, 65] = 2
    z[2, 50] = z[2, 3] = np.nan
    z[3, 69] = np.inf
    z[4] = -np.inf
    z[5, 33] = -np.inf
    for row, best in enumerate(z.argmax(axis=1)):
        labels = np.full(6, (best + 1) % 70)
        labels[row] = best
        found = loss_of(xp, xp.asarray(z), None, xp.asarray(labels))
        assert to_host(found["hits"])[0] == (z.argmax(axis=1) == labels).sum()


# The first kernel of a step, and the clock


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 28, 28), (5, 6)])
def test_gather(kind: Any, shape: tuple[int, ...], xp: Any) -> None:
    generator = np.random.default_rng(0)
    data = generator.integers(0, 255, (10, *shape[1:])).astype(kind)
    order = generator.permutation(10)
    clock = xp.asarray(np.array([-1, -1, 0, -1, 4, 3, 2, 1]))
    y = xp.zeros((shape[0], int(np.prod(shape[1:]))), np.float32)
    kernels.gather(xp.asarray(data), xp.asarray(order), clock, y, 1 / 255)
    expected = data[order[2 : 2 + shape[0]]].reshape(y.shape).astype(np.float32)
    np.testing.assert_array_equal(to_host(y), expected * np.float32(1 / 255))
    assert clock.tolist() == [4, 3, 2, 1, 4, 3, 2, 1]


def test_tick(xp: Any) -> None:
    clock = xp.asarray(np.arange(8))
    kernels.tick(clock, xp.asarray(np.array([1, 10, 100, 1000])))
    assert clock.tolist() == [4, 5, 6, 7, 5, 15, 106, 1007]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_is_noted_where_the_clock_points(dtype: str, xp: Any) -> None:
    losses = xp.zeros(4)
    kernels.note_loss(xp.full((), 0.75, dtype), clock_of(xp, batch=2), losses)
    assert losses.tolist() == [0, 0, 0.75, 0]


def test_labels_are_gathered_too(xp: Any) -> None:
    labels, order = np.array([2**53 + 1, 5, 7]), np.array([2, 0, 1])
    clock, y = xp.zeros(8, np.int64), xp.zeros((2, 1), np.int64)
    kernels.gather(xp.asarray(labels), xp.asarray(order), clock, y)
    assert y.tolist() == [[7], [2**53 + 1]]


# Float32, special values, order


def everything(xp: Any, dtype: Any, rows: int, columns: int, act: str = "tanh") -> list[Array]:
    """All launches of a layer and a loss; the arrays that they wrote."""
    draw, clock, drop = Draw(xp, dtype), clock_of(xp), drop_of(0.3)
    a = norm_arrays(draw, (rows, columns))
    gy, dz = draw(rows, columns), draw.empty(rows, columns)
    vectors = [draw.empty(columns) for _ in range(4)]
    size = max(kernels.scratch_size(rows, columns), kernels.loss_scratch_size(rows, columns))
    shared = {"clock": clock, "scratch": draw.empty(size)}
    settings = {"act": act, "drop": drop, **shared}
    kernels.batch_norm(*a.values(), **settings)
    known = [a[name] for name in ("y", "z", "mean", "inv", "gamma")]
    kernels.batch_norm_backward(gy, *known, dz, *vectors[:3], **settings)
    plain, dz2 = a["z"].copy(), draw.empty(rows, columns)
    kernels.bias_act(plain, a["b"], act=act, drop=drop, clock=clock)
    kernels.bias_act_backward(gy, plain, dz2, vectors[3], **settings)
    labels = xp.asarray(np.arange(rows) % columns)
    losses, hits = xp.zeros(1), xp.zeros(1, np.int64)
    logits, db = a["z"].copy(), draw.empty(columns)
    kernels.softmax_loss(logits, a["b"], labels, logits, db, losses, hits, **shared)
    return [*a.values(), dz, dz2, plain, *vectors, logits, db, losses, hits, clock]


@pytest.mark.parametrize("rows", [70, 1100])
def test_float32_is_float64_to_its_precision(rows: int, xp: Any) -> None:
    pairs = zip(
        everything(xp, "float32", rows, 33), everything(np, "float64", rows, 33), strict=True
    )
    for single, double in pairs:
        assert single.dtype.itemsize == 4 or single.dtype == double.dtype
        equal(single, double, 1e-4)


@pytest.fixture
def sim() -> Iterator[Any]:
    if not simgpu.available()[0]:
        pytest.skip(simgpu.available()[1])
    with simgpu.activate() as cupy:
        yield cupy


@pytest.mark.parametrize("order", ["reverse", "random"])
@pytest.mark.parametrize("rows", [70, 1100])
def test_no_order_of_threads_and_blocks_changes_a_bit(rows: int, order: str, sim: Any) -> None:
    usual = [to_host(a) for a in everything(sim, "float32", rows, 33)]
    with emulator.schedule(order, seed=1):
        other = [to_host(a) for a in everything(sim, "float32", rows, 33)]
    for one, two in zip(usual, other, strict=True):
        assert np.array_equal(one, two, equal_nan=True)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_values_come_out_as_from_the_reference(
    special: float, act: str | None, sim: Any
) -> None:
    found = []
    for xp in (sim, np):
        draw, clock = Draw(xp), clock_of(xp)
        a = norm_arrays(draw, (40, 5))
        a["z"][3, 1] = special
        gy = draw(40, 5)
        gy[4, 2] = special
        dz, db = draw.empty(40, 5), draw.empty(5)
        settings = {"act": act, "drop": drop_of(0.3), "clock": clock, "scratch": None}
        kernels.batch_norm(*a.values(), **settings)
        plain = a["z"].copy()
        kernels.bias_act(plain, a["b"], act=act, drop=drop_of(0.3), clock=clock)
        kernels.bias_act_backward(gy, plain, dz, db, **settings)
        loss = loss_of(xp, a["z"], a["b"], xp.zeros(40, np.int64), label_smoothing=0.1)
        found.append([*a.values(), plain, dz, db, *loss.values()])
    for device, host in zip(*found, strict=True):
        np.testing.assert_allclose(to_host(device), host, rtol=1e-9, atol=1e-12)


# What is launched


@pytest.mark.parametrize(("rows", "launches"), [(1024, 1), (1025, 2)])
def test_a_layer_is_one_launch_and_a_tall_one_two(rows: int, launches: int, sim: Any) -> None:
    draw, clock = Draw(sim), clock_of(sim)
    a = norm_arrays(draw, (rows, 5))
    known = [a[name] for name in ("y", "z", "mean", "inv", "gamma")]
    v, labels = [draw.empty(5) for _ in range(3)], sim.zeros(rows, np.int64)
    shared = {"clock": clock, "scratch": draw.empty(20000)}
    counts = sim.zeros(1), sim.zeros(1, np.int64)
    for call in (
        lambda: kernels.batch_norm(*a.values(), **shared),
        lambda: kernels.batch_norm_backward(a["y"], *known, a["y"], *v, **shared),
        lambda: kernels.bias_act_backward(a["y"], a["y"], a["y"], v[0], **shared),
        lambda: kernels.softmax_loss(a["z"], None, labels, a["y"], v[0], *counts, **shared),
    ):
        with simgpu.count() as used:
            call()
        assert used.launches == launches
        assert used.d2h_copies == used.h2d_copies == used.synchronisations == used.allocations == 0


def test_a_wide_loss_is_two_launches(sim: Any) -> None:
    z = Draw(sim)(33, 1000)
    with simgpu.count() as used:
        loss_of(sim, z, None, sim.zeros(33, np.int64), clock=clock_of(sim))
    assert kernels.loss_scratch_size(33, 1000) == 2 * 1002
    assert used.launches >= 2


SCRIPT = """
import sys
sys.path[:0] = {paths!r}
import numpy as np
from gpunet.testing import simgpu
with simgpu.activate() as cupy:
    from test_kernels import everything
    for shape in ((2, 1), (31, 33), (1025, 7)):
        everything(cupy, "float32", *shape)
    for shape in ((3, 5), (1100, 40)):
        everything(cupy, "float64", *shape)
print("right")
"""


@pytest.mark.skipif(not compiler.available()[0], reason=compiler.available()[1])
@pytest.mark.skipif(asan.library() is None, reason="AddressSanitizer needs g++'s libasan")
def test_no_kernel_leaves_its_arrays() -> None:
    paths = [str(Path(__file__).parent), str(Path(gn.__file__).parent.parent)]
    done = asan.run(["-c", SCRIPT.format(paths=paths)])
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr
