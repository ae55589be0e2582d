"""64 networks in one step, beside `vmap` of JAX and of PyTorch.

    python -m benchmarks.vmap [--device cpu] [--rounds 7] [--models 64]

64-32-10 with ReLU on the digits, batches of 32, Adam; each network with its own weights, learning
rate and order of the rows. The first epoch's losses are compared before anything is timed, then
all take turns at ten epochs. `bmm by hand` is PyTorch without vmap: batched products and a tape
with one more axis. The record goes to benchmarks/results/ensembles/.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import torch
from jax import lax
from jax import numpy as jnp
from torch.func import grad_and_value, vmap
from torch.nn import functional as F

import gpunet as gn
from benchmarks import records
from benchmarks.machine import device_name, watched
from gpunet.backend import to_device, to_host
from gpunet.data import load
from gpunet.data.order import permutation

BATCH, EPOCHS = 32, 10
RATIO = "gpunet / it"
Epochs = Callable[[int], Any]  # trains so many; the mean loss of the last, one for each network
RESULTS = Path(__file__).parent / "results" / "ensembles"


@dataclass
class Task:
    """ensemble: as it starts. x, t: the rows. rates: of each network."""

    ensemble: gn.Ensemble
    device: str
    x: np.ndarray[Any, Any]
    t: np.ndarray[Any, Any]
    rates: np.ndarray[Any, Any]

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """Of all networks: name -> (models, ...)."""
        states = [model.state_dict() for model in self.ensemble.models]
        return {name: np.stack([to_host(s[name]) for s in states]) for name in states[0]}

    def order(self, epoch: int) -> np.ndarray[Any, Any]:
        """(batches, models, rows of a batch)."""
        each = [permutation(len(self.x), seed, epoch) for seed in self.ensemble.seeds]
        return np.stack(each).reshape(len(each), -1, BATCH).swapaxes(0, 1)


def task(models: int, device: str) -> Task:
    train = load("digits").train
    x, t = train.x, train.t
    rows = len(x) // BATCH * BATCH
    rates = np.geomspace(1e-4, 1e-2, models)
    made = gn.Ensemble(
        gn.MLP([64, 32, 10]), models, "adam", lr=rates.tolist(), device=device, progress=False
    )
    return Task(made, device, x[:rows], t[:rows].astype(np.int64), rates)


def ours(given: Task) -> Epochs:
    data = to_device(given.x, given.device), to_device(given.t, given.device)

    def train(epochs: int) -> Any:
        histories = given.ensemble.fit(data, None, epochs, BATCH)
        return [history["train_loss"][-1] for history in histories]

    return train


def in_turn(given: Task, epoch: Callable[[np.ndarray[Any, Any]], Any]) -> Epochs:
    """Of one that trains an epoch in the given order."""
    done = 0

    def train(epochs: int) -> Any:
        nonlocal done
        for _ in range(epochs):
            losses = epoch(given.order(done))
            done += 1
        return np.asarray(losses).mean(axis=0)

    return train


# JAX


def in_jax(given: Task, scanned: bool) -> Epochs:
    place = jax.devices("gpu" if given.device == "cuda" else "cpu")[0]
    put = partial(jax.device_put, device=place)
    rule = optax.scale_by_adam()
    x, t, rates = put(given.x), put(given.t.astype(np.int32)), put(given.rates.astype(np.float32))
    params = {name: put(v) for name, v in given.weights().items()}
    state = params, jax.vmap(rule.init)(params)

    def loss(p: Any, rows: Any) -> Any:
        y = jax.nn.relu(x[rows] @ p["0.W"] + p["0.b"]) @ p["2.W"] + p["2.b"]
        return optax.softmax_cross_entropy_with_integer_labels(y, t[rows]).mean()

    def one(p: Any, own: Any, rows: Any, lr: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(p, rows)
        changes, own = rule.update(grads, own)
        return jax.tree.map(lambda a, d: a - lr * d, p, changes), own, value

    def step(state: Any, rows: Any) -> Any:
        *state, losses = jax.vmap(one)(*state, rows, rates)
        return tuple(state), losses

    compiled = jax.jit(step, donate_argnums=0)
    whole = jax.jit(lambda s, orders: lax.scan(step, s, orders), donate_argnums=0)

    def epoch(orders: np.ndarray[Any, Any]) -> Any:
        nonlocal state
        orders = put(orders.astype(np.int32))
        if scanned:
            state, losses = whole(state, orders)
            return losses
        found = []
        for rows in jnp.unstack(orders):
            state, value = compiled(state, rows)
            found.append(value)
        return jnp.stack(found)

    return in_turn(given, epoch)


# PyTorch


def in_torch(given: Task, mapped: bool) -> Epochs:
    place = partial(torch.tensor, device=given.device)
    x, t = place(given.x), place(given.t)
    params = [place(v).requires_grad_(not mapped) for v in given.weights().values()]
    rates = place(given.rates.astype(np.float32))
    rates = [rates.reshape(-1, *[1] * (p.ndim - 1)) for p in params]
    mean, square = ([torch.zeros_like(p) for p in params] for _ in range(2))
    updates = 0

    def alone(p: Sequence[Any], rows: Any) -> Any:
        y = torch.relu(x[rows] @ p[0] + p[1]) @ p[2] + p[3]
        return F.cross_entropy(y, t[rows])

    def together(rows: Any) -> Any:
        W, b, V, c = params
        y = torch.relu(torch.baddbmm(b[:, None], x[rows], W))
        z = torch.baddbmm(c[:, None], y, V)
        losses = F.cross_entropy(z.movedim(2, 1), t[rows], reduction="none").mean(1)
        return torch.autograd.grad(losses.sum(), params), losses.detach()

    gradients = vmap(grad_and_value(alone)) if mapped else lambda _, rows: together(rows)

    def step(rows: Any) -> Any:
        """Adam in `foreach` calls, as torch.optim has it, with a rate for each network."""
        nonlocal updates
        grads, losses = gradients(params, rows)
        updates += 1
        with torch.no_grad():
            torch._foreach_lerp_(mean, grads, 0.1)
            torch._foreach_mul_(square, 0.999)
            torch._foreach_addcmul_(square, grads, grads, 0.001)
            below = torch._foreach_div(square, 1 - 0.999**updates)
            torch._foreach_sqrt_(below)
            torch._foreach_add_(below, 1e-8)
            change = torch._foreach_div(mean, below)
            torch._foreach_mul_(change, rates)
            torch._foreach_add_(params, change, alpha=-1 / (1 - 0.9**updates))
        return losses

    def epoch(orders: np.ndarray[Any, Any]) -> Any:
        moved = place(orders)
        return torch.stack([step(rows) for rows in moved]).cpu().numpy()

    return in_turn(given, epoch)


WAYS: dict[str, Callable[[Task], Epochs]] = {
    "gpunet": ours,
    "JAX vmap, jit": lambda given: in_jax(given, scanned=False),
    "JAX vmap, an epoch in one scan": lambda given: in_jax(given, scanned=True),
    "PyTorch vmap": lambda given: in_torch(given, mapped=True),
    "PyTorch bmm by hand": lambda given: in_torch(given, mapped=False),
}


def measured(models: int, device: str, rounds: int) -> dict[str, Any]:
    """Milliseconds of a step of each way, and of gpunet's share of it: medians over the rounds."""
    ways = {name: make(task(models, device)) for name, make in WAYS.items()}
    first = {name: np.asarray(train(1)) for name, train in ways.items()}
    for name, losses in first.items():
        np.testing.assert_allclose(losses, first["gpunet"], rtol=1e-3, err_msg=name)
    for train in ways.values():
        train(EPOCHS)  # compiled, and warm
    steps = EPOCHS * (len(task(1, "cpu").x) // BATCH)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, train in ways.items():
            began = time.perf_counter()
            train(EPOCHS)
            times[name].append((time.perf_counter() - began) / steps * 1e3)
    ours = times["gpunet"]
    return {
        name: {
            "ms a step": round(statistics.median(found), 3),
            "quartiles": [round(q, 3) for q in np.percentile(found, [25, 75]).tolist()],
            RATIO: round(statistics.median(a / b for a, b in zip(ours, found, strict=True)), 2),
        }
        for name, found in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", type=int, default=64)
    given = parser.parse_args()
    record = records.header(given.device, device_name(given.device)) | {
        "models": given.models,
        "versions": {
            "jax": jax.__version__,
            "optax": optax.__version__,
            "torch": torch.__version__,
        },
    }
    with watched() as others:
        record["ways"] = measured(given.models, given.device, given.rounds)
    record["other programs"] = others.share
    for name, found in record["ways"].items():
        print(
            f"{name:<32}{found['ms a step']:8.3f} ms a step; gpunet / it {found['gpunet / it']:.2f}"
        )
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"vmap-{given.device}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
