"""NumPy and nothing else: how fast a step can be when it is written for one network by hand.

Every array is made once and written with `out=`. What makes it fast, most first: parameters and
gradients lie in one flat array each, so that the update is a few calls over blocks that stay in the
cache; column sums are products with a vector of ones; ReLU's mask is of floats, and multiplying by
it is quicker than `maximum`; a bias before BatchNorm, which would take it away, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.peers.base import MOMENTUM, Make, Training, Update
from benchmarks.workloads import Numbers, Task, Workload

VERSIONS = {"numpy": np.__version__}
BLOCK = 16_384  # elements of each array that an update works on at a time
EPS = 1e-5
f32 = np.float32


class Flat:
    """Values and gradients in two flat arrays, handed out piece by piece as views."""

    def __init__(self, size: int) -> None:
        self.values, self.grads = np.zeros(size, f32), np.zeros(size, f32)
        self.used = 0

    def take(self, *shape: int) -> tuple[Numbers, Numbers]:
        """(values, gradients) of this shape."""
        part = slice(self.used, self.used + math.prod(shape))
        self.used = part.stop
        return self.values[part].reshape(shape), self.grads[part].reshape(shape)


class Affine:
    """x W + b; `bias` is a place in a Flat, or None."""

    def __init__(self, flat: Flat, W: Numbers, rows: int, bias: bool) -> None:
        self.W, self.dW = flat.take(*W.shape)
        self.W[...] = W
        self.b, self.db = flat.take(W.shape[1]) if bias else (None, None)
        self.z = np.empty((rows, W.shape[1]), f32)
        self.ones = np.ones(rows, f32)

    def forward(self, x: Numbers) -> Numbers:
        self.x = x
        np.matmul(x, self.W, out=self.z)
        if self.b is not None:
            self.z += self.b
        return self.z

    def backward(self, dz: Numbers, dx: Numbers | None) -> None:
        if self.b is not None:
            np.matmul(self.ones, dz, out=self.db)
        np.matmul(self.x.T, dz, out=self.dW)
        if dx is not None:
            np.matmul(dz, self.W.T, out=dx)


class BatchNorm:
    """Over the rows of z, with running statistics as PyTorch keeps them."""

    def __init__(self, flat: Flat, rows: int, features: int) -> None:
        self.gamma, self.dgamma = flat.take(features)
        self.beta, self.dbeta = flat.take(features)
        self.gamma[...] = 1
        self.share = np.full(rows, 1 / rows, f32)  # times a matrix: the means of its columns
        self.mean, self.var, self.inv, self.scale = np.empty((4, features), f32)
        self.running_mean, self.running_var = np.zeros(features, f32), np.ones(features, f32)
        self.y, self.spare = np.empty((2, rows, features), f32)
        self.unbiased = f32(rows / (rows - 1))

    def forward(self, z: Numbers) -> Numbers:
        np.matmul(self.share, z, out=self.mean)
        z -= self.mean
        self.centred = z
        np.multiply(z, z, out=self.spare)
        np.matmul(self.share, self.spare, out=self.var)
        np.add(self.var, f32(EPS), out=self.inv)
        np.sqrt(self.inv, out=self.inv)
        np.reciprocal(self.inv, out=self.inv)
        np.multiply(self.gamma, self.inv, out=self.scale)
        self.running_mean += f32(0.1) * (self.mean - self.running_mean)
        self.running_var += f32(0.1) * (self.unbiased * self.var - self.running_var)
        np.multiply(z, self.scale, out=self.y)
        self.y += self.beta
        return self.y

    def backward(self, d: Numbers) -> None:
        """From the gradient of y to that of z, in place."""
        rows = f32(len(d))
        np.matmul(self.share, d, out=self.dbeta)
        np.multiply(d, self.centred, out=self.spare)
        np.matmul(self.share, self.spare, out=self.dgamma)  # the mean of d (z - mean)
        self.dgamma *= self.inv
        np.multiply(self.centred, self.dgamma * self.inv, out=self.spare)
        d -= self.spare
        d -= self.dbeta
        d *= self.scale
        self.dgamma *= rows
        self.dbeta *= rows


class Hidden:
    """Affine, BatchNorm if asked, ReLU, and Dropout if asked."""

    def __init__(self, flat: Flat, W: Numbers, rows: int, norm: bool, dropout: float) -> None:
        self.affine = Affine(flat, W, rows, bias=not norm)
        self.norm = BatchNorm(flat, rows, W.shape[1]) if norm else None
        self.mask, self.d, self.kept = np.empty((3, rows, W.shape[1]), f32)
        self.bound = round(dropout * 256)  # of a random byte; p = 0.5 is exact
        self.gain = f32(1 / (1 - dropout))
        self.random = np.random.SFC64(0).random_raw

    def forward(self, x: Numbers) -> Numbers:
        z = self.affine.forward(x)
        y = z if self.norm is None else self.norm.forward(z)
        np.greater(y, 0, out=self.mask)
        if self.bound:
            self._drop()
        y *= self.mask
        return y

    def _drop(self) -> None:
        words = self.random(-(-self.mask.size // 8))
        random = words.view(np.uint8)[: self.mask.size].reshape(self.mask.shape)
        np.greater_equal(random, self.bound, out=self.kept)
        self.kept *= self.gain
        self.mask *= self.kept

    def backward(self, dx: Numbers | None) -> None:
        """From the gradient that lies in `d`."""
        self.d *= self.mask
        if self.norm is not None:
            self.norm.backward(self.d)
        self.affine.backward(self.d, dx)


class Net(Training):
    """The whole step."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        w = task.workload
        self.rows = np.arange(w.batch)
        flat = Flat(sum(W.size + 3 * W.shape[1] for W in task.start))
        *hidden, last = task.start
        self.hidden = [Hidden(flat, W, w.batch, w.batch_norm, task.dropout) for W in hidden]
        self.last = Affine(flat, last, w.batch, bias=True)
        self.ones = np.ones(w.sizes[-1], f32)
        self.d = np.empty_like(self.last.z)
        used = slice(flat.used)
        self.change = OPTIMIZERS[w.optimizer](flat.values[used], flat.grads[used], w.lr)

    def update(self, x: Numbers, t: Numbers) -> np.float32:
        for layer in self.hidden:
            x = layer.forward(x)
        loss = self._loss(self.last.forward(x), t)
        below = [None, *(layer.d for layer in self.hidden)]
        self.last.backward(self.d, below[-1])
        for layer, dx in zip(reversed(self.hidden), below[-2::-1], strict=True):
            layer.backward(dx)
        self.change()
        return loss

    def _loss(self, z: Numbers, t: Numbers) -> np.float32:
        """Mean cross-entropy of softmax(z); its gradient goes to `d`."""
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=self.d)
        total = np.matmul(self.d, self.ones)
        loss = (np.log(total) - z[self.rows, t]).mean()
        self.d /= total[:, None]
        self.d[self.rows, t] -= 1
        self.d *= f32(1 / len(t))
        return loss


# Updates, block by block


def sgd(p: Numbers, g: Numbers, lr: float) -> Callable[[], None]:
    spare = np.empty(min(BLOCK, p.size), f32)
    rate = f32(lr)

    def step() -> None:
        for p_, g_, s in _blocks(p, g, spare=[spare]):
            np.multiply(g_, rate, out=s)
            p_ -= s

    return step


def momentum(p: Numbers, g: Numbers, lr: float) -> Callable[[], None]:
    spare, velocity = np.empty(min(BLOCK, p.size), f32), np.zeros_like(p)
    rate, share = f32(lr), f32(MOMENTUM)

    def step() -> None:
        for p_, g_, v_, s in _blocks(p, g, velocity, spare=[spare]):
            v_ *= share
            np.multiply(g_, rate, out=s)
            v_ -= s
            p_ += v_

    return step


def adam(p: Numbers, g: Numbers, lr: float) -> Callable[[], None]:
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    m, v = np.zeros_like(p), np.zeros_like(p)
    spare = np.empty(min(BLOCK, p.size), f32)
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        root2 = math.sqrt(1 - beta2**t)
        rate, small = f32(lr * root2 / (1 - beta1**t)), f32(eps * root2)
        for p_, g_, m_, v_, s in _blocks(p, g, m, v, spare=[spare]):
            m_ *= f32(beta1)
            np.multiply(g_, f32(1 - beta1), out=s)
            m_ += s
            v_ *= f32(beta2)
            np.multiply(g_, g_, out=s)
            s *= f32(1 - beta2)
            v_ += s
            np.sqrt(v_, out=s)
            s += small
            np.divide(m_, s, out=s)
            s *= rate
            p_ -= s

    return step


def _blocks(*arrays: Numbers, spare: Sequence[Numbers]) -> list[tuple[Numbers, ...]]:
    n = arrays[0].size
    ends = [(a, min(a + BLOCK, n)) for a in range(0, n, BLOCK)]
    return [(*(x[a:b] for x in arrays), *(s[: b - a] for s in spare)) for a, b in ends]


OPTIMIZERS = {"sgd": sgd, "momentum": momentum, "adam": adam}


class NumpyUpdate(Update):
    """All tensors in one flat array, so that twenty cost what one does."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        flat = Flat(task.workload.parameters)
        self.grads, self.parts = flat.grads, []
        for value, grad in zip(task.start, task.gradients, strict=True):
            p, g = flat.take(value.size)
            p[...], g[...] = value, grad
            self.parts.append(p)
        self.step = OPTIMIZERS[task.workload.optimizer](flat.values, flat.grads, task.workload.lr)

    def scale(self, ratio: float) -> None:
        self.grads *= f32(ratio)

    def tensors(self) -> list[Numbers]:
        return self.parts


def peers(workload: Workload, device: str) -> dict[str, Make]:
    if device != "cpu":
        return {}
    return {"NumPy by hand": Net if workload.sizes else NumpyUpdate}
