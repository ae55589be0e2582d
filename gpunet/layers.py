"""The layers of a network: parameters, settings and mode around the ops of `functional`."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import blank, checked, context, counters, functional, initializers, rng
from gpunet.backend import Array, to_host
from gpunet.checked import Checked
from gpunet.layer import Layer
from gpunet.parameter import Parameter
from gpunet.tensor import Tensor


class Affine(Layer):
    """y = x W + b.

    Args:
        in_features, out_features: sizes; W has shape (in, out), b (out,).
        init: an initializer, or a function (generator, shape) -> array. The default is He, for
            the ReLU that most often follows; Sequential and MLP know what follows and choose by it.
        bias: False leaves b out.
        dtype: float32 or float64. Input of another dtype is converted to it.

    ValueError for a bad size or dtype, or an initializer that returns another shape.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        init: initializers.Initializer | None = None,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        self.in_features = checked.size(in_features, "in_features")
        self.out_features = checked.size(out_features, "out_features")
        self.dtype = checked.floating_dtype(dtype)
        self._given = init is not None or blank.is_blank()
        self._init = init or initializers.He()
        self._seed = rng.draw_seed()
        W = blank.start((self.in_features, self.out_features), self.dtype, self._draw)
        self.W = Parameter(W)
        self.b: Parameter | None = None
        if bias:
            self.b = Parameter(blank.start((self.out_features,), self.dtype, 0), decay=False)

    def _draw(self) -> Array:
        generator = rng.from_seed(self._seed)
        shape = (self.in_features, self.out_features)
        W = np.asarray(self._init(generator, shape), self.dtype)
        if W.shape != shape:
            raise ValueError(f"init returned shape {W.shape}, W of this Affine has {shape}")
        return W

    def draw(self) -> None:
        self._seed = rng.draw_seed()
        self.W.data = self._draw()
        if self.b is not None:
            self.b.data = np.zeros(self.b.shape, self.dtype)

    def draw_by(self, init: initializers.Initializer) -> None:
        """Draw W anew, as the activation that follows wants it, unless an initializer was given or
        W is no longer as it was drawn: trained layers may be put together anew.
        """
        if self._given or init == self._init:
            return
        if np.array_equal(to_host(self.W.data), self._draw()):
            self._init = init
            self.W.data = self._draw()

    def call(self, x: Tensor) -> Tensor:
        return functional.affine(x, self.W, self.b)

    def config(self) -> dict[str, Any]:
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.b is not None,
            "dtype": self.dtype.name,
        }


class Embedding(Layer):
    """A row of numbers, learned, for each of many categories: y = W[x].

    Args:
        categories: how many there are; x holds integers from 0 to categories - 1, such as (batch,),
            and y is (batch, features).
        features: how many numbers each gets; W has shape (categories, features).
        init: as for an Affine. The default is N(0, 1), the spread that a layer behind it expects.
        dtype: float32 or float64.

    ValueError for a bad size or dtype, or an initializer that returns another shape; see
    `embedding` for a bad x.
    """

    def __init__(
        self,
        categories: int,
        features: int,
        init: initializers.Initializer | None = None,
        dtype: Any = np.float32,
    ) -> None:
        self.categories = checked.size(categories, "categories")
        self.features = checked.size(features, "features")
        self.dtype = checked.floating_dtype(dtype)
        shape = self.categories, self.features

        def draw() -> Array:
            generator = rng.from_seed(rng.draw_seed())
            W = np.asarray((init or initializers.Normal(1.0))(generator, shape), self.dtype)
            if W.shape != shape:
                raise ValueError(f"init returned shape {W.shape}, W of this Embedding has {shape}")
            return W

        self.W = Parameter(blank.start(shape, self.dtype, draw))

    def call(self, x: Tensor) -> Tensor:
        return functional.embedding(x, self.W)

    def config(self) -> dict[str, Any]:
        return {
            "categories": self.categories,
            "features": self.features,
            "dtype": self.dtype.name,
        }


class Rescale(Layer):
    """y = x * scale. In front of a model it takes data as it is stored, such as bytes with
    scale = 1 / 255, which then lie on a GPU in a quarter of the memory.

    Args:
        scale: a finite number.
        dtype: float32 or float64, of the output.
    """

    scale = Checked(checked.finite)

    def __init__(self, scale: float, dtype: Any = np.float32) -> None:
        self.scale, self.dtype = scale, checked.floating_dtype(dtype)

    def call(self, x: Tensor) -> Tensor:
        return functional.rescale(x, scale=self.scale, dtype=self.dtype)

    def config(self) -> dict[str, Any]:
        return {"scale": self.scale, "dtype": self.dtype.name}


class BatchNorm(Layer):
    """Batch normalisation (Ioffe & Szegedy 2015) of (batch, features), PyTorch's conventions.

    Args:
        features: size of the last axis.
        momentum: share of the new statistic in the running ones.
        eps: added to the variance under the root (not to the running variance).
        dtype: float32 or float64. Input of another dtype is converted to it.

    Training on one row raises ValueError. The running variance is the unbiased one, from 1; the
    running mean starts from 0. `track = False` freezes the running statistics of this layer,
    `frozen()` those of all.
    """

    buffers, variances = ("running_mean", "running_var"), ("running_var",)
    momentum = Checked(checked.fraction)
    eps = Checked(checked.not_negative)

    def __init__(
        self, features: int, momentum: float = 0.1, eps: float = 1e-5, dtype: Any = np.float32
    ) -> None:
        self.features = checked.size(features, "features")
        self.momentum, self.eps = momentum, eps
        self.dtype = checked.floating_dtype(dtype)
        self.track = True
        shape = (self.features,)
        self.gamma = Parameter(blank.start(shape, self.dtype, 1), decay=False)
        self.beta = Parameter(blank.start(shape, self.dtype, 0), decay=False)
        self.running_mean: Array = blank.start(shape, self.dtype, 0)
        self.running_var: Array = blank.start(shape, self.dtype, 1)

    def draw(self) -> None:
        ones, zeros = np.ones(self.features, self.dtype), np.zeros(self.features, self.dtype)
        self.gamma.data, self.beta.data = ones, zeros
        self.running_mean[...], self.running_var[...] = 0, 1

    def call(self, x: Tensor) -> Tensor:
        keep = not self.training or (self.track and not context.current().frozen)
        return functional.batch_norm(
            x,
            self.gamma,
            self.beta,
            running_mean=self.running_mean if keep else None,
            running_var=self.running_var if keep else None,
            training=self.training,
            momentum=self.momentum,
            eps=self.eps,
        )

    def config(self) -> dict[str, Any]:
        return {
            "features": self.features,
            "momentum": self.momentum,
            "eps": self.eps,
            "dtype": self.dtype.name,
        }


class Dropout(Layer):
    """Inverted dropout (Srivastava et al. 2014): in training, zero with probability p and scale
    the rest by 1 / (1 - p); the identity in evaluation.

    Args:
        p: the share that is dropped, in [0, 1].
        seed: key of the mask's generator; drawn from `gpunet.seed`'s generator by default. The
            n-th training call of a layer has the same mask on every device.

    ValueError for a p outside [0, 1], or a seed outside [0, 2^64).
    """

    counts = ("calls",)
    drawn = ("seed",)
    p = Checked(checked.fraction)
    seed = Checked(rng.check_word)

    def __init__(self, p: float = 0.5, seed: int | None = None) -> None:
        self.p = p
        self.seed = rng.draw_seed() if seed is None else seed
        self.calls = 0

    def draw(self) -> None:
        self.seed, self.calls = rng.draw_seed(), 0

    def call(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return functional.dropout(x, p=self.p, seed=self.seed, step=self.next_call())

    def next_call(self) -> int:
        """The number of the training call that begins, and is counted: `step` of its mask."""
        captured = counters.current()
        if captured is not None:
            return self._enter(captured)
        step = self.calls
        self.calls += not context.current().frozen
        return step

    # In a captured step; see gpunet.counters

    def _enter(self, captured: counters.Counters) -> int:
        """Take part in a captured batch; what the device adds its count of calls to."""
        captured.enter(self)
        if not captured.capturing:
            captured.bases[id(self)] = self.calls - captured.now[counters.CALL]
        return captured.bases[id(self)] % 2**64

    def prepare(self, captured: counters.Counters, steps: int) -> None:
        """Ask for counters that stand where `calls` does, in case that was changed by hand."""
        captured.requested_calls.add(self.calls - captured.bases[id(self)])

    def advance(self, updates: int, calls: int) -> None:
        """Count the calls that a captured step made."""
        self.calls += calls

    def config(self) -> dict[str, Any]:
        return {"p": self.p, "seed": self.seed}
