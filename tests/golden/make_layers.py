"""Make layers.npz: outputs, losses and gradients of layers by PyTorch, in float64.

    python make_layers.py     make the file anew (needs torch)

Names in the file are CASE/bB/ARRAY, where B is the batch size: 2, 5 or 33. Every gradient comes
from a random upstream gradient "gy" (of the output's shape; a random scalar for a loss), and dX is
the gradient with respect to X.

    affine         x (B, 7), W (7, 4), b (4,), y, gy, dx, dW, db           y = x W + b
    relu, sigmoid, tanh
                   x (B, 6), y, gy, dx          x has exact zeros, and +-40 and +-800
    batch_norm_train, batch_norm_eval            momentum 0.1, eps 1e-5
                   x (B, 6), gamma, beta, running_mean, running_var (both before the call), y, gy,
                   dx, dgamma, dbeta; in training also running_mean_after, running_var_after
    softmax_integer, softmax_soft, softmax_smooth, softmax_weights, softmax_smooth_weights,
    softmax_soft_smooth, softmax_soft_weights    softmax cross-entropy, mean reduction
                   z (B, 6) logits, t integer labels (B,) or soft targets (B, 6), weight (6,) where
                   the case has class weights, loss, gy, dz; "smooth" is label_smoothing 0.1
    mse_mean, mse_half_sum
                   x (B, 4), t (B, 4), loss, gy, dx: mean (x-t)^2, and 0.5 sum (x-t)^2
    kl             z (B, 6) logits, q (B, 6) with zeros, loss, gy, dz: sum q (log q - log p) / B
    binary         z (B, 3) logits, t (B, 3) in [0, 1], loss, gy, dz: mean over all elements

A whole network, 8-16-12-4: Affine, BatchNorm, ReLU, Affine, BatchNorm, ReLU, Affine, then softmax
cross-entropy; Adam with lr 0.01 for ten steps of 16 rows. State names are gpunet's ("0.W", "0.b",
"1.gamma", "1.beta", "1.running_mean", "1.running_var", "3.W", ..., "6.b").

    mlp/initial/NAME, mlp/final/NAME             state before step 1 and after step 10
    mlp/gradient/NAME                            gradients of the first step
    mlp/x (10, 16, 8), mlp/t (10, 16), mlp/losses (10,)
    mlp/eval                                     logits of mlp/x[0] in eval mode, after step 10
    mlp_eps_1e-8/...                             the same run with Adam's default eps

mlp has eps 1e-4. The biases 0.b and 3.b stand in front of BatchNorm, so their true gradient is 0
and the computed one is rounding noise, which Adam with eps 1e-8 turns into steps: in mlp_eps_1e-8
do not compare 0.b, 3.b, 1.running_mean and 4.running_mean closely. In mlp all may be compared.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

HERE = Path(__file__).parent
SEED = 20261122
BATCHES = (2, 5, 33)
CLASSES = 6
SMOOTHING = 0.1
SIZES = (8, 16, 12, 4)
STEPS, ROWS = 10, 16
Arrays = dict[str, Tensor]
# gpunet's name of a parameter -> torch's.
NAMES = {"W": "weight", "b": "bias", "gamma": "weight", "beta": "bias"}
STATISTICS = ("running_mean", "running_var")


class Draw:
    """Random float64 tensors from one seeded NumPy generator, the same on every platform."""

    def __init__(self, seed: int) -> None:
        """Start the stream of this seed."""
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal."""
        return torch.from_numpy(self.rng.standard_normal(shape))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform on [low, high)."""
        return torch.from_numpy(self.rng.uniform(low, high, shape))

    def scalar(self) -> Tensor:
        """An upstream gradient for a loss: neither 1 nor small."""
        return torch.tensor(self.rng.uniform(1.5, 2.5), dtype=torch.float64)

    def labels(self, *shape: int, classes: int = CLASSES) -> Tensor:
        """Integer labels."""
        return torch.from_numpy(self.rng.integers(0, classes, shape))

    def soft(self, rows: int) -> Tensor:
        """Rows that sum to 1; in each one class has probability 0, and the first row is one-hot."""
        q = self.rng.dirichlet(np.ones(CLASSES), rows)
        q[np.arange(rows), self.rng.integers(0, CLASSES, rows)] = 0.0
        q /= q.sum(axis=1, keepdims=True)
        q[0] = np.eye(CLASSES)[2]
        return torch.from_numpy(q)


def gradients(output: Tensor, gy: Tensor, inputs: Arrays) -> Arrays:
    """The gradient with respect to each input, named dNAME."""
    found = torch.autograd.grad(output, list(inputs.values()), gy)
    return {f"d{name}": g for name, g in zip(inputs, found, strict=True)}


def record(function: Callable[..., Tensor], inputs: Arrays, draw: Draw, out: str = "y") -> Arrays:
    """Inputs, output, upstream gradient and input gradients of function(**inputs)."""
    leaves = {name: a.clone().requires_grad_() for name, a in inputs.items()}
    output = function(**leaves)
    gy = draw.normal(*output.shape) if output.ndim else draw.scalar()
    return inputs | {out: output.detach(), "gy": gy} | gradients(output, gy, leaves)


def affine(rows: int, draw: Draw) -> Arrays:
    """Affine with W of shape (in, out)."""
    inputs = {"x": draw.normal(rows, 7), "W": draw.normal(7, 4), "b": draw.normal(4)}
    return record(lambda **a: functional.linear(a["x"], a["W"].T, a["b"]), inputs, draw)


def activation(function: Callable[[Tensor], Tensor]) -> Callable[[int, Draw], Arrays]:
    """A case of an elementwise function."""

    def case(rows: int, draw: Draw) -> Arrays:
        x = 3 * draw.normal(rows, 6)
        x[0] = torch.tensor([0.0, -0.0, 40.0, -40.0, 800.0, -800.0])
        return record(function, {"x": x}, draw)

    return case


def batch_norm(training: bool) -> Callable[[int, Draw], Arrays]:
    """A case of BatchNorm; features of different mean and scale, gamma of both signs."""

    def case(rows: int, draw: Draw) -> Arrays:
        scale = torch.tensor([0.1, 0.5, 1.0, 1.0, 2.0, 5.0], dtype=torch.float64)
        inputs = {
            "x": scale * draw.normal(rows, 6) + 3 * draw.normal(6),
            "gamma": draw.normal(6),
            "beta": draw.normal(6),
        }
        before = {"running_mean": draw.normal(6), "running_var": draw.uniform(0.5, 2.0, 6)}
        after = {name: a.clone() for name, a in before.items()}

        def apply(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
            mean, var = after["running_mean"], after["running_var"]
            return functional.batch_norm(x, mean, var, gamma, beta, training, 0.1, 1e-5)

        found = record(apply, inputs, draw) | before
        return found | ({f"{k}_after": a for k, a in after.items()} if training else {})

    return case


def softmax(soft: bool, smooth: bool, weights: bool) -> Callable[[int, Draw], Arrays]:
    """A case of softmax cross-entropy; one row's logits are large, to need the stable form."""

    def case(rows: int, draw: Draw) -> Arrays:
        z = 3 * draw.normal(rows, CLASSES)
        z[-1] += 900
        fixed = {"t": draw.soft(rows) if soft else draw.labels(rows)}
        if weights:
            fixed["weight"] = draw.uniform(0.2, 3.0, CLASSES)
        smoothing = SMOOTHING if smooth else 0.0

        def loss(z: Tensor) -> Tensor:
            weight = fixed.get("weight")
            return functional.cross_entropy(z, fixed["t"], weight, label_smoothing=smoothing)

        return record(loss, {"z": z}, draw, "loss") | fixed

    return case


def mse(half_sum: bool) -> Callable[[int, Draw], Arrays]:
    """A case of squared error."""

    def case(rows: int, draw: Draw) -> Arrays:
        t = draw.normal(rows, 4)

        def loss(x: Tensor) -> Tensor:
            if half_sum:
                return 0.5 * functional.mse_loss(x, t, reduction="sum")
            return functional.mse_loss(x, t)

        return record(loss, {"x": draw.normal(rows, 4)}, draw, "loss") | {"t": t}

    return case


def kl(rows: int, draw: Draw) -> Arrays:
    """Kullback-Leibler divergence from targets q to the softmax of the logits, mean over rows."""
    q = draw.soft(rows)

    def loss(z: Tensor) -> Tensor:
        return functional.kl_div(functional.log_softmax(z, -1), q, reduction="batchmean")

    return record(loss, {"z": 3 * draw.normal(rows, CLASSES)}, draw, "loss") | {"q": q}


def binary(rows: int, draw: Draw) -> Arrays:
    """Binary cross-entropy on logits, hard and soft targets, one row of large logits."""
    z, t = 3 * draw.normal(rows, 3), draw.uniform(0.0, 1.0, rows, 3)
    t[::2] = t[::2].round()
    z[0] = torch.tensor([900.0, -900.0, 40.0])

    def loss(z: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(z, t)

    return record(loss, {"z": z}, draw, "loss") | {"t": t}


CASES: dict[str, Callable[[int, Draw], Arrays]] = {
    "affine": affine,
    "relu": activation(torch.relu),
    "sigmoid": activation(torch.sigmoid),
    "tanh": activation(torch.tanh),
    "batch_norm_train": batch_norm(training=True),
    "batch_norm_eval": batch_norm(training=False),
    "softmax_integer": softmax(soft=False, smooth=False, weights=False),
    "softmax_soft": softmax(soft=True, smooth=False, weights=False),
    "softmax_smooth": softmax(soft=False, smooth=True, weights=False),
    "softmax_weights": softmax(soft=False, smooth=False, weights=True),
    "softmax_smooth_weights": softmax(soft=False, smooth=True, weights=True),
    "softmax_soft_smooth": softmax(soft=True, smooth=True, weights=False),
    "softmax_soft_weights": softmax(soft=True, smooth=False, weights=True),
    "mse_mean": mse(half_sum=False),
    "mse_half_sum": mse(half_sum=True),
    "kl": kl,
    "binary": binary,
}


def network() -> torch.nn.Sequential:
    """8-16-12-4 with BatchNorm and ReLU between; parameters are set by the caller."""
    modules: list[torch.nn.Module] = []
    for before, after in pairwise(SIZES):
        modules += [torch.nn.Linear(before, after), torch.nn.BatchNorm1d(after), torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-2]).double()


def tensors(model: torch.nn.Sequential) -> Arrays:
    """gpunet's state names -> torch's tensors themselves (W is a transposed view)."""
    state: Arrays = {}
    for i, module in enumerate(model):
        if isinstance(module, torch.nn.Linear):
            state |= {f"{i}.W": module.weight.T, f"{i}.b": module.bias}
        if isinstance(module, torch.nn.BatchNorm1d):
            state |= {f"{i}.gamma": module.weight, f"{i}.beta": module.bias}
            state |= {f"{i}.{name}": getattr(module, name) for name in STATISTICS}
    return state


def first_gradients(model: torch.nn.Sequential) -> Arrays:
    """gpunet's parameter names -> gradients."""
    found: Arrays = {}
    for name in tensors(model):
        index, short = name.split(".")
        if short in NAMES:
            gradient = getattr(model[int(index)], NAMES[short]).grad
            found[f"gradient/{name}"] = gradient.T if short == "W" else gradient
    return copies(found)


def copies(arrays: Arrays) -> Arrays:
    """Detached copies, so that later steps do not change what is kept."""
    return {name: a.detach().clone() for name, a in arrays.items()}


def start(model: torch.nn.Sequential, draw: Draw) -> None:
    """Random weights; gamma and beta away from 1 and 0, running statistics at 0 and 1."""
    with torch.no_grad():
        for name, a in tensors(model).items():
            kind = name.split(".")[1]
            if kind == "gamma":
                a.copy_(draw.uniform(0.5, 1.5, *a.shape))
            elif kind not in STATISTICS:
                a.copy_(draw.normal(*a.shape) * (0.5 if kind == "W" else 0.1))


def mlp(eps: float) -> Arrays:
    """Ten training steps of a whole network."""
    draw, model = Draw(SEED + 1), network()
    start(model, draw)
    centres = draw.normal(SIZES[-1], SIZES[0])
    t = draw.labels(STEPS, ROWS, classes=SIZES[-1])
    x = centres[t] + draw.normal(STEPS, ROWS, SIZES[0])
    found = {f"initial/{name}": a for name, a in copies(tensors(model)).items()}
    opt = torch.optim.Adam(model.parameters(), lr=0.01, eps=eps, foreach=False)
    losses = []
    for i in range(STEPS):
        opt.zero_grad()
        loss = functional.cross_entropy(model(x[i]), t[i])
        loss.backward()
        found |= first_gradients(model) if i == 0 else {}
        opt.step()
        losses.append(loss.detach())
    found |= {f"final/{name}": a for name, a in copies(tensors(model)).items()}
    with torch.no_grad():
        return found | {"x": x, "t": t, "losses": torch.stack(losses), "eval": model.eval()(x[0])}


def make() -> dict[str, np.ndarray]:
    """Everything that the file holds."""
    found: Arrays = {}
    for number, (name, case) in enumerate(CASES.items()):
        for rows in BATCHES:
            draw = Draw(SEED + 1000 * number + rows)
            found |= {f"{name}/b{rows}/{key}": a for key, a in case(rows, draw).items()}
    for name, eps in (("mlp", 1e-4), ("mlp_eps_1e-8", 1e-8)):
        found |= {f"{name}/{key}": a for key, a in mlp(eps).items()}
    return {key: a.detach().numpy().copy(order="C") for key, a in found.items()}


def main() -> None:
    """Write layers.npz."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arrays = make()
    for key, a in arrays.items():
        if a.dtype not in (np.float64, np.int64) or not np.isfinite(a).all():
            raise ValueError(f"{key}: {a.dtype}, or not finite")
    np.savez_compressed(HERE / "layers.npz", **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
