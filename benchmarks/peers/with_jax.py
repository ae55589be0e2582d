"""JAX with optax: one jitted step after another, and many steps in one lax.scan."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from jax import lax
from jax import numpy as jnp

from benchmarks.peers.base import MOMENTUM, Make, Training, Update
from benchmarks.workloads import Task, Workload, order

VERSIONS = {"jax": jax.__version__, "optax": optax.__version__}
EPS = 1e-5

jax.config.update("jax_default_matmul_precision", "highest")  # float32, also on a GPU

State = tuple[Any, Any, Any, Any]  # parameters, running statistics, the optimizer's, random key


def optimizer(workload: Workload) -> optax.GradientTransformation:
    if workload.optimizer == "adam":
        return optax.adam(workload.lr)
    return optax.sgd(workload.lr, MOMENTUM if workload.optimizer == "momentum" else None)


def place(device: str) -> Any:
    return jax.devices("gpu" if device == "cuda" else "cpu")[0]


def batch_norm(z: Any, p: Any, running: Any) -> tuple[Any, Any]:
    mean, var = z.mean(0), z.var(0)
    rows = z.shape[0]
    new = 0.9 * running[0] + 0.1 * mean, 0.9 * running[1] + 0.1 * var * rows / (rows - 1)
    return (z - mean) * lax.rsqrt(var + EPS) * p["gamma"] + p["beta"], new


def forward(params: Any, running: Any, x: Any, t: Any, key: Any, share: float) -> tuple[Any, Any]:
    """(loss, new running statistics)."""
    new = []
    for k, p in enumerate(params[:-1]):
        x = x @ p["W"] + p["b"]
        if "gamma" in p:
            x, statistics = batch_norm(x, p, running[k])
            new.append(statistics)
        x = jax.nn.relu(x)
        if share:
            kept = jax.random.bernoulli(jax.random.fold_in(key, k), 1 - share, x.shape)
            x = jnp.where(kept, x / (1 - share), 0)
    z = x @ params[-1]["W"] + params[-1]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(z, t).mean(), new


def begin(task: Task) -> tuple[list[dict[str, Any]], list[Any]]:
    """(parameters, running statistics)."""
    params, running = [], []
    for k, W in enumerate(task.start):
        width = W.shape[1]
        p = {"W": jnp.array(W), "b": jnp.zeros(width)}
        if task.workload.batch_norm and k < len(task.start) - 1:
            p |= {"gamma": jnp.ones(width), "beta": jnp.zeros(width)}
            running.append((jnp.zeros(width), jnp.ones(width)))
        params.append(p)
    return params, running


class Jit(Training):
    def __init__(self, task: Task) -> None:
        self.device = place(task.device)
        super().__init__(task)
        with jax.default_device(self.device):
            params, running = begin(task)
            self.rule = optimizer(task.workload)
            self.state: State = (params, running, self.rule.init(params), jax.random.key(0))
        self.share, self.rows = task.dropout, task.workload.batch
        self.one = jax.jit(self._one, donate_argnums=0)
        self.row = jax.jit(self._row, donate_argnums=0)

    def _one(self, state: State, x: Any, t: Any) -> tuple[State, Any]:
        params, running, inner, key = state
        key, now = jax.random.split(key) if self.share else (key, key)
        value = jax.value_and_grad(forward, has_aux=True)
        (loss, running), grads = value(params, running, x, t, now, self.share)
        changes, inner = self.rule.update(grads, inner, params)
        return (optax.apply_updates(params, changes), running, inner, key), loss

    def _row(self, state: State, x: Any, t: Any, rows: Any) -> tuple[State, Any]:
        return self._one(state, x[rows], t[rows])

    def place(self, array: np.ndarray) -> Any:
        if array.dtype == np.int64:  # labels and row numbers
            array = array.astype(np.int32)
        return jax.device_put(array, self.device)

    def update(self, x: Any, t: Any) -> Any:
        self.state, loss = self.one(self.state, x, t)
        return loss

    def gathered(self, rows: Any) -> Any:
        self.state, loss = self.row(self.state, self.x, self.t, rows)
        return loss

    def _batches(self, count: int, batch: int) -> Iterator[Any]:
        for epoch in itertools.count():
            yield from jnp.unstack(self.place(order(count, batch, epoch)))

    def wait(self) -> None:
        jax.block_until_ready(self.state[0])


class Scan(Jit):
    """All steps of a round in one call, at most an epoch's; another number is compiled anew."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.many = jax.jit(self._many, donate_argnums=0, static_argnums=3)
        self.all_rows = jax.jit(self._all_rows, donate_argnums=0)
        self.epochs = itertools.count()

    def _many(self, state: State, x: Any, t: Any, steps: int) -> tuple[State, Any]:
        return lax.scan(lambda s, _: self._one(s, x, t), state, None, steps)

    def _all_rows(self, state: State, x: Any, t: Any, rows: Any) -> tuple[State, Any]:
        return lax.scan(lambda s, r: self._row(s, x, t, r), state, rows)

    def _scan(self, steps: int) -> Any:
        if self.batches is None:
            self.state, losses = self.many(self.state, self.x, self.t, steps)
        else:
            rows = order(len(self.x), self.rows, next(self.epochs))[:steps]
            self.state, losses = self.all_rows(self.state, self.x, self.t, self.place(rows))
        return losses

    def run(self, steps: int) -> None:
        self._scan(steps)

    def losses(self, steps: int) -> list[float]:
        return [float(loss) for loss in self._scan(steps)]


class JaxUpdate(Update):
    def __init__(self, task: Task) -> None:
        super().__init__(task)
        put = partial(jax.device_put, device=place(task.device))
        self.parameters = [put(p) for p in task.start]
        self.gradients = [put(g) for g in task.gradients]
        rule = optimizer(task.workload)
        self.state = rule.init(self.parameters)

        def change(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
            changes, state = rule.update(grads, state, params)
            return optax.apply_updates(params, changes), state

        self.change = jax.jit(change, donate_argnums=(0, 1))

    def step(self) -> None:
        self.parameters, self.state = self.change(self.parameters, self.state, self.gradients)

    def scale(self, ratio: float) -> None:
        self.gradients = [g * np.float32(ratio) for g in self.gradients]

    def tensors(self) -> list[Any]:
        return self.parameters

    def wait(self) -> None:
        jax.block_until_ready(self.parameters)


def peers(workload: Workload, device: str) -> dict[str, Make]:
    if not workload.sizes:
        return {"JAX jit": JaxUpdate}
    return {"JAX jit": Jit, "JAX scan": Scan}
