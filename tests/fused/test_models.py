"""gpunet.fused.on_cupy of several models: a launch for all leaves what one for each would, to the
last bit.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpunet import rng
from gpunet.backend import to_host
from gpunet.fused import on_cupy
from gpunet.fused.after import NO_DROP, After, Drop, Drops, Table
from gpunet.fused.resident import gather
from gpunet.testing import simgpu

MODELS, CALL = 3, 5
SHAPES = [(5, 33), (1025, 3)]  # one launch, and two
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
each_act = pytest.mark.parametrize("act", ["relu", "gelu"])  # from the output, from the input


class Models:
    """Random numbers of several models on a simulated GPU: parameters and gradients are rows of
    larger arrays, everything else lies close.
    """

    def __init__(self, cupy: Any, shape: tuple[int, int], dtype: Any = np.float32) -> None:
        self.cupy, self.shape, self.dtype = cupy, shape, np.dtype(dtype)
        self.draw = np.random.default_rng(0).standard_normal
        self.drops = [
            Drop(rng.threshold(p), rng.keep_scale(p), 2**63 + k, 2**40 * k)
            for k, p in enumerate((0.3, 0.0, 0.9))
        ]

    def plain(self, *shape: int) -> Any:
        return self.cupy.asarray(self.draw((MODELS, *shape)).astype(self.dtype))

    def row(self) -> Any:
        """(models, 1, columns), of a larger array."""
        return self.plain(1, 64 + self.shape[1])[..., 64:]

    def norm(self) -> Any:
        gamma, beta = (SimpleNamespace(data=self.row(), grad=self.row()) for _ in range(2))
        statistics = {
            name: self.plain(1, self.shape[1]) for name in ("running_mean", "running_var")
        }
        return SimpleNamespace(
            gamma=gamma, beta=beta, momentum=0.1, eps=1e-5, track=True, **statistics
        )

    def after(self, act: str | None) -> After:
        return After(act, Drops(self.drops, self.dtype, Table(self.cupy, self.dtype)), 0.5)

    def work(self, models: int | None, order: Any = None) -> Any:
        several = () if models is None else (models,)
        found = on_cupy.Workspace(self.cupy, self.shape[0], [self.shape[1]], self.dtype, *several)
        found.counters, found.order = self.cupy.asarray([0, CALL, 2, 1, 0, 0, 0, 0]), order
        return found


def of_model(a: Any, k: int) -> Any:
    """A copy of what model k has, in arrays and layers; what is told to all stays as it is."""
    if isinstance(a, After):
        return a if a.drop == NO_DROP else a._replace(drop=a.drop.each[k])  # type: ignore
    if isinstance(a, SimpleNamespace):
        return SimpleNamespace(**{name: of_model(one, k) for name, one in vars(a).items()})
    if getattr(a, "ndim", 0) < 2:
        return a
    own = a[k].copy()
    return own[0] if own.ndim > 1 and len(own) == 1 else own


def leaves(given: Any) -> list[Any]:
    """All arrays, on the host."""
    found = []
    for a in given:
        inside = leaves(vars(a).values()) if isinstance(a, SimpleNamespace) else []
        found += [to_host(a)] if hasattr(a, "ndim") else inside
    return found


def check(models: Models, op: Any, *given: Any, order: Any = None) -> None:
    """`op` of all models, in as many launches as of one, leaves what it leaves of each alone."""
    alone = [[of_model(a, k) for a in given] for k in range(MODELS)]
    counts = []
    each = [(own, models.work(None, of_model(order, k))) for k, own in enumerate(alone)]
    for own, work in [*each, (given, models.work(MODELS, order))]:
        with simgpu.count() as used:
            op(*own, work)
        counts.append(used.launches)
        assert not work.arrived.any()
    assert len(set(counts)) == 1
    for k, own in enumerate(alone):
        for whole, expected in zip(leaves(given), leaves(own), strict=True):
            found = whole[k] if whole.ndim > expected.ndim else whole
            np.testing.assert_array_equal(found.reshape(expected.shape), expected)


@pytest.mark.parametrize("add", [False, True])
@each_act
@each_shape
def test_bias_act_and_back(shape: tuple[int, int], act: str, add: bool, sim: Any) -> None:
    models = Models(sim, shape)
    z, b, y, after = models.plain(*shape), models.row(), models.plain(*shape), models.after(act)
    check(models, on_cupy.bias_act, z, b, y, after)
    seen, g = models.plain(*shape), models.plain(*shape)
    check(models, on_cupy.bias_act_backward, g, seen, b, models.row(), after, add)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_act
@each_shape
def test_batch_norm_and_back(shape: tuple[int, int], act: str, dtype: str, sim: Any) -> None:
    models = Models(sim, shape, dtype)
    layer, z, y, after = models.norm(), *(models.plain(*shape) for _ in "zy"), models.after(act)
    mean, inv = (models.plain(1, shape[1]) for _ in range(2))
    check(models, on_cupy.batch_norm, layer, z, models.row(), y, mean, inv, after)
    g, db = models.plain(*shape), models.row()
    check(models, on_cupy.batch_norm_backward, layer, g, y, z, mean, inv, db, after, False)


@each_act
@each_shape
def test_norm_act(shape: tuple[int, int], act: str, sim: Any) -> None:
    models, after = Models(sim, shape), After(act, NO_DROP, 0.5)
    norm = models.norm()
    norm.running_var = abs(norm.running_var)
    for own in (norm, None):
        check(models, on_cupy.norm_act, own, models.plain(*shape), models.row(), after)
        check(models, on_cupy.norm_act, own, models.plain(*shape), None, after)


@pytest.mark.parametrize("shape", [(5, 3), (70, 33)])
@pytest.mark.parametrize("biased", [True, False])
def test_score(biased: bool, shape: tuple[int, int], sim: Any) -> None:
    """`found` is some of the columns of a larger array, as a `Tally` has it."""
    models, (rows, columns) = Models(sim, shape), shape
    labels = sim.asarray(np.random.default_rng(1).integers(0, columns, rows))
    found = models.plain(3).astype(np.float64)[:, :2]
    given = models.plain(*shape), models.row() if biased else None, labels, 0.1, found
    check(models, on_cupy.score, *given)
    assert to_host(found)[:, 1].any()


@pytest.mark.parametrize("shape", [(5, 3), (70, 33), (40, 70)])
@pytest.mark.parametrize("ordered", ["each its own", "one for all", "none"])
def test_softmax_loss(
    ordered: str, shape: tuple[int, int], sim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one launch, and with more classes in two, of which the second has several blocks."""
    monkeypatch.setattr(on_cupy, "LOSS_ONE_LAUNCH", 64)
    models, (rows, columns) = Models(sim, shape), shape
    integers, order = np.random.default_rng(1).integers, None
    labels = sim.asarray(integers(0, columns, (MODELS, rows)))
    if ordered != "none":
        labels = sim.asarray(integers(0, columns, rows + 2))
        order = sim.asarray(integers(0, rows + 2, (MODELS, rows + 2)))
        order = order if ordered == "each its own" else order[0]
    losses = sim.zeros((MODELS, 1 if ordered == "none" else 4))
    given = models.plain(*shape), models.row(), models.row(), labels, losses, 0.1, 0.5, False
    check(models, on_cupy.softmax_loss, *given, order=order)
    assert np.count_nonzero(to_host(losses)) == MODELS


def test_gather(sim: Any) -> None:
    data = sim.asarray(np.random.default_rng(1).standard_normal((9, 7)))
    order = sim.asarray(np.random.default_rng(2).integers(0, 9, (MODELS, 8)))
    counted, y = sim.asarray([0, 0, 0, 0, 6, 7, 2, 9]), sim.empty((MODELS, 3, 7), np.float32)
    gather(data, order, counted, y, 0.5)
    expected = (to_host(data)[to_host(order)[:, 2:5]]).astype(np.float32) * np.float32(0.5)
    np.testing.assert_array_equal(to_host(y), expected)
    assert counted.tolist() == [6, 7, 2, 9] * 2
