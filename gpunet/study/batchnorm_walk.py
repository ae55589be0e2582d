"""BatchNorm step by step: every value on the way and every gradient on the way back.

The graph of Ioffe & Szegedy (2015), Algorithm 1, in eight stages, each a forward and a backward on
plain arrays, beside the closed form that docs/backward.md derives and what gpunet trains with.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet import functional
from gpunet.backend import Array, array_module, common_module, to_host
from gpunet.study.batchnorm_picture import save_picture
from gpunet.study.batchnorm_stage import CLOSED_FORM, Stage
from gpunet.study.columns import wide
from gpunet.study.words import say
from gpunet.tensor import Tensor

Results = dict[str, Array]
Back = Callable[[Array], Any]

# The stages. Arrays are (batch, features) or, once the batch is summed, (features,).


def mean(x: Array) -> tuple[Array, Back]:
    """mu = sum x / B. Each row had a share of 1 / B in it."""
    rows = x.shape[0]
    return x.sum(axis=0) / rows, lambda dmu: _each_row(dmu / rows, x)


def centre(x: Array, mu: Array) -> tuple[Array, Back]:
    """c = x - mu. mu was taken off every row, so its gradient sums over them."""
    return x - mu, lambda dc: (dc, -dc.sum(axis=0))


def square(c: Array) -> tuple[Array, Back]:
    """s = c c."""
    return c * c, lambda ds: 2 * c * ds


def variance(s: Array) -> tuple[Array, Back]:
    """v = sum s / B."""
    rows = s.shape[0]
    return s.sum(axis=0) / rows, lambda dv: _each_row(dv / rows, s)


def _each_row(row: Array, like: Array) -> Array:
    return array_module(like).broadcast_to(row, like.shape)


def root(v: Array, eps: float) -> tuple[Array, Back]:
    """r = sqrt(v + eps)."""
    r = array_module(v).sqrt(v + eps)
    return r, lambda dr: dr / (2 * r)


def normalise(c: Array, r: Array) -> tuple[Array, Back]:
    """n = c / r. r divided every row, so its gradient sums over them."""
    return c / r, lambda dn: (dn / r, -(dn * c).sum(axis=0) / r**2)


def scale(n: Array, gamma: Array) -> tuple[Array, Back]:
    """m = gamma n."""
    return gamma * n, lambda dm: (gamma * dm, (dm * n).sum(axis=0))


def shift(m: Array, beta: Array) -> tuple[Array, Back]:
    """y = m + beta."""
    return m + beta, lambda dy: (dy, dy.sum(axis=0))


@dataclass(frozen=True)
class Walk:
    """What `batchnorm` found.

    inputs: x, gamma and beta. stages: the eight, in the order of the forward pass.
    staged, closed_form, framework: y, dx, dgamma and dbeta by the stages, by the closed form, and
        by `gpunet.functional.batch_norm` on the device where x lives.
    """

    inputs: tuple[Stage, ...]
    stages: tuple[Stage, ...]
    staged: Results
    closed_form: Results
    framework: Results

    def __getitem__(self, name: str) -> Stage:
        """A stage or an input by its name."""
        for stage in (*self.inputs, *self.stages):
            if stage.name == name:
                return stage
        known = ", ".join(stage.name for stage in (*self.inputs, *self.stages))
        raise KeyError(f"no stage {name!r}; there are {known}")

    @property
    def differences(self) -> dict[str, float]:
        """The largest absolute difference between any two of the three, by result."""
        found = {}
        for name in self.staged:
            three = [to_host(way[name]) for way in (self.staged, self.closed_form, self.framework)]
            # Python's max passes over a nan, NumPy's does not. An array beside itself gives 0.
            found[name] = float(np.max([abs(a - b).max() for a in three for b in three]))
        return found

    @property
    def difference(self) -> float:
        """The largest of `differences`; nan if there is one."""
        return float(np.max(list(self.differences.values())))

    def __str__(self) -> str:
        lines = [
            say("BatchNorm, stage by stage: the value forward, the gradient of the loss backward")
        ]
        for stage in (*self.inputs, *self.stages):
            lines += ["", *_beside(stage)]
        lines += ["", say(f"closed form: {CLOSED_FORM}")]
        lines += [
            say("largest difference between the stages, the closed form and gpunet's batch_norm:")
        ]
        lines += [f"  {name:<7} {found:.3g}" for name, found in self.differences.items()]
        total = float(abs(to_host(self.staged["dx"].sum(axis=0))).max())
        lines += [
            say(f"each column of dx sums to 0 (here {total:.1g}): a bias before it learns nothing")
        ]
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """The graph as an SVG with the numbers in small matrices, written atomically.

        ValueError for a name that does not end in .svg.
        """
        save_picture((*self.inputs, *self.stages), self.differences, path)


def batchnorm(x: Any, gamma: Any, beta: Any, dy: Any, eps: float = 1e-5) -> Walk:
    """Walk through BatchNorm (in training) with a batch of your own.

    Args:
        x: (batch, features), two rows at least; NumPy or CuPy. Integers and lists are computed in
            float64, float32 stays what it is.
        gamma, beta: (features,).
        dy: the gradient of the loss with respect to the output, (batch, features).
        eps: added to the variance under the root.

    Raises:
        ValueError: shapes that do not fit, or a single row.
        DeviceError: arrays of two devices.
    """
    x, gamma, beta, dy = _arrays(x, gamma, beta, dy)
    inputs, stages = _stages(x, gamma, beta, dy, eps)
    return Walk(
        inputs=inputs,
        stages=stages,
        staged={
            "y": stages[-1].value,
            "dx": inputs[0].gradient,
            "dgamma": inputs[1].gradient,
            "dbeta": inputs[2].gradient,
        },
        closed_form=_closed_form(x, gamma, beta, dy, eps),
        framework=_framework(x, gamma, beta, dy, eps),
    )


def _stages(
    x: Array, gamma: Array, beta: Array, dy: Array, eps: float
) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
    """x, gamma and beta, then the eight."""
    # Forward
    mu, mean_back = mean(x)
    c, centre_back = centre(x, mu)
    s, square_back = square(c)
    v, variance_back = variance(s)
    r, root_back = root(v, eps)
    n, normalise_back = normalise(c, r)
    m, scale_back = scale(n, gamma)
    y, shift_back = shift(m, beta)
    # Backward, the last stage first; c and x were used twice, so two gradients meet there
    dm, dbeta = shift_back(dy)
    dn, dgamma = scale_back(dm)
    dc_normalise, dr = normalise_back(dn)
    dv = root_back(dr)
    ds = variance_back(dv)
    dc = dc_normalise + square_back(ds)
    dx_centre, dmu = centre_back(dc)
    dx = dx_centre + mean_back(dmu)

    inputs = (
        Stage("x", "the batch", x, "dx = dc + dmu / B", dx),
        Stage("gamma", "learned", gamma, "dgamma = sum dm n", dgamma),
        Stage("beta", "learned", beta, "dbeta = sum dy", dbeta),
    )
    stages = (
        Stage("mean", "mu = sum x / B", mu, "dmu = - sum dc", dmu),
        Stage("centre", "c = x - mu", c, "dc = dn / r + 2 c ds", dc),
        Stage("square", "s = c c", s, "ds = dv / B", ds),
        Stage("variance", "v = sum s / B", v, "dv = dr / (2 r)", dv),
        Stage("root", "r = sqrt(v + eps)", r, "dr = - sum(dn c) / r^2", dr),
        Stage("normalise", "n = c / r", n, "dn = gamma dm", dn),
        Stage("scale", "m = gamma n", m, "dm = dy", dm),
        Stage("shift", "y = m + beta", y, "dy, given", dy),
    )
    return inputs, stages


def _closed_form(x: Array, gamma: Array, beta: Array, dy: Array, eps: float) -> Results:
    """All stages of the way back in one line; docs/backward.md derives it."""
    rows = x.shape[0]
    inv = 1 / array_module(x).sqrt(x.var(axis=0) + eps)
    n = (x - x.mean(axis=0)) * inv
    dbeta, dgamma = dy.sum(axis=0), (dy * n).sum(axis=0)
    dx = gamma * inv / rows * (rows * dy - dbeta - n * dgamma)
    return {"y": gamma * n + beta, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}


def _framework(x: Array, gamma: Array, beta: Array, dy: Array, eps: float) -> Results:
    """What training computes, on the device where x lives."""
    leaves = [Tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    y = functional.batch_norm(*leaves, eps=eps)
    y.backward(dy)
    names = ("dx", "dgamma", "dbeta")
    return {"y": y.data} | {k: leaf.grad for k, leaf in zip(names, leaves, strict=True)}


def _arrays(*given: Any) -> list[Array]:
    """x, gamma, beta and dy as floats of one dtype on one device, with shapes that fit."""
    arrays = [a.data if isinstance(a, Tensor) else a for a in given]
    arrays = [np.asarray(a) if array_module(a) is None else a for a in arrays]
    common_module(arrays, "batchnorm")
    dtype = np.result_type(*(a.dtype for a in arrays))
    dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)
    x = arrays[0]
    if x.ndim != 2 or x.shape[0] < 2 or not x.shape[1]:
        raise ValueError(
            f"batchnorm needs x of shape (batch, features) with 2 rows at least, got {x.shape}"
        )
    for name, array, shape in zip(
        ("gamma", "beta", "dy"), arrays[1:], (x.shape[1:], x.shape[1:], x.shape), strict=True
    ):
        if array.shape != shape:
            raise ValueError(
                f"batchnorm: {name} must have shape {shape} for x of shape {x.shape}, got "
                f"{array.shape}"
            )
    return [a.astype(dtype, copy=False) for a in arrays]


def _beside(stage: Stage) -> list[str]:
    """A heading, then value and gradient side by side."""
    left, right = (to_host(a).reshape(-1, a.shape[-1]) for a in (stage.value, stage.gradient))
    columns = [[_row(row) for row in part] for part in (left, right)]
    head = f"{say(stage.name)}: {say(stage.formula)}"
    width = max(wide(head), *(len(row) + 2 for row in columns[0])) + 4
    rows = [f"  {a}".ljust(width) + b for a, b in zip(*columns, strict=True)]
    return [head + " " * (width - wide(head)) + say(stage.back), *rows]


def _row(row: Array) -> str:
    return " ".join(f"{v:>10.4g}" for v in row)
