"""Copies and pickles of optimizers, with their model, alone, in a Trainer: independent twins that
continue bit for bit.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet import schedules
from gpunet.backend import device_of, to_device, to_host

WAYS: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda what: pickle.loads(pickle.dumps(what)),
}
KINDS = ["sgd", "rmsprop", "adam", "cocob", "rprop"]
SETTINGS = {"rmsprop": {"momentum": 0.9, "centered": True}}
RATE = schedules.warmup(schedules.cosine(0.05, 20), 3)


@pytest.fixture(params=WAYS)
def twin(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return WAYS[request.param]


def pair(name: str, device: str) -> tuple[Any, Any]:
    """With two groups, a schedule, and one frozen parameter."""
    gn.seed(1)
    model = gn.MLP([4, 6, 3], batch_norm=True, dropout=0.3).to(device)
    ps = model.parameters()
    groups: list[Any] = [{"params": ps[:3]}, {"params": ps[3:], "weight_decay": 0.01}]
    if gn.OPTIMIZERS[name].has_lr:
        groups[0]["lr"] = RATE
    optimizer = gn.OPTIMIZERS[name](groups, clip_norm=1.0, **SETTINGS.get(name, {}))
    ps[1].requires_grad = False
    return model, optimizer


def train(model: Any, optimizer: Any, first: int, last: int) -> None:
    loss_fn = gn.SoftmaxWithLoss()
    for k in range(first, last):
        draw = np.random.default_rng(k)
        x = to_device(draw.standard_normal((8, 4)).astype("f4"), model.device)
        loss = loss_fn(model(x), to_device(draw.integers(0, 3, 8), model.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def held(model: Any, optimizer: Any) -> list[bytes]:
    state = optimizer.state_dict()["state"].values()
    arrays = [*model.state_dict().values(), *(a for s in state for a in s if a is not None)]
    return [to_host(a).tobytes() for a in arrays]


@pytest.mark.parametrize("name", KINDS)
def test_with_its_model_it_trains_that_one(name: str, twin: Any, device: str) -> None:
    model, optimizer = pair(name, device)
    train(model, optimizer, 0, 3)
    before = held(model, optimizer)
    both = [twin((model, optimizer)), twin([optimizer, model])[::-1]]
    for other in both:
        train(*other, 3, 6)
        assert held(model, optimizer) == before
        assert [a is b for a, b in zip(other[0].parameters(), other[1].parameters, strict=True)]
        assert other[1].t == 6
        assert (other[1].clip_norm, device_of(other[0][0].W.data)) == (1.0, device)
    train(model, optimizer, 3, 6)
    assert held(model, optimizer) == held(*both[0]) == held(*both[1])


def test_alone_it_has_parameters_of_its_own(twin: Any, device: str) -> None:
    model, optimizer = pair("adam", device)
    train(model, optimizer, 0, 2)
    alone = twin(optimizer)
    before = held(model, optimizer)
    for p, q in zip(alone.parameters, model.parameters(), strict=True):
        assert p is not q
        assert to_host(p.data).tobytes() == to_host(q.data).tobytes()
        assert (p.requires_grad, p.decay) == (q.requires_grad, q.decay)
        p.grad = np.ones(p.shape, p.dtype)
    alone.step()
    alone.lr = 0.5
    assert held(model, optimizer) == before
    assert optimizer.groups[0]["lr"] == RATE
    train(model, optimizer, 2, 4)  # it still has its parameters


def test_between_backward_and_step(twin: Any, device: str) -> None:
    """The gradients are part of what it continues from."""
    p = gn.Parameter(to_device(np.ones(3), device))
    optimizer = gn.Momentum([p], lr=0.1)
    p.grad = [1.0, 2.0, 3.0]
    other = twin(optimizer)
    optimizer.step()
    other.step()
    assert to_host(other.parameters[0].data).tobytes() == to_host(p.data).tobytes()


def test_what_update_keeps(twin: Any, xp: Any) -> None:
    optimizer, params = gn.Adam(lr=0.1), {"w": xp.ones((2, 2)), 3: xp.zeros(2)}
    grads = {k: xp.ones(a.shape) for k, a in params.items()}
    optimizer.update(params, grads)
    other, theirs = twin((optimizer, params))
    optimizer.update(params, grads)
    other.update(theirs, grads)
    optimizer.update(params, grads)
    other.update(theirs, grads)
    for k, a in params.items():
        assert to_host(a).tobytes() == to_host(theirs[k]).tobytes()


def test_a_trainer(twin: Any, device: str) -> None:
    model, optimizer = pair("adam", device)
    callbacks = [gn.EarlyStopping(patience=3)]
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, callbacks, progress=False)
    draw = np.random.default_rng(0)
    data = draw.standard_normal((40, 4)).astype("f4"), draw.integers(0, 3, 40)
    trainer.fit(data, data, epochs=2, batch_size=8)
    before, other = held(model, optimizer), twin(trainer)
    other.fit(data, data, epochs=2, batch_size=8)
    assert held(model, optimizer) == before
    assert (len(trainer.history), len(other.history)) == (2, 4)
    trainer.fit(data, data, epochs=2, batch_size=8)
    assert held(model, optimizer) == held(other.model, other.optimizer)
    assert trainer.history["valid_loss"] == other.history["valid_loss"]


@pytest.mark.parametrize("fuse", [True, False])
def test_a_step(fuse: bool, twin: Any, device: str) -> None:
    gn.seed(2)
    model = gn.MLP([4, 5, 3]).to(device)
    step = gn.Step(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()), fuse=fuse)
    draw = np.random.default_rng(0)
    x = to_device(draw.standard_normal((8, 4)).astype("f4"), device)
    t = to_device(draw.integers(0, 3, 8), device)
    step(x, t)
    other = twin(step)
    assert (other.reason is None) is fuse
    assert float(other(x, t)) == float(step(x, t))
    assert held(model, step.optimizer) == held(other.model, other.optimizer)


def test_one_that_lost_its_parameters_says_so(twin: Any) -> None:
    model, optimizer = pair("adam", "cpu")
    gn.SGD(model.parameters())
    with pytest.raises(RuntimeError, match="lost its parameters"):
        twin(optimizer)


def test_a_shallow_copy_is_refused() -> None:
    model, optimizer = pair("adam", "cpu")
    with pytest.raises(TypeError, match=r"use copy.deepcopy"):
        copy.copy(optimizer)
    train(model, optimizer, 0, 1)


@pytest.mark.parametrize(
    "rate",
    [
        schedules.constant(0.1),
        schedules.step(1.0, 3),
        schedules.exponential(1.0, 0.9),
        schedules.inverse_time(1.0, 0.1),
        schedules.cosine(1.0, 5, 0.1),
        schedules.piecewise([2, 4], [1.0, 0.5, 0.1]),
        RATE,
    ],
    ids=repr,
)
def test_schedules(rate: Any, twin: Any) -> None:
    other = twin(rate)
    assert other == rate
    assert [other(t) for t in range(9)] == [rate(t) for t in range(9)]
